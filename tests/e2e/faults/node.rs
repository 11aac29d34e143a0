//! A node that fails, lies or lags.

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Duration, Instant, sleep};

use super::{
    rpc::Fault,
    world::{Daemon, World},
};
use crate::support::seed;

const SEND: &str = "eth_sendRawTransaction";

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
