//! The shapes that records come in.

use super::error::Problem;
use super::map::Mapping;
use super::record::Extracted;
use super::value::Members;
use super::{cloudtrail, map, ndjson, record};

/// What a file's records look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// [`CloudTrail`](Self::CloudTrail) or [`Ndjson`](Self::Ndjson), told by each file's first
    /// record.
    Auto,
    /// AWS CloudTrail: `{"Records":[…]}`, an array, or one record a line.
    CloudTrail,
    /// Cofferdam NDJSON: one object a line with the members `tenant`, `external_id` and, where
    /// there is something to say, `action`, `actor`, `occurred_at`, `payload`, `policy_version`,
    /// `reason`, `resource` and `result`.
    Ndjson,
    /// Any JSON log, read through JSON pointers.
    Map(Mapping),
}

impl Format {
    /// The array member that makes an object an envelope of records.
    pub(super) fn envelope(&self) -> Option<&str> {
        match self {
            Self::Auto | Self::CloudTrail => Some(cloudtrail::ENVELOPE),
            Self::Ndjson => None,
            Self::Map(mapping) => mapping.envelope.as_deref(),
        }
    }

    /// The format of a file that begins with `record`.
    pub(super) fn of_first(&self, record: &str) -> Result<Self, Problem> {
        if *self != Self::Auto {
            return Ok(self.clone());
        }
        let members = Members::of(record)?;
        let count = |marks: &[&str]| members.names().filter(|name| marks.contains(name)).count();
        match (count(&cloudtrail::MARKS), count(&record::MEMBERS)) {
            (2.., 0..2) => Ok(Self::CloudTrail),
            (0..2, 2..) => Ok(Self::Ndjson),
            _ => Err(Problem::Undecided),
        }
    }

    /// Reads one record, whose text has passed the strict check.
    pub(super) fn extract(&self, record: &str) -> Result<Extracted, Problem> {
        match self {
            Self::Auto => self.of_first(record)?.extract(record),
            Self::CloudTrail => cloudtrail::extract(record),
            Self::Ndjson => ndjson::extract(record),
            Self::Map(mapping) => map::extract(record, mapping),
        }
    }

    /// Where a record of this format names its tenant, for messages.
    pub(super) fn tenant_member(&self) -> String {
        match self {
            Self::Auto | Self::CloudTrail => cloudtrail::TENANT.to_owned(),
            Self::Ndjson => ndjson::TENANT.to_owned(),
            Self::Map(mapping) => {
                mapping.tenant.as_ref().map(ToString::to_string).unwrap_or_default()
            }
        }
    }

    /// Where a record of this format has its id, for messages.
    pub(super) fn id_member(&self) -> String {
        match self {
            Self::Auto | Self::CloudTrail => cloudtrail::ID.to_owned(),
            Self::Ndjson => ndjson::ID.to_owned(),
            Self::Map(mapping) => mapping.id.to_string(),
        }
    }
}
