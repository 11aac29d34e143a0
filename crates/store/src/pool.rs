//! Pools: one role and one chain each, checked before first use.

use std::{io, sync::Arc, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    DatabaseUrl, Result, StoreError,
    clock::Clock,
    row::{RowExt, bigint},
};

/// The roles that run; what each may do is in the migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sequencer,
    Sealer,
    Indexer,
    Reader,
}

impl Role {
    pub(crate) const ALL: [Self; 4] = [Self::Sequencer, Self::Sealer, Self::Indexer, Self::Reader];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sequencer => "cofferdam_sequencer",
            Self::Sealer => "cofferdam_sealer",
            Self::Indexer => "cofferdam_indexer",
            Self::Reader => "cofferdam_reader",
        }
    }
}

/// A pool of one role's connections to one chain's rows.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    inner: Arc<Inner>,
    clock: Clock,
}

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    chain_id: u64,
    chain: i64,
}

impl Handle {
    pub(crate) async fn connect(url: &DatabaseUrl, chain_id: u64, role: Role) -> Result<Self> {
        Self::connect_few(url, chain_id, role, 16).await
    }

    /// The same with at most so many connections.
    pub(crate) async fn connect_few(
        url: &DatabaseUrl,
        chain_id: u64,
        role: Role,
        connections: u32,
    ) -> Result<Self> {
        if chain_id == 0 {
            return Err(StoreError::ChainId(chain_id));
        }
        let chain = bigint(chain_id, "chain id").map_err(|_| StoreError::ChainId(chain_id))?;
        let options = options(url, role, chain);
        // Once outside the pool, which would retry a refused login for half a minute.
        let connecting =
            tokio::time::timeout(Duration::from_secs(20), PgConnection::connect_with(&options));
        let mut first = match connecting.await {
            Ok(first) => first.map_err(|error| not_migrated(url, error))?,
            Err(_) => return Err(StoreError::database("connect")(sqlx::Error::PoolTimedOut)),
        };
        check(&mut first, url.database(), role, chain).await?;
        first.close().await.map_err(StoreError::database("connect"))?;

        let database: Arc<str> = url.database().into();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .after_connect(move |connection, _| {
                let database = database.clone();
                Box::pin(async move {
                    check(connection, &database, role, chain)
                        .await
                        .map_err(|error| sqlx::Error::Configuration(Box::new(error)))
                })
            })
            .connect_lazy_with(options);
        let inner = Arc::new(Inner { pool, chain_id, chain });
        Ok(Self { inner, clock: Clock::default() })
    }

    /// A transaction that has the chain's scope and no tenant's.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        self.inner.pool.begin().await.map_err(StoreError::database("begin a transaction"))
    }

    pub(crate) fn chain(&self) -> i64 {
        self.inner.chain
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.inner.chain_id
    }

    /// The same connections, by another clock.
    pub(crate) fn by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// Settings of the session, so that `RESET` comes back to them: the role, the chain, no tenant, and a
/// search path in which nobody can put an object under ours.
fn options(url: &DatabaseUrl, role: Role, chain: i64) -> PgConnectOptions {
    // Who is stopped in the middle of a write must not keep its locks from the others for ever.
    let idle = if role == Role::Reader { "0" } else { "10s" };
    let busy = if role == Role::Sealer { "5min" } else { "0" };
    // No column has statistics, so every tenant is taken to have a handful of rows, which a bitmap would collect
    // and sort; most of what a reader asks for is the last few of many, in order of a key.
    let bitmaps = if role == Role::Reader { "off" } else { "on" };
    url.options().clone().application_name(role.name()).options([
        ("role", role.name().to_owned()),
        ("cofferdam.chain_id", chain.to_string()),
        ("cofferdam.tenant_id", String::new()),
        ("cofferdam.tenant_name", String::new()),
        ("search_path", "pg_catalog".to_owned()),
        ("row_security", "on".to_owned()),
        // A generic plan would append all partitions and sort; a custom one scans one index in order.
        ("plan_cache_mode", "force_custom_plan".to_owned()),
        ("enable_bitmapscan", bitmaps.to_owned()),
        ("default_transaction_isolation", "read committed".to_owned()),
        ("idle_in_transaction_session_timeout", idle.to_owned()),
        ("statement_timeout", busy.to_owned()),
    ])
}

/// Refuses a login that row security would not hold, and a pooler that dropped our settings.
async fn check(
    connection: &mut PgConnection,
    database: &str,
    role: Role,
    chain: i64,
) -> Result<()> {
    let row = sqlx::query(
        "SELECT session_user::text AS login, current_user::text AS role, \
             current_setting('cofferdam.chain_id', true) AS chain, \
             r.rolsuper OR r.rolreplication AS super, r.rolbypassrls AS bypass, \
             (SELECT coalesce(bool_or(pg_has_role(r.oid, o.oid, 'MEMBER')), false) FROM pg_roles o \
                 WHERE o.rolname IN ('cofferdam_owner', 'cofferdam_rewinder', 'cofferdam_enqueuer')) AS owner, \
             EXISTS (SELECT FROM pg_namespace WHERE nspname = 'cofferdam') AS migrated, \
             CASE WHEN current_setting('synchronous_commit') = 'off' \
                 THEN set_config('synchronous_commit', 'on', false) END AS durable \
         FROM pg_roles r WHERE r.rolname = session_user",
    )
    .fetch_one(connection)
    .await
    .map_err(StoreError::database("check the login"))?;
    let login: String = row.value("login")?;
    let unsafe_because = |why| StoreError::UnsafeRole {
        role: login.clone(),
        why,
        remedy: "give the daemon a login of its own: `cofferdam migrate` creates the one that \
                 the runtime URL names",
    };
    if row.value("super")? {
        return Err(unsafe_because("is a superuser or a replication role"));
    }
    if row.value("bypass")? {
        return Err(unsafe_because("bypasses row security"));
    }
    if row.value("owner")? {
        return Err(unsafe_because("can become the owner of the tables"));
    }
    if !row.value::<bool>("migrated")? {
        let reason = "it has no schema cofferdam".to_owned();
        return Err(StoreError::NotMigrated { database: database.to_owned(), login, reason });
    }
    let (current, scope): (String, Option<String>) = (row.value("role")?, row.value("chain")?);
    if current != role.name() || scope != Some(chain.to_string()) {
        return Err(StoreError::UnsafeRole {
            role: current,
            why: "is not the role that the connection asked for",
            remedy: "a connection pooler must pass the startup parameter `options` through",
        });
    }
    Ok(())
}

/// Tells "nobody migrated yet" from "the database is away".
fn not_migrated(url: &DatabaseUrl, error: sqlx::Error) -> StoreError {
    let refused = error.as_database_error().filter(|error| {
        // No such database, no such role, may not take that role, unknown login or other password.
        matches!(
            error.code().as_deref(),
            Some("3D000" | "22023" | "42704" | "42501" | "28000" | "28P01")
        )
    });
    match refused {
        Some(refused) => StoreError::NotMigrated {
            database: url.database().to_owned(),
            login: url.user().to_owned(),
            reason: refused.message().to_owned(),
        },
        None => StoreError::database("connect")(match error {
            // Whoever hangs up in the middle of the greeting is a proxy with no server behind it.
            sqlx::Error::Protocol(said) => {
                sqlx::Error::Io(io::Error::new(io::ErrorKind::ConnectionAborted, said))
            }
            error => error,
        }),
    }
}
