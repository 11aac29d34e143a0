//! Any JSON log, read through pointers.

use cofferdam_core::FieldName;

use crate::support::{Stack, record, run, run_with_input};

/// A log that is neither CloudTrail nor Cofferdam's own.
const LOG: &str = r#"{"v":1,"events":[
  {"meta":{"uid":"e-1","at":"2026-03-02T12:00:00+02:00"},"who":{"name":"ann"},"what":"login","amount": 1.430},
  {"meta":{"uid":"e/2"},"who":{"name":null},"what":"export","on":{"kind":"report","n":[1, 2]},"ok":false}
],"next":null}"#;

const MAPPING: [&str; 16] = [
    "--format",
    "map",
    "--map-envelope",
    "events",
    "--map-id",
    "/meta/uid",
    "--map-time",
    "/meta/at",
    "--map-actor",
    "/who/name",
    "--map-action",
    "/what",
    "--map-resource",
    "/on",
    "--map-result",
    "/ok",
];

#[tokio::test]
async fn any_json_log_is_appended_to_the_tenant_that_is_named() {
    let stack = Stack::with(&record("acme", 0)).await;
    let path = stack.file("app.json", LOG);
    let mut append = stack.cofferdam("append --json --tenant acme");
    let report = run(append.args(MAPPING).arg(&path)).await.exits(0).json();
    assert_eq!([&report["records"], &report["appended"], &report["tenants"]], [2, 2, 1]);

    // The same on standard input is recognised.
    let mut append = stack.cofferdam("append --json --tenant acme");
    let again = run_with_input(append.args(MAPPING).arg("-"), LOG.as_bytes()).await.exits(0).json();
    assert_eq!([&again["appended"], &again["repeated"]], [0, 2]);

    // As is one line a record without the envelope, the tenant's id instead of its name.
    let id = stack.tenant("acme").await.to_string();
    let line = LOG.lines().nth(2).unwrap();
    let mut append = stack.cofferdam("append --json --tenant");
    append.arg(id).args(&MAPPING[..2]).args(&MAPPING[4..]).arg("-");
    let again = run_with_input(&mut append, line.as_bytes()).await.exits(0).json();
    assert_eq!([&again["appended"], &again["repeated"]], [0, 1]);

    stack.anchor().await;
    let after = stack.snapshot().await;
    let entries = &after.named("acme").entries[1..];
    let fields = |at: usize, names: [FieldName; 6]| names.map(|name| entries[at].fields.get(name));
    use FieldName::{Action, Actor, ExternalId, OccurredAt, Payload, Resource, Result};
    let names = [ExternalId, OccurredAt, Actor, Action, Resource, Result];
    let login = ["e-1", "2026-03-02T10:00:00.000000Z", "ann", "login", "", ""];
    assert_eq!(fields(0, names), login);
    let export = ["e/2", "", "", "export", r#"{"kind":"report","n":[1, 2]}"#, "false"];
    assert_eq!(fields(1, names), export);
    // The record's own text, to the last digit and space.
    for (entry, line) in entries.iter().zip(LOG.lines().skip(1)) {
        assert_eq!(entry.fields.get(Payload), line.trim().trim_end_matches(','));
    }
    run(&mut stack.cofferdam("verify")).await.exits(0);
}

#[tokio::test]
async fn a_pinned_tenant_takes_what_names_nobody_and_nothing_of_another_tenant() {
    let stack = Stack::with(&(record("acme", 0) + &record("globex", 0))).await;
    let append = |records: String| {
        let mut append = stack.cofferdam("append --tenant acme -");
        async move { run_with_input(&mut append, records.as_bytes()).await }
    };
    append(record("mallory", 1)).await.exits(0);
    append(record("acme", 2).replacen("\"tenant\":\"acme\",", "", 1)).await.exits(0);
    let taken = stack.snapshot().await;
    let ids = taken.named("acme").entries.iter().map(|it| it.fields.get(FieldName::ExternalId));
    assert_eq!(ids.collect::<Vec<_>>(), ["acme-00000", "mallory-00001", "acme-00002"]);
    assert_eq!(taken.heads.len(), 2, "somebody was registered");

    append(record("globex", 1)).await.fails_saying(1, &["stdin:1", "\"globex\"", "\"acme\""]);
    taken.is_still(&stack.snapshot().await);
}
