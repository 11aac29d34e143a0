//! The enqueue door: an entry in the application's own transaction.

use cofferdam_core::{FieldName, TenantId};
use sqlx::{PgTransaction, Row};

use crate::{DatabaseError, NewEntry, Result, StoreError, row::bigint};

/// Puts `entries` into the tenant's intake, in this order, as part of the application's own transaction:
/// they commit with it or not at all. Once committed, the daemon chains them; two transactions of a
/// tenant of which one began after the other had committed keep that order.
///
/// The transaction's role is let in by `cofferdam migrate --application ROLE` (or
/// [`allow_enqueue`](crate::allow_enqueue)); it may enqueue, and do nothing else to anything of ours. The
/// tenant's scope is taken and given back within the one statement that this is, also when it fails or
/// is cancelled. No lock of ours is held afterwards, so the application may take its time to commit.
///
/// Scope comes from credentials: pass the tenant that the application has authenticated. A transaction
/// that has a tenant's scope already enqueues for that tenant only.
///
/// # Errors
///
/// [`StoreError::OtherScope`] and [`StoreError::UnknownTenant`]: nothing was enqueued, and the transaction
/// may go on. [`StoreError::MayNotEnqueue`] and whatever else the database reports fails the transaction,
/// or what follows its last savepoint.
pub async fn enqueue(
    transaction: &mut PgTransaction<'_>,
    chain_id: u64,
    tenant: TenantId,
    entries: &[NewEntry],
) -> Result<()> {
    let chain = bigint(chain_id, "chain id").map_err(|_| StoreError::ChainId(chain_id))?;
    let query =
        sqlx::query("SELECT cofferdam.enqueue($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
            .bind(chain)
            .bind(tenant.as_b256().0);
    let query = given().fold(query, |query, name| {
        query.bind(entries.iter().map(|entry| entry.fields().get(name)).collect::<Vec<_>>())
    });
    let answer = query.fetch_one(&mut **transaction).await.map_err(refused)?;
    match answer.try_get(0).map_err(|_| StoreError::Corrupt { column: "enqueue" })? {
        "enqueued" => Ok(()),
        "other scope" => Err(StoreError::OtherScope { tenant, chain_id }),
        _ => Err(StoreError::UnknownTenant { tenant, chain_id }),
    }
}

/// Tells a role that was not let in from a database that is away.
fn refused(error: sqlx::Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        // May not, no such schema, no such function.
        Some("42501" | "3F000" | "42883") => StoreError::MayNotEnqueue(DatabaseError::new(error)),
        _ => StoreError::database("enqueue")(error),
    }
}

/// The fields that a source gives, in the order of the function's arguments.
pub(crate) fn given() -> impl Iterator<Item = FieldName> {
    FieldName::ALL.into_iter().filter(|name| *name != FieldName::RecordedAt)
}
