//! `cofferdam index`: the mirror of the contracts' events.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cofferdam_contracts::{Chain, RpcUrl, deployment::Deployment};
use cofferdam_indexer::{Endpoints, IndexMetrics, Indexer, Progress};
use cofferdam_store::{DatabaseUrl, Mirror, Reader};
use eyre::{Result, WrapErr};
use serde_json::json;
use tracing::info;

use super::run::{PaceArgs, until_interrupted};
use crate::{
    connect::{self, ChainArgs, DatabaseArgs},
    metrics::{self, Answer},
    output::{Output, Unit, counted, grouped},
};

/// The exit code for "not everything could be compared".
const UNDECIDED: u8 = 2;

/// Mirror the contracts' events, without anchoring
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  cofferdam index --once                   mirrors up to the chain's head and exits
  cofferdam index --fallback-rpc-url https://…  --listen 127.0.0.1:9465
  cofferdam index status                   how far the mirror is
  cofferdam index verify --full            every row against a log that is downloaded again

A mirror that lacks an event stops there, says so, and looks for it at the other endpoints."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Up to the chain's present head, then exit
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    pace: PaceArgs,
    #[command(flatten)]
    hint: HintArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// How far the mirror is, and what is final
    Status(PlaceArgs),
    /// Recompute everything; 0 if mirror and chain agree, 1 and the first difference if not, 2 if not everything
    /// could be compared
    Verify(VerifyArgs),
    /// Take everything back and mirror it again
    Rebuild(PlaceArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Download all logs again, too, and compare every row
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where chain and database are.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    #[command(flatten)]
    fallback: FallbackArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

impl PlaceArgs {
    async fn indexer(&self) -> Result<Indexer> {
        let url = self.database.url()?;
        let (chain, others) = self.chain.connect_any(self.fallback.urls()?).await?;
        indexer(&chain, &url, self.chain.deployment(), others).await
    }
}

/// Whom else to ask.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Chain")]
pub(crate) struct FallbackArgs {
    /// Further RPC endpoints, asked when the first refuses, leaves something out or is not there
    #[arg(
        long,
        value_name = "URL",
        env = "RPC_FALLBACK_URLS",
        hide_env_values = true,
        value_delimiter = ','
    )]
    fallback_rpc_url: Vec<String>,
}

impl FallbackArgs {
    pub(crate) fn urls(&self) -> Result<Vec<RpcUrl>> {
        Ok(self.fallback_rpc_url.iter().map(|url| url.parse()).collect::<Result<_, _>>()?)
    }
}

/// Who tells of new blocks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Chain")]
pub(crate) struct HintArgs {
    /// A WebSocket endpoint that tells of new blocks, ws:// or wss://, so that they are looked for at once; what it
    /// does not tell of is found by the next poll
    #[arg(long, value_name = "URL", env = "RPC_WS_URL", hide_env_values = true)]
    ws_url: Option<String>,
}

impl HintArgs {
    pub(crate) fn url(&self) -> Result<Option<RpcUrl>> {
        let url = self.ws_url.as_deref().map(RpcUrl::web_socket).transpose();
        url.wrap_err("--ws-url")
    }

    pub(crate) fn give(&self, indexer: Indexer) -> Result<Indexer> {
        Ok(match self.url()? {
            Some(url) => indexer.with_hints(url),
            None => indexer,
        })
    }
}

/// How the mirror alone can be watched; the whole daemon says more.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Watching")]
struct WatchArgs {
    /// Serve /healthz and, for Prometheus, /metrics of the mirror at this address
    #[arg(long, value_name = "IP:PORT", env = "COFFERDAM_LISTEN")]
    listen: Option<SocketAddr>,
}

impl WatchArgs {
    async fn serve(&self, indexer: &Indexer) -> Result<()> {
        let Some(at) = self.listen else { return Ok(()) };
        let metrics = indexer.metrics();
        let at = metrics::serve(at, move |path| {
            let answer = match &*path {
                "/healthz" => Answer::new(200, "alive\n"),
                "/metrics" => Answer::new(200, metrics.render()),
                _ => Answer::new(404, "there are /healthz and /metrics\n"),
            };
            async move { answer }
        });
        info!(at = %at.await?, "listening");
        Ok(())
    }
}

/// An indexer of this chain's contracts into this database.
pub(crate) async fn indexer(
    chain: &Chain,
    url: &DatabaseUrl,
    deployment: Deployment,
    others: Vec<RpcUrl>,
) -> Result<Indexer> {
    let sequencer = cofferdam_store::Sequencer::connect(url, chain.chain_id()).await?;
    let followed = connect::follow(&sequencer, chain).await?;
    let mirror = Mirror::connect(url, chain.chain_id()).await.wrap_err("cannot mirror")?;
    let reader = Reader::connect(url, chain.chain_id()).await.wrap_err("cannot mirror")?;
    let endpoints = Endpoints::new(chain, others)?;
    Ok(Indexer::new(mirror, reader, endpoints, deployment, followed.from_block))
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Some(Command::Status(place)) => status(&place, output).await,
        Some(Command::Verify(args)) => verify(&args, output).await,
        // What mirrors runs on the runtime's own threads: each thread that allocates keeps memory of its own.
        Some(Command::Rebuild(place)) => {
            let indexer = place.indexer().await?;
            let watching = watch(indexer.metrics(), *output);
            let done = tokio::spawn(async move { indexer.rebuild().await }).await?;
            watching.abort();
            Ok(report(&done?, output))
        }
        None => {
            let indexer = args.hint.give(args.place.indexer().await?)?;
            args.watch.serve(&indexer).await?;
            let watching = watch(indexer.metrics(), *output);
            if args.once {
                let done = tokio::spawn(async move { indexer.catch_up().await }).await?;
                watching.abort();
                return Ok(report(&done?, output));
            }
            let poll = args.pace.poll();
            tokio::spawn(async move { indexer.run(poll, until_interrupted()).await }).await?;
            watching.abort();
            output.say("stopped");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn report(done: &Progress, output: &Output) -> ExitCode {
    let Progress { block, events, anchored, incidents, rewound, checked } = done;
    output.result(
        &json!({
            "block": block, "events": events, "anchored": anchored, "incidents": incidents,
            "rewound": rewound, "checked": checked,
        }),
        format!(
            "mirrored {events} events up to block {block}; {checked} tenants are as the contracts have \
             them; {incidents} incidents"
        ),
    );
    if *incidents == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Shows how a long way to the head is getting on: on a terminal, else in the log.
pub(crate) fn watch(metrics: Arc<IndexMetrics>, output: Output) -> tokio::task::JoinHandle<()> {
    /// Fewer blocks are mirrored before anybody could read it.
    const WORTH_SHOWING: u64 = 500;
    tokio::spawn(async move {
        let mut shown = None;
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let head = metrics.head.load(Ordering::Relaxed);
            let at = metrics.mirrored.load(Ordering::Relaxed);
            if at == 0 {
                continue;
            }
            if shown.is_none() && head.saturating_sub(at) > WORTH_SHOWING {
                shown = Some((at, output.progress("blocks", head - at, Unit::Entries).logged()));
            }
            if let Some((from, bar)) = &mut shown {
                bar.of(at.saturating_sub(*from), head.saturating_sub(*from));
            }
            if at >= head {
                shown.take().into_iter().for_each(|(_, bar)| bar.done());
            }
        }
    })
}

async fn status(place: &PlaceArgs, output: &Output) -> Result<ExitCode> {
    let indexer = place.indexer().await?;
    let (state, head) = indexer.state().await?;
    let block = state.checkpoint.map(|at| at.number);
    output.result(
        &json!({
            "block": block, "safe": state.safe, "final": state.last_final, "head": head,
            "lag": block.map(|block| head.saturating_sub(block)),
        }),
        match block {
            Some(block) => format!(
                "mirrored up to block {} of {}; safe up to {}, final up to {}",
                grouped(block),
                grouped(head),
                grouped(state.safe.unwrap_or_default()),
                grouped(state.last_final.unwrap_or_default()),
            ),
            None => format!("nothing is mirrored; the chain is at block {}", grouped(head)),
        },
    );
    Ok(ExitCode::SUCCESS)
}

async fn verify(args: &VerifyArgs, output: &Output) -> Result<ExitCode> {
    let indexer = args.place.indexer().await?;
    let mut bar = args.full.then(|| output.progress("blocks", 1, Unit::Entries));
    let verdict = indexer.verify(args.full, |done, total| {
        if let Some(bar) = &mut bar {
            bar.of(done, total);
        }
    });
    let verdict = verdict.await?;
    let mut text = match verdict.block {
        None => "nothing is mirrored: nothing was compared".to_owned(),
        Some(block) => format!(
            "{} rows of {} tenants up to block {}, {} compared with the contracts",
            grouped(verdict.rows),
            grouped(verdict.tenants),
            grouped(block),
            grouped(verdict.compared),
        ),
    };
    if let Some(downloaded) = verdict.downloaded {
        text += &format!(", {} logs downloaded", grouped(downloaded));
    }
    if let Some(days) = verdict.days {
        text += &format!(", what was spent on {}", counted(days, "day", "days"));
    }
    if let Some(it) = &verdict.unread {
        text += &format!(
            "\nNOT COMPARED: {} at block {}, whose contracts' state could not be read, first {}: {}",
            counted(it.tenants, "tenant", "tenants"),
            grouped(it.block),
            it.tenant,
            it.reason,
        );
    }
    if let Some(it) = &verdict.unread_days {
        text += &format!(
            "\nNOT COMPARED: what was spent on {}, whose last state could not be read, first {} (block {}): {}",
            counted(it.days, "day", "days"),
            it.first,
            grouped(it.block),
            it.reason,
        );
    }
    text += &match (&verdict.difference, verdict.agree()) {
        (Some(it), _) => format!("\nDIFFERENT: tenant {}: {}", it.tenant, it.what),
        (None, Some(_)) => "\nmirror and chain agree".to_owned(),
        (None, None) => "\nCANNOT TELL: what was compared agrees".to_owned(),
    };
    let unread = verdict.unread.as_ref().map(|it| {
        json!({ "block": it.block, "tenantId": it.tenant, "tenants": it.tenants, "reason": it.reason })
    });
    let unread_days = verdict.unread_days.as_ref().map(
        |it| json!({ "first": it.first, "block": it.block, "days": it.days, "reason": it.reason }),
    );
    let difference = verdict.difference.as_ref();
    let json = json!({
        "agree": verdict.agree(), "block": verdict.block, "tenants": verdict.tenants,
        "compared": verdict.compared, "rows": verdict.rows, "downloaded": verdict.downloaded,
        "unread": unread, "days": verdict.days, "unreadDays": unread_days,
        "difference": difference.map(|it| json!({ "tenantId": it.tenant, "what": it.what })),
    });
    output.result(&json, text);
    Ok(match verdict.agree() {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::FAILURE,
        None => ExitCode::from(UNDECIDED),
    })
}
