//! A tenant's history, from its events alone.

use cofferdam_contracts::{Chain, Event};
use cofferdam_core::{AnchorRef, Batch, TenantId};
use eyre::{Result, bail};

/// A batch, and the event that anchored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnchoredBatch {
    pub(crate) batch: Batch,
    pub(crate) anchor: AnchorRef,
}

/// All batches in a range of blocks, none left out between them.
pub(crate) async fn read(
    chain: &Chain,
    tenant: TenantId,
    from: u64,
    to: u64,
) -> Result<Vec<AnchoredBatch>> {
    let mut batches: Vec<AnchoredBatch> = vec![];
    for logged in chain.anchored(tenant, from, to).await? {
        let Event::Anchored(batch) = logged.event else { continue };
        if batch.index.get() != batches.len() as u64 {
            bail!(
                "the endpoint {} left out events: batch {} follows {} batches; try another endpoint, or \
                 an earlier --from-block",
                chain.url(),
                batch.index,
                batches.len()
            );
        }
        let anchor = AnchorRef {
            transaction: logged.tx_hash,
            log_index: logged.log_index,
            block_number: logged.block_number,
            block_hash: logged.block_hash,
        };
        batches.push(AnchoredBatch { batch, anchor });
    }
    Ok(batches)
}
