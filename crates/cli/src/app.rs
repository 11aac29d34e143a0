//! From the command line to a command, and from its outcome to an exit code.

use std::{io::IsTerminal, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{commands, output::Output};

/// Anchors tenants' audit logs on a chain and proves to anyone what they hold.
#[derive(Debug, Parser)]
#[command(
    name = "cofferdam",
    version,
    after_help = "Try it on this machine:  ./anvil.sh\nEvery command has an example: cofferdam COMMAND --help"
)]
struct Cli {
    /// Print one JSON object on standard output instead of text
    #[arg(long, global = true)]
    json: bool,

    /// What to log to standard error, such as `info` or `cofferdam_indexer=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "COFFERDAM_LOG")]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Devnet(commands::devnet::Args),
    Migrate(commands::migrate::Args),
    Tenant(commands::tenant::Args),
    Account(commands::account::Args),
    Policy(commands::policy::Args),
    Agent(commands::agent::Args),
    Append(commands::append::Args),
    Intake(commands::intake::Args),
    Run(commands::run::Args),
    Anchor(commands::run::AnchorArgs),
    Index(commands::run::IndexArgs),
    Status(commands::status::Args),
    Costs(commands::costs::Args),
    Incident(commands::incident::Args),
    Receipt(commands::receipt::Args),
    Bundle(commands::bundle::Args),
    Verify(commands::verify::Args),
    Audit(commands::audit::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let daemon = matches!(cli.command, Command::Run(_) | Command::Anchor(_) | Command::Index(_));
    log_to_stderr(cli.log.as_deref().unwrap_or(if daemon { "info" } else { "error" }));
    // Without a default provider reqwest panics, for http:// URLs too. Already set is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let output = Output::new(cli.json);
    // What cannot be told apart from "invalid" must not look like it: see `verify --help`.
    let judges = matches!(cli.command, Command::Verify(_) | Command::Audit(_));
    let on_error = if judges { 2 } else { 1 };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Devnet(args) => commands::devnet::run(args, &output).await,
            Command::Migrate(args) => commands::migrate::run(args, &output).await,
            Command::Tenant(args) => commands::tenant::run(args, &output).await,
            Command::Account(args) => commands::account::run(args, &output).await,
            Command::Policy(args) => commands::policy::run(args, &output).await,
            Command::Agent(args) => commands::agent::run(args, &output).await,
            Command::Append(args) => commands::append::run(args, &output).await,
            Command::Intake(args) => commands::intake::run(args, &output).await,
            Command::Run(args) => commands::run::run(args, &output).await,
            Command::Anchor(args) => commands::run::anchor(args, &output).await,
            Command::Index(args) => commands::run::index(args, &output).await,
            Command::Status(args) => commands::status::run(args, &output).await,
            Command::Costs(args) => commands::costs::run(args, &output).await,
            Command::Incident(args) => commands::incident::run(args, &output).await,
            Command::Receipt(args) => commands::receipt::run(args, &output).await,
            Command::Bundle(args) => commands::bundle::run(args, &output).await,
            Command::Verify(args) => commands::verify::run(args, &output).await,
            Command::Audit(args) => commands::audit::run(args, &output).await,
        }
    });
    // A blocking read of standard input never ends by itself; it must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            ExitCode::from(on_error)
        }
    }
}

fn log_to_stderr(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("warning: --log {filter}: {error}; logging errors only");
        EnvFilter::new("error")
    });
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_filter(filter)
        .with_filter(filter_fn(|event| !prints_urls(event.target())));
    tracing_subscriber::registry().with(layer).init();
}

/// Whether a library logs whole RPC URLs or headers, which hold keys.
fn prints_urls(target: &str) -> bool {
    ["alloy_transport", "alloy_rpc_client", "reqwest", "hyper", "h2"]
        .iter()
        .any(|library| target.starts_with(library))
}
