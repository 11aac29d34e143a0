//! How long a bundle of a million entries takes to verify to level 2, and how much memory: a part of
//! `script/bench verify`. Without arguments this makes the file and runs itself on it, so that the memory
//! is that of verifying alone; it prints one JSON object.
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "../tests/make/mod.rs"]
mod make;

use cofferdam_bundle::{Writer, verify};
use cofferdam_core::Policy;
use make::{Shape, lines, signed, whole};
use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicU64,
    time::Instant,
};

const ENTRIES: u64 = 1_000_000;
const BATCH: u64 = 65_536;

fn main() {
    let args: Vec<_> = env::args().collect();
    match args.iter().position(|it| it == "--verify") {
        Some(at) => measure(Path::new(&args[at + 1]), &args[at + 2]),
        None => parent(),
    }
}

fn parent() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("million.bundle");
    let block = write(&path);
    let size = fs::metadata(&path).expect("written").len();
    eprintln!("{ENTRIES} entries in {:.1} MB", size as f64 / 1e6);
    let own = env::current_exe().expect("a name");
    let run = Command::new(own).arg("--verify").arg(&path).arg(block).status().expect("runs");
    fs::remove_file(&path).expect("ours");
    assert!(run.success());
}

/// Writes the file: the text twice, since the manifest that comes first names its end.
fn write(path: &Path) -> String {
    let mut sizes = vec![BATCH; (ENTRIES / BATCH) as usize];
    sizes.push(ENTRIES % BATCH);
    let shape = Shape { held: 0..sizes.len(), sizes, body: whole };
    let rest = path.with_extension("rest");
    let mut text = Writer::new(BufWriter::new(File::create(&rest).expect("a file")));
    let (manifest, policy) = lines(&shape, |line| text.line(&line).expect("room"));
    text.finish().and_then(|mut it| it.flush()).expect("room");
    let mut file = Writer::new(BufWriter::new(File::create(path).expect("a file")));
    signed(&manifest).iter().for_each(|line| file.line(line).expect("room"));
    let mut file = file.finish().expect("room");
    // Frames may follow each other.
    std::io::copy(&mut File::open(&rest).expect("written"), &mut file).expect("room");
    file.flush().expect("room");
    fs::remove_file(rest).expect("ours");
    policy.block_hashes[0].to_string()
}

fn measure(path: &Path, block: &str) {
    let start = Instant::now();
    let file = File::open(path).expect("written");
    let checked = verify(file, &AtomicU64::new(0), false).expect("valid").checked;
    let manifest = &checked.manifest;
    let policy = Policy {
        chain_id: manifest.chain_id,
        contract: manifest.contract,
        code_hash: Some(manifest.code_hash),
        block_hashes: vec![block.parse().expect("a hash")],
    };
    assert_eq!(checked.prove(&policy).expect("proven").head.entries, ENTRIES);
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"bundle_s\":{seconds:.2},\"bundle_rss_mb\":{}}}", peak_rss() / 1024);
}

/// In KiB, where the system tells it.
fn peak_rss() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}
