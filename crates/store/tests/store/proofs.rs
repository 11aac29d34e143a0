//! Which proofs of histories are due, and what becomes of those that were taken.

use std::time::{Duration, SystemTime};

use crate::common::{
    CHAIN, Database, anchored, anchored_row, apply, block, database, entries, history_proof, lead,
    tenant,
};
use cofferdam_store::{Mirror, Reader, Sealer, StoreError};
use sqlx::Row;

const HOUR: Duration = Duration::from_secs(3600);

/// A tenant's next batch, of so many entries, sealed and mirrored.
async fn anchor(database: &Database, mirror: &Mirror, of: u8, ids: std::ops::Range<usize>) {
    let sequencer = database.sequencer().await;
    sequencer.appender().append(tenant(of), entries(ids)).await.expect("appended");
    let batch = database.seal(CHAIN, tenant(of)).await;
    let at = mirror.checkpoint().await.expect("read");
    let next = block(at.map_or(1, |at| at.number + 1));
    let rows = [anchored_row(anchored(&batch, next.number, 0))];
    apply(mirror, at, next, &[(next.number, next.hash)], &rows).await.expect("mirrored");
}

#[tokio::test]
async fn a_proof_is_due_once_something_is_mirrored_and_replaces_the_one_before_when_final() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    for byte in [1, 2] {
        sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
    }
    let sealer = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let now = SystemTime::now();
    let due = async |after: Duration, passed: &[_]| {
        sealer.unproven(now + after, 24 * HOUR, passed, 9).await.expect("read")
    };
    assert_eq!(due(HOUR, &[]).await, []);

    anchor(&database, &mirror, 1, 0..2).await;
    anchor(&database, &mirror, 2, 0..2).await;
    assert_eq!(due(HOUR, &[]).await, [(tenant(1), 1), (tenant(2), 1)]);
    assert_eq!(due(HOUR, &[tenant(1)]).await, [(tenant(2), 1)]);
    // What is sealed and in no block yet is not.
    sequencer.appender().append(tenant(1), entries(2..3)).await.expect("appended");
    database.seal(CHAIN, tenant(1)).await;
    assert_eq!(due(HOUR, &[]).await, [(tenant(1), 1), (tenant(2), 1)]);

    let keep = async |of: u8, number: u64, batches: u8, after: Duration| {
        let mut tx = sealer.tenant(tenant(of)).await.expect("a transaction");
        let proof = history_proof(batches);
        tx.keep_proof(block(number), &proof, now + after).await.expect("kept");
        tx.commit().await.expect("committed");
    };
    let kept = async |of: u8| {
        let mut tx = reader.tenant(tenant(of)).await.expect("a transaction");
        tx.kept_proof().await.expect("read")
    };
    let settle = async |of: u8, number: u64, stands: bool| {
        let mut tx = sealer.tenant(tenant(of)).await.expect("a transaction");
        match stands {
            true => tx.settle_proof(number).await.expect("settled"),
            false => tx.drop_proof(number).await.expect("dropped"),
        }
        tx.commit().await.expect("committed");
    };
    keep(1, 5, 1, Duration::ZERO).await;
    keep(2, 6, 1, Duration::ZERO).await;
    assert_eq!(due(48 * HOUR, &[]).await, [], "both wait to be final");
    assert_eq!(kept(1).await, None);
    let unsettled = async |until| sealer.unsettled_proofs(until, 9).await.expect("read");
    assert_eq!(unsettled(5).await, [(tenant(1), block(5))]);
    assert_eq!(unsettled(9).await, [(tenant(1), block(5)), (tenant(2), block(6))]);
    settle(1, 5, true).await;
    settle(2, 6, false).await;
    assert_eq!(unsettled(9).await, []);
    assert_eq!(kept(1).await, Some((block(5), history_proof(1))));
    assert_eq!((kept(2).await, due(HOUR, &[]).await), (None, vec![(tenant(2), 1)]));

    // Renewed once it is a day old and there is more to prove; the clock may have been stepped back.
    keep(2, 7, 1, Duration::ZERO).await;
    settle(2, 7, true).await;
    assert_eq!(due(48 * HOUR, &[]).await, []);
    anchor(&database, &mirror, 2, 2..3).await;
    assert_eq!(due(23 * HOUR, &[]).await, []);
    assert_eq!(due(25 * HOUR, &[]).await, [(tenant(2), 2)]);
    let before = sealer.unproven(now - HOUR, 24 * HOUR, &[], 9).await.expect("read");
    assert_eq!(before, [(tenant(2), 2)]);

    // The later one proves every earlier batch too: what was before is dropped, and only then.
    keep(2, 8, 2, 25 * HOUR).await;
    assert_eq!(kept(2).await.expect("the last final one").0, block(7));
    settle(2, 8, true).await;
    assert_eq!(kept(2).await, Some((block(8), history_proof(2))));
    let mut raw = database.raw(None).await;
    let rows = sqlx::query("SELECT count(*) FROM cofferdam.kept_proofs").fetch_one(&mut raw).await;
    assert_eq!(rows.expect("counted").get::<i64, _>(0), 2);
    settle(2, 8, false).await;
    assert!(kept(2).await.is_some(), "what is final stays");
}

#[tokio::test]
async fn only_who_leads_keeps_proofs() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("t1", tenant(1)).await.expect("added");
    let sealer = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
    let first = lead(&sealer).await;
    first.release().await.expect("released");
    lead(&sealer).await;
    let mut tx = first.tenant(tenant(1)).await.expect("a transaction");
    let refused = [
        tx.keep_proof(block(5), &history_proof(1), SystemTime::now()).await,
        tx.settle_proof(5).await,
        tx.drop_proof(5).await,
    ];
    for refused in refused {
        assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    }
}
