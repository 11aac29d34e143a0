//! What an auditor is handed: one entry, or as much of it as may be disclosed, and its way to a
//! batch that the chain knows. `docs/receipt.md` specifies the format.

mod error;
mod level;
pub(crate) mod object;
pub(crate) mod proof;
mod state;
pub(crate) mod wire;

pub use error::ReceiptError;
pub use level::{Level, Policy};
pub use proof::{
    MAX_HEADER_BYTES, MAX_NODE_BYTES, MAX_PROOF_NODES, ProofBlock, ProofError, ProvenReceipt,
    SlotProof, Word,
};
pub use state::{Finality, Member, State};

use crate::{
    Batch, BatchCommitment, BatchTree, Commitment, EntryHash, FieldDigest, FieldName, Fields,
    MAX_BATCH_COUNT, Peak, Salt, Seed, Seq, TenantId, commitment, commitments, covering_peak,
    entry_digests, entry_hash, field_digest, hex, history::peak_from_path, number::decimal, salt,
    verify_inclusion,
};
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most bytes a receipt is read from: ten fields at their limits, escaped, still fit.
pub const MAX_RECEIPT_BYTES: usize = 8 << 20;
/// No tree of up to 2^64 leaves has a longer path.
pub const MAX_PATH: usize = 64;

/// A receipt of one entry. It is read by [`Receipt::from_json`] alone, which trusts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The chain that holds the contract.
    pub chain_id: u64,
    /// The `AuditAnchor`.
    pub contract: Address,
    /// The hash of its code.
    pub code_hash: B256,
    /// Whose entry it is.
    pub tenant: TenantId,
    /// The entry.
    pub entry: ReceiptEntry,
    /// Where it was anchored; `None` while it is pending.
    pub inclusion: Option<Inclusion>,
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
    /// Some fields, in the order of [`FieldName::ALL`]; the seed stays secret, or is no more.
    Partial(Box<[ReceiptField; 10]>),
    /// Nothing but what an entry leaves that was erased as a whole.
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
    Withheld(FieldDigest),
    /// The digest alone, which is all that is left.
    Erased(FieldDigest),
}

/// The way from an entry to a state of its tenant's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The batch, and whose it is.
    pub batch: Batch,
    /// The entry's leaf, `seq − firstSeq`.
    pub position: u64,
    /// From the entry hash to the batch root.
    pub path: Vec<B256>,
    /// From the batch commitment to the peak that covers it.
    pub history: HistoryRef,
    /// The event that anchored the batch.
    pub anchor: AnchorRef,
    /// How settled that was when the receipt was made.
    pub finality: Finality,
}

/// The state of the history that a receipt's path was made for, which is the one at the proof block
/// where there is one. It grows stale and can be rebuilt from events.
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

impl Receipt {
    /// Reads a receipt from hostile input: bounded, strict, and in time linear in its length.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReceiptError> {
        wire::read(bytes)
    }

    /// Writes the receipt, one member a line.
    pub fn to_json(&self) -> Result<String, ReceiptError> {
        serde_json::to_string_pretty(self).map_err(|e| ReceiptError::Members(e.to_string()))
    }

    /// How settled the entry was when the receipt was made.
    pub fn state(&self) -> State {
        self.inclusion.as_ref().map_or(State::Pending, |it| it.finality.state())
    }

    /// [`Level::SelfConsistent`], the receipt against itself: fields → digests → commitment → entry
    /// hash → path → batch root → batch commitment → peak.
    ///
    /// That the contract knows this peak, on this chain, is not known by then: `chainId`,
    /// `contract`, `codeHash`, `state` and `anchor` prove nothing, and `batch.index`,
    /// `batch.anchoredAt` and `history` only once the peak is confirmed. A pending receipt has
    /// nothing to be checked against: [`ReceiptError::Pending`].
    pub fn check(&self) -> Result<CheckedReceipt, ReceiptError> {
        let Self { tenant, entry: ReceiptEntry { seq, previous, ref body }, .. } = *self;
        if seq == Seq(0) && previous != EntryHash::ZERO {
            return Err(ReceiptError::Previous(previous));
        }
        let Some(Inclusion { batch, position, path, history, .. }) = &self.inclusion else {
            return Err(ReceiptError::Pending);
        };
        if batch.tenant != tenant {
            return Err(ReceiptError::Tenant);
        }
        let (first_seq, count) = (batch.first_seq, batch.count);
        if !(1..=MAX_BATCH_COUNT).contains(&count) {
            return Err(ReceiptError::Count(count));
        }
        let expected = batch.leaf_index(seq).ok_or(ReceiptError::Seq { seq, first_seq, count })?;
        if *position != expected {
            return Err(ReceiptError::Position { expected, found: *position });
        }
        let commitment = body.commitment();
        let entry_hash = entry_hash(tenant, seq, previous, commitment);
        let (leaf, root) = (entry_hash.into(), batch.root.into());
        verify_inclusion::<BatchTree>(leaf, expected, count, path, root)
            .map_err(ReceiptError::Path)?;
        let batch_commitment = batch.commitment();
        let HistoryRef { batches, ref path } = *history;
        let peak = covering_peak(batch.index, batches).map_err(ReceiptError::History)?;
        let peak_hash = peak_from_path(batch.index, batches, batch_commitment, path)
            .map_err(ReceiptError::History)?;
        let batch = *batch;
        Ok(CheckedReceipt { entry_hash, commitment, batch, batch_commitment, peak, peak_hash })
    }
}

impl EntryBody {
    /// Discloses the fields that are named and withholds the others.
    pub fn partial(seed: &Seed, fields: &Fields, disclosed: &[FieldName]) -> Self {
        Self::Partial(Box::new(FieldName::ALL.map(|field| {
            let (value, salt) = (fields.get(field), salt(seed, field));
            if disclosed.contains(&field) {
                ReceiptField::Disclosed { value: value.to_owned(), salt }
            } else {
                ReceiptField::Withheld(field_digest(&salt, field, value.as_bytes()))
            }
        })))
    }

    /// The [`EntryBody::commitment`] of each, hashed together.
    pub fn commitments(bodies: &[&Self]) -> Vec<Commitment> {
        let whole: Vec<_> = bodies
            .iter()
            .filter_map(|body| match body {
                Self::Whole { seed, fields } => Some((seed, fields.values())),
                Self::Partial(_) | Self::Erased(_) => None,
            })
            .collect();
        let mut whole = commitments(&entry_digests(&whole)).into_iter();
        let each = bodies.iter().map(|body| match body {
            Self::Whole { .. } => whole.next().unwrap_or_else(|| body.commitment()),
            Self::Partial(_) | Self::Erased(_) => body.commitment(),
        });
        each.collect()
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
                    ReceiptField::Withheld(digest) | ReceiptField::Erased(digest) => *digest,
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
                ReceiptField::Withheld(_) | ReceiptField::Erased(_) => None,
            },
            Self::Erased(_) => None,
        }
    }

    /// The fields that are no more, in order.
    pub fn erased(&self) -> Vec<FieldName> {
        FieldName::ALL
            .into_iter()
            .filter(|field| match self {
                Self::Whole { .. } => false,
                Self::Partial(fields) => {
                    matches!(fields[field.position()], ReceiptField::Erased(_))
                }
                Self::Erased(_) => true,
            })
            .collect()
    }
}

/// Values are personal data: only their lengths are shown.
impl fmt::Debug for ReceiptField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disclosed { value, .. } => write!(f, "Disclosed({} bytes)", value.len()),
            Self::Withheld(digest) => f.debug_tuple("Withheld").field(digest).finish(),
            Self::Erased(digest) => f.debug_tuple("Erased").field(digest).finish(),
        }
    }
}
