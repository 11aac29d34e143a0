//! What an operator sees of a running daemon, and how it is told what to do.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{
    faults::world::{Daemon, TENANTS, World},
    shared::Shared,
    support::{CHAIN_ID, environment, run},
};

/// Asks a daemon for a path.
pub(crate) async fn get(at: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The value of a metric.
pub(crate) fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|it| it.0 == name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// A receiver of incidents, which fails the first time.
async fn hook() -> (String, tokio::task::JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/s3cret", listener.local_addr().unwrap());
    let told = tokio::spawn(async move {
        let mut told = Value::Null;
        for status in [503, 200] {
            let mut stream = BufReader::new(listener.accept().await.unwrap().0);
            let (mut line, mut length) = (String::new(), 0);
            while line != "\r\n" {
                line.clear();
                stream.read_line(&mut line).await.unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            told = serde_json::from_slice(&body).unwrap();
            let answer =
                format!("HTTP/1.1 {status} .\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
        }
        told
    });
    (url, told)
}

/// A port that is free now.
pub(crate) async fn free() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_daemon_tells_of_its_health_its_numbers_and_its_incidents() {
    let mut world = World::start().await;
    let (at, (url, told)) = (free().await, hook().await);
    world.stop_postgres(false).await;
    let daemon = world.daemon_with(&["--listen", &at, "--webhook", &url, "--log-json"]);
    let ready = async || get(&at, "/readyz").await.map(|(status, _)| status);
    world.until("that it listens", async || ready().await == Some(503)).await;
    assert_eq!(get(&at, "/healthz").await.unwrap().0, 200);
    assert_eq!(get(&at, "/else").await.unwrap().0, 404);
    world.start_postgres().await;
    world.until("that it is ready", async || ready().await == Some(200)).await;

    world.append(2).await;
    world.is_at_rest().await;
    let all = (world.acknowledged * TENANTS.len()) as f64;
    let text = get(&at, "/metrics").await.unwrap().1;
    for (name, value) in [
        ("cofferdam_up{part=\"database\"}", 1.0),
        ("cofferdam_up{part=\"chain\"}", 1.0),
        ("cofferdam_entries{stage=\"appended\"}", all),
        ("cofferdam_entries{stage=\"included\"}", all),
        ("cofferdam_waiting_seconds{for=\"anchor\"}", 0.0),
        ("cofferdam_tenants{is=\"halted\"}", 0.0),
    ] {
        assert_eq!(metric(&text, name), Some(value), "{name} in\n{text}");
    }
    assert!(metric(&text, "cofferdam_gas_used_total") > Some(0.0), "{text}");
    assert!(!text.contains("cofferdam_incidents"), "{text}");
    assert!(metric(&text, "cofferdam_step_age_seconds") < Some(60.0), "{text}");
    assert!(metric(&text, "cofferdam_steps_failed_total").is_some(), "{text}");

    // A changed entry becomes an incident, of which somebody is told who was away at first.
    daemon.signal("STOP").await;
    world.append(1).await;
    let last = world.acknowledged - 1;
    world.stack.json(&format!("devnet tamper --tenant acme --seq {last}")).await;
    daemon.signal("CONT").await;
    let told = told.await.unwrap();
    assert_eq!((&told["kind"], &told["chainId"]), (&"tampered".into(), &CHAIN_ID.into()));
    assert_eq!(told["tenantId"], world.stack.tenant("acme").await.to_string());
    world
        .until("the incident among the numbers", async || {
            let text = get(&at, "/metrics").await.unwrap().1;
            metric(&text, "cofferdam_incidents{kind=\"tampered\"}") == Some(1.0)
        })
        .await;

    let said = world.said();
    assert!(!said.contains("s3cret"), "{said}");
    for line in said.lines().filter(|line| *line != "stopped") {
        assert!(serde_json::from_str::<Value>(line).unwrap()["level"].is_string(), "{line}");
    }
    ends_soon(daemon, &world).await;
}

/// A daemon ends within seconds, also while its node leaves it without an answer.
async fn ends_soon(daemon: Daemon, world: &World) {
    world.rpc.play(|_| Some(crate::faults::rpc::Fault::Silence));
    sleep(Duration::from_millis(500)).await;
    tokio::time::timeout(Duration::from_secs(20), daemon.stop()).await.expect("it stops");
}

#[tokio::test]
async fn settings_come_from_a_file_the_environment_and_the_command_line() {
    let shared = Shared::get().await;
    let settings = environment(&shared.stack.data());
    let content = format!("seal-age = 5\ndatabase-url = {:?}\n", settings["DATABASE_URL"]);
    let file = shared.stack.file("cofferdam.toml", &content);
    let check = |of: &[(&str, &str)]| {
        let mut check = shared.stack.cofferdam("config check --json --settings");
        check.arg(&file).env_remove("DATABASE_URL").envs(of.iter().copied());
        check
    };
    let found = run(&mut check(&[])).await.exits(0).json();
    assert_eq!(found["good"], true);
    let what: Vec<_> = found["checks"].as_array().unwrap().iter().map(|it| &it["what"]).collect();
    assert_eq!(what, ["chain", "key", "balance", "database", "anchorers' keys", "anchorer"]);

    // The environment is stronger than the file, and the command line than both.
    let away = "postgres://nobody:s3cret@127.0.0.1:1/none";
    let wrong =
        run(&mut check(&[("DATABASE_URL", away)])).await.fails_saying(1, &["cannot connect"]);
    assert_eq!(wrong.json()["good"], false);
    assert!(!wrong.stdout.contains("s3cret"), "{}", wrong.stdout);
    let mut stronger = check(&[("DATABASE_URL", away)]);
    run(stronger.args(["--database-url", &settings["DATABASE_URL"]])).await.exits(0);
    // Other commands take what they have of it.
    let mut status = shared.stack.cofferdam("status --json --settings");
    run(status.arg(&file).env_remove("DATABASE_URL")).await.exits(0);

    // Where new blocks are heard of is tried, too, and its secrets are nobody's.
    let mut socket = shared.stack.anvil.rpc_url().clone();
    socket.set_scheme("ws").unwrap();
    let found = run(&mut check(&[("RPC_WS_URL", socket.as_str())])).await.exits(0).json();
    let told = &found["checks"][1];
    assert_eq!((&told["what"], &told["good"]), (&"new blocks".into(), &true.into()), "{found}");
    for (away, said) in [
        ("ws://ann:s3cret@127.0.0.1:1/s3cret", "cannot subscribe to new blocks"),
        ("wss://ann:s3cret@127.0.0.1:1/?key=s3cret", "cannot subscribe to new blocks"),
        ("http://ann:s3cret@127.0.0.1:1/s3cret", "expected ws:// or wss://"),
    ] {
        let mut deaf = check(&[("RPC_WS_URL", away), ("COFFERDAM_LOG", "trace")]);
        let deaf = run(&mut deaf).await.fails_saying(1, &["new blocks", said]);
        assert!(!deaf.stdout.contains("s3cret"), "{}", deaf.stdout);
        assert!(!deaf.stderr.contains("s3cret"), "{}", deaf.stderr);
    }

    let typo = shared.stack.file("typo.toml", "seal-aeg = 5\n");
    let mut typed = shared.stack.cofferdam("run --settings");
    run(typed.arg(typo)).await.fails_saying(2, &["typo.toml", "\"seal-aeg\" is no setting"]);
    let wrong = shared.stack.file("wrong.toml", "seal-age = \"soon\"\n");
    let mut wrongly = shared.stack.cofferdam("run --settings");
    run(wrongly.arg(wrong)).await.fails_saying(2, &["--seal-age", "soon"]);
    shared.before.is_still(&shared.stack.snapshot().await);
}
