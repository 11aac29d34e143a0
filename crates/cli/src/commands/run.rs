//! `cofferdam run` and `anchor`: the daemon and its first half.

use std::{net::SocketAddr, path::PathBuf, pin::pin, process::ExitCode, time::Duration};

use alloy::primitives::{Address, U256};
use cofferdam_anchorer::{Anchorer, Anchorers, PostPolicy, SealPolicy, Sender};
use cofferdam_contracts::Chain;
use cofferdam_indexer::Indexer;
use cofferdam_store::{DatabaseUrl, Sealer, Sequencer};
use eyre::Result;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    amount,
    commands::index,
    connect::{self, ChainArgs, DatabaseArgs, KeyArgs},
    keys,
    output::{Output, counted},
    watch::{Watch, Watched},
    webhook::Webhook,
};

/// How long to wait before what is away is tried again: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How long the parts may take to end once they are told to. They can be cut off anywhere.
const GRACE: Duration = Duration::from_secs(4);

/// Seal, anchor and mirror until stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam run --seal-age 300 --rpc-url https://… --keystore anchorer.json --password-file pw

Ctrl-C or SIGTERM ends it within 5 s. Killed at any point, it takes up where it was. Of several on one
database one leads, and another takes over within the lease when it is gone. A node or a database that is
away is waited for, also in the beginning.")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) daemon: DaemonArgs,
    #[command(flatten)]
    fallback: index::FallbackArgs,
    #[command(flatten)]
    pub(crate) hint: index::HintArgs,
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
}

/// What both `run` and `anchor` take.
#[derive(Debug, clap::Args)]
pub(crate) struct DaemonArgs {
    #[command(flatten)]
    seal: SealArgs,
    #[command(flatten)]
    post: PostArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) anchorers: AnchorersArgs,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Tenants' anchorers")]
pub(crate) struct AnchorersArgs {
    /// A folder of encrypted keystores, one for each key that tenants name as their anchorer beside the
    /// one that pays: it signs for them, and needs no funds
    #[arg(
        long,
        value_name = "DIR",
        env = "COFFERDAM_ANCHORERS",
        requires = "anchorers_password_file"
    )]
    anchorers: Option<PathBuf>,

    /// A file whose first line is the password of all of them
    #[arg(long, value_name = "FILE", env = "COFFERDAM_ANCHORERS_PASSWORD_FILE")]
    anchorers_password_file: Option<PathBuf>,
}

impl AnchorersArgs {
    pub(crate) async fn load(&self) -> Result<Anchorers> {
        let (Some(dir), Some(password)) = (&self.anchorers, &self.anchorers_password_file) else {
            return Ok(Anchorers::default());
        };
        Ok(Anchorers::new(keys::load_all(dir, &keys::password(password)?).await?))
    }
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Watching")]
pub(crate) struct WatchArgs {
    /// Serve /healthz, /readyz and, for Prometheus, /metrics at this address
    #[arg(long, value_name = "IP:PORT", env = "COFFERDAM_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,

    /// Post every incident to this URL, as one JSON object
    #[arg(long, value_name = "URL", env = "COFFERDAM_WEBHOOK", hide_env_values = true)]
    webhook: Option<String>,
}

impl WatchArgs {
    pub(crate) fn webhook(&self) -> Result<Option<Webhook>> {
        self.webhook.as_deref().map(Webhook::new).transpose()
    }
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
    daemon: DaemonArgs,
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

    /// How old what is kept as proof of a tenant's history may become while it anchors on
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400,
          value_parser = clap::value_parser!(u64).range(0..=31_536_000))]
    prove_every: u64,
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
    pub(crate) fn poll(self) -> Duration {
        Duration::from_millis(self.poll)
    }
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let mut interrupted = pin!(interrupted());
    let (watch, webhook) = (Watch::default(), args.watch.webhook()?);
    if let Some(at) = args.watch.listen {
        info!(at = %watch.listen(at).await?, "listening");
    }
    let opening = async {
        // Once, and before anything that may be away.
        let signing = args.daemon.anchorers.load().await?;
        patiently(async || parts(&args, &signing).await).await
    };
    let opened = tokio::select! {
        opened = opening => Some(opened?),
        () = &mut interrupted => None,
    };
    if let Some((chain, anchorer, indexer, watched)) = opened {
        info!(chain = chain.chain_id(), contract = %chain.contract(), "running");
        if let Some(webhook) = webhook {
            tokio::spawn(webhook.run(watched.sealer.clone(), chain.chain_id()));
        }
        let showing = index::watch(watched.mirror.clone(), *output);
        watch.begin(watched);
        daemon(anchorer, indexer, args.daemon.pace.poll(), interrupted).await;
        showing.abort();
    }
    output.say("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Everything that a daemon is made of.
async fn parts(args: &Args, signing: &Anchorers) -> Result<(Chain, Anchorer, Indexer, Watched)> {
    let Args { daemon: args, fallback, hint, .. } = args;
    let url = args.database.url()?;
    let (chain, others) = args.chain.connect_any(fallback.urls()?).await?;
    let sealer = Sealer::connect(&url, chain.chain_id()).await?;
    let (anchorer, payer) = anchorer(&chain, &url, sealer, args).await?;
    let anchorer = anchorer.signing(signing.clone());
    let indexer = index::indexer(&chain, &url, args.chain.deployment(), others).await?;
    let indexer = hint.give(indexer)?;
    let sealer = Sealer::watching(&url, chain.chain_id()).await?;
    let (mirror, pulse) = (indexer.metrics(), anchorer.pulse());
    let watched = Watched { chain: chain.clone(), sealer, payer, mirror, pulse };
    Ok((chain, anchorer, indexer, watched))
}

/// Tries until nothing that is needed is away. What will not come by itself is an error at once.
async fn patiently<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut pause = PAUSE.0;
    loop {
        match attempt().await {
            Err(error) if connect::is_away(&error) => {
                warn!(error = format!("{error:#}"), "cannot start yet, trying again");
            }
            outcome => return outcome,
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
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
    let _ = timeout(GRACE, async { tokio::join!(anchoring, indexing) }).await;
}

pub(crate) async fn anchor(args: AnchorArgs, output: &Output) -> Result<ExitCode> {
    let AnchorArgs { once, daemon: args } = args;
    let (chain, url) = open(&args.chain, &args.database).await?;
    let sealer = Sealer::connect(&url, chain.chain_id()).await?;
    let (anchorer, _) = anchorer(&chain, &url, sealer, &args).await?;
    let anchorer = anchorer.signing(args.anchorers.load().await?);
    if !once {
        anchorer.run(args.pace.poll(), until_interrupted()).await;
        output.say("stopped");
        return Ok(ExitCode::SUCCESS);
    }
    let report = anchorer.round().await?;
    let anchored: usize = report.posted.iter().map(|posted| posted.anchored).sum();
    let published: usize = report.posted.iter().map(|posted| posted.published).sum();
    let gas: u64 = report.posted.iter().map(|posted| posted.gas_used).sum();
    let troubled: Vec<_> = report
        .troubled
        .iter()
        .map(|(tenant, reason)| json!({ "tenantId": tenant, "reason": reason }))
        .collect();
    let mut text = format!(
        "sealed {}, anchored {anchored}, published {} in {} for {gas} gas",
        counted(report.sealed as u64, "batch", "batches"),
        counted(published as u64, "policy", "policies"),
        counted(report.posted.len() as u64, "transaction", "transactions")
    );
    for (tenant, reason) in &report.troubled {
        text = format!("{text}\n{tenant}: {reason}");
    }
    let json = json!({
        "sealed": report.sealed, "anchored": anchored, "published": published, "transactions": report.posted.len(),
        "gas": gas, "troubled": troubled,
    });
    output.result(&json, text);
    Ok(if report.troubled.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Connects to the chain and checks that the database follows its contract.
async fn open(chain: &ChainArgs, database: &DatabaseArgs) -> Result<(Chain, DatabaseUrl)> {
    let url = database.url()?;
    Ok((chain.connect().await?, url))
}

/// An anchorer of this chain's tenants, and the address of its key.
async fn anchorer(
    chain: &Chain,
    url: &DatabaseUrl,
    sealer: Sealer,
    args: &DaemonArgs,
) -> Result<(Anchorer, Address)> {
    let sequencer = Sequencer::connect(url, chain.chain_id()).await?;
    connect::follow(&sequencer, chain).await?;
    let sender = Sender::new(chain.clone(), args.key.load(chain.chain_id())?);
    let payer = sender.address();
    let anchorer = Anchorer::new(sealer, sender, args.seal.policy());
    let registry = args.chain.deployment().policy_registry;
    let anchorer = anchorer.chaining(sequencer).posting(args.post.policy()).publishing(registry);
    let anchorer = anchorer.keeping(Duration::from_secs(args.post.prove_every));
    Ok((anchorer, payer))
}

pub(crate) fn until_interrupted() -> watch::Receiver<bool> {
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
