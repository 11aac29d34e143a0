//! Endpoints that refuse, stumble, lag and lie: the mirror is what the chain has all the same.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::primitives::B256;
use cofferdam_contracts::deployment::Deployment;
use cofferdam_core::mirror::MirrorTable;
use cofferdam_indexer::IndexMetrics;
use serde_json::{Value, json};

use crate::{
    ground::Ground,
    history, is_whole,
    liar::{self, Liar, Said, asks_for_logs, blocks, refusal, with_logs},
    without_anchor,
};

/// Whether a question is for the logs of a range of final blocks.
pub(crate) fn asks_for_range(question: &Value) -> bool {
    asks_for_logs(question) && question["params"][0].get("fromBlock").is_some()
}

/// `true` so many times.
fn first(times: u64) -> impl Fn() -> bool + Send + Sync + 'static {
    let asked = AtomicU64::new(0);
    move || asked.fetch_add(1, Ordering::Relaxed) < times
}

/// A lie about the logs of final ranges.
fn about_ranges(lie: impl Fn(&Value, Value) -> Said + Send + Sync + 'static) -> Box<liar::Lie> {
    Box::new(move |question, answer| match asks_for_range(question) {
        true => lie(question, answer),
        false => Said::Json(answer),
    })
}

/// Logs of final blocks, read by range, and of blocks that may still change.
async fn settled(slots: u64) -> Ground {
    let ground = Ground::start(slots).await;
    history(&ground).await;
    ground.mine(60).await;
    history(&ground).await;
    ground.mine(100).await;
    history(&ground).await;
    ground
}

#[tokio::test]
async fn refusals_repeats_disorder_and_failures_change_nothing() {
    let ground = settled(32).await;
    let expected = ground.fresh().await;
    // The first of these have nobody beside them: what they do say is enough.
    let alone: Vec<(&str, Box<liar::Lie>)> = vec![
        ("reordered", about_ranges(|_, answer| with_logs(answer, |logs| logs.reverse()))),
        ("repeated", about_ranges(|_, answer| with_logs(answer, |logs| logs.extend(logs.clone())))),
        (
            "-32005",
            about_ranges(|question, answer| match blocks(question) > 3 {
                true => refusal(-32005, "query returned more than 10000 results"),
                false => Said::Json(answer),
            }),
        ),
        (
            "-32602",
            about_ranges(|question, answer| match blocks(question) > 5 {
                true => refusal(-32602, "Log response size exceeded"),
                false => Said::Json(answer),
            }),
        ),
        (
            "10,000 logs",
            about_ranges(|_, answer| {
                match answer["result"].as_array().is_some_and(|logs| logs.len() > 4) {
                    true => refusal(-32005, "query returned more than 10000 results"),
                    false => Said::Json(answer),
                }
            }),
        ),
        ("429", {
            let now = first(2);
            about_ranges(move |_, answer| match now() {
                true => Said::Status(429, "slow down"),
                false => Said::Json(answer),
            })
        }),
        ("503", {
            let now = first(2);
            about_ranges(move |_, answer| match now() {
                true => Said::Status(503, "not now"),
                false => Said::Json(answer),
            })
        }),
        ("malformed", {
            let now = first(2);
            about_ranges(move |_, answer| match now() {
                true => Said::Status(200, "{\"jsonrpc\":"),
                false => Said::Json(answer),
            })
        }),
    ];
    let foreign = json!(B256::repeat_byte(7));
    let beside: Vec<(&str, Box<liar::Lie>)> = vec![
        (
            "missing",
            about_ranges(|_, answer| {
                with_logs(answer, |logs| {
                    let anchored = cofferdam_core::mirror::MirrorEvent::named("Anchored");
                    let anchored = anchored.map(|it| json!(it.topic()));
                    let at = logs.iter().position(|it| Some(&it["topics"][0]) == anchored.as_ref());
                    at.map(|at| logs.remove(at));
                })
            }),
        ),
        ("another fork, of logs", {
            let hash = foreign.clone();
            about_ranges(move |_, answer| {
                with_logs(answer, |logs| {
                    // One of a block with two.
                    let of = |log: &Value| log["blockNumber"].clone();
                    let at = logs.windows(2).position(|two| of(&two[0]) == of(&two[1]));
                    if let Some(at) = at {
                        logs[at]["blockHash"] = hash.clone();
                    }
                })
            })
        }),
        (
            "another fork, of headers",
            Box::new(move |question, mut answer| {
                if question["method"] == "eth_getBlockByNumber"
                    && question["params"][0].as_str().is_some_and(|it| it.starts_with("0x"))
                    && !answer["result"].is_null()
                {
                    answer["result"]["hash"] = foreign.clone();
                }
                Said::Json(answer)
            }),
        ),
    ];
    let honest = ground.chain.url();
    let lies = alone.into_iter().map(|(name, lie)| (name, lie, vec![]));
    let beside = beside.into_iter().map(|(name, lie)| (name, lie, vec![honest.clone()]));
    for (name, lie, others) in lies.chain(beside) {
        let liar = Liar::start(honest, |_, answer| Said::Json(answer)).await;
        let endpoints = std::iter::once(liar.url.clone()).chain(others).collect();
        let mirrored = ground.mirror(endpoints).await;
        liar.tell(move |question, answer| lie(question, answer));
        mirrored.indexer.catch_up().await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(liar.lies() > 0, "{name}: nobody was asked for it");
        assert!(mirrored.contents(&ground).await == expected, "{name}");
        assert!(mirrored.incidents(&ground).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_final_log_under_a_foreign_hash_is_found_by_a_full_verify() {
    let ground = Ground::start(1).await;
    ground.anchor(1, 3).await;
    ground.anchor(1, 4).await;
    let block = ground.head().await;
    ground.mine(10).await;
    // All that one block has, so that nothing in the answer contradicts it.
    let of = json!(format!("{block:#x}"));
    let liar = Liar::start(ground.chain.url(), move |question, answer| {
        if !asks_for_range(question) {
            return Said::Json(answer);
        }
        with_logs(answer, |logs| {
            for log in logs.iter_mut().filter(|log| log["blockNumber"] == of) {
                log["blockHash"] = json!(B256::repeat_byte(7));
            }
        })
    })
    .await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert!(liar.lies() > 0);
    let honest = ground.indexer(&mirrored.url, vec![]).await;
    let verdict = honest.verify(true, |_, _| {}).await.expect("verified");
    let what = verdict.difference.expect("another hash").what;
    assert!(what.contains(&format!("Anchored at block {block}, log 0")), "{what}");
    // Nor is who said so believed when asked again: its own headers say otherwise.
    let again = mirrored.indexer.verify(true, |_, _| {}).await;
    assert!(again.is_err(), "{again:?}");
}

#[tokio::test]
async fn who_is_no_account_is_not_believed_to_an_endpoint_that_lags() {
    let ground = Ground::start(1).await;
    ground.account(&Deployment::default(), 1).await;
    ground.mine(10).await;
    let liar = Liar::start(ground.chain.url(), |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    // Its newest block is one from before the account.
    liar.tell(|question, mut answer| {
        let newest = question["params"][1] == "latest";
        match question["method"].as_str() {
            Some("eth_call") if newest => refusal(-32601, "no such call"),
            Some("eth_getCode") if newest => {
                answer["result"] = json!("0x");
                Said::Json(answer)
            }
            _ => Said::Json(answer),
        }
    });
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert!(liar.lies() > 0);
    let (rows, ..) = mirrored.contents(&ground).await;
    let of_account = rows.iter().filter(|row| row.event.table == MirrorTable::AccountEvents);
    assert_eq!(of_account.count(), 2);
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn the_metrics_say_where_the_mirror_stands() {
    let ground = settled(32).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    let metrics = mirrored.indexer.metrics();
    let of = |name: &str| -> u64 {
        let name = format!("cofferdam_index_{name} ");
        let text = metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(&name)).expect("a metric");
        line.parse().expect("a number")
    };
    // How far it is behind while it has the whole way to go.
    let (seen, watched) = (Arc::new(AtomicU64::new(0)), OnceLock::<Arc<IndexMetrics>>::new());
    let _ = watched.set(metrics.clone());
    liar.tell({
        let seen = seen.clone();
        move |question, answer| {
            if asks_for_range(question)
                && let Some(metrics) = watched.get()
            {
                seen.fetch_max(metrics.lag.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            Said::Json(answer)
        }
    });
    mirrored.indexer.catch_up().await.expect("mirrored");
    let head = ground.head().await;
    assert_eq!(seen.load(Ordering::Relaxed), head);
    let rows = mirrored.contents(&ground).await.0.len() as u64;
    let expected = [
        ("head", head),
        ("safe", head - 32),
        ("last_final", head - 64),
        ("mirrored", head),
        ("lag", 0),
        ("logs", rows),
        ("refetches", 0),
        ("reorgs", 0),
        ("holes", 0),
        ("incidents", 0),
        ("unread", 0),
    ];
    for (name, value) in expected {
        assert_eq!(of(name), value, "{name}");
    }
    assert!(of("logs_per_second") > 0);

    // Where it cannot go on, it says how far behind it falls.
    let (_, heads, _) = mirrored.contents(&ground).await;
    let tenant = ground.people[1].into_word();
    let batches = heads.iter().find(|head| head.tenant == tenant).expect("a head").batches;
    liar.tell(without_anchor(batches as usize));
    ground.anchor(1, 2).await;
    ground.anchor(1, 2).await;
    for blocks in [2, 5] {
        mirrored.indexer.catch_up().await.expect_err("a hole");
        assert_eq!((of("lag"), of("head")), (blocks, head + blocks));
        ground.mine(3).await;
    }
    assert!(of("holes") > 0 && of("refetches") > 0);
    assert_eq!(of("incidents"), 1);
    liar.repent();
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!((of("lag"), of("reorgs")), (0, 0));
    ground.anchor(2, 1).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    ground.reorg(1).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!((of("lag"), of("reorgs")), (0, 1));
}

#[tokio::test]
async fn an_endpoint_that_falls_silent_is_not_waited_for_again() {
    let ground = Ground::start(32).await;
    history(&ground).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, |_, answer| Said::Json(answer)).await;
    let endpoints = vec![liar.url.clone(), honest];
    let mirrored = ground.mirror_patiently(endpoints, Duration::from_secs(1)).await;
    liar.tell(|_, _| Said::Silence);
    mirrored.indexer.catch_up().await.expect("mirrored");
    let asked = liar.lies();
    assert!(asked > 0);
    for _ in 0..3 {
        ground.anchor(1, 2).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
    }
    assert_eq!(liar.lies(), asked, "the other answers, and is asked first");
    is_whole(&mirrored, &ground).await;
}
