//! How soon the mirror answers what an auditor asks, with a million rows in it: `script/bench queries`.
//!
//! A Postgres of its own, row security on. 500 tenants, of whom the first has a tenth of all rows: nine of ten
//! rows are batches, the others grants to a few agents, and policies. Each question is asked of tenants at
//! random, in a transaction of its own as the reader, who is given the tenant's scope first; what is
//! measured is all of that. Then it is asked of the first tenant, and explained.

use std::time::{Duration, Instant};

use alloy_primitives::U128;
use cofferdam_core::{
    Address, B256, TenantId,
    mirror::{LogPosition, MirrorEvent, Row, Value},
};
use cofferdam_devnet::{BenchServer, TestDatabase};
use cofferdam_store::{Checkpoint, Counters, DatabaseUrl, Mirror, migrate};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};

const CHAIN: u64 = 31337;
const ROWS: u64 = 1_000_000;
const TENANTS: u64 = 500;
/// Agents that a tenant has granted something.
const AGENTS: u64 = 8;
const PER_BLOCK: u64 = 100;
/// Rows of a range.
const RANGE: u64 = 8_200;
const ASKED: usize = 2_000;
/// The first block's time, in Unix seconds.
const START: u64 = 1_700_000_000;

/// What is asked, of `$1` and `$2`: an agent's address and a time, where it needs them.
const QUESTIONS: [(&str, &str); 3] = [
    (
        "a tenant's last 100 anchors",
        "SELECT batch_index, first_seq, count, root, anchored_at, finality FROM cofferdam.anchors \
         WHERE $1::bytea IS NOT NULL AND $2::bigint IS NOT NULL ORDER BY batch_index DESC LIMIT 100",
    ),
    (
        "its policy in force at a time",
        "SELECT version, policy_hash, in_force_from, in_force_until FROM cofferdam.policies_in_force \
         WHERE $1::bytea IS NOT NULL AND in_force_from <= $2 \
             AND (in_force_until IS NULL OR $2 < in_force_until)",
    ),
    (
        "an agent's scopes in force then",
        "SELECT capability, native_max, in_force_from, in_force_until FROM cofferdam.scopes_in_force \
         WHERE agent = $1 AND in_force_from <= $2 AND (in_force_until IS NULL OR $2 < in_force_until)",
    ),
];

fn main() {
    let rows = std::env::args().skip_while(|arg| arg != "--rows").nth(1);
    let rows = rows.map_or(ROWS, |it| it.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(bench(rows));
}

async fn bench(rows: u64) {
    let server = BenchServer::start().await.expect("a Postgres");
    let TestDatabase { admin_url, runtime_url } = server.database("bench");
    let admin: DatabaseUrl = admin_url.as_str().parse().expect("a URL");
    let daemon: DatabaseUrl = runtime_url.as_str().parse().expect("a URL");
    migrate(&admin, &daemon).await.expect("migrated");

    let began = Instant::now();
    let mirror = Mirror::connect(&daemon, CHAIN).await.expect("a mirror");
    let head = fill(&mirror, rows).await;
    eprintln!("{rows} rows in {head} blocks after {:?}", began.elapsed());

    let mut session = PgConnection::connect(runtime_url.as_str()).await.expect("a connection");
    let scope = format!(
        "SET ROLE cofferdam_reader; SET cofferdam.chain_id = '{CHAIN}'; SET row_security = on; \
         SET plan_cache_mode = force_custom_plan; SET enable_bitmapscan = off"
    );
    session.execute(AssertSqlSafe(scope)).await.expect("a scope");
    let mut random = SmallRng::seed_from_u64(7);
    let mut of_all = serde_json::Map::new();
    for (what, sql) in QUESTIONS {
        let (mut waits, mut found) = (vec![], 0);
        for _ in 0..ASKED {
            let (who, time) =
                (random.random_range(0..TENANTS), START + random.random_range(0..head));
            let asked = Instant::now();
            found += ask(&mut session, sql, who, random.random_range(0..AGENTS), time).await;
            waits.push(asked.elapsed());
        }
        let asked = Instant::now();
        let of_first = ask(&mut session, sql, 0, 0, START + head).await;
        println!(
            "  {what:<34} p50 {:>6.2} ms, p95 {:>6.2} ms, {:.1} rows each; of the largest tenant {:.2} ms, {of_first} rows",
            at(&mut waits, 50),
            at(&mut waits, 95),
            found as f64 / ASKED as f64,
            asked.elapsed().as_secs_f64() * 1e3,
        );
        of_all.insert(what.to_owned(), at(&mut waits, 95).into());
    }
    for (what, sql) in QUESTIONS {
        let explained = format!("EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF) {sql}");
        let mut tx = scoped(&mut session, 0).await;
        let lines = sqlx::query(AssertSqlSafe(explained))
            .bind(agent(0, 0).as_slice())
            .bind((START + head / 2) as i64)
            .fetch_all(&mut *tx)
            .await
            .expect("explained");
        println!("\n{what}, of the largest tenant:");
        lines.iter().for_each(|line| println!("  {}", line.get::<String, _>(0)));
    }
    server.stop().await;
    if std::env::args().any(|arg| arg == "--json") {
        println!("{}", serde_json::json!({ "rows": rows, "p95_ms": of_all }));
    }
}

async fn scoped(session: &mut PgConnection, who: u64) -> sqlx::Transaction<'_, sqlx::Postgres> {
    let mut tx = session.begin().await.expect("a transaction");
    sqlx::query("SELECT set_config('cofferdam.tenant_id', $1, true)")
        .bind(tenant(who).as_b256().to_string().trim_start_matches("0x"))
        .execute(&mut *tx)
        .await
        .expect("a scope");
    tx
}

async fn ask(session: &mut PgConnection, sql: &'static str, who: u64, n: u64, time: u64) -> usize {
    let mut tx = scoped(session, who).await;
    let rows = sqlx::query(sql)
        .bind(agent(who, n).as_slice())
        .bind(time as i64)
        .fetch_all(&mut *tx)
        .await
        .expect("an answer");
    tx.commit().await.expect("read");
    rows.len()
}

fn at(waits: &mut [Duration], percent: usize) -> f64 {
    waits.sort_unstable();
    waits.get((waits.len() * percent).div_ceil(100) - 1).map_or(0.0, |it| it.as_secs_f64() * 1e3)
}

fn tenant(n: u64) -> TenantId {
    TenantId::from_authority(Address::left_padding_from(&(n + 1).to_be_bytes())).expect("not zero")
}

fn agent(of: u64, n: u64) -> Address {
    Address::left_padding_from(&(AGENTS * (of + 1) + n + (1 << 40)).to_be_bytes())
}

/// Mirrors so many rows; returns the last block.
async fn fill(mirror: &Mirror, rows: u64) -> u64 {
    let mut counters = Counters::default();
    let mut next = vec![[0u64; 3]; TENANTS as usize];
    let (mut from, mut done) = (None, 0);
    while done < rows {
        let count = RANGE.min(rows - done);
        let of_range = (done..done + count).map(|n| row(n, &mut next)).collect();
        done += count;
        let number = done.div_ceil(PER_BLOCK);
        let to = Checkpoint { number, hash: B256::left_padding_from(&number.to_be_bytes()) };
        let counted = mirror.count(&mut counters, of_range).await.expect("counted");
        mirror.apply(from, to, &[], counted.followed()).await.expect("applied");
        from = Some(to);
    }
    let head = rows.div_ceil(PER_BLOCK);
    mirror.settle(head, head).await.expect("settled");
    head
}

/// The n-th row of all, and how many of its kind its tenant has.
fn row(n: u64, next: &mut [[u64; 3]]) -> Row {
    let who = if n.is_multiple_of(10) { 0 } else { n * 7919 % TENANTS };
    let number = 1 + n / PER_BLOCK;
    let (int, time) = (Value::Int, START + number);
    let word = |n: u64| Value::Word(B256::left_padding_from(&n.to_be_bytes()));
    // Of a tenant's fifty rows one is a policy, and four are grants.
    let of_tenant = &mut next[who as usize];
    let turn = of_tenant.iter().sum::<u64>() % 50;
    let (name, kind) = match turn {
        7 => ("PolicyPublished", 1),
        11 | 22 | 33 | 44 => ("Granted", 2),
        _ => ("Anchored", 0),
    };
    let at = of_tenant[kind];
    of_tenant[kind] += 1;
    let values = match kind {
        0 => vec![int(at), int(10 * at), int(10), word(n), int(time)],
        1 => {
            let signer = Value::Address(Address::ZERO);
            vec![int(at + 1), word(n), signer, int(1), int(u64::from(u32::MAX)), int(time)]
        }
        _ => vec![
            Value::Address(agent(who, at % AGENTS)),
            word(at / AGENTS % 16),
            int(1),
            int(u64::from(u32::MAX)),
            Value::Amount(U128::from(n)),
            Value::Address(Address::ZERO),
            Value::Selector([0; 4]),
            Value::Amount(U128::ZERO),
            int(time),
            int(at),
        ],
    };
    let position = LogPosition {
        block_number: number,
        block_hash: B256::left_padding_from(&number.to_be_bytes()),
        tx_hash: B256::left_padding_from(&n.to_be_bytes()),
        log_index: n % PER_BLOCK,
    };
    let event = MirrorEvent::named(name).expect("an event");
    Row { event, tenant: tenant(who).as_b256(), position, time, values }
}
