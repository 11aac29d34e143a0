//! The ledger of transactions: every hash before it is sent, and what became of each nonce.
//!
//! An *intent* is what one nonce is for; its *attempts* are the hashes that do it at different fees. At
//! most one attempt is ever in a block. An intent is settled once its nonce was used up in a final block.

use alloy_primitives::{Address, B256, Bytes, U256};
use cofferdam_core::TenantId;
use sqlx::{Postgres, Transaction, postgres::PgRow};

use crate::{
    Result, Sealer, StoreError,
    row::{RowExt, bigint},
};

mod carried;

pub use carried::Item;

/// One signed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its hash.
    pub hash: B256,
    /// Its signed bytes; not read any more where something has become of it.
    pub raw: Bytes,
    /// The most it pays a unit of gas, in wei.
    pub max_fee: u128,
    /// What of that goes to the block's producer, in wei.
    pub tip: u128,
}

/// What one nonce is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The hash of the first attempt.
    pub id: B256,
    /// Whose nonce.
    pub sender: Address,
    /// The nonce.
    pub nonce: u64,
    /// How many batches and policies it carries.
    pub items: u32,
    /// Every attempt, the cheapest first.
    pub attempts: Vec<Attempt>,
    /// What became of it, as far as that is known.
    pub outcome: Outcome,
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Any of its attempts may still be put in a block.
    Open,
    /// One of its attempts is in a block.
    Mined {
        /// The attempt.
        hash: B256,
        /// The block's number.
        block_number: u64,
        /// The block's hash.
        block_hash: B256,
    },
    /// Somebody else's transaction used the nonce up.
    Taken {
        /// The newest block when that was seen.
        block_number: u64,
    },
}

/// What a receipt says of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mined {
    /// The attempt.
    pub hash: B256,
    /// Whether it did its work; it reverted otherwise.
    pub success: bool,
    /// The block's number.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The gas it used.
    pub gas_used: u64,
    /// What it paid a unit, in wei.
    pub effective_gas_price: u128,
    /// What an OP Stack chain took for publishing it, in wei.
    pub l1_fee: U256,
    /// What the chain's operator took, in wei.
    pub operator_fee: U256,
    /// The batches and policies whose event is in the receipt.
    pub done: Vec<(TenantId, Item)>,
}

impl Mined {
    /// What it paid in all, in wei.
    pub fn fee(&self) -> U256 {
        U256::from(self.gas_used) * U256::from(self.effective_gas_price)
            + self.l1_fee
            + self.operator_fee
    }
}

impl Sealer {
    /// Writes down what a nonce is to be used for, before anything is sent.
    pub async fn record_intent(
        &self,
        sender: Address,
        nonce: u64,
        attempt: &Attempt,
        carried: &[(TenantId, Item)],
    ) -> Result<Intent> {
        let items = u32::try_from(carried.len());
        let mut tx = self.fenced().await?;
        // The same transaction once more: a reorg took it back after it was settled.
        let settled = self.settled_as(&mut tx, attempt).await?;
        let intent = Intent {
            id: settled.unwrap_or(attempt.hash),
            sender,
            nonce,
            items: items.map_err(|_| StoreError::OutOfRange { what: "the number of items" })?,
            attempts: vec![attempt.clone()],
            outcome: Outcome::Open,
        };
        if settled.is_some() {
            self.unsettle(&mut tx, &intent, attempt).await?;
            clear(&mut tx, self.handle.chain(), &intent, None, None).await?;
            tx.commit().await.map_err(StoreError::database("record a transaction"))?;
            return Ok(intent);
        }
        self.insert_attempt(&mut tx, &intent, attempt).await?;
        carried::insert(&mut tx, self.handle.chain(), intent.id, carried).await?;
        tx.commit().await.map_err(StoreError::database("record a transaction"))?;
        Ok(intent)
    }

    /// The settled intent that this attempt belongs to, if it was made before.
    async fn settled_as(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        attempt: &Attempt,
    ) -> Result<Option<B256>> {
        let row = sqlx::query(
            "SELECT intent FROM cofferdam.transactions WHERE chain_id = $1 AND tx_hash = $2 AND settled",
        )
        .bind(self.handle.chain())
        .bind(attempt.hash.as_slice())
        .fetch_optional(&mut **tx)
        .await
        .map_err(StoreError::database("look for a transaction"))?;
        row.map(|row| row.hash("intent")).transpose()
    }

    /// Follows an attempt of a settled intent again; its other attempts are gone for good, and what the intent
    /// cost is cleared with them.
    async fn unsettle(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        intent: &Intent,
        attempt: &Attempt,
    ) -> Result<()> {
        sqlx::query(
            "WITH undone AS (UPDATE cofferdam.transactions SET settled = false, raw = $4 \
                 WHERE chain_id = $1 AND intent = $2 AND tx_hash = $3), \
             cost AS (SELECT coalesce(sum(gas_used), 0)::bigint AS gas, coalesce(sum(fee), 0) AS fee \
                 FROM cofferdam.transactions WHERE chain_id = $1 AND intent = $2 AND settled) \
             UPDATE cofferdam.finality SET settled_gas = settled_gas - cost.gas, \
                 settled_fee = settled_fee - cost.fee FROM cost WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .bind(intent.id.as_slice())
        .bind(attempt.hash.as_slice())
        .bind(attempt.raw.as_ref())
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("record a transaction"))?;
        Ok(())
    }

    /// Writes down another attempt at the same thing, before it is sent.
    pub async fn record_attempt(&self, intent: &Intent, attempt: &Attempt) -> Result<()> {
        let mut tx = self.fenced().await?;
        self.insert_attempt(&mut tx, intent, attempt).await?;
        tx.commit().await.map_err(StoreError::database("record a transaction"))
    }

    async fn insert_attempt(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        intent: &Intent,
        attempt: &Attempt,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO cofferdam.transactions \
                 (chain_id, tx_hash, intent, sender, nonce, items, raw, max_fee, tip) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9::text::numeric) \
             ON CONFLICT DO NOTHING",
        )
        .bind(self.handle.chain())
        .bind(attempt.hash.as_slice())
        .bind(intent.id.as_slice())
        .bind(intent.sender.as_slice())
        .bind(bigint(intent.nonce, "nonce")?)
        .bind(i64::from(intent.items))
        .bind(attempt.raw.as_ref())
        .bind(attempt.max_fee.to_string())
        .bind(attempt.tip.to_string())
        .execute(&mut **tx)
        .await
        .map_err(StoreError::database("record a transaction"))?;
        Ok(())
    }

    /// Intents that are not settled, by nonce.
    pub async fn unsettled(&self) -> Result<Vec<Intent>> {
        let mut tx = self.handle.begin().await?;
        let rows = sqlx::query(
            "SELECT intent, tx_hash, sender, nonce, items, CASE WHEN outcome IS NULL THEN raw END AS raw, \
                 max_fee::text AS max_fee, tip::text AS tip, outcome, block_number, block_hash \
             FROM cofferdam.transactions t WHERE chain_id = $1 AND NOT settled \
             ORDER BY t.sender, t.nonce, t.intent, t.max_fee, t.tip",
        )
        .bind(self.handle.chain())
        .fetch_all(&mut *tx)
        .await
        .map_err(StoreError::database("read the ledger"))?;
        let mut intents: Vec<Intent> = vec![];
        for row in &rows {
            let id: B256 = row.hash("intent")?;
            if intents.last().is_none_or(|last| last.id != id) {
                let items = row.number("items")?.try_into();
                let sender = Address::try_from(row.value::<&[u8]>("sender")?);
                intents.push(Intent {
                    id,
                    sender: sender.map_err(|_| StoreError::Corrupt { column: "sender" })?,
                    nonce: row.number("nonce")?,
                    items: items.map_err(|_| StoreError::Corrupt { column: "items" })?,
                    attempts: vec![],
                    outcome: Outcome::Open,
                });
            }
            let Some(intent) = intents.last_mut() else { continue };
            let hash = row.hash("tx_hash")?;
            intent.attempts.push(Attempt {
                hash,
                raw: row.value::<Option<Vec<u8>>>("raw")?.unwrap_or_default().into(),
                max_fee: wei(row, "max_fee")?,
                tip: wei(row, "tip")?,
            });
            match row.value::<Option<&str>>("outcome")? {
                Some("included" | "reverted") => {
                    intent.outcome = Outcome::Mined {
                        hash,
                        block_number: row.number("block_number")?,
                        block_hash: row.hash("block_hash")?,
                    };
                }
                // Beside a mined attempt, this only says of the others that they are not.
                Some(_) if intent.outcome == Outcome::Open => {
                    intent.outcome = Outcome::Taken { block_number: row.number("block_number")? };
                }
                _ => {}
            }
        }
        Ok(intents)
    }

    /// What an intent carries.
    pub async fn carried(&self, intent: B256) -> Result<Vec<(TenantId, Item)>> {
        let mut tx = self.handle.begin().await?;
        carried::read(&mut tx, self.handle.chain(), intent).await
    }

    /// Writes down that an attempt is in a block, and the equal share of what it cost of each thing that
    /// it did. Where it did none, all that it carried bear that.
    pub async fn mined(&self, intent: &Intent, mined: &Mined) -> Result<()> {
        let doing = "write down a mined transaction";
        let carried = self.carried(intent.id).await?;
        let mut tx = self.fenced().await?;
        let written = sqlx::query(
            "UPDATE cofferdam.transactions SET outcome = CASE WHEN tx_hash = $3 THEN $4 ELSE 'dropped' END, \
                 block_number = $5, block_hash = $6, \
                 gas_used = CASE WHEN tx_hash = $3 THEN $7::bigint END, \
                 effective_gas_price = CASE WHEN tx_hash = $3 THEN $8::text::numeric END, \
                 fee = CASE WHEN tx_hash = $3 THEN $9::text::numeric END, \
                 l1_fee = CASE WHEN tx_hash = $3 THEN $10::text::numeric END, \
                 operator_fee = CASE WHEN tx_hash = $3 THEN $11::text::numeric END \
             WHERE chain_id = $1 AND intent = $2",
        )
        .bind(self.handle.chain())
        .bind(intent.id.as_slice())
        .bind(mined.hash.as_slice())
        .bind(if mined.success { "included" } else { "reverted" })
        .bind(bigint(mined.block_number, "block number")?)
        .bind(mined.block_hash.as_slice())
        .bind(bigint(mined.gas_used, "gas used")?)
        .bind(mined.effective_gas_price.to_string())
        .bind(mined.fee().to_string())
        .bind(mined.l1_fee.to_string())
        .bind(mined.operator_fee.to_string())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
        if written.rows_affected() == 0 {
            return Err(StoreError::UnknownTransaction(intent.id));
        }
        carried::book(&mut tx, self.handle.chain(), intent.id, &carried, mined).await?;
        tx.commit().await.map_err(StoreError::database(doing))
    }

    /// Writes down that somebody else's transaction used the nonce up; what it carried is free again.
    pub async fn taken(&self, intent: &Intent, head: u64) -> Result<()> {
        self.reset(intent, Some(bigint(head, "block number")?), Some(false)).await
    }

    /// Writes down that any attempt may still be put in a block, as after a reorg.
    pub async fn reopen(&self, intent: &Intent) -> Result<()> {
        self.reset(intent, None, None).await
    }

    /// Frees what an intent carries that is of no use any more, and goes on watching it until all of
    /// them are anchored in final blocks: nothing that matters can come of it from then on.
    pub async fn abandon(&self, intent: &Intent, last_final: u64) -> Result<()> {
        let mut tx = self.fenced().await?;
        clear(&mut tx, self.handle.chain(), intent, None, Some(false)).await?;
        sqlx::query(
            "UPDATE cofferdam.transactions SET settled = true, raw = NULL \
             WHERE chain_id = $1 AND intent = $2 AND NOT EXISTS (SELECT FROM cofferdam.postings p \
                 WHERE p.chain_id = $1 AND p.intent = $2 AND ((SELECT b.block_number \
                     FROM cofferdam.batches b WHERE b.tenant_id = p.tenant_id AND b.chain_id = p.chain_id \
                         AND b.batch_index = p.batch_index) > $3) IS NOT FALSE) \
             AND NOT EXISTS (SELECT FROM cofferdam.policy_postings p \
                 WHERE p.chain_id = $1 AND p.intent = $2 AND ((SELECT s.block_number \
                     FROM cofferdam.policy_submissions s WHERE s.tenant_id = p.tenant_id \
                         AND s.chain_id = p.chain_id AND s.version = p.version) > $3) IS NOT FALSE)",
        )
        .bind(self.handle.chain())
        .bind(intent.id.as_slice())
        .bind(bigint(last_final, "block number")?)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(RESET))?;
        tx.commit().await.map_err(StoreError::database(RESET))
    }

    async fn reset(
        &self,
        intent: &Intent,
        taken_at: Option<i64>,
        done: Option<bool>,
    ) -> Result<()> {
        let mut tx = self.fenced().await?;
        clear(&mut tx, self.handle.chain(), intent, taken_at, done).await?;
        tx.commit().await.map_err(StoreError::database(RESET))
    }

    /// Writes down that nothing about an intent can change any more, and adds what it cost to what all have.
    pub async fn settle(&self, intent: &Intent) -> Result<()> {
        let mut tx = self.fenced().await?;
        sqlx::query(
            "WITH done AS (UPDATE cofferdam.transactions SET settled = true, raw = NULL \
                 WHERE chain_id = $1 AND intent = $2 AND NOT settled RETURNING gas_used, fee) \
             INSERT INTO cofferdam.finality AS f (chain_id, head, safe, final, settled_gas, settled_fee) \
             SELECT $1, 0, 0, 0, coalesce(sum(gas_used), 0)::bigint, coalesce(sum(fee), 0) FROM done \
             ON CONFLICT (chain_id) DO UPDATE SET settled_gas = f.settled_gas + EXCLUDED.settled_gas, \
                 settled_fee = f.settled_fee + EXCLUDED.settled_fee",
        )
        .bind(self.handle.chain())
        .bind(intent.id.as_slice())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("settle a transaction"))?;
        tx.commit().await.map_err(StoreError::database("settle a transaction"))
    }
}

const RESET: &str = "write down what became of a transaction";

/// Takes back what was known of an intent's attempts and of what it carries.
async fn clear(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    intent: &Intent,
    taken_at: Option<i64>,
    done: Option<bool>,
) -> Result<()> {
    sqlx::query(
        "UPDATE cofferdam.transactions SET outcome = CASE WHEN $3::bigint IS NULL THEN NULL \
                 ELSE 'dropped' END, \
             block_number = $3, block_hash = NULL, gas_used = NULL, effective_gas_price = NULL, \
             fee = NULL, l1_fee = NULL, operator_fee = NULL \
         WHERE chain_id = $1 AND intent = $2 AND num_nonnulls(outcome, block_number, $3::bigint) > 0",
    )
    .bind(chain)
    .bind(intent.id.as_slice())
    .bind(taken_at)
    .execute(&mut **tx)
    .await
    .map_err(StoreError::database(RESET))?;
    carried::clear(tx, chain, intent.id, done).await
}

fn wei(row: &PgRow, column: &'static str) -> Result<u128> {
    row.value::<String>(column)?.parse().map_err(|_| StoreError::Corrupt { column })
}
