//! The contract's words about the whole of a tenant's history at one block, which prove a bundle, and a
//! receipt of every batch until then.

use super::manifest::{MAX_PEAKS, objects};
use crate::{
    BatchIndex, BlockHeader, Policy, ProofBlock, ProofError, ReceiptError, SlotProof, TenantId,
    Word, covering_peak, hex, live_heights,
    receipt::{
        object::object,
        proof::{bound, bounded_header, bounded_nodes},
    },
    storage::{Head, head_slot, peak_slot},
};
use alloy_primitives::{B256, Bytes};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use serde::{Deserialize, Serialize};

/// The contract's storage at a block at or after the one that anchored the last batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, RlpEncodable, RlpDecodable)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleProof {
    /// The raw header.
    #[serde(with = "hex::bytes")]
    pub header: Bytes,
    /// From the header's state root to the contract's account.
    #[serde(with = "hex::byte_strings")]
    pub account_proof: Vec<Bytes>,
    /// The tenant's head.
    #[serde(deserialize_with = "object")]
    pub head: SlotProof,
    /// Every live peak, highest first.
    #[serde(deserialize_with = "objects")]
    pub peaks: Vec<SlotProof>,
}

/// What a tenant's history was at a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenHistory {
    /// The block.
    pub block: BlockHeader,
    /// How many batches and entries there were, and who might anchor.
    pub head: Head,
    /// Every live peak, highest first.
    pub peaks: Vec<B256>,
}

impl BundleProof {
    /// The way from a block whose hash the policy names to every word: header → state root → the contract's
    /// account, with the policy's code → its storage → the tenant's head and all peaks that are live by it.
    pub fn verify(&self, tenant: TenantId, policy: &Policy) -> Result<ProvenHistory, ProofError> {
        let block = policy.pinned(&self.header)?;
        let root = policy.storage_root(&block, &self.account_proof)?;
        let head = Head::from_word(self.head.word(Word::Head, head_slot(tenant), root)?);
        let heights: Vec<_> = live_heights(head.batches).collect();
        if heights.len() != self.peaks.len() {
            return Err(ProofError::Peaks { expected: heights.len(), found: self.peaks.len() });
        }
        let words = heights.into_iter().zip(&self.peaks);
        let peaks = words.map(|(height, it)| it.word(Word::Peak, peak_slot(height, tenant), root));
        Ok(ProvenHistory { block, head, peaks: peaks.collect::<Result<_, _>>()? })
    }

    /// Its members as RLP, in order: half of what JSON takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        alloy_rlp::encode(self)
    }

    /// Reads these again; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let proof: Self = alloy_rlp::decode_exact(bytes).ok()?;
        proof.bounded().ok()?;
        Some(proof)
    }

    /// The tenant's head as it claims it.
    pub fn claimed_head(&self) -> Head {
        Head::from_word(self.head.value)
    }

    /// As much of it as a receipt of this batch takes; `None` of a batch that it knows nothing of.
    pub fn of_batch(&self, index: BatchIndex) -> Option<ProofBlock> {
        let batches = self.claimed_head().batches;
        let height = covering_peak(index, batches).ok()?.height;
        let at = live_heights(batches).position(|live| live == height)?;
        Some(ProofBlock {
            header: self.header.clone(),
            account_proof: self.account_proof.clone(),
            head: self.head.clone(),
            peak: self.peaks.get(at)?.clone(),
        })
    }

    /// Refuses what no block can have.
    pub(super) fn bounded(&self) -> Result<(), ReceiptError> {
        bound("proofBlock.peaks", "slots", self.peaks.len(), MAX_PEAKS)?;
        bounded_header(&self.header)?;
        bounded_nodes("proofBlock.accountProof", &self.account_proof)?;
        bounded_nodes("proofBlock.head.proof", &self.head.proof)?;
        self.peaks.iter().try_for_each(|it| bounded_nodes("proofBlock.peaks.proof", &it.proof))
    }
}
