//! `cofferdam devnet`: the whole way on this machine, from audit records to verified anchors.

mod report;
mod stack;
mod tamper;

pub(crate) use self::stack::quoted;

use std::{path::PathBuf, pin::pin, process::ExitCode, time::Duration};

use cofferdam_anchorer::{Anchorer, PostPolicy, SealPolicy, Sender};
use cofferdam_contracts::deployment::Deployment;
use cofferdam_indexer::Indexer;
use cofferdam_store::{Reader, Sealer, Sequencer};
use eyre::{Result, bail};

use crate::{
    commands::{append, index, run, verify},
    connect,
    ingest::{self, Format},
    output::Output,
    register::Registrar,
};
use report::Report;
use stack::Stack;

/// How often the parts that stay up look for work.
const POLL: Duration = Duration::from_millis(500);
/// How long a devnet that was killed keeps the next one waiting.
const LEASE: Duration = Duration::from_secs(2);
/// Rounds after which a job that is not done never will be.
const ROUNDS: usize = 10;

/// Run everything on this machine: chain, database, contract, anchorer, indexer, verification
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cofferdam devnet                          a small sample; stays up until Ctrl-C
  cofferdam devnet --once logs/             appends, anchors, mirrors and verifies logs/, and exits
  cofferdam devnet tamper --tenant acme-robotics --seq 0

With --once the exit code is 0 only if every entry of the tenants concerned was anchored, mirrored and
verified. The data directory is kept: a second run over it adds what is new and nothing else."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    job: Job,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Tamper(tamper::Args),
}

#[derive(Debug, clap::Args)]
struct Job {
    /// Files or folders of CloudTrail JSON or Cofferdam NDJSON, each may be gzipped; a sample if none
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Do the job and exit instead of staying up
    #[arg(long)]
    once: bool,

    /// Where chain, database and keys are kept
    #[arg(long, value_name = "DIR", env = "COFFERDAM_DATA", default_value = ".cofferdam")]
    data_dir: PathBuf,

    /// The port that Anvil listens on
    #[arg(long, value_name = "PORT", env = "ANVIL_PORT", default_value_t = 8545)]
    anvil_port: u16,

    /// The port that Postgres listens on; any free one by default
    #[arg(long, value_name = "PORT", env = "POSTGRES_PORT")]
    postgres_port: Option<u16>,

    /// A chain to use instead of starting Anvil; its id must be 31337
    #[arg(long, value_name = "URL", env = "RPC_URL", hide_env_values = true)]
    rpc_url: Option<String>,

    /// A database to use instead of starting Postgres: an administrator's login, or the daemon's
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,

    /// Seal a batch at this many entries
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seal_entries: u64,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let job_args = match args.command {
        Some(Command::Tamper(args)) => return tamper::run(args, output).await,
        None => args.job,
    };
    let mut interrupted = pin!(run::interrupted());
    let done = tokio::select! {
        done = job(job_args, output) => done?,
        () = &mut interrupted => {
            output.say("\nstopped; everything that was started has been shut down");
            return Ok(ExitCode::from(130));
        }
    };
    match done {
        Done::Exit(code) => Ok(code),
        Done::Up(up) => up.stay(interrupted, output).await,
    }
}

/// How the job went on.
enum Done {
    /// It was to be done once.
    Exit(ExitCode),
    /// It stays up.
    Up(Box<Up>),
}

/// What stays up.
struct Up {
    stack: Stack,
    anchorer: Anchorer,
    indexer: Indexer,
}

impl Up {
    async fn stay(
        self,
        interrupted: impl Future<Output = ()>,
        output: &Output,
    ) -> Result<ExitCode> {
        let Self { stack, anchorer, indexer } = self;
        tokio::select! {
            () = run::daemon(anchorer, indexer, POLL, interrupted) => {}
            died = stack.watch() => bail!("{died} has ended by itself; see its log in {}", stack.dir()),
        }
        output.say("\nstopping");
        stack.stop().await;
        Ok(ExitCode::SUCCESS)
    }
}

async fn job(args: Job, output: &Output) -> Result<Done> {
    let once = args.once;
    // Looked at before anything is started: a wrong path should not take half a minute to be told.
    let paths = match args.paths.as_slice() {
        [] => vec![sample()?],
        paths => paths.to_vec(),
    };
    let sources = ingest::sources(&paths)?;

    let stack = Stack::start(&args, output).await?;
    let (chain, url) = (&stack.chain, &stack.runtime_url);
    let sequencer = Sequencer::connect(url, chain.chain_id()).await?;
    connect::follow(&sequencer, chain).await?;
    let sender = Sender::new(chain.clone(), stack.key.clone());
    let keys = stack.keys.clone();
    let registrar = Registrar::new(sequencer.clone(), sender.clone(), Deployment::default(), keys)?;

    let job = append::Job {
        sequencer: sequencer.clone(),
        sources,
        format: Format::Auto,
        pinned: None,
        registrar: Some(registrar),
    };
    let appended = append::append(job, output).await?;
    output.say(append::summary(&appended));

    let sealer = Sealer::connect(url, chain.chain_id()).await?;
    let policy = SealPolicy {
        max_entries: args.seal_entries,
        max_age: Duration::from_secs(5),
        ..SealPolicy::default()
    };
    let posting = PostPolicy { lease: LEASE, ..PostPolicy::default() };
    let anchorer =
        Anchorer::new(sealer.clone(), sender, policy).chaining(sequencer).posting(posting);
    let indexer = index::indexer(chain, url, Deployment::default(), vec![]).await?;
    let reader = Reader::connect(url, chain.chain_id()).await?;
    for _ in 0..ROUNDS {
        let round = anchorer.round().await?;
        indexer.catch_up().await?;
        if round.sealed == 0 && round.posted.is_empty() {
            break;
        }
    }
    let concerned = appended.concerned.clone().into_iter();
    let verdicts = verify::everything(chain, &reader, concerned, output).await?;
    let report = Report::gather(chain, &reader, &appended, &verdicts).await?;
    if once {
        output.result(&report, format_args!("{report}{}", verify::describe(&verdicts)));
        stack.stop().await;
        let code = if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        return Ok(Done::Exit(code));
    }

    output.result(&report, format_args!("{report}{}", verify::describe(&verdicts)));
    output.say(stack.what_next(&report));
    Ok(Done::Up(Box::new(Up { stack, anchorer, indexer })))
}

/// The sample that the project ships.
fn sample() -> Result<PathBuf> {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sample");
    if !sample.is_dir() {
        bail!("the sample is not in {}; pass a PATH", sample.display());
    }
    Ok(sample)
}
