//! What a node proves of a tenant's history: header, account and storage of one block.

use alloy::{
    primitives::{B256, Bytes, U256, keccak256},
    providers::Provider,
    rlp,
    rpc::types::Block,
};
use cofferdam_core::{
    BundleProof, SlotProof, TenantId, live_heights,
    storage::{Head, head_slot, peak_slot},
};

use crate::{Chain, ChainError};

const WHAT: &str = "cannot prove the contract's storage";

impl Chain {
    /// The proof of a tenant's head, and of all peaks of its history, at a block. It is what the node says:
    /// [`BundleProof::verify`] tells whether that holds. Nodes forget the state of old blocks.
    pub async fn prove(&self, tenant: TenantId, number: u64) -> Result<BundleProof, ChainError> {
        let slot = head_slot(tenant);
        let head = self.provider().get_storage_at(self.contract(), slot.into()).number(number);
        let head = Head::from_word(self.ask(WHAT, head.into_future()).await?.into());
        let peaks = live_heights(head.batches).map(|height| peak_slot(height, tenant));
        let wanted: Vec<_> = [slot].into_iter().chain(peaks).collect();

        let block = self.provider().get_block_by_number(number.into()).into_future();
        let block = self.ask(WHAT, block).await?;
        let unlike = |reason: String| ChainError::Malformed { what: "a storage proof", reason };
        let block = block.ok_or_else(|| unlike(format!("it has no block {number}")))?;
        let header = self.raw_header(&block).await?;
        let proof = self.provider().get_proof(self.contract(), wanted.clone()).number(number);
        let answer = self.ask(WHAT, proof.into_future()).await?;
        let (asked, told) = (wanted.len(), answer.storage_proof.len());
        if told != asked {
            return Err(unlike(format!("it proves {told} words instead of {asked}")));
        }
        let mut slots = wanted.into_iter().zip(answer.storage_proof).map(|(slot, answer)| {
            SlotProof { slot, value: answer.value.into(), proof: answer.proof }
        });
        let head = slots.next().ok_or_else(|| unlike("it proves no word".into()))?;
        let peaks = slots.collect();
        Ok(BundleProof { header, account_proof: answer.account_proof, head, peaks })
    }

    /// The bytes whose hash is the block's.
    async fn raw_header(&self, block: &Block) -> Result<Bytes, ChainError> {
        let encoded = Bytes::from(rlp::encode(&block.header.inner));
        if keccak256(&encoded) == block.header.hash {
            return Ok(encoded);
        }
        // A fork newer than this program: its node must help.
        let number = U256::from(block.header.number);
        let asked = self.provider().raw_request("debug_getRawHeader".into(), (number,));
        let raw: Bytes = self.ask("cannot read a raw header", asked).await?;
        let (hash, expected): (B256, _) = (keccak256(&raw), block.header.hash);
        match hash == expected {
            true => Ok(raw),
            false => Err(ChainError::Malformed {
                what: "a raw header",
                reason: format!("it hashes to {hash}, not to {expected}"),
            }),
        }
    }
}
