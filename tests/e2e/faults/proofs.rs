//! A node forgets the state that a receipt's proof is made of; the daemon kept it.

use std::time::{Duration, SystemTime};

use alloy::{
    primitives::{Bytes, keccak256},
    providers::Provider,
};
use cofferdam_anchorer::{Keeper, Kept};
use cofferdam_contracts::{Chain, Expected};
use cofferdam_store::{Finality, Sealer};
use serde_json::{Value, json};

use super::{
    rpc::Fault,
    world::{TENANTS, World},
};
use crate::support::{CHAIN_ID, program, records, run};

/// Blocks until one is final.
const FINAL: u64 = 8;

async fn world() -> World {
    World::with(&["--slots-in-an-epoch", &(FINAL / 2).to_string()]).await
}

#[tokio::test]
async fn a_receipt_is_proven_by_what_was_kept_once_the_node_has_forgotten() {
    let mut world = world().await;
    world.rpc.play(|_| Some(Fault::Pruned(3)));
    let made = run(&mut world.cofferdam("receipt --tenant acme --seq 0")).await.exits(0);
    let forgotten: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!(
        [&forgotten["state"], &forgotten["lacks"]],
        [&json!("final"), &json!(["proofBlock"])]
    );

    let sealer = Sealer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    let daemon = world.daemon();
    world
        .until("that proofs are taken", async || {
            sealer.unsettled_proofs(u32::MAX.into(), 9).await.unwrap().len() == TENANTS.len()
        })
        .await;
    world.mine(FINAL).await;
    world
        .until("that they are kept", async || {
            sealer.unsettled_proofs(u32::MAX.into(), 9).await.unwrap().is_empty()
        })
        .await;
    daemon.stop().await;
    world.mine(FINAL).await;
    let mut without_node = world.cofferdam("receipt --tenant acme --seq 0");
    without_node.env_remove("RPC_URL").env("CHAIN_ID", CHAIN_ID.to_string());
    for mut make in [world.cofferdam("receipt --tenant acme --seq 0"), without_node] {
        let made = run(&mut make).await.exits(0);
        let receipt: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!([&receipt["state"], &receipt["lacks"]], [&json!("final"), &json!([])]);
        let header: Bytes = receipt["proofBlock"]["header"].as_str().unwrap().parse().unwrap();
        let hash = keccak256(&header);
        let block = world.chain.provider().get_block_by_hash(hash).await.unwrap();
        let number = block.expect("a block of the chain").header.number;
        assert!(number > receipt_block(&receipt), "{number} is not later than the batch's");
        let policy = json!({
            "chainId": CHAIN_ID, "contract": world.chain.contract(),
            "codeHash": world.chain.code_hash(), "blockHashes": [hash],
        });
        let mut verify = program();
        verify.args(["verify", "--json", "--policy"]);
        verify.arg(world.stack.file("pinned.json", policy.to_string()));
        verify.arg(world.stack.file("receipt.json", receipt.to_string()));
        assert_eq!(run(&mut verify).await.exits(0).json()["level"], 2);
    }
}

fn receipt_block(receipt: &Value) -> u64 {
    receipt["anchor"]["blockNumber"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_proof_is_kept_once_final_dropped_by_a_reorg_and_renewed_daily() {
    const HOUR: Duration = Duration::from_secs(3600);
    let world = world().await;
    let sealer = Sealer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    let url = world.rpc.url().clone().into();
    let keeper = Keeper::new(Chain::connect(&url, Expected::default()).await.unwrap(), 24 * HOUR);
    let now = SystemTime::now();
    let round = async |after: Duration| keeper.round(&sealer, now + after).await.unwrap();
    let finish = async || {
        world.mine(FINAL).await;
        let head = world.chain.head().await.unwrap().number;
        let at = Finality { head, safe: head - FINAL / 2, last_final: head - FINAL };
        sealer.set_finality(at).await.unwrap();
    };
    let nothing = Kept::default();
    let taken = |taken| Kept { taken, ..nothing };

    // One tenant's trouble is nobody else's, and is not tried again at once.
    let mut first = true;
    world.rpc.play(move |method| {
        (method == "eth_getProof" && std::mem::take(&mut first)).then_some(Fault::Status(500))
    });
    assert_eq!(round(Duration::ZERO).await, Kept { failed: 1, ..taken(2) });
    assert_eq!(round(Duration::from_secs(1)).await, nothing);
    assert_eq!(round(HOUR).await, taken(1));

    // Their block goes: they are dropped, and others taken.
    world.ask("anvil_reorg", json!([1, []])).await;
    finish().await;
    assert_eq!(round(HOUR).await, Kept { dropped: 3, ..taken(3) });
    finish().await;
    assert_eq!(round(HOUR).await, Kept { settled: 3, ..nothing });

    // A day later whoever anchored something is due, and nobody else.
    let more = world.stack.file("more.ndjson", records("acme", 2..3));
    run(world.cofferdam("append").arg(more)).await.exits(0);
    for command in ["anchor --once", "index --once"] {
        run(&mut world.cofferdam(command)).await.exits(0);
    }
    assert_eq!(round(24 * HOUR).await, nothing);
    assert_eq!(round(26 * HOUR).await, taken(1));
    finish().await;
    assert_eq!(round(26 * HOUR).await, Kept { settled: 1, ..nothing });
    let reader = world.stack.reader().await;
    for (name, batches) in TENANTS.into_iter().zip([2, 1, 1]) {
        let mut tx = reader.tenant(world.stack.tenant(name).await).await.unwrap();
        let (_, proof) = tx.kept_proof().await.unwrap().expect("a proof");
        assert_eq!(proof.claimed_head().batches, batches, "{name}");
    }
}
