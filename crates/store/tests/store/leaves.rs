//! Hashing again what is stored: whatever was changed is found, and named by its entry.

use crate::common::{CHAIN, Database, database, entries, entry, tenant};
use cofferdam_core::{FieldName, Seq};
use cofferdam_store::{LeafFault, Leaves, Reader, SealPolicy, SealSettings, Sealer};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection};

async fn filled(count: usize) -> (Database, Sealer) {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    sequencer.appender().append(tenant(1), entries(0..count)).await.expect("appended");
    let sealer = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
    (database, sealer)
}

async fn leaves(sealer: &Sealer, first: u64, count: u64, bytes: u64) -> Result<Leaves, LeafFault> {
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    tx.leaves(Seq(first), count, bytes).await.expect("the database is there")
}

async fn run(raw: &mut PgConnection, sql: &str) -> u64 {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(raw).await.expect(sql);
    done.rows_affected()
}

#[tokio::test]
async fn leaves_are_the_hashes_of_the_entries_and_stop_at_the_limit_of_bytes() {
    let (database, sealer) = filled(2500).await;
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let mut tx = reader.tenant(tenant(1)).await.expect("a transaction");
    let stored: Vec<_> = tx.entries(Seq(0), 2500).try_collect().await.expect("entries");
    let size =
        |at: usize| -> u64 { stored[at].fields.iter().map(|(_, value)| value.len() as u64).sum() };
    for (first, count) in [(0, 2500), (0, 1), (1, 1), (7, 1500), (1023, 2), (1024, 1025), (2499, 1)]
    {
        let found = leaves(&sealer, first, count, u64::MAX).await.expect("as acknowledged");
        let range = first as usize..(first + count) as usize;
        assert!(found.hashes.iter().eq(stored[range.clone()].iter().map(|it| &it.entry_hash)));
        assert_eq!(found.bytes, range.map(size).sum::<u64>());
    }
    for (first, wanted) in [(0, 1), (3, 2), (100, 1200)] {
        let exactly: u64 = (first..first + wanted).map(size).sum();
        for (bytes, expected) in
            [(exactly, wanted), (exactly + 1, wanted), (exactly - 1, wanted - 1)]
        {
            let found = leaves(&sealer, first as u64, 2000, bytes).await.expect("as acknowledged");
            assert_eq!(found.hashes.len(), expected.max(1), "from {first}, {bytes} bytes");
        }
    }
    // The head counts the same bytes.
    let head = &sealer.heads().await.expect("heads")[0];
    assert_eq!(head.unsealed_bytes, (0..2500).map(size).sum::<u64>());
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    let part = tx.leaves(Seq(0), 900, u64::MAX).await.expect("read").expect("as acknowledged");
    let tiles = cofferdam_core::BatchTiles::new(&part.hashes).expect("leaves");
    tx.seal_batch(Seq(0), part.bytes, &tiles).await.expect("sealed");
    tx.commit().await.expect("committed");
    let head = &sealer.heads().await.expect("heads")[0];
    assert_eq!(head.unsealed_bytes, (900..2500).map(size).sum::<u64>());
    assert!(head.oldest_unsealed_at.is_some());
}

#[tokio::test]
async fn i9_a_change_in_any_column_of_an_entry_is_found_and_named() {
    let (database, sealer) = filled(10).await;
    let mut raw = database.raw(None).await;
    let hashes = ["previous", "commitment", "entry_hash", "seed"];
    let flips = hashes
        .iter()
        .map(|name| format!("{name} = set_bit({name}, 130, 1 - get_bit({name}, 130))"));
    let fields = FieldName::ALL.map(|name| format!("{name} = {name} || ' '"));
    for change in flips.chain(fields) {
        run(&mut raw, "CREATE TABLE kept AS SELECT * FROM cofferdam.entries WHERE seq = 4").await;
        let sql = format!("UPDATE cofferdam.entries SET {change} WHERE seq = 4");
        assert_eq!(run(&mut raw, &sql).await, 1);
        let fault = leaves(&sealer, 0, 10, u64::MAX).await.expect_err(&change);
        assert!(matches!(fault, LeafFault::Tampered(_)), "{change}: {fault}");
        assert_eq!(fault.seq(), Seq(4), "{change}");
        assert!(fault.to_string().contains("entry 4"), "{fault}");
        assert!(leaves(&sealer, 0, 4, u64::MAX).await.is_ok(), "what is before it is as it was");
        run(
            &mut raw,
            "DELETE FROM cofferdam.entries WHERE seq = 4; \
             INSERT INTO cofferdam.entries SELECT * FROM kept; DROP TABLE kept",
        )
        .await;
        assert!(leaves(&sealer, 0, 10, u64::MAX).await.is_ok());
    }
    // What is no entry at all.
    run(
        &mut raw,
        "ALTER TABLE cofferdam.entries DROP CONSTRAINT entries_entry_hash_check; \
         UPDATE cofferdam.entries SET entry_hash = '\\x00' WHERE seq = 4",
    )
    .await;
    let fault = leaves(&sealer, 3, 2, u64::MAX).await.expect_err("unreadable");
    assert!(matches!(fault, LeafFault::Unreadable { .. }), "{fault}");
}

#[tokio::test]
async fn i9_an_unchecked_time_is_no_reason_not_to_seal_what_is_before_it() {
    let (database, sealer) = filled(10).await;
    let mut raw = database.raw(None).await;
    for (first, time) in [(0, "no time"), (3, "-infinity"), (6, "2000-01-01")] {
        let next = first + 3;
        let sql = format!("UPDATE cofferdam.entries SET recorded_at = '{time}' WHERE seq = {next}");
        assert_eq!(run(&mut raw, &sql).await, 1);
        let before = sealer.heads().await.expect("heads")[0].oldest_unsealed_at;
        let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
        tx.insert_batch(Seq(first), 3, [1; 32].into()).await.expect("sealed");
        tx.commit().await.expect("committed");
        let after = sealer.heads().await.expect("heads")[0].oldest_unsealed_at;
        assert!(after.is_some() && after >= before, "{time}: {before:?} to {after:?}");
    }
}

#[tokio::test]
async fn i9_an_entry_that_is_gone_is_missed_wherever_it_was() {
    for gone in [0, 4, 9] {
        let (database, sealer) = filled(10).await;
        let mut raw = database.raw(None).await;
        let sql = format!("DELETE FROM cofferdam.entries WHERE seq = {gone}");
        assert_eq!(run(&mut raw, &sql).await, 1);
        let fault = leaves(&sealer, 0, 10, u64::MAX).await.expect_err("one is gone");
        assert!(matches!(fault, LeafFault::Missing(seq) if seq == Seq(gone)), "{fault}");
        // Also as the one before the batch.
        let fault = leaves(&sealer, gone + 1, 9 - gone, u64::MAX).await;
        assert!(gone == 9 || matches!(fault, Err(LeafFault::Missing(seq)) if seq == Seq(gone)));
    }
}

#[tokio::test]
async fn a_tenant_is_due_by_its_entries_its_bytes_or_its_age() {
    let (database, sealer) = filled(3).await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("b", tenant(2)).await.expect("added");
    let far = std::time::Duration::from_secs(31_536_000);
    let daemon = SealPolicy { max_entries: 1_000_000, max_bytes: 1 << 40, max_age: far };
    let due = async |policy: &SealPolicy, flush| -> Vec<u8> {
        let due = sealer.due(policy, flush).await.expect("asked");
        due.iter().map(|head| head.tenant.as_b256()[31]).collect()
    };
    assert_eq!(due(&daemon, false).await, Vec::<u8>::new());
    assert_eq!(due(&daemon, true).await, [1], "an empty tenant never is");
    assert_eq!(due(&SealPolicy { max_entries: 3, ..daemon }, false).await, [1]);
    assert_eq!(due(&SealPolicy { max_entries: 4, ..daemon }, false).await, Vec::<u8>::new());
    let bytes = sealer.heads().await.expect("heads")[0].unsealed_bytes;
    assert_eq!(due(&SealPolicy { max_bytes: bytes, ..daemon }, false).await, [1]);
    assert_eq!(due(&SealPolicy { max_bytes: bytes + 1, ..daemon }, false).await, Vec::<u8>::new());
    let at_once = SealPolicy { max_age: std::time::Duration::ZERO, ..daemon };
    assert_eq!(due(&at_once, false).await, [1]);

    // A tenant's own settings come before the daemon's, one by one.
    let own = SealSettings { entries: Some(2), bytes: None, age: Some(far) };
    sequencer.set_seal(tenant(1), own).await.expect("set");
    assert_eq!(due(&daemon, false).await, [1]);
    assert_eq!(sequencer.tenants().await.expect("listed")[0].seal, own);
    sequencer.set_seal(tenant(1), SealSettings { entries: Some(4), ..own }).await.expect("set");
    assert_eq!(due(&at_once, false).await, Vec::<u8>::new());
    sequencer.set_seal(tenant(1), SealSettings::default()).await.expect("set");
    assert_eq!(due(&at_once, false).await, [1]);

    // Who waits longest comes first; a halted one does not come at all.
    sequencer.appender().append(tenant(2), vec![entry("x", "1")]).await.expect("appended");
    assert_eq!(due(&daemon, true).await, [1, 2]);
    sealer.halt(tenant(1), "test", "no reason").await.expect("halted");
    assert_eq!(due(&daemon, true).await, [2]);
    assert_eq!(sealer.halted().await.expect("asked").len(), 1);
    // A clock that was stepped back makes a tenant due early, never late.
    let mut raw = database.raw(None).await;
    let ahead = "UPDATE cofferdam.heads SET oldest_unsealed_at = now() + interval '1 day' \
                 WHERE oldest_unsealed_at IS NOT NULL";
    run(&mut raw, ahead).await;
    assert_eq!(due(&daemon, false).await, [2]);
}
