//! Chains, keys and options that must be refused by name, and secrets that no error may tell.

use std::{net::TcpListener, process::Stdio};

use alloy::providers::Provider;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use crate::{
    shared::Shared,
    support::{LIMIT, Stack, environment, program, record, run, run_with_input},
};

/// The commands that talk to the chain and the database.
const ON_CHAIN: [&str; 4] = ["anchor --once", "index --once", "status", "verify"];

/// The code that a command gives when it could not do its work.
fn failure(command: &str) -> i32 {
    if command.starts_with("verify") { 2 } else { 1 }
}

#[tokio::test]
async fn another_chain_than_was_named() {
    let shared = Shared::get().await;
    for command in ON_CHAIN {
        let mut command_line = shared.stack.cofferdam(command);
        command_line.args(["--chain-id", "8453"]);
        let said = ["8453", "31337"];
        shared.refuses_with(failure(command), &mut command_line, &said).await;
    }
}

#[tokio::test]
async fn a_contract_address_without_code() {
    let shared = Shared::get().await;
    let nothing = "0x00000000000000000000000000000000DeaDBeef";
    for command in ON_CHAIN {
        let mut command_line = shared.stack.cofferdam(command);
        command_line.args(["--contract", nothing]);
        let said = [nothing, "no contract"];
        shared.refuses_with(failure(command), &mut command_line, &said).await;
    }
}

#[tokio::test]
async fn another_contract_than_the_database_follows() {
    let shared = Shared::get().await;
    // It has code, but is not what this database was anchored in.
    let other = cofferdam_contracts::deployment::DEPLOYER.to_string();
    for command in ["anchor --once", "index --once", "verify"] {
        let mut command_line = shared.stack.cofferdam(command);
        command_line.args(["--contract", &other]);
        let said = ["this database follows contract", &other];
        shared.refuses_with(failure(command), &mut command_line, &said).await;
    }
}

#[tokio::test]
async fn mappings_that_cannot_be_meant() {
    let shared = Shared::get().await;
    let path = shared.stack.file("log.ndjson", record("acme", 100));
    for (options, said) in [
        ("--map-id /external_id", "--map-id is for --format map only"),
        ("--format cloudtrail --map-actor /actor", "--map-actor is for --format map only"),
        ("--format map --map-tenant /tenant", "needs --map-id"),
        ("--format map --map-id external_id --map-tenant /tenant", "--map-id \"external_id\""),
        ("--format map --map-id /external~2id --map-tenant /tenant", "--map-id"),
        ("--format map --map-id /nowhere --map-tenant /tenant", "no id: \"/nowhere\""),
        ("--format map --map-id /external_id", "no tenant"),
        ("--format map --map-id /external_id --map-tenant /nowhere", "no tenant: \"/nowhere\""),
        ("--format map --map-id /external_id --map-tenant /payload", "tenant"),
        (
            "--format map --map-id /external_id --map-tenant /tenant --map-time /actor",
            "agent:clerk",
        ),
    ] {
        let mut append = shared.stack.cofferdam(&format!("append {options}"));
        shared.refuses(append.arg(&path), &[said]).await;
    }
    let mut append = shared.stack.cofferdam("append --format map --map-nonsense /x");
    shared.refuses_with(2, append.arg(path), &["--map-nonsense"]).await;
}

#[tokio::test]
async fn a_raw_key_on_another_chain_than_the_devnet() {
    let stack = Stack::start().await;
    let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    run(stack.devnet().arg(stack.file("one.ndjson", record("acme", 0)))).await.exits(0);
    let anchor = || {
        let mut command = stack.cofferdam("anchor --once");
        // The deployment file is this chain's; what it refuses is tested in deploy.rs.
        command.env_remove("COFFERDAM_DEPLOYMENT").env_remove("COFFERDAM_KEYSTORE");
        command.args(["--private-key", key]);
        command
    };
    run(&mut anchor()).await.exits(0);

    // The same node, contract and database, with the id of another chain.
    let provider = stack.chain().await;
    let answer = provider.provider().raw_request::<_, ()>("anvil_setChainId".into(), (1337,));
    answer.await.unwrap();
    let devnet = run(&mut stack.devnet()).await;
    devnet.fails_saying(1, &["chain 1337", "devnet is for chain 31337 only"]);
    let refused = run(anchor().args(["--chain-id", "1337"])).await;
    let refused =
        refused.fails_saying(1, &["--private-key is refused on chain 1337", "--keystore"]);
    assert!(!refused.stderr.contains(&key[2..]) && !refused.stdout.contains(&key[2..]));
    // Nor are tenants' keys made there.
    let register = || {
        let mut command = stack.cofferdam("tenant add new --chain-id 1337");
        command.env("COFFERDAM_KEYS", stack.dir().join("keys"));
        command.env_remove("COFFERDAM_DEPLOYMENT");
        command
    };
    run(&mut register()).await.fails_saying(1, &["1337", "--authority"]);
    assert!(!stack.dir().join("keys").exists(), "keys were made");
}

#[tokio::test]
async fn a_bad_raw_key_is_not_repeated() {
    let shared = Shared::get().await;
    let mut anchor = shared.stack.cofferdam("anchor --once");
    let almost = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ffzz";
    anchor.env_remove("COFFERDAM_KEYSTORE").args(["--private-key", almost]);
    let outcome = shared.refuses(&mut anchor, &["--private-key is not 32 bytes of hex"]).await;
    assert!(!outcome.stderr.contains(almost), "{}", outcome.stderr);
}

/// A port on which nobody listens.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_and_no_secret_told() {
    let shared = Shared::get().await;
    let port = closed_port();
    let url = format!("http://ann:hunter2@127.0.0.1:{port}/v2/k3y-in-path?token=t0ken");
    let endpoint = format!("http://127.0.0.1:{port}");
    for command in [&ON_CHAIN[..], &["receipt --tenant acme --seq 0"]].concat() {
        // `receipt` needs to ask only when nobody says which chain it is.
        let mut command_line = shared.stack.cofferdam(command);
        command_line.env("RPC_URL", &url).env_remove("CHAIN_ID").args(["--log", "debug"]);
        let outcome = shared
            .refuses_with(
                failure(command),
                &mut command_line,
                &[&endpoint, "cannot read the chain id"],
            )
            .await;
        untold(&outcome.stderr, &["hunter2", "k3y-in-path", "t0ken"]);
        untold(&outcome.stdout, &["hunter2", "k3y-in-path", "t0ken"]);
    }

    // A daemon waits for it instead, and says so.
    let mut command_line = shared.stack.cofferdam("run");
    command_line.env("RPC_URL", &url).env_remove("CHAIN_ID").args(["--log", "debug"]);
    let mut daemon = command_line.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let waits = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            untold(&line, &["hunter2", "k3y-in-path", "t0ken"]);
            if line.contains("cannot start yet") {
                return line;
            }
        }
        panic!("it gave up");
    };
    let said = timeout(LIMIT, waits).await.expect("it says nothing");
    assert!(said.contains(&endpoint) && said.contains("cannot read the chain id"), "{said}");
}

#[tokio::test]
async fn a_database_that_refuses_and_no_secret_told() {
    let shared = Shared::get().await;
    let right: url::Url = environment(&shared.stack.data())["DATABASE_URL"].parse().unwrap();
    let port = closed_port();
    let path = shared.stack.file("log.ndjson", record("acme", 100));
    let secrets = ["pa55w0rd", "s3cret"];
    let mut wrong_password = right.clone();
    wrong_password.set_password(Some("pa55w0rd")).unwrap();
    for url in [
        format!("postgres://ann:pa55w0rd@127.0.0.1:{port}/audit"),
        format!("postgres://ann@127.0.0.1:{port}/audit?password=pa55w0rd"),
        "postgres://ann:pa55w0rd@127.0.0.1:notaport/audit".into(),
        "mysql://ann:pa55w0rd@127.0.0.1/audit".into(),
        "s3cret pa55w0rd".into(),
        wrong_password.into(),
    ] {
        let append = ["append", path.to_str().unwrap()];
        for command in [&append[..], &["status"], &["tenant", "list"], &["devnet", "--once"]] {
            let mut command_line: Command = program();
            let data = shared.stack.dir().join("other-data");
            command_line
                .args(command)
                .args(["--json", "--log", "debug"])
                .env("RPC_URL", shared.stack.anvil.rpc_url().as_str())
                .env("COFFERDAM_DATA", data)
                .env("DATABASE_URL", &url);
            let outcome = shared.refuses(&mut command_line, &["error"]).await;
            untold(&outcome.stderr, &secrets);
            untold(&outcome.stdout, &secrets);
        }
    }
}

#[track_caller]
fn untold(text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is told:\n{text}");
    }
}

#[tokio::test]
async fn the_administrator_is_refused_as_the_daemon() {
    let shared = Shared::get().await;
    for command in ["anchor --once", "index --once", "status", "tenant list"] {
        let mut command_line = shared.stack.cofferdam(command);
        command_line.env("DATABASE_URL", shared.stack.database.admin_url.as_str());
        shared.refuses(&mut command_line, &["superuser", "cofferdam migrate"]).await;
    }
}

#[tokio::test]
async fn nothing_given_is_said_to_be_missing() {
    let shared = Shared::get().await;
    for (variable, command, said) in [
        ("RPC_URL", "anchor --once", "--rpc-url"),
        ("RPC_URL", "index --once", "--rpc-url"),
        ("DATABASE_URL", "anchor --once", "--database-url"),
        ("DATABASE_URL", "status", "--database-url"),
        ("COFFERDAM_KEYSTORE", "anchor --once", "--keystore"),
        ("COFFERDAM_PASSWORD_FILE", "anchor --once", "--password-file"),
    ] {
        let mut command_line = shared.stack.cofferdam(command);
        shared.refuses(command_line.env_remove(variable), &[said]).await;
    }
}

#[tokio::test]
async fn bad_standard_input_says_what_stays() {
    // Of its own: what came before the fault on a pipe was taken.
    let stack = Stack::with(&record("acme", 0)).await;
    let input = format!("{}{}{{\"tenant\":", record("acme", 1), record("acme", 2));
    let outcome = run_with_input(stack.cofferdam("append").arg("-"), input.as_bytes()).await;
    outcome.fails_saying(1, &["stdin:3:", "2 records", "appended and stay"]);
    assert_eq!(stack.snapshot().await.named("acme").entries.len(), 3);

    // All of it again, mended: what is there is recognised.
    let mended = format!("{}{}{}", record("acme", 1), record("acme", 2), record("acme", 3));
    let mut append = stack.cofferdam("append --json");
    let report = run_with_input(append.arg("-"), mended.as_bytes()).await.exits(0).json();
    assert_eq!([&report["appended"], &report["repeated"]], [1, 2]);
    let after = stack.snapshot().await;
    let ids = after
        .named("acme")
        .entries
        .iter()
        .map(|entry| entry.fields.get(cofferdam_core::FieldName::ExternalId).to_owned());
    assert_eq!(ids.collect::<Vec<_>>(), (0..4).map(|n| format!("acme-{n:05}")).collect::<Vec<_>>());
}
