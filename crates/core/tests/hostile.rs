//! Ten megabytes of the most laborious receipt are refused within a second of one core and within 200 MB.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

mod cost;
#[path = "receipt/sample.rs"]
#[allow(dead_code)] // the other tests use more of it
mod sample;

use cofferdam_core::{MAX_RECEIPT_BYTES, Receipt};
use cost::bounded;
use sample::{SMALL, whole};

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
        let read = bounded(name, || {
            Receipt::from_json(text.as_bytes()).and_then(|receipt| receipt.check())
        });
        let error = read.map(drop).expect_err(name).to_string();
        assert!(error.len() < 1_000, "{name}: an error of {} bytes", error.len());
    }
}
