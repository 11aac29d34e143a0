//! Ten megabytes of the most laborious bundle are refused, by name, within a second of one core and within
//! 200 MB. (One that is complete but for its end is as much work as if it had one.)
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../../core/tests/cost/mod.rs"]
mod cost;
#[allow(dead_code)] // the other tests use more of it
mod make;

use cofferdam_bundle::{MAGIC, verify};
use cofferdam_core::Manifest;
use cost::bounded;
use make::{Made, Shape, make, signed, whole};
use std::{io::Write, sync::atomic::AtomicU64};
use zstd::stream::write::Encoder;

/// How long a file is here.
const FILE: usize = 10_000_000;
/// The text of one, before the end of which it is to be refused.
const TEXT: usize = 3 * FILE;
/// Almost as long as a line may be.
const LINE: usize = 8_300_000;

/// What it is, how it is made, and how the reason begins for which it is refused.
type Case<'a> = (&'a str, &'a dyn Fn() -> Vec<u8>, &'a str);

/// A frame that says that it is none (RFC 8878, 3.1.2).
fn skippable(length: usize) -> Vec<u8> {
    let mut frame = vec![0x50, 0x2a, 0x4d, 0x18];
    frame.extend((length as u32).to_le_bytes());
    frame.resize(8 + length, 0);
    frame
}

/// These lines, then the same one for ever. What does not inflate stands in front: the more text there may be.
fn endless(lines: &[String], line: &str) -> Vec<u8> {
    let mut packed = Encoder::new(vec![], 1).unwrap();
    let mut write = |text: &str| packed.write_all(text.as_bytes()).unwrap();
    lines.iter().for_each(|line| write(&format!("{line}\n")));
    let many = format!("{line}\n").repeat(1 + (1 << 16) / (line.len() + 1));
    (0..TEXT / many.len()).for_each(|_| write(&many));
    let packed = packed.finish().unwrap();
    let mut file = zstd::bulk::compress(b"", 1).unwrap();
    file.extend(skippable(FILE - file.len() - packed.len() - 8));
    file.extend(packed);
    file
}

/// The same frame for ever.
fn frames(window: u8, block: &[u8]) -> Vec<u8> {
    [&MAGIC, &[0, window][..], block].concat().repeat(FILE / (MAGIC.len() + 2 + block.len()))
}

/// Two entries in one batch.
fn small() -> Made {
    make(&Shape { sizes: vec![2], held: 0..1, body: whole })
}

/// The small one's first lines, with another manifest.
fn promising(change: impl FnOnce(&mut Manifest)) -> Vec<String> {
    let mut manifest = small().manifest;
    change(&mut manifest);
    let mut lines = small().lines;
    lines.splice(..2, signed(&manifest));
    lines
}

#[test]
fn ten_megabytes_are_refused_in_time_and_memory() {
    let good = small().lines;
    // Of a batch that is as large as one can be, its entries follow.
    let mut begun = promising(|it| {
        it.last.seq = ((1 << 31) - 1).into();
        it.history.entries = 1 << 31;
    });
    begun[2] = begun[2].replace("\"count\":\"2\"", "\"count\":\"2147483648\"");
    begun.truncate(3);
    let ended = promising(|it| {
        it.history.batches = 1 << 39;
        it.history.entries = 1 << 55;
    });

    let hash = format!("\"0x{}\"", "00".repeat(32));
    let fill = |open: &str, unit: &str, close: &str| {
        format!("{open}{}{close}", unit.repeat((LINE - open.len() - close.len()) / unit.len()))
    };
    let alone = |line: &str| endless(&[], line);
    let list = |member: &str, item: &str| {
        let (before, after) = good[0].split_once(&format!("\"{member}\":[")).unwrap();
        // Before what is there, if anything is.
        let last = if after.starts_with(']') { item } else { "" };
        let (open, close) = (format!("{before}\"{member}\":["), format!("{last}{after}"));
        let room = LINE.saturating_sub(open.len() + close.len());
        alone(&format!(
            "{open}{}{close}",
            format!("{item},").repeat((room / (item.len() + 1)).max(1))
        ))
    };
    let record = |member: &str| {
        let manifest: serde_json::Value = serde_json::from_str(&good[0]).unwrap();
        manifest[member][0].to_string()
    };
    let entry = |line: &str| endless(&begun, line);
    let inside = |from: &str, unit: &str| entry(&good[3].replacen(from, &fill("", unit, ""), 1));
    let erased = format!("\"erased\":[{}\"actor\"]", fill("", "\"actor\",", ""));

    // One at a time.
    let cases: &[Case<'_>] = &[
        ("nothing compressed", &|| vec![b' '; FILE], "compression: "),
        ("line ends", &|| alone(""), "manifest: json: "),
        ("depth", &|| alone(&fill("", "[", "")), "manifest: json: "),
        ("objects", &|| alone(&fill("", "{\"a\":", "")), "manifest: json: "),
        ("a string", &|| alone(&fill("{\"version\":1,\"format\":\"", "x", "\"}")), "format: "),
        ("escapes", &|| alone(&fill("{\"version\":1,\"format\":\"", "\\u0041", "\"}")), "format: "),
        ("a member", &|| alone(&fill("{\"", "x", "\":1}")), "manifest: members: unknown field"),
        ("first.peaks", &|| list("peaks", &hash), "manifest: first.peaks: "),
        ("policies", &|| list("policies", &record("policies")), "manifest: policies: "),
        ("scopes", &|| list("scopes", &record("scopes")), "manifest: scopes: "),
        ("nodes", &|| list("accountProof", "\"0x\""), "manifest: proofBlock.accountProof: "),
        (
            "a node",
            &|| list("accountProof", &fill("\"0x", "00", "\"")),
            "manifest: proofBlock.accountProof: ",
        ),
        (
            "a signature",
            &|| endless(&good[..1], &fill("{\"signature\":\"0x", "00", "\"}")),
            "signature: not 65 bytes",
        ),
        ("batches", &|| entry(&good[2]), "entry 0: it is missing"),
        ("no batch", &|| endless(&good[..2], &fill("", "[],", "")), "batch 0: json: "),
        ("empty entries", &|| entry(""), "entry 0: json: "),
        ("tiny entries", &|| entry("{}"), "entry 0: members: "),
        ("the same entry", &|| entry(&good[3]), "entry 1: entry 0 stands in its place"),
        ("long entries", &|| inside("clerk", "x"), "entry 1: entry 0 stands in its place"),
        ("escaped entries", &|| inside("clerk", "\\u0041"), "entry 1: entry 0 stands in"),
        (
            "erased",
            &|| entry(&good[3].replacen("\"erased\":[]", &erased, 1)),
            "entry 0: entry.erased: ",
        ),
        (
            "commitments",
            &|| endless(&ended, &format!("{{\"commitment\":{hash}}}")),
            "compression: more than a line for every 32 bytes",
        ),
        ("long commitments", &|| endless(&ended, &fill("[", "0,", "0]")), "batch 1: members: "),
        // A byte says how much memory they need: 1 KiB, 16 MiB, 2 GiB.
        ("empty frames", &|| frames(0, &[1, 0, 0]), "the text ends where the manifest"),
        ("wide frames", &|| frames(14 << 3, &[1, 0, 0]), "the text ends where the manifest"),
        ("wider frames", &|| frames(21 << 3, &[1, 0, 0]), "compression: Frame requires too much"),
        ("frames of a line end", &|| frames(0, &[9, 0, 0, b'\n']), "manifest: json: "),
        // A block of 128 KiB in four bytes.
        ("a bomb", &|| frames(14 << 3, &[3, 0, 0x10, b' ']), "a line of more than 8388608 bytes"),
    ];
    for (name, file, reason) in cases {
        let file = file();
        assert!(file.len() > FILE - 16 && file.len() <= FILE, "{name}: {} bytes", file.len());
        let read = bounded(name, || verify(&file[..], &AtomicU64::new(0), true));
        let error = read.map(drop).expect_err(name).to_string();
        assert!(error.starts_with(reason) && error.len() < 1_000, "{name}: {error}");
    }
}
