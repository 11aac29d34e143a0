//! What a node's pool says to the daemon's transactions, and how much of a block they may take.

use std::time::Duration;

use alloy::primitives::U256;
use cofferdam_anchorer::PostPolicy;
use cofferdam_contracts::{Chain, Expected};
use cofferdam_store::{Intent, Outcome};

use crate::{
    faults::rpc::{Fault, Rpc},
    posting::{World, posting},
    support::records,
};

const SEND: &str = "eth_sendRawTransaction";

/// A world whose daemon asks its node through what can be made to fail.
async fn behind_a_proxy(records: &str) -> (World, Rpc) {
    let mut world = World::with(records).await;
    let rpc = Rpc::start(vec![world.stack.anvil.rpc_url().clone()]).await;
    world.chain = Chain::connect(&rpc.url().clone().into(), Expected::default()).await.unwrap();
    (world, rpc)
}

async fn newest(world: &World) -> Intent {
    let intents = world.sealer.unsettled().await.unwrap();
    intents.into_iter().max_by_key(|intent| intent.nonce).unwrap()
}

#[tokio::test]
async fn what_a_pool_refuses_is_offered_again_and_anchored_once() {
    let (world, rpc) = behind_a_proxy(&records("acme", 0..2)).await;
    let daemon = world.daemon_of(world.anchorer(posting())).await;
    world.settled(2).await;
    let words = [
        (-32000, "replacement transaction underpriced"),
        (-32000, "transaction underpriced: tip needed 5, tip permitted 1"),
        (-32000, "already known"),
        (-32000, "nonce too low: next nonce 99, tx nonce 8"),
        (-32003, "txpool is full"),
    ];
    for (entries, (code, word)) in (3..).zip(words) {
        rpc.play(move |method| (method == SEND).then_some(Fault::Refusal(code, word)));
        let all = entries as usize;
        world.append("acme", all - 1..all).await;
        world.until(word, async || (rpc.faults() >= 4).then_some(())).await;
        let refused = newest(&world).await;
        assert_eq!(refused.outcome, Outcome::Open, "{word}");
        // A pool that wants more is offered more.
        assert!(refused.attempts.len() > 1 || !word.contains("underpriced"), "{word}: {refused:?}");
        rpc.heal();
        world.settled(entries).await;
        let after = newest(&world).await;
        assert_eq!((after.id, after.nonce), (refused.id, refused.nonce), "{word}");
        world.each_once("acme").await;
    }

    // What a node will not simulate is not sent.
    rpc.play(|method| (method == "eth_estimateGas").then_some(Fault::Status(503)));
    let before = newest(&world).await.nonce;
    world.append("acme", 7..8).await;
    world.until("estimates", async || (rpc.faults() >= 3).then_some(())).await;
    assert_eq!(newest(&world).await.nonce, before);
    rpc.heal();
    world.settled(8).await;
    world.each_once("acme").await;
    daemon.end().await;
}

#[tokio::test]
async fn whichever_attempt_is_mined_it_is_the_one_that_counts() {
    let (world, rpc) = behind_a_proxy(&records("acme", 0..2)).await;
    let daemon = world.daemon_of(world.anchorer(posting())).await;
    world.settled(2).await;
    world.automine(false).await;
    world.append("acme", 2..3).await;
    let first = world.pending().await;
    let price = U256::from(first.attempts[0].max_fee * 3);
    world.ask("anvil_setNextBlockBaseFeePerGas", [price]).await;
    world.mine().await;
    world
        .until("a raised fee", async || (newest(&world).await.attempts.len() > 1).then_some(()))
        .await;
    // The node loses the dearer one, has the first again from somebody, and takes no other.
    rpc.play(|method| (method == SEND).then_some(Fault::Status(503)));
    for attempt in newest(&world).await.attempts {
        world.ask("anvil_dropTransaction", [attempt.hash]).await;
    }
    // Less than it offers, whatever the network asked then.
    world.ask("anvil_setNextBlockBaseFeePerGas", [U256::from(7)]).await;
    world.ask_node(SEND, [first.attempts[0].raw.clone()]).await;
    world.mine().await;
    let mined = world
        .until("the first attempt's receipt", async || {
            let newest = newest(&world).await;
            matches!(newest.outcome, Outcome::Mined { .. }).then_some(newest)
        })
        .await;
    assert!(
        matches!(mined.outcome, Outcome::Mined { hash, .. } if hash == first.attempts[0].hash),
        "{mined:?}"
    );
    rpc.heal();
    world.automine(true).await;
    world.settled(3).await;
    world.append("acme", 3..4).await;
    world.settled(4).await;
    assert_eq!(newest(&world).await.nonce, first.nonce + 1, "nothing was sent for it again");
    world.each_once("acme").await;

    // Nothing is sent over the ceiling.
    let over = U256::from(posting().max_fee * 2);
    world.ask("anvil_setNextBlockBaseFeePerGas", [over]).await;
    world.mine().await;
    world.append("acme", 4..5).await;
    world
        .until("a word about the ceiling", async || {
            let waiting = world.sealer.leader().await.unwrap()?.waiting?;
            waiting.contains("the ceiling is").then_some(())
        })
        .await;
    assert_eq!(newest(&world).await.nonce, first.nonce + 1);
    world.ask("anvil_setNextBlockBaseFeePerGas", [U256::from(1_000_000_000)]).await;
    world.mine().await;
    world.settled(5).await;
    world.each_once("acme").await;
    daemon.end().await;
}

#[tokio::test]
async fn what_a_block_has_no_room_for_goes_into_several_and_depth_stands_in_for_tags() {
    let names: Vec<_> = (0..9).map(|n| format!("t{n}")).collect();
    let all: String = names.iter().map(|name| records(name, 0..1)).collect();
    let (world, rpc) = behind_a_proxy(&all).await;
    rpc.play(|method| (method == "eth_getBlockByNumber").then_some(Fault::Tagless));
    let policy = PostPolicy { final_depth: 40, patience: Duration::from_secs(60), ..posting() };
    let daemon = world.daemon_of(world.anchorer(policy)).await;
    world.settled(9).await;
    let before = newest(&world).await.nonce;
    // Enough for two or three of them, at what one takes.
    world.ask("evm_setBlockGasLimit", [U256::from(200_000)]).await;
    world.mine().await;
    let more: String = names.iter().map(|name| records(name, 1..2)).collect();
    world.stack.append(&more).await;
    world.settled(18).await;
    let sent = newest(&world).await.nonce - before;
    assert!((2..9).contains(&sent), "{sent} transactions");
    for name in &names {
        world.each_once(name).await;
    }
    let stages = async || {
        let stages = world.sealer.stages().await.unwrap();
        let sum = |of: fn(&cofferdam_store::Stages) -> u64| stages.values().map(of).sum::<u64>();
        (sum(|it| it.safe), sum(|it| it.last_final))
    };
    assert_eq!(stages().await, (0, 0));
    for _ in 0..21 {
        world.mine().await;
    }
    world.until("safe", async || (stages().await == (18, 0)).then_some(())).await;
    for _ in 0..20 {
        world.mine().await;
    }
    world.until("final", async || (stages().await == (18, 18)).then_some(())).await;
    daemon.end().await;
}
