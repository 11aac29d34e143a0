//! What no login of ours may do: change what is stored. For showing that it is found.

use cofferdam_core::{BatchIndex, Seq, TenantId, mirror::MirrorTable};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, raw_sql};

use crate::{
    DatabaseUrl, Result, StoreError,
    row::{RowExt, bigint},
};

/// Flips one bit of the first byte, which is a letter, in the action of a stored entry, and returns the
/// action before and after: bit 5 is the letter's case, bit 7 leaves what is no text any more. Doing it
/// twice leaves the entry as it was. Needs a superuser, since row security stops everybody else;
/// nothing but a demonstration or a test calls it.
pub async fn flip_one_bit(
    admin: &DatabaseUrl,
    chain_id: u64,
    tenant: TenantId,
    seq: Seq,
    bit: u8,
) -> Result<(String, String)> {
    let doing = || StoreError::database("tamper with an entry");
    let mut connection = connect(admin).await?;
    let mut tx = connection.begin().await.map_err(doing())?;
    // The server checks every text that comes in, except by such casts.
    let casts = "CREATE CAST (text AS bytea) WITHOUT FUNCTION; CREATE CAST (bytea AS text) WITHOUT FUNCTION";
    tx.execute(raw_sql(casts)).await.map_err(doing())?;
    let row = sqlx::query(
        "UPDATE cofferdam.entries AS new \
         SET action = set_bit(new.action::bytea, $4, 1 - get_bit(new.action::bytea, $4))::text \
         FROM cofferdam.entries AS old \
         WHERE new.tenant_id = $1 AND new.chain_id = $2 AND new.seq = $3 \
             AND old.tenant_id = $1 AND old.chain_id = $2 AND old.seq = $3 \
             AND (get_byte(old.action::bytea || '\\x00', 0) & 95) BETWEEN 65 AND 90 \
         RETURNING old.action::bytea AS before, new.action::bytea AS after",
    )
    .bind(tenant.as_b256().as_slice())
    .bind(i64::try_from(chain_id).unwrap_or(i64::MAX))
    .bind(i64::try_from(seq.get()).unwrap_or(i64::MAX))
    .bind(i64::from(bit))
    .fetch_optional(&mut *tx)
    .await
    .map_err(doing())?;
    let Some(row) = row else { return Err(StoreError::NothingToTamper { tenant, seq }) };
    let text = |column| Ok(String::from_utf8_lossy(row.value::<&[u8]>(column)?).into_owned());
    let changed = (text("before")?, text("after")?);
    let casts = "DROP CAST (text AS bytea); DROP CAST (bytea AS text)";
    tx.execute(raw_sql(casts)).await.map_err(doing())?;
    tx.commit().await.map_err(doing())?;
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    Ok(changed)
}

/// What is kept of a batch so that receipts need no whole trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The roots of the tiles.
    Tiles,
    /// The nodes of the tenant's history that end with it.
    Nodes,
}

/// Flips the first bit of what is kept of a batch; twice leaves it as it was. Returns whether there was
/// any. Needs a superuser, as [`flip_one_bit`] does; nothing but a test calls it.
pub async fn flip_kept(
    admin: &DatabaseUrl,
    chain_id: u64,
    tenant: TenantId,
    batch: BatchIndex,
    what: Kept,
) -> Result<bool> {
    let sql = match what {
        Kept::Tiles => {
            "UPDATE cofferdam.batches SET tiles = set_bit(tiles, 0, 1 - get_bit(tiles, 0)) \
             WHERE tenant_id = $1 AND chain_id = $2 AND batch_index = $3 AND tiles <> ''"
        }
        Kept::Nodes => {
            "UPDATE cofferdam.anchored SET nodes = set_bit(nodes, 0, 1 - get_bit(nodes, 0)) \
             WHERE tenant_id = $1 AND chain_id = $2 AND batch_index = $3 AND nodes <> ''"
        }
    };
    let mut connection = connect(admin).await?;
    let flipped = sqlx::query(sql)
        .bind(tenant.as_b256().as_slice())
        .bind(bigint(chain_id, "chain id")?)
        .bind(bigint(batch.get(), "batch index")?)
        .execute(&mut connection)
        .await
        .map_err(StoreError::database("tamper with a batch"))?;
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    Ok(flipped.rows_affected() > 0)
}

/// What is done to a row of the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// The first bit of a column of bytes is another.
    Flip(&'static str),
    /// It goes.
    Delete,
}

/// Does harm to a tenant's newest row in a table of the mirror; a flip, done twice, leaves it as it was. Needs a
/// superuser, as [`flip_one_bit`] does; nothing but a test calls it.
pub async fn harm_mirrored(
    admin: &DatabaseUrl,
    chain_id: u64,
    tenant: TenantId,
    table: MirrorTable,
    harm: Harm,
) -> Result<bool> {
    let table = table.name();
    let newest = format!(
        "tenant_id = $1 AND chain_id = $2 AND (block_number, log_index) = (\
             SELECT block_number, log_index FROM cofferdam.{table} \
             WHERE tenant_id = $1 AND chain_id = $2 ORDER BY 1 DESC, 2 DESC LIMIT 1)"
    );
    let sql = match harm {
        Harm::Flip(column) => format!(
            "UPDATE cofferdam.{table} SET {column} = set_bit({column}, 0, 1 - get_bit({column}, 0)) \
             WHERE {newest}"
        ),
        Harm::Delete => format!("DELETE FROM cofferdam.{table} WHERE {newest}"),
    };
    tamper(admin, chain_id, tenant, sql).await
}

/// What is done to what a tenant's account spent on the last day that it spent anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpendingHarm {
    /// It was twice as much.
    Double,
    /// Nobody knows how much.
    Hide,
    /// As much on the day before.
    Repeat,
    /// Nothing.
    Delete,
}

/// Changes what a tenant's account spent. Needs a superuser, as [`flip_one_bit`] does; nothing but a test calls it.
pub async fn harm_spending(
    admin: &DatabaseUrl,
    chain_id: u64,
    tenant: TenantId,
    harm: SpendingHarm,
) -> Result<bool> {
    let last = "FROM cofferdam.spending WHERE tenant_id = $1 AND chain_id = $2";
    let last_day = format!("tenant_id = $1 AND chain_id = $2 AND day = (SELECT max(day) {last})");
    let sql = match harm {
        SpendingHarm::Double => {
            format!("UPDATE cofferdam.spending SET spent = 2 * spent WHERE {last_day}")
        }
        SpendingHarm::Hide => {
            format!("UPDATE cofferdam.spending SET spent = NULL WHERE {last_day}")
        }
        SpendingHarm::Repeat => format!(
            "INSERT INTO cofferdam.spending \
                 (tenant_id, chain_id, day, token, spent, block_number, block_hash, block_time) \
             SELECT tenant_id, chain_id, day - 1, token, spent, block_number, block_hash, block_time \
             FROM cofferdam.spending WHERE {last_day}"
        ),
        SpendingHarm::Delete => format!("DELETE FROM cofferdam.spending WHERE {last_day}"),
    };
    tamper(admin, chain_id, tenant, sql).await
}

/// Does something to rows of the mirror, given the tenant and the chain; whether there were any.
async fn tamper(admin: &DatabaseUrl, chain_id: u64, tenant: TenantId, sql: String) -> Result<bool> {
    let mut connection = connect(admin).await?;
    // Made of this program's own words alone.
    let harmed = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant.as_b256().as_slice())
        .bind(bigint(chain_id, "chain id")?)
        .execute(&mut connection)
        .await
        .map_err(StoreError::database("tamper with the mirror"))?;
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    Ok(harmed.rows_affected() > 0)
}

async fn connect(admin: &DatabaseUrl) -> Result<PgConnection> {
    PgConnection::connect_with(admin.options())
        .await
        .map_err(StoreError::database("connect as administrator"))
}
