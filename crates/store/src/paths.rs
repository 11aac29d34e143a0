//! Where an entry is anchored, and the paths that prove it, from a few nodes that were kept.

use std::collections::HashMap;

use alloy_primitives::B256;
use cofferdam_core::{
    AnchorRef, Batch, BatchCommitment, BatchIndex, BatchRoot, BatchTiles, EntryHash, Finality,
    History, HistoryNode, HistoryRef, HistoryTree, Inclusion, Seq, TreeHash, siblings,
};

use crate::{
    AnchoredEvent, LogPosition, Result, StoreError, TenantTx,
    row::{RowExt, bigint},
    tenant_tx::{anchored, anchored_columns},
};

const BEHIND: &str = "the mirror is not complete; run `cofferdam index --once`";
const REBUILD: &str = "the mirror was changed; run `cofferdam index rebuild`";

impl TenantTx {
    /// Where an entry is anchored, with the paths to its batch's root and to the peak over that batch;
    /// `None` while the mirror knows no such batch.
    ///
    /// Reads the leaves of one tile, the roots of the batch's tiles, and a node of the history for each
    /// height. What these do not lead to the batch's root and to the mirrored peak is an error.
    pub async fn inclusion(&mut self, seq: Seq) -> Result<Option<Inclusion>> {
        let Some(event) = self.anchored_with(seq).await? else { return Ok(None) };
        let batch = event.batch();
        let Some(position) = batch.leaf_index(seq) else { return Ok(None) };
        let path = self.path_in_batch(&batch, position).await?;
        let history = self.mirrored_history().await?;
        let unproven = |what| unproven(&batch, what);
        let history = history.ok_or_else(|| unproven(BEHIND.into()))?;
        let batches = history.batches();
        let history_path = self.path_to_peak(batch.index, batches).await?;
        let history_path = history_path.ok_or_else(|| unproven(BEHIND.into()))?;
        history
            .verify(batch.index, batch.commitment(), &history_path)
            .map_err(|error| unproven(format!("in the tenant's history, {error}: {REBUILD}")))?;
        let LogPosition { block_number, block_hash, tx_hash, log_index } = event.position;
        Ok(Some(Inclusion {
            batch,
            position,
            path,
            history: HistoryRef { batches, path: history_path },
            anchor: AnchorRef { transaction: tx_hash, log_index, block_number, block_hash },
            finality: Finality::Included,
        }))
    }

    /// The mirrored batch that an entry is in, or the last one before it.
    async fn anchored_with(&mut self, seq: Seq) -> Result<Option<AnchoredEvent>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            anchored_columns!(),
            " FROM cofferdam.anchored WHERE tenant_id = $1 AND chain_id = $2 AND first_seq <= $3 \
             ORDER BY first_seq DESC LIMIT 1"
        ))
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(bigint(seq.get(), "seq")?)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read a mirrored event"))?;
        row.as_ref().map(anchored).transpose()
    }

    /// The path from a leaf of an anchored batch to its root.
    async fn path_in_batch(&mut self, batch: &Batch, position: u64) -> Result<Vec<B256>> {
        let tiles = self.tiles(batch).await?;
        let unproven = |what| unproven(batch, what);
        let tile = tiles.tile(position).ok_or(StoreError::OutOfRange { what: "a position" })?;
        let (first, count) = (batch.first_seq.get() + tile.start, tile.end - tile.start);
        let leaves = self.entry_hashes(Seq(first), count).await?;
        tiles.path(position, &leaves).ok_or_else(|| {
            unproven(format!(
                "its entries {first} to {} are not those that were sealed: \
                 run `cofferdam verify --tenant {}`",
                first + count - 1,
                batch.tenant
            ))
        })
    }

    /// The tiles of a batch as they were kept, or the one of a batch that has no others. They have the
    /// batch's root.
    pub async fn tiles(&mut self, batch: &Batch) -> Result<BatchTiles> {
        let row = sqlx::query(
            "SELECT tiles FROM cofferdam.batches \
             WHERE tenant_id = $1 AND chain_id = $2 AND batch_index = $3 AND tiles IS NOT NULL",
        )
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(bigint(batch.index.get(), "batch index")?)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read a batch's tiles"))?;
        let Some(row) = row else { return Ok(BatchTiles::untiled(batch.count, batch.root)) };
        let roots = hashes(row.value("tiles")?).map(BatchRoot::from).collect();
        let tiles = BatchTiles::from_roots(batch.count, roots);
        tiles.filter(|tiles| tiles.root() == batch.root).ok_or_else(|| {
            unproven(
                batch,
                format!(
                    "its stored tiles do not give its root {}: the database was changed; with \
                     cofferdam.batches.tiles set to NULL its receipts are made without them",
                    batch.root
                ),
            )
        })
    }

    /// The stored hashes of these entries, of those that are there.
    async fn entry_hashes(&mut self, first: Seq, count: u64) -> Result<Vec<EntryHash>> {
        let rows = sqlx::query(
            "SELECT entry_hash FROM cofferdam.entries \
             WHERE tenant_id = $1 AND chain_id = $2 AND seq >= $3 AND seq < $4 ORDER BY seq",
        )
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(bigint(first.get(), "seq")?)
        .bind(bigint(first.get().saturating_add(count), "seq")?)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read entries' hashes"))?;
        rows.iter().map(|row| row.hash("entry_hash")).collect()
    }

    /// The tenant's history as it is mirrored; `None` before its first batch, and after a rewind until the
    /// indexer has made it again.
    async fn mirrored_history(&mut self) -> Result<Option<History>> {
        let row = sqlx::query(
            "SELECT batches, peaks FROM cofferdam.mirror_heads \
             WHERE tenant_id = $1 AND chain_id = $2 AND peaks IS NOT NULL",
        )
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read the tenant's mirrored history"))?;
        let Some(row) = row else { return Ok(None) };
        let peaks = hashes(row.value("peaks")?).collect();
        let history = History::from_peaks(row.number("batches")?, peaks);
        Ok(Some(history.map_err(|_| StoreError::Corrupt { column: "peaks" })?))
    }

    /// The path from a batch to the peak that covered it when the tenant had this many batches; `None` if
    /// the mirror has not as many. Nobody has checked where it leads.
    pub async fn path_to_peak(
        &mut self,
        index: BatchIndex,
        batches: u64,
    ) -> Result<Option<Vec<B256>>> {
        let Ok(wanted) = siblings(index, batches) else { return Ok(None) };
        let wanted: Vec<_> = wanted.collect();
        let mut nodes = Nodes::default();
        loop {
            let mut missing = vec![];
            // All of them, so that whatever is missing is read at once.
            let path: Vec<_> = wanted.iter().map(|node| nodes.node(*node, &mut missing)).collect();
            if missing.is_empty() {
                return Ok(path.into_iter().collect());
            }
            if !self.read_nodes(&missing, &mut nodes).await? {
                return Ok(None);
            }
        }
    }

    /// Reads what ends with these batches; returns whether all of them are mirrored.
    async fn read_nodes(&mut self, batches: &[BatchIndex], nodes: &mut Nodes) -> Result<bool> {
        let indices = batches.iter().map(|index| bigint(index.get(), "batch index"));
        let rows = sqlx::query(concat!(
            "SELECT ",
            anchored_columns!(),
            ", nodes FROM cofferdam.anchored \
             WHERE tenant_id = $1 AND chain_id = $2 AND batch_index = ANY($3)"
        ))
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(indices.collect::<Result<Vec<_>>>()?)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read nodes of the history"))?;
        for row in &rows {
            let batch = anchored(row)?.batch();
            let above = row.value::<Option<&[u8]>>("nodes")?.map(|above| hashes(above).collect());
            nodes.0.insert(batch.index, (batch.commitment(), above));
        }
        Ok(rows.len() == batches.len())
    }
}

/// Of some batches: the commitment, and the nodes of height 1 and up that end with it, if they were kept.
#[derive(Debug, Default)]
struct Nodes(HashMap<BatchIndex, (BatchCommitment, Option<Vec<B256>>)>);

impl Nodes {
    /// A node, made of those below where it was not kept; `None` if that takes batches that were not read,
    /// which are noted as missing.
    fn node(&self, node: HistoryNode, missing: &mut Vec<BatchIndex>) -> Option<B256> {
        let HistoryNode { height, last } = node;
        let Some((commitment, above)) = self.0.get(&last) else {
            missing.push(last);
            return None;
        };
        let at = usize::from(height).checked_sub(1);
        let kept = at.and_then(|at| above.as_ref()?.get(at));
        if let Some(kept) = kept {
            return Some(*kept);
        }
        let mut made = Some((*commitment).into());
        // To the end also once something is missing, so that all of it is read at once.
        for height in 0..height {
            let last = BatchIndex(last.get() - (1 << height));
            let left = self.node(HistoryNode { height, last }, missing);
            made = made.zip(left).map(|(right, left)| HistoryTree::node(&left, &right));
        }
        made
    }
}

/// Hashes that were stored one after another.
fn hashes(bytes: &[u8]) -> impl Iterator<Item = B256> {
    bytes.chunks_exact(32).map(B256::from_slice)
}

fn unproven(batch: &Batch, what: String) -> StoreError {
    StoreError::Unproven { tenant: batch.tenant, batch: batch.index, what }
}
