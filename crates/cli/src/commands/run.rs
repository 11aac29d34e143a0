//! `cofferdam run`, `anchor` and `index`: the daemon and its halves.

use std::{process::ExitCode, time::Duration};

use alloy::primitives::U256;
use cofferdam_anchorer::{Anchorer, PostPolicy, SealPolicy, Sender};
use cofferdam_contracts::Chain;
use cofferdam_indexer::{Indexer, Progress};
use cofferdam_store::{DatabaseUrl, Mirror, Sealer, Sequencer};
use eyre::{Result, WrapErr};
use serde_json::json;
use tokio::sync::watch;
use tracing::info;

use crate::{
    amount,
    connect::{self, ChainArgs, DatabaseArgs, KeyArgs},
    output::Output,
};

/// Seal, anchor and mirror until stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam run --seal-age 300 --rpc-url https://… --keystore anchorer.json --password-file pw

Ctrl-C or SIGTERM ends it within seconds. Killed at any point, it takes up where it was. Of several on
one database one leads, and another takes over within the lease when it is gone.")]
pub(crate) struct Args {
    #[command(flatten)]
    seal: SealArgs,
    #[command(flatten)]
    post: PostArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
}

/// Seal and anchor, without mirroring
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam anchor --once        seals everything there is, anchors it, and exits")]
pub(crate) struct AnchorArgs {
    /// One round over everything there is, then exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    run: Args,
}

/// Mirror the contract's events, without anchoring
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam index --once         mirrors up to the chain's head and exits")]
pub(crate) struct IndexArgs {
    /// Up to the chain's present head, then exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Sealing")]
pub(crate) struct SealArgs {
    /// Seal a tenant's batch as soon as it has this many entries
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seal_entries: u64,

    /// Seal it as soon as their fields have this many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30,
          value_parser = clap::value_parser!(u64).range(1..1 << 50))]
    pub(crate) seal_bytes: u64,

    /// Seal it as soon as its oldest entry is this old
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) seal_age: u64,
}

impl SealArgs {
    pub(crate) fn policy(self) -> SealPolicy {
        SealPolicy {
            max_entries: self.seal_entries,
            max_bytes: self.seal_bytes,
            max_age: Duration::from_secs(self.seal_age),
        }
    }
}

#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Posting")]
struct PostArgs {
    /// The most that a transaction may come to pay for a unit of gas
    #[arg(long, value_name = "AMOUNT", default_value = "10gwei", value_parser = amount::wei)]
    max_fee: U256,

    /// How long a transaction waits before its fee is raised
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..))]
    patience: u64,

    /// How long this daemon leads on after it was last heard of
    #[arg(long, value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease: u64,
}

impl PostArgs {
    fn policy(self) -> PostPolicy {
        PostPolicy {
            max_fee: self.max_fee.saturating_to(),
            patience: Duration::from_secs(self.patience),
            lease: Duration::from_secs(self.lease),
            ..PostPolicy::default()
        }
    }
}

#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Pace")]
pub(crate) struct PaceArgs {
    /// How often to look for work
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2_000,
          value_parser = clap::value_parser!(u64).range(10..))]
    poll: u64,
}

impl PaceArgs {
    fn poll(self) -> Duration {
        Duration::from_millis(self.poll)
    }
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let (chain, url) = open(&args.chain, &args.database).await?;
    let anchorer = anchorer(&chain, &url, &args).await?;
    let indexer = indexer(&chain, &url).await?;
    info!(chain = chain.chain_id(), contract = %chain.contract(), "running");
    daemon(anchorer, indexer, args.pace.poll(), interrupted()).await;
    output.say("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Runs both halves until it is time to stop.
pub(crate) async fn daemon(
    anchorer: Anchorer,
    indexer: Indexer,
    poll: Duration,
    until: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    let anchoring = tokio::spawn({
        let stopped = stopped.clone();
        async move { anchorer.run(poll, stopped).await }
    });
    let indexing = tokio::spawn(async move { indexer.run(poll, stopped).await });
    until.await;
    let _ = stop.send(true);
    let _ = tokio::join!(anchoring, indexing);
}

pub(crate) async fn anchor(args: AnchorArgs, output: &Output) -> Result<ExitCode> {
    let AnchorArgs { once, run: args } = args;
    let (chain, url) = open(&args.chain, &args.database).await?;
    let anchorer = anchorer(&chain, &url, &args).await?;
    if !once {
        anchorer.run(args.pace.poll(), until_interrupted()).await;
        output.say("stopped");
        return Ok(ExitCode::SUCCESS);
    }
    let report = anchorer.round(true).await?;
    let anchored: usize = report.posted.iter().map(|posted| posted.anchored).sum();
    let gas: u64 = report.posted.iter().map(|posted| posted.gas_used).sum();
    let troubled: Vec<_> = report
        .troubled
        .iter()
        .map(|(tenant, reason)| json!({ "tenantId": tenant, "reason": reason }))
        .collect();
    let mut text = format!(
        "sealed {} batches, anchored {anchored} in {} transactions for {gas} gas",
        report.sealed,
        report.posted.len()
    );
    for (tenant, reason) in &report.troubled {
        text = format!("{text}\n{tenant}: {reason}");
    }
    let json = json!({
        "sealed": report.sealed, "anchored": anchored, "transactions": report.posted.len(),
        "gas": gas, "troubled": troubled,
    });
    output.result(&json, text);
    Ok(if report.troubled.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn index(args: IndexArgs, output: &Output) -> Result<ExitCode> {
    let (chain, url) = open(&args.chain, &args.database).await?;
    let indexer = indexer(&chain, &url).await?;
    if !args.once {
        indexer.run(args.pace.poll(), until_interrupted()).await;
        output.say("stopped");
        return Ok(ExitCode::SUCCESS);
    }
    let Progress { block, events, anchored, incidents, rewound } = indexer.catch_up().await?;
    output.result(
        &json!({
            "block": block, "events": events, "anchored": anchored, "incidents": incidents,
            "rewound": rewound,
        }),
        format!("mirrored {events} events up to block {block}; {incidents} incidents"),
    );
    Ok(if incidents == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Connects to the chain and checks that the database follows its contract.
async fn open(chain: &ChainArgs, database: &DatabaseArgs) -> Result<(Chain, DatabaseUrl)> {
    let url = database.url()?;
    Ok((chain.connect().await?, url))
}

async fn anchorer(chain: &Chain, url: &DatabaseUrl, args: &Args) -> Result<Anchorer> {
    let sequencer = Sequencer::connect(url, chain.chain_id()).await?;
    connect::follow(&sequencer, chain).await?;
    let sealer = Sealer::connect(url, chain.chain_id()).await?;
    let sender = Sender::new(chain.clone(), args.key.load(chain.chain_id())?);
    let anchorer = Anchorer::new(sealer, sender, args.seal.policy());
    Ok(anchorer.chaining(sequencer).posting(args.post.policy()))
}

/// An indexer of this chain's contract into this database.
pub(crate) async fn indexer(chain: &Chain, url: &DatabaseUrl) -> Result<Indexer> {
    let sequencer = Sequencer::connect(url, chain.chain_id()).await?;
    let deployment = connect::follow(&sequencer, chain).await?;
    let mirror = Mirror::connect(url, chain.chain_id()).await.wrap_err("cannot mirror")?;
    Ok(Indexer::new(mirror, chain.clone(), deployment.from_block))
}

fn until_interrupted() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        interrupted().await;
        let _ = stop.send(true);
    });
    stopped
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
