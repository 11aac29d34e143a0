//! `cofferdam intake`: what applications enqueued and no chain has yet.

use std::{process::ExitCode, time::SystemTime};

use cofferdam_store::{Intake, IntakePosition};
use eyre::{Result, bail};
use serde_json::json;

use crate::{
    connect::{self, ChainArgs, DatabaseArgs},
    moment,
    output::{Output, grouped, table},
};

/// Show what applications enqueued and the daemon has not chained yet, and decide about what it cannot
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cofferdam intake list")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Discard(DiscardArgs),
}

/// List the tenants whose intake is not empty, and since when
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam intake list --json

An intake that does not move although the daemon runs has an entry that cannot be chained: `cofferdam status`
shows the incident, which names it.")]
struct ListArgs {
    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

/// Take an entry that cannot be chained out of a tenant's intake
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam intake discard acme 812/0 --yes

For an entry that an incident of kind `intake` names, such as one that reuses another's external id. What
the application did stays done and has no entry then; the entries behind it go on. That it was discarded
is written down as an incident. If the entry should be kept, enqueue it again under an id of its own first.")]
struct DiscardArgs {
    /// The tenant, by name or id
    tenant: String,

    /// The entry, as the incident names it
    #[arg(value_name = "TRANSACTION/PLACE")]
    entry: IntakePosition,

    /// Do it; without this, only say what would be done
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args, output).await,
        Command::Discard(args) => discard(args, output).await,
    }
}

async fn list(args: ListArgs, output: &Output) -> Result<ExitCode> {
    let sequencer = connect::sequencer(&args.database, args.chain.id().await?).await?;
    let intakes = sequencer.intakes().await?;
    let json: Vec<_> = intakes
        .iter()
        .map(|it| {
            let since = since(it);
            json!({ "name": it.name, "tenantId": it.tenant, "transactions": it.transactions, "since": since })
        })
        .collect();
    let rows: Vec<_> =
        intakes.iter().map(|it| [it.name.clone(), grouped(it.transactions), since(it)]).collect();
    let text = match rows.as_slice() {
        [] => "nothing waits in an intake".to_owned(),
        rows => table(["tenant", "transactions", "since"], rows),
    };
    output.result(&json!({ "intakes": json }), text);
    Ok(ExitCode::SUCCESS)
}

fn since(intake: &Intake) -> String {
    let since = intake.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    moment::rfc3339(since.as_secs())
}

async fn discard(args: DiscardArgs, output: &Output) -> Result<ExitCode> {
    let sequencer = connect::sequencer(&args.database, args.chain.id().await?).await?;
    let tenant = connect::tenant(&sequencer, &args.tenant).await?;
    let (at, name) = (args.entry, &tenant.name);
    if !args.yes {
        bail!(
            "this takes entry {at} out of the intake of {name} for good: what the application did stays done \
             and has no entry; add --yes to do it"
        );
    }
    if !sequencer.discard(tenant.id, at).await? {
        bail!("there is no entry {at} in the intake of {name}; see `cofferdam status`");
    }
    output.result(
        &json!({ "name": name, "tenantId": tenant.id, "discarded": at.to_string() }),
        format!("discarded entry {at} of the intake of {name}; the daemon goes on with what is behind it"),
    );
    Ok(ExitCode::SUCCESS)
}
