//! Any JSON log: JSON pointers say where a record keeps what an entry needs.

use super::error::Problem;
use super::pointer::Pointer;
use super::record::{Extracted, RecordFields};
use super::value::{Members, text};

/// Where the records of some JSON log keep their values.
///
/// A string is taken decoded, null counts as absent, any other value is taken as its own text. What
/// a pointer does not find, and what has no pointer, is empty; the id must be found, and the tenant
/// too unless the caller has pinned one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The member that holds the array of records, where the log wraps them in an object, as in
    /// `{"events":[…]}`.
    pub envelope: Option<String>,
    /// The tenant's name.
    pub tenant: Option<Pointer>,
    /// Who acted.
    pub actor: Option<Pointer>,
    /// What was done.
    pub action: Option<Pointer>,
    /// What it was done to.
    pub resource: Option<Pointer>,
    /// How it ended.
    pub result: Option<Pointer>,
    /// When it happened: an RFC 3339 string.
    pub time: Option<Pointer>,
    /// The source's own id of the record.
    pub id: Pointer,
}

/// Reads one record.
pub(super) fn extract(record: &str, mapping: &Mapping) -> Result<Extracted, Problem> {
    // Only an object is a record, also where the pointers would find something elsewhere.
    let members = Members::of(record)?;
    let find = |pointer: &Pointer| pointer.find(record, &members)?.map_or(Ok(String::new()), text);
    let field = |pointer: &Option<Pointer>| pointer.as_ref().map_or(Ok(String::new()), find);
    Ok(Extracted {
        tenant: field(&mapping.tenant)?,
        fields: RecordFields {
            action: field(&mapping.action)?,
            actor: field(&mapping.actor)?,
            external_id: find(&mapping.id)?,
            occurred_at: field(&mapping.time)?,
            payload: record.to_owned(),
            policy_version: String::new(),
            reason: String::new(),
            resource: field(&mapping.resource)?,
            result: field(&mapping.result)?,
        },
    })
}
