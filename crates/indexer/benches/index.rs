//! How fast the mirror is, beside the download that it cannot be faster than: `script/bench index`.
//!
//! An Anvil with 100 events of our contracts in each of 2,000 blocks: batches of 500 tenants, grants and
//! policies (`--events N`: in as many blocks, up to 500 in each). In turns within one run, since a machine is not
//! as fast every minute:
//!
//! - `eth_getLogs` of the whole chain by ranges of [`SPAN`] blocks, one after another over one connection,
//!   decoded by the mirror's own decoder and thrown away;
//! - the mirror from nothing to the head, counters and histories checked against the contracts, in a process
//!   of its own, whose CPU time and resident memory are counted, and a Postgres of its own, started for the
//!   turn, fsync on, row security on.
//!
//! Then how long a new event takes until its row is committed.

use std::{
    env, fs,
    hint::black_box,
    process::Stdio,
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    sol_types::{SolCall, SolConstructor},
    transports::http::reqwest::Client,
};
use cofferdam_contracts::{
    AuditAnchor, Chain, Expected, IAuditAnchor, IMCPAgentRegistry, IPolicyRegistry, LogReader,
    MCPAgentRegistry, PolicyRegistry, RpcUrl, SmartAccountFactory,
    deployment::{DEPLOYER, Deployment, SALT},
};
use cofferdam_devnet::{Anvil, AnvilOptions, BenchServer, TestDatabase, Toolchain};
use cofferdam_indexer::{Endpoints, Indexer};
use cofferdam_store::{DatabaseUrl, Mirror, Reader, migrate};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::watch;

const CHAIN: u64 = Anvil::CHAIN_ID;
const EVENTS: u64 = 200_000;
/// Blocks that they are in, unless there are too many for that: a tenant has one batch in a block.
const BLOCKS: u64 = 2_000;
const TENANTS: u64 = 500;
/// Blocks of a range of the bare download: what the mirror's own ranges come to.
const SPAN: u64 = 64;
const TURNS: usize = 3;
/// Blocks that are mined one by one for the tail, and how often the mirror looks.
const TAIL: u64 = 40;
const POLL: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match option("--mirror") {
        // On one of the runtime's own threads, as in the daemon: each thread that allocates keeps memory of its own.
        Some(database) => runtime.block_on(runtime.spawn(mirror_once(database)))?,
        None => runtime.block_on(bench()),
    }
}

fn option(name: &str) -> Option<String> {
    env::args().skip_while(|arg| arg != name).nth(1)
}

async fn bench() -> Result<(), Failure> {
    let events = option("--events").map_or(Ok(EVENTS), |it| it.parse())?;
    let folder = tempfile::tempdir()?;
    // Nobody pays for gas, so that nobody needs any.
    let free = ["--block-base-fee-per-gas", "0", "--gas-price", "0", "--no-mining"];
    let roomy = ["--gas-limit", "10000000000"];
    let options = AnvilOptions {
        data_dir: folder.path().join("chain"),
        port: None,
        keep: false,
        args: free.iter().chain(&roomy).map(ToString::to_string).collect(),
    };
    let anvil = Anvil::start(&Toolchain::find(), &options).await?;
    let url: RpcUrl = anvil.rpc_url().clone().into();
    let started = Instant::now();
    let filler = Filler::start(&url).await?;
    filler.fill(events).await?;
    eprintln!("{events} events in {} blocks after {:?}", filler.head().await?, started.elapsed());

    let (mut downloads, mut mirrors) = (vec![], vec![]);
    let (mut rss_mb, mut cpu_s) = (0u64, f64::MAX);
    let mut last: Option<(BenchServer, String)> = None;
    for _ in 0..TURNS {
        if let Some((before, _)) = last.take() {
            before.stop().await;
        }
        downloads.push(download(&url, filler.head().await?, events).await?);
        // The one before would still have to write what it was sent.
        let server = BenchServer::start().await?;
        let daemon = database(&server).await?;
        let done = in_a_process(&daemon, &url).await?;
        assert_eq!(done["events"], events, "all of them");
        mirrors.push(done["seconds"].as_f64().ok_or("no seconds")?);
        rss_mb = rss_mb.max(done["rss_mb"].as_u64().ok_or("no memory")?);
        cpu_s = cpu_s.min(done["cpu_s"].as_f64().ok_or("no CPU time")?);
        last = Some((server, daemon));
    }
    let (server, daemon) = last.ok_or("no turn")?;
    let rate = |seconds: &[f64]| events as f64 / seconds.iter().copied().fold(f64::MAX, f64::min);
    let (bare, ours) = (rate(&downloads), rate(&mirrors));
    let tail = tail(&filler, &daemon, &url).await?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("  download, decoded, thrown away  {bare:>10.0} events a second");
    println!(
        "  the mirror, from nothing        {ours:>10.0} events a second, {:.2} of that",
        ours / bare
    );
    println!(
        "  its process                     {cpu_s:>10.2} s of CPU, {rss_mb} MB resident at most"
    );
    println!(
        "  mined to committed, p95         {tail:>10.0} ms, looking every {} ms",
        POLL.as_millis()
    );
    println!("  best of {TURNS} turns; load {}", load.trim());
    anvil.stop().await;
    server.stop().await;
    if env::args().any(|arg| arg == "--json") {
        let line = json!({
            "of_download": ours / bare, "events_per_s": ours, "rss_mb": rss_mb, "cpu_s": cpu_s,
        });
        println!("{line}");
    }
    Ok(())
}

/// A database that nothing is mirrored into yet; its daemon's URL.
async fn database(server: &BenchServer) -> Result<String, Failure> {
    let TestDatabase { admin_url, runtime_url } = server.database("bench");
    migrate(&admin_url.as_str().parse()?, &runtime_url.as_str().parse()?).await?;
    Ok(runtime_url.to_string())
}

async fn indexer(database: &str, url: &RpcUrl) -> Result<Indexer, Failure> {
    let database: DatabaseUrl = database.parse()?;
    let chain = Chain::connect(url, Expected::default()).await?;
    let mirror = Mirror::connect(&database, CHAIN).await?;
    let reader = Reader::connect(&database, CHAIN).await?;
    let endpoints = Endpoints::new(&chain, vec![])?;
    Ok(Indexer::new(mirror, reader, endpoints, Deployment::default(), 1))
}

/// Starts this program again to mirror and do nothing else.
async fn in_a_process(database: &str, url: &RpcUrl) -> Result<Value, Failure> {
    let output = tokio::process::Command::new(env::current_exe()?)
        .args(["--mirror", database, "--rpc", url.expose().as_str()])
        .stderr(Stdio::inherit())
        .output()
        .await?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn mirror_once(database: String) -> Result<(), Failure> {
    let url: RpcUrl = option("--rpc").ok_or("no --rpc")?.parse()?;
    let started = Instant::now();
    let indexer = indexer(&database, &url).await?;
    let done = indexer.catch_up().await?;
    let seconds = started.elapsed().as_secs_f64();
    // Every head in the mirror was checked.
    assert_eq!(done.checked, TENANTS);
    let (cpu_s, rss_mb) = used()?;
    let line =
        json!({ "events": done.events, "seconds": seconds, "cpu_s": cpu_s, "rss_mb": rss_mb });
    println!("{line}");
    Ok(())
}

/// This process' CPU time in seconds, and its resident memory at most, in MB.
fn used() -> Result<(f64, u64), Failure> {
    /// Every Linux that we run on counts so.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name, which may have any character: state is the third field, the times 14 and 15.
    let fields: Vec<&str> =
        stat[stat.rfind(')').ok_or("no name")? + 1..].split_whitespace().collect();
    let ticks = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: u64 = peak.split_whitespace().next().ok_or("no number")?.parse()?;
    Ok((ticks / TICKS_PER_SECOND, kilobytes.div_ceil(1024)))
}

/// Seconds for all logs, decoded and thrown away.
async fn download(url: &RpcUrl, head: u64, events: u64) -> Result<f64, Failure> {
    let (client, reader) = (Client::new(), LogReader::new(Deployment::default()));
    let topics: Vec<&B256> = reader.topics().collect();
    let (mut found, mut room, started) = (0, 0, Instant::now());
    for from in (1..=head).step_by(SPAN as usize) {
        let question = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [{
            "fromBlock": U256::from(from), "toBlock": U256::from(head.min(from + SPAN - 1)),
            "topics": [&topics],
        }] });
        let request = client.post(url.expose().clone()).header("content-type", "application/json");
        let mut sent = request.body(question.to_string()).send().await?;
        let mut answer = reader.answer(room);
        while let Some(part) = sent.chunk().await? {
            answer.read(&part)?;
        }
        let logs = answer.done()?.map_err(|refusal| refusal.message)?;
        // As the mirror knows from the range before.
        room = logs.len();
        found += black_box(logs).len() as u64;
    }
    assert_eq!(found, events, "all of them");
    Ok(started.elapsed().as_secs_f64())
}

/// Milliseconds from a block with an event to the committed row, at the 95th percentile.
async fn tail(filler: &Filler, database: &str, url: &RpcUrl) -> Result<f64, Failure> {
    let (stop, stopped) = watch::channel(false);
    let running = indexer(database, url).await?;
    running.catch_up().await?;
    let following = tokio::spawn(async move { running.run(POLL, stopped).await });
    let watching = Mirror::connect(&database.parse()?, CHAIN).await?;
    let mut waits = vec![];
    for n in 0..TAIL {
        // Not in step with the mirror.
        tokio::time::sleep(POLL * 2 + Duration::from_millis(17 * n % 100)).await;
        filler.anchor(n % TENANTS..n % TENANTS + 1).await?;
        filler.mine().await?;
        let (mined, number) = (Instant::now(), filler.head().await?);
        while watching.checkpoint().await?.is_none_or(|at| at.number < number) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        waits.push(mined.elapsed());
    }
    let _ = stop.send(true);
    following.await?;
    Ok(p95(waits))
}

fn p95(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all.get((all.len() * 95).div_ceil(100).saturating_sub(1))
        .map_or(0.0, |it| it.as_secs_f64() * 1e3)
}

fn tenant(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

fn agent(n: u64) -> Address {
    Address::from_word(keccak256((n + (1 << 32)).to_be_bytes()))
}

/// Makes events.
struct Filler {
    chain: Chain,
    at: Deployment,
    /// Who anchors for everybody.
    anchorer: Address,
}

impl Filler {
    async fn start(url: &RpcUrl) -> Result<Self, Failure> {
        let chain = Chain::connect_undeployed(url, Expected::default()).await?;
        let anchorer = chain.provider().get_accounts().await?[0];
        let this = Self { chain, at: Deployment::default(), anchorer };
        this.rpc("anvil_autoImpersonateAccount", json!([true])).await?;
        let arguments = SmartAccountFactory::constructorCall {
            entryPoint: this.at.entry_point,
            auditAnchor: this.at.audit_anchor,
            policyRegistry: this.at.policy_registry,
            agentRegistry: this.at.mcp_agent_registry,
        };
        let factory = [&SmartAccountFactory::BYTECODE[..], &arguments.abi_encode()].concat();
        let codes = [
            &AuditAnchor::BYTECODE[..],
            &PolicyRegistry::BYTECODE,
            &MCPAgentRegistry::BYTECODE,
            &factory,
        ];
        for code in codes {
            this.send(anchorer, DEPLOYER, [SALT.as_slice(), code].concat()).await?;
            this.mine().await?;
        }
        Ok(this)
    }

    async fn rpc(&self, method: &'static str, parameters: Value) -> Result<Value, Failure> {
        Ok(self.chain.provider().raw_request(method.into(), parameters).await?)
    }

    async fn send(
        &self,
        from: Address,
        to: Address,
        data: impl Into<Bytes>,
    ) -> Result<Value, Failure> {
        let sent = json!([{ "from": from, "to": to, "data": data.into(), "gas": "0x1c9c380", "gasPrice": "0x0" }]);
        self.rpc("eth_sendTransaction", sent).await
    }

    async fn mine(&self) -> Result<(), Failure> {
        self.rpc("evm_mine", json!([])).await.map(drop)
    }

    async fn head(&self) -> Result<u64, Failure> {
        Ok(self.chain.provider().get_block_number().await?)
    }

    /// So many events: everybody's anchorer, then batches, grants and policies.
    async fn fill(&self, events: u64) -> Result<(), Failure> {
        let all: Vec<u64> = (0..TENANTS).collect();
        let per_block = (events / BLOCKS).clamp(10, TENANTS);
        // Of ten events nine are batches; the others are grants and policies.
        let batches = per_block / 10 * 9;
        for some in all.chunks(per_block as usize) {
            let set = some.iter().map(|n| {
                let of = tenant(*n);
                let call = AuditAnchor::setAnchorerCall {
                    tenantId: of.into_word(),
                    anchorer: self.anchorer,
                };
                self.send(of, self.at.audit_anchor, call.abi_encode())
            });
            try_join_all(set).await?;
            self.mine().await?;
        }
        for block in 0..(events - TENANTS) / per_block {
            let first = block * batches % TENANTS;
            self.anchor(first..first + batches).await?;
            let others = (0..per_block - batches).map(|n| self.govern(block * per_block + n));
            try_join_all(others).await?;
            self.mine().await?;
        }
        Ok(())
    }

    /// The next batches of these tenants, in one transaction.
    async fn anchor(&self, tenants: std::ops::Range<u64>) -> Result<(), Failure> {
        let ids: Vec<B256> = tenants.map(|n| tenant(n % TENANTS).into_word()).collect();
        let binding = AuditAnchor::new(self.at.audit_anchor, self.chain.provider());
        let heads = binding.heads(ids.clone()).call().await?;
        let items = ids.iter().zip(heads).map(|(id, head)| IAuditAnchor::Item {
            tenantId: *id,
            firstSeq: head.entries,
            count: 10,
            root: keccak256(head.batches.to_be_bytes()),
        });
        let call = AuditAnchor::anchorManyCall { items: items.collect() };
        self.send(self.anchorer, self.at.audit_anchor, call.abi_encode()).await.map(drop)
    }

    /// A grant of one tenant, or every fifth time a policy.
    async fn govern(&self, n: u64) -> Result<(), Failure> {
        // Each tenant comes by in turn, with grants and with policies.
        let (who, round) = (n % TENANTS, n / TENANTS);
        let of = tenant(who);
        let (until, one) = (u64::from(u32::MAX) + 9, U256::from(1));
        if (who + round) % 5 == 0 {
            let policies = PolicyRegistry::new(self.at.policy_registry, self.chain.provider());
            let version = policies.versionOf(of.into_word()).call().await? + 1;
            let policy = IPolicyRegistry::Policy {
                policyHash: keccak256(n.to_be_bytes()),
                verdictSigner: self.anchorer,
                notBefore: one.to(),
                notAfter: U256::from(until).to(),
            };
            let call = PolicyRegistry::publishCall {
                tenantId: of.into_word(),
                version,
                policy,
                deadline: until,
                signature: Bytes::new(),
            };
            return self.send(of, self.at.policy_registry, call.abi_encode()).await.map(drop);
        }
        let call = MCPAgentRegistry::grantCall {
            tenantId: of.into_word(),
            agent: agent(who),
            capability: keccak256((round % 8).to_be_bytes()),
            window: IMCPAgentRegistry::Window {
                notBefore: one.to(),
                notAfter: U256::from(until).to(),
            },
            limits: IMCPAgentRegistry::Limits {
                nativeMax: U256::from(n).to(),
                target: Address::ZERO,
                selector: Default::default(),
                tokenMax: Default::default(),
            },
        };
        self.send(of, self.at.mcp_agent_registry, call.abi_encode()).await.map(drop)
    }
}
