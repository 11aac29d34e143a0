//! Which member of a record becomes which field.

use cofferdam_cli::ingest::{Format, Mapping, Pointer, PointerError, Record, RecordFields};

use super::{complaint, read};

fn one(content: &str, format: &Format) -> Record {
    let mut records = read(content, format).unwrap();
    assert_eq!(records.len(), 1);
    records.remove(0)
}

const CLOUDTRAIL: &str = r#"{ "eventID":"e-1", "recipientAccountId" : "111122223333",
  "userIdentity":{"principalId":"P","arn":"arn:\u0061","invokedBy":"svc"}, "eventTime":"2026-03-01T01:02:03+01:00",
  "eventSource":"s3.amazonaws.com","eventName":"GetObject","cost":1.50e+01,
  "requestParameters" : { "key" :  "é\u00e9\/" , "n":[1.0] },"errorCode":"AccessDenied","errorMessage":"No \"way\"" }"#;

#[test]
fn a_cloudtrail_record_becomes_an_entry() {
    let record = one(&format!("[\n{CLOUDTRAIL}\n]"), &Format::CloudTrail);
    assert_eq!(record.tenant.as_deref(), Some("111122223333"));
    assert_eq!((record.origin.line, record.origin.index), (2, 1));
    assert_eq!(
        record.entry,
        RecordFields {
            action: "s3.amazonaws.com:GetObject".into(),
            actor: "arn:a".into(),
            external_id: "e-1".into(),
            occurred_at: "2026-03-01T00:02:03.000000Z".into(),
            payload: CLOUDTRAIL.into(),
            policy_version: String::new(),
            reason: "No \"way\"".into(),
            resource: r#"{ "key" :  "é\u00e9\/" , "n":[1.0] }"#.into(),
            result: "AccessDenied".into(),
        }
    );
}

#[test]
fn a_cloudtrail_record_falls_back_as_the_mapping_says() {
    let with = |members: &str| {
        let text = format!(r#"{{"eventID":"e","recipientAccountId":"a",{members}}}"#);
        one(&text, &Format::CloudTrail).entry
    };
    let identity = |members: &str| with(&format!(r#""userIdentity":{{{members}}}"#)).actor;
    assert_eq!(identity(r#""arn":null,"principalId":"P","invokedBy":"I""#), "P");
    assert_eq!(identity(r#""arn":"","principalId":"","invokedBy":"I""#), "I");
    assert_eq!(identity(""), "");
    assert_eq!(with(r#""userIdentity":null"#).actor, "");

    let resource = |members: &str| with(members).resource;
    let both = r#""resources":[ {"ARN":"x"} ],"requestParameters""#;
    assert_eq!(resource(&format!("{both}:{{\"a\": 1}}")), r#"{"a": 1}"#);
    assert_eq!(resource(&format!("{both}:null")), r#"[ {"ARN":"x"} ]"#);
    assert_eq!(resource(r#""resources":[]"#), "[]");
    assert_eq!(resource(r#""requestParameters":"a\tb""#), "a\tb", "a string is taken decoded");
    assert_eq!(resource(r#""requestParameters":"","resources":[1]"#), "", "empty is not absent");
    assert_eq!(resource(r#""requestParameters":null,"resources":null"#), "");

    let bare = with(r#""x":0"#);
    assert_eq!((bare.result.as_str(), bare.reason.as_str()), ("success", ""));
    assert_eq!((bare.action.as_str(), bare.occurred_at.as_str()), ("", ""));
    assert_eq!(with(r#""errorCode":null,"errorMessage":null"#).result, "success");
    assert_eq!(with(r#""eventName":"N","eventSource":"s""#).action, "s:N");
}

#[test]
fn cloudtrail_records_are_read_from_each_of_their_layouts() {
    let records: Vec<_> = (0..3)
        .map(|n| format!(r#"{{"eventID":"{n}","recipientAccountId":"a","eventName":"N{n}"}}"#))
        .collect();
    let joined = records.join(",\n");
    for layout in [
        format!("[{joined}]"),
        format!("{{\"Records\":[{joined}]}}"),
        format!("{{\"digest\":{{\"Records\":[]}},\"Records\" : [ {joined} ],\"next\":null}}\n"),
        records.join("\n"),
        format!("{}\r\n", records.join("\r\n")),
        format!("\u{feff}[{joined}]"),
    ] {
        for format in [Format::CloudTrail, Format::Auto] {
            let read = read(&layout, &format).unwrap();
            let payloads: Vec<_> = read.iter().map(|record| record.entry.payload.clone()).collect();
            assert_eq!(payloads, records, "{layout}");
            let indices: Vec<_> = read.iter().map(|record| record.origin.index).collect();
            assert_eq!(indices, [1, 2, 3]);
        }
    }
}

#[test]
fn a_cofferdam_record_becomes_an_entry() {
    let payload = "{ \"n\" : 1.0e999,\t\"nested\":{\"a\":[]} }";
    let line = format!(
        r#"{{"tenant":"acme","external_id":"x\u002f1","occurred_at":"2026-03-01T00:00:00.1Z","actor":"a","action":"b",
"resource":{{"id": 7}},"result":200,"reason":null,"policy_version":"3","payload": {payload} }}"#
    );
    let record = one(&line, &Format::Ndjson);
    assert_eq!(record.tenant.as_deref(), Some("acme"));
    assert_eq!(
        record.entry,
        RecordFields {
            action: "b".into(),
            actor: "a".into(),
            external_id: "x/1".into(),
            occurred_at: "2026-03-01T00:00:00.100000Z".into(),
            payload: payload.into(),
            policy_version: "3".into(),
            reason: String::new(),
            resource: r#"{"id": 7}"#.into(),
            result: "200".into(),
        }
    );
}

#[test]
fn a_cofferdam_payload_is_verbatim_whatever_it_is() {
    for payload in ["null", "\"a\\u0000\\n\"", "-0.0", "[ 1 ]", "true", "{}"] {
        let line = format!(r#"{{"tenant":"t","external_id":"i","payload":{payload}}}"#);
        assert_eq!(one(&line, &Format::Ndjson).entry.payload, payload);
    }
    assert_eq!(one(r#"{"tenant":"t","external_id":"i"}"#, &Format::Ndjson).entry.payload, "");
}

#[test]
fn a_cofferdam_record_has_no_other_members() {
    let format = &Format::Ndjson;
    assert_eq!(
        complaint("{\"tenant\":\"t\",\"external_id\":\"i\",\n\"Payload\":1}", format),
        "events.json:1: record 1: unknown member \"Payload\"; a record has action, actor, \
         external_id, occurred_at, payload, policy_version, reason, resource, result, tenant, and \
         any other JSON log can be read with --format map"
    );
    let own_time = complaint(r#"{"tenant":"t","external_id":"i","recorded_at":""}"#, format);
    assert!(own_time.contains(r#"unknown member "recorded_at""#), "{own_time}");
    let long = complaint(format!(r#"{{"{}":1}}"#, "é".repeat(9000)), format);
    assert!(long.len() < 600, "a message does not repeat a whole key");
}

fn pointer(text: &str) -> Option<Pointer> {
    Some(text.parse().unwrap())
}

fn mapping() -> Mapping {
    Mapping {
        envelope: Some("events".into()),
        tenant: pointer("/org/0/name"),
        actor: pointer("/who"),
        action: pointer("/a~1b/c~0d"),
        resource: pointer("/target"),
        result: pointer("/ok"),
        time: pointer("/at"),
        id: "/id".parse().unwrap(),
    }
}

#[test]
fn any_json_log_is_read_through_pointers() {
    let record = r#"{"id":17,"org":[{"name":"acme"}],"who":"\u00e9","a/b":{"c~d":"go"},"target": {"x" : 1.0},"ok":true,"at":"2026-01-01T00:00:00Z"}"#;
    for layout in [
        format!("{record}\n"),
        format!("[ {record} ]"),
        format!("{{\"count\":1,\"events\":[{record}]}}"),
    ] {
        let read = one(&layout, &Format::Map(mapping()));
        assert_eq!(read.tenant.as_deref(), Some("acme"));
        assert_eq!(
            read.entry,
            RecordFields {
                action: "go".into(),
                actor: "é".into(),
                external_id: "17".into(),
                occurred_at: "2026-01-01T00:00:00.000000Z".into(),
                payload: record.into(),
                policy_version: String::new(),
                reason: String::new(),
                resource: r#"{"x" : 1.0}"#.into(),
                result: "true".into(),
            }
        );
    }
}

#[test]
fn a_pointer_that_finds_nothing_leaves_the_field_empty() {
    let read = one(r#"{"id":"i","org":[{"name":"n"}],"who":null}"#, &Format::Map(mapping()));
    let entry = read.entry;
    for field in [entry.actor, entry.action, entry.resource, entry.result, entry.occurred_at] {
        assert_eq!(field, "");
    }
    let none = Mapping {
        envelope: None,
        tenant: pointer("/id"),
        actor: None,
        action: None,
        resource: None,
        result: None,
        time: None,
        id: "/id".parse().unwrap(),
    };
    assert_eq!(one(r#"{"id":"i"}"#, &Format::Map(none)).entry.actor, "");
}

#[test]
fn a_mapped_record_needs_its_tenant_and_its_id() {
    let format = &Format::Map(mapping());
    assert_eq!(
        complaint(r#"{"id":"i","org":[]}"#, format),
        "events.json:1: record 1: no tenant: \"/org/0/name\" is absent, null or empty; correct the \
         record or name its tenant with --tenant"
    );
    assert_eq!(
        complaint(r#"{"id":null,"org":[{"name":"n"}]}"#, format),
        "events.json:1: record 1: no id: \"/id\" is absent, null or empty; without one a repeat \
         could not be told from a new entry"
    );
    let unmapped = Format::Map(Mapping { tenant: None, ..mapping() });
    assert!(complaint(r#"{"id":"i"}"#, &unmapped).contains("the mapping has no pointer to it"));
}

#[test]
fn pointers_follow_rfc_6901() {
    let log = r#"{"id":"x","foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,"~1":9}"#;
    let find = |text: &str| {
        let mapping = Mapping { actor: pointer(text), tenant: pointer("/id"), ..mapping() };
        one(log, &Format::Map(mapping)).entry.actor
    };
    assert_eq!(find(""), log);
    for (text, found) in [
        ("/foo", r#"["bar","baz"]"#),
        ("/foo/0", "bar"),
        ("/foo/1", "baz"),
        ("/foo/2", ""),
        ("/foo/01", ""),
        ("/foo/+1", ""),
        ("/foo/-", ""),
        ("/foo/", ""),
        ("/foo/0/0", ""),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
        ("/~01", "9"),
        ("/a/b", ""),
    ] {
        assert_eq!(find(text), found, "{text}");
    }
    assert_eq!("user/id".parse::<Pointer>(), Err(PointerError::NoSlash("user/id".into())));
    for escape in ["/~", "/a~2", "/~~0"] {
        assert_eq!(escape.parse::<Pointer>(), Err(PointerError::BadEscape(escape.into())));
    }
}

#[test]
fn the_format_is_told_from_the_first_record() {
    let cofferdam = r#"{"tenant":"t","external_id":"1","action":"first"}"#;
    assert_eq!(one(cofferdam, &Format::Auto).entry.action, "first");
    assert_eq!(one(CLOUDTRAIL, &Format::Auto).entry.external_id, "e-1");
    // What is missing is said in the format's own words, not "undecided".
    let tenantless = complaint(r#"{"external_id":"1","action":"a"}"#, &Format::Auto);
    assert!(tenantless.contains(r#"no tenant: "tenant""#), "{tenantless}");
    let accountless = complaint(r#"{"eventID":"1","eventName":"a"}"#, &Format::Auto);
    assert!(accountless.contains(r#"no tenant: "recipientAccountId""#), "{accountless}");

    let both = r#"{"eventID":"1","eventName":"a","tenant":"t","actor":"b"}"#;
    let (one_mark, other_mark) = (r#"{"eventID":"1"}"#, r#"{"action":"a"}"#);
    for undecided in [r#"{"id":1,"user":"x"}"#, "{}", both, one_mark, other_mark] {
        assert_eq!(
            complaint(undecided, &Format::Auto),
            "events.json:1: record 1: neither a CloudTrail record nor a Cofferdam one; pass \
             --format cloudtrail, ndjson or map"
        );
    }
    // Decided once: a record of the other kind further down is an error, not a switch.
    let mixed = complaint(format!("{cofferdam}\n{CLOUDTRAIL}"), &Format::Auto);
    assert!(mixed.starts_with("events.json:2: record 2: unknown member"), "{mixed}");
}
