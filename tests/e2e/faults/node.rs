//! A node that fails, lies or lags.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use super::{
    rpc::Fault,
    world::{Daemon, TENANTS, World},
};
use crate::support::{run, seed};

const SEND: &str = "eth_sendRawTransaction";
const RECEIPT: &str = "eth_getTransactionReceipt";

/// Lets records come in while requests fail as `play` says, until so many have; then heals the node and
/// demands that everything comes to rest.
async fn outlives(
    world: &mut World,
    daemon: &mut Daemon,
    what: &str,
    play: impl FnMut(&str) -> Option<Fault> + Send + 'static,
    faults: usize,
) {
    println!("{what}");
    world.rpc.play(play);
    world.append(2).await;
    let start = Instant::now();
    while world.rpc.faults() < faults {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not asked: {}", world.said());
        sleep(Duration::from_millis(20)).await;
    }
    daemon.lives();
    world.rpc.heal();
    world.rests().await.unwrap_or_else(|why| panic!("{what}: {why}\n{}", world.said()));
    world.is_whole().await;
}

#[tokio::test]
async fn i8_a_node_that_refuses_loses_lags_or_forgets_is_outlived() {
    let mut world = World::start().await;
    let mut daemon = world.working_daemon().await;
    let (it, by) = (&mut world, &mut daemon);
    outlives(it, by, "answers 429", |_| Some(Fault::Status(429)), 3).await;
    outlives(it, by, "answers 502", |_| Some(Fault::Status(502)), 3).await;
    let lost = |method: &str| (method == SEND).then_some(Fault::LoseAnswer);
    outlives(it, by, "loses the answer to a transaction", lost, 1).await;
    let without = |method: &str| (method == RECEIPT).then_some(Fault::Answer(Value::Null));
    outlives(it, by, "leaves receipts out", without, 3).await;
    outlives(it, by, "is three blocks behind", |_| Some(Fault::Behind(3)), 10).await;

    let mut random = StdRng::seed_from_u64(seed("a fickle node"));
    let fickle = move |_: &str| match random.random_range(0..6) {
        0 => Some(Fault::Status(429)),
        1 => Some(Fault::LoseAnswer),
        2 => Some(Fault::Behind(random.random_range(1..5))),
        _ => None,
    };
    outlives(it, by, "does a bit of everything", fickle, 20).await;
    world.is_well().await;
    daemon.stop().await;
}

#[tokio::test]
async fn i8_two_nodes_that_disagree_are_outlived() {
    let mut world = World::start().await;
    let _other = world.second_node().await;
    let mut daemon = world.working_daemon().await;
    let mut random = StdRng::seed_from_u64(seed("two nodes"));
    let either = move |_: &str| random.random_bool(0.5).then_some(Fault::Other);
    outlives(&mut world, &mut daemon, "two nodes answer", either, 20).await;
    world.is_well().await;
    daemon.stop().await;
}

#[tokio::test]
async fn i8_a_node_that_never_answers_is_outlived() {
    let mut world = World::start().await;
    let mut daemon = world.daemon_with(&["--rpc-timeout", "1"]);
    world.append(1).await;
    world.is_at_rest().await;
    let silent = |_: &str| Some(Fault::Silence);
    outlives(&mut world, &mut daemon, "never answers", silent, 4).await;
    world.is_well().await;
    daemon.stop().await;
}

#[tokio::test]
async fn i9_a_node_that_turns_to_another_chain_halts_everything() {
    let mut world = World::start().await;
    let mut daemon = world.working_daemon().await;
    world.rpc.play(|method| (method == "eth_chainId").then(|| Fault::Answer(json!("0x1"))));
    let all_halted = async |world: &World| world.stack.json("status").await["halted"].clone();
    world.until("that everything is halted", async || all_halted(&world).await.is_string()).await;
    let why = all_halted(&world).await;
    assert!(why.as_str().unwrap().starts_with("other-chain"), "{why}");
    // It stays halted when the node is itself again: that is for an operator to decide.
    world.rpc.heal();
    let anchored = world.anchored(TENANTS[0]).await;
    world.append(1).await;
    sleep(Duration::from_millis(500)).await;
    daemon.lives();
    assert!(all_halted(&world).await.is_string());
    assert_eq!(world.anchored(TENANTS[0]).await, anchored);
    world.stack.json("incident resolve --everything --yes").await;
    world.is_at_rest().await;
    world.is_whole().await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_daemon_waits_for_a_node_and_a_database_that_come_after_it() {
    let mut world = World::start().await;
    world.stop_postgres(false).await;
    world.rpc.play(|_| Some(Fault::Status(429)));
    let mut daemon = world.daemon();
    world.until("a word about the node", async || world.said().contains("429")).await;
    world.rpc.heal();
    world
        .until("a word about the database", async || world.said().contains("cannot connect"))
        .await;
    daemon.lives();
    world.start_postgres().await;
    world.append(1).await;
    world.is_well().await;
    daemon.stop().await;
    // What no waiting helps against is said at once.
    let mut other = world.cofferdam("run --chain-id 1");
    run(&mut other).await.fails_saying(1, &["serves chain 31337, not chain 1"]);
    world.rpc.play(|_| Some(Fault::Status(401)));
    run(&mut world.cofferdam("run")).await.fails_saying(1, &["401", "check the key"]);
}
