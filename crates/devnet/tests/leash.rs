//! The local parts start, answer, and end with their owner.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cofferdam_devnet::{Anvil, AnvilOptions, DevnetError, Postgres, PostgresOptions, Toolchain};
use url::Url;

fn listens(url: &Url) -> bool {
    TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).is_ok()
}

async fn both(data_dir: std::path::PathBuf) -> (Anvil, Postgres) {
    let tools = Toolchain::find();
    let anvil = AnvilOptions { data_dir: data_dir.clone(), port: None, keep: false, args: vec![] };
    let anvil = Anvil::start(&tools, &anvil).await.unwrap();
    let postgres = PostgresOptions { data_dir, port: None, ephemeral: false };
    (anvil, Postgres::start(&tools, &postgres).await.unwrap())
}

fn scratch() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .unwrap();
    dir
}

#[tokio::test]
async fn both_start_stop_and_start_again() {
    let dir = scratch();
    for _ in 0..2 {
        let (anvil, postgres) = both(dir.path().into()).await;
        let urls = [anvil.rpc_url().clone(), postgres.admin_url().clone()];
        assert!(urls.iter().all(listens));
        anvil.stop().await;
        postgres.stop().await;
        assert!(!urls.iter().any(listens), "still listening after stop: {urls:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let dir = scratch();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let anvil =
        AnvilOptions { data_dir: dir.path().into(), port: Some(port), keep: false, args: vec![] };
    let error = Anvil::start(&Toolchain::find(), &anvil).await.unwrap_err();
    assert!(matches!(error, DevnetError::PortInUse { what: "Anvil", port: p, .. } if p == port));
    assert!(error.to_string().contains("--anvil-port"), "{error}");
    let postgres =
        PostgresOptions { data_dir: dir.path().into(), port: Some(port), ephemeral: false };
    let error = Postgres::start(&Toolchain::find(), &postgres).await.unwrap_err();
    assert!(matches!(error, DevnetError::PortInUse { what: "Postgres", port: p, .. } if p == port));
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test]
async fn owner() {
    let Some(dir) = std::env::var_os("LEASH_TEST_DIR") else { return };
    let (anvil, postgres) = both(dir.into()).await;
    println!("\nready {} {}", anvil.rpc_url(), postgres.admin_url());
    std::future::pending::<()>().await;
}

#[test]
fn both_end_when_their_owner_is_killed() {
    let dir = scratch();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner", "--nocapture"])
        .env("LEASH_TEST_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = lines.into_iter().find(|line| line.starts_with("ready ")).unwrap();
    let urls: Vec<Url> = ready.split(' ').skip(1).map(|url| url.parse().unwrap()).collect();
    assert!(urls.iter().all(listens));

    owner.kill().unwrap();
    owner.wait().unwrap();
    let start = Instant::now();
    while urls.iter().any(listens) {
        assert!(start.elapsed() < Duration::from_secs(30), "left running: {urls:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
