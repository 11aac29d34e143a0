//! What the indexer may know of its own mirror: counters and control rows, never the rows themselves.

use super::{
    heads::{head, head_columns},
    *,
};
use crate::incidents;

/// How far the mirror is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MirrorState {
    /// The last block that is mirrored.
    pub checkpoint: Option<Checkpoint>,
    /// Up to which block it is safe.
    pub safe: Option<u64>,
    /// Up to which block it is final.
    pub last_final: Option<u64>,
    /// The first UTC day, counted from 1970-01-01, of which it is not read yet what was spent.
    pub spending_day: u64,
    /// How often it was taken back.
    pub rewinds: u64,
}

impl Mirror {
    /// How far the mirror is.
    pub async fn state(&self) -> Result<MirrorState> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "SELECT block_number, block_hash, safe_number, final_number, spending_day, rewinds \
             FROM cofferdam.checkpoints WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read the checkpoint"))?;
        let Some(row) = row else { return Ok(MirrorState::default()) };
        let tag =
            |column| row.value::<Option<i64>>(column)?.map(|_| row.number(column)).transpose();
        Ok(MirrorState {
            checkpoint: Some(Checkpoint {
                number: row.number("block_number")?,
                hash: row.hash("block_hash")?,
            }),
            safe: tag("safe_number")?,
            last_final: tag("final_number")?,
            spending_day: row.number("spending_day")?,
            rewinds: row.number("rewinds")?,
        })
    }

    /// The blocks whose hashes are kept, in order.
    pub async fn blocks(&self) -> Result<Vec<Checkpoint>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT number, hash FROM cofferdam.blocks WHERE chain_id = $1 ORDER BY number",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read block hashes"))?;
        rows.iter()
            .map(|row| Ok(Checkpoint { number: row.number("number")?, hash: row.hash("hash")? }))
            .collect()
    }

    /// The registered tenants that have a batch which is not mirrored as anchored: an anchor of theirs may
    /// have been kept from the mirror.
    pub async fn registered_behind(&self) -> Result<Vec<B256>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT DISTINCT tenant_id FROM cofferdam.batches \
             WHERE chain_id = $1 AND anchored_at IS NULL",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read unanchored batches"))?;
        rows.iter().map(|row| row.hash("tenant_id")).collect()
    }

    /// The addresses whose events of a `SmartAccount` are mirrored.
    pub async fn accounts(&self) -> Result<Vec<Address>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT tenant_id FROM cofferdam.mirror_heads WHERE chain_id = $1 AND account_events > 0",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the mirrored accounts"))?;
        rows.iter().map(|row| Ok(row.tenant()?.authority())).collect()
    }

    /// Up to `limit` tenants that have counters here or are registered, in order of their ids, from the one
    /// after `after`.
    pub async fn tenants(&self, after: Option<B256>, limit: u32) -> Result<Vec<B256>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "(SELECT tenant_id FROM cofferdam.mirror_heads WHERE chain_id = $1 AND tenant_id > $2 \
                 ORDER BY tenant_id LIMIT $3) \
             UNION (SELECT tenant_id FROM cofferdam.tenants WHERE chain_id = $1 AND tenant_id > $2 \
                 ORDER BY tenant_id LIMIT $3) \
             ORDER BY tenant_id LIMIT $3",
        )
        .bind(self.handle.chain())
        .bind(after.as_ref().map(B256::as_slice).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read whom the mirror follows"))?;
        rows.iter().map(|row| row.hash("tenant_id")).collect()
    }

    /// Up to `limit` tenants' counters, in order of their ids, from the one after `after`.
    pub async fn heads(&self, after: Option<B256>, limit: u32) -> Result<Vec<MirrorHead>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            head_columns!(),
            " FROM cofferdam.mirror_heads WHERE chain_id = $1 AND tenant_id > $2 \
             ORDER BY tenant_id LIMIT $3"
        ))
        .bind(self.handle.chain())
        .bind(after.as_ref().map(B256::as_slice).unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the mirror's counters"))?;
        rows.iter().map(head).collect()
    }

    /// These tenants' counters; of those that have any.
    pub async fn heads_of(&self, tenants: &[B256]) -> Result<Vec<MirrorHead>> {
        heads::read(&mut self.handle.begin().await?, self.handle.chain(), tenants).await
    }

    /// The tenants whose history a rewind left to be made again from all of their rows.
    pub async fn without_history(&self) -> Result<Vec<TenantId>> {
        let mut tx = self.handle.begin().await?;
        let lost = self.lost_histories(&mut tx).await?;
        Ok(lost.into_iter().map(|(tenant, _)| tenant).collect())
    }

    /// Puts a history back that was made again, unless the tenant has other batches by now.
    pub async fn restore_history(&self, tenant: TenantId, history: &History) -> Result<()> {
        let mut tx = self.handle.begin().await?;
        self.put_history(&mut tx, tenant, history).await?;
        tx.commit().await.map_err(StoreError::database("commit the mirror's counters"))
    }

    /// Whose history is not known, and how many batches it has.
    pub(super) async fn lost_histories(
        &self,
        tx: &mut Transaction<'static, Postgres>,
    ) -> Result<Vec<(TenantId, u64)>> {
        let rows = sqlx::query(
            "SELECT tenant_id, batches FROM cofferdam.mirror_heads \
             WHERE chain_id = $1 AND history_lost",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut **tx)
        .await
        .map_err(StoreError::database("read the mirror's counters"))?;
        rows.iter().map(|row| Ok((row.tenant()?, row.number("batches")?))).collect()
    }

    pub(super) async fn put_history(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        tenant: TenantId,
        history: &History,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE cofferdam.mirror_heads SET peaks = $4, history_lost = false \
             WHERE chain_id = $1 AND tenant_id = $2 AND batches = $3 AND history_lost",
        )
        .bind(self.handle.chain())
        .bind(tenant.as_b256().as_slice())
        .bind(bigint(history.batches(), "batch index")?)
        .bind(heads::peaks(history))
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("write the mirror's counters"))?;
        Ok(())
    }

    /// Writes an incident, once however often it is found; `None` is about the whole mirror. Returns
    /// whether it was not open before.
    pub async fn incident(
        &self,
        tenant: Option<TenantId>,
        kind: &str,
        detail: &str,
    ) -> Result<bool> {
        let mut tx = self.handle.begin().await?;
        let new = incidents::write(&mut tx, self.handle.chain(), tenant, kind, detail).await?;
        tx.commit().await.map_err(StoreError::database("commit an incident"))?;
        Ok(new)
    }
}
