//! What an adversary may hand in, item by item as the specification lists it: each is refused, by the
//! check that is named for it. Bundles have theirs in `crates/bundle`.

use crate::sample::{SMALL, Shape, State, header, header_at, partial, proven, whole};
use alloy_primitives::keccak256;
use cofferdam_core::{
    Address, B256, Bytes, Finality, Policy, ProofBlock, Receipt, TenantId,
    storage::{head_slot, peak_slot},
};
use serde_json::{Value, json};

/// The reason for which the text is refused.
fn refused(text: &[u8], policy: &Policy) -> String {
    let receipt = match Receipt::from_json(text) {
        Ok(receipt) => receipt,
        Err(error) => return error.to_string(),
    };
    receipt.prove(policy).map_or_else(|error| error.to_string(), |_| "accepted".to_owned())
}

#[track_caller]
fn demand(item: &str, text: &[u8], policy: &Policy, reason: &str) {
    let found = refused(text, policy);
    assert!(
        found.starts_with(reason) || found.starts_with("json: ") && found.contains(reason),
        "{item}: {found}"
    );
}

/// With another value at a JSON pointer.
fn with(receipt: &Receipt, pointer: &str, value: Value) -> Vec<u8> {
    let mut json = serde_json::to_value(receipt).unwrap();
    *json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    json.to_string().into_bytes()
}

fn text(receipt: &Receipt) -> Vec<u8> {
    receipt.to_json().unwrap().into_bytes()
}

#[test]
fn hostile_json_is_refused_by_name() {
    let (good, policy) = proven(SMALL, whole);
    let (some, _) = proven(SMALL, partial);
    assert_eq!(refused(&text(&good), &policy), "accepted");
    assert_eq!(refused(&text(&some), &policy), "accepted");
    let (plain, selective) = (good.to_json().unwrap(), some.to_json().unwrap());
    let hash = json!(B256::repeat_byte(7));
    let changed = |pointer, value| with(&good, pointer, value);
    let replaced = |from: &str, to: &str| {
        assert!(plain.contains(from), "{from}");
        plain.replacen(from, to, 1).into_bytes()
    };
    let twice = {
        let actor = "\"actor\": {";
        let at = selective.find(actor).unwrap() + actor.len();
        format!("{}\"digest\": {hash}, {}", &selective[..at], &selective[at..]).into_bytes()
    };
    for (item, text, reason) in [
        ("huge path", changed("/path", json!(vec![&hash; 10_000])), "path: "),
        ("huge history", changed("/history/path", json!(vec![&hash; 10_000])), "history.path: "),
        (
            "huge proof",
            changed("/proofBlock/accountProof", json!(vec!["0x00"; 10_000])),
            "proofBlock.accountProof: ",
        ),
        (
            "deep JSON",
            replaced("\"erased\": []", &format!("\"erased\": {}", "[".repeat(10_000))),
            "deep",
        ),
        ("duplicate key", replaced("{", "{\"version\": 1,"), "duplicate key \"version\""),
        (
            "duplicate key, escaped",
            replaced("{", "{\"\\u0076ersion\": 1,"),
            "duplicate key \"version\"",
        ),
        ("lone surrogate", replaced("payments.send", "payments\\ud800"), "lone surrogate \\ud800"),
        ("surrogates swapped", replaced("payments.send", "\\ude00\\ud83d"), "lone surrogate"),
        (
            "invalid UTF-8",
            {
                let mut bytes = text(&good);
                let at = plain.find("payments").unwrap();
                bytes[at] = 0xff;
                bytes
            },
            "encoding: not UTF-8 at byte ",
        ),
        (
            "overlong UTF-8",
            [&b"{\"format\":\"\xc0\xaf"[..], b"\"}"].concat(),
            "encoding: not UTF-8",
        ),
        (
            "a number for a string",
            changed("/entry/seq", json!(11)),
            "members: invalid type: integer",
        ),
        ("a string for a number", changed("/version", json!("1")), "members: invalid type: string"),
        ("a string for a list", changed("/path", json!("0x")), "members: invalid type: string"),
        ("a list for an object", changed("/batch", json!([])), "members: invalid type: sequence"),
        ("null", changed("/position", json!(null)), "members: invalid type: null"),
        ("true", changed("/lacks", json!(true)), "members: invalid type: boolean"),
        ("negative", changed("/entry/seq", json!("-1")), "members: expected a decimal"),
        ("negative zero", changed("/entry/seq", json!("-0")), "members: expected a decimal"),
        ("negative number", changed("/version", json!(-1)), "members: invalid value: integer `-1`"),
        ("a fraction", changed("/version", json!(1.5)), "members: invalid type: floating point"),
        (
            "beyond 64 bits",
            changed("/batch/count", json!("18446744073709551616")),
            "members: expected a decimal",
        ),
        (
            "the last of 64 bits",
            changed("/batch/firstSeq", json!(u64::MAX.to_string())),
            "entry.seq: ",
        ),
        ("beyond a double", replaced("\"version\": 1", "\"version\": 1e400"), "members: "),
        (
            "odd hex",
            changed("/proofBlock/header", json!("0x123")),
            "members: expected an even number of hex digits",
        ),
        (
            "odd hex of a hash",
            changed("/path/0", json!(format!("0x{}", "7".repeat(63)))),
            "members: expected 64 hex digits after 0x, found 63",
        ),
        ("two digests under one name", twice, "duplicate key \"digest\""),
        (
            "one field twice",
            selective.replacen("\"actor\":", "\"actor\": {}, \"actor\":", 1).into_bytes(),
            "duplicate key \"actor\"",
        ),
    ] {
        demand(item, &text, &policy, reason);
    }
}

/// Proofs that are right, of something else.
#[test]
fn borrowed_proofs_are_refused_by_name() {
    let (good, policy) = proven(SMALL, whole);
    let proof = good.inclusion.as_ref().unwrap().finality.proof().unwrap();
    let peak = good.check().unwrap();
    let tenants = |tenant: TenantId| {
        vec![
            (head_slot(tenant), proof.head.value),
            (peak_slot(peak.peak.height, tenant), peak.peak_hash),
        ]
    };
    let state = State { code_hash: good.code_hash, words: tenants(good.tenant) };
    // Under a block that the auditor pinned as well: the hash alone must not save them.
    let under = |proof: ProofBlock| {
        let mut receipt = good.clone();
        let block_hashes = vec![policy.block_hashes[0], keccak256(&proof.header)];
        receipt.inclusion.as_mut().unwrap().finality = Finality::Final(Some(Box::new(proof)));
        (text(&receipt), Policy { block_hashes, ..policy.clone() })
    };

    let stranger = TenantId::from_authority(Address::repeat_byte(0x31)).unwrap();
    let theirs = State { words: tenants(stranger), ..state.clone() };
    let theirs = theirs.prove(good.contract, &header);
    let (given, pinned) = under(theirs.clone());
    demand("another tenant's proof", &given, &pinned, "proofBlock.head.slot: ");
    let (mut head, mut second) = (theirs.head.clone(), theirs.peak.clone());
    (head.slot, second.slot) = (proof.head.slot, proof.peak.slot);
    let (given, pinned) = under(ProofBlock { head, peak: second, ..theirs });
    demand("another tenant's proof, renamed", &given, &pinned, "proofBlock.head.proof: ");

    let (given, pinned) = under(state.prove(Address::repeat_byte(0x77), &header));
    demand("another contract's proof", &given, &pinned, "proofBlock.accountProof: ");
    let code = State { code_hash: B256::repeat_byte(1), ..state.clone() };
    let (given, pinned) = under(code.prove(good.contract, &header));
    demand("other code", &given, &pinned, "proofBlock.accountProof: the contract's code hash");
    let (given, pinned) = under(ProofBlock { header: header(B256::ZERO), ..proof.clone() });
    demand("another block", &given, &pinned, "proofBlock.accountProof: ");
    demand("a block that nobody pinned", &given, &policy, "proofBlock.header: its hash");
    let early = |root| header_at(root, 1, 1);
    let (given, pinned) = under(state.prove(good.contract, &early));
    demand("a block from before", &given, &pinned, "proofBlock.header: block 1 at 1 is before");
    demand("another chain", &with(&good, "/chainId", json!("1")), &policy, "chainId: ");
    demand(
        "another contract",
        &with(&good, "/contract", json!(Address::ZERO)),
        &policy,
        "contract: ",
    );

    let surplus = |change: fn(&mut ProofBlock)| {
        let mut proof = proof.clone();
        change(&mut proof);
        under(proof).0
    };
    for (item, text, reason) in [
        (
            "surplus",
            surplus(|it| it.account_proof.push(Bytes::from_static(&[0xc0]))),
            "proofBlock.accountProof: node 8",
        ),
        (
            "duplicate",
            surplus(|it| it.peak.proof.insert(1, it.peak.proof[0].clone())),
            "proofBlock.peak.proof: node 1 is there twice",
        ),
        ("missing", surplus(|it| drop(it.head.proof.pop())), "proofBlock.head.proof: "),
    ] {
        demand(&format!("{item} trie node"), &text, &policy, reason);
    }
}

/// Paths that are right, for another place.
#[test]
fn borrowed_paths_are_refused_by_name() {
    let (good, policy) = proven(SMALL, whole);
    let json = |shape| serde_json::to_value(proven(shape, whole).0).unwrap();
    let member = |shape, pointer: &str| json(shape).pointer(pointer).unwrap().clone();
    let next = Shape { position: 3, ..SMALL };
    let larger = Shape { count: 8, ..SMALL };
    let later = Shape { batch: 3, ..SMALL };
    let fewer = Shape { batches: 4, ..SMALL };
    let all = |pointers: &[&str], shape| {
        let mut text = serde_json::to_value(&good).unwrap();
        for pointer in pointers {
            *text.pointer_mut(pointer).unwrap() = member(shape, pointer);
        }
        text.to_string().into_bytes()
    };
    for (item, text, reason) in [
        (
            "the path of another index",
            all(&["/path"], next),
            "path: the path leads to another root",
        ),
        ("path and position of another index", all(&["/path", "/position"], next), "position: "),
        ("another entry's seq, too", all(&["/path", "/position", "/entry/seq"], next), "path: "),
        (
            "the path of another size",
            all(&["/path"], larger),
            "path: the path leads to another root",
        ),
        ("path and count of another size", all(&["/path", "/batch/count"], larger), "path: "),
        (
            "a root that fits them",
            all(&["/path", "/batch/count", "/batch/root"], larger),
            "history.path: it leads to peak",
        ),
        ("another batch's index", all(&["/batch/index"], later), "history.path: it leads to peak"),
        (
            "another batch's place",
            all(&["/batch/index", "/history"], later),
            "history.path: it leads to peak",
        ),
        (
            "another batch",
            all(&["/batch", "/path", "/position"], Shape { first_seq: 16, ..SMALL }),
            "entry.seq: ",
        ),
        (
            "a history of another size",
            all(&["/history"], fewer),
            "history.batches: the contract has 5",
        ),
    ] {
        demand(item, &text, &policy, reason);
    }
    let (other, theirs) = proven(later, whole);
    assert_eq!(refused(&text(&other), &theirs), "accepted");
    demand(
        "a whole receipt of another history",
        &text(&other),
        &policy,
        "proofBlock.header: its hash",
    );
}
