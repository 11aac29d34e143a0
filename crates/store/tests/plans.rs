//! What is asked for by its key reads its own row and not all of the tenant's, though the planner has no
//! statistics to go by.

mod common;

use cofferdam_core::{BatchIndex, Seq};
use cofferdam_store::{Mirror, Reader, TenantTx};
use common::{CHAIN, Database, anchored, anchored_row, apply, block, database, entries, tenant};
use std::time::Duration;

const BATCHES: usize = 12;
/// Entries of a batch.
const EACH: usize = 30;
/// What may be read besides, and is far less than another index would give.
const SLACK: i64 = 8;

/// Rows that were read so far, in all. A server counts what a connection read once that is closed.
async fn total(database: &Database) -> i64 {
    let mut raw = database.raw(None).await;
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                  AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while sqlx::query_scalar::<_, i64>(others).fetch_one(&mut raw).await.expect("a count") > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let read = "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE schemaname = 'cofferdam')::bigint \
                + (SELECT sum(seq_tup_read) FROM pg_stat_all_tables WHERE schemaname = 'cofferdam')::bigint";
    sqlx::query_scalar(read).fetch_one(&mut raw).await.expect("a sum")
}

/// Demands that this reads about so many rows.
async fn reads(database: &Database, rows: i64, doing: impl AsyncFnOnce(TenantTx)) {
    let before = total(database).await;
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    doing(reader.tenant(tenant(1)).await.expect("a transaction")).await;
    drop(reader);
    let read = total(database).await - before;
    assert!((rows..rows + SLACK).contains(&read), "{read} rows, not {rows}");
}

#[tokio::test]
async fn a_key_reads_its_row_alone() {
    let database = database().await;
    let mut events = vec![];
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    for batch in 0..BATCHES {
        let new = entries(batch * EACH..(batch + 1) * EACH);
        sequencer.appender().append(tenant(1), new).await.expect("appended");
        let sealed = database.seal(CHAIN, tenant(1)).await;
        events.push(anchored(&sealed, 1, batch as u64));
    }
    drop(sequencer);
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let rows: Vec<_> = events.iter().copied().map(anchored_row).collect();
    apply(&mirror, None, block(1), &[], &rows).await.expect("applied");
    drop(mirror);

    // Its batch, tiles, history and leaves, and two nodes.
    reads(&database, EACH as i64 + 5, async |mut tx| {
        tx.inclusion(Seq(77)).await.expect("read").expect("anchored");
    })
    .await;
    reads(&database, 1, async |mut tx| {
        tx.entry(Seq(77)).await.expect("read").expect("stored");
    })
    .await;
    // The tenant's key, too.
    reads(&database, 2, async |mut tx| {
        tx.entry_by_external_id("id-77").await.expect("read").expect("stored");
    })
    .await;
    reads(&database, 1, async |mut tx| {
        tx.batch(BatchIndex(7)).await.expect("read").expect("sealed");
    })
    .await;
    reads(&database, 1, async |mut tx| {
        tx.tiles(&events[7].batch()).await.expect("read");
    })
    .await;
    // What is appended again is found by its id, beside what the door itself reads.
    reads(&database, 3, async |_| {
        let appender = database.sequencer().await.appender();
        let again = appender.append(tenant(1), entries([7, 77, 277])).await;
        assert_eq!(again.expect("repeats").len(), 3);
    })
    .await;
}
