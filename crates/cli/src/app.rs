//! From the command line to a command, and from its outcome to an exit code.

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{commands, output::Output, settings};

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

    /// Log one JSON object a line
    #[arg(long, global = true, env = "COFFERDAM_LOG_JSON",
          value_parser = clap::builder::FalseyValueParser::new())]
    log_json: bool,

    /// Take options of `run` that are not given from this file: `seal-age = 300`, one a line
    #[arg(long, global = true, value_name = "FILE", env = "COFFERDAM_SETTINGS")]
    settings: Option<PathBuf>,

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
    Index(Box<commands::index::Args>),
    Status(commands::status::Args),
    Costs(commands::costs::Args),
    Incident(commands::incident::Args),
    Config(commands::config::Args),
    Receipt(commands::receipt::Args),
    Bundle(commands::bundle::Args),
    Verify(commands::verify::Args),
    Audit(commands::audit::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let line = match settings::complete(&Cli::command(), std::env::args_os().collect()) {
        Ok(line) => line,
        Err(error) => {
            Output::new(false).error(&error);
            return ExitCode::from(2);
        }
    };
    let cli = Cli::parse_from(line);
    let daemon = matches!(cli.command, Command::Run(_) | Command::Anchor(_) | Command::Index(_));
    let filter = cli.log.as_deref().unwrap_or(if daemon { "info" } else { "error" });
    log_to_stderr(filter, cli.log_json);
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
            Command::Index(args) => commands::index::run(*args, &output).await,
            Command::Status(args) => commands::status::run(args, &output).await,
            Command::Costs(args) => commands::costs::run(args, &output).await,
            Command::Incident(args) => commands::incident::run(args, &output).await,
            Command::Config(args) => commands::config::run(args, &output).await,
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

fn log_to_stderr(filter: &str, json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("warning: --log {filter}: {error}; logging errors only");
        EnvFilter::new("error")
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(!json && std::io::stderr().is_terminal())
        .with_target(false);
    let layer = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    let layer = layer.with_filter(filter).with_filter(filter_fn(|it| !prints_urls(it.target())));
    tracing_subscriber::registry().with(layer).init();
}

/// Whether a library logs whole RPC URLs or headers, which hold keys.
fn prints_urls(target: &str) -> bool {
    let libraries =
        ["alloy_transport", "alloy_pubsub", "alloy_rpc_client", "reqwest", "hyper", "h2"];
    let sockets = ["tungstenite", "tokio_tungstenite"];
    libraries.iter().chain(&sockets).any(|library| target.starts_with(library))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// One that had would take the place of the global one, and nobody would say so.
    #[test]
    fn no_command_has_an_option_under_the_name_of_a_global_one() {
        fn below(command: &clap::Command, names: &[&str]) {
            for command in command.get_subcommands() {
                for arg in command.get_arguments() {
                    let long = arg.get_long().unwrap_or_default();
                    assert!(!names.contains(&long), "{}: --{long}", command.get_name());
                }
                below(command, names);
            }
        }
        let command = Cli::command();
        let names: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        assert!(names.contains(&settings::OPTION));
        below(&command, &names);
    }
}
