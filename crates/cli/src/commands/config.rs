//! `cofferdam config`: whether a daemon would run with its settings.

use std::{fmt::Display, net::TcpListener, process::ExitCode};

use alloy::{primitives::Address, providers::Provider};
use cofferdam_anchorer::Anchorers;
use cofferdam_contracts::{Chain, RpcUrl};
use cofferdam_indexer::Hints;
use cofferdam_store::{Head, Mirror, Sealer, Sequencer};
use eyre::Result;
use serde_json::json;

use crate::{
    commands::{index::HintArgs, run},
    connect,
    output::{Output, table},
};

/// Check the settings that a daemon would run with
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam config check --settings /etc/cofferdam/cofferdam.toml")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(Box<CheckArgs>),
}

/// Try everything that `run` with the same settings needs, and change nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The settings are those of `run`: of the file that --settings names, of the environment, of the command line,
the later the stronger. The exit code is 0 only if a daemon would run and could anchor for every tenant.")]
struct CheckArgs {
    #[command(flatten)]
    run: run::Args,
}

/// What was checked, and what came of it.
#[derive(Debug, Default)]
struct Findings(Vec<(&'static str, bool, String)>);

impl Findings {
    fn note<T>(
        &mut self,
        what: &'static str,
        found: Result<T, impl Display>,
        say: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        let (good, text) = match &found {
            Ok(found) => (true, say(found)),
            Err(error) => (false, format!("{error:#}")),
        };
        self.0.push((what, good, text));
        found.ok()
    }
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let Command::Check(args) = args.command;
    let found = check(&args.run).await;
    let good = found.0.iter().all(|(_, good, _)| *good);
    let rows: Vec<_> = found
        .0
        .iter()
        .map(|(what, good, text)| {
            [(*what).into(), if *good { "good" } else { "WRONG" }.into(), text.clone()]
        })
        .collect();
    let json: Vec<_> = found
        .0
        .iter()
        .map(|(what, good, text)| json!({ "what": what, "good": good, "found": text }))
        .collect();
    output.result(&json!({ "good": good, "checks": json }), table(["what", "is", "found"], &rows));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn check(args: &run::Args) -> Findings {
    let mut found = Findings::default();
    if let Some(at) = args.watch.listen {
        found.note("listen", TcpListener::bind(at), |_| format!("{at} is free"));
    }
    match args.watch.webhook() {
        Ok(None) => {}
        webhook => {
            found.note("webhook", webhook, |it| format!("{:?} (nothing was sent)", it.as_ref()));
        }
    }
    let chain = found.note("chain", args.daemon.chain.connect().await, |chain| {
        format!("{} serves chain {} with {}", chain.url(), chain.chain_id(), chain.contract())
    });
    let Some(chain) = chain else { return found };
    if let Some(heard) = heard(&args.hint, &chain).await.transpose() {
        found.note("new blocks", heard, |url| format!("{url} tells of them"));
    }
    let key = args.daemon.key.load(chain.chain_id());
    let key = found.note("key", key, |key| key.address().to_string());
    if let Some(key) = &key {
        let balance = chain.provider().get_balance(key.address()).into_future();
        let balance = chain.ask("cannot read the balance", balance).await;
        let balance = balance.map_err(eyre::Report::new).and_then(|wei| match wei {
            wei if wei.is_zero() => eyre::bail!("{} is empty: send it funds", key.address()),
            wei => Ok(wei),
        });
        found.note("balance", balance, |wei| format!("{wei} wei"));
    }
    let sequencer = connect::sequencer(&args.daemon.database, chain.chain_id()).await;
    let tenants = match sequencer {
        Ok(sequencer) => database(args, &chain, &sequencer).await,
        Err(error) => Err(error),
    };
    let tenants = found.note("database", tenants, |tenants| match tenants.len() {
        1 => "1 tenant".into(),
        n => format!("{n} tenants"),
    });
    let signing = args.daemon.anchorers.load().await;
    let signing =
        found.note("anchorers' keys", signing, |keys| format!("{keys:?} sign, and do not pay"));
    if let (Some(tenants), Some(key), Some(signing)) = (tenants, key, signing) {
        let anchorers = anchorers(&chain, &tenants, key.address(), &signing).await;
        found.note("anchorer", anchorers, |()| "of every tenant that is not halted".into());
    }
    found
}

/// Who tells of new blocks, if anybody is to.
async fn heard(hint: &HintArgs, chain: &Chain) -> Result<Option<RpcUrl>> {
    let Some(url) = hint.url()? else { return Ok(None) };
    Hints::new(url.clone(), chain.chain_id()).check().await?;
    Ok(Some(url))
}

/// Whether every door opens and the database is this contract's: the tenants that are not halted.
async fn database(args: &run::Args, chain: &Chain, sequencer: &Sequencer) -> Result<Vec<Head>> {
    if sequencer.deployment().await?.is_some() {
        connect::follow(sequencer, chain).await?;
    }
    let url = args.daemon.database.url()?;
    Mirror::connect(&url, chain.chain_id()).await?;
    let mut heads = Sealer::connect(&url, chain.chain_id()).await?.heads().await?;
    heads.retain(|head| head.halted.is_none());
    Ok(heads)
}

/// Whether the contract lets this key, or one of those that sign, anchor for these tenants.
async fn anchorers(chain: &Chain, heads: &[Head], us: Address, signing: &Anchorers) -> Result<()> {
    let ids: Vec<_> = heads.iter().map(|head| head.tenant).collect();
    let on_chain = chain.heads(&ids).await?;
    let ours = |anchorer| anchorer == us || signing.has(anchorer);
    let others = heads.iter().zip(on_chain).filter(|(_, on_chain)| !ours(on_chain.anchorer));
    let others: Vec<_> = others.map(|(head, _)| &*head.name).collect();
    if !others.is_empty() {
        eyre::bail!(
            "{us} may not anchor for {}: their authorities say who may, with `cofferdam tenant authorise`",
            others.join(", ")
        );
    }
    Ok(())
}
