//! Sealing, mirroring, reconciling and rewinding (I8, I9).

use crate::common::{
    CHAIN, Database, anchored, anchored_row, anchorer_row, apply, block, database, entries,
    position, tenant,
};
use cofferdam_core::{B256, BatchIndex, EntryHash, Seq};
use cofferdam_store::{Applied, Counters, Hole, Mirror, Reader, Sealer, StoreError};

async fn tenants(database: &Database, bytes: &[u8], count: usize) -> (Sealer, Mirror) {
    let sequencer = database.sequencer().await;
    for &byte in bytes {
        sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
        sequencer.appender().append(tenant(byte), entries(0..count)).await.expect("appended");
    }
    (
        Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer"),
        Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror"),
    )
}

async fn reader(database: &Database) -> Reader {
    Reader::connect(&database.runtime, CHAIN).await.expect("a reader")
}

#[tokio::test]
async fn batches_are_contiguous_and_never_pass_the_head() {
    let database = database().await;
    let (sealer, _) = tenants(&database, &[1], 10).await;
    let root = [7; 32].into();
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    for (first, count) in [(1, 3), (0, 0), (0, 11), (0, u64::MAX), (u64::MAX, 2)] {
        let error = tx.insert_batch(Seq(first), count, root).await.expect_err("a gap");
        assert!(matches!(error, StoreError::BatchGap { .. }), "{first} {count}: {error}");
    }
    let first = tx.insert_batch(Seq(0), 4, root).await.expect("sealed");
    assert_eq!((first.index, first.count, first.anchored), (BatchIndex(0), 4, None));
    let oldest = tx.head().await.expect("a head").oldest_unsealed_at.expect("six are unsealed");
    assert!(oldest.elapsed().expect("in the past").as_secs() < 600, "the age of what is left");
    let error = tx.insert_batch(Seq(0), 4, root).await.expect_err("sealed already");
    assert!(matches!(error, StoreError::BatchGap { .. }));
    tx.insert_batch(Seq(4), 6, root).await.expect("sealed");
    let head = tx.head().await.expect("a head");
    assert_eq!(
        (head.unsealed(), head.sealed_batches, head.oldest_unsealed_at),
        (0, BatchIndex(2), None)
    );
    for (seq, index) in [(0, Some(0)), (3, Some(0)), (4, Some(1)), (9, Some(1)), (10, None)] {
        let found = tx.batch_of(Seq(seq)).await.expect("looked up").map(|batch| batch.index.get());
        assert_eq!(found, index, "entry {seq}");
    }
    assert_eq!(tx.batches().await.expect("batches").len(), 2);
    assert_eq!(tx.batch(BatchIndex(1)).await.expect("read").expect("there").first_seq, Seq(4));
    drop(tx);
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    assert_eq!(tx.batches().await.expect("batches"), [], "not committed, not there");
}

#[tokio::test]
async fn a_sealed_head_holds_up_appending_only_until_it_is_released() {
    let database = database().await;
    let (sealer, _) = tenants(&database, &[1, 2], 5).await;
    let appender = database.sequencer().await.appender();
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    tx.lock_head().await.expect("a head");
    let limit = std::time::Duration::from_millis(300);
    let held = tokio::time::timeout(limit, appender.append(tenant(1), entries(5..6))).await;
    assert!(held.is_err(), "the tenant's writers wait");
    let free = tokio::time::timeout(limit * 20, appender.append(tenant(2), entries(5..6))).await;
    free.expect("other tenants do not").expect("appended");
    drop(tx);
    let answers = appender.append(tenant(1), entries(5..6)).await.expect("appended");
    assert_eq!(answers[0].clone().expect("fine").seq(), Seq(5), "dropped calls still count once");
}

#[tokio::test]
async fn events_confirm_what_was_sealed_and_a_rewind_takes_them_back() {
    let database = database().await;
    let (sealer, mirror) = tenants(&database, &[1, 2], 5).await;
    let (one, two) = (database.seal(CHAIN, tenant(1)).await, database.seal(CHAIN, tenant(2)).await);
    assert_eq!(sealer.unanchored_batches(10, &[]).await.expect("listed"), [one, two]);
    assert_eq!(sealer.unanchored_batches(1, &[]).await.expect("listed"), [one]);

    let stranger = anchored(&cofferdam_store::SealedBatch { tenant: tenant(9), ..one }, 3, 7);
    let events = vec![
        anchorer_row(tenant(1), 0, position(2, 0)),
        anchored_row(anchored(&one, 2, 1)),
        anchored_row(stranger),
    ];
    let blocks = [(1, block(1).hash), (2, block(2).hash), (3, block(3).hash)];
    let mut stale = vec![];
    for from in [None, Some(block(2)), Some(block(4))] {
        let counted = mirror.count(&mut Counters::default(), events.clone()).await;
        stale.push((from, counted.expect("counted")));
    }
    let applied = apply(&mirror, None, block(3), &blocks, &events).await.expect("applied");
    assert_eq!(applied, Applied { mirrored: 3, anchored: 1, incidents: 0 });
    assert_eq!(mirror.checkpoint().await.expect("read"), Some(block(3)));
    assert_eq!(sealer.checkpoint().await.expect("read"), Some(block(3)));
    assert_eq!(mirror.block_hash(2).await.expect("read"), Some(block(2).hash));
    assert_eq!(sealer.unanchored_batches(10, &[]).await.expect("listed"), [two]);

    // Whoever builds on another checkpoint, or on none, is told, also with what was counted before.
    for (from, counted) in stale {
        let error = mirror.apply(from, block(5), &[], counted).await.expect_err("moved");
        assert!(
            matches!(error, StoreError::CheckpointMoved { found, .. } if found == Some(block(3)))
        );
    }
    // A block that is there under another hash is not overwritten.
    let fork = [(3, B256::repeat_byte(0xaa)), (4, block(4).hash)];
    let error = apply(&mirror, Some(block(3)), block(4), &fork, &[]).await.expect_err("a fork");
    assert!(matches!(error, StoreError::OtherBlock { number: 3, .. }), "{error}");
    assert_eq!(mirror.checkpoint().await.expect("read"), Some(block(3)), "nothing of it stays");
    // The same events again are something twice.
    let error = apply(&mirror, Some(block(3)), block(4), &[], &events).await.expect_err("twice");
    assert!(matches!(error, StoreError::Hole(Hole { expected: 1, found: 0, .. })), "{error}");
    apply(&mirror, Some(block(3)), block(4), &[], &[]).await.expect("applied");
    let confirm = [anchored_row(anchored(&two, 5, 0))];
    apply(&mirror, Some(block(4)), block(5), &[(5, block(5).hash)], &confirm)
        .await
        .expect("applied");

    let reader = reader(&database).await;
    let mut tx = reader.tenant(tenant(1)).await.expect("a transaction");
    let event = tx.anchored().await.expect("events")[0];
    assert_eq!(event, anchored(&one, 2, 1));
    let confirmed =
        tx.batch_of(Seq(0)).await.expect("read").expect("there").anchored.expect("anchored");
    assert_eq!((confirmed.anchored_at, confirmed.position), (event.anchored_at, event.position));
    drop(tx);
    assert_eq!(sealer.totals().await.expect("totals").anchored, 2);

    // A reorg above block 2 takes back what came after it, and nothing else.
    let error = mirror.rewind(&reader, block(4), block(2)).await.expect_err("moved");
    assert!(matches!(error, StoreError::CheckpointMoved { .. }));
    mirror.rewind(&reader, block(5), block(2)).await.expect("rewound");
    assert_eq!(mirror.checkpoint().await.expect("read"), Some(block(2)));
    assert_eq!(mirror.block_hash(3).await.expect("read"), None);
    assert_eq!(mirror.block_hash(2).await.expect("read"), Some(block(2).hash));
    assert_eq!(sealer.unanchored_batches(10, &[]).await.expect("listed"), [two]);
    for (byte, count) in [(1, 1), (2, 0), (9, 0)] {
        let mut tx = reader.tenant(tenant(byte)).await.expect("a transaction");
        assert_eq!(tx.anchored().await.expect("events").len(), count, "tenant {byte}");
    }
    let again = [anchored_row(anchored(&two, 3, 0))];
    let applied = apply(&mirror, Some(block(2)), block(3), &[(3, block(3).hash)], &again).await;
    assert_eq!(applied.expect("applied"), Applied { mirrored: 1, anchored: 1, incidents: 0 });
}

#[tokio::test]
async fn a_long_queue_of_one_tenant_leaves_room_for_the_others() {
    let database = database().await;
    let (sealer, _) = tenants(&database, &[1, 2, 3], 5).await;
    let mut queue = vec![database.seal(CHAIN, tenant(2)).await];
    for id in 5..8 {
        let appender = database.sequencer().await.appender();
        appender.append(tenant(2), entries(id..id + 1)).await.expect("appended");
        queue.push(database.seal(CHAIN, tenant(2)).await);
    }
    let other = database.seal(CHAIN, tenant(3)).await;
    // A lower id is no reason to come first.
    let last = database.seal(CHAIN, tenant(1)).await;
    let listed = sealer.unanchored_batches(4, &[]).await.expect("listed");
    assert_eq!(listed, [queue[0], other, last, queue[1]]);
    let listed = sealer.unanchored_batches(2, &[tenant(2)]).await.expect("listed");
    assert_eq!(listed, [other, last]);
}

#[tokio::test]
async fn i9_a_difference_halts_that_tenant_alone_and_is_an_incident_once() {
    let database = database().await;
    let (sealer, mirror) = tenants(&database, &[1, 2, 3], 5).await;
    let mut sealed = Vec::new();
    for byte in [1, 2, 3] {
        sealed.push(database.seal(CHAIN, tenant(byte)).await);
    }
    let mut other_root = anchored(&sealed[0], 1, 0);
    other_root.root = [9; 32].into();
    let known = anchored(&sealed[1], 1, 1);
    let mut unknown = anchored(&sealed[1], 1, 2);
    (unknown.index, unknown.first_seq) = (BatchIndex(1), Seq(5));
    let fine = anchored(&sealed[2], 1, 3);
    let events = [other_root, known, unknown, fine].map(anchored_row);
    let applied = apply(&mirror, None, block(1), &[], &events).await.expect("applied");
    assert_eq!(applied, Applied { mirrored: 4, anchored: 2, incidents: 2 });
    // Taken back and mirrored again, it is the same finding.
    mirror.rewind(&reader(&database).await, block(1), block(0)).await.expect("rewound");
    apply(&mirror, Some(block(0)), block(1), &[], &events).await.expect("applied again");

    let heads = sealer.heads().await.expect("heads");
    let halted: Vec<_> = heads.iter().map(|head| head.halted.as_deref()).collect();
    assert!(halted[0].is_some_and(|why| why.starts_with("different-batch: batch 0")), "{halted:?}");
    assert!(halted[1].is_some_and(|why| why.starts_with("unknown-batch: batch 1")), "{halted:?}");
    assert_eq!(halted[2], None);
    assert_eq!(sealer.incidents(10).await.expect("listed").len(), 2, "each once");
    assert_eq!(
        sealer.unanchored_batches(10, &[]).await.expect("listed"),
        [],
        "halted ones are not posted"
    );

    let totals = sealer.totals().await.expect("totals");
    assert_eq!((totals.halted, totals.incidents, totals.anchored), (2, 2, 2));

    // A halted tenant goes on appending, and is sealed no further.
    let appender = database.sequencer().await.appender();
    appender.append(tenant(1), entries(5..6)).await.expect("appended");
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    let error = tx.insert_batch(Seq(5), 1, [1; 32].into()).await.expect_err("halted");
    assert!(matches!(error, StoreError::Halted { .. }), "{error}");
}

#[tokio::test]
async fn two_mirrors_never_apply_one_range_twice() {
    let database = database().await;
    let (_, mirror) = tenants(&database, &[1], 1).await;
    let other = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    for (from, to) in [(None, block(1)), (Some(block(1)), block(2))] {
        let applying = |mirror: Mirror| async move { apply(&mirror, from, to, &[], &[]).await };
        let (a, b) = tokio::join!(applying(mirror.clone()), applying(other.clone()));
        let lost: Vec<_> = [a, b].into_iter().filter_map(Result::err).collect();
        assert!(matches!(lost[..], [StoreError::CheckpointMoved { .. }]), "{lost:?}");
    }
    for (from, to) in [(block(2), block(1)), (block(2), block(2))] {
        let backwards = apply(&mirror, Some(from), to, &[], &[]).await;
        assert_eq!(backwards.is_err(), to.number < from.number);
    }
    let error =
        mirror.rewind(&reader(&database).await, block(2), block(2)).await.expect_err("not back");
    assert!(matches!(error, StoreError::BadMove { .. }));
}

#[tokio::test]
async fn a_changed_byte_in_the_database_is_found_and_the_entry_named() {
    let database = database().await;
    tenants(&database, &[1], 3).await;
    let reader = reader(&database).await;
    let mut raw = database.raw(None).await;
    for (change, fault) in [
        ("actor = actor || ' '", "entry 1: its fields"),
        ("seed = decode(repeat('00', 32), 'hex')", "entry 1: its fields"),
        ("recorded_at = ''", "entry 1: its fields"),
        ("commitment = decode(repeat('00', 32), 'hex')", "entry 1: its fields"),
        ("previous = decode(repeat('00', 32), 'hex')", "entry 1: it follows"),
        ("entry_hash = decode(repeat('00', 32), 'hex')", "entry 1: its parts"),
        ("seed = NULL, commitment = decode(repeat('00', 32), 'hex')", "entry 1: its parts"),
    ] {
        let sql = format!(
            "CREATE TABLE public.kept AS SELECT * FROM cofferdam.entries; \
             UPDATE cofferdam.entries SET {change} WHERE seq = 1"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut raw).await.expect("changed");
        let mut tx = reader.tenant(tenant(1)).await.expect("a transaction");
        let (mut previous, mut found) = (EntryHash::ZERO, None);
        for seq in 0..3 {
            let entry = tx.entry(Seq(seq)).await.expect("read").expect("there");
            let verified = entry.verify(tenant(1), previous);
            found = found.or(verified.err().map(|fault| fault.to_string()));
            previous = entry.entry_hash;
        }
        assert!(
            found.as_ref().is_some_and(|found| found.starts_with(fault)),
            "{change}: {found:?}"
        );
        sqlx::raw_sql(
            "DELETE FROM cofferdam.entries; INSERT INTO cofferdam.entries SELECT * FROM public.kept; \
             DROP TABLE public.kept",
        )
        .execute(&mut raw)
        .await
        .expect("restored");
    }
}
