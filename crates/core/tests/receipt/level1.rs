//! What a receipt shows by itself.

use crate::sample::{self, SMALL, erased, partial, whole};
use cofferdam_core::{
    Address, B256, BatchIndex, EntryBody, FieldName, Fields, Finality, History, Inclusion,
    MAX_RECEIPT_BYTES, Receipt, ReceiptError, ReceiptField, Seed, Seq, State, TenantId,
};
use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn sample(body: impl Fn(Seed, Fields) -> EntryBody) -> (Receipt, History) {
    sample::receipt(SMALL, body)
}

fn inclusion(receipt: &Receipt) -> &Inclusion {
    receipt.inclusion.as_ref().unwrap()
}

fn inclusion_mut(receipt: &mut Receipt) -> &mut Inclusion {
    receipt.inclusion.as_mut().unwrap()
}

/// As an auditor does: the receipt against itself, then its peak against the chain's.
fn accepted(receipt: &Receipt, history: &History) -> bool {
    let Ok(checked) = receipt.check() else { return false };
    inclusion(receipt).history.batches == history.batches()
        && history.peaks()[checked.peak.first.count_ones() as usize] == checked.peak_hash
}

#[test]
fn every_form_round_trips_and_checks() {
    let (full, history) = sample(whole);
    for body in [whole, partial, erased] {
        let (receipt, _) = sample(body);
        let json = receipt.to_json().unwrap();
        assert_eq!(Receipt::from_json(json.as_bytes()).as_ref(), Ok(&receipt));
        assert_eq!(receipt.check(), full.check(), "all forms prove the same");
        assert!(accepted(&receipt, &history));
    }
    let checked = full.check().unwrap();
    assert_eq!(checked.batch_commitment, inclusion(&full).batch.commitment());
    let (receipt, _) = sample(partial);
    assert_eq!(receipt.entry.body.value(FieldName::Action), Some("payments.send"));
    assert_eq!(receipt.entry.body.value(FieldName::Result), Some(""));
    assert_eq!(receipt.entry.body.value(FieldName::Payload), None);
    let json = receipt.to_json().unwrap();
    assert!(!json.contains("seed") && !json.contains("id-11"), "nothing else is disclosed");
}

#[test]
fn the_json_is_as_documented() {
    let mut json: Value = serde_json::to_value(sample(whole).0).unwrap();
    let hex = |byte: &str, n: usize| format!("0x{}", byte.repeat(n));
    assert_eq!(json["entry"]["fields"].as_object_mut().unwrap().len(), 10);
    assert_eq!(json["entry"]["fields"]["action"], json!({ "value": "payments.send" }));
    json["entry"]["fields"] = json!(null);
    json["entry"]["previous"] = json!(null);
    json["batch"]["root"] = json!(null);
    assert_eq!(json["path"].as_array_mut().unwrap().drain(..).count(), 3);
    assert_eq!(json["history"]["path"].as_array_mut().unwrap().drain(..).count(), 2);
    let expected = json!({
        "format": "cofferdam-receipt", "version": 1,
        "state": "included", "lacks": ["proofBlock"],
        "chainId": "31337", "contract": hex("c0", 20), "codeHash": hex("cd", 32),
        "tenantId": format!("0x{}{}", "00".repeat(12), "5a".repeat(20)),
        "entry": {
            "seq": "11", "previous": null, "erased": [], "seed": hex("0b", 32), "fields": null
        },
        "batch": {
            "index": "2", "firstSeq": "9", "count": "7", "root": null, "anchoredAt": "1767225600"
        },
        "position": "2",
        "path": [],
        "history": { "batches": "5", "path": [] },
        "anchor": {
            "transaction": hex("01", 32), "logIndex": "3", "blockNumber": "9007199254740993",
            "blockHash": hex("02", 32)
        },
    });
    assert_eq!(json, expected);
    let json = serde_json::to_value(sample(partial).0).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&json["entry"]["fields"]["action"]), ["salt", "value"]);
    assert_eq!(keys(&json["entry"]["fields"]["actor"]), ["digest"]);
    let json = serde_json::to_value(sample(erased).0).unwrap();
    assert_eq!(keys(&json["entry"]), ["commitment", "erased", "previous", "seq"]);
    assert_eq!(json["entry"]["erased"].as_array().unwrap().len(), 10);
    let mut pending = sample(whole).0;
    pending.inclusion = None;
    let json = serde_json::to_value(&pending).unwrap();
    assert_eq!(json["state"], "pending");
    let lacks = ["batch", "position", "path", "history", "anchor", "proofBlock"];
    assert_eq!(json["lacks"], json!(lacks));
    assert!(lacks.iter().all(|member| json.get(member).is_none()), "{json}");
    assert_eq!(Receipt::from_json(json.to_string().as_bytes()).as_ref(), Ok(&pending));
    assert_eq!(pending.check(), Err(ReceiptError::Pending));
}

/// Replaces (or, with `None`, removes) the member at a JSON pointer and reads and checks the
/// result.
fn tampered(receipt: &Receipt, pointer: &str, with: Option<Value>) -> String {
    let mut json = serde_json::to_value(receipt).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = json.pointer_mut(parent).unwrap();
    match (parent, with) {
        (Value::Object(map), Some(value)) => drop(map.insert(key.to_owned(), value)),
        (Value::Object(map), None) => drop(map.remove(key).unwrap()),
        (Value::Array(list), Some(value)) => list[key.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer}"),
    }
    let bytes = serde_json::to_vec(&json).unwrap();
    match Receipt::from_json(&bytes).and_then(|receipt| receipt.check()) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_tampered_member_is_refused_by_its_check() {
    let (whole, partial) = (sample(whole).0, sample(partial).0);
    let other = json!(format!("0x{}", "77".repeat(32)));
    for (receipt, pointer, value, check) in [
        (&whole, "/entry/fields/action/value", json!("payments.sent"), "path: "),
        (&whole, "/entry/fields/reason/value", json!("x"), "path: "),
        (&whole, "/entry/seed", other.clone(), "path: "),
        (&whole, "/entry/previous", other.clone(), "path: "),
        (&whole, "/entry/seq", json!("12"), "position: seq and batch.firstSeq make it 3, found 2"),
        (&whole, "/entry/seq", json!("8"), "entry.seq: 8 is not in the batch of 7 from 9"),
        (&whole, "/entry/seq", json!("16"), "entry.seq: 16 is not in the batch of 7 from 9"),
        (&whole, "/entry/seq", json!("18446744073709551615"), "entry.seq: "),
        (&whole, "/tenantId", json!(format!("0x{}1", "0".repeat(63))), "path: "),
        (&whole, "/batch/root", other.clone(), "path: "),
        (&whole, "/batch/firstSeq", json!("10"), "position: seq and batch.firstSeq make it 1, fo"),
        (&whole, "/batch/count", json!("9"), "path: a path for index 2 of 9 has 4 hashes, found 3"),
        (&whole, "/batch/count", json!("2"), "entry.seq: 11 is not in the batch of 2 from 9"),
        (&whole, "/batch/count", json!("0"), "batch.count: "),
        (&whole, "/batch/count", json!("4294967296"), "batch.count: "),
        (&whole, "/position", json!("1"), "position: seq and batch.firstSeq make it 2, found 1"),
        (&whole, "/path/0", other.clone(), "path: the path leads to another root"),
        (&whole, "/path/2", other.clone(), "path: the path leads to another root"),
        (&whole, "/path", json!([]), "path: a path for index 2 of 7 has 3 hashes, found 0"),
        (&whole, "/batch/index", json!("5"), "history: index 5 is outside a tree of 5"),
        (&whole, "/batch/index", json!("4"), "history: a path for index 4 of 5 has 0 hashes"),
        (&whole, "/history/batches", json!("2"), "history: index 2 is outside a tree of 2"),
        (&whole, "/history/batches", json!("3"), "history: a path for index 2 of 3 has 0 hashes"),
        (&whole, "/history/path", json!([]), "history: a path for index 2 of 5 has 2 hashes"),
        (&partial, "/entry/fields/action/value", json!("x"), "path: "),
        (&partial, "/entry/fields/action/salt", other.clone(), "path: "),
        (&partial, "/entry/fields/actor/digest", other.clone(), "path: "),
    ] {
        let error = tampered(receipt, pointer, Some(value.clone()));
        assert!(error.starts_with(check), "{pointer} = {value}: {error}");
    }
    let mut theirs = whole.clone();
    theirs.tenant = TenantId::from_authority(Address::repeat_byte(1)).unwrap();
    assert_eq!(theirs.check(), Err(ReceiptError::Tenant));
    let mut first = whole.clone();
    first.entry.seq = Seq(0);
    assert_eq!(first.check(), Err(ReceiptError::Previous(first.entry.previous)));
    let erased = sample(erased).0;
    assert!(tampered(&erased, "/entry/commitment", Some(other)).starts_with("path: "));
}

/// What the receipt alone cannot show changes the batch commitment, and with it the peak.
#[test]
fn the_chain_refuses_what_the_receipt_cannot() {
    let (receipt, history) = sample(whole);
    let mut tampered = [receipt.clone(), receipt.clone(), receipt.clone(), receipt];
    inclusion_mut(&mut tampered[0]).batch.anchored_at += 1;
    inclusion_mut(&mut tampered[1]).batch.index = BatchIndex(3);
    inclusion_mut(&mut tampered[2]).history.path[0] = B256::repeat_byte(0x77);
    inclusion_mut(&mut tampered[3]).history.batches = 4;
    for receipt in tampered {
        assert!(receipt.check().is_ok() && !accepted(&receipt, &history), "{receipt:?}");
    }
}

#[test]
fn other_forms_are_refused() {
    let (whole, partial, erased) = (sample(whole).0, sample(partial).0, sample(erased).0);
    let (h32, field) = (format!("0x{}", "77".repeat(32)), json!({ "value": "" }));
    let pair = json!({ "value": "", "salt": &h32 });
    for (receipt, pointer, value, message) in [
        (&whole, "/format", json!("cofferdam-receipts"), "format: expected"),
        (&whole, "/version", json!(2), "format: expected"),
        (&whole, "/version", json!("1"), "members: invalid type"),
        (&whole, "/state", json!("done"), "members: expected one of pending"),
        (&whole, "/state", json!("pending"), "state: pending does not go with batch"),
        (&whole, "/lacks", json!([]), "lacks: must list the absent members in order, which are p"),
        (&whole, "/lacks", json!(["path", "proofBlock"]), "lacks: "),
        (&whole, "/lacks", json!(["proofBlock", "proofBlock"]), "lacks: "),
        (&whole, "/lacks", json!(["seed"]), "members: expected one of batch"),
        (&whole, "/entry/erased", json!(["actor"]), "entry.erased: an erasure destroys the seed"),
        (&partial, "/entry/erased", json!(["action"]), "entry.fields.action: is erased"),
        (&partial, "/entry/erased", json!(["reason", "actor"]), "entry.erased: must list fields"),
        (&partial, "/entry/erased", json!(["actor", "actor"]), "entry.erased: must list fields"),
        (&partial, "/entry/erased", json!(["Actor"]), "members: no field has the name \"Actor\""),
        (&erased, "/entry/erased", json!(["actor"]), "entry.erased: a commitment alone"),
        (&whole, "/extra", json!(1), "members: unknown field `extra`"),
        (&whole, "/entry/extra", json!(1), "members: unknown field `extra`"),
        (&whole, "/batch/extra", json!(1), "members: unknown field `extra`"),
        (&whole, "/history/extra", json!(1), "members: unknown field `extra`"),
        (&whole, "/anchor/extra", json!(1), "members: unknown field `extra`"),
        (&whole, "/entry/fields/extra", field.clone(), "members: no field has the name \"extra\""),
        (&whole, "/entry/fields/actor/extra", json!(1), "members: unknown field `extra`"),
        (&whole, "/entry/fields/actor/digest", json!(h32), "entry.fields.actor: withheld beside"),
        (&whole, "/entry/fields/actor", json!({ "digest": h32 }), "entry.fields.actor: withheld"),
        (&whole, "/entry/fields/actor", pair, "entry.fields.actor: a salt beside the entry's seed"),
        (&whole, "/entry/fields/actor", json!({}), "entry.fields.actor: withheld beside"),
        (&whole, "/entry/fields/actor/value", json!(null), "members: invalid type: null"),
        (&whole, "/entry/seed", json!(null), "members: invalid type: null"),
        (&whole, "/entry/commitment", json!(h32), "entry: needs fields, or the commitment alone"),
        (&partial, "/entry/fields/actor", field, "entry.fields.actor: needs value and salt"),
        (
            &partial,
            "/entry/seed",
            json!(h32),
            "entry.fields.action: a salt beside the entry's seed",
        ),
        (&erased, "/entry/seed", json!(h32), "entry: needs fields, or the commitment alone"),
        (&whole, "/chainId", json!(31337), "members: invalid type: integer `31337`"),
        (&whole, "/chainId", json!("031337"), "members: expected a decimal integer"),
        (&whole, "/batch/count", json!("18446744073709551616"), "members: expected a decimal"),
        (&whole, "/contract", json!(format!("0x{}", "C0".repeat(20))), "members: only 0-9 and a-f"),
        (&whole, "/contract", json!(h32), "members: expected 40 hex digits after 0x, found 64"),
        (&whole, "/path/0", json!("77".repeat(32)), "members: hex must start with 0x"),
        (&whole, "/path/0", json!("0x"), "members: expected 64 hex digits after 0x, found 0"),
        (&whole, "/tenantId", json!(h32), "members: tenant id 0x7777"),
        (&whole, "/tenantId", json!(B256::ZERO), "members: the zero tenant id is refused"),
    ] {
        let error = tampered(receipt, pointer, Some(value.clone()));
        assert!(error.starts_with(message), "{pointer} = {value}: {error}");
    }
    for pointer in [
        "/format",
        "/version",
        "/chainId",
        "/contract",
        "/state",
        "/lacks",
        "/codeHash",
        "/tenantId",
        "/entry",
        "/entry/erased",
        "/entry/seq",
        "/entry/previous",
        "/batch/index",
        "/batch/firstSeq",
        "/batch/count",
        "/batch/root",
        "/batch/anchoredAt",
        "/history/batches",
        "/history/path",
        "/anchor/transaction",
        "/anchor/logIndex",
        "/anchor/blockNumber",
        "/anchor/blockHash",
    ] {
        let error = tampered(&whole, pointer, None);
        assert!(error.starts_with("members: missing field"), "without {pointer}: {error}");
    }
    for member in ["batch", "position", "path", "history", "anchor"] {
        let error = tampered(&whole, &format!("/{member}"), None);
        assert_eq!(error, format!("state: included needs {member}"));
    }
    for field in FieldName::ALL {
        let error = tampered(&whole, &format!("/entry/fields/{field}"), None);
        assert_eq!(error, format!("entry.fields: {field} is missing"));
    }
    assert!(tampered(&whole, "/entry/seed", None).starts_with("entry.fields.action: needs value"));
    assert!(tampered(&erased, "/entry/commitment", None).starts_with("entry: needs fields"));
}

#[test]
fn hostile_bytes_are_refused() {
    let json = sample(whole).0.to_json().unwrap();
    let refused = |bytes: &[u8]| Receipt::from_json(bytes).unwrap_err().to_string();
    // Another version may have other members: it is named, and not they.
    let newer = json.replacen("\"version\": 1,", "\"version\": 2, \"more\": {},", 1);
    assert!(refused(newer.as_bytes()).ends_with("found \"cofferdam-receipt\" version 2"));
    for twice in ["\"chainId\": \"1\",", "\"chain\\u0049d\": \"1\","] {
        let json = json.replacen('{', &format!("{{{twice}"), 1);
        assert!(refused(json.as_bytes()).ends_with("duplicate key \"chainId\""), "{twice}");
    }
    let twice = json.replacen("\"actor\":", "\"actor\":{\"value\":\"x\"},\"actor\":", 1);
    assert!(refused(twice.as_bytes()).ends_with("duplicate key \"actor\""));
    assert_eq!(refused(b"\xff"), "encoding: not UTF-8 at byte 0");
    assert!(refused(b"").starts_with("json: line 1, column 1: "));
    assert!(refused(b"[]").starts_with("members: "));
    assert!(refused(&json.as_bytes()[..json.len() - 1]).starts_with("json: "));
    assert!(refused(format!("{json}{json}").as_bytes()).contains("more text after the value"));
    let huge = vec![b' '; MAX_RECEIPT_BYTES + 1];
    assert!(refused(&huge).starts_with("size: 8388609 bytes"));
}

#[test]
fn a_path_of_ten_thousand_is_refused_at_once() {
    let (receipt, _) = sample(whole);
    for (member, length) in [("path", 65), ("path", 10_000), ("history.path", 10_000)] {
        let mut long = receipt.clone();
        let nodes = vec![B256::repeat_byte(7); length];
        if member == "path" {
            inclusion_mut(&mut long).path = nodes
        } else {
            inclusion_mut(&mut long).history.path = nodes
        }
        let json = long.to_json().unwrap();
        let start = Instant::now();
        let error = Receipt::from_json(json.as_bytes()).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        let (unit, limit) = ("hashes", 64);
        assert_eq!(error, ReceiptError::TooMany { member, unit, found: length, limit });
        assert!(long.check().is_err());
    }
}

/// The largest entry there can be, in the longest spelling that is written, fits the cap.
#[test]
fn the_largest_entry_fits() {
    let values = FieldName::ALL.map(|field| match field {
        FieldName::Payload => format!("\"{}\"", "\\\\".repeat((field.limit() - 2) / 2)),
        _ => "\u{1}".repeat(field.limit()),
    });
    let (receipt, _) = sample(|seed, _| whole(seed, Fields::from_stored(values.clone())));
    let json = receipt.to_json().unwrap();
    assert_eq!(Receipt::from_json(json.as_bytes()).as_ref(), Ok(&receipt), "{} bytes", json.len());
}

proptest! {
    /// Whatever byte of the text changes: refused, or it says the same, or it changed what proves
    /// nothing.
    #[test]
    fn any_flipped_byte_of_the_text_is_refused(
        form in 0..3usize,
        at in any::<Index>(),
        flip in 1..=255u8,
    ) {
        let (receipt, history) = sample([whole, partial, erased][form]);
        let mut json = receipt.to_json().unwrap().into_bytes();
        let at = at.index(json.len());
        json[at] ^= flip;
        if let Ok(mut read) = Receipt::from_json(&json) && accepted(&read, &history) {
            (read.chain_id, read.contract) = (receipt.chain_id, receipt.contract);
            read.code_hash = receipt.code_hash;
            inclusion_mut(&mut read).anchor = inclusion(&receipt).anchor;
            prop_assert_eq!(read, receipt);
        }
    }
}

/// A field that was erased can be told from one that is withheld, and proves as little.
#[test]
fn an_erased_field_is_told() {
    let (mut receipt, history) = sample(partial);
    let EntryBody::Partial(fields) = &mut receipt.entry.body else { panic!() };
    for field in [FieldName::Actor, FieldName::Payload] {
        let ReceiptField::Withheld(digest) = fields[field.position()] else { panic!() };
        fields[field.position()] = ReceiptField::Erased(digest);
    }
    assert_eq!(receipt.entry.body.erased(), [FieldName::Actor, FieldName::Payload]);
    let json = receipt.to_json().unwrap();
    assert_eq!(Receipt::from_json(json.as_bytes()).as_ref(), Ok(&receipt));
    assert!(accepted(&receipt, &history));
    assert_eq!(
        serde_json::to_value(&receipt).unwrap()["entry"]["erased"],
        json!(["actor", "payload"])
    );
}

/// Each state has its members and no others.
#[test]
fn states_have_their_members() {
    for (finality, state) in [
        (Finality::Included, State::Included),
        (Finality::Safe, State::Safe),
        (Finality::Final(None), State::Final),
    ] {
        let mut receipt = sample(whole).0;
        inclusion_mut(&mut receipt).finality = finality;
        assert_eq!(receipt.state(), state);
        let json = receipt.to_json().unwrap();
        assert_eq!(Receipt::from_json(json.as_bytes()).as_ref(), Ok(&receipt));
    }
    let proven = sample::proven(SMALL, whole).0;
    assert_eq!(serde_json::to_value(&proven).unwrap()["lacks"], json!([]));
    for state in ["included", "safe"] {
        let error = tampered(&proven, "/state", Some(json!(state)));
        assert_eq!(error, format!("state: {state} does not go with proofBlock"));
    }
    let error = tampered(&proven, "/proofBlock", None);
    assert_eq!(error, "lacks: must list the absent members in order, which are proofBlock");
}

/// serde would take an array of a struct's members for the struct, and an object for a word.
#[test]
fn objects_are_objects_and_words_are_words() {
    let good: Value = serde_json::to_value(sample::proven(SMALL, partial).0).unwrap();
    let read = |json: &Value| Receipt::from_json(json.to_string().as_bytes());
    assert!(read(&good).is_ok());
    for pointer in [
        "",
        "/entry",
        "/entry/fields/actor",
        "/batch",
        "/history",
        "/anchor",
        "/proofBlock",
        "/proofBlock/head",
        "/proofBlock/peak",
    ] {
        let mut json = good.clone();
        let object = json.pointer_mut(pointer).unwrap();
        // In the order in which the members are declared, as a derived reader expects them.
        let text = sample::proven(SMALL, partial).0.to_json().unwrap();
        let order = |name: &String| text.find(&format!("\"{name}\"")).unwrap();
        let mut names: Vec<_> = object.as_object().unwrap().keys().cloned().collect();
        names.sort_by_key(order);
        *object = names.iter().map(|name| object[name].clone()).collect();
        let refused = read(&json).unwrap_err();
        assert!(matches!(&refused, ReceiptError::Members(_)), "{pointer}: {refused}");
    }
    for (pointer, value) in [
        ("/state", json!({ "final": null })),
        ("/lacks", json!([{ "proofBlock": null }])),
        ("/entry/erased", json!([{ "actor": null }])),
    ] {
        let mut json = good.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        let refused = read(&json).unwrap_err();
        assert!(matches!(&refused, ReceiptError::Members(_)), "{pointer}: {refused}");
    }
}
