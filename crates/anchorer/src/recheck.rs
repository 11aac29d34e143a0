//! The last look at a batch before its root goes out.

use cofferdam_core::{BatchMerkle, BatchTree, EntryHash, Seq, TenantId, verify_inclusion};
use cofferdam_store::{SealedBatch, Sealer, StoreError, TenantTx};
use futures::{TryStreamExt, pin_mut};

use crate::AnchorError;

/// What is not as it was appended and sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The entry it was found at.
    pub seq: Seq,
    /// Whether the database has that entry.
    pub missing: bool,
    /// Which hash or entry, never a field value.
    pub detail: String,
}

/// Looks at a batch as [`fault`] does; what it finds halts the tenant.
pub(crate) async fn recheck(sealer: &Sealer, batch: &SealedBatch) -> Result<(), AnchorError> {
    let tenant = batch.tenant;
    let found = fault(&mut sealer.tenant(tenant).await?, batch).await?;
    let Some(Fault { seq, missing, detail }) = found else { return Ok(()) };
    sealer.halt(tenant, if missing { "missing" } else { "tampered" }, &detail).await?;
    Err(if missing {
        AnchorError::Missing { tenant, seq }
    } else {
        AnchorError::Tampered { tenant, seq, fault: detail }
    })
}

/// Hashes every entry of a sealed batch again from its stored bytes, and checks one proof as an auditor
/// would. The first thing that does not lead to the sealed root, if there is one.
pub async fn fault(tx: &mut TenantTx, batch: &SealedBatch) -> Result<Option<Fault>, StoreError> {
    let first = batch.first_seq;
    let leaves = match leaves(tx, batch.tenant, first, batch.count).await? {
        Ok(leaves) => leaves,
        Err(fault) => return Ok(Some(fault)),
    };
    Ok((!proves(&leaves, batch)).then(|| Fault {
        seq: first,
        missing: false,
        detail: format!(
            "batch {} was sealed with root {}, and its entries {first} to {} give another",
            batch.index,
            batch.root,
            first.get() + batch.count - 1
        ),
    }))
}

/// Hashes `count` entries of a tenant again from their stored bytes, each onto the one before; the first
/// that is not there or not what it was.
pub async fn leaves(
    tx: &mut TenantTx,
    tenant: TenantId,
    first: Seq,
    count: u64,
) -> Result<Result<Vec<EntryHash>, Fault>, StoreError> {
    let missing = |seq: u64| Fault {
        seq: seq.into(),
        missing: true,
        detail: format!("entry {seq} is not in the database"),
    };
    let mut previous = match first.get().checked_sub(1) {
        None => EntryHash::ZERO,
        Some(seq) => match tx.entry(seq.into()).await? {
            Some(entry) => entry.entry_hash,
            None => return Ok(Err(missing(seq))),
        },
    };
    let mut leaves = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    let entries = tx.entries(first, count);
    pin_mut!(entries);
    while let Some(entry) = entries.try_next().await? {
        if let Err(found) = entry.verify(tenant, previous) {
            let detail = found.to_string();
            return Ok(Err(Fault { seq: entry.seq, missing: false, detail }));
        }
        previous = entry.entry_hash;
        leaves.push(entry.entry_hash);
    }
    Ok(match leaves.len() as u64 {
        all if all == count => Ok(leaves),
        some => Err(missing(first.get() + some)),
    })
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
