//! Input that must be refused by name, after which the database holds exactly what it held before.

use std::{
    fs::{self, File, Permissions},
    io::{BufWriter, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Stdio,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tokio::{process::Command, time::timeout};

use crate::{
    shared::Shared,
    support::{LIMIT, Outcome, environment, program_at, record, records, run, scratch, skip},
};

/// A good record of `acme`, and one that is replaced in it.
fn good_then(wrong: &str) -> String {
    format!("{}{wrong}\n", record("acme", 100))
}

#[tokio::test]
async fn truncated_json() {
    let shared = Shared::get().await;
    let whole = good_then(&record("acme", 101));
    for cut in [whole.trim_end().len() - 1, whole.len() - 60] {
        shared.refuses_file("cut.ndjson", &whole[..cut], &["cut.ndjson:2:", "record 2"]).await;
    }
    let array = "[{\"eventID\":\"1\",\"recipientAccountId\":\"acme\",\"eventName\":\"x\"}";
    shared.refuses_file("array.json", array, &["array.json:1:", "cut off"]).await;
}

#[tokio::test]
async fn truncated_gzip() {
    let shared = Shared::get().await;
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(records("acme", 100..400).as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let cut = &gzip[..gzip.len() * 2 / 3];
    shared.refuses_file("cut.ndjson.gz", cut, &["gzip data is cut off or damaged"]).await;
}

#[tokio::test]
async fn duplicate_keys() {
    let shared = Shared::get().await;
    let wrong = r#"{"tenant":"acme","external_id":"d","payload":{"amount":1,"amoun\u0074":2}}"#;
    shared.refuses_file("twice.ndjson", good_then(wrong), &["twice.ndjson:2:", "amount"]).await;
    // One reader would take the first, another the last.
    let whose = r#"{"tenant":"acme","tenant":"globex","external_id":"w","payload":{}}"#;
    shared.refuses_file("whose.ndjson", good_then(whose), &["whose.ndjson:2:", "tenant"]).await;
}

#[tokio::test]
async fn lone_surrogate() {
    let shared = Shared::get().await;
    let wrong = r#"{"tenant":"acme","external_id":"s","payload":{"text":"\ud83d alone"}}"#;
    shared.refuses_file("lone.ndjson", good_then(wrong), &["lone.ndjson:2:", "surrogate"]).await;
}

#[tokio::test]
async fn the_same_id_with_other_content() {
    let shared = Shared::get().await;
    for (from, to, field) in [
        ("agent:clerk-1", "agent:clerk-2", "actor"),
        ("18250.5", "18250.50", "payload"),
        ("10:00:00Z", "10:00:01Z", "occurred_at"),
    ] {
        let changed = record("acme", 1).replace(from, to);
        let content = format!("{}{changed}", record("acme", 0));
        let path = shared.stack.file(&format!("{field}.ndjson"), content);
        let id = shared.stack.tenant("acme").await.to_string();
        let said = [&*id, "acme-00001", field, "record 2"];
        shared.refuses(shared.stack.cofferdam("append").arg(path), &said).await;
    }
}

#[tokio::test]
async fn white_space_and_offsets_do_not_make_it_other_content() {
    let shared = Shared::get().await;
    let same = record("acme", 1)
        .replace(r#""payload":{"#, r#""payload": { "#)
        .replace("10:00:00Z", "12:00:00.000+02:00");
    let path = shared.stack.file("same.ndjson", same);
    let report = run(shared.stack.cofferdam("append --json").arg(path)).await.exits(0).json();
    assert_eq!((&report["appended"], &report["repeated"]), (&json!(0), &json!(1)));
    shared.before.is_still(&shared.stack.snapshot().await);
}

#[tokio::test]
async fn a_record_without_a_tenant() {
    let shared = Shared::get().await;
    let wrong = r#"{"external_id":"n","action":"x","payload":{}}"#;
    let said = ["none.ndjson:2:", "no tenant", "--tenant"];
    shared.refuses_file("none.ndjson", good_then(wrong), &said).await;
}

#[tokio::test]
async fn a_record_of_an_unregistered_tenant() {
    let shared = Shared::get().await;
    let path = shared.stack.file("stranger.ndjson", good_then(&record("mallory", 0)));
    let said = ["stranger.ndjson:2:", "\"mallory\"", "cofferdam tenant add"];
    shared.refuses(shared.stack.cofferdam("append").arg(&path), &said).await;
    // Nor does naming a tenant that nobody registered help.
    let mut pinned = shared.stack.cofferdam("append --tenant mallory");
    shared.refuses(pinned.arg(&path), &["\"mallory\"", "tenant list"]).await;
}

#[tokio::test]
async fn an_id_in_a_record_is_not_a_credential() {
    let shared = Shared::get().await;
    // The tenant's own id, where its registered name should be.
    let id = shared.stack.tenant("acme").await.to_string();
    let wrong = record("acme", 101).replacen("\"acme\"", &format!("\"{id}\""), 1);
    let path = shared.stack.file("id.ndjson", good_then(&wrong));
    shared.refuses(shared.stack.cofferdam("append").arg(path), &[&id, "registered"]).await;
}

/// Runs a command and returns the most memory it was seen to hold, in bytes, with its outcome.
async fn peak_memory(command: &mut Command) -> (Option<u64>, Outcome) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let watcher = tokio::spawn(async move {
        let mut peak = None;
        // The system keeps the high-water mark, so that only the very last moments can be missed.
        while let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes: Option<u64> =
                line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            let Some(kilobytes) = kilobytes else { break };
            peak = peak.max(Some(1024 * kilobytes));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        peak
    });
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("it hangs").unwrap();
    (watcher.await.unwrap(), output.into())
}

#[tokio::test]
async fn a_line_of_100_mb_in_little_memory() {
    let shared = Shared::get().await;
    let path = shared.stack.dir().join("long.ndjson");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    write!(file, "{}", good_then("").trim_end()).unwrap();
    write!(file, "\n{{\"tenant\":\"acme\",\"external_id\":\"long\",\"payload\":\"").unwrap();
    for _ in 0..100 {
        file.write_all(&[b'x'; 1_000_000]).unwrap();
    }
    writeln!(file, "\"}}").unwrap();
    drop(file);

    let mut append = shared.stack.cofferdam("append");
    let (peak, outcome) = peak_memory(append.arg(&path)).await;
    match peak {
        Some(peak) => assert!(peak < 100_000_000, "{peak} bytes for a line of 100 MB"),
        None => println!("memory not checked: this system has no /proc"),
    }
    outcome.fails_saying(1, &["long.ndjson:2:", "record 2", "longer than"]);
    shared.before.is_still(&shared.stack.snapshot().await);
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn binary() {
    let shared = Shared::get().await;
    let noise: Vec<u8> = (0..100_000_u64).map(|n| ((n * n * 31) >> 3) as u8).collect();
    shared.refuses_file("noise.json", &noise, &["noise.json:1:", "unexpected"]).await;
    let late = [record("acme", 100).as_bytes(), &[0xff, 0xfe, 0x00], b"\n"].concat();
    shared.refuses_file("late.ndjson", &late, &["late.ndjson:2:", "0xff"]).await;
    let text = [b"{\"tenant\":\"acme\",\"external_id\":\"", &[0xc3, 0x28][..], b"\"}"].concat();
    shared.refuses_file("utf8.ndjson", &text, &["utf8.ndjson:1:", "not UTF-8"]).await;
}

#[tokio::test]
async fn an_empty_file() {
    let shared = Shared::get().await;
    for (name, content) in [("empty.json", ""), ("array.json", "[]"), ("blank.ndjson", "\n \n")] {
        shared.refuses_file(name, content, &["no records"]).await;
    }
    let folder = shared.stack.dir().join("folder-of-nothing");
    fs::create_dir_all(&folder).unwrap();
    shared.refuses(shared.stack.cofferdam("append").arg(&folder), &["folder-of-nothing"]).await;
    let absent = shared.stack.dir().join("absent.ndjson");
    shared.refuses(shared.stack.cofferdam("append").arg(absent), &["absent.ndjson"]).await;
}

#[tokio::test]
async fn a_directory_without_read_permission() {
    const NOBODY: u32 = 65_534;
    let shared = Shared::get().await;
    let dir = scratch();
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::write(locked.join("log.ndjson"), record("acme", 100)).unwrap();
    fs::set_permissions(&locked, Permissions::from_mode(0o000)).unwrap();

    let mut append = shared.stack.cofferdam("append");
    if fs::metadata(&locked).unwrap().uid() == 0 {
        // Permissions do not bind root: somebody else has to look.
        let copy = dir.path().join("cofferdam");
        fs::copy(env!("CARGO_BIN_EXE_cofferdam"), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        let other = || {
            let mut program = program_at(&copy);
            program.uid(NOBODY).gid(NOBODY).envs(environment(&shared.stack.data()));
            program
        };
        if !other().arg("--version").output().await.is_ok_and(|it| it.status.success()) {
            return skip(&format!("another user cannot run programs in {}", dir.path().display()));
        }
        append = other();
        append.arg("append");
    }
    shared.refuses(append.arg(&locked), &["locked", "cannot be listed", "ermission"]).await;
    fs::set_permissions(&locked, Permissions::from_mode(0o700)).unwrap();
}
