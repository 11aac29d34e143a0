//! What whoever watches a daemon wants to know of all tenants together.

use std::time::Duration;

use crate::{Result, Sealer, StoreError, row::RowExt};

/// Sums over all tenants of the chain. Every stage counts the entries that are further, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Registered tenants.
    pub tenants: u64,
    /// Those that are halted.
    pub halted: u64,
    /// Entries that were appended.
    pub appended: u64,
    /// Entries in a batch.
    pub sealed: u64,
    /// Entries in a transaction that was recorded.
    pub posted: u64,
    /// Entries in a batch whose event is mirrored and is what was sealed.
    pub included: u64,
    /// Entries in a safe block.
    pub safe: u64,
    /// Entries in a final block.
    pub last_final: u64,
    /// How long the oldest entry has been in no batch.
    pub unsealed_for: Duration,
    /// How long the oldest batch without a mirrored event has been sealed.
    pub unanchored_for: Duration,
    /// Policies that were handed in and are neither mirrored nor given up.
    pub waiting_policies: u64,
    /// How long the oldest of them has waited.
    pub unpublished_for: Duration,
    /// Transactions that may still be put in a block.
    pub open_transactions: u64,
    /// The gas of all transactions that are in a block.
    pub gas_used: u64,
    /// What that cost, in wei.
    pub fee_wei: u128,
    /// Incidents that no operator has decided on, by kind.
    pub incidents: Vec<(String, u64)>,
}

impl Sealer {
    /// Reads them. What is settled is not looked at again: its sum is kept.
    pub async fn vitals(&self) -> Result<Vitals> {
        let mut tx = self.handle.begin().await?;
        let doing = "read the vitals";
        let row = sqlx::query(
            "SELECT h.*, b.*, f.*, t.*, o.*, p.* FROM \
                 (SELECT count(tenant_id) AS tenants, count(halted) AS halted, \
                     coalesce(sum(next_seq), 0)::bigint AS appended, \
                     coalesce(sum(sealed_seq), 0)::bigint AS sealed, \
                     greatest(0, coalesce(extract(epoch FROM \
                         clock_timestamp() - min(oldest_unsealed_at)) * 1000, 0))::bigint AS unsealed_for \
                     FROM cofferdam.heads WHERE chain_id = $1) h, \
                 (SELECT coalesce(sum(b.count), 0)::bigint AS unanchored, \
                     coalesce(sum(b.count) FILTER (WHERE NOT EXISTS (SELECT FROM cofferdam.postings p \
                         WHERE p.tenant_id = b.tenant_id AND p.chain_id = b.chain_id \
                             AND p.batch_index = b.batch_index \
                             AND p.anchored IS DISTINCT FROM false)), 0)::bigint AS unposted, \
                     greatest(0, coalesce(extract(epoch FROM \
                         clock_timestamp() - min(b.sealed_at)) * 1000, 0))::bigint AS unanchored_for \
                     FROM cofferdam.batches b WHERE b.chain_id = $1 AND b.anchored_at IS NULL) b, \
                 (SELECT coalesce(sum(b.count), 0)::bigint AS passing, \
                     coalesce(sum(b.count) FILTER (WHERE b.block_number > coalesce((SELECT safe \
                         FROM cofferdam.finality WHERE chain_id = $1), -1)), 0)::bigint AS unsafe \
                     FROM cofferdam.batches b \
                     WHERE b.chain_id = $1 AND b.anchored_at IS NOT NULL AND b.block_number > \
                         coalesce((SELECT final FROM cofferdam.finality WHERE chain_id = $1), -1)) f, \
                 (SELECT coalesce(sum(gas), 0)::bigint AS gas_used, coalesce(sum(fee), 0)::text AS fee_wei \
                     FROM (SELECT gas_used AS gas, fee FROM cofferdam.transactions \
                             WHERE chain_id = $1 AND NOT settled \
                         UNION ALL SELECT settled_gas, settled_fee FROM cofferdam.finality \
                             WHERE chain_id = $1) costs) t, \
                 (SELECT count(DISTINCT intent) AS open FROM cofferdam.transactions \
                     WHERE chain_id = $1 AND NOT settled AND outcome IS NULL) o, \
                 (SELECT count(version) AS policies, greatest(0, coalesce(extract(epoch FROM \
                         clock_timestamp() - min(submitted_at)) * 1000, 0))::bigint AS unpublished_for \
                     FROM cofferdam.policy_submissions \
                     WHERE chain_id = $1 AND block_number IS NULL AND failed IS NULL) p",
        )
        .bind(self.handle.chain())
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        let incidents = sqlx::query(
            "SELECT kind, count(incident_id) AS open FROM cofferdam.incidents \
             WHERE chain_id = $1 AND resolved_at IS NULL GROUP BY kind ORDER BY kind",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        let age = |column| Ok::<_, StoreError>(Duration::from_millis(row.number(column)?));
        let sealed: u64 = row.number("sealed")?;
        let included = sealed.saturating_sub(row.number("unanchored")?);
        let fee = row.value::<String>("fee_wei")?.parse();
        Ok(Vitals {
            tenants: row.number("tenants")?,
            halted: row.number("halted")?,
            appended: row.number("appended")?,
            sealed,
            posted: sealed.saturating_sub(row.number("unposted")?),
            included,
            safe: included.saturating_sub(row.number("unsafe")?),
            last_final: included.saturating_sub(row.number("passing")?),
            unsealed_for: age("unsealed_for")?,
            unanchored_for: age("unanchored_for")?,
            waiting_policies: row.number("policies")?,
            unpublished_for: age("unpublished_for")?,
            open_transactions: row.number("open")?,
            gas_used: row.number("gas_used")?,
            fee_wei: fee.map_err(|_| StoreError::OutOfRange { what: "the sum of fees" })?,
            incidents: incidents
                .iter()
                .map(|row| Ok((row.value("kind")?, row.number("open")?)))
                .collect::<Result<_>>()?,
        })
    }
}
