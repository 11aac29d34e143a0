//! How fast the append door is, beside what it cannot be faster than: `script/bench append`.
//!
//! A Postgres of its own, fsync on. Records of a kilobyte, 100 tenants, four writers each, with a thousand
//! records at a time. Measured in turns within one run, since a machine is not as fast every minute:
//!
//! - the append door;
//! - a bare `UNNEST` insert of the same columns with the same two keys, without row security, checks and
//!   partitions, of values that somebody else has computed;
//! - the same into a table without any key;
//! - a PL/pgSQL trigger that chains sha256 hashes, one row a commit;
//! - the append door again, all of it for one tenant.

use std::{
    fs,
    future::Future,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use cofferdam_core::{Address, FieldName, TenantId};
use cofferdam_devnet::{BenchServer, TestDatabase};
use cofferdam_store::{Appended, Appender, DatabaseUrl, NewEntry, Sequencer, migrate};
use futures::{StreamExt, stream};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

const CHAIN: u64 = 31337;
const TENANTS: u64 = 100;
const WRITERS: usize = 4;
/// Records that a writer hands over at a time.
const GROUP: usize = 1000;
/// Records of a turn unless `--records` says otherwise, and how many turns there are.
const RECORDS: u64 = 100_000;
const TURNS: u32 = 3;
/// One row a commit is slow: the trigger has this part of the records only.
const TRIGGER_PART: u64 = 25;

const TABLES: &str = "\
CREATE SCHEMA bench;
CREATE TABLE bench.keyed (LIKE cofferdam.entries, PRIMARY KEY (tenant_id, chain_id, seq),
    UNIQUE (tenant_id, chain_id, external_id_tag));
CREATE TABLE bench.plain (LIKE cofferdam.entries);
CREATE TABLE bench.chains (tenant_id bytea PRIMARY KEY, seq bigint NOT NULL, hash bytea NOT NULL);
CREATE TABLE bench.log (tenant_id bytea, seq bigint, external_id text, actor text, action text,
    payload text, previous bytea, hash bytea, PRIMARY KEY (tenant_id, seq), UNIQUE (tenant_id, external_id));
CREATE FUNCTION bench.chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.seq, c.hash INTO new.seq, new.previous FROM bench.chains c
        WHERE c.tenant_id = new.tenant_id FOR UPDATE;
    new.hash := sha256(new.tenant_id || int8send(new.seq) || new.previous
        || convert_to(new.external_id || new.actor || new.action || new.payload, 'UTF8'));
    UPDATE bench.chains SET seq = seq + 1, hash = new.hash WHERE tenant_id = new.tenant_id;
    RETURN new;
END $$;
CREATE TRIGGER chain BEFORE INSERT ON bench.log FOR EACH ROW EXECUTE FUNCTION bench.chain();";

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let records = std::env::args().skip_while(|arg| arg != "--records").nth(1);
    let records = records.map_or(RECORDS, |it| it.parse().expect("a number"));
    runtime.expect("a runtime").block_on(bench(records, json));
}

async fn bench(count: u64, json: bool) {
    let server = BenchServer::start().await.expect("a Postgres");
    let TestDatabase { admin_url, runtime_url } = server.database("bench");
    let admin: DatabaseUrl = admin_url.as_str().parse().expect("a URL");
    let daemon: DatabaseUrl = runtime_url.as_str().parse().expect("a URL");
    migrate(&admin, &daemon).await.expect("migrated");
    let pool = PgPoolOptions::new().max_connections(16).connect(admin_url.as_str()).await;
    let pool = pool.expect("connections");
    sqlx::raw_sql(TABLES).execute(&pool).await.expect("tables");

    let sequencer = Sequencer::connect(&daemon, CHAIN).await.expect("a sequencer");
    for n in 0..=TENANTS {
        sequencer.add_tenant(&format!("t{n}"), tenant(n)).await.expect("added");
        sqlx::query("INSERT INTO bench.chains VALUES ($1, 0, '\\x00')")
            .bind(tenant(n).as_b256().0)
            .execute(&pool)
            .await
            .expect("a chain");
    }
    let appender = sequencer.appender();
    let mut all = [Measure::default(); 5];
    for turn in 0..TURNS {
        for (what, measure) in all.iter_mut().enumerate() {
            sqlx::query("CHECKPOINT").execute(&pool).await.expect("a checkpoint");
            let first = u64::from(turn) * count;
            let range = first..first + count;
            let postgres = || server_cpu(&pool);
            match what {
                0 => measure.take(count, postgres, ours(&appender, range, |n| n % TENANTS)).await,
                1 => measure.take(count, postgres, bare(&pool, range, "keyed")).await,
                2 => measure.take(count, postgres, bare(&pool, range, "plain")).await,
                3 => {
                    let part = first..first + count / TRIGGER_PART;
                    measure.take(count / TRIGGER_PART, postgres, trigger(&pool, part)).await;
                }
                _ => measure.take(count, postgres, ours(&appender, range, |_| TENANTS)).await,
            }
        }
    }
    let [door, keyed, plain, trigger, hot] = all;
    let (of_keyed, of_plain) = (door.rate() / keyed.rate(), door.rate() / plain.rate());
    let (over, rss) = (door.rate() / trigger.rate(), peak_rss_mb());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("                                     rows/s    CPU µs a row: client, Postgres");
    for (name, measure) in [
        ("the append door, 100 tenants", door),
        ("bare UNNEST, same keys", keyed),
        ("bare UNNEST, no key", plain),
        ("trigger, one row a commit", trigger),
        ("the append door, one tenant", hot),
    ] {
        let Measure { rows, client, server, .. } = measure;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / rows as f64;
        let (rate, client, server) = (measure.rate(), each(client), each(server));
        println!("  {name:<30}{rate:>13.0} {client:>24.1} {server:>9.1}");
    }
    println!("  of the bare insert with the same keys {of_keyed:.2}, without {of_plain:.2}");
    println!("  {over:.1} times the trigger; {rss} MB resident at most; load {}", load.trim());
    drop(pool);
    server.stop().await;
    if json {
        let line = serde_json::json!({
            "of_keyed_insert": round(of_keyed), "of_plain_insert": round(of_plain),
            "over_trigger": round(over), "hot_per_s": hot.rate() as u64, "rss_mb": rss,
        });
        println!("{line}");
    }
}

fn round(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

/// What one of them took, over all its turns.
#[derive(Clone, Copy, Default)]
struct Measure {
    rows: u64,
    wall: Duration,
    client: Duration,
    server: Duration,
}

impl Measure {
    async fn take<F: Future<Output = Duration>>(
        &mut self,
        rows: u64,
        server: impl Fn() -> F,
        work: impl Future<Output = ()>,
    ) {
        let (client_before, server_before) = (cpu("/proc/self/stat"), server().await);
        let start = Instant::now();
        work.await;
        self.wall += start.elapsed();
        self.rows += rows;
        self.client += cpu("/proc/self/stat").saturating_sub(client_before);
        self.server += server().await.saturating_sub(server_before);
    }

    fn rate(&self) -> f64 {
        self.rows as f64 / self.wall.as_secs_f64()
    }
}

fn tenant(n: u64) -> TenantId {
    let mut address = [0x11; 20];
    address[..8].copy_from_slice(&n.to_be_bytes());
    TenantId::from_authority(Address::from(address)).expect("not zero")
}

/// Hands out groups of records until they are gone, to as many writers as there are.
async fn groups<F: Future<Output = ()>>(range: Range<u64>, work: impl Fn(u64) -> F) {
    let next = AtomicU64::new(0);
    let writer = async || loop {
        let group = range.start + next.fetch_add(GROUP as u64, Ordering::Relaxed);
        if group >= range.end {
            return;
        }
        work(group).await;
    };
    futures::future::join_all((0..WRITERS).map(|_| writer())).await;
}

/// The append door. Groups go to the tenant that `of` names for them.
async fn ours(appender: &Appender, range: Range<u64>, of: fn(u64) -> u64) {
    groups(range, |first| async move {
        let to = tenant(of(first / GROUP as u64));
        let entries =
            tokio::task::spawn_blocking(move || records(first).map(Record::entry).collect());
        let answers = appender.append(to, entries.await.expect("records")).await.expect("appended");
        let new = |it: &Result<Appended, _>| matches!(it, Ok(Appended::New { .. }));
        assert!(answers.len() == GROUP && answers.iter().all(new), "all of them are new");
    })
    .await;
}

/// A bare insert of the same columns, whose values nothing computes here.
async fn bare(pool: &PgPool, range: Range<u64>, table: &'static str) {
    let sql = format!(
        "INSERT INTO bench.{table} (tenant_id, chain_id, seq, external_id_tag, previous, commitment, \
             entry_hash, seed, action, actor, external_id, occurred_at, payload, policy_version, \
             reason, recorded_at, resource, result) \
         SELECT $1, $2, u.* FROM UNNEST($3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], \
             $7::bytea[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[], \
             $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[]) u"
    );
    let sql = &sql;
    groups(range, |first| async move {
        let rows = tokio::task::spawn_blocking(move || records(first).collect::<Vec<_>>());
        let rows = rows.await.expect("records");
        let of = tenant(first / GROUP as u64 % TENANTS);
        let hashes =
            |at: usize| rows.iter().map(|row| row.hashes[at].as_slice()).collect::<Vec<_>>();
        // The text is made of literals only.
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(of.as_b256().0)
            .bind(CHAIN as i64)
            .bind((first as i64..).take(rows.len()).collect::<Vec<_>>());
        for at in 0..5 {
            query = query.bind(hashes(at));
        }
        for name in FieldName::ALL {
            query = query.bind(rows.iter().map(|row| row.value(name)).collect::<Vec<_>>());
        }
        query.execute(pool).await.expect("inserted");
    })
    .await;
}

/// One row a commit, each chained by a trigger.
async fn trigger(pool: &PgPool, range: Range<u64>) {
    let rows = records_from(range.start).take((range.end - range.start) as usize);
    stream::iter(rows.enumerate())
        .for_each_concurrent(WRITERS, |(n, row)| async move {
            sqlx::query(
                "INSERT INTO bench.log (tenant_id, external_id, actor, action, payload) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(tenant(n as u64 % TENANTS).as_b256().0)
            .bind(&row.external_id)
            .bind(row.value(FieldName::Actor))
            .bind(row.value(FieldName::Action))
            .bind(&row.payload)
            .execute(pool)
            .await
            .expect("inserted");
        })
        .await;
}

/// A record of a kilobyte.
struct Record {
    external_id: String,
    payload: String,
    hashes: [[u8; 32]; 5],
}

/// A group of them, different from every other's.
fn records(first: u64) -> impl Iterator<Item = Record> {
    records_from(first).take(GROUP)
}

fn records_from(first: u64) -> impl Iterator<Item = Record> {
    let mut random = SmallRng::seed_from_u64(first);
    (first..).map(move |n| {
        let mut payload = format!("{{\"n\":{n},\"request\":\"");
        while payload.len() < 820 {
            payload.push_str(WORDS[random.random_range(0..WORDS.len())]);
        }
        payload.push_str("\"}");
        Record {
            external_id: format!("3f2504e0-4f89-41d3-9a0c-{n:012x}"),
            payload,
            hashes: std::array::from_fn(|_| random.random()),
        }
    })
}

const WORDS: [&str; 8] = [
    "arn:aws:s3:::finance-reports/2026/",
    "sourceIPAddress=203.0.113.7 ",
    "userAgent=aws-sdk-rust/1.3 ",
    "sessionIssuer=AROAEXAMPLE ",
    "eventCategory=Management ",
    "tlsVersion=TLSv1.3 ",
    "region=eu-central-1 ",
    "mfa=true ",
];

impl Record {
    fn value(&self, name: FieldName) -> &str {
        match name {
            FieldName::Action => "s3.amazonaws.com:GetObject",
            FieldName::Actor => "arn:aws:sts::111122223333:assumed-role/reports/nightly",
            FieldName::ExternalId => &self.external_id,
            FieldName::OccurredAt | FieldName::RecordedAt => "2026-01-31T23:59:59.123456Z",
            FieldName::Payload => &self.payload,
            FieldName::Resource => "arn:aws:s3:::finance-reports",
            FieldName::Result => "success",
            FieldName::PolicyVersion | FieldName::Reason => "",
        }
    }

    fn entry(self) -> NewEntry {
        let given = FieldName::ALL.into_iter().filter(|name| *name != FieldName::RecordedAt);
        NewEntry::new(given.map(|name| (name, self.value(name).to_owned()))).expect("an entry")
    }
}

/// What this process, or the one of another file, has had of the machine's cores.
fn cpu(stat: &str) -> Duration {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// The same of the server's processes.
async fn server_cpu(pool: &PgPool) -> Duration {
    let pids: Vec<(i32,)> = sqlx::query_as("SELECT pid FROM pg_stat_activity")
        .fetch_all(pool)
        .await
        .expect("the server's processes");
    pids.into_iter().map(|(pid,)| cpu(&format!("/proc/{pid}/stat"))).sum()
}

fn peak_rss_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}
