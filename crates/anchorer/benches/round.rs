//! What a round costs each tenant, and how soon an entry is on the chain: `script/bench round`.
//!
//! An Anvil, a Postgres of its own, fsync on, and the anchorer as the daemon runs it.
//!
//! - A round over 1,000 tenants with three new entries each, until all is mined; then one over 10,000 others
//!   (`--tenants N`). For each tenant: milliseconds, statements, requests to the node, gas. No block becomes final
//!   meanwhile, as on a chain where that takes a quarter of an hour: nothing here mirrors what would then be
//!   looked for in the mirror.
//! - With `--latency`, on a chain with a block every two seconds, 1,000 tenants append one entry each, spread
//!   over some time: how long after it was acknowledged a block holds its batch, at the 95th percentile.

mod filled;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use alloy::{primitives::Bytes, providers::Provider, signers::local::PrivateKeySigner};
use cofferdam_anchorer::{AnchorError, Anchorer, SealPolicy, Sender};
use cofferdam_contracts::{
    AuditAnchor, Chain, Event, Expected, RpcUrl,
    deployment::{DEPLOYER, SALT},
};
use cofferdam_core::{TenantId, storage::head_slot};
use cofferdam_devnet::{Anvil, AnvilOptions, BenchServer, Toolchain};
use cofferdam_store::{Appender, Sealer, Sequencer};
use filled::{CHAIN, entry, number, start, tenant};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::watch;
use tracing::{Event as Said, Metadata, Subscriber, span};

/// Anvil's first account, which has funds.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const FEW: u64 = 1_000;
const MANY: u64 = 10_000;
const EACH: u64 = 3;
/// Blocks' distance, how old an entry may become before it is sealed, how long entries come in, and how often
/// the daemon looks.
const BLOCK: Duration = Duration::from_secs(2);
const AGE: Duration = Duration::from_secs(10);
const SPREAD: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(1);

/// Counts what the libraries below say that they do.
struct Counting;

static STATEMENTS: AtomicU64 = AtomicU64::new(0);
static REQUESTS: AtomicU64 = AtomicU64::new(0);

impl Subscriber for Counting {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        of.target() == "sqlx::query" || of.name() == "ReqwestTransport"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        span::Id::from_u64(1)
    }

    fn event(&self, _: &Said<'_>) {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let has = |option: &str| std::env::args().any(|arg| arg == option);
    let (json, latency) = (has("--json"), has("--latency"));
    let tenants = number("--tenants");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        match latency {
            true => latencies(tenants.unwrap_or(FEW), json).await,
            false => rounds(tenants.unwrap_or(MANY), json).await,
        }
    });
}

/// A chain with the contract, and a database.
struct Ground {
    _anvil: Anvil,
    _server: BenchServer,
    chain: Chain,
    sequencer: Sequencer,
    sealer: Sealer,
    anchorer: Anchorer,
}

impl Ground {
    async fn start(policy: SealPolicy) -> Self {
        let (server, daemon) = start().await;
        let args = ["--gas-limit", "60000000", "--slots-in-an-epoch", "1000"];
        let args = args.map(String::from).to_vec();
        let data_dir = server.folder().join("chain");
        let options = AnvilOptions { data_dir, port: None, keep: false, args };
        let anvil = Anvil::start(&Toolchain::find(), &options).await.expect("an Anvil");
        let url: RpcUrl = anvil.rpc_url().clone().into();
        let bare = Chain::connect_undeployed(&url, Expected::default()).await.expect("a chain");
        let signer: PrivateKeySigner = KEY.parse().expect("a key");
        let code = Bytes::from([SALT.as_slice(), &AuditAnchor::BYTECODE[..]].concat());
        let sent = json!([{ "from": signer.address(), "to": DEPLOYER, "data": code }]);
        ask(&bare, "eth_sendTransaction", sent).await;
        ask(&bare, "evm_mine", json!([])).await;
        let chain = Chain::connect(&url, Expected::default()).await.expect("a contract");
        let sequencer = Sequencer::connect(&daemon, CHAIN).await.expect("a sequencer");
        let sealer = Sealer::connect(&daemon, CHAIN).await.expect("a sealer");
        let anchorer = Anchorer::new(sealer.clone(), Sender::new(chain.clone(), signer), policy);
        Self { _anvil: anvil, _server: server, chain, sequencer, sealer, anchorer }
    }

    /// Registers these tenants, each of which lets our key anchor.
    async fn register(&self, tenants: std::ops::Range<u64>) {
        let word = KEY.parse::<PrivateKeySigner>().expect("a key").address().into_word();
        stream::iter(tenants)
            .for_each_concurrent(16, |n| async move {
                let tenant = tenant(n);
                self.sequencer.add_tenant(&format!("t{n}"), tenant).await.expect("added");
                // A head whose only content is its anchorer.
                let set = json!([self.chain.contract(), head_slot(tenant), word]);
                ask(&self.chain, "anvil_setStorageAt", set).await;
            })
            .await;
    }
}

async fn ask(chain: &Chain, method: &'static str, params: serde_json::Value) {
    let asked = chain.provider().raw_request::<_, serde_json::Value>(method.into(), params);
    asked.await.expect(method);
}

/// What a round came to for each of its tenants.
struct Cost {
    ms: f64,
    statements: f64,
    requests: f64,
    gas: f64,
}

async fn round(ground: &Ground, tenants: std::ops::Range<u64>) -> Cost {
    let count = (tenants.end - tenants.start) as f64;
    ground.register(tenants.clone()).await;
    let appender = ground.sequencer.appender();
    stream::iter(tenants)
        .for_each_concurrent(8, |n| {
            let appender = appender.clone();
            async move { append(&appender, n, EACH).await }
        })
        .await;
    let before = (STATEMENTS.load(Ordering::Relaxed), REQUESTS.load(Ordering::Relaxed));
    let gas = ground.sealer.totals().await.expect("summed up").gas_used;
    let start = Instant::now();
    loop {
        match ground.anchorer.round().await {
            Ok(report) => break assert_eq!(report.troubled, []),
            // With so many that a round ends before them.
            Err(AnchorError::Waiting(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let took = start.elapsed();
    let since =
        |counter: &AtomicU64, before: u64| (counter.load(Ordering::Relaxed) - before) as f64;
    let gas = ground.sealer.totals().await.expect("summed up").gas_used - gas;
    Cost {
        ms: took.as_secs_f64() * 1e3 / count,
        statements: since(&STATEMENTS, before.0) / count,
        requests: since(&REQUESTS, before.1) / count,
        gas: gas as f64 / count,
    }
}

async fn append(appender: &Appender, n: u64, entries: u64) {
    let entries = (0..entries).map(|i| entry(i, 100)).collect();
    appender.append(tenant(n), entries).await.expect("appended");
}

async fn rounds(many: u64, json: bool) {
    tracing::subscriber::set_global_default(Counting).expect("nobody else counts");
    let ground =
        Ground::start(SealPolicy { max_age: Duration::ZERO, ..SealPolicy::default() }).await;
    let few = round(&ground, 0..FEW).await;
    let much = round(&ground, FEW..FEW + many).await;
    println!("  a round, for each tenant    {FEW:>9} tenants {many:>9} tenants");
    let line = |what: &str, of: fn(&Cost) -> f64| {
        let (few, much) = (of(&few), of(&much));
        println!("  {what:<26}{few:>17.3}{much:>18.3}   {:.2} times that", much / few);
        much / few
    };
    let growth = [
        line("milliseconds", |it| it.ms),
        line("statements", |it| it.statements),
        line("requests to the node", |it| it.requests),
        line("gas", |it| it.gas),
    ];
    if json {
        let [ms, statements, requests, gas] = growth;
        let of = |it: &Cost| json!({ "ms": it.ms, "statements": it.statements, "requests": it.requests, "gas": it.gas });
        println!(
            "{}",
            json!({
                "tenants": [FEW, many], "few": of(&few), "many": of(&much),
                "growth": { "ms": ms, "statements": statements, "requests": requests, "gas": gas },
            })
        );
    }
}

/// From an entry's acknowledgement to a block with its batch.
async fn latencies(tenants: u64, json: bool) {
    let ground = Ground::start(SealPolicy { max_age: AGE, ..SealPolicy::default() }).await;
    ground.register(0..tenants).await;
    ask(&ground.chain, "evm_setIntervalMining", json!([BLOCK.as_secs()])).await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn({
        let anchorer = ground.anchorer.clone();
        async move { anchorer.run(POLL, stopped).await }
    });
    let appending = async {
        let appender = ground.sequencer.appender();
        let appends = (0..tenants).map(|n| {
            let appender = appender.clone();
            async move {
                // Spread, and in no step with blocks or polls.
                let share = (n * 7919 % tenants) as f64 / tenants as f64;
                tokio::time::sleep(SPREAD.mul_f64(share)).await;
                append(&appender, n, 1).await;
                (tenant(n), Instant::now())
            }
        });
        let appends = stream::iter(appends.collect::<Vec<_>>());
        appends.buffer_unordered(tenants as usize).collect::<HashMap<_, _>>().await
    };
    let (appended, included) = tokio::join!(appending, inclusions(&ground.chain, tenants));
    let _ = stop.send(true);
    running.await.expect("stopped");
    let mut waits: Vec<_> = appended
        .iter()
        .map(|(tenant, at)| included[tenant].saturating_duration_since(*at))
        .collect();
    waits.sort_unstable();
    let p95 = waits[(waits.len() * 95).div_ceil(100) - 1].as_secs_f64();
    let budget = (AGE + 2 * BLOCK).as_secs_f64();
    let most = waits[waits.len() - 1].as_secs_f64();
    println!(
        "  {tenants} tenants, sealed after {} s, a block every {} s, looking every {} s",
        AGE.as_secs(),
        BLOCK.as_secs(),
        POLL.as_secs()
    );
    println!("  appended to included, p95   {p95:>8.2} s, at most {most:.2} s   budget {budget} s");
    if json {
        println!("{}", json!({ "tenants": tenants, "included_p95_s": p95, "budget_s": budget }));
    }
}

/// When a block with each tenant's batch was first seen.
async fn inclusions(chain: &Chain, tenants: u64) -> HashMap<TenantId, Instant> {
    let mut seen = HashMap::new();
    let mut next = chain.head().await.expect("a head").number + 1;
    let all: HashSet<_> = (0..tenants).map(tenant).collect();
    while seen.len() < all.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let head = chain.head().await.expect("a head").number;
        if head < next {
            continue;
        }
        let now = Instant::now();
        for logged in chain.events(next, head).await.expect("events") {
            if let Event::Anchored(batch) = logged.event {
                seen.entry(batch.tenant).or_insert(now);
            }
        }
        next = head + 1;
    }
    seen
}
