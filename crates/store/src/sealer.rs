//! What the anchoring daemon keeps: heads, batches, its transactions, incidents.

use std::time::SystemTime;

use alloy_primitives::{B256, keccak256};
use cofferdam_core::TenantId;

use crate::{
    Checkpoint, DatabaseUrl, Deployment, Head, Result, SealedBatch, StoreError, TenantTx,
    deployment,
    pool::{Handle, Role},
    row::{RowExt, bigint},
    tenant_tx::{batch, batch_columns, head, head_columns},
};

/// Reads entries tenant by tenant, writes batches, and keeps the book of transactions.
#[derive(Clone, Debug)]
pub struct Sealer {
    pub(crate) handle: Handle,
}

/// A transaction that is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentTransaction {
    /// Its hash, known before it is sent.
    pub hash: B256,
    /// Its nonce.
    pub nonce: u64,
    /// How many batches it carries.
    pub items: u32,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// It is in a block and did its work.
    Included {
        /// The block.
        block_number: u64,
        /// The gas it used.
        gas_used: u64,
        /// What it paid a unit, in wei.
        effective_gas_price: u128,
    },
    /// It is in a block and failed.
    Reverted {
        /// The block.
        block_number: u64,
        /// The gas it used.
        gas_used: u64,
        /// What it paid a unit, in wei.
        effective_gas_price: u128,
    },
    /// It can never be in a block: another one took its nonce.
    Dropped,
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
    /// Incidents.
    pub incidents: u64,
    /// Halted tenants.
    pub halted: u64,
}

/// A difference between what was sealed and what the chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Whose; none when it concerns the whole deployment.
    pub tenant: Option<TenantId>,
    /// What kind, in one word.
    pub kind: String,
    /// The positions and hashes that differ.
    pub detail: String,
    /// When it was first found.
    pub at: SystemTime,
}

impl Sealer {
    /// Connects and checks the login.
    pub async fn connect(url: &DatabaseUrl, chain_id: u64) -> Result<Self> {
        Ok(Self { handle: Handle::connect(url, chain_id, Role::Sealer).await? })
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
        TenantTx::open(&self.handle, tenant).await
    }

    /// Batches that are not mirrored as anchored yet, of tenants that are not halted: every tenant's
    /// oldest, then every tenant's second, and so on, so that a tenant's own keep their order and one
    /// with a long queue, or one that nobody may anchor for, never holds up the others.
    pub async fn unanchored_batches(&self, limit: u32) -> Result<Vec<SealedBatch>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            batch_columns!(),
            " FROM cofferdam.batches b \
             JOIN cofferdam.heads h USING (tenant_id, chain_id) \
             WHERE b.chain_id = $1 AND b.anchored_at IS NULL AND h.halted IS NULL \
             ORDER BY row_number() OVER (PARTITION BY b.tenant_id ORDER BY b.batch_index), \
                 b.tenant_id LIMIT $2"
        ))
        .bind(self.handle.chain())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read unanchored batches"))?;
        rows.iter().map(batch).collect()
    }

    /// Writes down a transaction before it is sent. The same again is fine.
    pub async fn record_transaction(&self, transaction: &SentTransaction) -> Result<()> {
        let mut tx = self.handle.begin().await?;
        sqlx::query(
            "INSERT INTO cofferdam.transactions (chain_id, tx_hash, nonce, items) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(transaction.hash.as_slice())
        .bind(bigint(transaction.nonce, "nonce")?)
        .bind(i64::from(transaction.items))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("record a transaction"))?;
        tx.commit().await.map_err(StoreError::database("record a transaction"))
    }

    /// Writes down what became of it, once.
    pub async fn finish_transaction(&self, hash: B256, outcome: &TransactionOutcome) -> Result<()> {
        let (word, in_block) = match *outcome {
            TransactionOutcome::Included { block_number, gas_used, effective_gas_price } => {
                ("included", Some((block_number, gas_used, effective_gas_price)))
            }
            TransactionOutcome::Reverted { block_number, gas_used, effective_gas_price } => {
                ("reverted", Some((block_number, gas_used, effective_gas_price)))
            }
            TransactionOutcome::Dropped => ("dropped", None),
        };
        let block = in_block.map(|(block, ..)| bigint(block, "block number")).transpose()?;
        let gas = in_block.map(|(_, gas, _)| bigint(gas, "gas used")).transpose()?;
        let mut tx = self.handle.begin().await?;
        let written = sqlx::query(
            "UPDATE cofferdam.transactions SET outcome = $3, block_number = $4, gas_used = $5, \
                 effective_gas_price = $6::numeric \
             WHERE chain_id = $1 AND tx_hash = $2 AND (outcome IS NULL OR outcome = $3)",
        )
        .bind(self.handle.chain())
        .bind(hash.as_slice())
        .bind(word)
        .bind(block)
        .bind(gas)
        .bind(in_block.map(|(.., price)| price.to_string()))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("finish a transaction"))?
        .rows_affected();
        if written == 0 {
            return Err(StoreError::UnknownTransaction(hash));
        }
        tx.commit().await.map_err(StoreError::database("finish a transaction"))
    }

    /// Transactions without an outcome, by nonce.
    pub async fn open_transactions(&self) -> Result<Vec<SentTransaction>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT tx_hash, nonce, items FROM cofferdam.transactions \
             WHERE chain_id = $1 AND outcome IS NULL ORDER BY nonce",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read open transactions"))?;
        rows.iter()
            .map(|row| {
                let items = row.number("items")?.try_into();
                Ok(SentTransaction {
                    hash: row.hash("tx_hash")?,
                    nonce: row.number("nonce")?,
                    items: items.map_err(|_| StoreError::Corrupt { column: "items" })?,
                })
            })
            .collect()
    }

    /// Sums for `status`.
    pub async fn totals(&self) -> Result<Totals> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "SELECT h.*, b.*, t.*, \
                 (SELECT count(kind) FROM cofferdam.incidents WHERE chain_id = $1) AS incidents \
             FROM (SELECT count(tenant_id) AS tenants, coalesce(sum(next_seq), 0)::bigint AS entries, \
                     count(halted) AS halted FROM cofferdam.heads WHERE chain_id = $1) h, \
                 (SELECT count(tenant_id) AS batches, count(anchored_at) AS anchored \
                     FROM cofferdam.batches WHERE chain_id = $1) b, \
                 (SELECT count(tx_hash) FILTER (WHERE outcome = 'included') AS transactions, \
                     coalesce(sum(gas_used), 0)::bigint AS gas_used, \
                     coalesce(sum(gas_used * effective_gas_price), 0)::text AS fee_wei \
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

    /// Stops sealing and anchoring this tenant, and writes an incident, once however often it is found.
    /// Appending goes on. `detail` says positions and hashes, never a field value.
    pub async fn halt(&self, tenant: TenantId, kind: &str, detail: &str) -> Result<()> {
        let mut scoped = TenantTx::open(&self.handle, tenant).await?;
        let halted = sqlx::query(
            "UPDATE cofferdam.heads SET halted = coalesce(halted, $3) \
             WHERE tenant_id = $1 AND chain_id = $2",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .bind(format!("{kind}: {detail}"))
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("halt a tenant"))?
        .rows_affected();
        if halted == 0 {
            return Err(scoped.unknown());
        }
        sqlx::query(
            "INSERT INTO cofferdam.incidents (tenant_id, chain_id, incident_id, kind, detail) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(scoped.chain())
        .bind(incident_id(tenant, kind, detail).as_slice())
        .bind(kind)
        .bind(detail)
        .execute(&mut *scoped.tx)
        .await
        .map_err(StoreError::database("write an incident"))?;
        scoped.commit().await?;
        tracing::error!(%tenant, kind, detail, "tenant halted");
        Ok(())
    }

    /// The latest incidents.
    pub async fn incidents(&self, limit: u32) -> Result<Vec<Incident>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT tenant_id, kind, detail, (extract(epoch FROM at) * 1000000)::bigint AS at \
             FROM cofferdam.incidents i WHERE chain_id = $1 ORDER BY i.at DESC LIMIT $2",
        )
        .bind(self.handle.chain())
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read incidents"))?;
        rows.iter()
            .map(|row| {
                let whole = row.value::<Option<&[u8]>>("tenant_id")?.is_none();
                Ok(Incident {
                    tenant: if whole { None } else { Some(row.tenant()?) },
                    kind: row.value("kind")?,
                    detail: row.value("detail")?,
                    at: row.time("at")?.ok_or(StoreError::Corrupt { column: "at" })?,
                })
            })
            .collect()
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

/// The same finding has the same id, so it is written once.
pub(crate) fn incident_id(tenant: TenantId, kind: &str, detail: &str) -> B256 {
    let tenant = tenant.as_b256();
    let parts = [tenant.as_slice(), kind.as_bytes(), &[0], detail.as_bytes()];
    keccak256(parts.concat())
}
