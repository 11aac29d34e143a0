//! Ten megabytes of the most laborious input are refused within a second of one core and within 200 MB. The
//! only test of its program: the memory is that of making the input and reading it, and nobody else's.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

#[path = "receipt/sample.rs"]
#[allow(dead_code)] // the other tests use more of it
mod sample;

use cofferdam_core::{MAX_RECEIPT_BYTES, Receipt};
use sample::{SMALL, whole};
use std::{fs::read_to_string, time::Duration};

/// What is released is a few times as fast as what is built for tests.
const MOST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 4 } else { 1 });

#[test]
fn ten_megabytes_are_refused_in_time_and_memory() {
    let good = sample::proven(SMALL, whole).0.to_json().unwrap();
    let room = MAX_RECEIPT_BYTES - good.len() - 100;
    let fill = |open: &str, unit: &str, close: &str| {
        format!("{open}{}{close}", unit.repeat((room - 10) / unit.len()))
    };
    let inside = |member: &str, text: String| {
        let (before, after) = good.split_once(&format!("\"{member}\": [")).unwrap();
        format!("{before}\"{member}\": [{text}{after}")
    };
    let hash = format!("\"0x{}\",", "00".repeat(32));
    let numbered =
        |room: usize| (0..room / 12).map(|n| format!("\"{n:07}\":0,")).collect::<String>();
    // One at a time.
    let cases: [(&str, &dyn Fn() -> String); 13] = [
        ("too long", &|| " ".repeat(10_000_000)),
        ("depth", &|| "[".repeat(room)),
        ("objects", &|| "{\"a\":".repeat(room / 5)),
        ("members", &|| format!("{{{}\"format\":\"cofferdam-receipt\"}}", numbered(room))),
        ("one string", &|| fill("{\"format\":\"", "x", "\"}")),
        ("escapes", &|| fill("{\"format\":\"", "\\u0041", "\"}")),
        ("path", &|| inside("path", fill("", &hash, ""))),
        ("nodes", &|| inside("accountProof", fill("", "\"0x\",", ""))),
        ("one node", &|| inside("accountProof", fill("\"0x", "00", "\","))),
        ("lacks", &|| inside("lacks", fill("", "\"path\",", "\"path\""))),
        ("erased", &|| inside("erased", fill("", "\"actor\",", "\"actor\""))),
        ("number", &|| good.replacen("\"31337\"", &fill("\"", "9", "\""), 1)),
        ("spaces", &|| fill("", " ", &good[..good.len() - 1])),
    ];
    for (name, text) in cases {
        let text = text();
        // By what this thread has had of a core: a busy machine is no slower core.
        let before = cpu_time();
        let read = Receipt::from_json(text.as_bytes()).and_then(|receipt| receipt.check());
        assert!(read.is_err(), "{name}");
        if let Some(took) = cpu_time().zip(before).map(|(now, then)| now - then) {
            assert!(took < MOST, "{name} took {took:?}");
        }
        if let Some(most) = peak_memory() {
            assert!(most < 200 << 10, "{name} took {most} KiB");
        }
    }
}

/// Where the system tells it.
fn cpu_time() -> Option<Duration> {
    let text = read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// In KiB, where the system tells it.
fn peak_memory() -> Option<u64> {
    let text = read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
