//! Blocks are taken back, up to twenty of them, whatever stage the newest batches are at.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use tokio::time::Duration;

use super::{
    trap::When,
    world::{TENANTS, World},
};
use crate::support::seed;

/// The deepest reorg.
const DEEPEST: u64 = 20;
/// Blocks until one is safe; twice as many until it is final. No depth reaches below what is final: the mirror
/// halts at that.
const EPOCH: u64 = DEEPEST / 2;

/// How far the newest batches have come when blocks go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sealed,
    Posted,
    Included,
    Safe,
    Final,
}

const STAGES: [Stage; 5] =
    [Stage::Sealed, Stage::Posted, Stage::Included, Stage::Safe, Stage::Final];

/// Reorgs of one chain: Anvil, after hundreds of blocks, comes out of one without the contract's code.
const TOGETHER: usize = 20;

/// Every depth once, each at one of the stages; with `COFFERDAM_SOAK_REORGS` every depth at every stage.
#[tokio::test]
async fn i8_after_a_reorg_of_any_depth_at_any_stage_every_batch_is_anchored_once() {
    let mut random = StdRng::seed_from_u64(seed("reorgs"));
    let mut all: Vec<(u64, Stage)> = match std::env::var_os("COFFERDAM_SOAK_REORGS") {
        Some(_) => (1..=DEEPEST).flat_map(|depth| STAGES.map(|stage| (depth, stage))).collect(),
        None => {
            let mut stages = STAGES.repeat(usize::try_from(DEEPEST).unwrap() / STAGES.len());
            stages.shuffle(&mut random);
            (1..=DEEPEST).zip(stages).collect()
        }
    };
    all.shuffle(&mut random);
    for some in all.chunks(TOGETHER) {
        let mut world = World::with(&["--slots-in-an-epoch", &EPOCH.to_string()]).await;
        let daemon = world.daemon();
        for (depth, stage) in some.iter().copied() {
            println!("{depth} blocks at {stage:?}");
            // What stays is deeper than what goes.
            world.is_at_rest().await;
            world.mine(DEEPEST).await;
            take_back(&mut world, depth, stage).await;
        }
        world.is_well().await;
        daemon.stop().await;
    }
}

/// Brings new batches to a stage and takes so many blocks back.
async fn take_back(world: &mut World, depth: u64, stage: Stage) {
    let reorg = async |world: &World| world.ask("anvil_reorg", json!([depth, []])).await;
    match stage {
        Stage::Sealed => {
            let mut sending = world.rpc.traps().set("eth_sendRawTransaction", When::Before, 0);
            world.append(1).await;
            assert!(sending.within(Duration::from_secs(60)).await, "{}", world.said());
            reorg(world).await;
            drop(sending);
        }
        Stage::Posted => {
            world.automine(false).await;
            world.append(1).await;
            world.pooled().await;
            reorg(world).await;
            world.automine(true).await;
            world.mine(1).await;
        }
        Stage::Included => {
            world.append(1).await;
            let all = world.acknowledged;
            let included = async || world.anchored(TENANTS[0]).await == all;
            world.until("an anchor", included).await;
            reorg(world).await;
        }
        Stage::Safe | Stage::Final => {
            world.append(1).await;
            world.is_at_rest().await;
            world.mine(if stage == Stage::Safe { EPOCH } else { 2 * EPOCH }).await;
            world.is_at_rest().await;
            reorg(world).await;
        }
    }
}
