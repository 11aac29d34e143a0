//! The lines of a bundle that are not entries.

use super::{BundleError, BundleProof};
use crate::{
    AnchorRef, Batch, BatchCommitment, BatchIndex, BatchRoot, EntryHash, HistoryRoot,
    MAX_RECEIPT_BYTES, ReceiptError, Seq, TenantId, hex,
    json::{QUOTED, abridged},
    number::{decimal, wide},
    receipt::{
        object::{Object, object},
        proof::bound,
        wire::{Kind, members, strict},
    },
};
use alloy_primitives::{Address, B256, FixedBytes};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;

pub(super) const FORMAT: &str = "cofferdam-bundle";
pub(super) const VERSION: u64 = 1;
/// The most bytes of a line: an entry at its limits fits, as in a receipt.
pub const MAX_LINE_BYTES: usize = MAX_RECEIPT_BYTES;
/// A history has at most one peak for each bit of the contract's counter.
pub(super) const MAX_PEAKS: usize = 40;
/// Policies, or scopes, in one manifest.
const MAX_RECORDS: usize = 10_000;

/// What a bundle is of, who made it and when; its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// `cofferdam-bundle`.
    pub(super) format: Cow<'static, str>,
    /// 1.
    pub(super) version: u64,
    /// The chain that holds the contract.
    #[serde(with = "decimal")]
    pub chain_id: u64,
    /// The `AuditAnchor`.
    #[serde(with = "hex::fixed")]
    pub contract: Address,
    /// The hash of its code.
    #[serde(with = "hex::fixed")]
    pub code_hash: B256,
    /// Whose entries these are.
    pub tenant_id: TenantId,
    /// Whose signature follows.
    #[serde(with = "hex::fixed")]
    pub exporter: Address,
    /// When it was made, by the exporter's clock, in Unix seconds.
    #[serde(with = "decimal")]
    pub exported_at: u64,
    /// Where it begins.
    #[serde(deserialize_with = "object")]
    pub first: BundleFirst,
    /// Where it ends.
    #[serde(deserialize_with = "object")]
    pub last: BundleLast,
    /// The whole history at the proof block.
    #[serde(deserialize_with = "object")]
    pub history: BundleHistory,
    /// Every version of the tenant's policy up to the proof block, by the exporter's word.
    #[serde(deserialize_with = "objects")]
    pub policies: Vec<PolicyRecord>,
    /// What the tenant's agents were scoped to at the proof block, by the exporter's word.
    #[serde(deserialize_with = "objects")]
    pub scopes: Vec<ScopeRecord>,
    /// The contract's storage at a block.
    #[serde(deserialize_with = "object")]
    pub proof_block: BundleProof,
}

/// Where a bundle begins, and the history before that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleFirst {
    /// Its first batch, which is also how many there were before.
    pub batch: BatchIndex,
    /// Its first entry.
    pub seq: Seq,
    /// The hash of the entry before; zero for the first of all.
    pub previous: EntryHash,
    /// The peaks of the batches before, highest first.
    #[serde(with = "hex::path")]
    pub peaks: Vec<B256>,
}

/// Where a bundle ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleLast {
    /// Its last batch.
    pub batch: BatchIndex,
    /// Its last entry.
    pub seq: Seq,
    /// The hash of that entry.
    pub entry_hash: EntryHash,
}

/// A tenant's whole history, as the contract counts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleHistory {
    /// Batches.
    #[serde(with = "decimal")]
    pub batches: u64,
    /// Entries.
    #[serde(with = "decimal")]
    pub entries: u64,
    /// The root over all batches.
    pub root: HistoryRoot,
}

/// A version of the tenant's policy; a revocation has the zero hash and signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyRecord {
    /// Which.
    #[serde(with = "decimal")]
    pub version: u64,
    /// The hash of the document.
    #[serde(with = "hex::fixed")]
    pub policy_hash: B256,
    /// The key whose verdicts count.
    #[serde(with = "hex::fixed")]
    pub verdict_signer: Address,
    /// From when it is good, in Unix seconds.
    #[serde(with = "decimal")]
    pub not_before: u64,
    /// Until when.
    #[serde(with = "decimal")]
    pub not_after: u64,
    /// When it was recorded.
    #[serde(with = "decimal")]
    pub recorded_at: u64,
}

/// What an agent may do for the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeRecord {
    /// Who.
    #[serde(with = "hex::fixed")]
    pub agent: Address,
    /// The hash of the capability's name.
    #[serde(with = "hex::fixed")]
    pub capability: B256,
    /// From when it is good, in Unix seconds.
    #[serde(with = "decimal")]
    pub not_before: u64,
    /// Until when.
    #[serde(with = "decimal")]
    pub not_after: u64,
    /// The most of the native currency that one call may send, in wei.
    #[serde(with = "wide")]
    pub native_max: u128,
    /// The most of a token that one call may move, in its smallest unit.
    #[serde(with = "wide")]
    pub token_max: u128,
    /// The contract that may be called; zero for none.
    #[serde(with = "hex::fixed")]
    pub target: Address,
    /// The function of it; zero for the token's own.
    #[serde(with = "hex::fixed")]
    pub selector: FixedBytes<4>,
    /// When it was recorded.
    #[serde(with = "decimal")]
    pub recorded_at: u64,
}

/// A batch of the bundle; its entries follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleBatch {
    /// Which.
    pub index: BatchIndex,
    /// Its first entry.
    pub first_seq: Seq,
    /// Its entries.
    #[serde(with = "decimal")]
    pub count: u64,
    /// The root of their tree.
    pub root: BatchRoot,
    /// The block's time, in Unix seconds.
    #[serde(with = "decimal")]
    pub anchored_at: u64,
    /// The event.
    #[serde(deserialize_with = "object")]
    pub anchor: AnchorRef,
}

/// A batch after the bundle's last, by its commitment alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaterBatch {
    /// It.
    pub commitment: BatchCommitment,
}

impl Manifest {
    /// A manifest of this version, of nothing yet.
    pub fn new(
        chain_id: u64,
        contract: Address,
        code_hash: B256,
        tenant_id: TenantId,
        (first, last, history): (BundleFirst, BundleLast, BundleHistory),
        proof_block: BundleProof,
    ) -> Self {
        Self {
            format: FORMAT.into(),
            version: VERSION,
            chain_id,
            contract,
            code_hash,
            tenant_id,
            exporter: Address::ZERO,
            exported_at: 0,
            first,
            last,
            history,
            policies: vec![],
            scopes: vec![],
            proof_block,
        }
    }

    /// Reads the first line of a bundle.
    pub fn from_json(line: &[u8]) -> Result<Self, BundleError> {
        let read = strict::<Self>(line);
        // To tell another version from a mistake; what is not even JSON has none.
        let kind = match &read {
            Ok(it) => Some((it.format.to_string(), it.version)),
            Err(ReceiptError::Members(_)) => {
                let kind = serde_json::from_slice::<Kind<'_>>(line).ok();
                kind.map(|kind| (kind.format.into_owned(), kind.version))
            }
            Err(_) => None,
        };
        let other = kind.filter(|(format, version)| (&**format, *version) != (FORMAT, VERSION));
        if let Some((format, version)) = other {
            let format = abridged(&format, QUOTED);
            return Err(BundleError::Format { format, version });
        }
        let manifest = read.map_err(BundleError::Manifest)?;
        manifest.bounded().map_err(BundleError::Manifest)?;
        Ok(manifest)
    }

    fn bounded(&self) -> Result<(), ReceiptError> {
        bound("first.peaks", "hashes", self.first.peaks.len(), MAX_PEAKS)?;
        bound("policies", "records", self.policies.len(), MAX_RECORDS)?;
        bound("scopes", "records", self.scopes.len(), MAX_RECORDS)?;
        self.proof_block.bounded()
    }

    /// Writes the line, without its end.
    pub fn to_json(&self) -> Result<String, ReceiptError> {
        serde_json::to_string(self).map_err(|error| members(&error))
    }
}

impl BundleBatch {
    /// Reads a line.
    pub fn from_json(line: &[u8]) -> Result<Self, ReceiptError> {
        strict(line)
    }

    /// The batch, of this tenant.
    pub fn batch(&self, tenant: TenantId) -> Batch {
        let Self { index, first_seq, count, root, anchored_at, anchor: _ } = *self;
        Batch { tenant, index, first_seq, count, root, anchored_at }
    }
}

impl LaterBatch {
    /// Reads a line.
    pub fn from_json(line: &[u8]) -> Result<Self, ReceiptError> {
        strict(line)
    }
}

pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(d)?.into_iter().map(|object| object.0).collect())
}
