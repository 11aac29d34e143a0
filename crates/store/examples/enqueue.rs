//! An application that pays an invoice and writes down that it did, in one transaction of its own:
//! either both are there afterwards, or neither.
//!
//! ```sh
//! ./anvil.sh                                   # in another terminal; or any database of yours
//! source .cofferdam/env
//! psql "$COFFERDAM_ADMIN_URL" -c "CREATE ROLE billing LOGIN PASSWORD 'billing'" \
//!     -c 'CREATE SCHEMA billing AUTHORIZATION billing'
//! cofferdam migrate --application billing      # lets that role enqueue, and nothing else
//! cargo run -p cofferdam-store --example enqueue -- postgres://billing:billing@HOST:PORT/DATABASE TENANT_ID
//! cofferdam status                             # the daemon has chained it
//! ```

use std::{env, error::Error};

use cofferdam_core::{FieldName, TenantId};
use cofferdam_store::{NewEntry, StoreError, enqueue};
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let (Some(url), Some(tenant)) = (args.next(), args.next()) else {
        return Err("usage: enqueue DATABASE_URL TENANT_ID (see `cofferdam tenant list`)".into());
    };
    let chain_id = env::var("CHAIN_ID").unwrap_or_else(|_| "31337".to_owned()).parse()?;
    // Whom this session of the application's speaks for. A real one takes it from the login it has
    // authenticated, never from the request.
    let tenant: TenantId = tenant.parse()?;

    let mut connection = PgConnection::connect(&url).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS billing.invoices (number text PRIMARY KEY, cents bigint)",
    )
    .execute(&mut connection)
    .await?;
    for (number, cents) in [("2026-0417", 12_000), ("2026-0418", -1)] {
        match pay(&mut connection, chain_id, tenant, number, cents).await {
            Ok(()) => println!("invoice {number} is paid, and its entry will be chained"),
            Err(error) => println!("invoice {number} is not paid and has no entry: {error}"),
        }
    }
    Ok(())
}

/// One action of the application with its audit entry.
async fn pay(
    connection: &mut PgConnection,
    chain_id: u64,
    tenant: TenantId,
    number: &str,
    cents: i64,
) -> Result<(), Box<dyn Error>> {
    let mut transaction = connection.begin().await?;
    sqlx::query("INSERT INTO billing.invoices VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(number)
        .bind(cents)
        .execute(&mut *transaction)
        .await?;
    let entry = NewEntry::new([
        // The application's own id: enqueued again after a lost answer, it is recognised.
        (FieldName::ExternalId, format!("invoice-{number}-paid")),
        (FieldName::Actor, "agent:clerk".to_owned()),
        (FieldName::Action, "invoices.pay".to_owned()),
        (FieldName::Resource, format!("invoice/{number}")),
        (FieldName::Payload, format!("{{\"cents\":{cents}}}")),
    ])?;
    enqueue(&mut transaction, chain_id, tenant, &[entry]).await.map_err(|error| match error {
        StoreError::UnknownTenant { .. } => format!("{error}; see `cofferdam tenant list`"),
        error => error.to_string(),
    })?;
    // Whatever the application still has to think about, nobody waits for it.
    if cents < 0 {
        return Err("an invoice over less than nothing".into());
    }
    transaction.commit().await?;
    Ok(())
}
