//! Two of the same at the same time double nothing.

use crate::support::{Outcome, Stack, records, run};

/// What two runs of a command at the same moment did.
async fn twice(stack: &Stack, command: &str) -> [Outcome; 2] {
    let (mut first, mut second) = (stack.cofferdam(command), stack.cofferdam(command));
    let (first, second) = tokio::join!(run(first.arg("--json")), run(second.arg("--json")));
    [first, second]
}

#[tokio::test]
async fn two_anchorers_anchor_every_batch_once() {
    let names: Vec<String> = (0..4).map(|n| format!("tenant-{n}")).collect();
    let all = |range: std::ops::Range<usize>| {
        names.iter().map(|name| records(name, range.clone())).collect::<String>()
    };
    let stack = Stack::with(&all(0..2)).await;
    for round in 1..5 {
        stack.append(&all(2 * round..2 * round + 2)).await;
        let outcomes = twice(&stack, "anchor --once --seal-entries 1").await;
        // One may find its nonce taken, or a batch sealed by the other, and say so; nobody panics.
        for outcome in &outcomes {
            assert!(matches!(outcome.code, Some(0 | 1)), "{outcome:?}");
            assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        }
        assert!(outcomes.iter().any(|it| it.code == Some(0)), "both failed: {outcomes:?}");
    }
    // What a loser left is taken up.
    stack.anchor().await;

    let snapshot = stack.snapshot().await;
    assert!(snapshot.incidents.is_empty(), "{:?}", snapshot.incidents);
    let chain = stack.chain().await;
    let head = chain.head().await.unwrap().number;
    for name in &names {
        let log = snapshot.named(name);
        assert_eq!(log.entries.len(), 10);
        assert_eq!(log.batches.iter().map(|batch| batch.count).sum::<u64>(), 10);
        assert_eq!(log.anchored.len(), log.batches.len());
        let tenant = stack.tenant(name).await;
        let events = chain.anchored(tenant, 0, head).await.unwrap();
        assert_eq!(events.len(), log.batches.len(), "{name} on the chain");
    }
    let verdict = stack.json("verify").await;
    assert_eq!([&verdict["verified"], &verdict["failed"]], [40, 0]);
}

#[tokio::test]
async fn two_appends_of_the_same_records_append_them_once() {
    let stack = Stack::with(&records("acme", 0..1)).await;
    let path = stack.file("log.ndjson", records("acme", 0..3_000));
    let outcomes = twice(&stack, &format!("append {}", path.display())).await;
    let mut sums = [0, 0];
    for outcome in outcomes {
        let report = outcome.exits(0).json();
        for (sum, name) in sums.iter_mut().zip(["appended", "repeated"]) {
            *sum += report[name].as_u64().unwrap();
        }
    }
    assert_eq!(sums, [2_999, 3_001]);
    let log = stack.snapshot().await;
    let seqs: Vec<u64> = log.named("acme").entries.iter().map(|it| it.seq.get()).collect();
    assert_eq!(seqs, (0..3_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_indexers_mirror_every_event_once() {
    let stack = Stack::with(&records("acme", 0..1)).await;
    for round in 1..6 {
        stack.append(&records("acme", round..round + 1)).await;
        stack.json("anchor --once").await;
        let outcomes = twice(&stack, "index --once").await;
        assert!(outcomes.iter().any(|it| it.code == Some(0)), "both failed: {outcomes:?}");
    }
    stack.json("index --once").await;
    let after = stack.snapshot().await;
    let indices: Vec<u64> =
        after.named("acme").anchored.iter().map(|event| event.index.get()).collect();
    assert_eq!(indices, (0..6).collect::<Vec<_>>());
    assert!(after.incidents.is_empty(), "{:?}", after.incidents);
}
