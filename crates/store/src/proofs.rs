//! Proofs of tenants' histories, kept for receipts that are made when no node has that state any more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam_core::{BundleProof, TenantId};
use sqlx::postgres::PgRow;

use crate::{
    Checkpoint, Result, Sealer, StoreError, TenantTx,
    row::{RowExt, bigint},
};

const KEEP: &str = "keep a proof";

impl Sealer {
    /// Tenants with mirrored batches that no kept proof speaks of, and how many batches each has mirrored: not
    /// those whose last proof waits to be final, nor whose last was taken within `every` of `now`, nor the
    /// `passed` ones. Those without any come first, then whose is the oldest.
    pub async fn unproven(
        &self,
        now: SystemTime,
        every: Duration,
        passed: &[TenantId],
        limit: u32,
    ) -> Result<Vec<(TenantId, u64)>> {
        let since = now.checked_sub(every).unwrap_or(UNIX_EPOCH);
        let passed: Vec<_> = passed.iter().map(|tenant| tenant.as_b256().0).collect();
        let mut tx = self.handle.begin().await?;
        // A time in the future is from before the clock was stepped back.
        let rows = sqlx::query(
            "SELECT h.tenant_id, b.mirrored FROM cofferdam.heads h \
             LEFT JOIN LATERAL (SELECT p.batches, p.is_final, p.taken_at FROM cofferdam.kept_proofs p \
                 WHERE p.tenant_id = h.tenant_id AND p.chain_id = h.chain_id \
                 ORDER BY p.block_number DESC LIMIT 1) k ON true \
             CROSS JOIN LATERAL (SELECT coalesce((SELECT min(b.batch_index) FROM cofferdam.batches b \
                 WHERE b.tenant_id = h.tenant_id AND b.chain_id = h.chain_id AND b.anchored_at IS NULL), \
                 h.sealed_batches) AS mirrored) b \
             WHERE h.chain_id = $1 AND h.sealed_batches > coalesce(k.batches, 0) \
                 AND b.mirrored > coalesce(k.batches, 0) AND h.tenant_id <> ALL ($4) \
                 AND (k.batches IS NULL OR k.is_final \
                     AND k.taken_at NOT BETWEEN to_timestamp($2::bigint / 1e6) \
                         AND to_timestamp($3::bigint / 1e6)) \
             ORDER BY k.taken_at NULLS FIRST, h.tenant_id LIMIT $5",
        )
        .bind(self.handle.chain())
        .bind(micros(since)?)
        .bind(micros(now)?)
        .bind(passed)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("look for batches without a proof"))?;
        rows.iter().map(|row| Ok((row.tenant()?, row.number("mirrored")?))).collect()
    }

    /// Proofs of blocks up to this one that wait to be final, the oldest first.
    pub async fn unsettled_proofs(
        &self,
        until: u64,
        limit: u32,
    ) -> Result<Vec<(TenantId, Checkpoint)>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT tenant_id, block_number, block_hash FROM cofferdam.kept_proofs p \
             WHERE chain_id = $1 AND NOT is_final AND block_number <= $2 \
             ORDER BY p.block_number LIMIT $3",
        )
        .bind(self.handle.chain())
        .bind(bigint(until, "block number")?)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read kept proofs"))?;
        rows.iter().map(|row| Ok((row.tenant()?, block(row)?))).collect()
    }
}

impl TenantTx {
    /// Keeps what was proven at a block, until that is known to be final or to be no more. For the sealer only,
    /// which has verified it.
    pub async fn keep_proof(
        &mut self,
        at: Checkpoint,
        proof: &BundleProof,
        taken_at: SystemTime,
    ) -> Result<()> {
        self.hold_lead().await?;
        sqlx::query(
            "INSERT INTO cofferdam.kept_proofs \
                 (tenant_id, chain_id, block_number, block_hash, batches, proof, taken_at) \
             VALUES ($1, $2, $3, $4, $5, $6, to_timestamp($7::bigint / 1e6)) ON CONFLICT DO NOTHING",
        )
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .bind(bigint(at.number, "block number")?)
        .bind(at.hash.as_slice())
        .bind(bigint(proof.claimed_head().batches, "number of batches")?)
        .bind(proof.to_bytes())
        .bind(micros(taken_at)?)
        .execute(&mut *self.tx)
        .await
        .map_err(StoreError::database(KEEP))?;
        Ok(())
    }

    /// Says that a proof's block is final, which makes all before it superfluous.
    pub async fn settle_proof(&mut self, number: u64) -> Result<()> {
        self.hold_lead().await?;
        for sql in [
            "UPDATE cofferdam.kept_proofs SET is_final = true \
             WHERE tenant_id = $1 AND chain_id = $2 AND block_number = $3",
            "DELETE FROM cofferdam.kept_proofs \
             WHERE tenant_id = $1 AND chain_id = $2 AND block_number < $3",
        ] {
            self.change_proofs(sql, number).await?;
        }
        Ok(())
    }

    /// Drops a proof of a block that a reorg took.
    pub async fn drop_proof(&mut self, number: u64) -> Result<()> {
        self.hold_lead().await?;
        self.change_proofs(
            "DELETE FROM cofferdam.kept_proofs \
             WHERE tenant_id = $1 AND chain_id = $2 AND block_number = $3 AND NOT is_final",
            number,
        )
        .await
    }

    async fn change_proofs(&mut self, sql: &'static str, number: u64) -> Result<()> {
        sqlx::query(sql)
            .bind(self.tenant().as_b256().0)
            .bind(self.chain())
            .bind(bigint(number, "block number")?)
            .execute(&mut *self.tx)
            .await
            .map_err(StoreError::database(KEEP))?;
        Ok(())
    }

    /// The proof that was kept of a final block, and that block.
    pub async fn kept_proof(&mut self) -> Result<Option<(Checkpoint, BundleProof)>> {
        let row = sqlx::query(
            "SELECT block_number, block_hash, proof FROM cofferdam.kept_proofs p \
             WHERE tenant_id = $1 AND chain_id = $2 AND is_final ORDER BY p.block_number DESC LIMIT 1",
        )
        .bind(self.tenant().as_b256().0)
        .bind(self.chain())
        .fetch_optional(&mut *self.tx)
        .await
        .map_err(StoreError::database("read a kept proof"))?;
        let Some(row) = row else { return Ok(None) };
        let column = "proof";
        let proof = BundleProof::from_bytes(row.value(column)?);
        Ok(Some((block(&row)?, proof.ok_or(StoreError::Corrupt { column })?)))
    }
}

fn block(row: &PgRow) -> Result<Checkpoint> {
    Ok(Checkpoint { number: row.number("block_number")?, hash: row.hash("block_hash")? })
}

fn micros(time: SystemTime) -> Result<i64> {
    let since = time.duration_since(UNIX_EPOCH).ok();
    let micros = since.and_then(|since| i64::try_from(since.as_micros()).ok());
    micros.ok_or(StoreError::OutOfRange { what: "the system clock" })
}
