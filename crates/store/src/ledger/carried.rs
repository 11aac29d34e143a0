//! What an intent carries: batches, whose book is `postings`, and policies, whose is `policy_postings`.

use alloy_primitives::{B256, U256};
use cofferdam_core::{BatchIndex, PolicyVersion, TenantId};
use sqlx::{Postgres, Transaction};

use super::Mined;
use crate::{
    Result, StoreError,
    row::{RowExt, bigint},
};

/// What a transaction does for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// It anchors this batch.
    Batch(BatchIndex),
    /// It publishes this policy.
    Policy(PolicyVersion),
}

/// The statements for either book, which differ in names alone.
macro_rules! insert_into {
    ($book:literal, $number:literal) => {
        concat!(
            "INSERT INTO cofferdam.",
            $book,
            " (chain_id, intent, tenant_id, ",
            $number,
            ") SELECT $1, $2, u.* FROM UNNEST($3::bytea[], $4::bigint[]) u"
        )
    };
}

macro_rules! book_in {
    ($book:literal, $number:literal, $done:literal) => {
        concat!(
            "UPDATE cofferdam.",
            $book,
            " p SET ",
            $done,
            " = u.done, gas = u.gas, fee = u.fee::numeric \
             FROM UNNEST($3::bytea[], $4::bigint[], $5::boolean[], $6::bigint[], $7::text[]) \
                 AS u(tenant_id, number, done, gas, fee) \
             WHERE p.tenant_id = u.tenant_id AND p.chain_id = $1 AND p.",
            $number,
            " = u.number AND p.intent = $2"
        )
    };
}

macro_rules! clear_in {
    ($book:literal, $done:literal) => {
        concat!(
            "UPDATE cofferdam.",
            $book,
            " SET ",
            $done,
            " = $3, gas = NULL, fee = NULL WHERE chain_id = $1 AND intent = $2 AND (",
            $done,
            " IS DISTINCT FROM $3 OR gas IS NOT NULL)"
        )
    };
}

/// The items of one book, and of each what a column is to hold.
#[derive(Default)]
struct Columns {
    tenants: Vec<[u8; 32]>,
    numbers: Vec<i64>,
    done: Vec<bool>,
    gas: Vec<i64>,
    fees: Vec<String>,
}

/// Batches, and policies.
#[derive(Default)]
struct Books([Columns; 2]);

impl Books {
    fn add(&mut self, tenant: TenantId, item: Item) -> Result<&mut Columns> {
        let [batches, policies] = &mut self.0;
        let (book, number) = match item {
            Item::Batch(index) => (batches, bigint(index.get(), "batch index")?),
            Item::Policy(version) => (policies, bigint(version.get(), "policy version")?),
        };
        book.tenants.push(tenant.as_b256().0);
        book.numbers.push(number);
        Ok(book)
    }

    /// The books that have anything in them, each with the statement that is for it.
    fn with(self, sql: [&'static str; 2]) -> impl Iterator<Item = (&'static str, Columns)> {
        sql.into_iter().zip(self.0).filter(|(_, book)| !book.tenants.is_empty())
    }
}

/// Writes down what an intent carries.
pub(super) async fn insert(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    intent: B256,
    items: &[(TenantId, Item)],
) -> Result<()> {
    let mut books = Books::default();
    for (tenant, item) in items {
        books.add(*tenant, *item)?;
    }
    let statements =
        [insert_into!("postings", "batch_index"), insert_into!("policy_postings", "version")];
    for (sql, book) in books.with(statements) {
        sqlx::query(sql)
            .bind(chain)
            .bind(intent.as_slice())
            .bind(book.tenants)
            .bind(book.numbers)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("record what a transaction carries"))?;
    }
    Ok(())
}

/// What an intent carries.
pub(super) async fn read(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    intent: B256,
) -> Result<Vec<(TenantId, Item)>> {
    let rows = sqlx::query(
        "SELECT true AS batch, tenant_id, batch_index AS number FROM cofferdam.postings \
         WHERE chain_id = $1 AND intent = $2 UNION ALL \
         SELECT false, tenant_id, version FROM cofferdam.policy_postings \
         WHERE chain_id = $1 AND intent = $2 ORDER BY tenant_id, batch, number",
    )
    .bind(chain)
    .bind(intent.as_slice())
    .fetch_all(&mut **tx)
    .await
    .map_err(StoreError::database("read what a transaction carries"))?;
    rows.iter()
        .map(|row| {
            let number = row.number("number")?;
            let item = match row.value("batch")? {
                true => Item::Batch(BatchIndex(number)),
                false => Item::Policy(PolicyVersion(number)),
            };
            Ok((row.tenant()?, item))
        })
        .collect()
}

/// Writes down what became of each item, and its equal share of what the transaction cost. Where it
/// did any of its work, what was done bears that; else all that it carried.
pub(super) async fn book(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    intent: B256,
    carried: &[(TenantId, Item)],
    mined: &Mined,
) -> Result<()> {
    let is_done = |item: &(TenantId, Item)| mined.done.contains(item);
    let none = !carried.iter().any(is_done);
    let bears = |item: &(TenantId, Item)| none || is_done(item);
    let bearers = carried.iter().filter(|item| bears(item)).count();
    let mut of_gas = shares(U256::from(mined.gas_used), bearers);
    let mut of_fee = shares(mined.fee(), bearers);
    let mut books = Books::default();
    for item in carried {
        let share = |shares: &mut dyn Iterator<Item = U256>| match bears(item) {
            true => shares.next().unwrap_or_default(),
            false => U256::ZERO,
        };
        let book = books.add(item.0, item.1)?;
        book.done.push(is_done(item));
        book.gas.push(bigint(share(&mut of_gas).saturating_to(), "gas used")?);
        book.fees.push(share(&mut of_fee).to_string());
    }
    let statements = [
        book_in!("postings", "batch_index", "anchored"),
        book_in!("policy_postings", "version", "published"),
    ];
    for (sql, book) in books.with(statements) {
        sqlx::query(sql)
            .bind(chain)
            .bind(intent.as_slice())
            .bind(book.tenants)
            .bind(book.numbers)
            .bind(book.done)
            .bind(book.gas)
            .bind(book.fees)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("write down a mined transaction"))?;
    }
    Ok(())
}

/// Takes back what was known of an intent's items.
pub(super) async fn clear(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    intent: B256,
    done: Option<bool>,
) -> Result<()> {
    for sql in [clear_in!("postings", "anchored"), clear_in!("policy_postings", "published")] {
        sqlx::query(sql)
            .bind(chain)
            .bind(intent.as_slice())
            .bind(done)
            .execute(&mut **tx)
            .await
            .map_err(StoreError::database("write down what became of a transaction"))?;
    }
    Ok(())
}

/// A sum in parts that differ by one at most and add up to it.
fn shares(sum: U256, parts: usize) -> impl Iterator<Item = U256> {
    let of = U256::from(parts.max(1));
    let (each, rest) = (sum / of, sum % of);
    let share = move |n: usize| each + U256::from(u8::from(U256::from(n) < rest));
    (0..parts).map(share)
}
