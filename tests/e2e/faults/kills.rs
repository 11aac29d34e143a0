//! Killed anywhere, the next daemon takes up what this one had in hand.

use std::{process::Stdio, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::json;
use tokio::time::sleep;

use super::{
    trap::{
        Caught,
        When::{self, After, Before},
    },
    world::{TENANTS, Tally, World},
};
use crate::support::{random, seed};

/// Kills in the soak, unless `COFFERDAM_SOAK_KILLS` says how many.
const KILLS: usize = 2;
/// How long a daemon may take to come to a point; some are not on its way.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a process is killed.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// At a commit of a transaction that runs this.
    Commit(&'static str, When),
    /// At a request to the node.
    Request(&'static str, When),
    /// So long after it was started.
    Moment(Duration),
}

pub(super) const ENTRIES: &str = "INSERT INTO cofferdam.entries";
const BATCHES: &str = "INSERT INTO cofferdam.batches";
const INTENT: &str = "INSERT INTO cofferdam.transactions";
const OUTCOME: &str = "UPDATE cofferdam.transactions SET outcome";
pub(super) const MIRRORED: &str = "SELECT count(cofferdam.confirm(";
const SEND: &str = "eth_sendRawTransaction";
const RECEIPT: &str = "eth_getTransactionReceipt";

/// Before and after each of: append commit, seal, intent written, sent, receipt seen, state written.
const POINTS: [Point; 14] = [
    Point::Commit(ENTRIES, Before),
    Point::Commit(ENTRIES, After),
    Point::Commit(BATCHES, Before),
    Point::Commit(BATCHES, After),
    Point::Commit(INTENT, Before),
    Point::Commit(INTENT, After),
    Point::Request(SEND, Before),
    Point::Request(SEND, After),
    Point::Request(RECEIPT, Before),
    Point::Request(RECEIPT, After),
    Point::Commit(OUTCOME, Before),
    Point::Commit(OUTCOME, After),
    Point::Commit(MIRRORED, Before),
    Point::Commit(MIRRORED, After),
];

impl Point {
    fn trap(self, world: &World, passes: usize) -> Option<Caught> {
        match self {
            Self::Commit(of, when) => Some(world.wire.traps().set(of, when, passes)),
            Self::Request(of, when) => Some(world.rpc.traps().set(of, when, passes)),
            Self::Moment(_) => None,
        }
    }

    /// Waits until it is reached, and somebody held there, or for as long as that could take.
    async fn reached(self, trap: Option<&mut Caught>) -> bool {
        match (self, trap) {
            (Self::Moment(delay), _) => {
                sleep(delay).await;
                true
            }
            (_, Some(trap)) => trap.within(PATIENCE).await,
            (_, None) => false,
        }
    }

    /// Whether it is `append` that gets there, and not the daemon.
    fn is_of_append(self) -> bool {
        matches!(self, Self::Commit(ENTRIES, _))
    }
}

/// Kills a fresh daemon, or an `append` beside it, at a point that was reached so often before, while
/// records come in. False when the point was not reached, and it was killed where it was.
async fn kill(world: &mut World, (point, passes): (Point, usize), records: usize) -> bool {
    let daemon = world.daemon();
    let mut trap = point.trap(world, passes);
    if point.is_of_append() {
        let mut append = world.appending(records);
        let mut append = append.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let reached = point.reached(trap.as_mut()).await;
        append.kill().await.unwrap();
        drop(trap);
        // What it left is taken up by the next one, with the same records.
        world.append(records).await;
        daemon.kill().await;
        return reached;
    }
    world.append(records).await;
    let reached = point.reached(trap.as_mut()).await;
    daemon.kill().await;
    reached
}

/// The points one after another, in no particular order and without a rest between them.
#[tokio::test]
async fn i8_killed_before_and_after_each_step_nothing_is_lost_doubled_or_reordered() {
    let mut random = random("kill points");
    let mut world = World::start().await;
    let mut points = POINTS;
    points.shuffle(&mut random);
    for point in points {
        assert!(
            kill(&mut world, (point, 0), 3).await,
            "{point:?} was not reached: {}",
            world.said()
        );
    }
    let daemon = world.daemon();
    world.is_well().await;
    daemon.stop().await;
}

/// A point of the soak, one of the steps or just any moment, and how often it is let pass.
fn any(random: &mut StdRng) -> (Point, usize) {
    let point = match random.random_range(0..POINTS.len() + 4) {
        n if n < POINTS.len() => POINTS[n],
        _ => Point::Moment(Duration::from_millis(random.random_range(0..2_000))),
    };
    // Only what is done for each tenant is done more than once a round.
    let often = matches!(point, Point::Commit(ENTRIES | BATCHES, _));
    (point, if often { random.random_range(0..TENANTS.len()) } else { 0 })
}

/// `script/soak daemon` runs this with more kills and reads its last line.
#[tokio::test]
async fn i8_random_kills_lose_double_and_reorder_nothing() {
    let given = std::env::var("COFFERDAM_SOAK_KILLS").ok();
    let kills = given.map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = seed("soak");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::start().await;
    for n in 1..=kills {
        let (point, records) = (any(&mut random), random.random_range(1..20));
        let reached = kill(&mut world, point, records).await;
        println!("kill {n} of {kills}: {point:?}, reached: {reached}");
    }
    let daemon = world.daemon();
    let rests = world.rests().await;
    let Tally { lost, doubled, reordered } = world.tally().await;
    println!(
        "soak {}",
        json!({
            "kills": kills, "lost": lost, "doubled": doubled, "reordered": reordered, "seed": seed,
        })
    );
    assert_eq!([lost, doubled, reordered], [0; 3], "{rests:?}");
    world.is_well().await;
    daemon.stop().await;
}
