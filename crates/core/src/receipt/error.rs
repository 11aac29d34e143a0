//! Why a receipt is refused.

use super::{MAX_PATH, MAX_RECEIPT_BYTES, Member, State};
use crate::{EntryHash, FieldName, MAX_BATCH_COUNT, PathError, Seq, json::JsonError};

/// Why a receipt is refused; each names the check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Longer than any receipt.
    #[error("size: {0} bytes, a receipt has at most {MAX_RECEIPT_BYTES}")]
    TooLarge(usize),
    /// Not text.
    #[error("encoding: not UTF-8 at byte {0}")]
    Utf8(usize),
    /// Not one JSON value without duplicate keys.
    #[error("json: {0}")]
    Json(#[from] JsonError),
    /// A member is missing, unknown or of another form.
    #[error("members: {0}")]
    Members(String),
    /// Not a receipt.
    #[error("format: expected \"cofferdam-receipt\" version 1, found {format:?} version {version}")]
    Format {
        /// The `format` given.
        format: String,
        /// The `version` given.
        version: u64,
    },
    /// A receipt in this state has, or has not, this member.
    #[error("state: {state} {} {member}", if *.present { "does not go with" } else { "needs" })]
    State {
        /// The state given.
        state: State,
        /// The member.
        member: Member,
        /// Whether it is there.
        present: bool,
    },
    /// `lacks` does not list exactly what is absent.
    #[error("lacks: must list the absent members in order, which are {}", list(.absent))]
    Lacks {
        /// What is absent.
        absent: Vec<Member>,
    },
    /// The entry is neither whole, partial nor erased.
    #[error("entry: {0}")]
    Entry(&'static str),
    /// One of the ten is missing.
    #[error("entry.fields: {0} is missing")]
    FieldMissing(FieldName),
    /// A field is disclosed in a way that does not fit the entry.
    #[error("entry.fields.{field}: {problem}")]
    Field {
        /// Which.
        field: FieldName,
        /// What is wrong.
        problem: &'static str,
    },
    /// The erased fields are not those that the entry shows to be.
    #[error("entry.erased: {0}")]
    Erased(&'static str),
    /// More than there can be.
    #[error("{member}: {found} {unit}, at most {limit} are possible")]
    TooMany {
        /// The member.
        member: &'static str,
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        found: usize,
        /// How many there can be.
        limit: usize,
    },
    /// The entry is not in a batch yet, so that there is nothing to check it against.
    #[error("state: pending; the entry was not anchored when the receipt was made")]
    Pending,
    /// The batch is of another tenant than the entry.
    #[error("batch: of another tenant than the entry")]
    Tenant,
    /// The first entry has nothing before it.
    #[error("entry.previous: must be zero for seq 0, found {0}")]
    Previous(EntryHash),
    /// A batch has at least one entry and fewer than 2^32.
    #[error("batch.count: {0} is not between 1 and {MAX_BATCH_COUNT}")]
    Count(u64),
    /// The entry belongs to another batch.
    #[error("entry.seq: {seq} is not in the batch of {count} from {first_seq}")]
    Seq {
        /// The entry.
        seq: Seq,
        /// The batch's first.
        first_seq: Seq,
        /// The batch's count.
        count: u64,
    },
    /// The position is not the entry's.
    #[error("position: seq and batch.firstSeq make it {expected}, found {found}")]
    Position {
        /// `seq − firstSeq`.
        expected: u64,
        /// The position given.
        found: u64,
    },
    /// The entry does not lead to the batch root: one of the entry's members, the path or the root
    /// is not what was anchored.
    #[error("path: {0} (entry, path and batch.root do not belong together)")]
    Path(PathError),
    /// The path into the history is not one for this batch.
    #[error("history: {0}")]
    History(PathError),
}

impl ReceiptError {
    /// Too many hashes in a path.
    pub(super) const fn path(member: &'static str, found: usize) -> Self {
        Self::TooMany { member, unit: "hashes", found, limit: MAX_PATH }
    }
}

fn list(members: &[Member]) -> String {
    match members {
        [] => "none".to_owned(),
        members => members.iter().map(Member::as_str).collect::<Vec<_>>().join(", "),
    }
}
