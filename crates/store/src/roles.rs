//! Roles belong to the whole server, so several databases may be creating the same ones at once.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgRow};

use crate::{DatabaseUrl, Result, StoreError, pool::Role, row::RowExt, scram};

/// Owns everything; nobody logs in as it.
pub(crate) const OWNER: &str = "cofferdam_owner";
/// Owns the rewind door; nobody logs in as it.
const REWINDER: &str = "cofferdam_rewinder";
/// Owns the enqueue door; nobody logs in as it.
const ENQUEUER: &str = "cofferdam_enqueuer";
/// May knock at the enqueue door; the application's own role is made a member.
const APPLICATION: &str = "cofferdam_application";

/// How often a statement that met another database's migration is tried again.
const ATTEMPTS: u32 = 40;

/// Creates the roles and the runtime login, and checks those that were there.
pub(crate) async fn provision(
    connection: &mut PgConnection,
    admin: &DatabaseUrl,
    runtime: &DatabaseUrl,
) -> Result<()> {
    let runtime_roles = Role::ALL.map(Role::name);
    for role in [OWNER, REWINDER, ENQUEUER, APPLICATION].into_iter().chain(runtime_roles) {
        create(connection, admin, role).await?;
    }
    // The owner hands the two doors over, for which it must be able to become their new owners.
    grant(connection, admin, REWINDER, OWNER).await?;
    grant(connection, admin, ENQUEUER, OWNER).await?;
    let superuser: bool = attributes(connection, admin.user())
        .await?
        .map(|row| row.value("rolsuper"))
        .transpose()?
        .unwrap_or(false);
    if !superuser {
        grant(connection, admin, OWNER, admin.user()).await?;
    }
    login(connection, admin, runtime).await?;
    for role in runtime_roles {
        grant(connection, admin, role, runtime.user()).await?;
    }
    refuse_powers(connection, runtime.user()).await
}

async fn create(connection: &mut PgConnection, admin: &DatabaseUrl, role: &str) -> Result<()> {
    if attributes(connection, role).await?.is_none() {
        let sql = format!("CREATE ROLE {} NOLOGIN NOINHERIT", identifier(role));
        ddl(connection, admin, &sql, &format!("create the role {role}")).await?;
    }
    let unsafe_because = |why| StoreError::UnsafeRole {
        role: role.to_owned(),
        why,
        remedy: "drop it, or take that attribute away, and migrate again",
    };
    let Some(row) = attributes(connection, role).await? else {
        return Err(unsafe_because("vanished while it was being set up"));
    };
    if row.value("rolsuper")? || row.value("rolbypassrls")? {
        return Err(unsafe_because("is a superuser or bypasses row security"));
    }
    if row.value("rolcanlogin")? {
        return Err(unsafe_because("can log in"));
    }
    Ok(())
}

/// Creates the login, or gives it the URL's password.
async fn login(
    connection: &mut PgConnection,
    admin: &DatabaseUrl,
    runtime: &DatabaseUrl,
) -> Result<()> {
    let verb = match attributes(connection, runtime.user()).await? {
        Some(row) => {
            // Not to be changed under anyone's feet: whoever made it a superuser had a use for it.
            if row.value("rolsuper")?
                || row.value("rolbypassrls")?
                || row.value("rolreplication")?
            {
                return Err(StoreError::UnsafeRole {
                    role: runtime.user().to_owned(),
                    why: "is a superuser, bypasses row security or may replicate",
                    remedy: "name a login of its own in the runtime URL",
                });
            }
            "ALTER"
        }
        None => "CREATE",
    };
    let password = match runtime.password() {
        Some(password) => format!(" PASSWORD '{}'", scram::verifier(password)?),
        None => String::new(),
    };
    let sql = format!("{verb} ROLE {} LOGIN NOINHERIT{password}", identifier(runtime.user()));
    ddl(connection, admin, &sql, "set up the runtime login").await?;
    let connect: bool = scalar(
        connection,
        sqlx::query("SELECT has_database_privilege($1, current_database(), 'CONNECT') AS v")
            .bind(runtime.user()),
    )
    .await?;
    if !connect {
        let (database, login) = (identifier(admin.database()), identifier(runtime.user()));
        let sql = format!("GRANT CONNECT ON DATABASE {database} TO {login}");
        ddl(connection, admin, &sql, "let the runtime login connect").await?;
    }
    Ok(())
}

/// Lets `member` become `role` by SET ROLE, without inheriting what it may.
async fn grant(
    connection: &mut PgConnection,
    admin: &DatabaseUrl,
    role: &str,
    member: &str,
) -> Result<()> {
    let granted: bool = scalar(
        connection,
        sqlx::query(
            "SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid \
                 JOIN pg_roles g ON g.oid = m.member \
                 WHERE r.rolname = $1 AND g.rolname = $2 AND m.set_option) AS v",
        )
        .bind(role)
        .bind(member),
    )
    .await?;
    if granted {
        return Ok(());
    }
    let (granted, to) = (identifier(role), identifier(member));
    let sql = format!("GRANT {granted} TO {to} WITH INHERIT FALSE, SET TRUE");
    ddl(connection, admin, &sql, &format!("grant {role}")).await
}

/// Lets an application's role knock at the enqueue door as itself.
pub(crate) async fn allow_enqueue(
    connection: &mut PgConnection,
    admin: &DatabaseUrl,
    application: &str,
) -> Result<()> {
    let (granted, to) = (identifier(APPLICATION), identifier(application));
    let sql = format!("GRANT {granted} TO {to} WITH INHERIT TRUE, SET FALSE");
    ddl(connection, admin, &sql, &format!("let {application} enqueue")).await
}

/// Refuses a runtime login that some other membership lets around row security.
async fn refuse_powers(connection: &mut PgConnection, login: &str) -> Result<()> {
    let powerful: Option<String> = scalar(
        connection,
        sqlx::query(
            "SELECT min(r.rolname::text) AS v FROM pg_roles r WHERE r.rolname <> $1 \
             AND (r.rolsuper OR r.rolbypassrls OR r.rolname IN ('cofferdam_owner', 'cofferdam_rewinder', 'cofferdam_enqueuer')) \
             AND pg_has_role($1, r.oid, 'MEMBER')",
        )
        .bind(login),
    )
    .await?;
    match powerful {
        None => Ok(()),
        Some(power) => {
            tracing::error!(login, role = power, "the runtime login may become this role");
            Err(StoreError::UnsafeRole {
                role: login.to_owned(),
                why: "may become a role that row security does not hold",
                remedy: "revoke that membership, or name a login of its own in the runtime URL",
            })
        }
    }
}

async fn attributes(connection: &mut PgConnection, role: &str) -> Result<Option<PgRow>> {
    sqlx::query(
        "SELECT rolsuper, rolbypassrls, rolreplication, rolcanlogin FROM pg_roles WHERE rolname = $1",
    )
    .bind(role)
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("read the roles"))
}

async fn scalar<T>(
    connection: &mut PgConnection,
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
) -> Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let row = query.fetch_one(connection).await.map_err(StoreError::database("read the roles"))?;
    row.value("v")
}

/// Runs a statement on the server-wide catalog, again while another session is changing the same row.
pub(crate) async fn ddl(
    connection: &mut PgConnection,
    admin: &DatabaseUrl,
    sql: &str,
    what: &str,
) -> Result<()> {
    let mut attempt = 0;
    loop {
        // Names are quoted by `identifier` and a verifier has no quote in it: DDL takes no parameters.
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let error = match statement.execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let server = error.as_database_error();
        let code = server.and_then(|error| error.code()).unwrap_or_default().into_owned();
        match code.as_str() {
            // Somebody else created it a moment ago, which the caller checks.
            "42710" | "23505" | "42P04" | "42P06" if sql.starts_with("CREATE") => return Ok(()),
            "42501" => {
                let (login, what) = (admin.user().to_owned(), what.to_owned());
                return Err(StoreError::Admin { login, what });
            }
            // "tuple concurrently updated", which has no code of its own, and its relatives.
            "XX000" | "23505" | "40P01" | "40001" | "55006" if attempt < ATTEMPTS => {
                attempt += 1;
                let pause = u64::from(rand::random_range(1..=20 * attempt));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            _ => return Err(StoreError::database("set up roles")(error)),
        }
    }
}

/// A quoted name.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether this login may migrate: a superuser, or one that may create roles.
pub(crate) async fn can_migrate(url: &DatabaseUrl) -> Result<bool> {
    // The database itself may not be there yet: what a login may do is told by its server.
    let mut connection = PgConnection::connect_with(&url.options().clone().database("postgres"))
        .await
        .map_err(StoreError::database("connect as administrator"))?;
    let allowed = scalar(
        &mut connection,
        sqlx::query(
            "SELECT rolsuper OR rolcreaterole AS v FROM pg_roles WHERE rolname = session_user",
        ),
    )
    .await?;
    connection.close().await.map_err(StoreError::database("disconnect"))?;
    Ok(allowed)
}
