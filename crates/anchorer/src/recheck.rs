//! The last look at a batch before its root goes out.

use cofferdam_core::{BatchMerkle, BatchTree, EntryHash, verify_inclusion};
use cofferdam_store::{SealedBatch, Sealer};
use futures::{StreamExt, pin_mut};

use crate::AnchorError;

/// Hashes every entry of a sealed batch again from its stored bytes, and checks one proof as an auditor
/// would. Anything that does not give the sealed root halts the tenant and names the entry.
pub(crate) async fn recheck(sealer: &Sealer, batch: &SealedBatch) -> Result<(), AnchorError> {
    let (tenant, first) = (batch.tenant, batch.first_seq.get());
    let missing = async |seq: u64| -> Result<AnchorError, AnchorError> {
        let detail = format!("entry {seq} is not in the database");
        sealer.halt(tenant, "missing", &detail).await?;
        Ok(AnchorError::Missing { tenant, seq: seq.into() })
    };
    let mut tx = sealer.tenant(tenant).await?;
    let mut previous = match first.checked_sub(1) {
        None => EntryHash::ZERO,
        Some(seq) => match tx.entry(seq.into()).await? {
            Some(entry) => entry.entry_hash,
            None => return Err(missing(seq).await?),
        },
    };
    let mut leaves = Vec::with_capacity(usize::try_from(batch.count).unwrap_or_default());
    let mut fault = None;
    {
        let entries = tx.entries(batch.first_seq, batch.count);
        pin_mut!(entries);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            if let Err(found) = entry.verify(tenant, previous) {
                fault = Some((entry.seq, found.to_string()));
                break;
            }
            previous = entry.entry_hash;
            leaves.push(entry.entry_hash);
        }
    }
    drop(tx);
    if let Some((seq, fault)) = fault {
        sealer.halt(tenant, "tampered", &fault).await?;
        return Err(AnchorError::Tampered { tenant, seq, fault });
    }
    if leaves.len() as u64 != batch.count {
        return Err(missing(first + leaves.len() as u64).await?);
    }
    if !proves(&leaves, batch) {
        let fault = format!(
            "batch {} was sealed with root {}, and its entries {first} to {} give another",
            batch.index,
            batch.root,
            first + batch.count - 1
        );
        sealer.halt(tenant, "tampered", &fault).await?;
        return Err(AnchorError::Tampered { tenant, seq: batch.first_seq, fault });
    }
    Ok(())
}

/// Whether these leaves have the sealed root, and the path of one of them leads to it.
fn proves(leaves: &[EntryHash], batch: &SealedBatch) -> bool {
    let Some(tree) = BatchMerkle::new(leaves) else { return false };
    // Any will do; the root says which, so that it is not always the same.
    let (seed, _) = batch.root.as_bytes().split_at(8);
    let at = seed.iter().fold(0, |n: u64, byte| n << 8 | u64::from(*byte)) % batch.count;
    let leaf = usize::try_from(at).ok().and_then(|at| leaves.get(at));
    let (Some(path), Some(leaf)) = (tree.path(at), leaf) else { return false };
    let inclusion =
        verify_inclusion::<BatchTree>((*leaf).into(), at, batch.count, &path, batch.root.into());
    tree.root() == batch.root && inclusion.is_ok()
}
