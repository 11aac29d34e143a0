//! A clock that is stepped back or ahead: what an entry says of its time is what the clock said, and order,
//! chain and sealing do not depend on it (I8).

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::common::{CHAIN, Database, database, entries, tenant};
use cofferdam_core::{BatchTiles, EntryHash, FieldName, Seq, Timestamp};
use cofferdam_store::{
    Appended, Reader, SealPolicy, Sealer, StoreError, StoredEntry, allow_enqueue, enqueue,
};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, Row};

const HOUR: u64 = 3_600;

async fn stored(database: &Database) -> Vec<StoredEntry> {
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let mut tx = reader.tenant(tenant(1)).await.expect("a transaction");
    tx.entries(Seq(0), u64::MAX).try_collect().await.expect("entries")
}

/// Enqueues entries in a transaction of an application's.
async fn enqueued(database: &Database, ids: Range<usize>) {
    let mut raw = database.raw(None).await;
    let application = format!("app_of_{}", database.runtime.user());
    let exists = sqlx::query("SELECT FROM pg_roles WHERE rolname = $1").bind(&application);
    if exists.fetch_optional(&mut raw).await.expect("asked").is_none() {
        let sql = format!("CREATE ROLE {application}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut raw).await.expect("created");
        allow_enqueue(&database.admin, &application).await.expect("allowed");
    }
    let mut application = database.raw(Some(&application)).await;
    let mut tx = application.begin().await.expect("a transaction");
    enqueue(&mut tx, CHAIN, tenant(1), &entries(ids)).await.expect("enqueued");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn i8_a_clock_that_is_stepped_breaks_neither_order_nor_chain_nor_sealing() {
    let database = database().await;
    // The database's clock is right, and in the beginning so is ours.
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let clock = Arc::new(AtomicU64::new(begin));
    let at = clock.clone();
    let sequencer = database.sequencer().await;
    let sequencer =
        sequencer.recording_at(move || UNIX_EPOCH + Duration::from_secs(at.load(Relaxed)));
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    let appender = sequencer.appender();
    let append = async |ids| appender.append(tenant(1), entries(ids)).await.expect("appended");

    // Stepped back by hours between two appends, before the intake is chained, and ahead by days.
    append(0..3).await;
    clock.store(begin - 3 * HOUR, Relaxed);
    append(3..5).await;
    enqueued(&database, 5..6).await;
    clock.store(begin - 5 * HOUR, Relaxed);
    assert_eq!(sequencer.drain(1).await.expect("drained").chained, 1);
    clock.store(begin + 48 * HOUR, Relaxed);
    append(6..7).await;
    clock.store(begin - HOUR, Relaxed);
    append(7..8).await;

    let all = stored(&database).await;
    let mut previous = EntryHash::ZERO;
    for (n, it) in all.iter().enumerate() {
        assert_eq!(it.fields.get(FieldName::ExternalId), format!("id-{n}"));
        it.verify(tenant(1), previous).expect("a link of the chain");
        previous = it.entry_hash;
    }
    let hours = [0, 0, 0, -3, -3, -5, 48, -1];
    let said = hours.map(|hours: i64| {
        let seconds = begin as i64 + hours * HOUR as i64;
        Timestamp::from_unix_micros(seconds * 1_000_000).expect("a time").to_string()
    });
    assert!(all.iter().map(|it| it.fields.get(FieldName::RecordedAt)).eq(said));
    // What was recorded at another time is a repeat all the same.
    let repeats = append(0..8).await;
    let expected = (0..8).map(|n| Ok(Appended::Repeat { seq: Seq(n) }));
    assert_eq!(repeats, expected.collect::<Vec<_>>());

    // Nor does sealing: what is left of a batch is never older than what was oldest, and never younger than now.
    let sealer = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
    let leaves: Vec<_> = all.iter().map(|it| it.entry_hash).collect();
    let mut raw = database.raw(None).await;
    let mut oldest = 0.0;
    // What is left begins with the one before, the one from the intake, the one from the future, and the last.
    for range in [0..3, 3..5, 5..6, 6..7] {
        let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
        let tiles = BatchTiles::new(&leaves[range.clone()]).expect("leaves");
        tx.seal_batch(Seq(range.start as u64), 0, &tiles).await.expect("sealed");
        tx.commit().await.expect("committed");
        let row = sqlx::query(
            "SELECT extract(epoch FROM oldest_unsealed_at)::float8, oldest_unsealed_at <= now() \
             FROM cofferdam.heads",
        );
        let row = row.fetch_one(&mut raw).await.expect("read");
        let since: f64 = row.get(0);
        assert!(row.get::<bool, _>(1) && since >= oldest, "{range:?}: {since} after {oldest}");
        oldest = since;
    }
    // So whatever is left is not sealed at once, nor in a day, but when it is old enough.
    let policy = |hours| SealPolicy {
        max_entries: 9,
        max_bytes: 1 << 40,
        max_age: Duration::from_secs(hours * HOUR),
    };
    let due = async |hours| sealer.due(&policy(hours), false).await.expect("read").len();
    assert_eq!((due(0).await, due(1).await), (1, 0));

    // A clock that tells no time at all is refused, and nothing is written.
    clock.store(u64::MAX >> 12, Relaxed);
    let refused = appender.append(tenant(1), entries(9..10)).await.expect_err("no such time");
    assert!(matches!(refused, StoreError::OutOfRange { what: "the system clock" }), "{refused}");
    clock.store(begin, Relaxed);
    assert!(matches!(append(9..10).await[..], [Ok(Appended::New { seq: Seq(8), .. })]));
}
