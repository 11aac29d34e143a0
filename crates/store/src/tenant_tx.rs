//! The one door to tenant data.
//!
//! A row is asked for by its key as a range of one, in the key's order. There are no statistics, so that
//! the planner holds every index that begins with the tenant for as good and reads all of a tenant's rows
//! by another one; the order is what tells it which is meant.

use std::time::Duration;

use alloy_primitives::{B256, keccak256};
use cofferdam_core::{
    BatchIndex, BatchRoot, BatchTiles, FieldName, Fields, MAX_BATCH_COUNT, Seq, TenantId,
};
use futures::{Stream, StreamExt};
use sqlx::{Postgres, Row, Transaction, postgres::PgRow};

use crate::{
    AnchoredAt, AnchoredEvent, Head, LogPosition, Result, SealSettings, SealedBatch, StoreError,
    StoredEntry,
    clock::Clock,
    entry::EntryParts,
    lease::hold,
    pool::Handle,
    row::{RowExt, bigint},
};

/// The columns of an entry, in the order of [`FieldName::ALL`] where it matters.
macro_rules! entry_columns {
    () => {
        "seq, external_id_tag, previous, commitment, entry_hash, seed, action, actor, external_id, \
         occurred_at, payload, policy_version, reason, recorded_at, resource, result"
    };
}

macro_rules! batch_columns {
    () => {
        "b.tenant_id, b.batch_index, b.first_seq, b.count, b.root, \
         (extract(epoch FROM b.sealed_at) * 1000000)::bigint AS sealed_at, \
         b.anchored_at, b.block_number, b.block_hash, b.tx_hash, b.log_index"
    };
}

macro_rules! anchored_columns {
    () => {
        "tenant_id, batch_index, first_seq, count, root, anchored_at, block_number, block_hash, \
         tx_hash, log_index"
    };
}

macro_rules! head_columns {
    () => {
        "h.tenant_id, t.name, h.next_seq, h.last_entry_hash, h.sealed_seq, h.sealed_batches, \
         (extract(epoch FROM h.oldest_unsealed_at) * 1000000)::bigint AS oldest_unsealed_at, \
         h.unsealed_bytes, h.halted, t.seal_entries, t.seal_bytes, t.seal_seconds"
    };
}

pub(crate) use {anchored_columns, batch_columns, entry_columns, head_columns};

/// A transaction in one tenant's scope, on one chain. Dropped without [`TenantTx::commit`], it is rolled
/// back. It has methods only and never hands out its connection.
#[derive(Debug)]
pub struct TenantTx {
    pub(crate) tx: Transaction<'static, Postgres>,
    tenant: TenantId,
    chain: i64,
    chain_id: u64,
    /// The leader's epoch, which its writes hold.
    epoch: Option<i64>,
    /// When entries are recorded.
    pub(crate) clock: Clock,
}

impl TenantTx {
    /// Begins a transaction in the scope of `tenant`.
    pub(crate) async fn open(handle: &Handle, tenant: TenantId) -> Result<Self> {
        let tx = handle.begin().await?;
        Self::enter(tx, handle, tenant).await
    }

    /// Takes the scope of `tenant`, for the rest of this transaction. Nothing else sets it.
    pub(crate) async fn enter(
        mut tx: Transaction<'static, Postgres>,
        handle: &Handle,
        tenant: TenantId,
    ) -> Result<Self> {
        sqlx::query(
            "SELECT set_config('cofferdam.chain_id', $1, true), \
                    set_config('cofferdam.tenant_id', encode($2, 'hex'), true)",
        )
        .bind(handle.chain().to_string())
        .bind(tenant.as_b256().as_slice())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("set the tenant's scope"))?;
        let (chain, chain_id, clock) = (handle.chain(), handle.chain_id(), handle.clock().clone());
        Ok(Self { tx, tenant, chain, chain_id, epoch: None, clock })
    }

    /// The same, for a leader: its writes are refused once another one leads.
    pub(crate) fn fenced(self, epoch: Option<i64>) -> Self {
        Self { epoch, ..self }
    }

    /// Whose rows this sees.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub(crate) fn chain(&self) -> i64 {
        self.chain
    }

    /// Makes sure that what follows is written by whoever leads, where this was opened by a leader.
    pub(crate) async fn hold_lead(&mut self) -> Result<()> {
        hold(&mut self.tx, self.chain, self.epoch).await
    }

    /// Where the tenant's chain ends, without holding it there.
    pub async fn head(&mut self) -> Result<Head> {
        self.read_head(concat!(
            "SELECT ",
            head_columns!(),
            " FROM cofferdam.heads h \
             JOIN cofferdam.tenants t USING (tenant_id, chain_id) \
             WHERE h.tenant_id = $1 AND h.chain_id = $2"
        ))
        .await
    }

    /// Where the tenant's chain ends, held there until this transaction ends. For the sealer only.
    pub async fn lock_head(&mut self) -> Result<Head> {
        self.read_head(concat!(
            "SELECT ",
            head_columns!(),
            " FROM cofferdam.heads h \
             JOIN cofferdam.tenants t USING (tenant_id, chain_id) \
             WHERE h.tenant_id = $1 AND h.chain_id = $2 FOR UPDATE OF h"
        ))
        .await
    }

    async fn read_head(&mut self, sql: &'static str) -> Result<Head> {
        let row = sqlx::query(sql)
            .bind(self.tenant.as_b256().as_slice())
            .bind(self.chain)
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(StoreError::database("read the tenant's head"))?;
        row.as_ref().map(head).transpose()?.ok_or_else(|| self.unknown())
    }

    pub(crate) fn unknown(&self) -> StoreError {
        StoreError::UnknownTenant { tenant: self.tenant, chain_id: self.chain_id }
    }

    /// The entries `from .. from + count`, in order and streamed: memory stays flat however many there
    /// are. Entries that are missing are simply not in it; the caller counts.
    pub fn entries(
        &mut self,
        from: Seq,
        count: u64,
    ) -> impl Stream<Item = Result<StoredEntry>> + Send + '_ {
        // No entry is stored beyond what a bigint holds, so an end past it may stop there.
        let first = i64::try_from(from.get()).unwrap_or(i64::MAX);
        let end = i64::try_from(from.get().saturating_add(count)).unwrap_or(i64::MAX);
        sqlx::query(concat!(
            "SELECT ",
            entry_columns!(),
            " FROM cofferdam.entries \
             WHERE tenant_id = $1 AND chain_id = $2 AND seq >= $3 AND seq < $4 ORDER BY seq"
        ))
        .bind(self.tenant.as_b256().0)
        .bind(self.chain)
        .bind(first)
        .bind(end)
        .fetch(&mut *self.tx)
        .map(|row| entry(&row.map_err(StoreError::database("read entries"))?))
    }

    /// One entry.
    pub async fn entry(&mut self, seq: Seq) -> Result<Option<StoredEntry>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            entry_columns!(),
            " FROM cofferdam.entries \
             WHERE tenant_id = $1 AND chain_id = $2 AND seq BETWEEN $3 AND $3 ORDER BY seq"
        ))
        .bind(self.tenant.as_b256().as_slice())
        .bind(self.chain)
        .bind(bigint(seq.get(), "seq")?)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read an entry"))?;
        row.as_ref().map(entry).transpose()
    }

    /// The entry that has the source's id, erased or not.
    pub async fn entry_by_external_id(&mut self, external_id: &str) -> Result<Option<StoredEntry>> {
        let key = sqlx::query(
            "SELECT key FROM cofferdam.tag_keys WHERE tenant_id = $1 AND chain_id = $2",
        )
        .bind(self.tenant.as_b256().as_slice())
        .bind(self.chain)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read the tenant's tag key"))?;
        let key: B256 = key.ok_or_else(|| self.unknown())?.hash("key")?;
        let row = sqlx::query(concat!(
            "SELECT ",
            entry_columns!(),
            " FROM cofferdam.entries \
             WHERE tenant_id = $1 AND chain_id = $2 AND external_id_tag BETWEEN $3 AND $3 \
             ORDER BY external_id_tag"
        ))
        .bind(self.tenant.as_b256().as_slice())
        .bind(self.chain)
        .bind(tag(&key, external_id).as_slice())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read an entry"))?;
        row.as_ref().map(entry).transpose()
    }

    /// Writes the next batch, of entries with `bytes` of values, and moves the head past it. For the
    /// sealer only, which has checked the entries; the head is locked from here on.
    pub async fn seal_batch(
        &mut self,
        first_seq: Seq,
        bytes: u64,
        tiles: &BatchTiles,
    ) -> Result<SealedBatch> {
        let roots = tiles.roots();
        let kept = (roots.len() > 1).then(|| roots.iter().flat_map(|it| *it.as_bytes()).collect());
        self.write_batch(first_seq, tiles.count(), bytes, tiles.root(), kept, false).await
    }

    /// The same where nobody knows the tiles nor the bytes, which count on for what remains.
    pub async fn insert_batch(
        &mut self,
        first_seq: Seq,
        count: u64,
        root: BatchRoot,
    ) -> Result<SealedBatch> {
        self.write_batch(first_seq, count, 0, root, None, false).await
    }

    async fn write_batch(
        &mut self,
        first_seq: Seq,
        count: u64,
        bytes: u64,
        root: BatchRoot,
        tiles: Option<Vec<u8>>,
        even_halted: bool,
    ) -> Result<SealedBatch> {
        self.hold_lead().await?;
        let end = first_seq.get().checked_add(count);
        let end = end.filter(|_| (1..=MAX_BATCH_COUNT).contains(&count));
        let range = end
            .and_then(|end| Some((i64::try_from(first_seq.get()).ok()?, i64::try_from(end).ok()?)));
        let Some((first, end)) = range else {
            return Err(self.why_no_batch(first_seq, count).await?);
        };
        // What remains is as old as its first entry says, which nobody has checked yet: no older than
        // what was oldest; an erased time counts from now, and so does one from a clock ahead of the
        // database's.
        let written = sqlx::query(concat!(
            "WITH head AS (UPDATE cofferdam.heads SET sealed_seq = $4, \
                 sealed_batches = sealed_batches + 1, \
                 unsealed_bytes = CASE WHEN $4 < next_seq THEN greatest(unsealed_bytes - $6, 0) \
                     ELSE 0 END, \
                 oldest_unsealed_at = CASE WHEN $4 < next_seq THEN greatest(oldest_unsealed_at, least(now(), ( \
                     SELECT CASE WHEN pg_input_is_valid(e.recorded_at, 'timestamptz') \
                         THEN e.recorded_at::timestamptz END FROM cofferdam.entries e \
                     WHERE e.tenant_id = $1 AND e.chain_id = $2 AND e.seq BETWEEN $4 AND $4 \
                     ORDER BY e.seq))) END \
                 WHERE tenant_id = $1 AND chain_id = $2 AND (halted IS NULL OR $9) \
                     AND sealed_seq = $3 AND $4 <= next_seq \
                 RETURNING sealed_batches - 1 AS batch_index) \
             INSERT INTO cofferdam.batches AS b \
                 (tenant_id, chain_id, batch_index, first_seq, count, root, tiles) \
             SELECT $1, $2, head.batch_index, $3, $5, $7, $8 FROM head RETURNING ",
            batch_columns!()
        ))
        .bind(self.tenant.as_b256().0)
        .bind(self.chain)
        .bind(first)
        .bind(end)
        .bind(bigint(count, "count")?)
        .bind(bigint(bytes, "bytes")?)
        .bind(root.as_bytes().as_slice())
        .bind(tiles)
        .bind(even_halted)
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("write a batch"))?;
        match written {
            Some(row) => batch(&row),
            None => Err(self.why_no_batch(first_seq, count).await?),
        }
    }

    /// The same of a batch that the chain has already, as after a restore that lost the seal and none of
    /// the entries; halted or not, since that is what an operator decides on.
    pub async fn adopt_batch(
        &mut self,
        first_seq: Seq,
        count: u64,
        root: BatchRoot,
    ) -> Result<SealedBatch> {
        self.write_batch(first_seq, count, 0, root, None, true).await
    }

    async fn why_no_batch(&mut self, first_seq: Seq, count: u64) -> Result<StoreError> {
        let Head { halted, sealed_seq: sealed, next_seq: next, .. } = self.head().await?;
        let tenant = self.tenant;
        Ok(match halted {
            Some(reason) => StoreError::Halted { tenant, reason },
            None => StoreError::BatchGap { tenant, first_seq, count, sealed, next },
        })
    }

    /// The batch that holds an entry; none while it is unsealed.
    pub async fn batch_of(&mut self, seq: Seq) -> Result<Option<SealedBatch>> {
        let found = self
            .read_batch(
                concat!(
                    "SELECT ",
                    batch_columns!(),
                    " FROM cofferdam.batches b \
                     WHERE b.tenant_id = $1 AND b.chain_id = $2 AND b.first_seq BETWEEN 0 AND $3 \
                     ORDER BY b.first_seq DESC LIMIT 1"
                ),
                bigint(seq.get(), "seq")?,
            )
            .await?;
        Ok(found.filter(|batch| seq.get() - batch.first_seq.get() < batch.count))
    }

    /// One batch.
    pub async fn batch(&mut self, index: BatchIndex) -> Result<Option<SealedBatch>> {
        self.read_batch(
            concat!(
                "SELECT ",
                batch_columns!(),
                " FROM cofferdam.batches b \
                 WHERE b.tenant_id = $1 AND b.chain_id = $2 AND b.batch_index = $3"
            ),
            bigint(index.get(), "batch index")?,
        )
        .await
    }

    async fn read_batch(&mut self, sql: &'static str, at: i64) -> Result<Option<SealedBatch>> {
        let row = sqlx::query(sql)
            .bind(self.tenant.as_b256().as_slice())
            .bind(self.chain)
            .bind(at)
            .fetch_optional(&mut *self.tx)
            .await
            .map_err(StoreError::database("read a batch"))?;
        row.as_ref().map(batch).transpose()
    }

    /// All batches, in order.
    pub async fn batches(&mut self) -> Result<Vec<SealedBatch>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            batch_columns!(),
            " FROM cofferdam.batches b \
             WHERE b.tenant_id = $1 AND b.chain_id = $2 ORDER BY b.batch_index"
        ))
        .bind(self.tenant.as_b256().as_slice())
        .bind(self.chain)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read batches"))?;
        rows.iter().map(batch).collect()
    }

    /// The mirrored `Anchored` events, in order of their batches.
    pub async fn anchored(&mut self) -> Result<Vec<AnchoredEvent>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            anchored_columns!(),
            " FROM cofferdam.anchored WHERE tenant_id = $1 AND chain_id = $2 ORDER BY batch_index"
        ))
        .bind(self.tenant.as_b256().as_slice())
        .bind(self.chain)
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read mirrored events"))?;
        rows.iter().map(anchored).collect()
    }

    /// Makes it last. When this returns, it is on disk.
    pub async fn commit(self) -> Result<()> {
        self.tx.commit().await.map_err(StoreError::database("commit"))
    }
}

/// Finds a repeat without keeping the id: it stays when the entry is erased, and says nothing without
/// the tenant's key.
pub(crate) fn tag(key: &B256, external_id: &str) -> B256 {
    keccak256([key.as_slice(), external_id.as_bytes()].concat())
}

pub(crate) fn entry(row: &PgRow) -> Result<StoredEntry> {
    let EntryParts { seq, previous, commitment, entry_hash, seed, values } = entry_parts(row)?;
    let fields = Fields::from_stored(values.map(str::to_owned));
    Ok(StoredEntry { seq, previous, commitment, entry_hash, seed, fields })
}

/// The columns of [`entry_columns`] by their places, which is faster than by name.
pub(crate) fn entry_parts(row: &PgRow) -> Result<EntryParts<'_>> {
    let corrupt = |column| StoreError::Corrupt { column };
    let bytes = |at: usize, column| {
        let value: &[u8] = row.try_get(at).map_err(|_| corrupt(column))?;
        B256::try_from(value).map_err(|_| corrupt(column))
    };
    let seq: i64 = row.try_get(0).map_err(|_| corrupt("seq"))?;
    let seed: Option<&[u8]> = row.try_get(5).map_err(|_| corrupt("seed"))?;
    let mut values = [""; 10];
    for (value, name) in values.iter_mut().zip(FieldName::ALL) {
        *value = row.try_get(6 + name.position()).map_err(|_| corrupt(name.as_str()))?;
    }
    Ok(EntryParts {
        seq: Seq(seq.try_into().map_err(|_| corrupt("seq"))?),
        previous: bytes(2, "previous")?.into(),
        commitment: bytes(3, "commitment")?.into(),
        entry_hash: bytes(4, "entry_hash")?.into(),
        seed: seed.map(TryInto::try_into).transpose().map_err(|_| corrupt("seed"))?,
        values,
    })
}

pub(crate) fn head(row: &PgRow) -> Result<Head> {
    Ok(Head {
        tenant: row.tenant()?,
        name: row.value("name")?,
        next_seq: Seq(row.number("next_seq")?),
        last_entry_hash: row.hash("last_entry_hash")?,
        sealed_seq: Seq(row.number("sealed_seq")?),
        sealed_batches: BatchIndex(row.number("sealed_batches")?),
        oldest_unsealed_at: row.time("oldest_unsealed_at")?,
        unsealed_bytes: row.number("unsealed_bytes")?,
        seal: seal_settings(row)?,
        halted: row.value("halted")?,
    })
}

pub(crate) fn seal_settings(row: &PgRow) -> Result<SealSettings> {
    let optional = |column| -> Result<Option<u64>> {
        let value: Option<i64> = row.value(column)?;
        value.map(|it| it.try_into().map_err(|_| StoreError::Corrupt { column })).transpose()
    };
    Ok(SealSettings {
        entries: optional("seal_entries")?,
        bytes: optional("seal_bytes")?,
        age: optional("seal_seconds")?.map(Duration::from_secs),
    })
}

pub(crate) fn batch(row: &PgRow) -> Result<SealedBatch> {
    let column = "sealed_at";
    let anchored = match row.value::<Option<i64>>("anchored_at")? {
        Some(_) => {
            Some(AnchoredAt { anchored_at: row.number("anchored_at")?, position: position(row)? })
        }
        None => None,
    };
    Ok(SealedBatch {
        tenant: row.tenant()?,
        index: BatchIndex(row.number("batch_index")?),
        first_seq: Seq(row.number("first_seq")?),
        count: row.number("count")?,
        root: row.hash("root")?,
        sealed_at: row.time(column)?.ok_or(StoreError::Corrupt { column })?,
        anchored,
    })
}

pub(crate) fn anchored(row: &PgRow) -> Result<AnchoredEvent> {
    Ok(AnchoredEvent {
        tenant: row.tenant()?,
        index: BatchIndex(row.number("batch_index")?),
        first_seq: Seq(row.number("first_seq")?),
        count: row.number("count")?,
        root: row.hash("root")?,
        anchored_at: row.number("anchored_at")?,
        position: position(row)?,
    })
}

pub(crate) fn position(row: &PgRow) -> Result<LogPosition> {
    Ok(LogPosition {
        block_number: row.number("block_number")?,
        block_hash: row.hash("block_hash")?,
        tx_hash: row.hash("tx_hash")?,
        log_index: row.number("log_index")?,
    })
}
