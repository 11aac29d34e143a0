//! What no login of ours may do: change a stored entry. For showing that it is found.

use cofferdam_core::{Seq, TenantId};
use sqlx::{Connection, PgConnection};

use crate::{DatabaseUrl, Result, StoreError, row::RowExt};

/// Flips one bit, the letter case of the first byte, in the action of a stored entry, and returns the
/// action before and after. Doing it twice leaves the entry as it was. Needs a superuser, since row
/// security stops everybody else; nothing but a demonstration or a test calls it.
pub async fn flip_one_bit(
    admin: &DatabaseUrl,
    chain_id: u64,
    tenant: TenantId,
    seq: Seq,
) -> Result<(String, String)> {
    let doing = "tamper with an entry";
    let mut connection = PgConnection::connect_with(admin.options())
        .await
        .map_err(StoreError::database("connect as administrator"))?;
    let row = sqlx::query(
        "UPDATE cofferdam.entries AS new \
         SET action = CASE WHEN substr(new.action, 1, 1) = upper(substr(new.action, 1, 1)) \
             THEN lower(substr(new.action, 1, 1)) ELSE upper(substr(new.action, 1, 1)) END \
             || substr(new.action, 2) \
         FROM cofferdam.entries AS old \
         WHERE new.tenant_id = $1 AND new.chain_id = $2 AND new.seq = $3 \
             AND old.tenant_id = $1 AND old.chain_id = $2 AND old.seq = $3 \
             AND old.action ~ '^[A-Za-z]' \
         RETURNING old.action AS before, new.action AS after",
    )
    .bind(tenant.as_b256().as_slice())
    .bind(i64::try_from(chain_id).unwrap_or(i64::MAX))
    .bind(i64::try_from(seq.get()).unwrap_or(i64::MAX))
    .fetch_optional(&mut connection)
    .await
    .map_err(StoreError::database(doing))?;
    let Some(row) = row else { return Err(StoreError::NothingToTamper { tenant, seq }) };
    let changed = (row.value("before")?, row.value("after")?);
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    Ok(changed)
}
