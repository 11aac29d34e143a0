//! How far each batch is, as `status` and the metrics say it, while it goes from stage to stage and back.

use std::time::Duration;

use alloy::primitives::U256;
use serde_json::json;

use crate::{
    faults::{
        costs::{paid, quantity, receipts},
        leaders::ANCHORER,
        rpc::Fault,
        trap::When,
        world::World,
    },
    operate::{free, get, metric},
};

/// Blocks until one is safe; twice as many until it is final.
const EPOCH: u64 = 4;
/// Tenants of every world.
const TENANTS: u64 = 3;
/// What an entry can be, as `status` names it and as the metrics do.
const STAGES: [(&str, &str); 6] = [
    ("entries", "appended"),
    ("sealed", "sealed"),
    ("posted", "posted"),
    ("included", "included"),
    ("safe", "safe"),
    ("final", "final"),
];

/// A daemon's words to whoever watches it.
struct Watched<'a> {
    world: &'a World,
    at: &'a str,
}

impl Watched<'_> {
    async fn metrics(&self) -> String {
        get(self.at, "/metrics").await.expect("an answer").1
    }

    /// Waits until so many entries of each tenant are that far, by `status`, and by the metrics in all; and until
    /// these say what goes with that of what waits and of what is under way.
    async fn comes_to(&self, expected: [u64; 6]) {
        let status = async || {
            let status = self.world.stack.json("status").await;
            let of = |tenant: &serde_json::Value| STAGES.map(|it| tenant[it.0].as_u64().unwrap());
            status["tenants"].as_array().unwrap().iter().all(|it| of(it) == expected)
        };
        self.world.until(&format!("{expected:?} in `status`"), status).await;
        let shown = async || {
            let text = self.metrics().await;
            let of = |name: &str| metric(&text, &format!("cofferdam_{name}"));
            let all = STAGES.iter().zip(expected).all(|((_, stage), each)| {
                of(&format!("entries{{stage=\"{stage}\"}}")) == Some((each * TENANTS) as f64)
            });
            let [_, sealed, posted, included, ..] = expected;
            all && of("waiting_seconds{for=\"seal\"}") == Some(0.0)
                && of("waiting_seconds{for=\"anchor\"}").map(|age| age > 0.0)
                    == Some(included < sealed)
                && of("transactions_open").map(|open| open == 1.0) == Some(included < posted)
        };
        self.world.until(&format!("{expected:?} in the metrics"), shown).await;
    }

    /// Waits until these metrics are so.
    async fn shows(&self, all: &[(&str, f64)]) {
        let shown = async || {
            let text = self.metrics().await;
            all.iter()
                .all(|(name, value)| metric(&text, &format!("cofferdam_{name}")) == Some(*value))
        };
        self.world.until(&format!("{all:?}"), shown).await;
    }

    /// Waits until `/readyz` answers so, in these words.
    async fn is_ready(&self, status: u16, words: &str) {
        let answers = async || {
            let (code, said) = get(self.at, "/readyz").await.expect("an answer");
            code == status && said.contains(words)
        };
        self.world.until(&format!("{status} and {words:?} from /readyz"), answers).await;
    }
}

#[tokio::test]
async fn a_batch_is_seen_at_every_stage_and_a_reorg_puts_it_back() {
    let mut world = World::with(&["--slots-in-an-epoch", &EPOCH.to_string()]).await;
    let at = free().await;
    // What every world begins with is final. A further entry of each tenant is sealed, and no further.
    world.automine(false).await;
    let mut intent = world.wire.traps().set("INSERT INTO cofferdam.transactions", When::Before, 0);
    world.append(1).await;
    let daemon = world.daemon_with(&["--listen", &at]);
    assert!(intent.within(Duration::from_secs(60)).await, "{}", world.said());
    let watched = Watched { world: &world, at: &at };
    watched.comes_to([3, 3, 2, 2, 2, 2]).await;
    drop(intent);
    world.pooled().await;
    watched.comes_to([3, 3, 3, 2, 2, 2]).await;
    watched.is_ready(200, "ready").await;

    // Taken back by a reorg, once right after it came and once when it was safe, it is posted again.
    for on_top in [0, EPOCH] {
        world.mine(1 + on_top).await;
        let safe = if on_top == 0 { 2 } else { 3 };
        watched.comes_to([3, 3, 3, 3, safe, 2]).await;
        world.ask("anvil_reorg", json!([1 + on_top, []])).await;
        watched.comes_to([3, 3, 3, 2, 2, 2]).await;
        world.pooled().await;
    }
    world.mine(1 + 2 * EPOCH).await;
    watched.comes_to([3; 6]).await;

    // What is known of chain and wallet is what the node says, and the sums are those of the receipts.
    let head = world.chain.head().await.unwrap().number;
    let blocks = [
        ("block{is=\"head\"}", head as f64),
        ("block{is=\"mirrored\"}", head as f64),
        ("block{is=\"safe\"}", (head - EPOCH) as f64),
        ("block{is=\"final\"}", (head - 2 * EPOCH) as f64),
    ];
    watched.shows(&blocks).await;
    let payer = ANCHORER;
    let balance = quantity(&world.ask("eth_getBalance", json!([payer, "latest"])).await);
    let receipts = receipts(&world).await;
    let gas: U256 = receipts.iter().map(|it| quantity(&it["gasUsed"])).sum();
    let fee: U256 = receipts.iter().map(paid).sum();
    let lines = [
        format!("cofferdam_balance_wei{{address=\"{payer}\"}} {balance}\n"),
        format!("cofferdam_gas_used_total {gas}\n"),
        format!("cofferdam_fee_wei_total {fee}\n"),
    ];
    for line in lines {
        let text = watched.metrics().await;
        assert!(text.contains(&line), "{line} in\n{text}");
    }

    // What is needed goes away and comes back.
    let up = ["up{part=\"chain\"}", "up{part=\"database\"}"];
    watched.is_ready(200, "ready").await;
    let failed = metric(&watched.metrics().await, "cofferdam_steps_failed_total").unwrap();
    world.rpc.play(|_| Some(Fault::Status(502)));
    watched.is_ready(503, "the chain: ").await;
    watched.shows(&[(up[0], 0.0), (up[1], 1.0)]).await;
    let now = metric(&watched.metrics().await, "cofferdam_steps_failed_total").unwrap();
    assert!(now > failed, "{now} steps failed, as before");
    world.rpc.heal();
    watched.is_ready(200, "ready").await;
    world.wire.is_full(true);
    watched.is_ready(503, "the database: ").await;
    watched.shows(&[(up[0], 1.0), (up[1], 0.0)]).await;
    assert_eq!(get(&at, "/healthz").await.unwrap().0, 200);
    world.wire.is_full(false);
    watched.is_ready(200, "ready").await;

    // What is not due to be sealed yet waits, and is told of.
    world.stack.json("tenant set acme --seal-age 3600").await;
    world.automine(true).await;
    world.append(1).await;
    let watched = Watched { world: &world, at: &at };
    watched
        .shows(&[("entries{stage=\"appended\"}", 12.0), ("entries{stage=\"included\"}", 11.0)])
        .await;
    assert!(
        metric(&watched.metrics().await, "cofferdam_waiting_seconds{for=\"seal\"}") > Some(0.0)
    );
    daemon.stop().await;
}
