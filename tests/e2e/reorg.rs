//! The chain takes blocks back.

use alloy::providers::Provider;
use cofferdam_core::{FieldName, TenantId};
use serde_json::Value;

use crate::support::{Stack, program, records, run};

/// Replaces the newest blocks by empty ones; what they held does not come back to the pool.
async fn reorg(stack: &Stack, depth: u64) {
    let no_transactions: [(); 0] = [];
    let chain = stack.chain().await;
    let request =
        chain.provider().raw_request::<_, Value>("anvil_reorg".into(), (depth, no_transactions));
    request.await.unwrap();
}

/// How many blocks must go for this one to go.
async fn depth_of(stack: &Stack, block: u64) -> u64 {
    stack.chain().await.head().await.unwrap().number - block + 1
}

/// The indices of the batches that the chain itself says are anchored, with their blocks.
async fn on_chain(stack: &Stack, tenant: TenantId) -> Vec<u64> {
    let chain = stack.chain().await;
    let head = chain.head().await.unwrap().number;
    let events = chain.anchored(tenant, 0, head).await.unwrap();
    let index = |event| match event {
        cofferdam_contracts::Event::Anchored(batch) => batch.index.get(),
        other => panic!("{other:?}"),
    };
    events.into_iter().map(|logged| index(logged.event)).collect()
}

#[tokio::test]
async fn batches_whose_block_is_gone_are_anchored_again_once() {
    let stack = Stack::with(&(records("acme", 0..5) + &records("globex", 0..3))).await;
    stack.append(&(records("acme", 5..9) + &records("globex", 3..4))).await;
    stack.anchor().await;
    let before = stack.snapshot().await;
    let tenants = ["acme", "globex"];
    let receipt = run(&mut stack.cofferdam("receipt --tenant acme --seq 7")).await.exits(0).stdout;
    let receipt = stack.file("receipt.json", receipt);
    let audit = || {
        let mut audit = program();
        audit.arg("verify").arg(&receipt).arg("--policy").arg(stack.data().join("verifier.json"));
        audit
    };
    run(&mut audit()).await.exits(0);

    // The block of the second batches goes, the block of the first ones stays.
    let [first, second] = [0, 1].map(|n| before.named("acme").anchored[n].position.block_number);
    assert!(first < second);
    reorg(&stack, depth_of(&stack, second).await).await;
    run(&mut audit()).await.fails_saying(1, &["INVALID"]);

    let indexed = stack.json("index --once").await;
    assert_eq!((&indexed["rewound"], &indexed["incidents"]), (&true.into(), &0.into()));
    let rewound = stack.snapshot().await;
    assert!(rewound.incidents.is_empty(), "{:?}", rewound.incidents);
    for tenant in tenants {
        let (log, was) = (rewound.named(tenant), before.named(tenant));
        assert_eq!(log.anchored, was.anchored[..1]);
        assert_eq!(log.entries, was.entries);
        assert_eq!(log.batches[0], was.batches[0]);
        assert_eq!((log.batches[1].root, log.batches[1].anchored), (was.batches[1].root, None));
    }
    let pending = stack.json("verify").await;
    assert_eq!([&pending["verified"], &pending["pending"], &pending["failed"]], [8, 5, 0]);

    let anchored = stack.json("anchor --once").await;
    assert_eq!([&anchored["sealed"], &anchored["anchored"]], [0, 2]);
    stack.json("index --once").await;
    all_is_well(&stack, &tenants).await;
    // The entry is anchored, but not where the old receipt says.
    run(&mut audit()).await.fails_saying(1, &["INVALID"]);
    let again = stack.json("anchor --once").await;
    assert_eq!([&again["sealed"], &again["anchored"], &again["transactions"]], [0, 0, 0]);
}

#[tokio::test]
async fn a_reorg_before_the_mirror_has_seen_the_block_is_no_reorg_to_it() {
    let stack = Stack::with(&records("acme", 0..3)).await;
    stack.append(&records("acme", 3..5)).await;
    stack.json("anchor --once").await;
    reorg(&stack, 1).await;
    // Nobody has mirrored the anchoring; the next round sees that the contract lacks it.
    let anchored = stack.json("anchor --once").await;
    assert_eq!([&anchored["sealed"], &anchored["anchored"]], [0, 1]);
    stack.json("index --once").await;
    all_is_well(&stack, &["acme"]).await;
}

#[tokio::test]
async fn everything_but_the_contract_can_go() {
    let stack = Stack::with(&records("acme", 0..3)).await;
    let before = stack.snapshot().await;
    let block = before.named("acme").anchored[0].position.block_number;
    // The tenant's consent to its anchorer goes too: one block before.
    reorg(&stack, depth_of(&stack, block).await + 1).await;
    let indexed = stack.json("index --once").await;
    assert_eq!(indexed["rewound"], true);
    let round = run(&mut stack.cofferdam("anchor --once")).await;
    round.fails_saying(1, &["no anchorer is set on the chain", "its authority must"]);

    // Given again, the batch goes out.
    stack.append(&records("acme", 3..4)).await;
    stack.anchor().await;
    all_is_well(&stack, &["acme"]).await;
    let after = stack.snapshot().await;
    let (was, is) = (&before.named("acme").entries, &after.named("acme").entries);
    assert!(*was == is[..3], "the entries changed");
}

/// Every batch is on the chain once, mirrored once, and every entry verified.
async fn all_is_well(stack: &Stack, tenants: &[&str]) {
    let after = stack.snapshot().await;
    assert!(after.incidents.is_empty(), "{:?}", after.incidents);
    for name in tenants {
        let log = after.named(name);
        let indices: Vec<u64> = (0..log.batches.len() as u64).collect();
        assert_eq!(on_chain(stack, stack.tenant(name).await).await, indices);
        let mirrored: Vec<_> = log.anchored.iter().map(|event| event.index.get()).collect();
        assert_eq!(mirrored, indices);
        for (sealed, event) in log.batches.iter().zip(&log.anchored) {
            assert_eq!(sealed.anchored.map(|it| it.position), Some(event.position));
            assert_eq!((sealed.root, sealed.count), (event.root, event.count));
        }
        let ids = log.entries.iter().map(|entry| entry.fields.get(FieldName::ExternalId));
        assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), log.entries.len());
    }
    let verdict = stack.json("verify").await;
    assert_eq!(verdict["verified"], verdict["entries"]);
    assert_eq!([&verdict["pending"], &verdict["failed"]], [0, 0]);
}
