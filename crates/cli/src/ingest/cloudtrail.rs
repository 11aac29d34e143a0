//! AWS CloudTrail: which member of a record becomes which field.

use super::error::Problem;
use super::record::{Extracted, RecordFields};
use super::value::{Members, text};

/// The member that makes an object an envelope of records.
pub(super) const ENVELOPE: &str = "Records";

/// Members that a CloudTrail record has; two of them tell one from other JSON.
pub(super) const MARKS: [&str; 7] = [
    "eventVersion",
    "eventID",
    "eventName",
    "eventSource",
    "eventTime",
    "recipientAccountId",
    "userIdentity",
];

/// The member that names the tenant.
pub(super) const TENANT: &str = "recipientAccountId";

/// The member that holds the record's id.
pub(super) const ID: &str = "eventID";

/// The result of a record that names no error.
const SUCCESS: &str = "success";

/// Reads one record.
pub(super) fn extract(record: &str) -> Result<Extracted, Problem> {
    let members = Members::of(record)?;
    let identity = match members.get("userIdentity") {
        Some(identity) => {
            Members::of(identity).map_err(|problem| problem.inside("userIdentity"))?
        }
        None => Members::default(),
    };
    let mut actor = String::new();
    for name in ["arn", "principalId", "invokedBy"] {
        actor = identity.string(name).map_err(|problem| problem.inside("userIdentity"))?;
        if !actor.is_empty() {
            break;
        }
    }
    let (source, event) = (members.string("eventSource")?, members.string("eventName")?);
    let action = if source.is_empty() && event.is_empty() {
        String::new()
    } else {
        format!("{source}:{event}")
    };
    let resource = match members.get("requestParameters").or_else(|| members.get("resources")) {
        Some(value) => text(value)?,
        None => String::new(),
    };
    let error = members.string("errorCode")?;
    Ok(Extracted {
        tenant: members.string(TENANT)?,
        fields: RecordFields {
            action,
            actor,
            external_id: members.string(ID)?,
            occurred_at: members.string("eventTime")?,
            payload: record.to_owned(),
            policy_version: String::new(),
            reason: members.string("errorMessage")?,
            resource,
            result: if error.is_empty() { SUCCESS.to_owned() } else { error },
        },
    })
}
