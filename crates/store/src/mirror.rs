//! Mirroring the chain: rows, reconciliation and checkpoint in one transaction.

use alloy_primitives::{Address, B256};
use cofferdam_core::{History, TenantId, mirror::Row};
use sqlx::{Postgres, Transaction};

use crate::{
    Checkpoint, DatabaseUrl, Deployment, Reader, Result, StoreError, deployment,
    pool::{Handle, Role},
    row::{RowExt, bigint},
};

mod columns;
mod heads;
mod policies;
mod read;
mod reconcile;
mod spending;
mod state;

pub use heads::{Counted, Counters, Hole, MirrorHead};
pub use spending::{Asset, DAY, Spending};
pub use state::MirrorState;

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
    /// Registered tenants' events that contradict what was sealed, which halted the tenant, or what was
    /// handed in.
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
        self.stored(&mut tx).await
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

    /// Counts the rows of a range, in the chain's order, before the range is [applied](Mirror::apply). Nothing
    /// but the ranges that `counters` counted may be written in between; whoever writes something else moves
    /// the checkpoint, and what was counted is refused.
    ///
    /// A counter that does not go on where it was is a [`StoreError::Hole`]; after an error `counters` are of no
    /// use any more.
    pub async fn count(&self, counters: &mut Counters, rows: Vec<Row>) -> Result<Counted> {
        let read = async |tenants: Vec<B256>| self.heads_of(&tenants).await;
        counters.count(self.handle.chain(), rows, read).await
    }

    /// Mirrors the blocks after `from` up to `to`, in one transaction: rows, counters, reconciliation of our
    /// own batches, checkpoint. `from` must be what is stored, so two indexers cannot both apply a range.
    /// `blocks` are the hashes to remember.
    ///
    /// An event of a registered tenant that is not what we sealed halts that tenant and is an incident, and a
    /// policy that is not what it handed in is an incident; events of strangers are mirrored and left alone.
    pub async fn apply(
        &self,
        from: Option<Checkpoint>,
        to: Checkpoint,
        blocks: &[(u64, B256)],
        counted: Counted,
    ) -> Result<Applied> {
        if let Some(from) = from.filter(|from| to.number < from.number) {
            let why = "a range goes forward; a rewind goes back";
            return Err(StoreError::BadMove { from: from.number, to: to.number, why });
        }
        let mut tx = self.handle.begin().await?;
        if counted.is_followed {
            sqlx::query("SET LOCAL synchronous_commit = off")
                .execute(&mut *tx)
                .await
                .map_err(StoreError::database("write ahead"))?;
        }
        self.move_checkpoint(&mut tx, from, to).await?;
        let applied = self.write(&mut tx, blocks, counted).await?;
        tx.commit().await.map_err(StoreError::database("commit mirrored blocks"))?;
        Ok(applied)
    }

    /// What a reorg takes: rolls back from `from` to `ancestor` and mirrors what came instead, up to `to`,
    /// all in one transaction, as [`Mirror::rewind`], [`Mirror::count`] and [`Mirror::apply`] do. Returns also
    /// whose events went or came.
    pub async fn replace(
        &self,
        reader: &Reader,
        from: Checkpoint,
        ancestor: Checkpoint,
        to: Checkpoint,
        blocks: &[(u64, B256)],
        rows: Vec<Row>,
    ) -> Result<(Applied, Vec<B256>)> {
        if ancestor.number >= from.number || to.number < ancestor.number {
            let why = "a reorg goes back before it goes on";
            return Err(StoreError::BadMove { from: from.number, to: ancestor.number, why });
        }
        let mut tx = self.handle.begin().await?;
        self.move_checkpoint(&mut tx, Some(from), to).await?;
        let mut moved = self.take_back(&mut tx, reader, ancestor.number, None).await?;
        let chain = self.handle.chain();
        let read = async |tenants: Vec<B256>| heads::read(&mut tx, chain, &tenants).await;
        let counted = Counters::default().count(chain, rows, read).await?;
        moved.extend(counted.touched());
        let applied = self.write(&mut tx, blocks, counted).await?;
        tx.commit().await.map_err(StoreError::database("commit a reorg"))?;
        Ok((applied, moved))
    }

    async fn write(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        blocks: &[(u64, B256)],
        counted: Counted,
    ) -> Result<Applied> {
        let chain = self.handle.chain();
        self.insert_blocks(tx, blocks).await?;
        let mut applied = Applied::default();
        for insert in counted.inserts {
            applied.mirrored += insert.execute(tx).await?;
        }
        heads::store(tx, chain, &counted.heads).await?;
        let registered = match &counted.heads[..] {
            [] => return Ok(applied),
            heads => heads::registered(tx, chain, heads).await?,
        };
        let ours = |tenant: TenantId| registered.contains(&tenant.as_b256());
        let mut anchored = counted.anchored;
        anchored.retain(|event| ours(event.tenant));
        if !anchored.is_empty() {
            let (confirmed, findings) = self.compare(tx, &anchored).await?;
            applied.anchored = self.confirm(tx, &confirmed).await?;
            applied.incidents = self.report(tx, &findings).await?;
        }
        let mut policies = counted.policies;
        policies.retain(|event| ours(event.tenant));
        applied.incidents += self.meet_policies(tx, &policies).await?;
        Ok(applied)
    }

    /// Notes up to which blocks the chain says that it is safe and final, and forgets the hashes of older
    /// ones. Blocks that are not mirrored yet cannot be either; and what was final stays so, whatever is said.
    pub async fn settle(&self, safe: u64, last_final: u64) -> Result<()> {
        let (safe, last_final) =
            (bigint(safe, "block number")?, bigint(last_final, "block number")?);
        let mut tx = self.handle.begin().await?;
        sqlx::query(
            "UPDATE cofferdam.checkpoints SET \
                 safe_number = greatest(coalesce(safe_number, 0), least(block_number, $2)), \
                 final_number = greatest(coalesce(final_number, 0), least(block_number, $3)) \
             WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .bind(safe)
        .bind(last_final)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("note what is final"))?;
        sqlx::query("DELETE FROM cofferdam.blocks WHERE chain_id = $1 AND number < $2")
            .bind(self.handle.chain())
            .bind(last_final)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("prune block hashes"))?;
        tx.commit().await.map_err(StoreError::database("commit what is final"))
    }

    /// Takes back what is mirrored above `to`, the common ancestor after a reorg, in one transaction. Returns
    /// whose events went: their tenants, and the agents that counted them too.
    ///
    /// This cannot read what it leaves, so `reader` tells what the histories were: what comes next has its nodes.
    pub async fn rewind(
        &self,
        reader: &Reader,
        from: Checkpoint,
        to: Checkpoint,
    ) -> Result<Vec<B256>> {
        self.back_to(reader, from, to, None).await
    }

    /// The same, to a block of this time that may be final. What was spent from its day on is read again, since
    /// what is mirrored again may tell of other accounts and tokens.
    pub async fn rewind_final(
        &self,
        reader: &Reader,
        from: Checkpoint,
        to: Checkpoint,
        time: u64,
    ) -> Result<Vec<B256>> {
        self.back_to(reader, from, to, Some(time)).await
    }

    async fn back_to(
        &self,
        reader: &Reader,
        from: Checkpoint,
        to: Checkpoint,
        time: Option<u64>,
    ) -> Result<Vec<B256>> {
        if to.number >= from.number {
            let why = "a rewind goes back";
            return Err(StoreError::BadMove { from: from.number, to: to.number, why });
        }
        let mut tx = self.handle.begin().await?;
        self.move_checkpoint(&mut tx, Some(from), to).await?;
        let gone = self.take_back(&mut tx, reader, to.number, time).await?;
        tx.commit().await.map_err(StoreError::database("commit a rewind"))?;
        Ok(gone)
    }

    /// Takes back everything down to `to`, the block before the first, and begins every counter again, whatever
    /// became of the rows that it counted.
    pub async fn clear(&self, reader: &Reader, from: Checkpoint, to: Checkpoint) -> Result<()> {
        let mut tx = self.handle.begin().await?;
        self.move_checkpoint(&mut tx, Some(from), to).await?;
        self.take_back(&mut tx, reader, to.number, Some(0)).await?;
        sqlx::query(
            "UPDATE cofferdam.mirror_heads SET batches = 0, entries = 0, peaks = '', \
                 history_lost = false, anchorers = 0, policies = 0, scopes = 0, agent_events = 0, \
                 account_events = 0 WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("begin the mirror's counters again"))?;
        tx.commit().await.map_err(StoreError::database("commit an empty mirror"))
    }

    /// Takes back whatever is mirrored above a block, and says whose it was. `time` is the block's, unless days
    /// that are over end before it.
    async fn take_back(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        reader: &Reader,
        above: u64,
        time: Option<u64>,
    ) -> Result<Vec<B256>> {
        self.put_policies_back(tx, above).await?;
        let above = bigint(above, "block number")?;
        let day = time.map(|time| bigint(time / DAY, "day")).transpose()?;
        sqlx::query(
            "UPDATE cofferdam.checkpoints SET rewinds = rewinds + 1, \
                 spending_day = least(spending_day, $2) WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .bind(day)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("put days back"))?;
        // Without statistics of columns, which no table here has, the planner takes an index that sums up
        // ranges of pages for useless.
        sqlx::query("SET LOCAL enable_seqscan = off")
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("plan a rewind"))?;
        let gone = sqlx::query("SELECT tenant_id FROM cofferdam.rewind($1) AS tenant_id")
            .bind(above)
            .fetch_all(&mut **tx)
            .await
            .map_err(StoreError::database("rewind mirrored events"))?;
        sqlx::query(
            "UPDATE cofferdam.batches SET anchored_at = NULL, block_number = NULL, \
                 block_hash = NULL, tx_hash = NULL, log_index = NULL \
             WHERE chain_id = $1 AND block_number > $2",
        )
        .bind(self.handle.chain())
        .bind(above)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("put batches back"))?;
        sqlx::query("DELETE FROM cofferdam.blocks WHERE chain_id = $1 AND number > $2")
            .bind(self.handle.chain())
            .bind(above)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("rewind block hashes"))?;
        for (tenant, batches) in self.lost_histories(tx).await? {
            // From outside this transaction, which holds the mirror: what is left of it is as it was.
            let history = reader.tenant(tenant).await?.history_before(batches).await?;
            if let Some(history) = history {
                self.put_history(tx, tenant, &history).await?;
            }
        }
        gone.iter().map(|row| row.hash("tenant_id")).collect()
    }

    async fn stored(&self, tx: &mut Transaction<'static, Postgres>) -> Result<Option<Checkpoint>> {
        let row = sqlx::query(
            "SELECT block_number, block_hash FROM cofferdam.checkpoints WHERE chain_id = $1",
        )
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
        let chain = self.handle.chain();
        let number = bigint(to.number, "block number")?;
        let moving = match from {
            // The key holds back a second indexer that starts at the same moment.
            None => sqlx::query(
                "INSERT INTO cofferdam.checkpoints (chain_id, block_number, block_hash) \
                 VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(chain)
            .bind(number)
            .bind(to.hash.as_slice()),
            // One that moves it at this moment is waited for.
            Some(from) => sqlx::query(
                "UPDATE cofferdam.checkpoints SET block_number = $2, block_hash = $3, \
                     safe_number = CASE WHEN safe_number > $2 THEN $2 ELSE safe_number END, \
                     final_number = CASE WHEN final_number > $2 THEN $2 ELSE final_number END \
                 WHERE chain_id = $1 AND block_number = $4 AND block_hash = $5",
            )
            .bind(chain)
            .bind(number)
            .bind(to.hash.as_slice())
            .bind(bigint(from.number, "block number")?)
            .bind(from.hash.to_vec()),
        };
        let moved = moving.execute(&mut **tx).await;
        let moved = moved.map_err(StoreError::database("move the checkpoint"))?;
        if moved.rows_affected() == 1 {
            return Ok(());
        }
        Err(StoreError::CheckpointMoved { expected: from, found: self.stored(tx).await? })
    }

    async fn insert_blocks(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        blocks: &[(u64, B256)],
    ) -> Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        let numbers = reconcile::numbers(blocks, |block| block.0, "block number")?;
        let hashes: Vec<&[u8]> = blocks.iter().map(|block| block.1.as_slice()).collect();
        let inserted = sqlx::query(
            "INSERT INTO cofferdam.blocks (chain_id, number, hash) \
             SELECT $1, u.* FROM UNNEST($2::bigint[], $3::bytea[]) u ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(&numbers)
        .bind(&hashes)
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("insert block hashes"))?;
        if inserted.rows_affected() == blocks.len() as u64 {
            return Ok(());
        }
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
        match other {
            None => Ok(()),
            Some(row) => Err(StoreError::OtherBlock {
                number: row.number("number")?,
                stored: row.hash("stored")?,
                given: row.hash("given")?,
            }),
        }
    }
}
