//! Whose entries are to become a batch now.

use cofferdam_core::TenantId;

use crate::{
    Head, Result, SealPolicy, Sealer, StoreError,
    row::{RowExt, bigint},
    tenant_tx::{head, head_columns},
};

impl Sealer {
    /// Tenants whose next batch is due by their own settings or `policy`, or that have anything unsealed
    /// when `flush` is set; who has waited longest first. Halted ones are not among them.
    ///
    /// Ages are told by the database's clock alone. An entry from the future, as after that clock was
    /// stepped back, is due at once rather than never.
    pub async fn due(&self, policy: &SealPolicy, flush: bool) -> Result<Vec<Head>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            head_columns!(),
            " FROM cofferdam.heads h \
             JOIN cofferdam.tenants t USING (tenant_id, chain_id), \
             LATERAL (SELECT clock_timestamp() AS now) c \
             WHERE h.chain_id = $1 AND h.halted IS NULL AND h.oldest_unsealed_at IS NOT NULL \
                 AND ($2 OR h.next_seq - h.sealed_seq >= coalesce(t.seal_entries, $3) \
                     OR h.unsealed_bytes >= coalesce(t.seal_bytes, $4) \
                     OR h.oldest_unsealed_at > c.now \
                     OR h.oldest_unsealed_at \
                         <= c.now - coalesce(t.seal_seconds, $5) * interval '1 second') \
             ORDER BY h.oldest_unsealed_at"
        ))
        .bind(self.handle.chain())
        .bind(flush)
        .bind(bigint(policy.max_entries, "seal entries")?)
        .bind(bigint(policy.max_bytes, "seal bytes")?)
        .bind(policy.max_age.as_secs_f64())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("find what is to be sealed"))?;
        rows.iter().map(head).collect()
    }

    /// Halted tenants, each with the reason.
    pub async fn halted(&self) -> Result<Vec<(TenantId, String)>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT h.tenant_id, h.halted FROM cofferdam.heads h \
             WHERE h.chain_id = $1 AND h.halted IS NOT NULL ORDER BY h.tenant_id",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("find who is halted"))?;
        rows.iter().map(|row| Ok((row.tenant()?, row.value("halted")?))).collect()
    }
}
