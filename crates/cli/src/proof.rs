//! What a node proves of a tenant's history: header, account and storage of a final block.

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{B256, Bytes, U256, keccak256},
    providers::Provider,
    rlp,
    rpc::types::Block,
};
use cofferdam_contracts::Chain;
use cofferdam_core::{
    BatchIndex, BundleProof, Finality, Inclusion, Policy, ProofBlock, Receipt, SlotProof, TenantId,
    covering_peak,
    storage::{Head, head_slot, peak_slot},
};
use cofferdam_store::TenantTx;
use eyre::{Result, WrapErr, bail};

/// Finds out how settled a receipt's block is, and proves a final one; `tx` is in its tenant's scope.
pub(crate) async fn settle(chain: &Chain, receipt: &mut Receipt, tx: &mut TenantTx) -> Result<()> {
    let tenant = receipt.tenant;
    let Some(inclusion) = &mut receipt.inclusion else { return Ok(()) };
    let anchored = inclusion.anchor.block_number;
    // Development chains and pruned nodes may know neither tag.
    let tagged = async |tag| chain.header(tag).await.ok().flatten().map(|header| header.number);
    let reached = |number: Option<u64>| number.is_some_and(|number| anchored <= number);
    let finalized = tagged(BlockNumberOrTag::Finalized).await;
    let Some(number) = finalized.filter(|_| reached(finalized)) else {
        if reached(tagged(BlockNumberOrTag::Safe).await) {
            inclusion.finality = Finality::Safe;
        }
        return Ok(());
    };
    inclusion.finality = Finality::Final(None);
    let proof = match prove(chain, tenant, inclusion.batch.index, number).await {
        Ok(proof) => proof,
        Err(error) => {
            let error = chain.error("cannot prove the contract's storage", error.as_ref());
            tracing::warn!(%error, number, "the receipt has no storage proof");
            return Ok(());
        }
    };
    refresh(inclusion, &proof, tx).await?;
    let block_hashes = vec![keccak256(&proof.header)];
    inclusion.finality = Finality::Final(Some(Box::new(proof)));
    let policy = Policy {
        chain_id: chain.chain_id(),
        contract: chain.contract(),
        code_hash: Some(chain.code_hash()),
        block_hashes,
    };
    receipt.prove(&policy).wrap_err("what the endpoint proves is not what was anchored")?;
    Ok(())
}

/// Makes the path one for the size that is proven.
async fn refresh(inclusion: &mut Inclusion, proof: &ProofBlock, tx: &mut TenantTx) -> Result<()> {
    let batches = Head::from_word(proof.head.value).batches;
    let Some(path) = tx.path_to_peak(inclusion.batch.index, batches).await? else {
        bail!("the mirror is behind the chain's final block; run `cofferdam index --once`");
    };
    inclusion.history.batches = batches;
    inclusion.history.path = path;
    Ok(())
}

/// The proof of a tenant's head, and of the peak over a batch, at this block.
async fn prove(
    chain: &Chain,
    tenant: TenantId,
    index: BatchIndex,
    number: u64,
) -> Result<ProofBlock> {
    let batches = head_at(chain, tenant, number).await?.batches;
    let height = covering_peak(index, batches)?.height;
    let Proven { header, account_proof, slots } =
        slots(chain, vec![head_slot(tenant), peak_slot(height, tenant)], number).await?;
    let Ok([head, peak]) = <[_; 2]>::try_from(slots) else { bail!(FEWER) };
    Ok(ProofBlock { header, account_proof, head, peak })
}

/// The proof of a tenant's head and of all its live peaks, highest first.
pub(crate) async fn prove_all(
    chain: &Chain,
    tenant: TenantId,
    number: u64,
) -> Result<(Head, BundleProof)> {
    let head = head_at(chain, tenant, number).await?;
    let heights = (0..u64::BITS as u8).rev().filter(|height| head.batches >> height & 1 == 1);
    let wanted = [head_slot(tenant)].into_iter().chain(heights.map(|it| peak_slot(it, tenant)));
    let Proven { header, account_proof, slots: mut peaks } =
        slots(chain, wanted.collect(), number).await?;
    if peaks.is_empty() {
        bail!(FEWER);
    }
    let slot = peaks.remove(0);
    Ok((head, BundleProof { header, account_proof, head: slot, peaks }))
}

const FEWER: &str = "the endpoint proves fewer words than were asked for";

async fn head_at(chain: &Chain, tenant: TenantId, number: u64) -> Result<Head> {
    let slot = head_slot(tenant).into();
    let word = chain.provider().get_storage_at(chain.contract(), slot).number(number).await?;
    Ok(Head::from_word(word.into()))
}

/// What a node proves of some words.
struct Proven {
    header: Bytes,
    account_proof: Vec<Bytes>,
    slots: Vec<SlotProof>,
}

async fn slots(chain: &Chain, slots: Vec<B256>, number: u64) -> Result<Proven> {
    let (provider, contract) = (chain.provider(), chain.contract());
    let Some(block) = provider.get_block_by_number(number.into()).await? else {
        bail!("the endpoint has no block {number}");
    };
    let header = raw_header(chain, &block).await?;
    let answer = provider.get_proof(contract, slots.clone()).number(number).await?;
    if answer.storage_proof.len() != slots.len() {
        bail!(FEWER);
    }
    let proven = slots.into_iter().zip(answer.storage_proof).map(|(slot, answer)| SlotProof {
        slot,
        value: answer.value.into(),
        proof: answer.proof,
    });
    Ok(Proven { header, account_proof: answer.account_proof, slots: proven.collect() })
}

/// The bytes whose hash is the block's.
async fn raw_header(chain: &Chain, block: &Block) -> Result<Bytes> {
    let encoded = Bytes::from(rlp::encode(&block.header.inner));
    if keccak256(&encoded) == block.header.hash {
        return Ok(encoded);
    }
    // A fork newer than this program: its node must help.
    let number = U256::from(block.header.number);
    let raw: Bytes = chain.provider().raw_request("debug_getRawHeader".into(), (number,)).await?;
    let hash: B256 = keccak256(&raw);
    if hash != block.header.hash {
        bail!("the endpoint's header hashes to {hash}, not to {}", block.header.hash);
    }
    Ok(raw)
}
