//! Mirroring the chain: rows, reconciliation and checkpoint in one transaction.

use alloy_primitives::B256;
use cofferdam_core::{Seq, TenantId};
use sqlx::{Postgres, Transaction};

use crate::{
    AnchoredEvent, AnchorerSetEvent, Checkpoint, DatabaseUrl, Deployment, LogPosition,
    MirroredEvent, Result, StoreError, deployment,
    error::batch_words,
    incidents::incident_id,
    pool::{Handle, Role},
    row::{RowExt, bigint},
};

/// How many blocks below the checkpoint keep their hash, to find a common ancestor by.
const KEPT_BLOCKS: u64 = 1024;

/// Writes what the chain said, blind: it can read none of it back.
#[derive(Clone, Debug)]
pub struct Mirror {
    handle: Handle,
}

/// What applying a range of blocks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that were mirrored.
    pub mirrored: u64,
    /// Sealed batches that an event confirmed.
    pub anchored: u64,
    /// Registered tenants' events that contradict what was sealed; each halted its tenant.
    pub incidents: u64,
}

impl Mirror {
    /// Connects and checks the login.
    pub async fn connect(url: &DatabaseUrl, chain_id: u64) -> Result<Self> {
        Ok(Self { handle: Handle::connect(url, chain_id, Role::Indexer).await? })
    }

    /// The contract this chain's tenants are anchored in.
    pub async fn deployment(&self) -> Result<Option<Deployment>> {
        deployment::read(&self.handle).await
    }

    /// The last block that is mirrored.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let mut tx = self.handle.begin().await?;
        self.stored(
            &mut tx,
            "SELECT block_number, block_hash FROM cofferdam.checkpoints WHERE chain_id = $1",
        )
        .await
    }

    /// The hash under which a recent block is mirrored.
    pub async fn block_hash(&self, number: u64) -> Result<Option<B256>> {
        let mut tx = self.handle.begin().await?;
        let row =
            sqlx::query("SELECT hash FROM cofferdam.blocks WHERE chain_id = $1 AND number = $2")
                .bind(self.handle.chain())
                .bind(bigint(number, "block number")?)
                .fetch_optional(&mut *tx)
                .await
                .map_err(StoreError::database("read a block's hash"))?;
        row.map(|row| row.hash("hash")).transpose()
    }

    /// Mirrors the blocks after `from` up to `to`, in one transaction: rows, reconciliation of our own
    /// batches, checkpoint. `from` must be what is stored, so two indexers cannot both apply a range.
    ///
    /// An event of a registered tenant that is not what we sealed halts that tenant and is an incident;
    /// events of strangers are mirrored and left alone.
    pub async fn apply(
        &self,
        from: Option<Checkpoint>,
        to: Checkpoint,
        blocks: &[(u64, B256)],
        events: Vec<MirroredEvent>,
    ) -> Result<Applied> {
        if let Some(from) = from.filter(|from| to.number < from.number) {
            let why = "a range goes forward; a rewind goes back";
            return Err(StoreError::BadMove { from: from.number, to: to.number, why });
        }
        let mut tx = self.handle.begin().await?;
        self.move_checkpoint(&mut tx, from, to).await?;
        self.insert_blocks(&mut tx, to, blocks).await?;

        let (mut anchored, mut changed) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                MirroredEvent::Anchored(event) => anchored.push(event),
                MirroredEvent::AnchorerSet(event) => changed.push(event),
            }
        }
        let mut applied = Applied::default();
        if !anchored.is_empty() {
            applied.mirrored += self.insert_anchored(&mut tx, &anchored).await?;
            let (confirmed, findings) = self.compare(&mut tx, &anchored).await?;
            applied.anchored = self.confirm(&mut tx, &confirmed).await?;
            applied.incidents = self.report(&mut tx, &findings).await?;
        }
        if !changed.is_empty() {
            applied.mirrored += self.insert_anchorer_set(&mut tx, &changed).await?;
        }
        tx.commit().await.map_err(StoreError::database("commit mirrored blocks"))?;
        Ok(applied)
    }

    /// Takes back what is mirrored above `to`, the common ancestor after a reorg, in one transaction.
    pub async fn rewind(&self, from: Checkpoint, to: Checkpoint) -> Result<()> {
        if to.number >= from.number {
            let why = "a rewind goes back";
            return Err(StoreError::BadMove { from: from.number, to: to.number, why });
        }
        let above = bigint(to.number, "block number")?;
        let mut tx = self.handle.begin().await?;
        self.move_checkpoint(&mut tx, Some(from), to).await?;
        sqlx::query("SELECT cofferdam.rewind($1)")
            .bind(above)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("rewind mirrored events"))?;
        sqlx::query(
            "UPDATE cofferdam.batches SET anchored_at = NULL, block_number = NULL, \
                 block_hash = NULL, tx_hash = NULL, log_index = NULL \
             WHERE chain_id = $1 AND block_number > $2",
        )
        .bind(self.handle.chain())
        .bind(above)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("put batches back"))?;
        sqlx::query("DELETE FROM cofferdam.blocks WHERE chain_id = $1 AND number > $2")
            .bind(self.handle.chain())
            .bind(above)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("rewind block hashes"))?;
        tx.commit().await.map_err(StoreError::database("commit a rewind"))
    }

    async fn stored(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        sql: &'static str,
    ) -> Result<Option<Checkpoint>> {
        let row = sqlx::query(sql)
            .bind(self.handle.chain())
            .fetch_optional(&mut **tx)
            .await
            .map_err(StoreError::database("read the checkpoint"))?;
        row.map(|row| {
            Ok(Checkpoint { number: row.number("block_number")?, hash: row.hash("block_hash")? })
        })
        .transpose()
    }

    /// Holds the checkpoint, checks that it is `from`, and moves it to `to`.
    async fn move_checkpoint(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        from: Option<Checkpoint>,
        to: Checkpoint,
    ) -> Result<()> {
        let number = bigint(to.number, "block number")?;
        if from.is_none() {
            // The key holds back a second indexer that starts at the same moment.
            let started = sqlx::query(
                "INSERT INTO cofferdam.checkpoints (chain_id, block_number, block_hash) \
                 VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(self.handle.chain())
            .bind(number)
            .bind(to.hash.as_slice())
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("start the mirror"))?;
            if started.rows_affected() == 1 {
                return Ok(());
            }
        }
        let found = self
            .stored(
                tx,
                "SELECT block_number, block_hash FROM cofferdam.checkpoints WHERE chain_id = $1 \
                 FOR UPDATE",
            )
            .await?;
        if found != from {
            return Err(StoreError::CheckpointMoved { expected: from, found });
        }
        sqlx::query(
            "UPDATE cofferdam.checkpoints SET block_number = $2, block_hash = $3 WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .bind(number)
        .bind(to.hash.as_slice())
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("move the checkpoint"))?;
        Ok(())
    }

    async fn insert_blocks(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        to: Checkpoint,
        blocks: &[(u64, B256)],
    ) -> Result<()> {
        let numbers = numbers(blocks, |block| block.0, "block number")?;
        let hashes: Vec<&[u8]> = blocks.iter().map(|block| block.1.as_slice()).collect();
        let other = sqlx::query(
            "SELECT b.number, b.hash AS stored, u.hash AS given FROM cofferdam.blocks b \
             JOIN UNNEST($2::bigint[], $3::bytea[]) AS u(number, hash) ON u.number = b.number \
             WHERE b.chain_id = $1 AND b.hash <> u.hash LIMIT 1",
        )
        .bind(self.handle.chain())
        .bind(&numbers)
        .bind(&hashes)
        .fetch_optional(&mut **tx)
        .await
        .map_err(StoreError::database("compare block hashes"))?;
        if let Some(row) = other {
            return Err(StoreError::OtherBlock {
                number: row.number("number")?,
                stored: row.hash("stored")?,
                given: row.hash("given")?,
            });
        }
        sqlx::query(
            "INSERT INTO cofferdam.blocks (chain_id, number, hash) \
             SELECT $1, u.* FROM UNNEST($2::bigint[], $3::bytea[]) u ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(&numbers)
        .bind(&hashes)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("insert block hashes"))?;
        sqlx::query("DELETE FROM cofferdam.blocks WHERE chain_id = $1 AND number < $2")
            .bind(self.handle.chain())
            .bind(bigint(to.number.saturating_sub(KEPT_BLOCKS), "block number")?)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("prune block hashes"))?;
        Ok(())
    }

    async fn insert_anchored(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &[AnchoredEvent],
    ) -> Result<u64> {
        let at = Positions::of(events, |event| (event.tenant, event.position))?;
        let done = sqlx::query(
            "INSERT INTO cofferdam.anchored (chain_id, tenant_id, block_hash, log_index, \
                 block_number, tx_hash, batch_index, first_seq, count, root, anchored_at) \
             SELECT $1, u.* FROM UNNEST($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], \
                 $6::bytea[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::bigint[]) u \
             ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(at.tenants)
        .bind(at.block_hashes)
        .bind(at.log_indexes)
        .bind(at.block_numbers)
        .bind(at.tx_hashes)
        .bind(numbers(events, |event| event.index.get(), "batch index")?)
        .bind(numbers(events, |event| event.first_seq.get(), "seq")?)
        .bind(numbers(events, |event| event.count, "count")?)
        .bind(events.iter().map(|event| event.root.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(numbers(events, |event| event.anchored_at, "block timestamp")?)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("mirror anchored batches"))?;
        Ok(done.rows_affected())
    }

    async fn insert_anchorer_set(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &[AnchorerSetEvent],
    ) -> Result<u64> {
        let at = Positions::of(events, |event| (event.tenant, event.position))?;
        let done = sqlx::query(
            "INSERT INTO cofferdam.anchorer_set (chain_id, tenant_id, block_hash, log_index, \
                 block_number, tx_hash, anchorer, nonce) \
             SELECT $1, u.* FROM UNNEST($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], \
                 $6::bytea[], $7::bytea[], $8::bigint[]) u \
             ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(at.tenants)
        .bind(at.block_hashes)
        .bind(at.log_indexes)
        .bind(at.block_numbers)
        .bind(at.tx_hashes)
        .bind(events.iter().map(|event| event.anchorer.as_slice()).collect::<Vec<_>>())
        .bind(numbers(events, |event| event.nonce, "nonce")?)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("mirror anchorer changes"))?;
        Ok(done.rows_affected())
    }

    /// Tells events that confirm a batch of ours from those that contradict what we sealed. Events of
    /// tenants that are not registered are neither.
    async fn compare<'e>(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &'e [AnchoredEvent],
    ) -> Result<(Vec<&'e AnchoredEvent>, Vec<Finding>)> {
        let tenants: Vec<_> = events.iter().map(|event| event.tenant.as_b256()).collect();
        let rows = sqlx::query(
            "SELECT e.ord, b.first_seq, b.count, b.root, b.block_hash, b.log_index \
             FROM UNNEST($2::bytea[], $3::bigint[]) WITH ORDINALITY AS e(tenant_id, batch_index, ord) \
             JOIN cofferdam.tenants t ON t.tenant_id = e.tenant_id AND t.chain_id = $1 \
             LEFT JOIN cofferdam.batches b ON b.tenant_id = e.tenant_id AND b.chain_id = $1 \
                 AND b.batch_index = e.batch_index \
             ORDER BY e.ord",
        )
        .bind(self.handle.chain())
        .bind(tenants.iter().map(B256::as_slice).collect::<Vec<_>>())
        .bind(numbers(events, |event| event.index.get(), "batch index")?)
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::database("reconcile batches"))?;
        let (mut confirmed, mut findings) = (Vec::new(), Vec::new());
        for row in rows {
            let column = "ord";
            let ord = usize::try_from(row.number(column)?).ok().and_then(|ord| ord.checked_sub(1));
            let event = ord.and_then(|at| events.get(at)).ok_or(StoreError::Corrupt { column })?;
            let of_chain =
                batch_words(event.index, event.first_seq, event.count, event.root.into());
            let at = event.position;
            let block = format!("block {} ({})", at.block_number, at.block_hash);
            let finding = |kind, detail| Finding { tenant: event.tenant, kind, detail };
            if row.value::<Option<i64>>("first_seq")?.is_none() {
                let detail = format!("{of_chain} in {block} was never sealed here");
                findings.push(finding("unknown-batch", detail));
                continue;
            }
            let sealed = (Seq(row.number("first_seq")?), row.number("count")?, row.hash("root")?);
            if sealed != (event.first_seq, event.count, event.root) {
                let (first_seq, count, root) = sealed;
                let ours = batch_words(event.index, first_seq, count, root.into());
                let detail = format!("{of_chain} in {block} was sealed here as {ours}");
                findings.push(finding("different-batch", detail));
                continue;
            }
            if row.value::<Option<&[u8]>>("block_hash")?.is_some() {
                let before: B256 = row.hash("block_hash")?;
                if (before, row.number("log_index")?) != (at.block_hash, at.log_index) {
                    let detail = format!("{of_chain} in {block} was mirrored from {before} before");
                    findings.push(finding("anchored-twice", detail));
                    continue;
                }
            }
            confirmed.push(event);
        }
        Ok((confirmed, findings))
    }

    async fn confirm(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        events: &[&AnchoredEvent],
    ) -> Result<u64> {
        if events.is_empty() {
            return Ok(0);
        }
        let at = Positions::of(events, |event| (event.tenant, event.position))?;
        let done = sqlx::query(
            "UPDATE cofferdam.batches b SET anchored_at = e.anchored_at, block_number = e.block_number, \
                 block_hash = e.block_hash, tx_hash = e.tx_hash, log_index = e.log_index \
             FROM UNNEST($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bytea[], \
                 $7::bigint[], $8::bigint[]) AS e(tenant_id, block_hash, log_index, block_number, \
                 tx_hash, batch_index, anchored_at) \
             WHERE b.tenant_id = e.tenant_id AND b.chain_id = $1 AND b.batch_index = e.batch_index",
        )
        .bind(self.handle.chain())
        .bind(at.tenants)
        .bind(at.block_hashes)
        .bind(at.log_indexes)
        .bind(at.block_numbers)
        .bind(at.tx_hashes)
        .bind(numbers(events, |event| event.index.get(), "batch index")?)
        .bind(numbers(events, |event| event.anchored_at, "block timestamp")?)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("confirm batches"))?;
        Ok(done.rows_affected())
    }

    async fn report(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        findings: &[Finding],
    ) -> Result<u64> {
        for Finding { tenant, kind, detail } in findings {
            sqlx::query(
                "INSERT INTO cofferdam.incidents (tenant_id, chain_id, incident_id, kind, detail) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            )
            .bind(tenant.as_b256().as_slice())
            .bind(self.handle.chain())
            .bind(incident_id(Some(*tenant), kind, detail).as_slice())
            .bind(*kind)
            .bind(detail)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("write an incident"))?;
            sqlx::query(
                "UPDATE cofferdam.heads SET halted = $3 \
                 WHERE tenant_id = $1 AND chain_id = $2 AND halted IS NULL",
            )
            .bind(tenant.as_b256().as_slice())
            .bind(self.handle.chain())
            .bind(format!("{kind}: {detail}"))
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("halt a tenant"))?;
            tracing::error!(%tenant, kind, detail, "tenant halted");
        }
        Ok(findings.len() as u64)
    }
}

/// A registered tenant's event that contradicts what we sealed.
struct Finding {
    tenant: TenantId,
    kind: &'static str,
    detail: String,
}

/// The columns that every mirrored event has.
struct Positions {
    tenants: Vec<[u8; 32]>,
    block_hashes: Vec<[u8; 32]>,
    log_indexes: Vec<i64>,
    block_numbers: Vec<i64>,
    tx_hashes: Vec<[u8; 32]>,
}

impl Positions {
    fn of<E>(events: &[E], of: impl Fn(&E) -> (TenantId, LogPosition)) -> Result<Self> {
        let at = |event: &E| of(event).1;
        Ok(Self {
            tenants: events.iter().map(|event| of(event).0.as_b256().0).collect(),
            block_hashes: events.iter().map(|event| at(event).block_hash.0).collect(),
            log_indexes: numbers(events, |event| at(event).log_index, "log index")?,
            block_numbers: numbers(events, |event| at(event).block_number, "block number")?,
            tx_hashes: events.iter().map(|event| at(event).tx_hash.0).collect(),
        })
    }
}

fn numbers<E>(events: &[E], of: impl Fn(&E) -> u64, what: &'static str) -> Result<Vec<i64>> {
    events.iter().map(|event| bigint(of(event), what)).collect()
}
