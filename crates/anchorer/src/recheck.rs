//! What was sealed, hashed again from what is stored.

use cofferdam_core::{BatchTiles, BatchTree, EntryHash, Seq, TenantId, verify_inclusion};
use cofferdam_store::{LeafFault, SealedBatch, Sealer, StoreError, TenantTx};

use crate::AnchorError;

/// What is not as it was appended and sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The entry it was found at.
    pub seq: Seq,
    /// Whether the database has no such entry.
    pub missing: bool,
    /// Which hash or entry, never a field value.
    pub detail: String,
}

impl From<LeafFault> for Fault {
    fn from(fault: LeafFault) -> Self {
        let missing = matches!(fault, LeafFault::Missing(_));
        Self { seq: fault.seq(), missing, detail: fault.to_string() }
    }
}

/// The last look at a batch before its root goes out, as [`fault`] takes it; what it finds halts the tenant.
pub(crate) async fn recheck(sealer: &Sealer, batch: &SealedBatch) -> Result<(), AnchorError> {
    let found = fault(&mut sealer.tenant(batch.tenant).await?, batch).await?;
    match found {
        Some(fault) => Err(halt(sealer, batch.tenant, fault).await?),
        None => Ok(()),
    }
}

/// Halts a tenant for a fault, and says why.
pub(crate) async fn halt(
    sealer: &Sealer,
    tenant: TenantId,
    Fault { seq, missing, detail }: Fault,
) -> Result<AnchorError, StoreError> {
    sealer.halt(tenant, if missing { "missing" } else { "tampered" }, &detail).await?;
    Ok(if missing {
        AnchorError::Missing { tenant, seq }
    } else {
        AnchorError::Tampered { tenant, seq, fault: detail }
    })
}

/// Hashes every entry of a sealed batch again from its stored bytes, and checks one proof as an auditor
/// would. The first thing that does not lead to the sealed root, if there is one.
pub async fn fault(tx: &mut TenantTx, batch: &SealedBatch) -> Result<Option<Fault>, AnchorError> {
    let first = batch.first_seq;
    let leaves = match tx.leaves(first, batch.count, u64::MAX).await? {
        Ok(leaves) => leaves.hashes,
        Err(fault) => return Ok(Some(fault.into())),
    };
    let tiles = proven_tiles(batch.tenant, first, leaves).await?;
    Ok((tiles.root() != batch.root).then(|| Fault {
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

/// The tree of a tenant's entries from `first` on, after the path of one of them, which nobody chose, led
/// to its root as an auditor will check it.
pub(crate) async fn proven_tiles(
    tenant: TenantId,
    first: Seq,
    leaves: Vec<EntryHash>,
) -> Result<BatchTiles, AnchorError> {
    let building = tokio::task::spawn_blocking(move || {
        let tiles = BatchTiles::new(&leaves)?;
        let (root, count) = (tiles.root(), tiles.count());
        let [.., a, b, c, d] = *root.as_bytes();
        let index = u64::from(u32::from_be_bytes([a, b, c, d])) % count;
        let tile = tiles.tile(index)?;
        let tile = usize::try_from(tile.start).ok()?..usize::try_from(tile.end).ok()?;
        let leaf = leaves[usize::try_from(index).ok()?].into();
        let path = tiles.path(index, &leaves[tile])?;
        verify_inclusion::<BatchTree>(leaf, index, count, &path, root.into()).ok()?;
        Some(tiles)
    });
    building.await.ok().flatten().ok_or(AnchorError::NoProof { tenant, first })
}
