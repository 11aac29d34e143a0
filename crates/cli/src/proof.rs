//! Making a receipt final: by the node's proof of a final block, or by one that the daemon kept.

use alloy::{eips::BlockNumberOrTag, primitives::keccak256};
use cofferdam_contracts::Chain;
use cofferdam_core::{BatchIndex, BundleProof, Finality, Policy, Receipt};
use cofferdam_store::{Checkpoint, TenantTx};
use eyre::{Result, WrapErr, bail};
use tracing::warn;

/// Finds out how settled a receipt's block is, and proves a final one; `tx` is in its tenant's scope.
/// Without a node, and where the node has forgotten the state of its final block, the proof that the
/// daemon kept serves.
pub(crate) async fn settle(
    chain: Option<&Chain>,
    receipt: &mut Receipt,
    tx: &mut TenantTx,
) -> Result<()> {
    let Some(inclusion) = &mut receipt.inclusion else { return Ok(()) };
    let anchored = inclusion.anchor.block_number;
    let mut asked = None;
    if let Some(chain) = chain {
        // Development chains and pruned nodes may know neither tag.
        let tagged = async |tag| chain.header(tag).await.ok().flatten().map(|header| header.number);
        let last_final = tagged(BlockNumberOrTag::Finalized).await;
        if let Some(number) = last_final.filter(|number| anchored <= *number) {
            inclusion.finality = Finality::Final(None);
            asked = Some(chain.prove(receipt.tenant, number).await);
        } else {
            let safe = tagged(BlockNumberOrTag::Safe).await;
            if safe.is_some_and(|number| anchored <= number) {
                inclusion.finality = Finality::Safe;
            }
            if last_final.is_some() {
                return Ok(());
            }
        }
    }
    match asked {
        Some(Ok(proof)) => {
            return prove(receipt, &proof, tx)
                .await
                .wrap_err("what the endpoint proves is not what was anchored");
        }
        Some(Err(error)) => {
            warn!(%error, "no storage proof of the last final block, only one that was kept before");
        }
        None => {}
    }
    let Some(inclusion) = &receipt.inclusion else { return Ok(()) };
    match kept(chain, inclusion.batch.index, tx).await? {
        Some((_, proof)) => prove(receipt, &proof, tx)
            .await
            .wrap_err("what the daemon kept as proven is not what was anchored"),
        None => Ok(()),
    }
}

/// The proof that the daemon kept, and its block, if it says something of this batch and a node, where there
/// is one, has that block.
pub(crate) async fn kept(
    chain: Option<&Chain>,
    batch: BatchIndex,
    tx: &mut TenantTx,
) -> Result<Option<(Checkpoint, BundleProof)>> {
    let Some((at, proof)) = tx.kept_proof().await? else { return Ok(None) };
    if proof.claimed_head().batches <= batch.get() {
        return Ok(None);
    }
    if let Some(chain) = chain {
        let there = chain.header(at.number.into()).await?;
        if there.is_none_or(|header| header.hash != at.hash) {
            warn!(number = at.number, hash = %at.hash, "the endpoint has no block of a kept proof");
            return Ok(None);
        }
    }
    Ok(Some((at, proof)))
}

/// Puts a proof into a receipt, with the path for the size of the history that is proven, and demands that
/// they fit.
async fn prove(receipt: &mut Receipt, proof: &BundleProof, tx: &mut TenantTx) -> Result<()> {
    let Some(inclusion) = &mut receipt.inclusion else { return Ok(()) };
    let (index, batches) = (inclusion.batch.index, proof.claimed_head().batches);
    let Some(block) = proof.of_batch(index) else {
        bail!("at the proven block the contract has {batches} batches, and this is batch {index}");
    };
    let Some(path) = tx.path_to_peak(index, batches).await? else {
        bail!("the mirror is behind the chain's final block; run `cofferdam index --once`");
    };
    inclusion.history.batches = batches;
    inclusion.history.path = path;
    let block_hashes = vec![keccak256(&block.header)];
    inclusion.finality = Finality::Final(Some(Box::new(block)));
    let (chain_id, contract) = (receipt.chain_id, receipt.contract);
    let policy = Policy { chain_id, contract, code_hash: Some(receipt.code_hash), block_hashes };
    receipt.prove(&policy)?;
    Ok(())
}
