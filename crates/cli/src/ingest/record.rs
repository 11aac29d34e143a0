//! What a reader hands on: one record, where it stood and what it says.

use std::fmt;
use std::sync::Arc;

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file as it was named on the way here, or `stdin`.
    pub file: Arc<str>,
    /// The line, from 1, of the record's first byte, in the unpacked text.
    pub line: u64,
    /// Which record of its file this is, from 1.
    pub index: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: record {}", self.file, self.line, self.index)
    }
}

/// One audit record, ready to be appended once its tenant's name has been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub origin: Origin,
    /// The tenant's name as the record has it: a claim, never a credential. Absent only where
    /// [`Records::without_tenants`](super::Records::without_tenants) allows it.
    pub tenant: Option<String>,
    /// The entry's fields.
    pub entry: RecordFields,
}

/// The nine entry fields that a source supplies, all within the limits of the format; an absent
/// one is empty. The tenth, `recorded_at`, is set by the append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordFields {
    /// What was done.
    pub action: String,
    /// Who did it.
    pub actor: String,
    /// The source's own id of the record, never empty.
    pub external_id: String,
    /// When it happened, normalised to UTC with six fractional digits.
    pub occurred_at: String,
    /// The source's own JSON text, byte for byte.
    pub payload: String,
    /// The version of the policy that applied.
    pub policy_version: String,
    /// Why it ended as it did.
    pub reason: String,
    /// What it was done to.
    pub resource: String,
    /// How it ended.
    pub result: String,
}

/// What a record says, before it has been validated. An empty text is an absent value.
#[derive(Debug)]
pub(super) struct Extracted {
    pub(super) tenant: String,
    pub(super) fields: RecordFields,
}

/// The members of a Cofferdam NDJSON record. Every other name is refused: a misspelt field must not get lost.
pub(super) const MEMBERS: [&str; 10] = [
    "action",
    "actor",
    "external_id",
    "occurred_at",
    "payload",
    "policy_version",
    "reason",
    "resource",
    "result",
    "tenant",
];
