//! `cofferdam migrate`: makes or updates the database.

use std::process::ExitCode;

use cofferdam_store::DatabaseUrl;
use eyre::{Result, bail};
use serde_json::json;

use crate::output::Output;

/// Create or update the database, its roles and the daemon's login
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam migrate --admin-url postgres://postgres:…@db:5432/cofferdam \\
      --database-url postgres://cofferdam:…@db:5432/cofferdam

  cofferdam migrate --application billing --admin-url … --database-url …

The administrator makes the database if it is not there, the roles, the tables, and the login that
--database-url names, with its password. Only the administrator's login may do that; only the other
one is used from then on. With --application, a role of your own application may enqueue entries in its
own transactions, and do nothing else here.")]
pub(crate) struct Args {
    /// The administrator's login: a superuser, or one that may create roles and databases
    #[arg(long, value_name = "URL", env = "COFFERDAM_ADMIN_URL", hide_env_values = true)]
    admin_url: Option<String>,

    /// The daemon's login to make: user and password as the daemon will use them
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// A role of your application, already there, that may enqueue entries; may be given several times
    #[arg(long, value_name = "ROLE")]
    application: Vec<String>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let (Some(admin), Some(runtime)) = (&args.admin_url, &args.database_url) else {
        bail!("two logins are needed; pass --admin-url and --database-url, see --help");
    };
    let (admin, runtime): (DatabaseUrl, DatabaseUrl) = (admin.parse()?, runtime.parse()?);
    let report = cofferdam_store::migrate(&admin, &runtime).await?;
    for role in &args.application {
        cofferdam_store::allow_enqueue(&admin, role).await?;
    }
    let (applied, already) = (report.applied.len(), report.already);
    let mut text = match applied {
        0 => format!("the database is up to date ({already} migrations)"),
        n => format!("applied {n} migrations; the daemon's login is {}", report.login),
    };
    if !args.application.is_empty() {
        text += &format!("\n{} may enqueue entries", args.application.join(", "));
    }
    output.result(
        &json!({
            "applied": applied, "already": already, "login": report.login,
            "applications": args.application,
        }),
        text,
    );
    Ok(ExitCode::SUCCESS)
}
