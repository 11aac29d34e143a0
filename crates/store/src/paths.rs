//! Where an entry is anchored, and the paths that prove it, from a few nodes that were kept.

use std::collections::HashMap;

use alloy_primitives::B256;
use cofferdam_core::{
    AnchorRef, Batch, BatchCommitment, BatchIndex, BatchRoot, BatchTiles, EntryHash, Finality,
    History, HistoryNode, HistoryRef, HistoryTree, Inclusion, Seq, TILE_LEAVES, TreeHash,
    live_heights, siblings,
};
use futures::{Stream, StreamExt, TryStreamExt};
use sqlx::postgres::PgRow;

use crate::{
    AnchoredEvent, LogPosition, Result, StoreError, TenantTx,
    row::{RowExt, bigint},
    tenant_tx::{anchored, anchored_columns},
};

const BEHIND: &str = "the mirror is not complete; run `cofferdam index --once`";
const REBUILD: &str = "the mirror was changed; run `cofferdam index rebuild`";
/// Batches that a history is grown by to see where it leads; of more than these nobody waits for that.
const FEW: u64 = 65_536;

impl TenantTx {
    /// Where an entry is anchored, with the paths to its batch's root and to the peak over that batch;
    /// `None` while the mirror knows no such batch.
    ///
    /// Reads the leaves of one tile, the roots of the batch's tiles, and a node of the history for each
    /// height, in two statements. What these do not lead to the batch's root and to the mirrored peak is
    /// an error.
    pub async fn inclusion(&mut self, seq: Seq) -> Result<Option<Inclusion>> {
        let Some(Place { event, tiles, leaves, history }) = self.place(seq).await? else {
            return Ok(None);
        };
        let batch = event.batch();
        let Some(position) = batch.leaf_index(seq) else { return Ok(None) };
        let unproven = |what| unproven(&batch, what);
        let tiles = stored_tiles(&batch, tiles)?;
        let path = tiles.path(position, &leaves).ok_or_else(|| {
            let tile = tiles.tile(position).unwrap_or_default();
            let first = batch.first_seq.get();
            unproven(format!(
                "its entries {} to {} are not those that were sealed: \
                 run `cofferdam verify --tenant {}`",
                first + tile.start,
                first + tile.end - 1,
                batch.tenant
            ))
        })?;
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

    /// What is stored of the mirrored batch that an entry was sealed into, or of the last one before it.
    async fn place(&mut self, seq: Seq) -> Result<Option<Place>> {
        // A batch without tiles is one tile of all its leaves, as [`BatchTiles::untiled`] has it.
        let row = sqlx::query(concat!(
            "SELECT a.*, b.tiles, h.batches, h.peaks, \
                 (SELECT string_agg(e.entry_hash, '' ORDER BY e.seq) FROM cofferdam.entries e \
                     WHERE e.tenant_id = $1 AND e.chain_id = $2 AND e.seq >= tile.first \
                         AND e.seq < least(tile.first + size.leaves, a.first_seq + a.count)) AS leaves \
             FROM (SELECT batch_index, tiles FROM cofferdam.batches \
                 WHERE tenant_id = $1 AND chain_id = $2 AND first_seq BETWEEN 0 AND $3 \
                 ORDER BY first_seq DESC LIMIT 1) b \
             CROSS JOIN LATERAL (SELECT ",
            anchored_columns!(),
            " FROM cofferdam.anchored \
                 WHERE tenant_id = $1 AND chain_id = $2 AND anchored.batch_index = b.batch_index) a \
             LEFT JOIN cofferdam.mirror_heads h ON h.tenant_id = $1 AND h.chain_id = $2 \
                 AND h.peaks IS NOT NULL, \
             LATERAL (SELECT CASE WHEN b.tiles IS NULL THEN greatest(a.count, 1) ELSE $4 END AS leaves) size, \
             LATERAL (SELECT $3 - ($3 - a.first_seq) % size.leaves AS first) tile"
        ))
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(bigint(seq.get(), "seq")?)
        .bind(bigint(TILE_LEAVES, "tile")?)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read where an entry is anchored"))?;
        row.as_ref().map(Place::read).transpose()
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
        stored_tiles(batch, row.as_ref().map(|row| row.value("tiles")).transpose()?)
    }

    /// The path from a batch to the peak that covered it when the tenant had this many batches; `None` if
    /// the mirror has not as many. Nobody has checked where it leads.
    pub async fn path_to_peak(
        &mut self,
        index: BatchIndex,
        batches: u64,
    ) -> Result<Option<Vec<B256>>> {
        let Ok(wanted) = siblings(index, batches) else { return Ok(None) };
        self.nodes(&wanted.collect::<Vec<_>>()).await
    }

    /// The history that the tenant's first so many batches made, from a few nodes. `None` unless what came since
    /// leads from there to the peaks that are mirrored.
    pub(crate) async fn history_before(&mut self, batches: u64) -> Result<Option<History>> {
        let row = sqlx::query(
            "SELECT batches, peaks FROM cofferdam.mirror_heads \
             WHERE tenant_id = $1 AND chain_id = $2 AND peaks IS NOT NULL",
        )
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read a tenant's history"))?;
        let Some(row) = row else { return Ok(None) };
        let corrupt = |_| StoreError::Corrupt { column: "peaks" };
        let peaks = hashes(row.value("peaks")?).collect();
        let now = History::from_peaks(row.number("batches")?, peaks).map_err(corrupt)?;
        if now.batches().checked_sub(batches).is_none_or(|since| since > FEW) {
            return Ok(None);
        }
        let mut end = 0;
        let wanted = live_heights(batches).map(|height| {
            end += 1 << height;
            HistoryNode { height, last: BatchIndex(end - 1) }
        });
        let Some(peaks) = self.nodes(&wanted.collect::<Vec<_>>()).await? else { return Ok(None) };
        let history = History::from_peaks(batches, peaks).map_err(corrupt)?;
        let mut grown = history.clone();
        let mut since = std::pin::pin!(self.batches_and_nodes(batches.into()));
        while let Some((batch, _)) = since.try_next().await? {
            grown.append(batch.commitment()).map_err(corrupt)?;
        }
        Ok((grown == now).then_some(history))
    }

    /// The tenant's mirrored batches from one on, in order, each with the nodes of the history that are kept
    /// with it: the roots of the full trees of 2, 4, 8, … batches that end with it. `None` where none are kept.
    pub fn batches_and_nodes(
        &mut self,
        from: BatchIndex,
    ) -> impl Stream<Item = Result<(Batch, Option<Vec<B256>>)>> + Send + '_ {
        sqlx::query(concat!(
            "SELECT ",
            anchored_columns!(),
            ", nodes FROM cofferdam.anchored WHERE tenant_id = $1 AND chain_id = $2 \
                 AND batch_index >= $3 ORDER BY batch_index"
        ))
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(i64::try_from(from.get()).unwrap_or(i64::MAX))
        .fetch(&mut *self.tx)
        .map(|row| batch_and_nodes(&row.map_err(StoreError::database("read mirrored batches"))?))
    }

    /// Nodes of the history, made of those below where they were not kept; `None` if the mirror lacks batches
    /// that they are made of.
    async fn nodes(&mut self, wanted: &[HistoryNode]) -> Result<Option<Vec<B256>>> {
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
            "SELECT a.* FROM unnest($3::bigint[]) AS wanted (index), LATERAL (SELECT ",
            anchored_columns!(),
            ", nodes FROM cofferdam.anchored \
                 WHERE tenant_id = $1 AND chain_id = $2 AND batch_index = wanted.index LIMIT 1) a"
        ))
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(indices.collect::<Result<Vec<_>>>()?)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read nodes of the history"))?;
        for row in &rows {
            let (batch, above) = batch_and_nodes(row)?;
            nodes.0.insert(batch.index, (batch.commitment(), above));
        }
        Ok(rows.len() == batches.len())
    }
}

/// What is stored of an entry's batch.
struct Place {
    event: AnchoredEvent,
    /// The roots of its tiles, if they were kept.
    tiles: Option<Vec<u8>>,
    /// The stored hashes of the entries of the entry's tile, of those that are there.
    leaves: Vec<EntryHash>,
    /// The tenant's history as it is mirrored; `None` after a rewind, until the indexer has made it again.
    history: Option<History>,
}

impl Place {
    fn read(row: &PgRow) -> Result<Self> {
        let leaves: Option<&[u8]> = row.value("leaves")?;
        let peaks: Option<&[u8]> = row.value("peaks")?;
        let history = peaks.map(|peaks| {
            let history = History::from_peaks(row.number("batches")?, hashes(peaks).collect());
            history.map_err(|_| StoreError::Corrupt { column: "peaks" })
        });
        Ok(Self {
            event: anchored(row)?,
            tiles: row.value("tiles")?,
            leaves: hashes(leaves.unwrap_or_default()).map(EntryHash::from).collect(),
            history: history.transpose()?,
        })
    }
}

/// The tiles with these roots, or the one of a batch that has no others, if they have the batch's root.
fn stored_tiles(batch: &Batch, roots: Option<Vec<u8>>) -> Result<BatchTiles> {
    let Some(roots) = roots else { return Ok(BatchTiles::untiled(batch.count, batch.root)) };
    let roots = hashes(&roots).map(BatchRoot::from).collect();
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

/// A mirrored batch, and the nodes that are kept with it.
fn batch_and_nodes(row: &PgRow) -> Result<(Batch, Option<Vec<B256>>)> {
    let nodes = row.value::<Option<&[u8]>>("nodes")?.map(|nodes| hashes(nodes).collect());
    Ok((anchored(row)?.batch(), nodes))
}

/// Hashes that were stored one after another.
fn hashes(bytes: &[u8]) -> impl Iterator<Item = B256> {
    bytes.chunks_exact(32).map(B256::from_slice)
}

fn unproven(batch: &Batch, what: String) -> StoreError {
    StoreError::Unproven { tenant: batch.tenant, batch: batch.index, what }
}
