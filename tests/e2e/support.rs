//! What the tests share: a chain and a database of their own, and the program itself.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use cofferdam_contracts::{Chain, Expected};
use cofferdam_core::TenantId;
use cofferdam_devnet::{Anvil, AnvilOptions, TestDatabase, Toolchain};
use cofferdam_store::{
    AnchoredEvent, Checkpoint, DatabaseUrl, Head, Incident, Reader, SealedBatch, Sealer,
    StoredEntry, Totals,
};
use futures::TryStreamExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// What nothing here should ever take; only there so that a hang becomes a failure.
pub(crate) const LIMIT: Duration = Duration::from_secs(240);

/// The chain that every Anvil here is.
pub(crate) const CHAIN_ID: u64 = Anvil::CHAIN_ID;

/// Variables that would make the program use something else than what a test gives it.
const INHERITED: [&str; 7] = [
    "RPC_URL",
    "RPC_FALLBACK_URLS",
    "RPC_WS_URL",
    "DATABASE_URL",
    "CHAIN_ID",
    "ANVIL_PORT",
    "POSTGRES_PORT",
];

/// A folder that lasts as long as its test and that Postgres' own user may pass through.
pub(crate) fn scratch() -> TempDir {
    let dir = tempfile::Builder::new().prefix("cofferdam-e2e-").tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    dir
}

/// The program, with nothing of this process' own settings.
pub(crate) fn program() -> Command {
    program_at(env!("CARGO_BIN_EXE_cofferdam"))
}

/// A copy of the program.
pub(crate) fn program_at(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars() {
        let ours = name.starts_with("COFFERDAM_") && name != "COFFERDAM_NODE_MODULES";
        if ours || INHERITED.contains(&&*name) {
            command.env_remove(name);
        }
    }
    // Nothing is to be written where the tests happen to be started.
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Outcome {
    /// Demands an exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Demands a failure that says all of this.
    #[track_caller]
    pub(crate) fn fails_saying(self, code: i32, parts: &[&str]) -> Self {
        let this = self.exits(code);
        for part in parts {
            let said = this.stderr.contains(part) || this.stdout.contains(part);
            assert!(said, "not said: {part}\n{}\n{}", this.stdout, this.stderr);
        }
        let panicked = this.stderr.contains("panicked") || this.stderr.contains("RUST_BACKTRACE");
        assert!(!panicked, "{}", this.stderr);
        this
    }

    /// The last line of standard output, which `--json` makes one object.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .unwrap_or_else(|e| panic!("{e}: {last:?}\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Runs a command to its end.
pub(crate) async fn run(command: &mut Command) -> Outcome {
    let ended = timeout(LIMIT, command.output()).await.expect("the command hangs");
    ended.expect("the command starts").into()
}

/// Runs a command to its end with something on its standard input.
pub(crate) async fn run_with_input(command: &mut Command, input: &[u8]) -> Outcome {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that fails early closes the pipe; that is not the writer's failure.
    let writer = tokio::spawn(async move { stdin.write_all(&input).await });
    let ended = timeout(LIMIT, child.wait_with_output()).await.expect("the command hangs");
    let _ = writer.await.unwrap();
    ended.unwrap().into()
}

/// A chain and a database that belong to one test, and the data directory of its devnet.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) anvil: Anvil,
    pub(crate) database: TestDatabase,
    dir: TempDir,
}

impl Stack {
    /// Starts the chain and names the database; `devnet` or `migrate` makes it.
    pub(crate) async fn start() -> Self {
        Self::start_with(vec![]).await
    }

    /// The same, of an Anvil with these arguments.
    pub(crate) async fn start_with(args: Vec<String>) -> Self {
        // As every main must, before anything speaks HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = scratch();
        let options =
            AnvilOptions { data_dir: dir.path().join("anvil"), port: None, keep: false, args };
        let anvil = Anvil::start(&Toolchain::find(), &options).await.unwrap();
        Self::of(anvil, TestDatabase::new().await.unwrap(), dir)
    }

    /// A chain and a database that were made elsewhere, with the folder that holds the devnet's data.
    pub(crate) fn of(anvil: Anvil, database: TestDatabase, dir: TempDir) -> Self {
        Self { anvil, database, dir }
    }

    /// Starts, and goes the whole way once with these records.
    pub(crate) async fn with(records: &str) -> Self {
        Self::start().await.gone_once(records).await
    }

    /// Goes the whole way once with these records.
    pub(crate) async fn gone_once(self, records: &str) -> Self {
        let path = self.file("first.ndjson", records);
        run(self.devnet().arg(path)).await.exits(0);
        self
    }

    /// A folder for the test's own files.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory of the devnet.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// Writes a file of the test's own.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `devnet --once --json`, as administrator of the database.
    pub(crate) fn devnet(&self) -> Command {
        let mut command = program();
        command
            .args(["devnet", "--once", "--json", "--data-dir"])
            .arg(self.data())
            .env("RPC_URL", self.anvil.rpc_url().as_str())
            .env("DATABASE_URL", self.database.admin_url.as_str());
        command
    }

    /// The program as in a shell that has sourced the devnet's `env`.
    pub(crate) fn cofferdam(&self, command: &str) -> Command {
        let mut program = program();
        program.envs(environment(&self.data())).args(command.split(' '));
        program
    }

    /// Runs one of the program's commands, with `--json`, to success.
    pub(crate) async fn json(&self, command: &str) -> Value {
        run(self.cofferdam(command).arg("--json")).await.exits(0).json()
    }

    /// Appends records as the operator does, registering whom they name.
    pub(crate) async fn append(&self, records: &str) -> Value {
        let path = self.file("more.ndjson", records);
        run(self.cofferdam("append --register --json").arg(path)).await.exits(0).json()
    }

    /// Anchors and mirrors what there is.
    pub(crate) async fn anchor(&self) {
        self.json("anchor --once").await;
        self.json("index --once").await;
    }

    /// The daemon's login to the database.
    pub(crate) fn runtime_url(&self) -> DatabaseUrl {
        environment(&self.data())["DATABASE_URL"].parse().unwrap()
    }

    /// A connection to the contract.
    pub(crate) async fn chain(&self) -> Chain {
        let url = self.anvil.rpc_url().clone().into();
        Chain::connect(&url, Expected::default()).await.unwrap()
    }

    /// A reader of the database.
    pub(crate) async fn reader(&self) -> Reader {
        Reader::connect(&self.runtime_url(), CHAIN_ID).await.unwrap()
    }

    /// Everything that the database holds.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.runtime_url()).await
    }

    /// The id that the operator's table has for a name.
    pub(crate) async fn tenant(&self, name: &str) -> TenantId {
        self.reader().await.tenant_by_name(name).await.unwrap().unwrap().id
    }
}

/// What a devnet's `env` sets.
pub(crate) fn environment(data: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(data.join("env")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    lines.map(|(name, value)| (name.into(), value.trim_matches('\'').into())).collect()
}

/// Everything that the database holds of one chain, so that two moments can be compared.
#[derive(Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) heads: Vec<Head>,
    pub(crate) totals: Totals,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) tenants: BTreeMap<TenantId, Log>,
}

/// What the database holds of one tenant.
#[derive(Debug, PartialEq)]
pub(crate) struct Log {
    pub(crate) entries: Vec<StoredEntry>,
    pub(crate) batches: Vec<SealedBatch>,
    pub(crate) anchored: Vec<AnchoredEvent>,
}

impl Snapshot {
    pub(crate) async fn of(url: &DatabaseUrl) -> Self {
        let sealer = Sealer::connect(url, CHAIN_ID).await.unwrap();
        let reader = Reader::connect(url, CHAIN_ID).await.unwrap();
        let heads = sealer.heads().await.unwrap();
        let mut tenants = BTreeMap::new();
        for head in &heads {
            let mut tx = reader.tenant(head.tenant).await.unwrap();
            let log = Log {
                // More than the head counts, should there be more.
                entries: tx.entries(0.into(), u64::MAX).try_collect().await.unwrap(),
                batches: tx.batches().await.unwrap(),
                anchored: tx.anchored().await.unwrap(),
            };
            tenants.insert(head.tenant, log);
        }
        Self {
            heads,
            totals: sealer.totals().await.unwrap(),
            incidents: sealer.incidents(100).await.unwrap(),
            checkpoint: sealer.checkpoint().await.unwrap(),
            tenants,
        }
    }

    /// Demands that nothing has changed since.
    #[track_caller]
    pub(crate) fn is_still(&self, after: &Self) {
        assert_eq!(self.heads, after.heads);
        assert_eq!(self.totals, after.totals);
        assert!(self == after, "the database changed:\n{self:#?}\n{after:#?}");
    }

    /// The log of the tenant that has this name.
    pub(crate) fn named(&self, name: &str) -> &Log {
        let head = self.heads.iter().find(|head| head.name == name).expect("the tenant");
        &self.tenants[&head.tenant]
    }
}

/// One Cofferdam record as a line.
pub(crate) fn record(tenant: &str, n: usize) -> String {
    let value = json!({
        "tenant": tenant,
        "external_id": format!("{tenant}-{n:05}"),
        "occurred_at": "2026-03-02T10:00:00Z",
        "actor": format!("agent:clerk-{}", n % 3),
        "action": "invoices.read",
        "resource": format!("invoice/{n}"),
        "result": "allow",
        "payload": { "n": n, "note": "Bäckström & Söner 👍", "amount": 18250.5 },
    });
    format!("{value}\n")
}

/// Records of one tenant, one a line.
pub(crate) fn records(tenant: &str, numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| record(tenant, n)).collect()
}

/// A source of random numbers whose seed is printed, and can be given.
pub(crate) fn random(test: &str) -> StdRng {
    StdRng::seed_from_u64(seed(test))
}

/// A seed that is printed, and can be given.
pub(crate) fn seed(test: &str) -> u64 {
    let given = std::env::var("COFFERDAM_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| rand::rng().random());
    println!("{test}: COFFERDAM_TEST_SEED={seed}");
    seed
}

/// Says that a test, or a part of it, does not run here, past the harness, which keeps to itself what a test
/// prints that does not fail.
pub(crate) fn skip(why: &str) {
    let test = thread::current();
    let said = format!("SKIPPED {}: {why}\n", test.name().unwrap_or_default());
    io::stderr().write_all(said.as_bytes()).unwrap();
}

/// Real CloudTrail records, where they are; `COFFERDAM_CLOUDTRAIL_DATA` names another place.
pub(crate) fn cloudtrail() -> Option<PathBuf> {
    let beside = "../../../shared/data/stratus-cloudtrail/events";
    let folder = std::env::var_os("COFFERDAM_CLOUDTRAIL_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(beside), PathBuf::from);
    if !folder.is_dir() {
        skip(&format!("no CloudTrail records at {}", folder.display()));
        return None;
    }
    Some(folder.canonicalize().unwrap())
}

/// Whether somebody listens where a URL leads.
pub(crate) fn listens(url: &str) -> bool {
    let url: url::Url = url.parse().unwrap();
    std::net::TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).is_ok()
}
