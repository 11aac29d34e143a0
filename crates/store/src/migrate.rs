//! Setting a database up, and bringing it up to date.

use std::{error::Error as _, time::Duration};

use sqlx::{
    Connection, PgConnection,
    migrate::{MigrateError, Migrator},
};

use crate::{
    DatabaseError, DatabaseUrl, Result, StoreError,
    roles::{self, OWNER, identifier},
    row::RowExt,
};

/// Postgres 16 brought memberships that can be taken but are not inherited.
const MINIMUM_VERSION: i32 = 160_000;

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrateReport {
    /// The migrations that were applied now.
    pub applied: Vec<i64>,
    /// How many had been applied before.
    pub already: usize,
    /// The login the daemon uses.
    pub login: String,
}

/// Whether this login may migrate: a superuser, or one that may create roles.
pub async fn check_admin(url: &DatabaseUrl) -> Result<bool> {
    roles::can_migrate(url).await
}

/// Sets the database of `admin` up, creating it when it is not there, or brings it up to date: the
/// roles, the schema, and the login that `runtime` names, with its password. All migrations happen in
/// one transaction, or none does. Running it again is fine, also at the same time.
pub async fn migrate(admin: &DatabaseUrl, runtime: &DatabaseUrl) -> Result<MigrateReport> {
    if admin.user() == runtime.user() {
        return Err(StoreError::SameLogin { login: admin.user().to_owned() });
    }
    let mut connection = connect(admin).await?;
    check_server(&mut connection, admin).await?;
    roles::provision(&mut connection, admin, runtime).await?;
    let (applied, already) = run(&mut connection, admin).await?;
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    tracing::info!(database = admin.database(), applied = applied.len(), "database migrated");
    Ok(MigrateReport { applied, already, login: runtime.user().to_owned() })
}

/// Lets an application's role enqueue, as a member of `cofferdam_application`, which may do nothing else. The
/// role must be there, and the database migrated. Doing it again is fine.
pub async fn allow_enqueue(admin: &DatabaseUrl, application: &str) -> Result<()> {
    let mut connection = connect(admin).await?;
    roles::allow_enqueue(&mut connection, admin, application).await?;
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    tracing::info!(role = application, "role may enqueue");
    Ok(())
}

/// Connects as administrator, creating the database when it is not there.
async fn connect(admin: &DatabaseUrl) -> Result<PgConnection> {
    let connecting = |options| async move {
        let connecting = PgConnection::connect_with(options);
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    };
    let missing = match connecting(admin.options()).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if missing.as_database_error().and_then(|error| error.code()).as_deref() != Some("3D000") {
        return Err(StoreError::database("connect as administrator")(missing));
    }
    let options = admin.options().clone().database("postgres");
    let mut maintenance = connecting(&options)
        .await
        .map_err(StoreError::database("connect to create the database"))?;
    // template0, since another session in template1 would be in the way.
    let sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'",
        identifier(admin.database())
    );
    roles::ddl(&mut maintenance, admin, &sql, "create the database").await?;
    maintenance.close().await.map_err(StoreError::database("disconnect"))?;
    connecting(admin.options()).await.map_err(StoreError::database("connect as administrator"))
}

async fn check_server(connection: &mut PgConnection, admin: &DatabaseUrl) -> Result<()> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::integer AS number, \
             current_setting('server_version') AS version, \
             current_setting('server_encoding') AS encoding",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("read the server's settings"))?;
    if row.value::<i32>("number")? < MINIMUM_VERSION {
        return Err(StoreError::ServerVersion { found: row.value("version")? });
    }
    let encoding: String = row.value("encoding")?;
    if encoding != "UTF8" {
        return Err(StoreError::Encoding { database: admin.database().to_owned(), encoding });
    }
    Ok(())
}

/// The migrations, as the owner, in one transaction that no other migration of this database overlaps.
async fn run(connection: &mut PgConnection, admin: &DatabaseUrl) -> Result<(Vec<i64>, usize)> {
    let mut migrator: Migrator = sqlx::migrate!();
    migrator.set_locking(false);
    migrator.dangerous_set_table_name("cofferdam.migrations");

    let doing = "migrate";
    let mut tx = connection.begin().await.map_err(StoreError::database(doing))?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('cofferdam migrate', 0))")
        .execute(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
    let sql = "CREATE SCHEMA IF NOT EXISTS cofferdam AUTHORIZATION cofferdam_owner";
    roles::ddl(&mut tx, admin, sql, "create the schema").await?;
    let owner = sqlx::query(
        "SELECT pg_get_userbyid(nspowner)::text AS owner FROM pg_namespace \
         WHERE nspname = 'cofferdam'",
    )
    .fetch_one(&mut *tx)
    .await
    .map_err(StoreError::database(doing))?
    .value::<String>("owner")?;
    if owner != OWNER {
        return Err(StoreError::UnsafeRole {
            role: owner,
            why: "owns the schema cofferdam",
            remedy: "that schema must be cofferdam_owner's: use another database",
        });
    }
    roles::ddl(&mut tx, admin, "SET LOCAL ROLE cofferdam_owner", "become cofferdam_owner").await?;

    let before = applied(&mut tx).await?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::Migration(DatabaseError::new(error))
        }
        error => {
            tracing::debug!(source = ?error.source(), "migration refused");
            StoreError::Migration(DatabaseError::new(sqlx::Error::Migrate(Box::new(error))))
        }
    })?;
    let after = applied(&mut tx).await?;
    tx.commit().await.map_err(StoreError::database(doing))?;
    let new = after.into_iter().filter(|version| !before.contains(version)).collect();
    Ok((new, before.len()))
}

async fn applied(tx: &mut PgConnection) -> Result<Vec<i64>> {
    let doing = "read the migrations";
    let there = sqlx::query("SELECT to_regclass('cofferdam.migrations') IS NOT NULL AS there")
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database(doing))?;
    if !there.value::<bool>("there")? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT version FROM cofferdam.migrations ORDER BY version")
        .fetch_all(tx)
        .await
        .map_err(StoreError::database(doing))?;
    rows.iter().map(|row| row.value("version")).collect()
}
