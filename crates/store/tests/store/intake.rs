//! The enqueue door (I8): with the application's own transaction or not at all, in commit-consistent
//! order, exactly once, and never in another tenant's way.

use std::{future::Future, time::Duration};

use crate::common::{CHAIN, Database, database, entries, entry, tenant};
use cofferdam_core::{EntryHash, FieldName, Seq};
use cofferdam_store::{
    Drained, IntakePosition, NewEntry, Reader, Sealer, Sequencer, StoreError, allow_enqueue,
    enqueue,
};
use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgTransaction, Row};

/// A database with tenants 1 and 2, and an application with a login and a table of its own.
struct World {
    database: Database,
    sequencer: Sequencer,
    url: String,
}

async fn world() -> World {
    let database = database().await;
    let sequencer = database.sequencer().await;
    for byte in [1, 2] {
        sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
    }
    let application = format!("app_of_{}", database.runtime.user());
    let mut raw = database.raw(None).await;
    run(
        &mut raw,
        &format!(
            "CREATE ROLE {application} LOGIN PASSWORD 'app'; CREATE TABLE orders (n bigint); \
             GRANT SELECT, INSERT ON orders TO {application}"
        ),
    )
    .await;
    allow_enqueue(&database.admin, &application).await.expect("allowed");
    let mut url = database.test.admin_url.clone();
    url.set_username(&application).expect("a user");
    url.set_password(Some("app")).expect("a password");
    World { database, sequencer, url: url.into() }
}

impl World {
    async fn application(&self) -> PgConnection {
        crate::common::connect(&self.url).await
    }

    async fn drain(&self) -> Drained {
        self.sequencer.drain(1).await.expect("drained")
    }

    /// The ids of a tenant's entries in order, after every hash of theirs was checked.
    async fn chained(&self, byte: u8) -> Vec<String> {
        let reader = Reader::connect(&self.database.runtime, CHAIN).await.expect("a reader");
        let mut tx = reader.tenant(tenant(byte)).await.expect("a transaction");
        let stored: Vec<_> = tx.entries(Seq(0), u64::MAX).try_collect().await.expect("entries");
        let mut previous = EntryHash::ZERO;
        let ids = (0..).zip(&stored).map(|(seq, entry)| {
            assert_eq!(entry.seq, Seq(seq), "no gap");
            entry.verify(tenant(byte), previous).expect("a link of the chain");
            previous = entry.entry_hash;
            entry.fields.get(FieldName::ExternalId).to_owned()
        });
        ids.collect()
    }

    /// Rows of the intake and of the arrivals, as the administrator sees them.
    async fn waiting(&self) -> (i64, i64) {
        let mut raw = self.database.raw(None).await;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM cofferdam.intake), (SELECT count(*) FROM cofferdam.arrivals)",
        );
        let row = row.fetch_one(&mut raw).await.expect("counted");
        (row.get(0), row.get(1))
    }

    async fn incidents(&self) -> Vec<String> {
        let sealer = Sealer::connect(&self.database.runtime, CHAIN).await.expect("a sealer");
        let found = sealer.incidents(10).await.expect("incidents");
        found.into_iter().map(|it| format!("{}: {}", it.kind, it.detail)).collect()
    }
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.expect(sql);
}

/// One of the application's actions, with its entry.
async fn act(tx: &mut PgTransaction<'_>, byte: u8, id: &str) {
    run(tx, "INSERT INTO orders VALUES (1)").await;
    enqueue(tx, CHAIN, tenant(byte), &[entry(id, "{}")]).await.expect("enqueued");
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect(what)
}

#[tokio::test]
async fn i8_an_entry_is_there_exactly_if_the_applications_transaction_committed() {
    let world = world().await;
    let mut application = world.application().await;
    let mut undone = application.begin().await.expect("a transaction");
    act(&mut undone, 1, "undone").await;
    undone.rollback().await.expect("rolled back");
    let mut lost = world.application().await;
    let mut cut = lost.begin().await.expect("a transaction");
    act(&mut cut, 1, "cut off").await;
    drop(cut);
    lost.close_hard().await.expect("gone without a word");

    let mut kept = application.begin().await.expect("a transaction");
    act(&mut kept, 1, "a").await;
    // A part that the application takes back takes its entry with it.
    let mut part = kept.begin().await.expect("a savepoint");
    act(&mut part, 1, "taken back").await;
    part.rollback().await.expect("rolled back");
    enqueue(&mut kept, CHAIN, tenant(1), &[entry("b", "1"), entry("c", "2")]).await.expect("more");
    act(&mut kept, 2, "d").await;
    assert_eq!(world.drain().await, Drained::default(), "not before the application commits");
    kept.commit().await.expect("committed");

    assert_eq!(world.drain().await, Drained { chained: 4, ..Drained::default() });
    assert_eq!(world.chained(1).await, ["a", "b", "c"]);
    assert_eq!(world.chained(2).await, ["d"]);
    assert_eq!(world.waiting().await, (0, 0));
    let orders = sqlx::query("SELECT count(*) FROM orders").fetch_one(&mut application).await;
    assert_eq!(orders.expect("counted").get::<i64, _>(0), 2);

    // The same again, as after a lost answer: a repeat, and nothing new.
    let mut again = application.begin().await.expect("a transaction");
    act(&mut again, 1, "a").await;
    again.commit().await.expect("committed");
    assert_eq!(world.drain().await, Drained { repeated: 1, ..Drained::default() });
    assert_eq!(world.chained(1).await.len(), 3);
    assert_eq!(world.waiting().await, (0, 0));
}

/// Who the session is, and what it may see of ours.
async fn standing(tx: &mut PgTransaction<'_>) -> (String, String, String) {
    let row = sqlx::query(
        "SELECT current_user::text, coalesce(current_setting('cofferdam.tenant_id', true), ''), \
             coalesce(current_setting('cofferdam.chain_id', true), '')",
    );
    let row = row.fetch_one(&mut **tx).await.expect("a transaction that can go on");
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn i7_role_and_scope_are_given_back_also_after_an_error() {
    let world = world().await;
    let mut application = world.application().await;
    let mut tx = application.begin().await.expect("a transaction");
    let before = standing(&mut tx).await;
    assert_eq!((before.1.as_str(), before.2.as_str()), ("", ""));
    act(&mut tx, 1, "a").await;
    assert_eq!(standing(&mut tx).await, before);

    let unknown = enqueue(&mut tx, CHAIN, tenant(9), &entries(0..2)).await.expect_err("unknown");
    assert!(matches!(unknown, StoreError::UnknownTenant { tenant: of, .. } if of == tenant(9)));
    assert_eq!(standing(&mut tx).await, before);
    let refused = enqueue(&mut tx, 0, tenant(1), &[entry("b", "{}")]).await;
    assert!(refused.is_err(), "there is no chain 0");
    assert_eq!(standing(&mut tx).await, before);
    // Cancelled half way: the server has done all of it or nothing.
    let two = [entry("x", "1"), entry("y", "2")];
    tokio::select! {
        biased;
        () = tokio::task::yield_now() => {}
        _ = enqueue(&mut tx, CHAIN, tenant(1), &two) => {}
    }
    assert_eq!(standing(&mut tx).await, before);
    // An error of the server's is the transaction's, up to the application's own savepoint.
    let mut part = tx.begin().await.expect("a savepoint");
    let error = enqueue(&mut part, u64::MAX, tenant(1), &two).await.expect_err("no such chain");
    assert!(matches!(error, StoreError::ChainId(_)), "{error}");
    run(&mut part, "SET LOCAL cofferdam.enqueued = 'no number'").await;
    let error = enqueue(&mut part, CHAIN, tenant(1), &two).await.expect_err("refused");
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
    part.rollback().await.expect("undone");
    assert_eq!(standing(&mut tx).await, before);
    // A scope that the application had taken itself is kept.
    let other = hex(1);
    run(
        &mut tx,
        &format!(
            "SELECT set_config('cofferdam.tenant_id', '{other}', true), \
                 set_config('cofferdam.chain_id', '{CHAIN}', true)"
        ),
    )
    .await;
    act(&mut tx, 1, "c").await;
    let (_, scope, chain) = standing(&mut tx).await;
    assert_eq!((scope, chain), (other, CHAIN.to_string()));
    tx.commit().await.expect("committed");
    world.drain().await;
    let chained = world.chained(1).await;
    assert!(chained == ["a", "c"] || chained == ["a", "x", "y", "c"], "{chained:?}");
}

fn hex(byte: u8) -> String {
    tenant(byte).to_string()[2..].to_owned()
}

#[tokio::test]
async fn i7_a_session_of_one_tenant_cannot_enqueue_for_another() {
    let world = world().await;
    let mut application = world.application().await;
    let mut tx = application.begin().await.expect("a transaction");
    run(&mut tx, &format!("SET LOCAL cofferdam.tenant_id = '{}'", hex(1))).await;
    let error = enqueue(&mut tx, CHAIN, tenant(2), &entries(0..1)).await.expect_err("foreign");
    assert!(matches!(error, StoreError::OtherScope { tenant: of, .. } if of == tenant(2)));
    // Nor by hand: the door is all that the application's role may use.
    let (own, other) = (hex(1), hex(2));
    for sql in [
        format!(
            "INSERT INTO cofferdam.arrivals (tenant_id, chain_id) VALUES ('\\x{own}', {CHAIN})"
        ),
        "SELECT count(tenant_id) FROM cofferdam.intake".to_owned(),
        "SELECT count(tenant_id) FROM cofferdam.tenants".to_owned(),
        "SELECT cofferdam.scope_tenant()".to_owned(),
        "SET LOCAL ROLE cofferdam_enqueuer".to_owned(),
        "SET LOCAL ROLE cofferdam_application".to_owned(),
    ] {
        let mut attempt = tx.begin().await.expect("a savepoint");
        let error = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut *attempt).await;
        let error = error.expect_err(&sql).into_database_error().expect("the server's");
        assert_eq!(error.code().as_deref(), Some("42501"), "{sql}");
        attempt.rollback().await.expect("undone");
    }
    drop(tx);

    // And behind the door row security holds: its owner, were it to mistake the tenant, is refused.
    let mut raw = world.database.raw(Some("cofferdam_enqueuer")).await;
    let mut tx = raw.begin().await.expect("a transaction");
    run(
        &mut tx,
        &format!(
            "SET LOCAL cofferdam.chain_id = '{CHAIN}'; SET LOCAL cofferdam.tenant_id = '{own}'"
        ),
    )
    .await;
    for (of, code) in [(&own, None), (&other, Some("42501"))] {
        let sql = format!(
            "INSERT INTO cofferdam.arrivals (tenant_id, chain_id) VALUES ('\\x{of}', {CHAIN})"
        );
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await;
        let error = done.err().and_then(sqlx::Error::into_database_error);
        assert_eq!(error.as_ref().and_then(|error| error.code()).as_deref(), code);
    }
    drop(tx);

    // A login that nobody allowed is told so.
    let mut stranger = crate::common::connect(world.database.test.runtime_url.as_str()).await;
    let mut tx = stranger.begin().await.expect("a transaction");
    let error = enqueue(&mut tx, CHAIN, tenant(1), &entries(0..1)).await.expect_err("a stranger");
    assert!(matches!(&error, StoreError::MayNotEnqueue(_)), "{error}");
    drop(tx);
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test]
async fn i8_what_began_after_another_had_committed_comes_after_it() {
    let world = world().await;
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(world.application().await);
    }
    let [thinking, first, second, third] = &mut connections[..] else { panic!("four") };
    let mut thinking = thinking.begin().await.expect("a transaction");
    act(&mut thinking, 1, "thinking").await;
    for (connection, id) in [(first, "first"), (second, "second")] {
        let mut tx = connection.begin().await.expect("a transaction");
        act(&mut tx, 1, id).await;
        tx.commit().await.expect("committed");
    }
    // Nobody waits for the one that is still thinking, although it came first.
    assert_eq!(world.drain().await.chained, 2);
    let mut tx = third.begin().await.expect("a transaction");
    act(&mut tx, 1, "third").await;
    tx.commit().await.expect("committed");
    thinking.commit().await.expect("committed");
    assert_eq!(world.drain().await.chained, 2);
    let chained = world.chained(1).await;
    assert_eq!(chained[..2], ["first", "second"]);
    let place = |id: &str| chained.iter().position(|it| it == id).expect("chained");
    assert!(place("third") > place("second") && place("thinking") > place("second"));
}

#[tokio::test]
async fn i8_a_backlog_keeps_its_order_over_many_turns() {
    let world = world().await;
    let mut application = world.application().await;
    for part in 0..3 {
        let mut tx = application.begin().await.expect("a transaction");
        for half in 0..2 {
            let first = part * 900 + half * 450;
            enqueue(&mut tx, CHAIN, tenant(1), &entries(first..first + 450)).await.expect("put");
        }
        tx.commit().await.expect("committed");
    }
    let mut small = application.begin().await.expect("a transaction");
    act(&mut small, 2, "small").await;
    small.commit().await.expect("committed");
    let turn = world.drain().await;
    assert!(turn.more && turn.chained < 2701, "{turn:?}");
    assert_eq!(world.chained(2).await, ["small"], "nobody waits for another's backlog");
    let rest = world.sequencer.drain(100).await.expect("drained");
    assert_eq!(rest, Drained { chained: 2701 - turn.chained, ..Drained::default() });
    let expected: Vec<_> = (0..2700).map(|n| format!("id-{n}")).collect();
    assert_eq!(world.chained(1).await, expected);
    assert_eq!(world.waiting().await, (0, 0));
}

#[tokio::test]
async fn i8_no_lock_of_ours_is_held_while_the_application_thinks() {
    let world = world().await;
    let mut one = world.application().await;
    let mut two = world.application().await;
    let mut thinking = one.begin().await.expect("a transaction");
    act(&mut thinking, 1, "same").await;

    let appender = world.sequencer.appender();
    soon("append", appender.append(tenant(1), entries(0..3))).await.expect("appended");
    let mut other = two.begin().await.expect("a transaction");
    soon("enqueue", act(&mut other, 1, "same")).await;
    soon("commit", other.commit()).await.expect("committed");
    assert_eq!(soon("drain", world.drain()).await.chained, 1);
    let settings = cofferdam_store::SealSettings { entries: Some(7), ..Default::default() };
    soon("settings", world.sequencer.set_seal(tenant(1), settings)).await.expect("set");

    thinking.commit().await.expect("committed");
    assert_eq!(world.drain().await.repeated, 1);
    assert_eq!(world.chained(1).await, ["id-0", "id-1", "id-2", "same"]);
}

#[tokio::test]
async fn a_poisoned_intake_stops_its_own_tenant_and_is_reported() {
    let world = world().await;
    world.sequencer.appender().append(tenant(1), vec![entry("used", "1")]).await.expect("appended");
    let mut application = world.application().await;
    let mut tx = application.begin().await.expect("a transaction");
    for id in ["before", "used", "behind"] {
        act(&mut tx, 1, id).await;
    }
    act(&mut tx, 2, "neighbour").await;
    tx.commit().await.expect("committed");

    let stopped = world.drain().await;
    assert_eq!((stopped.chained, stopped.stopped.len()), (2, 1));
    let stop = &stopped.stopped[0];
    assert_eq!(stop.tenant, tenant(1));
    assert!(stop.reason.contains("entry 0's already, with another payload"), "{}", stop.reason);
    assert!(!stop.reason.contains("used"), "no field's value: {}", stop.reason);
    assert_eq!(world.chained(1).await, ["used", "before"]);
    assert_eq!(world.chained(2).await, ["neighbour"]);
    // Found again and again, it is one incident.
    assert_eq!(world.drain().await.stopped, stopped.stopped);
    assert_eq!(world.incidents().await, [format!("intake: {}", stop.reason)]);

    // It is not closed while it stands, and if it is, it is found again.
    let sealer = Sealer::connect(&world.database.runtime, CHAIN).await.expect("a sealer");
    let open = async || {
        let all = sealer.incidents(10).await.expect("incidents");
        all.iter().filter(|incident| incident.resolved_at.is_none()).count()
    };
    let seen = sealer.standing(tenant(1)).await.expect("read");
    sealer.resume(tenant(1), &seen).await.expect("resumed");
    assert_eq!(open().await, 1);
    let mut raw = world.database.raw(None).await;
    run(&mut raw, "UPDATE cofferdam.incidents SET resolved_at = now()").await;
    assert_eq!(world.drain().await.stopped, stopped.stopped);
    assert_eq!(open().await, 1);

    // The operator decides, and what was behind goes on.
    let at = stop.at.expect("a place");
    assert_eq!(at.to_string().parse(), Ok(at));
    assert!(!world.sequencer.discard(tenant(2), at).await.expect("looked"), "not that tenant's");
    assert!(world.sequencer.discard(tenant(1), at).await.expect("discarded"));
    assert!(!world.sequencer.discard(tenant(1), at).await.expect("looked"), "only once");
    assert_eq!(world.drain().await, Drained { chained: 1, ..Drained::default() });
    assert_eq!(world.chained(1).await, ["used", "before", "behind"]);
    assert_eq!((world.incidents().await.len(), open().await), (2, 0));

    // What no `NewEntry` could be, written by hand: the database lets it in, the sequencer does not.
    let mut tx = application.begin().await.expect("a transaction");
    act(&mut tx, 1, "fine").await;
    run(
        &mut tx,
        &format!(
            "SELECT cofferdam.enqueue({CHAIN}, '\\x{}', '{{\"\"}}', '{{\"\"}}', '{{x}}', '{{\"\"}}', \
                 '{{no json}}', '{{\"\"}}', '{{\"\"}}', '{{\"\"}}', '{{\"\"}}')",
            hex(1)
        ),
    )
    .await;
    tx.commit().await.expect("committed");
    let stopped = world.drain().await;
    assert_eq!((stopped.chained, stopped.stopped.len()), (1, 1));
    let IntakePosition { place, .. } = stopped.stopped[0].at.expect("a place");
    assert_eq!(place, 1);
    assert!(stopped.stopped[0].reason.contains("payload: line 1"), "{:?}", stopped.stopped);
    // The other door stays open.
    world.sequencer.appender().append(tenant(1), vec![entry("more", "1")]).await.expect("appended");
}

#[tokio::test(flavor = "multi_thread")]
async fn i8_chaining_that_is_cut_off_chains_nothing_and_then_everything_once() {
    let world = world().await;
    let mut application = world.application().await;
    let mut tx = application.begin().await.expect("a transaction");
    enqueue(&mut tx, CHAIN, tenant(1), &entries(0..20)).await.expect("enqueued");
    tx.commit().await.expect("committed");

    // The entries go in, then emptying the intake fails for a lack of that right.
    let mut raw = world.database.raw(None).await;
    run(&mut raw, "REVOKE DELETE ON cofferdam.intake FROM cofferdam_sequencer").await;
    let cut = world.drain().await;
    assert_eq!((cut.chained, cut.stopped.len()), (0, 1));
    assert_eq!(world.chained(1).await.len(), 0);
    run(&mut raw, "GRANT DELETE ON cofferdam.intake TO cofferdam_sequencer").await;

    // And the backend is killed while it waits inside its transaction.
    let mut holder = world.database.raw(None).await;
    run(&mut holder, "BEGIN; SELECT 1 FROM cofferdam.heads FOR UPDATE").await;
    let waiting = tokio::spawn({
        let sequencer = world.sequencer.clone();
        async move { sequencer.drain(1).await }
    });
    soon("to be killed", async {
        loop {
            let killed = sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name = 'cofferdam_sequencer' AND wait_event_type = 'Lock' \
                     AND datname = current_database()",
            );
            if !killed.fetch_all(&mut raw).await.expect("killed").is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let error = waiting.await.expect("joined").expect_err("killed");
    assert!(error.is_transient(), "{error}");
    run(&mut holder, "ROLLBACK").await;
    assert_eq!(world.waiting().await, (20, 1));

    // Two daemons at once: each entry once.
    let other = world.database.sequencer().await;
    let (one, two) = tokio::join!(world.sequencer.drain(1), other.drain(1));
    assert_eq!(one.expect("drained").chained + two.expect("drained").chained, 20);
    let expected: Vec<_> = (0..20).map(|n| format!("id-{n}")).collect();
    assert_eq!(world.chained(1).await, expected);
    assert_eq!(world.waiting().await, (0, 0));
}

/// Entries as large as they may be: a turn takes no more of them than a transaction's worth of bytes.
#[tokio::test]
async fn large_entries_are_chained_in_small_turns() {
    let world = world().await;
    let payload = format!("\"{}\"", "x".repeat(1 << 20).split_off(2));
    let large: Vec<NewEntry> = (0..7).map(|n| entry(&format!("large-{n}"), &payload)).collect();
    let mut application = world.application().await;
    let mut tx = application.begin().await.expect("a transaction");
    enqueue(&mut tx, CHAIN, tenant(1), &large).await.expect("enqueued");
    tx.commit().await.expect("committed");
    let turn = world.drain().await;
    assert!(turn.more && (1..=5).contains(&turn.chained), "{turn:?}");
    while world.drain().await.more {}
    let expected: Vec<_> = (0..7).map(|n| format!("large-{n}")).collect();
    assert_eq!(world.chained(1).await, expected);
}
