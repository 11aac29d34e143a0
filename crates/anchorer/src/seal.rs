//! Turns a tenant's entries since its last batch into its next batch.

use std::time::Duration;

use cofferdam_core::{BatchMerkle, EntryHash};
use cofferdam_store::{Head, SealedBatch, Sealer};
use futures::{StreamExt, pin_mut};
use tracing::info;

use crate::AnchorError;

/// When a tenant's entries become a batch.
#[derive(Debug, Clone, Copy)]
pub struct SealPolicy {
    /// As soon as there are this many; also the most that one batch holds.
    pub max_entries: u64,
    /// As soon as the oldest of them is this old.
    pub max_age: Duration,
}

impl Default for SealPolicy {
    fn default() -> Self {
        Self { max_entries: 65_536, max_age: Duration::from_secs(60) }
    }
}

impl SealPolicy {
    /// Whether a tenant's next batch is due.
    fn is_due(&self, head: &Head) -> bool {
        let age = head.oldest_unsealed_at.and_then(|at| at.elapsed().ok());
        head.unsealed() >= self.max_entries || age.is_some_and(|age| age >= self.max_age)
    }
}

/// Seals what is due of one tenant, or whatever there is when `flush` is set. Entries are hashed again
/// from what is stored; the tenant is halted when one is not what was acknowledged.
pub async fn seal(
    sealer: &Sealer,
    head: &Head,
    policy: &SealPolicy,
    flush: bool,
) -> Result<Vec<SealedBatch>, AnchorError> {
    let mut batches = vec![];
    let mut head = head.clone();
    while head.halted.is_none() && head.unsealed() > 0 && (flush || policy.is_due(&head)) {
        let batch = seal_one(sealer, &head, policy.max_entries).await?;
        head.sealed_seq = (batch.first_seq.get() + batch.count).into();
        // What remains is younger than what was just sealed: at most one batch more than is due.
        if head.unsealed() < policy.max_entries && !flush {
            head.oldest_unsealed_at = None;
        }
        batches.push(batch);
    }
    Ok(batches)
}

async fn seal_one(
    sealer: &Sealer,
    head: &Head,
    max_entries: u64,
) -> Result<SealedBatch, AnchorError> {
    let tenant = head.tenant;
    let first = head.sealed_seq.get();
    let count = head.unsealed().min(max_entries);
    let mut tx = sealer.tenant(tenant).await?;

    let mut previous = match first.checked_sub(1) {
        None => EntryHash::ZERO,
        Some(seq) => match tx.entry(seq.into()).await? {
            Some(entry) => entry.entry_hash,
            None => return Err(missing(sealer, head, seq).await?),
        },
    };
    let mut leaves = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    {
        let entries = tx.entries(first.into(), count);
        pin_mut!(entries);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if let Err(fault) = entry.verify(tenant, previous) {
                let (seq, fault) = (entry.seq, fault.to_string());
                sealer.halt(tenant, "tampered", &fault).await?;
                return Err(AnchorError::Tampered { tenant, seq, fault });
            }
            previous = entry.entry_hash;
            leaves.push(entry.entry_hash);
        }
    }
    if leaves.len() as u64 != count {
        return Err(missing(sealer, head, first + leaves.len() as u64).await?);
    }
    let Some(tree) = BatchMerkle::new(&leaves) else {
        return Err(missing(sealer, head, first).await?);
    };
    let root = tree.root();
    let batch = tx.insert_batch(first.into(), count, root).await?;
    tx.commit().await?;
    info!(%tenant, batch = %batch.index, first_seq = first, count, "batch sealed");
    Ok(batch)
}

async fn missing(sealer: &Sealer, head: &Head, seq: u64) -> Result<AnchorError, AnchorError> {
    let tenant = head.tenant;
    sealer.halt(tenant, "missing", &format!("entry {seq} is not in the database")).await?;
    Ok(AnchorError::Missing { tenant, seq: seq.into() })
}
