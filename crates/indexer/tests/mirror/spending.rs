//! What accounts spent, day by day, as their storage has it. How agents spend is tested from outside.

use std::time::Duration;

use alloy::{
    primitives::{Address, U256, hex},
    sol_types::SolCall,
};
use cofferdam_contracts::{SmartAccount, deployment::Deployment};
use cofferdam_core::{TenantId, mirror::MirrorEvent};
use cofferdam_store::{DAY, MirrorState, Reader, Spending, SpendingHarm, harm_spending};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    ground::{Ground, Mirrored},
    liar::{Liar, Said, asks_for_logs, refusal, with_logs},
};

/// Accounts and days on a chain whose clock is ours; what is two blocks old is final.
struct Days {
    ground: Ground,
    /// The day that the chain is on after its first deployments.
    first: u64,
}

impl Days {
    async fn start() -> Self {
        Self::on(Ground::start(1).await).await
    }

    async fn on(ground: Ground) -> Self {
        let head = ground.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
        let first = number(&head["timestamp"]) / DAY + 1;
        let this = Self { ground, first };
        this.begin(0).await;
        this
    }

    /// A block at the beginning of a day.
    async fn begin(&self, day: u64) {
        let time = (self.first + day) * DAY + 60;
        self.ground.rpc("evm_setNextBlockTimestamp", json!([time])).await;
        self.ground.mine(1).await;
    }

    /// What an operation on this day leaves in an account that spent nothing the day before.
    async fn spend(&self, account: Address, day: u64, amount: u64) {
        let word = (U256::from(amount) << 136) | U256::from(self.first + day);
        let word = alloy::primitives::B256::from(word);
        let slot = alloy::primitives::B256::with_last_byte(1);
        self.ground.rpc("anvil_setStorageAt", json!([account, slot, word])).await;
        self.ground.mine(1).await;
    }

    async fn account(&self) -> Address {
        self.ground.new_account(&Deployment::default(), 1).await
    }

    /// What is mirrored of an account: days and amounts, each with the block that the chain ended the day with.
    async fn spent(&self, mirrored: &Mirrored, account: Address) -> Vec<(u64, Option<u128>)> {
        let rows = spent(mirrored, &self.ground, account).await;
        for row in &rows {
            let at = |number: u64| json!([U256::from(number), false]);
            let last = self.ground.rpc("eth_getBlockByNumber", at(row.block.number)).await;
            let next = self.ground.rpc("eth_getBlockByNumber", at(row.block.number + 1)).await;
            assert_eq!(
                (json!(row.block.hash), row.time),
                (last["hash"].clone(), number(&last["timestamp"]))
            );
            let end = (row.day + 1) * DAY;
            assert!(row.time < end && end <= number(&next["timestamp"]), "{row:?}");
        }
        rows.iter().map(|row| (row.day - self.first, row.spent)).collect()
    }
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().expect("a number").trim_start_matches("0x");
    u64::from_str_radix(text, 16).expect("a number")
}

async fn spent(mirrored: &Mirrored, ground: &Ground, account: Address) -> Vec<Spending> {
    let reader = Reader::connect(&mirrored.url, ground.chain.chain_id()).await.expect("a reader");
    let tenant = TenantId::from_authority(account).expect("a tenant");
    let mut tx = reader.tenant(tenant).await.expect("a transaction");
    tx.spending().await.expect("rows")
}

async fn state(mirrored: &Mirrored) -> MirrorState {
    mirrored.indexer.state().await.expect("a state").0
}

/// Answers what was spent as `lie` makes of it, and everything else as it is.
async fn about_spending(
    days: &Days,
    lie: impl Fn(&Value, Value) -> Said + Send + Sync + 'static,
) -> Liar {
    Liar::start(days.ground.chain.url(), move |question, answer| {
        match asks_what_was_spent(question) {
            true => lie(question, answer),
            false => Said::Json(answer),
        }
    })
    .await
}

fn asks_what_was_spent(question: &Value) -> bool {
    let data = question["params"][0]["data"].as_str().unwrap_or_default();
    question["method"] == "eth_call"
        && data.contains(&hex::encode(SmartAccount::spentOfCall::SELECTOR))
}

#[tokio::test]
async fn each_day_that_is_over_is_read_once_by_whoever_comes_first() {
    let days = Days::start().await;
    let ground = &days.ground;
    let mirrored = ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    let account = days.account().await;
    days.spend(account, 0, 5).await;
    // One with blocks and nothing spent, and one without a block.
    days.begin(1).await;
    days.begin(3).await;
    days.spend(account, 3, 9).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    // The first block of a day does not end the one before until it is final.
    assert_eq!(days.spent(&mirrored, account).await, [(0, Some(5))]);
    assert_eq!(state(&mirrored).await.spending_day, days.first + 1);
    days.begin(4).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!(state(&mirrored).await.spending_day, days.first + 3);
    ground.mine(2).await;
    let other = ground.indexer(&mirrored.url, vec![]).await;
    let (a, b) = tokio::join!(mirrored.indexer.catch_up(), other.catch_up());
    a.and(b).expect("mirrored");
    let expected = [(0, Some(5)), (3, Some(9))];
    assert_eq!(days.spent(&mirrored, account).await, expected);
    assert_eq!(state(&mirrored).await.spending_day, days.first + 4);

    let verdict = mirrored.indexer.verify(true, |_, _| {}).await.expect("verified");
    assert_eq!((verdict.agree(), verdict.days), (Some(true), Some(4)), "{verdict:?}");
    mirrored.indexer.rebuild().await.expect("rebuilt");
    assert_eq!(days.spent(&mirrored, account).await, expected);
    let tenant = TenantId::from_authority(account).expect("a tenant");
    for (harm, says) in [
        (SpendingHarm::Double, "18 after block"),
        (SpendingHarm::Hide, "unknown mirrored, 9 after block"),
        (SpendingHarm::Repeat, "mirrored, nothing in the account"),
        (SpendingHarm::Delete, "nothing mirrored, 9 after block"),
    ] {
        let id = ground.chain.chain_id();
        assert!(
            harm_spending(&mirrored.admin, id, tenant, harm).await.expect("harmed"),
            "{harm:?}"
        );
        let verdict = mirrored.indexer.verify(true, |_, _| {}).await.expect("verified");
        let difference = verdict.difference.expect("one");
        assert_eq!(difference.tenant, tenant.as_b256());
        assert!(difference.what.contains(says), "{harm:?}: {}", difference.what);
        mirrored.indexer.rebuild().await.expect("rebuilt");
    }
    assert_eq!(days.spent(&mirrored, account).await, expected);
}

#[tokio::test]
async fn what_no_endpoint_keeps_is_unknown_and_the_rest_goes_on() {
    let days = Days::start().await;
    let ground = &days.ground;
    let account = days.account().await;
    days.spend(account, 0, 5).await;
    days.begin(1).await;
    days.spend(account, 1, 7).await;
    days.begin(2).await;
    days.ground.mine(3).await;
    // It keeps the newest block's state alone.
    let chain = ground.chain.clone();
    let head = json!(chain.header(Default::default()).await.expect("asked").expect("there").hash);
    let forgets = move |question: &Value, answer| match question["params"][1]["blockHash"] == head {
        true => Said::Json(answer),
        false => refusal(-32000, "missing trie node"),
    };
    let pruned = about_spending(&days, forgets).await;
    let mirrored = ground.mirror(vec![pruned.url.clone()]).await;
    let done = mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!((done.block, done.events), (ground.head().await, 1));
    // The account itself knows of the day before at any block of the next.
    let expected = [(0, None), (1, Some(7))];
    assert_eq!(days.spent(&mirrored, account).await, expected);
    assert_eq!(state(&mirrored).await.spending_day, days.first + 2);
    let verdict = mirrored.indexer.verify(true, |_, _| {}).await.expect("verified");
    let unread = verdict.unread_days.clone().expect("some");
    assert_eq!((verdict.agree(), unread.days, verdict.days), (None, 2, Some(0)), "{verdict:?}");
    assert!(unread.reason.contains("missing trie node"), "{unread:?}");

    // Whoever keeps it says so.
    let other = ground.indexer(&mirrored.url, vec![]).await;
    let difference = other.verify(true, |_, _| {}).await.expect("verified").difference;
    let what = difference.expect("one").what;
    assert!(what.contains("unknown mirrored, 5 after block"), "{what}");
    other.rebuild().await.expect("rebuilt");
    assert_eq!(days.spent(&mirrored, account).await, [(0, Some(5)), (1, Some(7))]);
}

#[tokio::test]
async fn a_state_that_anvil_has_dropped_is_unknown_too() {
    let days = Days::on(Ground::forgetful(1).await).await;
    let account = days.account().await;
    days.spend(account, 0, 5).await;
    days.begin(1).await;
    days.ground.mine(200).await;
    days.begin(2).await;
    days.spend(account, 2, 7).await;
    days.begin(3).await;
    days.ground.mine(3).await;
    let mirrored = days.ground.mirror(vec![]).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!(days.spent(&mirrored, account).await, [(0, None), (2, Some(7))]);
}

#[tokio::test]
async fn what_fails_for_a_moment_is_tried_again_and_holds_up_no_event() {
    let days = Days::start().await;
    let ground = &days.ground;
    let account = days.account().await;
    days.spend(account, 0, 5).await;
    days.begin(2).await;
    ground.mine(3).await;
    // One has forgotten it, and the other, who has not, is out of order.
    let forgets = |_: &Value, _| refusal(-32000, "missing trie node");
    let pruned = about_spending(&days, forgets).await;
    let troubled = about_spending(&days, |_: &Value, _| refusal(-32603, "internal error")).await;
    let mirrored = ground.mirror(vec![pruned.url.clone(), troubled.url.clone()]).await;
    let (stop, stopped) = watch::channel(false);
    let running = mirrored.indexer.clone();
    let running = tokio::spawn(async move { running.run(Duration::from_millis(5), stopped).await });
    let until = async |done: &dyn Fn(MirrorState) -> bool| {
        while !mirrored.indexer.state().await.is_ok_and(|(state, _)| done(state)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for _ in 0..3 {
        ground.anchor(1, 1).await;
        let (head, lies) = (ground.head().await, troubled.lies());
        until(&|it| it.checkpoint.is_some_and(|at| at.number == head)).await;
        while troubled.lies() == lies {
            assert_eq!(state(&mirrored).await.spending_day, 0);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(state(&mirrored).await.spending_day, 0);
    assert_eq!(days.spent(&mirrored, account).await, []);
    troubled.repent();
    let over = days.first + 2;
    until(&|it| it.spending_day == over).await;
    stop.send(true).expect("it runs");
    running.await.expect("it ended");
    assert_eq!(days.spent(&mirrored, account).await, [(0, Some(5))]);
}

#[tokio::test]
async fn an_account_that_is_found_late_has_its_days_read_again() {
    let days = Days::start().await;
    let ground = &days.ground;
    let created = json!(MirrorEvent::named("Initialized").expect("an event").topic());
    let liar =
        Liar::start(ground.chain.url(), move |question, answer| match asks_for_logs(question) {
            true => with_logs(answer, |logs| logs.retain(|log| log["topics"][0] != created)),
            false => Said::Json(answer),
        })
        .await;
    let mirrored = ground.mirror(vec![liar.url.clone()]).await;
    let account = days.account().await;
    days.spend(account, 0, 5).await;
    days.begin(1).await;
    ground.mine(3).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!(state(&mirrored).await.spending_day, days.first + 1, "nobody is known");
    // Its next event is not its first: what is missing lies far below what is final.
    liar.repent();
    ground.freeze(account).await;
    mirrored.indexer.catch_up().await.expect("mirrored");
    assert_eq!(days.spent(&mirrored, account).await, [(0, Some(5))]);
    let verdict = mirrored.indexer.verify(true, |_, _| {}).await.expect("verified");
    assert_eq!((verdict.agree(), verdict.days), (Some(true), Some(1)), "{verdict:?}");
}
