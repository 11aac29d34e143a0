//! How far each tenant's batches have come, and what that cost.

use std::collections::HashMap;

use alloy_primitives::U256;
use cofferdam_core::TenantId;

use crate::{
    Result, Sealer, StoreError,
    row::{RowExt, bigint},
};

/// How settled the chain is, in block numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finality {
    /// The newest block.
    pub head: u64,
    /// The newest one that is safe.
    pub safe: u64,
    /// The newest one that is final.
    pub last_final: u64,
}

/// How many of a tenant's entries have come how far. Each stage counts those that are further, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// In a transaction that was recorded.
    pub posted: u64,
    /// Anchored in a block that is mirrored.
    pub included: u64,
    /// Anchored in a safe block.
    pub safe: u64,
    /// Anchored in a final block.
    pub last_final: u64,
}

/// What a tenant's batches and policies cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Batches that were anchored.
    pub batches: u64,
    /// Policies that were published for it.
    pub policies: u64,
    /// Their shares of the gas.
    pub gas: u64,
    /// Their shares of all fees, in wei.
    pub fee: U256,
    /// What of that is the batches', in wei.
    pub batch_fee: U256,
}

impl Sealer {
    /// Writes down how settled the chain is.
    pub async fn set_finality(&self, at: Finality) -> Result<()> {
        let mut tx = self.fenced().await?;
        sqlx::query(
            "INSERT INTO cofferdam.finality AS f (chain_id, head, safe, final) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (chain_id) DO UPDATE \
             SET head = EXCLUDED.head, safe = EXCLUDED.safe, final = EXCLUDED.final \
             WHERE (f.head, f.safe, f.final) <> (EXCLUDED.head, EXCLUDED.safe, EXCLUDED.final)",
        )
        .bind(self.handle.chain())
        .bind(bigint(at.head, "block number")?)
        .bind(bigint(at.safe, "block number")?)
        .bind(bigint(at.last_final, "block number")?)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("write down what is final"))?;
        tx.commit().await.map_err(StoreError::database("write down what is final"))
    }

    /// How settled the chain was when it was last looked at.
    pub async fn finality(&self) -> Result<Option<Finality>> {
        let mut tx = self.handle.begin().await?;
        let row =
            sqlx::query("SELECT head, safe, final FROM cofferdam.finality WHERE chain_id = $1")
                .bind(self.handle.chain())
                .fetch_optional(&mut *tx)
                .await
                .map_err(StoreError::database("read what is final"))?;
        row.map(|row| {
            Ok(Finality {
                head: row.number("head")?,
                safe: row.number("safe")?,
                last_final: row.number("final")?,
            })
        })
        .transpose()
    }

    /// How far every tenant's entries have come; tenants without batches are not in it.
    pub async fn stages(&self) -> Result<HashMap<TenantId, Stages>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT b.tenant_id, \
                 coalesce(max(b.first_seq + b.count) FILTER (WHERE b.anchored_at IS NOT NULL \
                     OR EXISTS (SELECT FROM cofferdam.postings p WHERE p.tenant_id = b.tenant_id \
                         AND p.chain_id = b.chain_id AND p.batch_index = b.batch_index \
                         AND p.anchored IS DISTINCT FROM false)), 0) AS posted, \
                 coalesce(max(b.first_seq + b.count) FILTER (WHERE b.anchored_at IS NOT NULL), 0) \
                     AS included, \
                 coalesce(max(b.first_seq + b.count) FILTER (WHERE b.block_number <= f.safe), 0) AS safe, \
                 coalesce(max(b.first_seq + b.count) FILTER (WHERE b.block_number <= f.final), 0) AS final \
             FROM cofferdam.batches b LEFT JOIN cofferdam.finality f USING (chain_id) \
             WHERE b.chain_id = $1 GROUP BY b.tenant_id",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read how far batches have come"))?;
        rows.iter()
            .map(|row| {
                let stages = Stages {
                    posted: row.number("posted")?,
                    included: row.number("included")?,
                    safe: row.number("safe")?,
                    last_final: row.number("final")?,
                };
                Ok((row.tenant()?, stages))
            })
            .collect()
    }

    /// What every tenant's batches and policies cost; tenants without any are not in it.
    pub async fn costs(&self) -> Result<HashMap<TenantId, Cost>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT tenant_id, sum(batch) AS batches, sum(policy) AS policies, \
                 coalesce(sum(gas), 0)::bigint AS gas, coalesce(sum(fee), 0)::text AS fee, \
                 coalesce(sum(fee) FILTER (WHERE of_batch), 0)::text AS batch_fee \
             FROM (SELECT tenant_id, true AS of_batch, (anchored IS TRUE)::int AS batch, 0 AS policy, gas, fee \
                     FROM cofferdam.postings WHERE chain_id = $1 \
                 UNION ALL SELECT tenant_id, false, 0, (published IS TRUE)::int, gas, fee \
                     FROM cofferdam.policy_postings WHERE chain_id = $1) carried \
             GROUP BY tenant_id",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("sum up costs"))?;
        rows.iter()
            .map(|row| {
                let fee = |column| {
                    let parsed = row.value::<String>(column)?.parse();
                    parsed.map_err(|_| StoreError::Corrupt { column })
                };
                let cost = Cost {
                    batches: row.number("batches")?,
                    policies: row.number("policies")?,
                    gas: row.number("gas")?,
                    fee: fee("fee")?,
                    batch_fee: fee("batch_fee")?,
                };
                Ok((row.tenant()?, cost))
            })
            .collect()
    }
}
