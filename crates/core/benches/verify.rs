//! How many receipts one core verifies in a second, from their JSON on: `script/bench verify`.
//!
//! Entries with a payload of about a kilobyte, in a batch of 65,536 among a thousand batches; account
//! proofs of eight nodes, as a chain with hundreds of millions of accounts has them.

#[path = "../tests/receipt/sample.rs"]
#[allow(dead_code)] // the tests use more of it
mod sample;

use alloy_primitives::keccak256;
use cofferdam_core::{B256, BatchTree, FieldName, Policy, Receipt, verify_inclusion};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use rs_merkle::MerkleTree;
use sample::{Shape, partial, proven, whole};
use serde_json::json;
use sha3::Keccak256;
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
        let payload =
            read(text).entry.body.value(FieldName::Payload).map(|it| json!(it).to_string());
        text.len() - payload.map_or(0, |payload| payload.len())
    };
    with.inclusion.as_mut().expect("included").finality = cofferdam_core::Finality::Included;
    let short = with.to_json().expect("a receipt");
    let level1 = rate(|| read(&short).check().is_ok());
    let level2 = rate(|| read(&full).prove(&policy).is_ok());
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
    println!("\n                                      paths/s a core");
    for (name, rate) in paths() {
        println!("  {name:<34}{rate:>16}");
    }
}

/// Inclusion proofs in a tree of 65,536 leaves with keccak256, each by a library's own rules; nothing of a
/// receipt but its path.
fn paths() -> [(&'static str, u64); 3] {
    const AT: usize = 40_503;
    let leaves: Vec<[u8; 32]> = (0..1u64 << 16).map(|n| keccak256(n.to_be_bytes()).0).collect();
    let leaf = leaves[AT];
    let tree = MerkleTree::<BatchTree>::from_leaves(&leaves);
    let (root, proof) = (tree.root().expect("leaves"), tree.proof(&[AT]));
    let path: Vec<_> = proof.proof_hashes().iter().map(|hash| B256::from(*hash)).collect();
    // It also hashes the leaf.
    let mut log = MemoryBackedTree::<Keccak256, [u8; 32]>::new();
    leaves.iter().for_each(|leaf| log.push(*leaf));
    let (log_root, log_proof) = (log.root(), log.prove_inclusion(AT));
    let (count, at) = (leaves.len(), AT as u64);
    [
        (
            "cofferdam",
            rate(|| {
                let (leaf, root) = (B256::from(leaf), B256::from(root));
                verify_inclusion::<BatchTree>(leaf, at, count as u64, black_box(&path), root)
                    .is_ok()
            }),
        ),
        ("rs_merkle", rate(|| black_box(&proof).verify(root, &[AT], &[leaf], count))),
        ("ct-merkle", rate(|| log_root.verify_inclusion(&leaf, at, black_box(&log_proof)).is_ok())),
    ]
}

fn with_selective(shape: Shape, policy: &Policy) -> (u64, usize) {
    let text = proven(shape, partial).0.to_json().expect("a receipt");
    (rate(|| read(&text).prove(policy).is_ok()), text.len())
}

fn read(text: &str) -> Receipt {
    Receipt::from_json(black_box(text.as_bytes())).expect("its own")
}

/// How many are verified in a second, one after the other.
fn rate(valid: impl Fn() -> bool) -> u64 {
    let (start, used, mut done) = (Instant::now(), cpu_time(), 0u64);
    while start.elapsed() < TIME {
        for _ in 0..100 {
            assert!(black_box(valid()), "refused");
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
