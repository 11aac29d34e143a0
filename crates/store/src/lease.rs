//! Who leads: one row, a clock that is the database's, and an epoch that fences off whoever led before.

use std::time::Duration;

use sqlx::{Postgres, Transaction};

use crate::{
    Result, Sealer, StoreError,
    row::{RowExt, words},
};

/// Whether this daemon leads.
#[derive(Clone, Debug)]
pub enum Leadership {
    /// It does: this handle's writes go through until another one takes over.
    Ours(Sealer),
    /// Another one does.
    Theirs(Leader),
}

/// The daemon that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// What it calls itself.
    pub holder: String,
    /// How often the leader has changed.
    pub epoch: u64,
    /// How long its lease lasts unless it renews it; zero when it has run out.
    pub remaining: Duration,
    /// What it cannot go on without, such as funds.
    pub waiting: Option<String>,
}

impl Sealer {
    /// Takes the lease for this long if it is free or has run out. One that ends in more than twice the
    /// time it was taken for was taken before the database's clock was stepped back.
    pub async fn lead(&self, holder: &str, lease: Duration) -> Result<Leadership> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "INSERT INTO cofferdam.leases AS l (chain_id, epoch, holder, lasts, expires_at) \
             VALUES ($1, 1, $2, $3 * interval '1 millisecond', \
                 clock_timestamp() + $3 * interval '1 millisecond') \
             ON CONFLICT (chain_id) DO UPDATE SET epoch = l.epoch + 1, holder = EXCLUDED.holder, \
                 lasts = EXCLUDED.lasts, expires_at = EXCLUDED.expires_at, waiting = NULL \
             WHERE l.expires_at <= clock_timestamp() \
                 OR l.expires_at > clock_timestamp() + 2 * l.lasts RETURNING epoch",
        )
        .bind(self.handle.chain())
        .bind(holder)
        .bind(millis(lease))
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("take the lease"))?;
        tx.commit().await.map_err(StoreError::database("take the lease"))?;
        if let Some(row) = row {
            let epoch = Some(row.value("epoch")?);
            return Ok(Leadership::Ours(Self { handle: self.handle.clone(), epoch }));
        }
        // Released since: nobody leads, and the next attempt will.
        let gone =
            || Leader { holder: String::new(), epoch: 0, remaining: Duration::ZERO, waiting: None };
        Ok(Leadership::Theirs(self.leader().await?.unwrap_or_else(gone)))
    }

    /// Keeps the lease for this long from now; refused once another one has taken over.
    pub async fn renew(&self, lease: Duration) -> Result<()> {
        self.set_lease(
            "UPDATE cofferdam.leases \
             SET lasts = $3::bigint * interval '1 millisecond', \
                 expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond' \
             WHERE chain_id = $1 AND epoch = $2",
            millis(lease),
        )
        .await
    }

    /// Gives the lease up, so that another one need not wait for its end.
    pub async fn release(&self) -> Result<()> {
        self.set_lease(
            "UPDATE cofferdam.leases \
             SET expires_at = clock_timestamp() - $3::bigint * interval '1 millisecond', waiting = NULL \
             WHERE chain_id = $1 AND epoch = $2",
            0,
        )
        .await
    }

    async fn set_lease(&self, sql: &'static str, millis: i64) -> Result<()> {
        let epoch = self.epoch.unwrap_or_default();
        let mut tx = self.handle.begin().await?;
        let held = sqlx::query(sql)
            .bind(self.handle.chain())
            .bind(epoch)
            .bind(millis)
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("keep the lease"))?;
        if held.rows_affected() == 0 {
            return Err(StoreError::Deposed { epoch });
        }
        tx.commit().await.map_err(StoreError::database("keep the lease"))
    }

    /// Says, for `status`, what the leader cannot go on without; nothing when it can.
    pub async fn wait_for(&self, what: Option<&str>) -> Result<()> {
        let mut tx = self.fenced().await?;
        sqlx::query(
            "UPDATE cofferdam.leases SET waiting = $2 \
             WHERE chain_id = $1 AND waiting IS DISTINCT FROM $2",
        )
        .bind(self.handle.chain())
        .bind(what.map(words))
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database("say what is waited for"))?;
        tx.commit().await.map_err(StoreError::database("say what is waited for"))
    }

    /// Who leads, or led last.
    pub async fn leader(&self) -> Result<Option<Leader>> {
        let mut tx = self.handle.begin().await?;
        let row = sqlx::query(
            "SELECT epoch, holder, waiting, greatest(0, \
                 extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint AS remaining \
             FROM cofferdam.leases WHERE chain_id = $1",
        )
        .bind(self.handle.chain())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("read the lease"))?;
        row.map(|row| {
            Ok(Leader {
                holder: row.value("holder")?,
                epoch: row.number("epoch")?,
                remaining: Duration::from_millis(row.number("remaining")?),
                waiting: row.value("waiting")?,
            })
        })
        .transpose()
    }

    /// A transaction that only whoever leads can commit.
    pub(crate) async fn fenced(&self) -> Result<Transaction<'static, Postgres>> {
        let mut tx = self.handle.begin().await?;
        hold(&mut tx, self.handle.chain(), self.epoch).await?;
        Ok(tx)
    }
}

/// Holds the lease of this epoch until the transaction ends, so that nobody takes over in between. Who
/// acts without one, as an operator's command does, is not fenced.
pub(crate) async fn hold(
    tx: &mut Transaction<'static, Postgres>,
    chain: i64,
    epoch: Option<i64>,
) -> Result<()> {
    let Some(epoch) = epoch else { return Ok(()) };
    let held = sqlx::query(
        "SELECT holder FROM cofferdam.leases WHERE chain_id = $1 AND epoch = $2 FOR SHARE",
    )
    .bind(chain)
    .bind(epoch)
    .fetch_optional(&mut **tx)
    .await
    .map_err(StoreError::database("hold the lease"))?;
    held.map(|_| ()).ok_or(StoreError::Deposed { epoch })
}

fn millis(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}
