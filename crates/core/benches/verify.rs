//! How many receipts one core verifies in a second, from their JSON on: `script/bench verify`.
//!
//! Entries with a payload of about a kilobyte, in a batch of 65,536 among a thousand batches; account
//! proofs of eight nodes, as a chain with hundreds of millions of accounts has them.

#[path = "../tests/receipt/sample.rs"]
#[allow(dead_code)] // the tests use more of it
mod sample;

use cofferdam_core::{FieldName, Policy, Receipt};
use sample::{Shape, partial, proven, whole};
use serde_json::json;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(3);

fn main() {
    let shape = Shape {
        first_seq: 1 << 20,
        count: 1 << 16,
        position: 40_503,
        batch: 700,
        batches: 1_000,
        more: 20,
    };
    let (mut with, policy) = proven(shape, whole);
    let full = with.to_json().expect("a receipt");
    let bytes = |text: &str| {
        let read = Receipt::from_json(text.as_bytes()).expect("its own");
        let payload = read.entry.body.value(FieldName::Payload).map(|it| json!(it).to_string());
        text.len() - payload.map_or(0, |payload| payload.len())
    };
    with.inclusion.as_mut().expect("included").finality = cofferdam_core::Finality::Included;
    let short = with.to_json().expect("a receipt");
    let level1 = rate(&short, |receipt| receipt.check().is_ok());
    let level2 = rate(&full, |receipt| receipt.prove(&policy).is_ok());
    let disclosed = with_selective(shape, &policy);

    if std::env::args().any(|arg| arg == "--json") {
        let line = json!({
            "level1_per_s_core": level1, "level2_per_s_core": level2,
            "receipt_bytes": bytes(&full),
        });
        println!("{line}");
        return;
    }
    println!("                                    receipts/s a core   bytes besides the payload");
    println!("  level 1, all fields               {level1:>17}   {:>25}", bytes(&short));
    println!("  level 2, all fields               {level2:>17}   {:>25}", bytes(&full));
    println!("  level 2, two fields disclosed     {:>17}   {:>25}", disclosed.0, disclosed.1);
}

fn with_selective(shape: Shape, policy: &Policy) -> (u64, usize) {
    let text = proven(shape, partial).0.to_json().expect("a receipt");
    (rate(&text, |receipt| receipt.prove(policy).is_ok()), text.len())
}

/// Receipts a second, read and verified one after the other.
fn rate(text: &str, valid: impl Fn(&Receipt) -> bool) -> u64 {
    let (start, used, mut done) = (Instant::now(), cpu_time(), 0u64);
    while start.elapsed() < TIME {
        for _ in 0..100 {
            let receipt = Receipt::from_json(black_box(text.as_bytes())).expect("its own");
            assert!(black_box(valid(&receipt)), "refused");
        }
        done += 100;
    }
    let used = cpu_time().zip(used).map(|(now, then)| now - then);
    (done as f64 / used.unwrap_or_else(|| start.elapsed()).as_secs_f64()) as u64
}

/// What this thread has had of a core, where the system tells it: a busy machine is no slower core.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
