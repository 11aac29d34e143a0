//! What the anchoring daemon reads of all tenants: heads, batches, sums.

use cofferdam_core::TenantId;

use crate::{
    Checkpoint, DatabaseUrl, Deployment, Head, Result, SealedBatch, StoreError, TenantTx,
    deployment,
    pool::{Handle, Role},
    row::RowExt,
    tenant_tx::{batch, batch_columns, head, head_columns},
};

/// Reads entries tenant by tenant, writes batches, and keeps the book of transactions.
#[derive(Clone, Debug)]
pub struct Sealer {
    pub(crate) handle: Handle,
    /// The epoch under which it leads; its writes are refused once another one leads.
    pub(crate) epoch: Option<i64>,
}

/// Sums over all tenants of the chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Registered tenants.
    pub tenants: u64,
    /// Appended entries.
    pub entries: u64,
    /// Sealed batches.
    pub batches: u64,
    /// Batches whose event is mirrored.
    pub anchored: u64,
    /// Transactions that were included.
    pub transactions: u64,
    /// The gas of all transactions that are in a block.
    pub gas_used: u64,
    /// What that cost, in wei.
    pub fee_wei: u128,
    /// Incidents that no operator has decided on.
    pub incidents: u64,
    /// Halted tenants.
    pub halted: u64,
}

impl Sealer {
    /// Connects and checks the login.
    pub async fn connect(url: &DatabaseUrl, chain_id: u64) -> Result<Self> {
        Ok(Self { handle: Handle::connect(url, chain_id, Role::Sealer).await?, epoch: None })
    }

    /// The same for whoever only watches: with two connections, so that it never takes the daemon's.
    pub async fn watching(url: &DatabaseUrl, chain_id: u64) -> Result<Self> {
        Ok(Self { handle: Handle::connect_few(url, chain_id, Role::Sealer, 2).await?, epoch: None })
    }

    /// The contract this chain's tenants are anchored in.
    pub async fn deployment(&self) -> Result<Option<Deployment>> {
        deployment::read(&self.handle).await
    }

    /// The heads of all tenants, in order of their ids.
    pub async fn heads(&self) -> Result<Vec<Head>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            head_columns!(),
            " FROM cofferdam.heads h \
             JOIN cofferdam.tenants t USING (tenant_id, chain_id) \
             WHERE h.chain_id = $1 ORDER BY h.tenant_id"
        ))
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the heads"))?;
        rows.iter().map(head).collect()
    }

    /// A transaction in the scope of `tenant`.
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx> {
        Ok(TenantTx::open(&self.handle, tenant).await?.fenced(self.epoch))
    }

    /// Batches that nobody has seen anchored yet, neither the mirror nor a receipt of ours, of tenants
    /// that are not halted, have no transaction under way and are not `passed` over: every tenant's
    /// oldest, then every tenant's second, and so on, so that a tenant's own keep their order and one
    /// with a long queue never holds up the others; among these what was sealed first.
    pub async fn unanchored_batches(
        &self,
        limit: u32,
        passed: &[TenantId],
    ) -> Result<Vec<SealedBatch>> {
        // As `OFFSET 0` keeps them, the conditions are looked up for each batch: joined, the planner, which has
        // no statistics, would compare each with each. An intent is the hash of its first attempt: said twice, so
        // that whichever index is taken has all of its key.
        let passed: Vec<_> = passed.iter().map(|tenant| tenant.as_b256().0).collect();
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            batch_columns!(),
            " FROM cofferdam.batches b \
             WHERE b.chain_id = $1 AND b.anchored_at IS NULL \
                 AND b.tenant_id NOT IN (SELECT unnest($3::bytea[])) \
                 AND (SELECT h.halted IS NULL FROM cofferdam.heads h \
                     WHERE h.tenant_id = b.tenant_id AND h.chain_id = b.chain_id) \
                 AND NOT EXISTS (SELECT FROM cofferdam.postings p WHERE p.tenant_id = b.tenant_id \
                     AND p.chain_id = b.chain_id AND p.anchored IS NULL OFFSET 0) \
                 AND NOT EXISTS (SELECT FROM cofferdam.postings p WHERE p.tenant_id = b.tenant_id \
                     AND p.chain_id = b.chain_id AND p.batch_index = b.batch_index AND p.anchored \
                     AND NOT (SELECT t.settled FROM cofferdam.transactions t \
                         WHERE t.chain_id = p.chain_id AND t.tx_hash = p.intent AND t.intent = p.intent) OFFSET 0) \
             ORDER BY row_number() OVER (PARTITION BY b.tenant_id ORDER BY b.batch_index), \
                 b.sealed_at, b.tenant_id LIMIT $2"
        ))
        .bind(self.handle.chain())
        .bind(i64::from(limit))
        .bind(passed)
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read unanchored batches"))?;
        rows.iter().map(batch).collect()
    }

    /// Sums for `status`.
    pub async fn totals(&self) -> Result<Totals> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "SELECT h.*, b.*, t.*, \
                 (SELECT count(kind) FROM cofferdam.incidents \
                     WHERE chain_id = $1 AND resolved_at IS NULL) AS incidents \
             FROM (SELECT count(tenant_id) AS tenants, coalesce(sum(next_seq), 0)::bigint AS entries, \
                     count(halted) AS halted FROM cofferdam.heads WHERE chain_id = $1) h, \
                 (SELECT count(tenant_id) AS batches, count(anchored_at) AS anchored \
                     FROM cofferdam.batches WHERE chain_id = $1) b, \
                 (SELECT count(tx_hash) FILTER (WHERE outcome = 'included') AS transactions, \
                     coalesce(sum(gas_used), 0)::bigint AS gas_used, \
                     coalesce(sum(fee), 0)::text AS fee_wei \
                     FROM cofferdam.transactions WHERE chain_id = $1) t",
        )
        .bind(self.handle.chain())
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("sum up"))?;
        let fee = row.value::<String>("fee_wei")?.parse();
        Ok(Totals {
            tenants: row.number("tenants")?,
            entries: row.number("entries")?,
            batches: row.number("batches")?,
            anchored: row.number("anchored")?,
            transactions: row.number("transactions")?,
            gas_used: row.number("gas_used")?,
            fee_wei: fee.map_err(|_| StoreError::OutOfRange { what: "the sum of fees" })?,
            incidents: row.number("incidents")?,
            halted: row.number("halted")?,
        })
    }

    /// How far the chain is mirrored.
    pub async fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "SELECT block_number, block_hash FROM cofferdam.checkpoints WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read the checkpoint"))?;
        row.map(|row| {
            Ok(Checkpoint { number: row.number("block_number")?, hash: row.hash("block_hash")? })
        })
        .transpose()
    }
}
