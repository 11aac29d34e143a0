//! What an auditor is handed: one entry, or as much of it as may be disclosed, and its way to a
//! batch that the chain knows.

mod wire;

use crate::{
    Batch, BatchCommitment, BatchTree, Commitment, EntryHash, FieldDigest, FieldName, Fields,
    MAX_BATCH_COUNT, PathError, Peak, Salt, Seed, Seq, TenantId, commitment, covering_peak,
    entry_hash, field_digest, hex,
    history::peak_from_path,
    json::JsonError,
    number::{NumberError, decimal},
    salt, verify_inclusion,
};
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most bytes a receipt is read from: ten fields at their limits, escaped, still fit.
pub const MAX_RECEIPT_BYTES: usize = 8 << 20;
/// No tree of up to 2^64 leaves has a longer path.
pub const MAX_PATH: usize = 64;

/// A receipt of one entry of one anchored batch. It is read by [`Receipt::from_json`] alone, which
/// trusts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The chain that holds the contract.
    pub chain_id: u64,
    /// The `AuditAnchor`.
    pub contract: Address,
    /// The entry.
    pub entry: ReceiptEntry,
    /// The batch, and whose it is.
    pub batch: Batch,
    /// From the entry hash to the batch root.
    pub path: Vec<B256>,
    /// From the batch commitment to the peak that covers it.
    pub history: HistoryRef,
    /// Where it was anchored.
    pub anchor: AnchorRef,
}

/// The entry of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptEntry {
    /// Its place in the chain.
    pub seq: Seq,
    /// The hash of the entry before it.
    pub previous: EntryHash,
    /// What is disclosed of it.
    pub body: EntryBody,
}

/// How much of an entry is disclosed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryBody {
    /// All of it.
    Whole {
        /// The seed from which all salts derive.
        seed: Seed,
        /// All values.
        fields: Fields,
    },
    /// Some fields, in the order of [`FieldName::ALL`]; the seed stays secret.
    Partial(Box<[ReceiptField; 10]>),
    /// Nothing but what an erased entry leaves.
    Erased(Commitment),
}

/// One field of a partly disclosed entry.
#[derive(Clone, PartialEq, Eq)]
pub enum ReceiptField {
    /// The value and the salt that proves it.
    Disclosed {
        /// The value.
        value: String,
        /// Its salt.
        salt: Salt,
    },
    /// The digest alone.
    Hidden(FieldDigest),
}

/// The state of the history that a receipt's path was made for; it grows stale and can be rebuilt
/// from events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HistoryRef {
    /// Batches at that time.
    #[serde(with = "decimal")]
    pub batches: u64,
    /// From the batch commitment to the peak that covers it.
    #[serde(with = "hex::path")]
    pub path: Vec<B256>,
}

/// The event that anchored the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnchorRef {
    /// The transaction.
    #[serde(with = "hex::fixed")]
    pub transaction: B256,
    /// The event's place among the block's logs.
    #[serde(with = "decimal")]
    pub log_index: u64,
    /// The block.
    #[serde(with = "decimal")]
    pub block_number: u64,
    /// The block's hash.
    #[serde(with = "hex::fixed")]
    pub block_hash: B256,
}

/// What a receipt proves once the chain confirms the peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedReceipt {
    /// The entry's hash, recomputed.
    pub entry_hash: EntryHash,
    /// The entry's commitment, recomputed unless the entry is erased.
    pub commitment: Commitment,
    /// The batch, whose root the entry leads to.
    pub batch: Batch,
    /// The batch's commitment, recomputed.
    pub batch_commitment: BatchCommitment,
    /// The peak that covers the batch.
    pub peak: Peak,
    /// The hash that this peak must have in the contract while it has `history.batches` batches.
    pub peak_hash: B256,
}

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
    /// A path that no tree has.
    #[error("{member}: {found} hashes, no path has more than {MAX_PATH}")]
    PathTooLong {
        /// `path` or `history.path`.
        member: &'static str,
        /// Its hashes.
        found: usize,
    },
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
    /// The entry does not lead to the batch root: one of the entry's members, the path or the root
    /// is not what was anchored.
    #[error("path: {0} (entry, path and batch.root do not belong together)")]
    Path(PathError),
    /// The path into the history is not one for this batch.
    #[error("history: {0}")]
    History(PathError),
}

impl Receipt {
    /// Reads a receipt from hostile input: bounded, strict, and in time linear in its length.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReceiptError> {
        wire::read(bytes)
    }

    /// Writes the receipt, one member a line.
    pub fn to_json(&self) -> Result<String, ReceiptError> {
        serde_json::to_string_pretty(self).map_err(|e| ReceiptError::Members(e.to_string()))
    }

    /// Whose entry it is.
    pub const fn tenant(&self) -> TenantId {
        self.batch.tenant
    }

    /// The receipt against itself: fields → digests → commitment → entry hash → path → batch root →
    /// batch commitment → peak.
    ///
    /// That the contract knows this peak, on this chain, is for the caller to ask: `chainId`,
    /// `contract` and `anchor` prove nothing, and `batch.index`, `batch.anchoredAt` and `history`
    /// only once the peak is confirmed.
    pub fn check(&self) -> Result<CheckedReceipt, ReceiptError> {
        let Self { entry: ReceiptEntry { seq, previous, ref body }, batch, .. } = *self;
        if seq == Seq(0) && previous != EntryHash::ZERO {
            return Err(ReceiptError::Previous(previous));
        }
        if !(1..=MAX_BATCH_COUNT).contains(&batch.count) {
            return Err(ReceiptError::Count(batch.count));
        }
        let index = batch.leaf_index(seq).ok_or(ReceiptError::Seq {
            seq,
            first_seq: batch.first_seq,
            count: batch.count,
        })?;
        let commitment = body.commitment();
        let entry_hash = entry_hash(batch.tenant, seq, previous, commitment);
        let (leaf, root) = (entry_hash.into(), batch.root.into());
        verify_inclusion::<BatchTree>(leaf, index, batch.count, &self.path, root)
            .map_err(ReceiptError::Path)?;
        let batch_commitment = batch.commitment();
        let HistoryRef { batches, ref path } = self.history;
        let peak = covering_peak(batch.index, batches).map_err(ReceiptError::History)?;
        let peak_hash = peak_from_path(batch.index, batches, batch_commitment, path)
            .map_err(ReceiptError::History)?;
        Ok(CheckedReceipt { entry_hash, commitment, batch, batch_commitment, peak, peak_hash })
    }
}

impl EntryBody {
    /// Discloses the fields that are named and hides the others.
    pub fn partial(seed: &Seed, fields: &Fields, disclosed: &[FieldName]) -> Self {
        Self::Partial(Box::new(FieldName::ALL.map(|field| {
            let (value, salt) = (fields.get(field), salt(seed, field));
            if disclosed.contains(&field) {
                ReceiptField::Disclosed { value: value.to_owned(), salt }
            } else {
                ReceiptField::Hidden(field_digest(&salt, field, value.as_bytes()))
            }
        })))
    }

    /// The commitment that this discloses or consists of.
    pub fn commitment(&self) -> Commitment {
        match self {
            Self::Whole { seed, fields } => fields.commitment(seed),
            Self::Partial(fields) => {
                commitment(&FieldName::ALL.map(|field| match &fields[field.position()] {
                    ReceiptField::Disclosed { value, salt } => {
                        field_digest(salt, field, value.as_bytes())
                    }
                    ReceiptField::Hidden(digest) => *digest,
                }))
            }
            Self::Erased(commitment) => *commitment,
        }
    }

    /// The value of a field, if it is disclosed.
    pub fn value(&self, field: FieldName) -> Option<&str> {
        match self {
            Self::Whole { fields, .. } => Some(fields.get(field)),
            Self::Partial(fields) => match &fields[field.position()] {
                ReceiptField::Disclosed { value, .. } => Some(value),
                ReceiptField::Hidden(_) => None,
            },
            Self::Erased(_) => None,
        }
    }
}

/// Values are personal data: only their lengths are shown.
impl fmt::Debug for ReceiptField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disclosed { value, .. } => write!(f, "Disclosed({} bytes)", value.len()),
            Self::Hidden(digest) => f.debug_tuple("Hidden").field(digest).finish(),
        }
    }
}

impl From<NumberError> for ReceiptError {
    fn from(error: NumberError) -> Self {
        Self::Members(error.to_string())
    }
}
