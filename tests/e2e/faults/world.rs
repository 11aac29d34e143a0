//! A chain, a database and tenants, with faulty ways to both, and what must hold of them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ChildStdin, Command as StdCommand, Stdio},
    time::Duration,
};

use alloy::providers::Provider;
use cofferdam_contracts::{Chain, Event, Logged};
use cofferdam_core::{Batch, BatchMerkle, EntryHash, FieldName, TenantId};
use cofferdam_devnet::{Anvil, AnvilOptions, Postgres, PostgresOptions, TestDatabase, Toolchain};
use cofferdam_store::{Reader, Sealer};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    sync::OnceCell,
    time::{Instant, sleep},
};
use url::Url;

use super::{rpc::Rpc, wire::Wire};
use crate::support::{CHAIN_ID, Log, Stack, environment, program, record, records, run, scratch};

/// The tenants that every world begins with.
pub(crate) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// Records that each of them has in the beginning, anchored and mirrored.
const FIRST: usize = 2;
/// Blocks on top of what every world begins with: deeper than any reorg here.
const GROUND: u64 = 24;
/// How long everything may take to come to rest once nothing fails any more.
const REST: Duration = Duration::from_secs(180);

/// A chain and a database of one test, as copies of those that were made once, and ways to them that can
/// fail.
#[derive(Debug)]
pub(crate) struct World {
    /// Dropped first: it must not outlive its data.
    pub(crate) postgres: Option<Postgres>,
    pub(crate) rpc: Rpc,
    pub(crate) wire: Wire,
    pub(crate) stack: Stack,
    /// The chain itself, past all faults.
    pub(crate) chain: Chain,
    /// Records of each tenant that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Daemons that were started.
    daemons: usize,
}

/// How often I8 was broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Acknowledged entries that are not there, not what they were, or not anchored.
    pub(crate) lost: usize,
    /// Entries or anchors that are there twice.
    pub(crate) doubled: usize,
    /// Entries that stand where another one should.
    pub(crate) reordered: usize,
}

/// What every world is a copy of; removed when this process ends, however it ends.
#[derive(Debug)]
struct Seed {
    dir: PathBuf,
    rpc_url: Url,
    port: u16,
    _remover: ChildStdin,
}

static SEED: OnceCell<Seed> = OnceCell::const_new();

impl Seed {
    async fn make() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = scratch().keep();
        let mut remover = StdCommand::new("sh");
        remover.args(["-c", r#"read -r _; rm -rf "$0""#]).arg(&dir).stdin(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut remover, 0);
        let remover = remover.spawn().unwrap().stdin.take().unwrap();

        let options =
            AnvilOptions { data_dir: dir.join("anvil"), port: None, keep: true, args: vec![] };
        let anvil = Anvil::start(&Toolchain::find(), &options).await.unwrap();
        let postgres = postgres(&dir, None).await;
        let mut admin = postgres.admin_url().clone();
        admin.set_path("cofferdam");
        let first = dir.join("first.ndjson");
        let all: String = TENANTS.iter().map(|tenant| records(tenant, 0..FIRST)).collect();
        fs::write(&first, all).unwrap();
        let mut devnet = program();
        devnet.args(["devnet", "--once", "--json", "--data-dir"]).arg(dir.join("data")).arg(first);
        devnet.env("RPC_URL", anvil.rpc_url().as_str()).env("DATABASE_URL", admin.as_str());
        run(&mut devnet).await.exits(0);
        let (rpc_url, port) = (anvil.rpc_url().clone(), admin.port().unwrap());
        anvil.stop().await;
        postgres.stop().await;
        Self { dir, rpc_url, port, _remover: remover }
    }
}

/// Runs the database below a folder.
async fn postgres(dir: &Path, port: Option<u16>) -> Postgres {
    let options = PostgresOptions { data_dir: dir.join("postgres"), port, ephemeral: false };
    Postgres::start(&Toolchain::find(), &options).await.unwrap()
}

/// Copies a folder with owners and times.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = StdCommand::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{} was not copied to {}", from.display(), to.display());
}

impl World {
    /// A world of one node.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A world whose Anvil has further arguments.
    pub(crate) async fn with(args: &[&str]) -> Self {
        let seed = SEED.get_or_init(Seed::make).await;
        // Once more: the seed may be another thread's.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = scratch();
        for part in ["anvil", "data", "postgres"] {
            copy(&seed.dir.join(part), dir.path());
        }
        let (anvil, postgres) =
            tokio::join!(start_anvil(dir.path(), "anvil", args), postgres(dir.path(), None));
        let mut admin_url = postgres.admin_url().clone();
        admin_url.set_path("cofferdam");
        let replaced = [
            (seed.dir.display().to_string(), dir.path().display().to_string()),
            (seed.rpc_url.to_string(), anvil.rpc_url().to_string()),
            (format!(":{}/", seed.port), format!(":{}/", admin_url.port().unwrap())),
        ];
        for file in ["env", "admin-url", "verifier.json"] {
            let file = dir.path().join("data").join(file);
            let text = fs::read_to_string(&file).unwrap();
            let text = replaced.iter().fold(text, |text, (from, to)| text.replace(from, to));
            fs::write(&file, text).unwrap();
        }
        let runtime_url = environment(&dir.path().join("data"))["DATABASE_URL"].parse().unwrap();
        let rpc = Rpc::start(vec![anvil.rpc_url().clone()]).await;
        let wire = Wire::start(&admin_url).await;
        let stack = Stack::of(anvil, TestDatabase { admin_url, runtime_url }, dir);
        let chain = stack.chain().await;
        let (acknowledged, daemons) = (FIRST, 0);
        let postgres = Some(postgres);
        let world = Self { postgres, rpc, wire, stack, chain, acknowledged, daemons };
        world.mine(GROUND).await;
        world
    }

    /// Another node that begins as this world's did and goes its own way from there, made the second
    /// node of this world's endpoint.
    pub(crate) async fn second_node(&mut self) -> Anvil {
        let other = start_anvil(self.stack.dir(), "other", &[]).await;
        let nodes = vec![self.stack.anvil.rpc_url().clone(), other.rpc_url().clone()];
        self.rpc = Rpc::start(nodes).await;
        other
    }

    /// The program, with the faulty ways to chain and database.
    pub(crate) fn cofferdam(&self, command: &str) -> Command {
        let mut program = self.stack.cofferdam(command);
        let database = self.wire.through(&self.stack.database.runtime_url);
        program.env("RPC_URL", self.rpc.url().as_str()).env("DATABASE_URL", database.as_str());
        program
    }

    /// Starts a daemon that seals whatever there is.
    pub(crate) fn daemon(&mut self) -> Daemon {
        self.daemon_with(&[])
    }

    /// Starts one with further arguments.
    pub(crate) fn daemon_with(&mut self, args: &[&str]) -> Daemon {
        self.daemons += 1;
        let log = self.stack.dir().join(format!("daemon-{}.log", self.daemons));
        let said = File::create(&log).unwrap();
        let mut run =
            self.cofferdam("run --seal-age 0 --seal-entries 16 --poll 100 --lease 2 --patience 2");
        run.args(args).stdout(said.try_clone().unwrap()).stderr(said);
        Daemon { child: run.spawn().unwrap(), log }
    }

    /// Starts a daemon and waits until it has anchored something, so that it is past its beginning.
    pub(crate) async fn working_daemon(&mut self) -> Daemon {
        let daemon = self.daemon();
        self.append(1).await;
        self.is_at_rest().await;
        daemon
    }

    /// `append` of so many more records of every tenant.
    pub(crate) fn appending(&self, more: usize) -> Command {
        let all = self.acknowledged..self.acknowledged + more;
        let lines: String = all.flat_map(|n| TENANTS.map(|tenant| record(tenant, n))).collect();
        let path = self.stack.file("more.ndjson", lines);
        let mut append = self.cofferdam("append --json");
        append.arg(path);
        append
    }

    /// Appends so many more records of every tenant; they are acknowledged when this returns.
    pub(crate) async fn append(&mut self, more: usize) {
        run(&mut self.appending(more)).await.exits(0);
        self.acknowledged += more;
    }

    /// Stops the database as its administrator would, or as a crash of its machine does.
    pub(crate) async fn stop_postgres(&mut self, crash: bool) {
        let postgres = self.postgres.take().expect("it runs");
        if !crash {
            return postgres.stop().await;
        }
        let lock = self.stack.dir().join("postgres/postgres/postmaster.pid");
        let lock = fs::read_to_string(lock).unwrap();
        let pid = lock.lines().next().unwrap();
        let sent = StdCommand::new("kill").args(["-s", "QUIT", pid]).status().unwrap();
        assert!(sent.success());
        // Waits for it.
        drop(postgres);
    }

    /// Starts the database again, where it was.
    pub(crate) async fn start_postgres(&mut self) {
        let port = self.stack.database.admin_url.port();
        self.postgres = Some(postgres(self.stack.dir(), port).await);
    }

    /// How many entries of a tenant the contract has counted.
    pub(crate) async fn anchored(&self, name: &str) -> usize {
        let tenant = self.stack.tenant(name).await;
        let head = self.chain.heads(&[tenant]).await.unwrap().remove(0);
        usize::try_from(head.entries).unwrap()
    }

    /// Why a tenant is halted, as `status` says it.
    pub(crate) async fn halted(&self, name: &str) -> Option<String> {
        let status = self.stack.json("status").await;
        let tenants = status["tenants"].as_array().unwrap();
        let tenant = tenants.iter().find(|tenant| tenant["name"] == name).unwrap();
        tenant["halted"].as_str().map(str::to_owned)
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, what: &str, mut is: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !is().await {
            assert!(start.elapsed() < REST, "never came about: {what}\n{}", self.said());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a transaction in the node's pool.
    pub(crate) async fn pooled(&self) -> Value {
        let found = OnceCell::new();
        self.until("a transaction in the pool", async || {
            let pool = self.ask("txpool_content", json!([])).await;
            let of = pool["pending"].as_object().unwrap().values().next();
            let first = of.and_then(|of| of.as_object()?.values().next().cloned());
            first.is_some_and(|first| found.set(first).is_ok())
        })
        .await;
        found.into_inner().unwrap()
    }

    /// Whether the node puts transactions into blocks as they come.
    pub(crate) async fn automine(&self, on: bool) {
        self.ask("evm_setAutomine", json!([on])).await;
    }

    /// Asks the node itself.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        self.chain.provider().raw_request(method.to_owned().into(), params).await.unwrap()
    }

    /// Lets so many empty blocks come.
    pub(crate) async fn mine(&self, blocks: u64) {
        self.ask("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }

    /// Demands that every entry is anchored and mirrored before long.
    pub(crate) async fn is_at_rest(&self) {
        self.rests().await.unwrap_or_else(|what| panic!("{what}\n{}", self.said()));
    }

    /// Waits until every entry is anchored and mirrored.
    pub(crate) async fn rests(&self) -> Result<(), String> {
        let sealer = Sealer::connect(&self.stack.runtime_url(), CHAIN_ID).await.unwrap();
        let reader = self.stack.reader().await;
        let start = Instant::now();
        loop {
            let restless = self.restless(&sealer, &reader).await;
            match restless {
                None => return Ok(()),
                Some(what) if start.elapsed() > REST => return Err(format!("{what} for too long")),
                Some(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// What is still to be done.
    async fn restless(&self, sealer: &Sealer, reader: &Reader) -> Option<String> {
        // In the order of the way: what is sealed after it was looked at would be missed.
        let heads = sealer.heads().await.unwrap();
        if let Some(head) = heads.iter().find(|head| head.unsealed() > 0) {
            return Some(format!("not all is sealed: {head:?}"));
        }
        let totals = sealer.totals().await.unwrap();
        if totals.anchored < totals.batches {
            return Some(format!("not all is anchored: {totals:?}"));
        }
        for head in heads {
            let mut tx = reader.tenant(head.tenant).await.unwrap();
            let mirrored = tx.anchored().await.unwrap();
            let mirrored = mirrored.iter().map(|event| event.position.block_hash);
            let events = on_chain(&self.chain, head.tenant).await;
            if !events.iter().map(|(logged, _)| logged.block_hash).eq(mirrored) {
                return Some(format!("not all is mirrored: {head:?}"));
            }
        }
        None
    }

    /// Compares, from outside, what was acknowledged with the database, and that with the chain.
    pub(crate) async fn tally(&self) -> Tally {
        let snapshot = self.stack.snapshot().await;
        let mut tally = Tally::default();
        for name in TENANTS {
            let log = snapshot.named(name);
            let tenant = self.stack.tenant(name).await;
            let hashes = self.tally_entries(name, tenant, log, &mut tally);
            let events = on_chain(&self.chain, tenant).await;
            tally_anchors(&hashes, &events, &mut tally);
            // Of what was mirrored every piece is one that is on the chain, and once.
            tally.doubled += log.anchored.len().saturating_sub(events.len());
        }
        tally
    }

    /// The hashes of a tenant's entries, and what is wrong with these.
    fn tally_entries(
        &self,
        name: &str,
        tenant: TenantId,
        log: &Log,
        tally: &mut Tally,
    ) -> Vec<EntryHash> {
        let mut previous = EntryHash::ZERO;
        let mut hashes = vec![];
        let mut ids = vec![];
        for (n, entry) in log.entries.iter().enumerate() {
            tally.reordered += usize::from(entry.seq.get() != n as u64);
            let expected: Value = serde_json::from_str(&record(name, n)).unwrap();
            let payload = expected["payload"].to_string();
            let intact = entry.verify(tenant, previous).is_ok()
                && entry.fields.get(FieldName::Payload) == payload;
            tally.lost += usize::from(!intact);
            previous = entry.entry_hash;
            hashes.push(previous);
            ids.push(entry.fields.get(FieldName::ExternalId));
        }
        let known: BTreeSet<&str> = ids.iter().copied().collect();
        tally.doubled += ids.len() - known.len();
        // Ids have leading zeros, so that their order is that of the records.
        tally.reordered += ids.windows(2).filter(|pair| pair[0] > pair[1]).count();
        let lost = (0..self.acknowledged).filter(|n| !known.contains(&*format!("{name}-{n:05}")));
        tally.lost += lost.count();
        hashes
    }

    /// Demands that everything comes to rest, that I8 holds, and that nobody found anything amiss.
    pub(crate) async fn is_well(&self) {
        self.is_at_rest().await;
        self.is_whole().await;
        let snapshot = self.stack.snapshot().await;
        assert!(snapshot.incidents.is_empty(), "{:?}", snapshot.incidents);
        let verdict = self.stack.json("verify").await;
        assert_eq!([&verdict["verified"], &verdict["failed"]], [&verdict["entries"], &json!(0)]);
    }

    /// Demands I8.
    pub(crate) async fn is_whole(&self) {
        assert_eq!(self.tally().await, Tally::default(), "{}", self.said());
    }

    /// The end of what the latest daemon said.
    pub(crate) fn said(&self) -> String {
        let log = self.stack.dir().join(format!("daemon-{}.log", self.daemons));
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

async fn start_anvil(dir: &Path, name: &str, args: &[&str]) -> Anvil {
    let state = dir.join("anvil/anvil-state.json").display().to_string();
    let load = ["--load-state", &state].into_iter().chain(args.iter().copied());
    let options = AnvilOptions {
        data_dir: dir.join(name),
        port: None,
        keep: false,
        args: load.map(String::from).collect(),
    };
    Anvil::start(&Toolchain::find(), &options).await.unwrap()
}

/// A tenant's `Anchored` events.
pub(crate) async fn on_chain(chain: &Chain, tenant: TenantId) -> Vec<(Logged, Batch)> {
    let head = chain.head().await.unwrap().number;
    let events = chain.anchored(tenant, 0, head).await.unwrap();
    let anchored = |logged: Logged| match logged.event.clone() {
        Event::Anchored(batch) => (logged, batch),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(anchored).collect()
}

/// What is wrong with the anchors of these entries.
fn tally_anchors(hashes: &[EntryHash], events: &[(Logged, Batch)], tally: &mut Tally) {
    let mut next = 0;
    for (_, batch) in events {
        let first = usize::try_from(batch.first_seq.get()).unwrap();
        let end = first + usize::try_from(batch.count).unwrap();
        tally.doubled += usize::from(first < next);
        tally.lost += first.saturating_sub(next);
        let root = hashes.get(first..end).and_then(BatchMerkle::new).map(|tree| tree.root());
        if root != Some(batch.root) {
            println!("batch {batch:?} is of other entries than there are");
            tally.lost += end - first;
        }
        next = end;
    }
    tally.lost += hashes.len().saturating_sub(next);
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Ends it without any warning.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to stop, and demands that it does.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM").await;
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        let said = fs::read_to_string(&self.log).unwrap();
        assert!(ended.is_ok_and(|ended| ended.unwrap().success()), "{said}");
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().await.unwrap();
        assert!(sent.success());
    }

    /// The most memory that it ever held, in MB; none where the system does not say.
    pub(crate) fn peak_mb(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
    }

    /// Demands that it has not given up.
    pub(crate) fn lives(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}\n{}", fs::read_to_string(&self.log).unwrap());
    }
}
