//! What can be wrong with an audit log, where, and what to do about it.

use std::fmt;
use std::io;

use cofferdam_core::json::JsonErrorKind;
use cofferdam_core::{FieldError, TimestampError};

use super::record::{MEMBERS, Origin};
use super::split::RECORD_LIMIT;

/// The most characters of a log's own text that a message repeats.
const SHOWN: usize = 80;

/// Why a log cannot be read. Every message names the file and, where there is one, the line and the
/// record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// A path is absent or may not be read.
    #[error("{file}: cannot be opened: {source}; check the path and its permissions")]
    Open {
        /// The path.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// A folder may not be listed.
    #[error("{folder}: the folder cannot be listed: {source}; check its permissions")]
    List {
        /// The folder.
        folder: String,
        /// What the system says.
        source: io::Error,
    },
    /// A folder holds nothing to read.
    #[error(
        "{folder}: no file in this folder ends in .json, .jsonl, .ndjson or .log (or one of them \
         with .gz); name a file of another ending directly"
    )]
    EmptyFolder {
        /// The folder.
        folder: String,
    },
    /// Standard input was asked for more than once.
    #[error("'-' (standard input) is given twice; it can be read only once")]
    StdinTwice,
    /// Reading failed midway.
    #[error("{file}:{line}: reading failed: {source}")]
    Read {
        /// The file.
        file: String,
        /// The line at which the text ended.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The compressed data is damaged or ends early.
    #[error("{file}:{line}: the gzip data is cut off or damaged: {source}; fetch the file again")]
    Gzip {
        /// The file.
        file: String,
        /// The line at which the unpacked text ended.
        line: u64,
        /// What the decompressor says.
        source: io::Error,
    },
    /// The file is empty, or what it holds is.
    #[error("{file}: no records in it; leave the file out or fetch it again")]
    NoRecords {
        /// The file.
        file: String,
    },
    /// One record is wrong.
    #[error("{file}:{line}: record {index}: {problem}", file = origin.file, index = origin.index)]
    Record {
        /// The record.
        origin: Origin,
        /// The line of the fault, which may lie inside the record.
        line: u64,
        /// The fault.
        problem: Problem,
    },
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The record is not strict JSON.
    #[error("{kind} at column {column}")]
    Json {
        /// What the strict check says.
        kind: JsonErrorKind,
        /// Where, in the line of the fault.
        column: u64,
    },
    /// The text around the records is not strict JSON.
    #[error("the object around the records: {0}")]
    Envelope(JsonErrorKind),
    /// The record is not UTF-8.
    #[error("not UTF-8 text at column {column}; convert the file to UTF-8")]
    NotUtf8 {
        /// Where, in the line of the fault.
        column: u64,
    },
    /// A byte stands where it cannot.
    #[error("{} at column {column}: {advice}", Byte(*byte))]
    Unexpected {
        /// The byte.
        byte: u8,
        /// Where, in the line of the fault.
        column: u64,
        /// What should stand there, or what to do.
        advice: &'static str,
    },
    /// The record is too long.
    #[error(
        "the record is longer than {} bytes; a payload may have 1 MiB, so split or shorten it",
        RECORD_LIMIT
    )]
    TooLong,
    /// The file ends inside the record.
    #[error("the file ends inside this record: it is cut off; fetch it again")]
    CutInRecord,
    /// The file ends inside an array of records.
    #[error("the file ends where ',' or ']' should follow: it is cut off; fetch it again")]
    CutInArray,
    /// A record must be an object.
    #[error("{found} where an object is expected{}", In(.member))]
    NotAnObject {
        /// What it is.
        found: &'static str,
        /// The member that holds it, if it is not the record itself.
        member: Option<&'static str>,
    },
    /// A member must be a string.
    #[error("{:?} is {found}; it must be a string", member)]
    NotAString {
        /// The member.
        member: String,
        /// What it is.
        found: &'static str,
    },
    /// A member that the format does not have.
    #[error(
        "unknown member {}; a record has {}, and any other JSON log can be read with --format map",
        Shown(member),
        MEMBERS.join(", ")
    )]
    UnknownMember {
        /// Its name.
        member: String,
    },
    /// The record names no tenant.
    #[error("no tenant: {}; correct the record or name its tenant with --tenant", absent(.member))]
    NoTenant {
        /// Where the name should be.
        member: String,
    },
    /// The record has no id.
    #[error("no id: {}; without one a repeat could not be told from a new entry", absent(.member))]
    NoId {
        /// Where the id should be.
        member: String,
    },
    /// The first record looks like neither format that `auto` knows.
    #[error(
        "neither a CloudTrail record nor a Cofferdam one; pass --format cloudtrail, ndjson or map"
    )]
    Undecided,
    /// The time is none.
    #[error("occurred_at: {}: {source}", Shown(value))]
    Time {
        /// What the record says.
        value: String,
        /// What is wrong with it.
        source: TimestampError,
    },
    /// A value breaks the format's limits.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The JSON reader refuses what the strict check let pass.
    #[error("not readable as JSON: {0}")]
    Unreadable(serde_json::Error),
}

impl Problem {
    /// The same problem, of something inside the member `parent`.
    pub(super) fn inside(self, parent: &'static str) -> Self {
        match self {
            Self::NotAnObject { found, member: None } => {
                Self::NotAnObject { found, member: Some(parent) }
            }
            Self::NotAString { member, found } => {
                Self::NotAString { member: format!("{parent}.{member}"), found }
            }
            other => other,
        }
    }
}

fn absent(member: &str) -> String {
    if member.is_empty() {
        "the mapping has no pointer to it".to_owned()
    } else {
        format!("{member:?} is absent, null or empty")
    }
}

/// A byte as a message shows it.
struct Byte(u8);

impl fmt::Display for Byte {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            byte @ b'!'..=b'~' => write!(formatter, "unexpected '{}'", char::from(byte)),
            byte => write!(formatter, "unexpected byte 0x{byte:02x}"),
        }
    }
}

/// A member's name in a sentence, or nothing.
struct In<'a>(&'a Option<&'static str>);

impl fmt::Display for In<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |member| write!(formatter, " in {member:?}"))
    }
}

/// The log's own text, quoted and cut short.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(formatter, "{:?}…", &self.0[..end]),
            None => write!(formatter, "{:?}", self.0),
        }
    }
}
