//! What sealing costs beside the hashing that it cannot do without: `script/bench seal`.
//!
//! A Postgres of its own, fsync on. A tenant's million entries of a kilobyte are sealed, every leaf hashed
//! again from what is stored; then a core hashes as many buffers of the same lengths, and nothing else.
//! Then a round over 1,000 tenants with three new entries each, and one over 10,000.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use cofferdam_anchorer::{SealPolicy, seal_due};
use cofferdam_core::{Address, FieldName, TenantId};
use cofferdam_devnet::{Postgres, PostgresOptions, Toolchain};
use cofferdam_store::{DatabaseUrl, NewEntry, Sealer, Sequencer, migrate};
use futures::{StreamExt, stream};

const CHAIN: u64 = 31337;
/// Entries handed over at a time.
const GROUP: u64 = 1000;
const PAYLOAD: usize = 820;
/// Tenants of the two rounds.
const FEW: u64 = 1_000;
const MANY: u64 = 10_000;
/// Entries that each of them has in a round.
const EACH: usize = 3;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let entries = number("--entries").unwrap_or(1_000_000);
    let many = number("--tenants").unwrap_or(MANY);
    let dir = tempfile::tempdir().expect("a directory");
    // The server runs as another user, who must be able to pass through.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(dir.path(), open).expect("permissions");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(bench(dir.path(), entries, many, json));
}

fn number(option: &str) -> Option<u64> {
    let value = std::env::args().skip_while(|arg| arg != option).nth(1)?;
    Some(value.parse().expect("a number"))
}

async fn bench(dir: &std::path::Path, entries: u64, many: u64, json: bool) {
    let options = PostgresOptions { data_dir: dir.into(), port: None, ephemeral: false };
    let postgres = Postgres::start(&Toolchain::find(), &options).await.expect("a Postgres");
    let mut url = postgres.admin_url().clone();
    url.set_path("bench");
    let admin: DatabaseUrl = url.as_str().parse().expect("a URL");
    url.set_username("daemon").expect("a user");
    url.set_password(Some("daemon")).expect("a password");
    let daemon: DatabaseUrl = url.as_str().parse().expect("a URL");
    migrate(&admin, &daemon).await.expect("migrated");
    let sequencer = Sequencer::connect(&daemon, CHAIN).await.expect("a sequencer");
    let sealer = Sealer::connect(&daemon, CHAIN).await.expect("a sealer");

    fill(&sequencer, entries).await;
    let policy = SealPolicy::default();
    let start = Instant::now();
    let report = seal_due(&sealer, &policy, true).await.expect("sealed");
    let sealing = start.elapsed();
    assert_eq!(report.sealed as u64, entries.div_ceil(policy.max_entries));
    assert!(report.troubled.is_empty(), "{report:?}");
    let rss = peak_rss_mb();
    let hashing = tokio::task::spawn_blocking(move || bare_keccak(entries)).await.expect("hashed");

    let few = round(&sequencer, &sealer, 1..1 + FEW).await;
    let much = round(&sequencer, &sealer, 1 + FEW..1 + FEW + many).await;
    let (of_keccak, growth) = (sealing.as_secs_f64() / hashing.as_secs_f64(), much / few);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (sealing, hashing) = (sealing.as_secs_f64(), hashing.as_secs_f64());
    println!("  sealing {entries} entries           {sealing:>8.2} s");
    println!("  the same hashes alone, one core  {hashing:>8.2} s   {of_keccak:.2} times that");
    println!("  a round of {FEW} tenants           {few:>8.3} ms a tenant");
    println!(
        "  a round of {many} tenants          {much:>8.3} ms a tenant, {growth:.2} times that"
    );
    println!("  {rss} MB resident at most; load {}", load.trim());
    postgres.stop().await;
    if json {
        let line = serde_json::json!({
            "entries": entries, "seal_s": sealing, "keccak_s": hashing, "of_keccak": of_keccak,
            "round_ms_per_tenant": few, "round_growth": growth, "rss_mb": rss,
        });
        println!("{line}");
    }
}

fn tenant(n: u64) -> TenantId {
    let mut address = [0x11; 20];
    address[..8].copy_from_slice(&n.to_be_bytes());
    TenantId::from_authority(Address::from(address)).expect("not zero")
}

fn entry(n: u64, payload: usize) -> NewEntry {
    let payload = format!("{{\"n\":{n:>9},\"of\":\"{}\"}}", "x".repeat(payload));
    NewEntry::new([
        (FieldName::ExternalId, format!("3f2504e0-4f89-41d3-9a0c-{n:012x}")),
        (FieldName::Action, "s3.amazonaws.com:GetObject".to_owned()),
        (FieldName::Actor, "arn:aws:sts::111122223333:assumed-role/reports/nightly".to_owned()),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.123456Z".to_owned()),
        (FieldName::Resource, "arn:aws:s3:::finance-reports".to_owned()),
        (FieldName::Result, "success".to_owned()),
        (FieldName::Payload, payload),
    ])
    .expect("an entry")
}

/// One tenant's million.
async fn fill(sequencer: &Sequencer, entries: u64) {
    sequencer.add_tenant("hot", tenant(0)).await.expect("added");
    let appender = sequencer.appender();
    stream::iter((0..entries).step_by(GROUP as usize))
        .for_each_concurrent(4, |first| {
            let appender = appender.clone();
            async move {
                let group = first..entries.min(first + GROUP);
                let group = group.map(|n| entry(n, PAYLOAD)).collect();
                appender.append(tenant(0), group).await.expect("appended");
            }
        })
        .await;
}

/// The lengths of what is hashed for one entry: salts, digests, commitment, link, and a node of the tree.
fn bare_keccak(entries: u64) -> Duration {
    let like = entry(0, PAYLOAD);
    let recorded = "2026-01-31T23:59:59.123456Z".len();
    let mut lengths = Vec::new();
    for (name, value) in like.fields().iter() {
        let value = if name == FieldName::RecordedAt { recorded } else { value.len() };
        lengths.extend([1 + 32 + name.as_str().len(), 1 + 32 + 2 + name.as_str().len() + value]);
    }
    lengths.extend([1 + 10 * 32, 1 + 32 + 8 + 32 + 32, 1 + 64]);
    let buffer = vec![0x5a; lengths.iter().copied().max().unwrap_or_default()];
    let start = Instant::now();
    for _ in 0..entries {
        for &length in &lengths {
            black_box(alloy::primitives::keccak256(black_box(&buffer[..length])));
        }
    }
    start.elapsed()
}

/// Milliseconds a tenant of a round in which all of these have something new.
async fn round(sequencer: &Sequencer, sealer: &Sealer, tenants: std::ops::Range<u64>) -> f64 {
    let count = tenants.end - tenants.start;
    let appender = sequencer.appender();
    stream::iter(tenants)
        .for_each_concurrent(8, |n| {
            let appender = appender.clone();
            async move {
                sequencer.add_tenant(&format!("t{n}"), tenant(n)).await.expect("added");
                let few = (0..EACH as u64).map(|i| entry(i, 100)).collect();
                appender.append(tenant(n), few).await.expect("appended");
            }
        })
        .await;
    let policy = SealPolicy { max_age: Duration::ZERO, ..SealPolicy::default() };
    let start = Instant::now();
    let report = seal_due(sealer, &policy, false).await.expect("sealed");
    assert_eq!(report.sealed as u64, count);
    start.elapsed().as_secs_f64() * 1e3 / count as f64
}

fn peak_rss_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}
