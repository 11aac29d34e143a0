//! The append door (I8): ordered, contiguous, idempotent, grouped, all or nothing.

use std::collections::BTreeSet;

use crate::common::{CHAIN, Database, database, entries, entry, tenant};
use cofferdam_core::{EntryHash, FieldName, Seq};
use cofferdam_store::{
    AddTenant, AppendError, Appended, DatabaseUrl, NewEntry, Reader, Sequencer, StoreError,
    StoredEntry,
};
use futures::{StreamExt, TryStreamExt, future::join_all};

async fn stored(database: &Database, byte: u8) -> Vec<StoredEntry> {
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let mut tx = reader.tenant(tenant(byte)).await.expect("a transaction");
    tx.entries(Seq(0), u64::MAX).try_collect().await.expect("entries")
}

/// Order, contiguity and every hash, recomputed from what is stored.
fn check_chain(byte: u8, stored: &[StoredEntry]) {
    let mut previous = EntryHash::ZERO;
    for (seq, entry) in (0..).zip(stored) {
        assert_eq!(entry.seq, Seq(seq), "no gap");
        entry.verify(tenant(byte), previous).expect("a link of the chain");
        previous = entry.entry_hash;
    }
}

#[tokio::test]
async fn entries_are_chained_in_the_order_given_and_repeats_change_nothing() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    assert_eq!(sequencer.add_tenant("a", tenant(1)).await.expect("added"), AddTenant::Added);
    assert_eq!(sequencer.add_tenant("a", tenant(1)).await.expect("there"), AddTenant::AlreadyThere);

    // Two and a half transactions' worth in one call.
    let appender = sequencer.appender();
    let answers = appender.append(tenant(1), entries(0..2500)).await.expect("appended");
    for (i, answer) in answers.iter().enumerate() {
        assert!(matches!(answer, Ok(Appended::New { seq, .. }) if seq.get() == i as u64));
    }
    let before = stored(&database, 1).await;
    check_chain(1, &before);
    assert_eq!(before.len(), 2500);
    for (i, (entry, answer)) in before.iter().zip(&answers).enumerate() {
        assert_eq!(entry.fields.get(FieldName::ExternalId), format!("id-{i}"));
        assert_eq!(entry.fields.get(FieldName::Payload), format!("{{\"n\": {i}}}"));
        let Ok(Appended::New { entry_hash, .. }) = answer else { panic!("new") };
        assert_eq!(entry.entry_hash, *entry_hash);
    }

    let again = appender.append(tenant(1), entries((0..2500).rev())).await.expect("repeated");
    for (i, answer) in again.into_iter().enumerate() {
        assert_eq!(answer, Ok(Appended::Repeat { seq: Seq(2499 - i as u64) }));
    }
    assert_eq!(stored(&database, 1).await, before);
}

#[tokio::test]
async fn a_repeat_may_differ_in_white_space_of_its_payload_and_in_nothing_else() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    let appender = sequencer.appender();
    let one = |payload| vec![entry("one", payload)];
    appender.append(tenant(1), one(r#"{"a": 1.0, "b": "x y"}"#)).await.expect("appended");

    let same = appender.append(tenant(1), one("{ \"a\":1.0,\n\"b\":\"x y\" }")).await;
    assert_eq!(same.expect("answered"), [Ok(Appended::Repeat { seq: Seq(0) })]);

    let conflict = |field| {
        let external_id = "one".to_owned();
        [Err(AppendError::Conflict { tenant: tenant(1), external_id, seq: Seq(0), field })]
    };
    for other in
        [r#"{"a": 1, "b": "x y"}"#, r#"{"a": 1.0, "b": "xy"}"#, r#"{"b": "x y", "a": 1.0}"#]
    {
        let answer = appender.append(tenant(1), one(other)).await.expect("answered");
        assert_eq!(answer, conflict(FieldName::Payload), "{other}");
    }
    let fields = one(r#"{"a": 1.0, "b": "x y"}"#)[0].fields().clone();
    for name in FieldName::ALL {
        let value = match name {
            FieldName::ExternalId | FieldName::RecordedAt | FieldName::Payload => continue,
            FieldName::OccurredAt => "2026-01-31T23:59:59.000001Z",
            _ => "another",
        };
        let changed = fields.iter().map(|(of, was)| (of, if of == name { value } else { was }));
        let changed = NewEntry::new(changed.map(|(of, value)| (of, value.to_owned())));
        let answer = appender.append(tenant(1), vec![changed.expect("an entry")]).await;
        assert_eq!(answer.expect("answered"), conflict(name), "{name}");
    }
    assert_eq!(stored(&database, 1).await.len(), 1);
}

#[tokio::test]
async fn a_conflict_fails_alone_also_within_one_call() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    let appender = sequencer.appender();
    let call = vec![
        entry("a", "1"),
        entry("b", "2"),
        entry("a", " 1 "), // a repeat of what is only being appended
        entry("b", "3"),   // a conflict with it
        entry("c", "4"),
    ];
    let answers = appender.append(tenant(1), call.clone()).await.expect("answered");
    let seqs: Vec<_> = answers.iter().map(|answer| answer.clone().map(|done| done.seq())).collect();
    let conflict = AppendError::Conflict {
        tenant: tenant(1),
        external_id: "b".to_owned(),
        seq: Seq(1),
        field: FieldName::Payload,
    };
    assert_eq!(seqs, [Ok(Seq(0)), Ok(Seq(1)), Ok(Seq(0)), Err(conflict.clone()), Ok(Seq(2))]);
    assert!(matches!(answers[2], Ok(Appended::Repeat { .. })));

    let again = appender.append(tenant(1), call).await.expect("answered");
    assert!(matches!(&again[3], Err(error) if *error == conflict));
    assert_eq!(again.iter().filter(|answer| answer.is_ok()).count(), 4);
    let stored = stored(&database, 1).await;
    check_chain(1, &stored);
    assert_eq!(stored.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_share_transactions_and_leave_no_gap() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    let appender = sequencer.appender();
    let calls = (0..200usize).map(|call| {
        let appender = appender.clone();
        async move {
            let mut seqs = Vec::new();
            for round in 0..3 {
                let first = call * 30 + round * 10;
                let answers = appender.append(tenant(1), entries(first..first + 10)).await;
                seqs.extend(answers.expect("answered").into_iter().map(|answer| {
                    let Ok(Appended::New { seq, .. }) = answer else { panic!("new") };
                    seq.get()
                }));
            }
            assert!(seqs.is_sorted(), "a caller's entries stay in order");
            seqs
        }
    });
    let all: BTreeSet<u64> = join_all(calls).await.into_iter().flatten().collect();
    assert!(all.into_iter().eq(0..6000), "every seq once");
    let stored = stored(&database, 1).await;
    check_chain(1, &stored);

    // One transaction writes all its rows under one id.
    let mut raw = database.raw(None).await;
    let (transactions,): (i64,) =
        sqlx::query_as("SELECT count(DISTINCT xmin::text) FROM cofferdam.entries")
            .fetch_one(&mut raw)
            .await
            .expect("counted");
    assert!(transactions < 200, "600 calls took {transactions} transactions");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sequencers_and_many_tenants_never_fork_a_chain() {
    let database = database().await;
    let one = database.sequencer().await;
    let two = database.sequencer().await;
    for byte in 1..=4 {
        one.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
    }
    let appenders = [one.appender(), two.appender()];
    let calls =
        (0..80usize).map(|call| {
            let (appender, byte) = (&appenders[call % 2], (call / 2 % 4) as u8 + 1);
            // Each pair of appenders gets the same entries: one appends them, the other repeats them.
            async move {
                appender.append(tenant(byte), entries(call / 8 * 20..call / 8 * 20 + 20)).await
            }
        });
    for answers in join_all(calls).await {
        assert!(answers.expect("answered").iter().all(Result::is_ok));
    }
    for byte in 1..=4 {
        let stored = stored(&database, byte).await;
        check_chain(byte, &stored);
        assert_eq!(stored.len(), 200);
    }
}

#[tokio::test]
async fn a_transaction_that_is_cut_off_leaves_nothing() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    let appender = sequencer.appender();
    appender.append(tenant(1), entries(0..10)).await.expect("appended");

    // The rows go in, then moving the head fails for a lack of that right.
    let mut raw = database.raw(None).await;
    sqlx::query("REVOKE UPDATE (last_entry_hash) ON cofferdam.heads FROM cofferdam_sequencer")
        .execute(&mut raw)
        .await
        .expect("revoked");
    let error = appender.append(tenant(1), entries(5..20)).await.expect_err("cut off");
    assert!(
        matches!(error, StoreError::Database { doing: "move the tenant's head", .. }),
        "{error}"
    );
    assert_eq!(stored(&database, 1).await.len(), 10);
    sqlx::query("GRANT UPDATE (last_entry_hash) ON cofferdam.heads TO cofferdam_sequencer")
        .execute(&mut raw)
        .await
        .expect("granted");

    // And the backend is killed while it waits inside its transaction.
    let mut holder = database.raw(None).await;
    sqlx::raw_sql("BEGIN; SELECT 1 FROM cofferdam.heads FOR UPDATE")
        .execute(&mut holder)
        .await
        .expect("held");
    let waiting = tokio::spawn({
        let appender = appender.clone();
        async move { appender.append(tenant(1), entries(5..20)).await }
    });
    loop {
        let killed = sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'cofferdam_sequencer' AND wait_event_type = 'Lock' \
                 AND datname = current_database()",
        )
        .fetch_all(&mut raw)
        .await
        .expect("killed");
        if !killed.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let error = waiting.await.expect("joined").expect_err("killed");
    assert!(error.is_transient(), "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.expect("released");
    assert_eq!(stored(&database, 1).await.len(), 10);

    let answers = appender.append(tenant(1), entries(5..20)).await.expect("appended");
    let seqs: Vec<_> =
        answers.iter().map(|answer| answer.clone().expect("fine").seq().get()).collect();
    assert_eq!(seqs, (5..20).collect::<Vec<_>>());
    check_chain(1, &stored(&database, 1).await);
}

#[tokio::test]
async fn unregistered_tenants_and_taken_names_are_refused() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    let error = sequencer.appender().append(tenant(9), entries(0..1)).await.expect_err("unknown");
    assert!(matches!(error, StoreError::UnknownTenant { tenant: of, .. } if of == tenant(9)));

    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    let error = sequencer.add_tenant("a", tenant(2)).await.expect_err("taken");
    assert!(matches!(error, StoreError::NameTaken { holder, .. } if holder == tenant(1)));
    let error = sequencer.add_tenant("b", tenant(1)).await.expect_err("taken");
    assert!(matches!(error, StoreError::TenantTaken { holder, .. } if holder == "a"));
    assert_eq!(sequencer.tenants().await.expect("listed").len(), 1);

    // The same name and id on another chain are another tenant.
    let elsewhere = Sequencer::connect(&database.runtime, 8453).await.expect("a sequencer");
    assert_eq!(elsewhere.tenant_by_name("a").await.expect("looked up"), None);
    assert_eq!(elsewhere.add_tenant("a", tenant(1)).await.expect("added"), AddTenant::Added);
}

#[tokio::test]
async fn entries_are_streamed_by_range_and_found_by_the_sources_id() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    sequencer.add_tenant("a", tenant(1)).await.expect("added");
    sequencer.appender().append(tenant(1), entries(0..50)).await.expect("appended");
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let mut tx = reader.tenant(tenant(1)).await.expect("a transaction");
    let seqs = |from, count| async move { (Seq(from), count) };
    for (from, count, expected) in
        [(0, 50, 0..50), (10, 5, 10..15), (48, 10, 48..50), (50, 1, 0..0), (u64::MAX, 9, 0..0)]
    {
        let (from, count) = seqs(from, count).await;
        let found: Vec<u64> =
            tx.entries(from, count).map(|entry| entry.expect("an entry").seq.get()).collect().await;
        assert_eq!(found, expected.collect::<Vec<_>>());
    }
    // A stream that is dropped half way leaves the transaction usable.
    {
        let mut half = tx.entries(Seq(0), 50);
        assert_eq!(half.next().await.expect("one").expect("fine").seq, Seq(0));
    }
    let found = tx.entry_by_external_id("id-7").await.expect("looked up").expect("there");
    assert_eq!((found.seq, tx.entry(Seq(7)).await.expect("read")), (Seq(7), Some(found.clone())));
    assert_eq!(tx.entry_by_external_id("id-50").await.expect("looked up"), None);
    assert_eq!(tx.entry(Seq(50)).await.expect("read"), None);
}

/// Without column statistics the planner still has to read a range by its key, in order: a sort would
/// take memory that grows with the range.
#[tokio::test]
async fn a_range_is_read_in_the_order_of_its_key() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    for byte in 1..=9 {
        sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
        sequencer.appender().append(tenant(byte), entries(0..700)).await.expect("appended");
    }
    let mut raw = database.raw(None).await;
    sqlx::raw_sql("ANALYZE").execute(&mut raw).await.expect("analyzed");
    let scope = &tenant(1).to_string()[2..];
    let setup = format!(
        "SET ROLE cofferdam_reader; SET cofferdam.chain_id = '{CHAIN}'; \
         SET cofferdam.tenant_id = '{scope}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(setup)).execute(&mut raw).await.expect("the scope");
    // The pools force custom plans: a generic one appends all partitions and sorts them.
    let sql = format!(
        "EXPLAIN SELECT seq, payload FROM cofferdam.entries WHERE tenant_id = '\\x{scope}' \
         AND chain_id = {CHAIN} AND seq >= 0 AND seq < 700 ORDER BY seq"
    );
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).fetch_all(&mut raw).await;
    let plan: Vec<String> =
        rows.expect("a plan").iter().map(|row| sqlx::Row::get(row, 0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("Index Scan") && plan.contains("seq >= 0"), "{plan}");
    assert!(!plan.contains("Sort") && !plan.contains("Append"), "{plan}");
}

#[test]
fn what_a_source_may_not_say() {
    let with = |name, value: &str| {
        NewEntry::new([(FieldName::ExternalId, "x".to_owned()), (name, value.to_owned())])
    };
    assert!(with(FieldName::Action, "fine").is_ok());
    assert!(with(FieldName::RecordedAt, "2026-01-31T23:59:59.000000Z").is_err());
    assert!(with(FieldName::Payload, "{\"a\":1,\"a\":2}").is_err());
    assert!(NewEntry::new([(FieldName::Action, "no id".to_owned())]).is_err());
}

#[tokio::test]
async fn a_login_that_row_security_does_not_hold_is_refused() {
    let database = database().await;
    let error = Reader::connect(&database.admin, CHAIN).await.expect_err("a superuser");
    assert!(matches!(error, StoreError::UnsafeRole { .. }), "{error}");

    let mut raw = database.raw(None).await;
    let login = database.runtime.user().to_owned();
    for (grant, revoke) in [
        (format!("ALTER ROLE {login} BYPASSRLS"), format!("ALTER ROLE {login} NOBYPASSRLS")),
        (
            format!("GRANT cofferdam_owner TO {login}"),
            format!("REVOKE cofferdam_owner FROM {login}"),
        ),
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(grant.clone())).execute(&mut raw).await.expect("granted");
        let error = Sequencer::connect(&database.runtime, CHAIN).await.expect_err("refused");
        assert!(matches!(error, StoreError::UnsafeRole { .. }), "{grant}: {error}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(revoke)).execute(&mut raw).await.expect("revoked");
    }
    Sequencer::connect(&database.runtime, CHAIN).await.expect("held by row security");

    let error = cofferdam_store::migrate(&database.admin, &database.admin).await;
    assert!(matches!(error, Err(StoreError::SameLogin { .. })));
    let mut url = database.test.runtime_url.clone();
    url.set_path("nowhere");
    let elsewhere: DatabaseUrl = url.as_str().parse().expect("a URL");
    let error = Reader::connect(&elsewhere, CHAIN).await.expect_err("no such database");
    assert!(matches!(error, StoreError::NotMigrated { .. }), "{error}");
}
