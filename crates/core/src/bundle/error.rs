//! Why a bundle is refused.

use crate::{BatchIndex, EntryHash, ReceiptError, Seq};

/// Why a bundle is refused; each says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The first line is not a manifest.
    #[error("manifest: {0}")]
    Manifest(ReceiptError),
    /// Not a bundle.
    #[error("format: expected \"cofferdam-bundle\" version 1, found {format:?} version {version}")]
    Format {
        /// The `format` given.
        format: String,
        /// The `version` given.
        version: u64,
    },
    /// The second line is not the exporter's signature of the first.
    #[error("signature: {0}")]
    Signature(String),
    /// The manifest contradicts itself.
    #[error("manifest.{member}: {problem}")]
    Claim {
        /// Where.
        member: &'static str,
        /// How.
        problem: String,
    },
    /// A line is not a batch.
    #[error("batch {index}: {reason}")]
    Batch {
        /// The batch that should stand there.
        index: BatchIndex,
        /// Why it does not.
        reason: ReceiptError,
    },
    /// A batch does not follow the one before.
    #[error("batch {index}: its {member} is {found}, where {expected} follows what came before")]
    Gap {
        /// The batch that should stand there.
        index: BatchIndex,
        /// Which member says otherwise.
        member: &'static str,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// A batch has no entries, or goes on after the bundle's last entry.
    #[error("batch {index}: it cannot have {count} entries, the bundle's last is {last}")]
    Count {
        /// The batch.
        index: BatchIndex,
        /// Its count.
        count: u64,
        /// The bundle's last entry.
        last: Seq,
    },
    /// A line is not an entry.
    #[error("entry {seq}: {reason}")]
    Entry {
        /// The entry that should stand there.
        seq: Seq,
        /// Why it does not.
        reason: ReceiptError,
    },
    /// Another entry stands in an entry's place.
    #[error("entry {expected}: entry {found} stands in its place")]
    Order {
        /// The one that should stand there.
        expected: Seq,
        /// The one that does.
        found: Seq,
    },
    /// A batch ends before its last entry.
    #[error("entry {0}: it is missing, what comes after its batch stands in its place")]
    Missing(Seq),
    /// An entry does not follow the one before.
    #[error("entry {seq}: its previous hash is {found}, the entry before it has {expected}")]
    Chain {
        /// The entry.
        seq: Seq,
        /// The hash of the entry before.
        expected: EntryHash,
        /// What the entry says.
        found: EntryHash,
    },
    /// A batch's entries are not those that were anchored.
    #[error("batch {index}: its {count} entries from {first_seq} do not have its root")]
    Root {
        /// The batch.
        index: BatchIndex,
        /// Its first entry.
        first_seq: Seq,
        /// Its entries.
        count: u64,
    },
    /// The end is not where the manifest says.
    #[error("the end: {0}")]
    End(String),
    /// A line is of another kind than what must follow.
    #[error("{0} must follow here")]
    Misplaced(String),
}
