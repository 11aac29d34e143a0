//! What endpoints leave out: found, looked for, told once, and nobody else's business.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use alloy::primitives::B256;
use cofferdam_core::mirror::{MirrorEvent, MirrorTable};
use cofferdam_indexer::IndexError;
use serde_json::{Value, json};

use crate::{
    ground::Ground,
    is_whole,
    liar::{Liar, Said, asks_for_logs, refusal, with_logs},
    without_anchor, without_last,
};

#[tokio::test]
async fn a_hole_that_nobody_fills_takes_nothing_older_back() {
    let ground = Ground::start(32).await;
    // What a stranger's call left out of the tenant is its row, and no counter's.
    ground.anchor(1, 3).await;
    ground.govern(2).await;
    ground.mine(100).await;
    ground.anchor(1, 4).await;
    ground.anchor(1, 5).await;
    let liar = Liar::start(ground.chain.url(), without_anchor(2)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    for _ in 0..2 {
        let error = mirrored.indexer.catch_up().await.expect_err("a hole");
        assert!(matches!(error, IndexError::Hole { expected: 2, .. }), "{error}");
    }
    let (rows, ..) = mirrored.contents(&ground).await;
    assert!(rows.iter().any(|row| row.event.table == MirrorTable::Skipped));
    let written = mirrored.indexer.metrics().logs.load(Ordering::Relaxed);
    assert_eq!(written, rows.len() as u64, "nothing was taken back and written again");
}

#[tokio::test]
async fn a_hole_of_one_tenant_hides_no_others() {
    let ground = Ground::start(32).await;
    for who in [1, 2] {
        ground.anchor(who, 3).await;
        ground.anchor(who, 4).await;
    }
    let liar = Liar::start(ground.chain.url(), without_anchor(1)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    mirrored.indexer.catch_up().await.expect_err("holes");
    let of = async || {
        let incidents = mirrored.all_incidents(&ground).await;
        assert!(incidents.iter().all(|it| it.kind == "hole"), "{incidents:?}");
        incidents.iter().filter_map(|it| it.tenant).map(|it| it.as_b256()).collect()
    };
    let mut expected: BTreeSet<B256> = [1, 2].map(|who| ground.people[who].into_word()).into();
    assert_eq!((of().await, mirrored.incidents(&ground).await.len()), (expected.clone(), 2));

    // While these last, another's is found by the very next poll.
    ground.anchor(3, 3).await;
    ground.anchor(3, 4).await;
    expected.insert(ground.people[3].into_word());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = mirrored.indexer.clone();
    let running = tokio::spawn(async move { running.run(Duration::from_millis(5), stopped).await });
    while of().await != expected {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // And all heal as soon as somebody has what is missing, without a word.
    liar.repent();
    while mirrored.contents(&ground).await != ground.fresh().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send(true).expect("it runs");
    running.await.expect("it ended");
    is_whole(&mirrored, &ground).await;
}

#[tokio::test]
async fn the_last_event_of_every_table_is_missed_by_the_contract_alone() {
    let ground = Ground::start(32).await;
    ground.govern(1).await;
    ground.describe(1).await;
    ground.account(&Default::default(), 1).await;
    ground.anchor(1, 3).await;
    ground.anchor(1, 4).await;
    for (event, table) in [
        ("AnchorerSet", MirrorTable::AnchorerSet),
        ("PolicyPublished", MirrorTable::Policies),
        ("Granted", MirrorTable::Scopes),
        ("Described", MirrorTable::Described),
        ("FrozenSet", MirrorTable::AccountEvents),
    ] {
        let liar = Liar::start(ground.chain.url(), without_last(event)).await;
        let mirrored = ground.mirror(vec![liar.url.clone()]).await;
        let error = mirrored.indexer.catch_up().await.expect_err(event);
        let IndexError::Hole { table: found, .. } = error else { panic!("{event}: {error}") };
        assert_eq!(found, table, "{event}");
        assert_eq!(mirrored.incidents(&ground).await, ["hole"], "{event}");
        let verdict = mirrored.indexer.verify(false, |_, _| {}).await.expect("verified");
        let what = verdict.difference.expect(event).what;
        assert!(what.contains(table.name()), "{event}: {what}");
    }
    // As many as there are, and one of them another.
    let liar = Liar::start(ground.chain.url(), |question, answer| {
        let topic = MirrorEvent::named("Anchored").map(|it| json!(it.topic()));
        if !asks_for_logs(question) {
            return Said::Json(answer);
        }
        with_logs(answer, |logs| {
            let first = json!(B256::ZERO);
            let anchors = logs.iter_mut().filter(|log| Some(&log["topics"][0]) == topic.as_ref());
            for log in anchors.filter(|log| log["topics"][2] == first) {
                // `firstSeq ‖ count ‖ root ‖ anchoredAt`, 64 digits each.
                let mut data = log["data"].as_str().expect("data").to_owned();
                data.replace_range(2 + 64 * 2..2 + 64 * 2 + 4, "abcd");
                log["data"] = json!(data);
            }
        })
    })
    .await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    let error = mirrored.indexer.catch_up().await.expect_err("another root");
    let IndexError::Hole { table, expected, found, .. } = error else { panic!("{error}") };
    assert_eq!((table, expected, found), (MirrorTable::Anchored, 2, 2));
}

/// Tells of one entry more than these, once; says `then` whenever it is asked again.
fn miscounts(
    entries: u64,
    then: impl Fn(Value) -> Said + Send + Sync + 'static,
) -> impl Fn(&Value, Value) -> Said + Send + Sync + 'static {
    let (word, told) = (|count: u64| format!("{count:064x}"), AtomicBool::new(false));
    move |question, mut answer| {
        let result = answer["result"].as_str().unwrap_or_default();
        let wrong = result.replacen(&word(entries), &word(entries + 1), 1);
        if question["method"] != "eth_call" || wrong == result {
            return Said::Json(answer);
        }
        if told.swap(true, Ordering::Relaxed) {
            return then(answer);
        }
        answer["result"] = json!(wrong);
        Said::Json(answer)
    }
}

#[tokio::test]
async fn a_state_that_was_read_wrong_once_is_no_hole() {
    let ground = Ground::start(32).await;
    ground.anchor(1, 3).await;
    ground.anchor(1, 4).await;
    let liar = Liar::start(ground.chain.url(), miscounts(7, Said::Json)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    let done = mirrored.indexer.catch_up().await.expect("nothing is missing");
    let metrics = mirrored.indexer.metrics();
    let (holes, refetches) = (&metrics.holes, &metrics.refetches);
    assert_eq!([holes, refetches].map(|it| it.load(Ordering::Relaxed)), [0, 0]);
    assert_eq!((liar.lies(), done.checked), (1, 1));

    liar.tell(miscounts(7, Said::Json));
    let verdict = mirrored.indexer.verify(false, |_, _| {}).await.expect("verified");
    assert_eq!((liar.lies(), verdict.agree()), (2, Some(true)));

    // Of whom nobody says it again, what was read once is told.
    liar.tell(miscounts(7, |_| refusal(-32000, "missing trie node")));
    let verdict = mirrored.indexer.verify(false, |_, _| {}).await.expect("verified");
    assert_eq!((verdict.agree(), verdict.unread), (Some(false), None));
    assert_eq!(verdict.difference.expect("read once").tenant, ground.people[1].into_word());
}

/// Refuses whatever is asked about a tenant's state.
fn forgets(tenant: B256) -> impl Fn(&Value, Value) -> Said + Send + Sync + 'static {
    let id = tenant.to_string()[2..].to_owned();
    move |question, answer| {
        let asks = question["method"] == "eth_call" && question.to_string().contains(&id);
        match asks {
            true => refusal(-32000, "missing trie node"),
            false => Said::Json(answer),
        }
    }
}

#[tokio::test]
async fn verify_says_whom_it_could_not_compare_and_goes_on_with_the_others() {
    let ground = Ground::start(32).await;
    let honest = ground.chain.url().clone();
    let liar = Liar::start(&honest, |_, answer| Said::Json(answer)).await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    let nothing = mirrored.indexer.verify(false, |_, _| {}).await.expect("verified");
    assert_eq!((nothing.block, nothing.compared, nothing.agree()), (None, 0, None));

    // In the order of their ids.
    let mut people = [1, 2, 3];
    people.sort_by_key(|who| ground.people[*who]);
    let [first, second, third] = people.map(|who| ground.people[who].into_word());
    for who in people {
        ground.anchor(who, 3).await;
    }
    mirrored.indexer.catch_up().await.expect("mirrored");
    let head = ground.head().await;
    liar.tell(forgets(first));
    for full in [false, true] {
        let verdict = mirrored.indexer.verify(full, |_, _| {}).await.expect("verified");
        assert_eq!((verdict.tenants, verdict.compared, verdict.agree()), (3, 2, None));
        let unread = verdict.unread.expect("the first");
        assert_eq!((unread.block, unread.tenant, unread.tenants), (head, first, 1));
        assert!(unread.reason.contains("missing trie node"), "{}", unread.reason);
    }
    liar.tell(forgets(second));
    let done = mirrored.indexer.verify(false, |_, _| {}).await.expect("verified");
    assert_eq!(done.unread.expect("the second").tenant, second);

    // What another lacks is found all the same.
    ground.anchor(people[2], 4).await;
    liar.tell(without_anchor(1));
    mirrored.indexer.catch_up().await.expect_err("a hole");
    liar.tell(forgets(first));
    let verdict = mirrored.indexer.verify(false, |_, _| {}).await.expect("verified");
    assert_eq!(verdict.agree(), Some(false));
    assert_eq!(verdict.difference.expect("a hole").tenant, third);
    assert_eq!(verdict.unread.expect("the first").tenant, first);
}

#[tokio::test]
async fn a_registered_tenant_of_whom_nothing_is_mirrored_is_compared() {
    let ground = Ground::start(32).await;
    ground.anchor(1, 3).await;
    ground.anchor(2, 3).await;
    // Whatever names the second is left out.
    let hidden = ground.people[2].into_word();
    let topic = json!(hidden);
    let liar =
        Liar::start(ground.chain.url(), move |question, answer| match asks_for_logs(question) {
            true => with_logs(answer, |logs| logs.retain(|log| log["topics"][1] != topic)),
            false => Said::Json(answer),
        })
        .await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    ground.register(&mirrored.url, "hidden", 2).await;
    let error = mirrored.indexer.catch_up().await.expect_err("a hole");
    let IndexError::Hole { tenant, expected, found, .. } = error else { panic!("{error}") };
    assert_eq!((tenant, expected, found), (hidden, 0, 1));
    // That a call left out an item of it is nobody's incident.
    assert_eq!(mirrored.incidents(&ground).await, ["hole"]);
    liar.repent();
    mirrored.indexer.catch_up().await.expect("mirrored");
    // Nobody sealed here what is on the chain.
    assert_eq!(mirrored.incidents(&ground).await, ["unknown-batch", "hole"]);
    assert!(mirrored.contents(&ground).await == ground.fresh().await);
}
