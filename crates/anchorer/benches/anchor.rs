//! What sealing costs beside the hashing that it cannot do without: `script/bench anchor`.
//!
//! A Postgres of its own, fsync on. A tenant's million entries of a kilobyte are sealed, every leaf hashed
//! again from what is stored; then a core hashes as many buffers of the same lengths, and nothing else.
//! Then a round over 1,000 tenants with three new entries each, and one over 10,000.

mod filled;

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use cofferdam_anchorer::{SealPolicy, Stint, seal_due};
use cofferdam_core::FieldName;
use cofferdam_store::{Sealer, Sequencer};
use filled::{CHAIN, PAYLOAD, entry, fill, number, start, tenant};
use futures::{StreamExt, stream};

/// Tenants of the two rounds.
const FEW: u64 = 1_000;
const MANY: u64 = 10_000;
/// Entries that each of them has in a round.
const EACH: usize = 3;

fn main() {
    let json = std::env::args().any(|arg| arg == "--json");
    let entries = number("--entries").unwrap_or(1_000_000);
    let many = number("--tenants").unwrap_or(MANY);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(bench(entries, many, json));
}

async fn bench(entries: u64, many: u64, json: bool) {
    let (server, daemon) = start().await;
    let sequencer = Sequencer::connect(&daemon, CHAIN).await.expect("a sequencer");
    let sealer = Sealer::connect(&daemon, CHAIN).await.expect("a sealer");

    fill(&sequencer, entries).await;
    let policy = SealPolicy::default();
    let start = Instant::now();
    let report = seal_due(&sealer, &policy, Stint::flush()).await.expect("sealed");
    let sealing = start.elapsed();
    assert_eq!(report.sealed as u64, entries.div_ceil(policy.max_entries));
    assert!(report.troubled.is_empty(), "{report:?}");
    let hashing = tokio::task::spawn_blocking(move || bare_keccak(entries)).await.expect("hashed");

    let few = round(&sequencer, &sealer, 1..1 + FEW).await;
    let much = round(&sequencer, &sealer, 1 + FEW..1 + FEW + many).await;
    let rss = peak_rss_mb();
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
    server.stop().await;
    if json {
        let line = serde_json::json!({
            "entries": entries, "seal_s": sealing, "keccak_s": hashing, "of_keccak": of_keccak,
            "round_ms_per_tenant": few, "round_growth": growth, "rss_mb": rss,
        });
        println!("{line}");
    }
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
    let report = seal_due(sealer, &policy, Stint::default()).await.expect("sealed");
    assert_eq!(report.sealed as u64, count);
    start.elapsed().as_secs_f64() * 1e3 / count as f64
}

fn peak_rss_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024
}
