//! The mirror as a program: killed anywhere, it is what a fresh one would be; and what `index` says.

mod kills;

use std::{process::Stdio, time::Duration};

use alloy::{
    primitives::{B256, U256},
    providers::Provider,
};
use cofferdam_core::{
    TenantId,
    mirror::{MirrorTable, Row},
};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{DatabaseUrl, Mirror, Reader, migrate};
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    faults::rpc::{Fault, Rpc},
    operate::{free, get, metric},
    support::{CHAIN_ID, LIMIT, Stack, records, run},
};

fn place(row: &Row) -> (u64, B256, u64) {
    (row.position.block_number, row.position.block_hash, row.position.log_index)
}

/// All rows of all tenants, in the chain's order.
async fn contents(url: &DatabaseUrl) -> Vec<Row> {
    let mirror = Mirror::connect(url, CHAIN_ID).await.unwrap();
    let reader = Reader::connect(url, CHAIN_ID).await.unwrap();
    let mut rows = vec![];
    for head in mirror.heads(None, 10_000).await.unwrap() {
        let mut tx = reader.tenant(TenantId::try_from(head.tenant).unwrap()).await.unwrap();
        for table in MirrorTable::ALL {
            rows.extend(tx.mirrored(table).try_collect::<Vec<_>>().await.unwrap());
        }
    }
    rows.sort_by_key(place);
    rows
}

#[tokio::test]
async fn index_says_how_far_it_is_verifies_and_rebuilds() {
    let stack = Stack::with(&records("acme", 0..5)).await;
    let status = stack.json("index status").await;
    assert_eq!((&status["block"], &status["lag"]), (&status["head"], &json!(0)), "{status}");
    let verdict = stack.json("index verify --full").await;
    assert_eq!(verdict["difference"], Value::Null, "{verdict}");
    assert_eq!(verdict["downloaded"], verdict["rows"], "{verdict}");
    let (before, rows) = (stack.snapshot().await, contents(&stack.runtime_url()).await);
    let rebuilt = stack.json("index rebuild").await;
    assert_eq!((&rebuilt["events"], &rebuilt["incidents"]), (&verdict["rows"], &json!(0)));
    before.is_still(&stack.snapshot().await);
    assert_eq!(contents(&stack.runtime_url()).await, rows);
}

/// Mines empty blocks, and says which is the newest.
async fn mine(stack: &Stack, blocks: u64) -> u64 {
    let chain = stack.chain().await;
    let blocks = json!([U256::from(blocks)]);
    let _: Value = chain.provider().raw_request("anvil_mine".into(), blocks).await.unwrap();
    chain.provider().get_block_number().await.unwrap()
}

#[tokio::test]
async fn status_and_metrics_say_how_far_chain_and_mirror_are() {
    let stack = Stack::with(&records("acme", 0..5)).await;
    let before = mine(&stack, 0).await;
    let head = mine(&stack, 100).await;
    let status = async || stack.json("index status").await;
    let behind = status().await;
    assert_eq!((&behind["head"], &behind["block"]), (&json!(head), &json!(before)), "{behind}");
    assert_eq!(behind["lag"], json!(head - before), "{behind}");
    // What was not mirrored cannot be final here.
    assert!(behind["final"].as_u64() <= Some(before), "{behind}");

    let at = free().await;
    let mut index = stack.cofferdam(&format!("index --poll 10 --listen {at}"));
    let mut running = index.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mirrored = async {
        loop {
            let text = get(&at, "/metrics").await.map(|it| it.1).unwrap_or_default();
            if metric(&text, "cofferdam_index_mirrored") == Some(head as f64) {
                break text;
            }
            assert!(running.try_wait().unwrap().is_none(), "it ended");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let text = timeout(LIMIT, mirrored).await.expect("it never came to the head");
    for (name, value) in [
        ("head", head),
        ("safe", head - 32),
        ("last_final", head - 64),
        ("lag", 0),
        ("logs", 0),
        ("logs_per_second", 0),
        ("refetches", 0),
        ("reorgs", 0),
        ("holes", 0),
        ("incidents", 0),
        ("unread", 0),
    ] {
        let found = metric(&text, &format!("cofferdam_index_{name}"));
        assert_eq!(found, Some(value as f64), "{name} in\n{text}");
    }
    let expected = json!({
        "block": head, "safe": head - 32, "final": head - 64, "head": head, "lag": 0,
    });
    // What is final is written after the blocks are.
    let written = async {
        while status().await != expected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, written).await.unwrap_or_else(|_| panic!("it never said {expected}"));
    running.kill().await.unwrap();
}

#[tokio::test]
async fn a_daemon_with_a_long_way_to_go_says_how_it_gets_on() {
    let stack = Stack::with(&records("acme", 0..5)).await;
    run(&mut stack.cofferdam("index rebuild")).await.exits(0);
    let head = mine(&stack, 800).await;
    // Slow enough to be seen, range by range.
    let slow = Rpc::start(vec![stack.anvil.rpc_url().clone()]).await;
    let mut ranges = 8;
    slow.play(move |method| {
        if method == "eth_getLogs" && ranges > 0 {
            ranges -= 1;
            std::thread::sleep(Duration::from_millis(250));
        }
        None
    });
    let log = stack.file("log", "");
    let mut daemon = stack.cofferdam("run --poll 10 --log-json");
    daemon.env("RPC_URL", slow.url().as_str()).stdout(Stdio::null());
    let mut daemon = daemon.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    let telling = async {
        loop {
            let lines = said();
            let mut lines = lines.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
            if let Some(line) = lines.find(|line| line["message"] == "a long way to go") {
                break line;
            }
            assert!(daemon.try_wait().unwrap().is_none(), "it ended: {}", said());
            sleep(Duration::from_millis(20)).await;
        }
    };
    let told = timeout(LIMIT, telling).await.expect("it never says how far it is");
    assert_eq!((&told["what"], &told["level"]), (&json!("blocks"), &json!("INFO")), "{told}");
    assert!(told["of"].as_u64().is_some_and(|of| of > 500 && of <= head), "{told}");
    for part in ["percent", "per_second", "left"] {
        assert!(!told[part].is_null(), "{part} in {told}");
    }
    daemon.kill().await.unwrap();
}

#[tokio::test]
async fn what_the_first_endpoint_does_not_say_the_next_one_does_from_the_start_on() {
    let stack = Stack::with(&records("acme", 0..5)).await;
    let fresh = TestDatabase::new().await.unwrap();
    let url: DatabaseUrl = fresh.runtime_url.as_str().parse().unwrap();
    migrate(&fresh.admin_url.as_str().parse().unwrap(), &url).await.unwrap();
    let silent = Rpc::start(vec![stack.anvil.rpc_url().clone()]).await;
    silent.play(|_| Some(Fault::Silence));
    let cofferdam = |command: &str| {
        let mut command = stack.cofferdam(command);
        command.env("DATABASE_URL", fresh.runtime_url.as_str());
        command.env("RPC_URL", silent.url().as_str()).env("COFFERDAM_RPC_TIMEOUT", "1");
        command.env("RPC_FALLBACK_URLS", stack.anvil.rpc_url().as_str());
        command
    };
    // Nothing is there yet: that is no agreement.
    let nothing = run(&mut cofferdam("index verify --json")).await.exits(2).json();
    assert_eq!((&nothing["agree"], &nothing["block"]), (&Value::Null, &Value::Null));
    assert!(silent.faults() > 0, "it is asked first");

    let done = run(&mut cofferdam("index --once --json")).await.exits(0).json();
    let head = json!(stack.chain().await.provider().get_block_number().await.unwrap());
    assert_eq!(done["block"], head, "{done}");
    assert_eq!(contents(&url).await, contents(&stack.runtime_url()).await);
    // Nor does the daemon wait for it, whatever it did before.
    run(&mut cofferdam("index rebuild")).await.exits(0);
    let chain = stack.chain().await;
    let _: Value = chain.provider().raw_request("anvil_mine".into(), json!(["0x5"])).await.unwrap();
    let mut daemon = cofferdam("run --poll 10").stdout(Stdio::null()).spawn().unwrap();
    let mirror = Mirror::connect(&url, CHAIN_ID).await.unwrap();
    let there = chain.provider().get_block_number().await.unwrap();
    while mirror.checkpoint().await.unwrap().is_none_or(|at| at.number < there) {
        assert!(daemon.try_wait().unwrap().is_none(), "it ended");
        sleep(Duration::from_millis(20)).await;
    }
    daemon.kill().await.unwrap();
    let verdict = run(&mut cofferdam("index verify --full --json")).await.exits(0).json();
    assert_eq!((&verdict["agree"], &verdict["compared"]), (&json!(true), &verdict["tenants"]));
}
