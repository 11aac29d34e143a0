//! Cofferdam NDJSON: one object a line, whose members are the entry's fields and its tenant.

use super::error::Problem;
use super::record::{Extracted, MEMBERS, RecordFields};
use super::value::{Members, text};

/// The member that names the tenant.
pub(super) const TENANT: &str = "tenant";

/// The member that holds the record's id.
pub(super) const ID: &str = "external_id";

/// Reads one record.
pub(super) fn extract(record: &str) -> Result<Extracted, Problem> {
    let members = Members::of(record)?;
    if let Some(unknown) = members.names().find(|name| !MEMBERS.contains(name)) {
        return Err(Problem::UnknownMember { member: unknown.to_owned() });
    }
    let field = |name: &str| members.get(name).map_or(Ok(String::new()), text);
    Ok(Extracted {
        tenant: members.string(TENANT)?,
        fields: RecordFields {
            action: field("action")?,
            actor: field("actor")?,
            external_id: members.string(ID)?,
            occurred_at: members.string("occurred_at")?,
            // Verbatim whatever it is: a null payload is one, a string keeps its quotes.
            payload: members.raw("payload").unwrap_or_default().to_owned(),
            policy_version: field("policy_version")?,
            reason: field("reason")?,
            resource: field("resource")?,
            result: field("result")?,
        },
    })
}
