//! Bad input: each kind is refused with its file, its line, its record and what to do.

use std::io::Write;

use cofferdam_cli::ingest::{self, Format, IngestError, Problem};

use super::{Logs, complaint, gzip, read, read_file, source};

const GOOD: &str = r#"{"tenant":"t","external_id":"good"}"#;

/// What is said about `line` when it follows a good one.
fn second(line: &str) -> String {
    let message = complaint(format!("{GOOD}\n{line}\n"), &Format::Ndjson);
    message.strip_prefix("events.json:2: record 2: ").unwrap_or(&message).to_owned()
}

#[test]
fn truncated_json_is_said_to_be_cut_off() {
    let cut = "the file ends inside this record: it is cut off; fetch it again";
    for line in [r#"{"tenant":"t","external"#, r#"{"tenant":"#, "{", r#"{"tenant":"\ud83d"#] {
        let message = complaint(format!("{GOOD}\n{line}"), &Format::Ndjson);
        assert_eq!(message, format!("events.json:2: record 2: {cut}"), "{line}");
    }
    let array = complaint(format!("[\n{GOOD},\n"), &Format::Ndjson);
    assert_eq!(
        array,
        "events.json:3: record 2: the file ends where ',' or ']' should follow: it is cut off; \
         fetch it again"
    );
}

#[test]
fn a_line_that_lost_its_end_is_named_rather_than_what_it_swallowed() {
    let content = format!("{GOOD}\n{{\"tenant\":\"t\",\n{GOOD}\n{GOOD}\n");
    assert_eq!(
        complaint(content, &Format::Ndjson),
        "events.json:3: record 2: expected a key, found '{' at column 1"
    );
    let content = format!("{GOOD}\n{{\"tenant\":\"t\n{GOOD}\n");
    assert_eq!(
        complaint(content, &Format::Ndjson),
        "events.json:2: record 2: unescaped control character U+000A in a string at column 13"
    );
}

#[test]
fn duplicate_keys_are_refused_at_any_depth_and_in_any_spelling() {
    assert_eq!(
        complaint(
            "[{\"eventID\":\"1\",\"recipientAccountId\":\"a\"}, {\"eventID\":\"1\",\n  \"eventID\":\"2\"}]",
            &Format::CloudTrail
        ),
        "events.json:2: record 2: duplicate key \"eventID\" at column 3"
    );
    let spelt = second(r#"{"tenant":"t","external_id":"x","t\u0065nant":"u"}"#);
    assert_eq!(spelt, "duplicate key \"tenant\" at column 33");
    let deep = second(r#"{"tenant":"t","external_id":"x","payload":[{"é":1,"é":2}]}"#);
    assert_eq!(deep, "duplicate key \"é\" at column 51");
    let around = complaint(
        r#"{"next":1,"Records":[{"eventID":"1","recipientAccountId":"a"}],"next":2}"#,
        &Format::CloudTrail,
    );
    assert_eq!(
        around,
        "events.json:1: record 1: the object around the records: duplicate key \"next\""
    );
    let twice = complaint(
        r#"{"Records":[{"eventID":"1","recipientAccountId":"a"}],"Records":[]}"#,
        &Format::CloudTrail,
    );
    assert!(twice.contains("duplicate key \"Records\""), "{twice}");
}

#[test]
fn lone_surrogates_are_refused() {
    let message = second(r#"{"tenant":"t","external_id":"x","payload":"\ud83d!"}"#);
    assert_eq!(message, "lone surrogate \\ud83d at column 44");
    let key = second(r#"{"tenant":"t","external_id":"x","payload":{"\udc00":1}}"#);
    assert_eq!(key, "lone surrogate \\udc00 at column 45");
}

#[test]
fn binary_and_other_encodings_are_refused() {
    let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert_eq!(
        complaint(&binary, &Format::Auto),
        "events.json:1: record 1: unexpected byte 0x00 at column 1: the file is neither JSON text \
         nor gzipped JSON text"
    );
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(complaint(utf16, &Format::Auto).contains("looks like UTF-16"));
    let latin1 = [b"{\"tenant\":\"caf\xe9\"".as_slice(), b",\"external_id\":\"1\"}"].concat();
    let message = "events.json:1: record 1: not UTF-8 text at column 15; convert the file to UTF-8";
    assert_eq!(complaint(&latin1, &Format::Ndjson), message);
    assert_eq!(complaint(&latin1[..20], &Format::Ndjson), message, "also where it is cut off");
    let image = complaint(b"\x89PNG\r\n\x1a\n", &Format::Auto);
    assert!(image.contains("unexpected byte 0x89"), "{image}");
}

#[test]
fn a_file_without_records_is_refused() {
    let message = "events.json: no records in it; leave the file out or fetch it again";
    for content in ["", "\n \r\n", "[]", "{\"Records\": [ ]}", "\u{feff}"] {
        assert_eq!(complaint(content, &Format::Auto), message, "{content:?}");
    }
    assert_eq!(complaint(gzip(b""), &Format::Auto), message);
}

#[test]
fn a_record_without_a_tenant_is_refused_unless_the_caller_pins_one() {
    let tenantless = r#"{"external_id":"x"}"#;
    assert_eq!(
        second(tenantless),
        "no tenant: \"tenant\" is absent, null or empty; correct the record or name its tenant \
         with --tenant"
    );
    for empty in [r#"{"external_id":"x","tenant":null}"#, r#"{"external_id":"x","tenant":""}"#] {
        assert!(second(empty).starts_with("no tenant"));
    }
    let account = complaint(r#"{"eventID":"1"}"#, &Format::CloudTrail);
    assert!(account.contains("no tenant: \"recipientAccountId\" is absent"), "{account}");

    let logs = Logs::new();
    let path = logs.file("a.ndjson", format!("{GOOD}\n{tenantless}\n"));
    let records = ingest::read(&source(&path), &Format::Ndjson).unwrap().without_tenants();
    let tenants: Vec<_> = records.map(|record| record.unwrap().tenant).collect();
    assert_eq!(tenants, [Some("t".to_owned()), None]);
}

#[test]
fn a_record_without_an_id_is_refused() {
    let message = second(r#"{"tenant":"t","external_id":""}"#);
    assert!(message.starts_with("no id: \"external_id\" is absent, null or empty"), "{message}");
    assert!(
        complaint(r#"{"recipientAccountId":"a"}"#, &Format::CloudTrail).contains("\"eventID\"")
    );
}

#[test]
fn what_names_or_dates_a_record_must_be_a_string() {
    assert_eq!(second(r#"{"tenant":7}"#), "\"tenant\" is a number; it must be a string");
    let cloudtrail = |members: &str| {
        let text = format!(r#"{{"eventID":"1","recipientAccountId":"a",{members}}}"#);
        complaint(text, &Format::CloudTrail)
    };
    for (members, message) in [
        (r#""userIdentity":"root""#, "a string where an object is expected in \"userIdentity\""),
        (r#""userIdentity":{"arn":[]}"#, "\"userIdentity.arn\" is an array; it must be a string"),
        (r#""errorCode":false"#, "\"errorCode\" is a boolean; it must be a string"),
        (r#""eventTime":1730000000"#, "\"eventTime\" is a number; it must be a string"),
    ] {
        assert_eq!(cloudtrail(members), format!("events.json:1: record 1: {message}"));
    }
}

#[test]
fn a_record_must_be_an_object() {
    for (content, found) in
        [("[[1]]", "an array"), ("7", "a number"), ("\"x\"", "a string"), ("[null]", "null")]
    {
        for format in [Format::Auto, Format::CloudTrail, Format::Ndjson] {
            assert_eq!(
                complaint(content, &format),
                format!("events.json:1: record 1: {found} where an object is expected")
            );
        }
    }
}

#[test]
fn times_that_cannot_be_kept_are_refused() {
    let time = |time: &str| {
        second(&format!(r#"{{"tenant":"t","external_id":"x","occurred_at":"{time}"}}"#))
    };
    for wrong in ["yesterday", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "1730000000"] {
        assert!(time(wrong).starts_with(&format!("occurred_at: {wrong:?}: ")), "{}", time(wrong));
    }
    assert!(time("2016-12-31T23:59:60Z").contains("leap second"));
    assert!(time("2026-01-01T00:00:00.1234567Z").contains("finer than a microsecond"));
}

#[test]
fn values_beyond_the_limits_are_refused_by_field() {
    let field = |name: &str, value: &str| {
        second(&format!(r#"{{"tenant":"t","external_id":"x","{name}":"{value}"}}"#))
    };
    assert_eq!(
        field("actor", &"é".repeat(40_000)),
        "actor has 80000 bytes, at most 65536 are allowed"
    );
    assert_eq!(
        field("payload", &"x".repeat((1 << 20) - 1)),
        "payload has 1048577 bytes, at most 1048576 are allowed"
    );
    assert_eq!(field("reason", "a\\u0000"), "reason holds U+0000 at byte 1");
    let id = format!(r#"{{"tenant":"t","external_id":"{}"}}"#, "x".repeat(257));
    assert_eq!(second(&id), "external_id has 257 bytes, at most 256 are allowed");
    let allowed = format!(
        r#"{{"tenant":"t","external_id":"{}","actor":"{}","payload":"{}\u0000"}}"#,
        "x".repeat(256),
        "a".repeat(65_536),
        "p".repeat((1 << 20) - 8)
    );
    assert_eq!(read(allowed, &Format::Ndjson).unwrap()[0].entry.payload.len(), 1 << 20);
}

#[test]
fn a_depth_bomb_is_refused() {
    let bomb = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"tenant":"t","external_id":"x","payload":{open}{close}}}"#)
    };
    assert_eq!(read(bomb(127), &Format::Ndjson).unwrap().len(), 1);
    assert_eq!(second(&bomb(128)), "nested deeper than 128 levels at column 170");
    assert!(second(&bomb(500_000)).starts_with("nested deeper than 128 levels"));
    let unclosed = complaint("[".repeat(3 << 20), &Format::Auto);
    assert!(unclosed.contains("nested deeper than 128 levels at column 130"), "{unclosed}");
}

#[test]
fn a_line_of_100_mb_is_refused_after_its_first_bytes() {
    let logs = Logs::new();
    let path = logs.path().join("events.json.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(br#"{"tenant":"t","external_id":"x","payload":""#).unwrap();
    for _ in 0..100 {
        encoder.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    encoder.write_all(b"\"}\n").unwrap();
    encoder.finish().unwrap();

    let source = source(&path);
    let mut records = ingest::read(&source, &Format::Auto).unwrap();
    let error = records.next().unwrap().unwrap_err();
    assert!(
        matches!(&error, IngestError::Record { origin, line: 1, problem: Problem::TooLong }
            if origin.index == 1),
        "{error}"
    );
    assert!(error.to_string().contains("longer than 2097152 bytes"), "{error}");
    let (read, size) = (records.progress().bytes(), source.size().unwrap());
    assert!(read < size / 2, "{read} of {size} bytes were read before the refusal");
}

#[test]
fn a_gzip_file_that_is_cut_off_or_damaged_is_said_to_be() {
    let content = (0..500)
        .map(|n| format!("{{\"tenant\":\"t{n}\",\"external_id\":\"{}\"}}\n", n * 7919))
        .collect::<String>();
    let whole = gzip(content.as_bytes());
    assert_eq!(read(&whole, &Format::Auto).unwrap().len(), 500);
    for length in [2, 9, whole.len() / 2, whole.len() - 9, whole.len() - 4] {
        let message = complaint(&whole[..length], &Format::Auto);
        assert!(message.contains(": the gzip data is cut off or damaged: "), "{length}: {message}");
    }
    let mut damaged = whole.clone();
    let last = damaged.len() - 6;
    damaged[last] ^= 1;
    assert!(complaint(&damaged, &Format::Auto).contains("gzip data"), "a wrong checksum");
    let trailing = [&whole[..], b"trailing"].concat();
    assert!(
        complaint(trailing, &Format::Auto).contains("gzip data"),
        "bytes after the last member"
    );
}

#[test]
fn what_does_not_belong_between_records_is_named() {
    let ndjson = |content: &str| complaint(content, &Format::Ndjson);
    let comma = ndjson(&format!("{GOOD},\n{GOOD}"));
    assert_eq!(
        comma,
        "events.json:1: record 2: unexpected ',' at column 36: records one after another are not \
         separated by commas"
    );
    assert!(ndjson(&format!("[{GOOD} {GOOD}]")).contains("',' or ']' should follow the record"));
    assert!(ndjson(&format!("[{GOOD},]")).contains("a record of the array should stand here"));
    assert!(ndjson(&format!("{GOOD}\n\0")).contains("unexpected byte 0x00 at column 1"));
}

#[test]
fn the_first_error_ends_a_file_after_the_records_before_it() {
    let logs = Logs::new();
    let path = logs.file("a.ndjson", format!("{GOOD}\n{GOOD}\n{{]\n{GOOD}\n"));
    let mut records = ingest::read(&source(&path), &Format::Ndjson).unwrap();
    assert!(records.next().unwrap().is_ok());
    assert!(records.next().unwrap().is_ok());
    assert!(records.next().unwrap().is_err());
    assert!(records.next().is_none());
    assert!(records.next().is_none());
    assert!(read_file(&path, &Format::Ndjson).is_err());
}
