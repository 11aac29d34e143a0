//! I7: a session scoped to one tenant can neither read, write, count nor infer another's rows, through
//! any relation that the catalog knows, as any role that runs.

use std::collections::BTreeMap;

use crate::common::{
    CHAIN, Database, anchored, anchored_row, apply, block, database, entries, entry, history_proof,
    lead, policy, position, sample, spending, tenant,
};
use cofferdam_core::{Address, BatchIndex, Seq, mirror::MirrorTable};
use cofferdam_store::{
    Attempt, Finality, Item, Mirror, Reader, Sealer, Sequencer, StoreError, allow_enqueue, enqueue,
};
use futures::StreamExt;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

const ROLES: [&str; 4] =
    ["cofferdam_sequencer", "cofferdam_sealer", "cofferdam_indexer", "cofferdam_reader"];
const OTHER_CHAIN: u64 = 8453;

/// Rows of two tenants in every relation, and of the first one also on another chain.
async fn populated() -> Database {
    let database = database().await;
    // The daemon's login plays the application too.
    allow_enqueue(&database.admin, database.runtime.user()).await.expect("allowed");
    let mut application = crate::common::connect(database.test.runtime_url.as_str()).await;
    for (chain, tenants) in [(CHAIN, &[1, 2][..]), (OTHER_CHAIN, &[1])] {
        let sequencer = Sequencer::connect(&database.runtime, chain).await.expect("a sequencer");
        let sealer = Sealer::connect(&database.runtime, chain).await.expect("a sealer");
        let mirror = Mirror::connect(&database.runtime, chain).await.expect("a mirror");
        sequencer
            .register_deployment(Address::repeat_byte(9), block(9).hash, 0)
            .await
            .expect("registered");
        let mut events = Vec::new();
        for (tens, &byte) in (0..).step_by(10).zip(tenants) {
            sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
            let count = usize::from(byte) * 3;
            sequencer.appender().append(tenant(byte), entries(0..count)).await.expect("appended");
            let batch = database.seal(chain, tenant(byte)).await;
            events.push(anchored_row(anchored(&batch, 5, tens)));
            let others =
                MirrorTable::ALL.into_iter().filter(|table| *table != MirrorTable::Anchored);
            events.extend(others.zip(tens + 1..).map(|(table, log)| {
                let event = table.events().next().expect("an event");
                sample(event, 0, tenant(byte), position(5, log))
            }));
            let mut own = application.begin().await.expect("a transaction");
            enqueue(&mut own, chain, tenant(byte), &entries(0..count)).await.expect("enqueued");
            own.commit().await.expect("committed");
            let mut own = sealer.tenant(tenant(byte)).await.expect("a transaction");
            let now = std::time::SystemTime::now();
            own.keep_proof(block(5), &history_proof(1), now).await.expect("kept");
            own.commit().await.expect("committed");
            sealer.halt(tenant(byte), "test", "no reason").await.expect("halted");
        }
        let blocks = [(5, block(5).hash)];
        apply(&mirror, None, block(5), &blocks, &events).await.expect("applied");
        let spent: Vec<_> =
            tenants.iter().map(|&byte| spending(tenant(byte), 1, 0xee, 7)).collect();
        let state = mirror.state().await.expect("a state");
        assert!(mirror.spend(&state, 2, &spent).await.expect("written"));
        let sealer = lead(&sealer).await;
        sealer.set_finality(Finality { head: 7, safe: 5, last_final: 3 }).await.expect("written");
        let attempt = Attempt { hash: block(7).hash, raw: vec![7].into(), max_fee: 2, tip: 1 };
        let mut carried = vec![];
        for &byte in tenants {
            let policy = policy(tenant(byte), 2);
            sequencer.submit_policy(&policy).await.expect("submitted");
            carried.push((tenant(byte), Item::Batch(BatchIndex(0))));
            carried.push((tenant(byte), Item::Policy(policy.version)));
        }
        let sender = Address::repeat_byte(7);
        sealer.record_intent(sender, 0, &attempt, &carried).await.expect("recorded");
    }
    database
}

struct Relation {
    name: String,
    columns: Vec<String>,
    partition: bool,
    view: bool,
}

impl Relation {
    fn has_tenant(&self) -> bool {
        self.columns.iter().any(|column| column == "tenant_id")
    }
}

/// Every table, partition and view there is, whoever added it.
async fn relations(raw: &mut PgConnection) -> Vec<Relation> {
    let rows = sqlx::query(
        "SELECT c.oid::regclass::text AS name, c.relispartition, c.relkind = 'v' AS view, \
             array_agg(a.attname::text ORDER BY a.attnum) AS columns \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relnamespace = 'cofferdam'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
         GROUP BY c.oid ORDER BY 1",
    )
    .fetch_all(raw)
    .await
    .expect("the catalog");
    let relation = |row: &sqlx::postgres::PgRow| Relation {
        name: row.get("name"),
        columns: row.get("columns"),
        partition: row.get("relispartition"),
        view: row.get("view"),
    };
    rows.iter().map(relation).collect()
}

/// A session of the runtime login as one role, in a transaction that has the given scope.
async fn session(database: &Database, role: &str, scope: Option<(u64, u8)>) -> PgConnection {
    let mut session = crate::common::connect(database.test.runtime_url.as_str()).await;
    run(&mut session, &format!("SET ROLE {role}; BEGIN")).await.expect("the role");
    if let Some((chain, byte)) = scope {
        let scope = format!(
            "SELECT set_config('cofferdam.chain_id', '{chain}', true), \
                 set_config('cofferdam.tenant_id', '{}', true)",
            hex(byte)
        );
        run(&mut session, &scope).await.expect("the scope");
    }
    session
}

fn hex(byte: u8) -> String {
    tenant(byte).to_string()[2..].to_owned()
}

async fn run(session: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    let done = session.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?;
    Ok(done.rows_affected())
}

/// Tries a statement and undoes it: how many rows it touched, or the SQLSTATE and message.
async fn attempt(session: &mut PgConnection, sql: &str) -> Result<u64, (String, String)> {
    run(session, "SAVEPOINT attempt").await.expect("a savepoint");
    let result = run(session, sql).await;
    run(session, "ROLLBACK TO SAVEPOINT attempt").await.expect("undone");
    result.map_err(|error| {
        let error = error.into_database_error().expect("an answer of the server");
        (error.code().unwrap_or_default().into_owned(), error.message().to_owned())
    })
}

/// The first column of the first row, or the SQLSTATE.
async fn number(session: &mut PgConnection, sql: &str) -> Result<i64, String> {
    run(session, "SAVEPOINT attempt").await.expect("a savepoint");
    let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut *session).await;
    run(session, "ROLLBACK TO SAVEPOINT attempt").await.expect("undone");
    row.map(|row| row.get(0)).map_err(|error| {
        error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
    })
}

/// All rows, as the administrator sees them.
async fn snapshot(raw: &mut PgConnection, relations: &[Relation]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for Relation { name, .. } in relations {
        let sql =
            format!("SELECT coalesce(string_agg(r::text, '|' ORDER BY r::text), '') FROM {name} r");
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *raw).await.expect("a snapshot");
        all.insert(name.clone(), row.get(0));
    }
    all
}

const DENIED: &str = "42501";

#[tokio::test]
async fn i7_no_relation_shows_or_takes_a_foreign_row() {
    let database = populated().await;
    let mut raw = database.raw(None).await;
    let relations = relations(&mut raw).await;
    assert!(relations.len() >= 20, "tables and partitions are found");
    let before = snapshot(&mut raw, &relations).await;
    let own = format!("'\\x{}'::bytea", hex(1));
    let foreign = format!("'\\x{}'::bytea", hex(2));

    for role in ROLES {
        let mut session = session(&database, role, Some((CHAIN, 1))).await;
        for relation in &relations {
            let (name, at) = (&relation.name, format!("{role} on {}", relation.name));
            let own_rows = if relation.has_tenant() {
                let sql = format!(
                    "SELECT count(*) FROM {name} WHERE tenant_id = {own} AND chain_id = {CHAIN}"
                );
                number_as_admin(&mut raw, &sql).await
            } else {
                // The chain's own rows may be read, and none of them written.
                0
            };
            let mut readable = 0;
            for column in &relation.columns {
                let seen =
                    number(&mut session, &format!("SELECT count({column}) FROM {name}")).await;
                match seen {
                    Ok(seen) => {
                        readable += 1;
                        assert!(!relation.partition, "{at}: partitions are closed");
                        assert!(
                            seen <= own_rows || !relation.has_tenant(),
                            "{at}: {column} counts {seen} of {own_rows}"
                        );
                    }
                    Err(code) => assert_eq!(code, DENIED, "{at}.{column}"),
                }
                for sql in [
                    format!("UPDATE {name} SET {column} = {column}"),
                    format!("UPDATE {name} SET {column} = DEFAULT"),
                    format!("UPDATE {name} SET {column} = NULL"),
                ] {
                    match attempt(&mut session, &sql).await {
                        Ok(touched) => assert!(touched as i64 <= own_rows, "{at}: {sql}"),
                        Err((code, _)) if code == DENIED => break,
                        // Nobody can write through a view that joins.
                        Err((code, _)) if relation.view && code == "55000" => break,
                        // A constraint of one's own row.
                        Err((code, _)) => assert!(code.starts_with("23"), "{at}: {code}"),
                    }
                }
            }
            if relation.has_tenant() && readable > 0 {
                for filter in [
                    format!("tenant_id = {foreign}"),
                    format!("tenant_id <> {own}"),
                    format!("chain_id <> {CHAIN}"),
                    // An operator that would tell by its error, if it ever met a foreign row.
                    format!("1 / (CASE WHEN tenant_id = {foreign} THEN 0 ELSE 1 END) = 0"),
                ] {
                    let sql = format!("SELECT count(tenant_id) FROM {name} WHERE {filter}");
                    assert_eq!(number(&mut session, &sql).await, Ok(0), "{at}: {filter}");
                }
            }
            if !relation.has_tenant() && readable > 0 {
                let sql = format!("SELECT count(chain_id) FROM {name} WHERE chain_id <> {CHAIN}");
                assert_eq!(number(&mut session, &sql).await, Ok(0), "{at}: other chains");
            }
            if relation.view {
                // It has neither system columns nor rows of its own.
                attempt(&mut session, &format!("DELETE FROM {name}")).await.expect_err(&at);
                continue;
            }
            for column in ["xmin", "xmax", "cmin", "cmax", "ctid", "tableoid"] {
                let sql = format!("SELECT count({column}) FROM {name}");
                assert_eq!(
                    number(&mut session, &sql).await,
                    Err(DENIED.to_owned()),
                    "{at}: {column}"
                );
            }
            for sql in [
                format!("TRUNCATE {name}"),
                format!(
                    "CREATE TEMP TABLE t (LIKE {name}); CREATE TRIGGER t AFTER INSERT ON {name} \
                         EXECUTE FUNCTION suppress_redundant_updates_trigger()"
                ),
                format!("ALTER TABLE {name} DISABLE ROW LEVEL SECURITY"),
            ] {
                let refused = attempt(&mut session, &sql).await.expect_err(&at);
                assert!(
                    [DENIED, "0A000"].contains(&refused.0.as_str()),
                    "{at}: {sql}: {refused:?}"
                );
            }
            // What may be deleted is chain-wide and not a tenant's, or the tenant's own intake.
            if let Ok(touched) = attempt(&mut session, &format!("DELETE FROM {name}")).await {
                assert!(touched as i64 <= own_rows, "{at}: deleted");
            }
        }
        // The rewind door does nothing for a session that has a tenant's scope.
        if attempt(&mut session, "SELECT cofferdam.rewind(0)").await.is_ok() {
            run(&mut session, "SELECT cofferdam.rewind(0); COMMIT").await.expect("ran");
        }
    }
    assert_eq!(snapshot(&mut raw, &relations).await, before, "nothing has changed");
}

async fn number_as_admin(raw: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(raw).await.expect("counted").get(0)
}

/// An insert of a foreign row is refused alike whether that row exists or not, so keys tell nothing.
#[tokio::test]
async fn i7_keys_are_no_oracles() {
    let database = populated().await;
    let mut raw = database.raw(None).await;
    let mut tried = 0;
    for relation in relations(&mut raw).await {
        let name = &relation.name;
        if !relation.has_tenant() || relation.partition {
            continue;
        }
        // The foreign tenant's own row, column by column as a literal.
        let literals: Vec<String> = relation
            .columns
            .iter()
            .map(|column| format!("quote_nullable({column}::text)"))
            .collect();
        let sql = format!(
            "SELECT array[{}] FROM {name} WHERE tenant_id = '\\x{}' AND chain_id = {CHAIN} LIMIT 1",
            literals.join(", "),
            hex(2)
        );
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut raw).await.expect("a foreign row");
        let there: Vec<String> = row.get(0);
        // And one like it that is not there: every hash, number and name another.
        let absent: Vec<String> = relation
            .columns
            .iter()
            .zip(&there)
            .map(|(column, value)| match column.as_str() {
                "tenant_id" | "chain_id" => value.clone(),
                "log_index" | "seq" | "batch_index" | "first_seq" | "xid" | "n" | "nonce"
                | "version" | "event_index" | "agent_nonce" => "999".to_owned(),
                "external_id_tag" | "incident_id" | "block_hash" | "key" => {
                    format!("'\\x{}'", "ee".repeat(32))
                }
                "name" => "'somebody else'".to_owned(),
                _ => value.clone(),
            })
            .collect();
        for role in ROLES {
            let mut session = session(&database, role, Some((CHAIN, 1))).await;
            let sql = format!(
                "SELECT array_agg(a ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY u(a, n) \
                 WHERE has_column_privilege('{name}'::regclass, a, 'INSERT')"
            );
            let may: Option<Vec<String>> = sqlx::query(AssertSqlSafe(sql))
                .bind(&relation.columns)
                .fetch_one(&mut session)
                .await
                .expect("privileges")
                .get(0);
            let Some(may) = may else { continue };
            let insert = |values: &[String], end: &str| {
                let chosen: Vec<&str> = relation
                    .columns
                    .iter()
                    .zip(values)
                    .filter(|(column, _)| may.contains(column))
                    .map(|(_, value)| value.as_str())
                    .collect();
                format!(
                    "INSERT INTO {name} ({}) VALUES ({}) {end}",
                    may.join(", "),
                    chosen.join(", ")
                )
            };
            for end in ["", "ON CONFLICT DO NOTHING"] {
                let with_row = attempt(&mut session, &insert(&there, end)).await;
                let without = attempt(&mut session, &insert(&absent, end)).await;
                let (code, _) = with_row.clone().expect_err(name);
                assert_eq!(code, DENIED, "{role} inserts into {name}");
                assert_eq!(with_row, without, "{role} learns from {name}");
                tried += 1;
            }
        }
    }
    assert!(tried >= 16, "{tried} inserts were tried");
}

#[tokio::test]
async fn i7_without_a_scope_the_database_returns_nothing() {
    let database = populated().await;
    let mut raw = database.raw(None).await;
    let relations = relations(&mut raw).await;
    let mirrored = MirrorTable::ALL.map(MirrorTable::name);
    let tenant_data = [&["entries", "tag_keys", "intake"][..], &mirrored].concat();
    for role in ROLES {
        // Neither tenant nor chain: nothing at all. A chain without a tenant: no tenant data.
        for with_chain in [false, true] {
            let mut session = session(&database, role, None).await;
            if with_chain {
                run(&mut session, &format!("SET LOCAL cofferdam.chain_id = '{CHAIN}'"))
                    .await
                    .expect("set");
            }
            for relation in &relations {
                let short = relation.name.trim_start_matches("cofferdam.");
                if with_chain && role != "cofferdam_reader" && !tenant_data.contains(&short) {
                    continue;
                }
                for column in &relation.columns {
                    let sql = format!("SELECT count({column}) FROM {}", relation.name);
                    let seen = number(&mut session, &sql).await;
                    let chain_wide = with_chain && !relation.has_tenant();
                    assert!(
                        chain_wide || matches!(&seen, Ok(0)) || seen == Err(DENIED.to_owned()),
                        "{role} sees {seen:?} of {short}.{column}"
                    );
                }
            }
        }
    }
    // A scope that is not even a tenant id is an error or nothing, never something.
    for scope in ["00", "", hex(1).get(..62).expect("62 digits")] {
        let mut session = session(&database, "cofferdam_reader", None).await;
        run(
            &mut session,
            &format!("SET LOCAL cofferdam.chain_id = '{CHAIN}'; SET LOCAL cofferdam.tenant_id = '{scope}'"),
        )
        .await
        .expect("set");
        let seen = number(&mut session, "SELECT count(seq) FROM cofferdam.entries").await;
        assert_eq!(seen, Ok(0), "{scope}");
    }
}

#[tokio::test]
async fn i7_the_scope_does_not_reach_the_pools_next_user() {
    let database = populated().await;
    let sealer = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
    // A leaked scope would hide the other tenant from the next transaction.
    let unscoped = || async { sealer.heads().await.expect("heads").len() };
    for round in 0..3 {
        let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
        assert_eq!(tx.head().await.expect("a head").name, "t1");
        match round {
            0 => tx.commit().await.expect("committed"),
            1 => drop(tx),
            _ => {
                let mut stream = tx.entries(Seq(0), 3);
                assert!(stream.next().await.is_some());
            }
        }
        assert_eq!(unscoped().await, 2);
    }
    // Also when a statement fails, and when the task is cancelled in the middle of one.
    let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
    let error = tx.insert_batch(Seq(7), 1, [0; 32].into()).await.expect_err("halted");
    assert!(matches!(error, StoreError::Halted { .. }));
    drop(tx);
    assert_eq!(unscoped().await, 2);
    let cancelled = async {
        let mut tx = sealer.tenant(tenant(1)).await.expect("a transaction");
        tx.lock_head().await.expect("a head");
        std::future::pending::<()>().await;
    };
    let limit = std::time::Duration::from_millis(200);
    assert!(tokio::time::timeout(limit, cancelled).await.is_err());
    assert_eq!(unscoped().await, 2);
    // And one tenant's transaction shows nothing of another's.
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    for byte in [1, 2, 1] {
        let mut tx = reader.tenant(tenant(byte)).await.expect("a transaction");
        assert_eq!(tx.entries(Seq(0), 100).count().await, usize::from(byte) * 3);
        assert_eq!(tx.batches().await.expect("batches").len(), 1);
        assert_eq!(tx.anchored().await.expect("events").len(), 1);
        assert_eq!(tx.head().await.expect("a head").tenant, tenant(byte));
    }
}

#[tokio::test]
async fn i7_a_reader_looks_up_one_name_and_lists_none() {
    let database = populated().await;
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    let found = reader.tenant_by_name("t2").await.expect("looked up").expect("there");
    assert_eq!(found.id, tenant(2));
    assert_eq!(reader.tenant_by_name("t3").await.expect("looked up"), None);
    // With a tenant's scope, the name opens nothing more.
    let mut session = session(&database, "cofferdam_reader", Some((CHAIN, 1))).await;
    run(&mut session, "SET LOCAL cofferdam.tenant_name = 't2'").await.expect("set");
    let seen =
        number(&mut session, "SELECT count(name) FROM cofferdam.tenants WHERE name = 't2'").await;
    assert_eq!(seen, Ok(0));
}

/// The planner reads column statistics across row security; there are none, so its estimates for a
/// value that a neighbour has a thousand times and for one that nobody has are the same.
#[tokio::test]
async fn i7_explain_tells_nothing_of_a_neighbours_values() {
    let database = populated().await;
    let sequencer = database.sequencer().await;
    let many = (0..1000).map(|id| entry(&format!("more-{id}"), "{}")).collect();
    sequencer.appender().append(tenant(2), many).await.expect("appended");
    let mut raw = database.raw(None).await;
    run(&mut raw, "ANALYZE").await.expect("analyzed");

    let mut session = session(&database, "cofferdam_reader", Some((CHAIN, 1))).await;
    let mut plans = Vec::new();
    for (actor, of) in [("arn:aws:iam::1:user/ann", 2), ("nobody", 7)] {
        let sql = format!(
            "EXPLAIN SELECT seq FROM cofferdam.entries \
             WHERE actor = '{actor}' AND tenant_id = '\\x{}'::bytea",
            hex(of)
        );
        let rows = session.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("a plan");
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>(0)).collect();
        plans.push(plan.join("\n").replace(actor, "ACTOR").replace(&hex(of), "TENANT"));
    }
    // Which partition a tenant hashes to is no secret; the estimates are what must agree.
    let estimates = |plan: &str| -> Vec<String> {
        plan.split("rows=")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap_or("").to_owned())
            .collect()
    };
    assert_eq!(estimates(&plans[0]), estimates(&plans[1]), "{}\n{}", plans[0], plans[1]);
    let statistics =
        number(&mut session, "SELECT count(*) FROM pg_stats WHERE schemaname = 'cofferdam'").await;
    assert_eq!(statistics, Ok(0));
}

#[tokio::test]
async fn i7_errors_do_not_quote_rows_or_passwords() {
    let database = populated().await;
    let sequencer = database.sequencer().await;
    let mut raw = database.raw(None).await;
    // An error that carries the row in its DETAIL and the statement in its CONTEXT.
    run(
        &mut raw,
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             RAISE EXCEPTION 'refused' USING DETAIL = new.payload, HINT = new.external_id; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON cofferdam.entries \
             FOR EACH ROW EXECUTE FUNCTION public.refuse()",
    )
    .await
    .expect("added");
    let secret = vec![entry("secret-id", "{\"password\": \"hunter2\"}")];
    let error = sequencer.appender().append(tenant(1), secret).await.expect_err("refused");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("refused (SQLSTATE P0001)"), "{shown}");
    assert!(!shown.contains("hunter2") && !shown.contains("secret-id"), "{shown}");

    let mut url = database.test.runtime_url.clone();
    url.set_password(Some("wr0ng-secret")).expect("a password");
    let wrong = url.as_str().parse().expect("a URL");
    let error = Reader::connect(&wrong, CHAIN).await.expect_err("wrong password");
    assert!(!format!("{error} {error:?} {wrong:?}").contains("wr0ng-secret"));
    raw.close().await.expect("closed");
}
