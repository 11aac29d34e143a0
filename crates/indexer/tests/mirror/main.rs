//! The mirror against a real Anvil and a real Postgres: complete, exactly once, through reorgs and lies.

mod ground;
mod hints;
mod holes;
mod liar;
mod lies;
mod reconcile;
mod seams;
mod spending;

use cofferdam_contracts::{LogReader, deployment::Deployment};
use cofferdam_core::mirror::{MirrorEvent, MirrorTable};
use cofferdam_indexer::{IndexError, IndexMetrics};
use ground::{Ground, Mirrored};
use liar::{Liar, Said, asks_for_logs, refusal, with_logs};
use serde_json::{Value, json};
use std::{sync::atomic::Ordering, time::Duration};

/// A mirror that is what a fresh one would be, and that agrees with the chain.
async fn is_whole(mirrored: &Mirrored, ground: &Ground) {
    assert!(mirrored.contents(ground).await == ground.fresh().await, "not what a fresh one has");
    agrees(mirrored).await;
}

/// Every row is a log of the chain and every log a row, and the contracts count and hash the same.
async fn agrees(mirrored: &Mirrored) {
    let verdict = mirrored.indexer.verify(true, |_, _| {}).await.expect("verified");
    assert_eq!((verdict.difference, verdict.unread), (None, None));
}

/// Anchors, policies, grants and an account, with blocks between them.
async fn history(ground: &Ground) {
    for who in [1, 2] {
        ground.anchor(who, 3).await;
        ground.govern(who).await;
        ground.mine(2).await;
    }
    ground.account(&Deployment::default(), 1).await;
    ground.anchor(1, 5).await;
}

#[tokio::test]
async fn a_look_alike_older_than_any_state_holds_up_nothing() {
    let ground = Ground::forgetful(32).await;
    ground.anchor(1, 3).await;
    ground.account(&ground.other, 1).await;
    ground.mine(200).await;
    ground.anchor(1, 4).await;
    let mirrored = ground.mirror(vec![]).await;
    let done = mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!((done.block, done.incidents), (ground.head().await, 0));
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn every_event_is_mirrored_as_it_was_and_no_look_alikes() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    // Another deployment of the same code, and an account of its factory, look like ours.
    let before = ground.fresh().await;
    ground.anchor_at(&ground.other, 1, 4).await;
    ground.account(&ground.other, 1).await;
    let mirrored = ground.mirror(vec![]).await;
    let done = mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!((done.events, done.incidents), (before.0.len() as u64, 0));
    let after = mirrored.contents(&ground).await;
    assert!(after == before, "look-alikes left something");
    let (rows, heads, _) = after;
    assert_eq!(done.checked, heads.len() as u64);

    let count = |table| rows.iter().filter(|row| row.event.table == table).count();
    assert_eq!((count(MirrorTable::Anchored), count(MirrorTable::Skipped)), (3, 3));
    assert_eq!((count(MirrorTable::Policies), count(MirrorTable::Scopes)), (2, 2));
    assert_eq!(count(MirrorTable::AccountEvents), 2, "also what it did in the range it came in");
    is_whole(&mirrored, &ground).await;

    // Every row is its log again, byte for byte.
    let filter = json!([{ "fromBlock": "0x0", "toBlock": "latest" }]);
    let logs = ground.rpc("eth_getLogs", filter).await;
    let reader = LogReader::new(Deployment::default());
    for raw in logs.as_array().expect("logs") {
        let mut ours = reader.logs(&json!([raw]).to_string()).expect("readable");
        let Some(read) = ours.pop() else { continue };
        if !rows.contains(&read.row) {
            assert_eq!(
                read.account.map(|_| ()),
                Some(()),
                "only an account of another factory is not"
            );
            continue;
        }
        let (topics, data) = read.row.encode();
        assert_eq!(json!(topics), raw["topics"]);
        assert_eq!(json!(alloy::primitives::Bytes::from(data)), raw["data"]);
        assert_eq!(json!(reader.emitter(&read.row)), raw["address"]);
    }
}

#[tokio::test]
async fn a_reorg_of_any_depth_above_final_leaves_what_the_chain_has() {
    let ground = Ground::start(32).await;
    ground.mine(70).await;
    history(&ground).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    for depth in 1..=64 {
        ground.reorg(depth).await;
        // Sometimes what comes instead has events, too.
        if depth % 2 == 1 {
            ground.anchor(1, 1).await;
        }
        let done = mirrored.indexer.catch_up().await.expect("mirrored");
        assert!(done.rewound, "{depth}");
        agrees(&mirrored).await;
        ground.anchor(2, 2).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
    }
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn to_a_shorter_chain_and_back() {
    let ground = Ground::start(32).await;
    ground.mine(70).await;
    history(&ground).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    for depth in [1, 4, 9] {
        ground.rpc("anvil_rollback", json!([depth])).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
        agrees(&mirrored).await;
        ground.anchor(1, 2).await;
        ground.mine(depth).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
        agrees(&mirrored).await;
    }
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn a_reorg_below_final_halts_and_is_an_incident() {
    // One slot: the chain calls final what is two blocks old, and Anvil goes below it all the same.
    let ground = Ground::start(1).await;
    history(&ground).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let before = mirrored.contents(&ground).await;
    ground.reorg(6).await;
    for _ in 0..2 {
        let error = mirrored.indexer.catch_up().await.expect_err("halted");
        assert!(matches!(error, IndexError::BelowFinal { .. }), "{error}");
    }
    assert!(mirrored.contents(&ground).await == before, "nothing was touched");
    assert_eq!(mirrored.incidents(&ground).await, ["reorg-below-final"]);
    mirrored.indexer.rebuild().await.expect("rebuilt");
    is_whole(&mirrored, &ground).await;
}

/// The last event of a name goes, whoever asks for logs of whatever range.
fn without_last(event: &'static str) -> impl Fn(&Value, Value) -> Said + Send + Sync + 'static {
    let topic = json!(MirrorEvent::named(event).expect("an event").topic());
    move |question, answer| {
        if !asks_for_logs(question) {
            return Said::Json(answer);
        }
        with_logs(answer, |logs| logs.retain(|log| log["topics"][0] != topic))
    }
}

/// The log of the n-th event that is anchored goes, whoever asks.
fn without_anchor(n: usize) -> impl Fn(&Value, Value) -> Said + Send + Sync + 'static {
    move |question, answer| {
        if !asks_for_logs(question) {
            return Said::Json(answer);
        }
        with_logs(answer, |logs| {
            let topic =
                cofferdam_core::mirror::MirrorEvent::named("Anchored").map(|it| json!(it.topic()));
            let index = json!(alloy::primitives::B256::with_last_byte(n as u8));
            logs.retain(|log| {
                Some(&log["topics"][0]) != topic.as_ref() || log["topics"][2] != index
            });
        })
    }
}

#[tokio::test]
async fn what_one_endpoint_leaves_out_is_fetched_from_another() {
    let ground = Ground::start(32).await;
    for count in [3, 4, 5] {
        ground.anchor(1, count).await;
        ground.mine(3).await;
    }
    let honest = ground.chain.url().clone();
    // One in the middle is missed by the next; the last by the contract alone.
    for missing in [0, 1, 2] {
        let liar = Liar::start(&honest, without_anchor(missing)).await;
        let mirrored = ground.mirror(vec![liar.url.clone(), honest.clone()]).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
        is_whole(&mirrored, &ground).await;
        let metrics = mirrored.indexer.metrics();
        let of = |of: fn(&IndexMetrics) -> &std::sync::atomic::AtomicU64| {
            of(&metrics).load(Ordering::Relaxed)
        };
        assert!(of(|it| &it.holes) > 0 && of(|it| &it.refetches) > 0, "{missing}");
        assert!(mirrored.incidents(&ground).await.is_empty(), "{missing}");
    }
}

#[tokio::test]
async fn what_no_endpoint_has_is_an_incident_and_never_passed_over() {
    let ground = Ground::start(32).await;
    for count in [3, 4, 5] {
        ground.anchor(1, count).await;
    }
    for missing in [1, 2] {
        let liar = Liar::start(ground.chain.url(), without_anchor(missing)).await;
        let mirrored = ground.mirror(vec![liar.url.clone()]).await;
        for _ in 0..2 {
            let error = mirrored.indexer.catch_up().await.expect_err("a hole");
            assert!(matches!(error, IndexError::Hole { .. }), "{missing}: {error}");
        }
        assert_eq!(mirrored.incidents(&ground).await, ["hole"], "once");
        liar.repent();
        mirrored.indexer.catch_up().await.expect("mirrored");
        is_whole(&mirrored, &ground).await;
    }
}

#[tokio::test]
async fn what_is_left_out_of_the_newest_block_is_found_though_no_other_comes() {
    let ground = Ground::start(32).await;
    ground.anchor(1, 3).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, without_anchor(1)).await;
    let mirrored = ground.mirror(vec![liar.url.clone(), honest]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    ground.anchor(1, 4).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    is_whole(&mirrored, &ground).await;

    // Whoever lies alone is believed at no later pass either.
    let alone = ground.mirror(vec![liar.url.clone()]).await;
    liar.repent();
    alone.indexer.catch_up().await.expect("mirrored");
    liar.tell(without_anchor(2));
    ground.anchor(1, 5).await;
    for _ in 0..2 {
        let error = alone.indexer.catch_up().await.expect_err("a hole");
        assert!(matches!(error, IndexError::Hole { expected: 2, .. }), "{error}");
    }
    assert_eq!(alone.incidents(&ground).await, ["hole"]);
}

#[tokio::test]
async fn what_could_not_be_compared_is_compared_when_it_can_be() {
    let ground = Ground::start(32).await;
    ground.anchor(1, 3).await;
    let silent = |of: &'static str| {
        move |question: &Value, answer: Value| match question["method"] == of {
            true => refusal(-32000, "missing trie node"),
            false => Said::Json(answer),
        }
    };
    let liar = Liar::start(ground.chain.url(), silent("eth_call")).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    for _ in 0..2 {
        let done = mirrored.indexer.catch_up().await.expect("mirrored");
        assert_eq!((done.block, done.checked), (ground.head().await, 0));
    }
    liar.repent();
    assert_eq!(mirrored.indexer.catch_up().await.expect("mirrored").checked, 1);
    // All were compared: nobody is again until something is new.
    assert_eq!(mirrored.indexer.catch_up().await.expect("mirrored").checked, 0);
}

#[tokio::test]
async fn whose_only_event_is_left_out_after_a_reorg_is_found() {
    let ground = Ground::start(32).await;
    ground.mine(5).await;
    ground.anchor(1, 3).await;
    ground.mine(1).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone(), honest]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    // The same events again on another fork, and one endpoint has none of them.
    ground.reorg(4).await;
    ground.anchor(1, 3).await;
    liar.tell(|question, answer| match asks_for_logs(question) {
        true => with_logs(answer, Vec::clear),
        false => Said::Json(answer),
    });
    mirrored.indexer.catch_up().await.expect("mirrored");
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn what_was_final_stays_so_when_an_endpoint_does_not_say() {
    let ground = Ground::start(1).await;
    history(&ground).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone(), honest]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let (before, _) = mirrored.indexer.state().await.expect("a state");
    assert!(before.last_final > Some(0));
    for (code, message) in [(-32005, "request rate limited"), (-39001, "Unknown block")] {
        liar.tell(move |question, answer| match question["params"][0] == "finalized" {
            true => refusal(code, message),
            false => Said::Json(answer),
        });
        ground.mine(1).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
        let (after, _) = mirrored.indexer.state().await.expect("a state");
        assert!(after.last_final >= before.last_final, "{message}: {after:?}");
    }
    ground.reorg(6).await;
    let error = mirrored.indexer.catch_up().await.expect_err("halted");
    assert!(matches!(error, IndexError::BelowFinal { .. }), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_refuses_every_range_is_passed_over() {
    // With few blocks that may still change, so that most are asked for by ranges.
    let ground = Ground::start(1).await;
    history(&ground).await;
    ground.mine(40).await;
    let refuses = |question: &Value, answer: Value| match asks_for_logs(question) {
        true => refusal(-32602, "specify less than 1 address"),
        false => Said::Json(answer),
    };
    let liar = Liar::start(ground.chain.url(), refuses).await;
    let mirrored = ground.mirror(vec![liar.url.clone(), ground.chain.url().clone()]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn an_endpoint_that_lags_takes_nothing_back() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    let old = ground.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
    let number = |block: &Value| {
        let text = block["number"].as_str().expect("a number").trim_start_matches("0x");
        u64::from_str_radix(text, 16).expect("a number")
    };
    ground.anchor(2, 2).await;
    ground.mine(80).await;
    let stale = Liar::start(ground.chain.url(), move |question, answer| {
        let latest = ["latest", "safe", "finalized"].map(Value::from);
        if latest.contains(&question["params"][0]) {
            return Said::Json(json!({ "jsonrpc": "2.0", "id": 1, "result": old }));
        }
        if question["method"] == "eth_getBlockByNumber" && number(&answer["result"]) > number(&old)
        {
            return Said::Json(json!({ "jsonrpc": "2.0", "id": 1, "result": null }));
        }
        Said::Json(answer)
    })
    .await;
    let mirrored = ground.mirror(vec![]).await;
    let done = mirrored.indexer.catch_up().await.expect("mirrored");
    // Another endpoint stands where the mirror does: it is asked.
    let both = ground.indexer(&mirrored.url, vec![stale.url.clone(), ground.chain.url().clone()]);
    let again = both.await.catch_up().await.expect("mirrored");
    assert_eq!((again.block, again.rewound), (done.block, false));
    // Nobody else is there: it is said, and what was final stays.
    let alone = ground.indexer(&mirrored.url, vec![stale.url.clone()]).await;
    let patient = alone.clone().with_patience(Duration::from_secs(3_600));
    let error = patient.catch_up().await.expect_err("behind");
    assert!(matches!(error, IndexError::Lagging { .. }), "{error}");
    assert!(mirrored.incidents(&ground).await.is_empty());
    // A chain that lacks for long what it called final is no delay any more.
    for _ in 0..2 {
        let error = alone.catch_up().await.expect_err("halted").to_string();
        assert!(error.contains("final"), "{error}");
    }
    assert_eq!(mirrored.incidents(&ground).await, ["reorg-below-final"]);
    is_whole(&mirrored, &ground).await;
    stale.repent();
    let done = alone.catch_up().await.expect("it was an endpoint after all");
    assert_eq!((done.block, done.rewound), (ground.head().await, false));
}

#[tokio::test]
async fn a_chain_that_ends_below_the_mirror_is_followed_down_only_in_time() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    ground.mine(3).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let before = mirrored.contents(&ground).await;
    ground.rpc("anvil_rollback", json!([4])).await;
    let patient = mirrored.indexer.clone().with_patience(Duration::from_secs(3_600));
    for _ in 0..2 {
        let error = patient.catch_up().await.expect_err("behind");
        assert!(matches!(error, IndexError::Lagging { .. }), "{error}");
    }
    assert!(mirrored.contents(&ground).await == before, "nothing was taken back");
    let done = mirrored.indexer.catch_up().await.expect("followed down");
    assert_eq!((done.block, done.rewound), (ground.head().await, true));
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn contracts_that_went_with_a_reorg_are_mirrored_where_they_come_again() {
    let ground = Ground::start(32).await;
    let deployed = ground.head().await;
    history(&ground).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    ground.reorg(ground.head().await).await;
    let done = mirrored.indexer.catch_up().await.expect("mirrored");
    assert!(done.rewound && mirrored.contents(&ground).await == Default::default());
    ground.redeploy().await;
    assert!(ground.head().await > deployed);
    history(&ground).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn a_database_that_goes_away_in_the_middle_is_waited_for() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    let mut own = ground.postgres().await;
    let mirrored = own.mirror(&ground).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = mirrored.indexer.clone();
    let running = tokio::spawn(async move { running.run(Duration::from_millis(5), stopped).await });
    for round in 0..4 {
        ground.anchor(1 + round % 2, 2).await;
        own.restart(&ground).await;
    }
    let head = ground.head().await;
    let done = async || {
        let state = mirrored.indexer.state().await;
        state.is_ok_and(|(state, _)| state.checkpoint.is_some_and(|at| at.number == head))
    };
    while !done().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true).expect("it runs");
    running.await.expect("it ended");
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn two_indexers_at_once_write_everything_once() {
    let ground = Ground::start(32).await;
    let mirrored = ground.mirror(vec![]).await;
    let other = ground.indexer(&mirrored.url, vec![]).await;
    for round in 0..6 {
        ground.anchor(1 + round % 3, 2).await;
        ground.govern(1 + round % 2).await;
        let (a, b) = tokio::join!(mirrored.indexer.catch_up(), other.catch_up());
        a.expect("mirrored");
        b.expect("mirrored");
    }
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn verify_names_the_first_difference() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    is_whole(&mirrored, &ground).await;
    // An endpoint that changes a root, in step with nothing else, is what a changed row looks like.
    let lie = |question: &Value, answer: Value| match asks_for_logs(question) {
        true => with_logs(answer, |logs| {
            for log in logs
                .iter_mut()
                .filter(|log| log["data"].as_str().is_some_and(|it| it.len() == 2 + 64 * 4))
            {
                let data = log["data"].as_str().expect("data");
                log["data"] = json!(format!(
                    "{}{}",
                    &data[..data.len() - 1],
                    if data.ends_with('1') { '2' } else { '1' }
                ));
            }
        }),
        false => Said::Json(answer),
    };
    let liar = Liar::start(ground.chain.url(), lie).await;
    let other = ground.indexer(&mirrored.url, vec![liar.url.clone()]).await;
    let difference =
        other.verify(true, |_, _| {}).await.expect("verified").difference.expect("one");
    assert!(difference.what.contains("Anchored at block"), "{}", difference.what);
}
