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
        world::{TENANTS, World},
    },
    operate::{free, get, metric},
};

/// Blocks until one is safe; twice as many until it is final.
const EPOCH: u64 = 4;
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

    /// Waits until so many entries of each tenant are that far: by `status`, and by the metrics in all.
    async fn comes_to(&self, expected: [u64; 6]) {
        let status = async || {
            let status = self.world.stack.json("status").await;
            let of = |tenant: &serde_json::Value| STAGES.map(|it| tenant[it.0].as_u64().unwrap());
            status["tenants"].as_array().unwrap().iter().all(|it| of(it) == expected)
        };
        self.world.until(&format!("{expected:?} in `status`"), status).await;
        for ((_, stage), each) in STAGES.into_iter().zip(expected) {
            let all = (each * TENANTS.len() as u64) as f64;
            self.shows(&format!("entries{{stage=\"{stage}\"}}"), |value| value == all).await;
        }
    }

    /// Waits until a metric is as it should be.
    async fn shows(&self, name: &str, is_right: impl Fn(f64) -> bool) {
        let name = format!("cofferdam_{name}");
        let shown = async || metric(&self.metrics().await, &name).is_some_and(&is_right);
        self.world.until(&name, shown).await;
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
    watched.shows("waiting_seconds{for=\"anchor\"}", |age| age > 0.0).await;
    watched.shows("waiting_seconds{for=\"seal\"}", |age| age == 0.0).await;
    watched.shows("transactions_open", |open| open == 0.0).await;
    drop(intent);
    world.pooled().await;
    watched.comes_to([3, 3, 3, 2, 2, 2]).await;
    watched.shows("transactions_open", |open| open == 1.0).await;
    watched.is_ready(200, "ready").await;

    // Taken back by a reorg, once right after it came and once when it was safe, it is posted again.
    for on_top in [0, EPOCH] {
        world.mine(1 + on_top).await;
        let safe = if on_top == 0 { 2 } else { 3 };
        watched.comes_to([3, 3, 3, 3, safe, 2]).await;
        watched.shows("waiting_seconds{for=\"anchor\"}", |age| age == 0.0).await;
        watched.shows("transactions_open", |open| open == 0.0).await;
        world.ask("anvil_reorg", json!([1 + on_top, []])).await;
        watched.comes_to([3, 3, 3, 2, 2, 2]).await;
        watched.shows("waiting_seconds{for=\"anchor\"}", |age| age > 0.0).await;
        watched.shows("transactions_open", |open| open == 1.0).await;
        world.pooled().await;
    }
    world.mine(1 + 2 * EPOCH).await;
    watched.comes_to([3; 6]).await;

    // What is known of chain and wallet is what the node says, and the sums are those of the receipts.
    let head = world.chain.head().await.unwrap().number;
    let blocks =
        [("head", head), ("mirrored", head), ("safe", head - EPOCH), ("final", head - 2 * EPOCH)];
    for (is, number) in blocks {
        watched.shows(&format!("block{{is=\"{is}\"}}"), |shown| shown == number as f64).await;
    }
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
    watched.is_ready(200, "ready").await;
    let failed = metric(&watched.metrics().await, "cofferdam_steps_failed_total").unwrap();
    world.rpc.play(|_| Some(Fault::Status(502)));
    watched.is_ready(503, "the chain: ").await;
    watched.shows("up{part=\"chain\"}", |up| up == 0.0).await;
    watched.shows("up{part=\"database\"}", |up| up == 1.0).await;
    watched.shows("steps_failed_total", |now| now > failed).await;
    world.rpc.heal();
    watched.is_ready(200, "ready").await;
    world.wire.is_full(true);
    watched.is_ready(503, "the database: ").await;
    watched.shows("up{part=\"database\"}", |up| up == 0.0).await;
    watched.shows("up{part=\"chain\"}", |up| up == 1.0).await;
    assert_eq!(get(&at, "/healthz").await.unwrap().0, 200);
    world.wire.is_full(false);
    watched.is_ready(200, "ready").await;

    // What is not due to be sealed yet waits, and is told of.
    world.stack.json("tenant set acme --seal-age 3600").await;
    world.automine(true).await;
    world.append(1).await;
    let watched = Watched { world: &world, at: &at };
    watched.shows("entries{stage=\"appended\"}", |all| all == 12.0).await;
    watched.shows("entries{stage=\"included\"}", |all| all == 11.0).await;
    watched.shows("waiting_seconds{for=\"seal\"}", |age| age > 0.0).await;
    daemon.stop().await;
}
