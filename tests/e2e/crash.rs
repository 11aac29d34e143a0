//! Killed at any moment, the next run takes up where the last one was.

use std::{process::Stdio, time::Duration};

use cofferdam_core::FieldName;
use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{LIMIT, Stack, random, record, run};

const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const KILLS: usize = 8;
/// Records of each tenant that every round adds, so that there is always work to be killed in.
const STEP: usize = 80;

/// All records up to a number, the tenants' own mixed.
fn log(upto: usize) -> String {
    (0..upto).flat_map(|n| TENANTS.map(|tenant| record(tenant, n))).collect()
}

#[tokio::test]
async fn killed_at_random_moments_nothing_is_lost_doubled_or_reordered() {
    let mut random = random("crash");
    let stack = Stack::start().await;
    let devnet = |upto: usize| {
        let mut devnet = stack.devnet();
        devnet.args(["--seal-entries", "16"]).arg(stack.file("log.ndjson", log(upto)));
        devnet
    };
    let (mut kills, mut upto) = (0, 0);
    // The latest moment of a kill: brought forward whenever a run ends before it.
    let mut longest = Duration::from_secs(3);
    let start = Instant::now();
    while kills < KILLS {
        assert!(start.elapsed() < LIMIT, "{kills} kills only");
        upto += STEP;
        let mut child = devnet(upto).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let delay = longest.mul_f64(random.random_range(0.02..1.0));
        match timeout(delay, child.wait()).await {
            Ok(ended) => {
                assert!(ended.unwrap().success(), "a run that nobody killed failed");
                longest = longest.min(delay).mul_f64(0.9);
            }
            Err(_) => {
                // SIGKILL: nothing of the program runs after it.
                child.kill().await.unwrap();
                kills += 1;
                println!("kill {kills} after {delay:?} with {upto} records a tenant");
            }
        }
    }
    let report = run(&mut devnet(upto)).await.exits(0).json();
    assert_eq!(report["entries"], TENANTS.len() * upto);
    assert_eq!(report["verified"], report["entries"]);
    assert_eq!([&report["anchored"], &report["mirrored"]], [&report["batches"]; 2]);
    assert_eq!(report["failed"], 0);

    let snapshot = stack.snapshot().await;
    assert!(snapshot.incidents.is_empty(), "{:?}", snapshot.incidents);
    assert_eq!(snapshot.heads.len(), TENANTS.len());
    let chain = stack.chain().await;
    let head = chain.head().await.unwrap().number;
    for tenant in TENANTS {
        let log = snapshot.named(tenant);
        assert_eq!(log.entries.len(), upto);
        for (n, entry) in log.entries.iter().enumerate() {
            // In the order of the input: nothing overtakes, nothing is doubled.
            assert_eq!(entry.seq.get(), n as u64);
            let value: serde_json::Value = serde_json::from_str(&record(tenant, n)).unwrap();
            let field = |name| entry.fields.get(name);
            assert_eq!(field(FieldName::ExternalId), value["external_id"]);
            assert_eq!(field(FieldName::Payload), value["payload"].to_string());
            assert_eq!(field(FieldName::Resource), value["resource"]);
        }
        let mut next = 0;
        for (batch, event) in log.batches.iter().zip(&log.anchored) {
            assert_eq!((batch.first_seq.get(), batch.count), (next, event.count));
            assert_eq!((batch.index, batch.root), (event.index, event.root));
            next += batch.count;
        }
        assert_eq!(next as usize, upto);
        let id = snapshot.heads.iter().find(|head| head.name == tenant).unwrap().tenant;
        let events = chain.anchored(id, 0, head).await.unwrap();
        assert_eq!(events.len(), log.anchored.len());
    }
}

#[tokio::test]
async fn a_killed_append_is_finished_by_the_next() {
    let mut random = random("killed append");
    let stack = Stack::with(&record("acme", 0)).await;
    let count = 20_000;
    let log: String = (0..count).map(|n| record("acme", n)).collect();
    let path = stack.file("log.ndjson", log);
    let mut sizes = vec![];
    for _ in 0..4 {
        let mut append = stack.cofferdam("append");
        append.arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = append.spawn().unwrap();
        sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        child.kill().await.unwrap();
        sizes.push(stack.snapshot().await.named("acme").entries.len());
    }
    println!("entries after each kill: {sizes:?}");
    assert!(sizes.is_sorted(), "entries were lost");
    run(stack.cofferdam("append").arg(&path)).await.exits(0);
    let snapshot = stack.snapshot().await;
    let entries = &snapshot.named("acme").entries;
    assert_eq!(entries.len(), count);
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.seq.get(), n as u64);
        assert_eq!(entry.fields.get(FieldName::ExternalId), format!("acme-{n:05}"));
    }
}
