//! The devnet that stays up, and that leaves nothing running however it ends.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::{Instant, sleep, timeout},
};

use crate::support::{LIMIT, environment, listens, program, record, records, run, scratch};

/// A devnet that stays up, with its own chain and database.
struct Devnet {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    urls: [String; 2],
    said: Vec<String>,
    dir: TempDir,
}

impl Devnet {
    async fn start(dir: TempDir, log: &Path) -> Self {
        let devnet = Self::start_until(dir, log, "Ctrl-C here stops everything").await;
        assert!(devnet.urls.iter().all(|url| listens(url)), "{:?}", devnet.urls);
        devnet
    }

    /// Starts it and waits until it has said this.
    async fn start_until(dir: TempDir, log: &Path, until: &str) -> Self {
        let mut child = program()
            .args(["devnet", "--anvil-port", "0", "--data-dir"])
            .args([dir.path(), log])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said: Vec<String> = vec![];
        while !said.iter().any(|line| line.contains(until)) {
            let line = timeout(LIMIT, lines.next_line()).await.expect("it hangs").unwrap();
            said.push(line.unwrap_or_else(|| panic!("it ended:\n{}", said.join("\n"))));
        }
        // It writes this file just after it has said where the contract is.
        while !dir.path().join("env").exists() {
            sleep(Duration::from_millis(5)).await;
        }
        let environment = environment(dir.path());
        let urls = ["RPC_URL", "DATABASE_URL"].map(|name| environment[name].clone());
        Self { child, lines, urls, said, dir }
    }

    /// One of the commands that it says to try next.
    fn cofferdam(&self, command: &str) -> Command {
        let mut program = program();
        program.envs(environment(self.dir.path())).args(command.split(' '));
        program
    }

    /// Sends a signal.
    async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    }

    /// Waits for its end, and what it said on standard error on the way.
    async fn ended(&mut self) -> (ExitStatus, String) {
        let mut stderr = self.child.stderr.take().unwrap();
        let mut complaints = String::new();
        let all = async {
            while let Ok(Some(_)) = self.lines.next_line().await {}
            stderr.read_to_string(&mut complaints).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let ended = timeout(LIMIT, all).await.expect("it hangs");
        (ended, complaints)
    }

    /// Waits until nothing of it answers or works in its directory any more.
    async fn is_gone(&self) {
        let start = Instant::now();
        while self.urls.iter().any(|url| listens(url)) || postgres_lock(self.dir.path()) {
            assert!(start.elapsed() < Duration::from_secs(60), "left running: {:?}", self.urls);
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether a Postgres still holds the data directory.
fn postgres_lock(data: &Path) -> bool {
    data.join("postgres/postmaster.pid").exists()
}

#[tokio::test]
async fn it_takes_in_what_is_appended_and_stops_at_ctrl_c() {
    for signal in ["-INT", "-TERM"] {
        let files = scratch();
        let log = files.path().join("log.ndjson");
        std::fs::write(&log, record("acme", 0)).unwrap();
        let mut devnet = Devnet::start(scratch(), &log).await;

        std::fs::write(&log, records("acme", 1..4) + &record("globex", 0)).unwrap();
        let append = run(devnet.cofferdam("append --register --json").arg(&log)).await;
        let report = append.exits(0).json();
        assert_eq!([&report["appended"], &report["registered"]], [4, 1]);
        // It stays up to anchor: what was appended gets there by itself.
        let start = Instant::now();
        loop {
            let status = run(&mut devnet.cofferdam("status --json")).await.exits(0).json();
            let mirrored = status["totals"]["anchored"].as_u64().unwrap();
            if status["tenants"]
                .as_array()
                .unwrap()
                .iter()
                .all(|it| it["anchored"] == it["entries"])
                && mirrored == 3
            {
                break;
            }
            assert!(start.elapsed() < LIMIT, "never anchored: {status}");
            sleep(Duration::from_millis(200)).await;
        }
        let verdict = run(&mut devnet.cofferdam("verify --json")).await.exits(0).json();
        assert_eq!([&verdict["verified"], &verdict["pending"]], [5, 0]);

        devnet.signal(signal).await;
        let (ended, complaints) = devnet.ended().await;
        assert!(matches!(ended.code(), Some(0 | 130)), "{ended}");
        assert_eq!(complaints, "", "it did not stop in order");
        // It has stopped what it started before it ended itself.
        assert!(!devnet.urls.iter().any(|url| listens(url)), "left running");
        devnet.is_gone().await;
    }
}

#[tokio::test]
async fn what_it_says_to_try_next_works_when_pasted() {
    let files = scratch();
    let log = files.path().join("log.ndjson");
    // A name that a shell would take apart.
    std::fs::write(&log, records("O'Brien & Söhne", 0..3)).unwrap();
    let mut devnet = Devnet::start(scratch(), &log).await;
    let at = devnet.said.iter().position(|line| line.starts_with("This stays up")).unwrap();
    let commands: Vec<&str> =
        devnet.said[at..].iter().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(commands.len() > 6 && commands[0].starts_with("source "), "{commands:?}");

    let mut tampered = false;
    for command in &commands[1..] {
        // Only what the reader is to fill in, and where this test may write.
        let receipt = files.path().join("receipt.json").display().to_string();
        let command = command.replace("/tmp/receipt.json", &receipt);
        let command = command.replace("PATH", &log.display().to_string());
        let mut shell = Command::new("bash");
        let script = format!("{}\n{command}", commands[0]);
        shell.args(["-c", &script]).current_dir(std::env::temp_dir()).kill_on_drop(true);
        tampered ^= command.contains("tamper");
        let expected = i32::from(tampered && command == "cofferdam verify");
        run(&mut shell).await.exits(expected);
    }
    assert!(!tampered, "it ends tampered with");
    devnet.signal("-INT").await;
    assert!(devnet.ended().await.0.success());
    devnet.is_gone().await;
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_the_work_stops_everything_too() {
    let files = scratch();
    let log = files.path().join("log.ndjson");
    let records: String = (0..30).map(|n| record(&format!("tenant-{n}"), n)).collect();
    std::fs::write(&log, records).unwrap();
    let mut devnet = Devnet::start_until(scratch(), &log, "contract ").await;
    devnet.signal("-INT").await;
    let (ended, complaints) = devnet.ended().await;
    assert_eq!((ended.code(), &*complaints), (Some(130), ""));
    assert!(!devnet.urls.iter().any(|url| listens(url)), "left running");
    devnet.is_gone().await;

    // The next run does what is left.
    let mut again = program();
    again.args(["devnet", "--once", "--json", "--anvil-port", "0", "--data-dir"]);
    let report = run(again.args([devnet.dir.path(), &*log])).await.exits(0).json();
    assert_eq!([&report["tenants"], &report["verified"], &report["failed"]], [30, 30, 0]);
}

#[tokio::test]
async fn killed_it_leaves_nothing_running_and_its_data_is_good() {
    let files = scratch();
    let log = files.path().join("log.ndjson");
    std::fs::write(&log, records("acme", 0..3)).unwrap();
    let mut devnet = Devnet::start(scratch(), &log).await;
    devnet.signal("-KILL").await;
    assert_eq!(devnet.ended().await.0.code(), None);
    devnet.is_gone().await;

    let mut again = program();
    again.args(["devnet", "--once", "--json", "--anvil-port", "0", "--data-dir"]);
    let report = run(again.args([devnet.dir.path(), &*log])).await.exits(0).json();
    assert_eq!([&report["appended"], &report["repeated"]], [0, 3]);
    assert_eq!([&report["verified"], &report["failed"]], [3, 0]);
}

#[tokio::test]
async fn a_port_in_use_is_said_by_name() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    for (flag, other, what) in [
        ("--anvil-port", &["--postgres-port"][..0], "Anvil"),
        ("--postgres-port", &["--anvil-port", "0"], "Postgres"),
    ] {
        let dir = scratch();
        let mut devnet = program();
        devnet.args(["devnet", "--once", flag, &port]).args(other).arg("--data-dir");
        run(devnet.arg(dir.path())).await.fails_saying(1, &[&port, "in use", what, flag]);
    }
}

#[tokio::test]
async fn a_wrong_path_is_told_before_anything_is_started() {
    let dir = scratch();
    let data = dir.path().join("data");
    let mut devnet = program();
    devnet.args(["devnet", "--once", "--anvil-port", "0", "--data-dir"]).arg(&data);
    run(devnet.arg(dir.path().join("absent"))).await.fails_saying(1, &["absent"]);
    assert!(!data.exists(), "something was started");
}
