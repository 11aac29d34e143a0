//! Where ranges, passes and databases break off.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::primitives::B256;
use cofferdam_contracts::RpcUrl;
use cofferdam_core::mirror::{MirrorTable, Row};
use serde_json::{Value, json};

use crate::{
    agrees,
    ground::Ground,
    history, is_whole,
    liar::{Liar, Said, asks_for_logs, with_logs},
    lies::asks_for_range,
};

/// Asks a node something in the middle of an answer, where nothing can be awaited.
fn ask_now(url: &RpcUrl, method: &str, parameters: &Value) {
    let url = url.expose();
    let at = (url.host_str().expect("a host"), url.port().expect("a port"));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": parameters });
    let body = body.to_string();
    let mut stream = TcpStream::connect(at).expect("a node");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: node\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("\"result\""), "{answer}");
}

#[tokio::test]
async fn a_reorg_at_the_boundary_of_ranges_leaves_what_the_chain_has() {
    // 192 blocks may still go: they are read in three ranges.
    let ground = Ground::start(96).await;
    ground.mine(200).await;
    history(&ground).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    for depth in [63, 64, 65, 127, 128, 129] {
        ground.reorg(depth).await;
        ground.anchor(1, 1).await;
        let done = mirrored.indexer.catch_up().await.expect("mirrored");
        assert!(done.rewound, "{depth}");
        agrees(&mirrored).await;
        ground.mine(depth / 2).await;
        ground.anchor(2, 2).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
    }
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn a_reorg_between_the_headers_and_the_logs_of_a_pass_is_no_seam() {
    let ground = Ground::start(32).await;
    ground.mine(70).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    // Above where the mirror stands, and below it.
    for depth in [2, 9] {
        ground.anchor(1, 2).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
        ground.anchor(1, 3).await;
        ground.anchor(2, 3).await;
        ground.mine(2).await;
        let (head, honest) = (json!(format!("{:#x}", ground.head().await)), honest.clone());
        let done = Arc::new(AtomicU64::new(0));
        let reorgs = done.clone();
        liar.tell(move |question, answer| {
            let is_last = question["method"] == "eth_getBlockByNumber"
                && question["params"][0] == head
                && done.fetch_add(1, Ordering::Relaxed) == 0;
            if is_last {
                ask_now(&honest, "anvil_reorg", &json!([depth, []]));
            }
            Said::Json(answer)
        });
        mirrored.indexer.catch_up().await.expect("mirrored");
        assert!(reorgs.load(Ordering::Relaxed) > 0, "{depth}");
        liar.repent();
        mirrored.indexer.catch_up().await.expect("mirrored");
        is_whole(&mirrored, &ground).await;
    }
}

#[tokio::test]
async fn to_a_shorter_fork_and_back_to_the_first() {
    let ground = Ground::start(32).await;
    ground.mine(70).await;
    history(&ground).await;
    let fork = ground.fork(ground.head().await - 6).await;
    fork.anchor(2, 1).await;
    assert!(fork.head().await < ground.head().await);
    let liar = Liar::start(ground.chain.url(), |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let (first, other) = (ground.fresh().await, fork.fresh().await);
    assert!(first != other);
    for _ in 0..2 {
        for (to, expected) in [(&fork, &other), (&ground, &first)] {
            liar.stand_before(to.chain.url());
            let done = mirrored.indexer.catch_up().await.expect("mirrored");
            assert_eq!((done.block, done.rewound), (to.head().await, true));
            assert!(mirrored.contents(to).await == *expected, "not what is there");
            agrees(&mirrored).await;
        }
    }
}

#[tokio::test]
async fn a_database_that_crashes_between_ranges_loses_no_more_than_it_says() {
    // Nearly all of it is final: ranges that are followed are not waited for on the disk.
    let ground = Ground::start(1).await;
    for _ in 0..4 {
        history(&ground).await;
        ground.mine(40).await;
    }
    let expected = ground.fresh().await;
    let mut own = ground.postgres().await;
    let mirrored = own.mirror(&ground).await;
    let liar = Liar::start(ground.chain.url(), |_, answer| Said::Json(answer)).await;
    for range in [2, 3, 3] {
        // One that has yet to learn how long a range can be.
        let indexer = ground.indexer(&mirrored.url, vec![liar.url.clone()]).await;
        let (crash, asked, gone) = (own.crash(&ground), AtomicU64::new(0), Arc::default());
        let is_gone: Arc<AtomicBool> = Arc::clone(&gone);
        liar.tell(move |question, answer| {
            if asks_for_range(question) && asked.fetch_add(1, Ordering::Relaxed) + 1 == range {
                crash();
                gone.store(true, Ordering::Relaxed);
            }
            Said::Json(answer)
        });
        let rebuilt = indexer.clone();
        let rebuilding = tokio::spawn(async move { rebuilt.rebuild().await });
        while !is_gone.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        own.restart(&ground).await;
        let _ = rebuilding.await.expect("no panic");
        liar.repent();
        // Connections that died with it are told of once each.
        while indexer.catch_up().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(mirrored.contents(&ground).await == expected, "{range}");
    }
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn verify_names_any_row_that_is_another_or_not_on_the_chain() {
    let ground = Ground::start(32).await;
    for _ in 0..2 {
        history(&ground).await;
        ground.describe(1).await;
    }
    ground.account(&Default::default(), 2).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let (rows, ..) = mirrored.contents(&ground).await;
    let liar = Liar::start(ground.chain.url(), |_, answer| Said::Json(answer)).await;
    let other = ground.indexer(&mirrored.url, vec![liar.url.clone()]).await;
    for table in MirrorTable::ALL {
        // One in the middle.
        let of: Vec<&Row> = rows.iter().filter(|row| row.event.table == table).collect();
        let row = of[of.len() / 2];
        let at = (row.position.block_number, row.position.log_index);
        let is_it = move |log: &Value| {
            let place = ["blockNumber", "logIndex"].map(|name| {
                let text = log[name].as_str().unwrap_or("0x0").trim_start_matches("0x");
                u64::from_str_radix(text, 16).expect("a number")
            });
            place == [at.0, at.1]
        };
        let said = format!("{} at block {}, log {} is mirrored", row.event.name, at.0, at.1);
        let found = async || {
            let verdict = other.verify(true, |_, _| {}).await.expect("verified");
            verdict.difference.unwrap_or_else(|| panic!("{table:?}: no difference")).what
        };
        liar.tell(move |question, answer| match asks_for_logs(question) {
            true => with_logs(answer, |logs| {
                for log in logs.iter_mut().filter(|log| is_it(log)) {
                    log["transactionHash"] = json!(B256::repeat_byte(7));
                }
            }),
            false => Said::Json(answer),
        });
        assert_eq!(found().await, format!("{said} with other members than the chain has"));
        liar.tell(move |question, answer| match asks_for_logs(question) {
            true => with_logs(answer, |logs| logs.retain(|log| !is_it(log))),
            false => Said::Json(answer),
        });
        assert_eq!(found().await, format!("{said} and not on the chain"));
    }
    liar.repent();
    agrees(&mirrored).await;
}
