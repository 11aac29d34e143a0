//! What accounts spent, day by day: written with the mark of how far days are read, and read back.

use sqlx::postgres::PgRow;

use super::*;
use crate::TenantTx;

/// Seconds of a UTC day.
pub const DAY: u64 = 86_400;

/// What an account spent of an asset on a UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spending {
    /// The account's tenant.
    pub tenant: TenantId,
    /// Days since 1970-01-01.
    pub day: u64,
    /// Zero: the native currency.
    pub token: Address,
    /// In base units; `None` if no endpoint kept the state that says it.
    pub spent: Option<u128>,
    /// The day's last block.
    pub block: Checkpoint,
    /// That block's time.
    pub time: u64,
}

/// What an account may have spent: the native currency, and every token that it ever listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The account's tenant.
    pub tenant: TenantId,
    /// Zero: the native currency.
    pub token: Address,
    /// The block that it was listed in first, or the account initialized.
    pub since: u64,
    /// That block's time.
    pub time: u64,
}

impl Mirror {
    /// Writes what was spent on all days before `day` that were not read yet, unless another was quicker, or the
    /// mirror was taken back since it was in this `state`: then it returns `false`.
    pub async fn spend(&self, state: &MirrorState, day: u64, spent: &[Spending]) -> Result<bool> {
        let mut tx = self.handle.begin().await?;
        let moved = sqlx::query(
            "UPDATE cofferdam.checkpoints SET spending_day = $2 \
             WHERE chain_id = $1 AND spending_day = $3 AND rewinds = $4",
        )
        .bind(self.handle.chain())
        .bind(bigint(day, "day")?)
        .bind(bigint(state.spending_day, "day")?)
        .bind(bigint(state.rewinds, "number of rewinds")?)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("note how far days are read"))?;
        if moved.rows_affected() == 0 {
            return Ok(false);
        }
        let number = |of: fn(&Spending) -> u64| reconcile::numbers(spent, of, "number of a day");
        sqlx::query(
            "INSERT INTO cofferdam.spending \
                 (chain_id, tenant_id, day, token, spent, block_number, block_hash, block_time) \
             SELECT $1, u.tenant, u.day, u.token, u.spent::numeric, u.number, u.hash, u.time \
             FROM UNNEST($2::bytea[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[], $7::bytea[], \
                 $8::bigint[]) AS u(tenant, day, token, spent, number, hash, time)",
        )
        .bind(self.handle.chain())
        .bind(spent.iter().map(|it| it.tenant.as_b256().0).collect::<Vec<_>>())
        .bind(number(|it| it.day)?)
        .bind(spent.iter().map(|it| it.token.as_slice()).collect::<Vec<_>>())
        .bind(spent.iter().map(|it| it.spent.map(|it| it.to_string())).collect::<Vec<_>>())
        .bind(number(|it| it.block.number)?)
        .bind(spent.iter().map(|it| it.block.hash.as_slice()).collect::<Vec<_>>())
        .bind(number(|it| it.time)?)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("write what was spent"))?;
        tx.commit().await.map_err(StoreError::database("commit what was spent"))?;
        Ok(true)
    }
}

impl TenantTx {
    /// What the tenant's account may have spent.
    pub async fn assets(&mut self) -> Result<Vec<Asset>> {
        let tenant = self.tenant();
        let rows = sqlx::query(
            "SELECT coalesce(token, $3) AS token, min(block_number) AS since, min(block_time) AS time \
             FROM cofferdam.account_events \
             WHERE tenant_id = $1 AND chain_id = $2 AND kind IN ('Initialized', 'LimitSet') \
             GROUP BY 1 ORDER BY 1",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(self.chain())
        .bind(Address::ZERO.as_slice())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read what an account may spend"))?;
        let asset = |row: &PgRow| {
            let (since, time) = (row.number("since")?, row.number("time")?);
            Ok(Asset { tenant, token: token(row)?, since, time })
        };
        rows.iter().map(asset).collect()
    }

    /// What the tenant's account spent, on the days that were read, in their order.
    pub async fn spending(&mut self) -> Result<Vec<Spending>> {
        let tenant = self.tenant();
        let rows = sqlx::query(
            "SELECT day, token, spent::text AS spent, block_number, block_hash, block_time \
             FROM cofferdam.spending WHERE tenant_id = $1 AND chain_id = $2 ORDER BY day, token",
        )
        .bind(tenant.as_b256().as_slice())
        .bind(self.chain())
        .fetch_all(&mut *self.tx)
        .await
        .map_err(StoreError::database("read what was spent"))?;
        let spending = |row: &PgRow| {
            let (number, hash) = (row.number("block_number")?, row.hash("block_hash")?);
            let spent = row.value::<Option<&str>>("spent")?.map(str::parse).transpose();
            Ok(Spending {
                tenant,
                day: row.number("day")?,
                token: token(row)?,
                spent: spent.map_err(|_| StoreError::Corrupt { column: "spent" })?,
                block: Checkpoint { number, hash },
                time: row.number("block_time")?,
            })
        };
        rows.iter().map(spending).collect()
    }
}

fn token(row: &PgRow) -> Result<Address> {
    let column = "token";
    Address::try_from(row.value::<&[u8]>(column)?).map_err(|_| StoreError::Corrupt { column })
}
