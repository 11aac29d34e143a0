//! What no login of ours may do: change a stored entry. For showing that it is found.

use cofferdam_core::{Seq, TenantId};
use sqlx::{Connection, Executor, PgConnection, raw_sql};

use crate::{DatabaseUrl, Result, StoreError, row::RowExt};

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
    let mut connection = PgConnection::connect_with(admin.options())
        .await
        .map_err(StoreError::database("connect as administrator"))?;
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
