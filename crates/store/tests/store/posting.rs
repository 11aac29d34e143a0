//! The lease, the ledger of transactions, and incidents (I8, I9).

use std::time::Duration;

use crate::common::{
    CHAIN, Database, anchored, anchored_row, apply, block, database, entries, lead, tenant,
};
use alloy_primitives::U256;
use cofferdam_core::{Address, B256, Seq, TenantId};
use cofferdam_store::{
    Attempt, Finality, Item, Leadership, Mined, Mirror, Outcome, Reader, SealedBatch, Sealer,
    Stages, StoreError,
};

const LONG: Duration = Duration::from_secs(3600);

async fn sealer(database: &Database, bytes: &[u8]) -> Sealer {
    let sequencer = database.sequencer().await;
    for &byte in bytes {
        sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
        sequencer.appender().append(tenant(byte), entries(0..3)).await.expect("appended");
    }
    Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer")
}

fn sender() -> Address {
    Address::repeat_byte(7)
}

fn attempt(byte: u8, max_fee: u128) -> Attempt {
    Attempt { hash: B256::repeat_byte(byte), raw: vec![byte; 3].into(), max_fee, tip: 1 }
}

fn carried(batches: &[SealedBatch]) -> Vec<(TenantId, Item)> {
    batches.iter().map(|batch| (batch.tenant, Item::Batch(batch.index))).collect()
}

fn mined(byte: u8, done: Vec<(TenantId, Item)>) -> Mined {
    Mined {
        hash: B256::repeat_byte(byte),
        success: true,
        block_number: 4,
        block_hash: block(4).hash,
        gas_used: 100,
        effective_gas_price: 3,
        l1_fee: U256::from(40),
        operator_fee: U256::from(5),
        done,
    }
}

#[tokio::test]
async fn a_lease_has_one_holder_and_its_epoch_refuses_whoever_led_before() {
    let database = database().await;
    let plain = sealer(&database, &[1]).await;
    let first = lead(&plain).await;
    first.renew(LONG).await.expect("renewed");
    let Leadership::Theirs(leader) = plain.lead("second", LONG).await.expect("asked") else {
        panic!("two lead");
    };
    assert_eq!((&*leader.holder, leader.epoch), ("first", 1));
    assert!(leader.remaining > LONG / 2, "{leader:?}");

    // It stops renewing, as one that is paused does, and another one takes over.
    first.renew(Duration::ZERO).await.expect("run out");
    let Leadership::Ours(second) = plain.lead("second", LONG).await.expect("asked") else {
        panic!("nobody leads");
    };
    // Whatever the first still has in hand is refused: by the database, not by its own clock.
    let deposed = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Deposed { epoch: 1 })), "{result:?}");
    };
    deposed(first.renew(LONG).await);
    deposed(first.release().await);
    deposed(first.wait_for(Some("funds")).await);
    deposed(first.set_finality(Finality::default()).await);
    deposed(first.halt(tenant(1), "test", "no reason").await);
    deposed(first.halt_all("test", "no reason").await);
    deposed(first.record_intent(sender(), 0, &attempt(1, 1), &[]).await.map(drop));
    let mut tx = first.tenant(tenant(1)).await.expect("a transaction");
    deposed(tx.insert_batch(Seq(0), 3, [1; 32].into()).await.map(drop));
    drop(tx);
    assert_eq!(second.unsettled().await.expect("read"), []);
    assert_eq!(second.incidents(9).await.expect("read"), []);

    // The second one's writes go through, and its name and needs are read.
    second.wait_for(Some("funds")).await.expect("said");
    let leader = plain.leader().await.expect("read").expect("one");
    assert_eq!((&*leader.holder, leader.epoch), ("second", 2));
    assert_eq!(leader.waiting.as_deref(), Some("funds"));
    // Whatever a node's proxy says instead of it.
    let page = format!("a\0{}", "€".repeat(4096));
    second.wait_for(Some(&page)).await.expect("said");
    let said = plain.leader().await.expect("read").expect("one").waiting.expect("something");
    assert!(said.len() > 4000 && said.starts_with("a\u{fffd}€"), "{} bytes", said.len());
    let mut tx = second.tenant(tenant(1)).await.expect("a transaction");
    tx.insert_batch(Seq(0), 3, [1; 32].into()).await.expect("sealed");
    tx.commit().await.expect("committed");
    // Given up, it is free at once.
    second.release().await.expect("released");
    let Ok(Leadership::Ours(mut last)) = plain.lead("third", LONG).await else {
        panic!("nobody leads");
    };
    // It is gone, and the database's clock was stepped back: nobody waits for longer than twice its lease.
    let mut raw = database.raw(None).await;
    for (lease, step) in [(LONG, "2 hours"), (Duration::from_secs(15), "1 minute")] {
        last.renew(lease).await.expect("renewed");
        assert!(matches!(plain.lead("next", lease).await, Ok(Leadership::Theirs(_))));
        let ahead = "UPDATE cofferdam.leases SET expires_at = expires_at + $1::text::interval";
        sqlx::query(ahead).bind(step).execute(&mut raw).await.expect("stepped");
        let Ok(Leadership::Ours(next)) = plain.lead("next", lease).await else {
            panic!("{step} later, nobody leads");
        };
        last = next;
    }
}

#[tokio::test]
async fn nobody_takes_over_between_a_leaders_check_and_its_commit() {
    let database = database().await;
    let plain = sealer(&database, &[1]).await;
    let first = lead(&plain).await;
    first.renew(Duration::ZERO).await.expect("run out");
    let mut tx = first.tenant(tenant(1)).await.expect("a transaction");
    tx.insert_batch(Seq(0), 3, [1; 32].into()).await.expect("sealed");
    // Its write holds the lease: the other one waits for the commit.
    let taking = plain.lead("second", LONG);
    let early = tokio::time::timeout(Duration::from_millis(300), taking).await;
    assert!(early.is_err(), "taken in the middle of a write");
    tx.commit().await.expect("committed");
    assert!(matches!(plain.lead("second", LONG).await, Ok(Leadership::Ours(_))));
}

#[tokio::test]
async fn the_ledger_follows_an_intent_to_the_block_and_back() {
    let database = database().await;
    let plain = sealer(&database, &[1, 2, 3]).await;
    let ledger = lead(&plain).await;
    let mut batches = vec![];
    for byte in [1, 2, 3] {
        batches.push(database.seal(CHAIN, tenant(byte)).await);
    }
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), batches);
    let intent = ledger
        .record_intent(sender(), 5, &attempt(1, 10), &carried(&batches[..2]))
        .await
        .expect("recorded");
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), batches[2..]);
    assert_eq!(ledger.unsettled().await.expect("read"), std::slice::from_ref(&intent));
    ledger.record_attempt(&intent, &attempt(2, 12)).await.expect("recorded");
    let open = ledger.unsettled().await.expect("read").remove(0);
    assert_eq!(open.attempts, [attempt(1, 10), attempt(2, 12)]);
    assert_eq!((open.id, open.nonce, open.items, open.outcome), (intent.id, 5, 2, Outcome::Open));

    // Mined: only the first batch went in, and bears everything.
    let first = carried(&batches[..1]);
    ledger.mined(&intent, &mined(2, first.clone())).await.expect("written");
    let of = |costs: &std::collections::HashMap<TenantId, cofferdam_store::Cost>, byte| {
        let cost = costs.get(&tenant(byte)).copied().unwrap_or_default();
        (cost.batches, cost.gas, cost.fee.saturating_to::<u64>())
    };
    let costs = ledger.costs().await.expect("read");
    assert_eq!(
        [of(&costs, 1), of(&costs, 2), of(&costs, 3)],
        [(1, 100, 345), (0, 0, 0), (0, 0, 0)]
    );
    let at =
        Outcome::Mined { hash: B256::repeat_byte(2), block_number: 4, block_hash: block(4).hash };
    let read = ledger.unsettled().await.expect("read").remove(0);
    assert_eq!(read.outcome, at);
    assert!(read.attempts.iter().all(|attempt| attempt.raw.is_empty()), "bytes nobody needs");
    // Seen anchored, it is not posted again; the one that was left out is.
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), batches[1..]);
    let totals = ledger.totals().await.expect("read");
    assert_eq!((totals.transactions, totals.gas_used, totals.fee_wei), (1, 100, 345));

    // The chain takes it back: everything of it may still happen, at no cost yet.
    ledger.reopen(&intent).await.expect("written");
    assert_eq!(ledger.unsettled().await.expect("read"), [open]);
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), batches[2..]);
    assert_eq!(of(&ledger.costs().await.expect("read"), 1), (0, 0, 0));
    assert_eq!(ledger.totals().await.expect("read").fee_wei, 0);

    // Somebody else's transaction took the nonce: the batches are free.
    ledger.taken(&intent, 6).await.expect("written");
    let taken = Outcome::Taken { block_number: 6 };
    assert_eq!(ledger.unsettled().await.expect("read")[0].outcome, taken);
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), batches);
    // It was ours after all, by a receipt that came late; both share, to the last wei.
    ledger.mined(&intent, &mined(1, carried(&batches[..2]))).await.expect("written");
    let costs = ledger.costs().await.expect("read");
    assert_eq!([of(&costs, 1), of(&costs, 2)], [(1, 50, 173), (1, 50, 172)]);
    ledger.settle(&intent).await.expect("settled");
    assert_eq!(ledger.unsettled().await.expect("read"), []);
    assert_eq!(of(&ledger.costs().await.expect("read"), 1), (1, 50, 173), "costs stay");

    let stranger = cofferdam_store::Intent { id: B256::ZERO, ..intent };
    let error = ledger.mined(&stranger, &mined(9, first)).await.expect_err("never recorded");
    assert!(matches!(error, StoreError::UnknownTransaction(B256::ZERO)), "{error}");
}

#[tokio::test]
async fn what_a_replaced_key_left_behind_is_watched_until_it_cannot_matter() {
    let database = database().await;
    let ledger = lead(&sealer(&database, &[1]).await).await;
    let batch = database.seal(CHAIN, tenant(1)).await;
    let intent = ledger.record_intent(sender(), 5, &attempt(1, 10), &carried(&[batch])).await;
    let intent = intent.expect("recorded");
    let unsettled = async || ledger.unsettled().await.expect("read").len();
    ledger.abandon(&intent, 9).await.expect("written");
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), [batch], "free");
    assert_eq!(unsettled().await, 1, "it may still be mined");
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let event = [anchored_row(anchored(&batch, 5, 0))];
    apply(&mirror, None, block(5), &[], &event).await.expect("applied");
    // Again and again, and nothing is written.
    let mut raw = database.raw(None).await;
    let mut versions = vec![];
    for _ in 0..2 {
        ledger.abandon(&intent, 4).await.expect("written");
        let sql = "SELECT (SELECT t.xmin::text FROM cofferdam.transactions t), \
                       (SELECT p.xmin::text FROM cofferdam.postings p)";
        versions.push(sqlx::query_as::<_, (String, String)>(sql).fetch_one(&mut raw).await);
    }
    let versions: Vec<_> = versions.into_iter().map(|version| version.expect("read")).collect();
    assert_eq!(versions[0], versions[1]);
    assert_eq!(unsettled().await, 1, "a reorg may take that back");
    ledger.abandon(&intent, 5).await.expect("written");
    assert_eq!(unsettled().await, 0);
}

#[tokio::test]
async fn i8_a_settled_transaction_that_a_reorg_took_back_may_be_made_again() {
    let database = database().await;
    let plain = sealer(&database, &[1]).await;
    let ledger = lead(&plain).await;
    let batches = [database.seal(CHAIN, tenant(1)).await];
    let items = carried(&batches);
    // Whichever of its attempts it is that is made again.
    for byte in [1, 2] {
        let intent = ledger.record_intent(sender(), 5, &attempt(byte, 10), &items).await;
        let intent = intent.expect("recorded");
        assert_eq!((intent.id, intent.nonce), (B256::repeat_byte(1), 5));
        assert_eq!(ledger.unsettled().await.expect("read"), std::slice::from_ref(&intent));
        assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), [], "under way");
        assert_eq!(ledger.vitals().await.expect("read").fee_wei, 0, "nothing is spent now");
        assert_eq!(ledger.costs().await.expect("read")[&tenant(1)].batches, 0);
        if byte == 1 {
            ledger.record_attempt(&intent, &attempt(2, 10)).await.expect("recorded");
        }
        ledger.mined(&intent, &mined(2, items.clone())).await.expect("written");
        let spent = async || {
            let vitals = ledger.vitals().await.expect("read");
            let totals = ledger.totals().await.expect("read");
            assert_eq!((vitals.gas_used, vitals.fee_wei), (totals.gas_used, totals.fee_wei));
            vitals.fee_wei
        };
        assert_eq!(spent().await, 345);
        for _ in 0..2 {
            ledger.settle(&intent).await.expect("settled");
            assert_eq!(spent().await, 345, "the running sum has it once");
        }
        assert_eq!(ledger.unsettled().await.expect("read"), []);
        let cost = ledger.costs().await.expect("read")[&tenant(1)];
        assert_eq!((cost.batches, cost.fee), (1, U256::from(345)), "once");
        // The event is not there any more: nobody has seen it anchored.
        assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), batches);
    }
}

#[tokio::test]
async fn a_batchs_stages_follow_the_canonical_event_and_the_chains_own_words() {
    let database = database().await;
    let plain = sealer(&database, &[1]).await;
    let ledger = lead(&plain).await;
    let batch = database.seal(CHAIN, tenant(1)).await;
    let stages = async || ledger.stages().await.expect("read").remove(&tenant(1)).expect("there");
    let at = |posted, included, safe, last_final| Stages { posted, included, safe, last_final };
    assert_eq!(stages().await, at(0, 0, 0, 0));
    ledger.record_intent(sender(), 0, &attempt(1, 1), &carried(&[batch])).await.expect("recorded");
    assert_eq!(stages().await, at(3, 0, 0, 0));
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let event = [anchored_row(anchored(&batch, 5, 0))];
    apply(&mirror, None, block(4), &[(4, block(4).hash)], &[]).await.expect("applied");
    apply(&mirror, Some(block(4)), block(5), &[], &event).await.expect("applied");
    for (safe, last_final, expected) in
        [(4, 3, at(3, 3, 0, 0)), (5, 4, at(3, 3, 3, 0)), (9, 5, at(3, 3, 3, 3))]
    {
        let finality = Finality { head: 9, safe, last_final };
        ledger.set_finality(finality).await.expect("written");
        assert_eq!(ledger.finality().await.expect("read"), Some(finality));
        assert_eq!(stages().await, expected);
    }
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    mirror.rewind(&reader, block(5), block(4)).await.expect("rewound");
    assert_eq!(stages().await, at(3, 0, 0, 0), "posted, as long as the ledger says so");
}

#[tokio::test]
async fn one_root_a_position_for_ever() {
    let database = database().await;
    let ledger = lead(&sealer(&database, &[1]).await).await;
    let batch = database.seal(CHAIN, tenant(1)).await;
    let mut tx = ledger.tenant(tenant(1)).await.expect("a transaction");
    let error = tx.insert_batch(Seq(0), 3, [1; 32].into()).await.expect_err("sealed already");
    assert!(matches!(error, StoreError::BatchGap { .. }), "{error}");
    drop(tx);
    // No role that runs may change what was sealed.
    for role in ["cofferdam_sealer", "cofferdam_indexer", "cofferdam_sequencer"] {
        let mut raw = database.raw(Some(role)).await;
        for sql in ["UPDATE cofferdam.batches SET root = root", "DELETE FROM cofferdam.batches"] {
            let error = sqlx::query(sql).execute(&mut raw).await.expect_err(role);
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {sql}");
        }
    }
    assert_eq!(ledger.unanchored_batches(9, &[]).await.expect("listed"), [batch]);
}

#[tokio::test]
async fn i9_a_halt_stays_until_an_operator_decides_and_comes_back_when_found_again() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    let contract = Address::repeat_byte(9);
    sequencer.register_deployment(contract, block(9).hash, 0).await.expect("registered");
    let plain = sealer(&database, &[1, 2]).await;
    let ledger = lead(&plain).await;
    ledger.halt(tenant(1), "chain-ahead", "it is").await.expect("halted");
    ledger.halt(tenant(1), "chain-ahead", "it is").await.expect("halted again");
    ledger.halt_all("other-chain", "it is").await.expect("halted");
    let open = async || {
        let all = plain.incidents(9).await.expect("read");
        all.iter().filter(|it| it.resolved_at.is_none()).count()
    };
    assert_eq!((open().await, plain.incidents(9).await.expect("read").len()), (2, 2));
    assert_eq!(plain.all_halted().await.expect("read").as_deref(), Some("other-chain: it is"));
    assert_eq!(plain.totals().await.expect("read").incidents, 2);

    // A decision on everything leaves the tenant halted, and the other way round.
    let seen = plain.standing_of_all().await.expect("read");
    ledger.halt_all("other-code", "since then").await.expect("halted");
    let error = plain.resume_all(&seen).await.expect_err("more was found");
    assert!(matches!(error, StoreError::Meanwhile { tenant: None }), "{error}");
    assert_eq!(plain.all_halted().await.expect("read").as_deref(), Some("other-chain: it is"));
    let seen = plain.standing_of_all().await.expect("read");
    plain.resume_all(&seen).await.expect("resumed");
    // Nor is a halt of which nothing was known.
    let seen = plain.standing_of_all().await.expect("read");
    ledger.halt_all("other-chain", "it is").await.expect("halted");
    let error = plain.resume_all(&seen).await.expect_err("more was found");
    assert!(matches!(error, StoreError::Meanwhile { tenant: None }), "{error}");
    let seen = plain.standing_of_all().await.expect("read");
    plain.resume_all(&seen).await.expect("resumed");
    assert_eq!((plain.all_halted().await.expect("read"), open().await), (None, 1));
    let halted = async || plain.heads().await.expect("heads")[0].halted.clone();
    assert_eq!(halted().await.as_deref(), Some("chain-ahead: it is"));
    // What was found after the operator looked is not lifted with it.
    let seen = plain.standing(tenant(1)).await.expect("read");
    ledger.halt(tenant(1), "tampered", "since then").await.expect("halted");
    let error = plain.resume(tenant(1), &seen).await.expect_err("more was found");
    assert!(matches!(error, StoreError::Meanwhile { .. }), "{error}");
    assert_eq!((halted().await.as_deref(), open().await), (Some("chain-ahead: it is"), 2));
    let resume = async |of| {
        let seen = plain.standing(of).await.expect("read");
        plain.resume(of, &seen).await
    };
    resume(tenant(1)).await.expect("resumed");
    assert_eq!((halted().await, open().await), (None, 0));
    // Nor is a halt of which nothing was known.
    let seen = plain.standing(tenant(1)).await.expect("read");
    ledger.halt(tenant(1), "tampered", "since then").await.expect("halted");
    let error = plain.resume(tenant(1), &seen).await.expect_err("more was found");
    assert!(matches!(error, StoreError::Meanwhile { .. }), "{error}");
    resume(tenant(1)).await.expect("resumed");
    // The same finding again is open again.
    ledger.halt(tenant(1), "chain-ahead", "it is").await.expect("halted");
    assert_eq!((open().await, plain.incidents(9).await.expect("read").len()), (1, 4));
    let error = resume(tenant(9)).await.expect_err("nobody");
    assert!(matches!(error, StoreError::UnknownTenant { .. }), "{error}");
}
