//! Receipts: what an auditor with nothing but an endpoint can tell from one.

use std::{collections::BTreeSet, path::PathBuf};

use alloy::{eips::BlockNumberOrTag, providers::Provider};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Outcome, Stack, program, records, run};

/// A stack whose `acme` has entries 0 to 4 in its first batch, and `globex` two.
pub(crate) async fn stack() -> Stack {
    Stack::with(&(records("acme", 0..5) + &records("globex", 0..2))).await
}

/// The receipt that the program makes.
async fn receipt(stack: &Stack, options: &str) -> Value {
    let made = run(&mut stack.cofferdam(&format!("receipt {options}"))).await.exits(0);
    keeps_schema(&made.stdout, include_str!("../../docs/receipt.schema.json"));
    serde_json::from_str(&made.stdout).unwrap()
}

/// Demands that a text is as its schema says.
#[track_caller]
pub(crate) fn keeps_schema(text: &str, schema: &str) {
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    if let Err(error) = schema.validate(&serde_json::from_str(text).unwrap()) {
        panic!("{error} at {}", error.instance_path());
    }
}

/// An auditor's shell: the program and a policy file, and no database.
fn auditor(stack: &Stack, receipt: &Value) -> Command {
    let path = stack.file("receipt.json", receipt.to_string());
    let mut command = program();
    command.args(["verify", "--json", "--policy"]).arg(stack.data().join("verifier.json"));
    command.arg(path);
    command
}

async fn audit(stack: &Stack, receipt: &Value) -> Outcome {
    run(&mut auditor(stack, receipt)).await
}

/// Demands that the auditor refuses it at this check.
#[track_caller]
fn refused(outcome: Outcome, check: &str) -> String {
    let verdict = outcome.exits(1).json();
    assert_eq!((&verdict["valid"], &verdict["check"]), (&json!(false), &json!(check)), "{verdict}");
    verdict["reason"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_receipt_is_valid_by_policy_file_or_options_and_without_a_database() {
    let stack = stack().await;
    let path = stack.dir().join("receipt.json");
    let mut make = stack.cofferdam("receipt --tenant acme --id acme-00003 --out");
    run(make.arg(&path)).await.exits(0);
    let receipt: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(receipt["entry"]["seq"], "3");
    assert_eq!(receipt["entry"]["fields"]["external_id"]["value"], "acme-00003");

    let valid = audit(&stack, &receipt).await.exits(0).json();
    assert_eq!([&valid["valid"], &valid["historyRefreshed"]], [true, false]);
    assert_eq!((&valid["seq"], &valid["tenantId"]), (&json!("3"), &receipt["tenantId"]));

    let by_options = |chain_id: &str, contract: &str| {
        let mut command = program();
        command.args(["verify", "--json", "--chain-id", chain_id, "--contract", contract]);
        command.args(["--rpc-url", stack.anvil.rpc_url().as_str()]).arg(&path);
        command
    };
    let contract = receipt["contract"].as_str().unwrap();
    run(&mut by_options("31337", contract)).await.exits(0);
    // What the auditor trusts, not what the receipt says.
    let other = "0x00000000000000000000000000000000DeaDBeef";
    refused(run(&mut by_options("8453", contract)).await, "chain");
    refused(run(&mut by_options("31337", other)).await, "contract");
    run(program().arg("verify").arg(&path)).await.fails_saying(2, &["say what you trust"]);

    // A receipt that follows the auditor's wrong belief gets no further.
    let mut elsewhere = receipt.clone();
    elsewhere["chainId"] = json!("8453");
    stack.file("receipt.json", elsewhere.to_string());
    run(&mut by_options("8453", contract)).await.fails_saying(2, &["8453", "31337"]);
    let mut elsewhere = receipt.clone();
    elsewhere["contract"] = json!(other.to_lowercase());
    stack.file("receipt.json", elsewhere.to_string());
    run(&mut by_options("31337", other)).await.fails_saying(2, &["no contract"]);
}

#[tokio::test]
async fn options_that_contradict_the_policy_file_are_not_passed_over() {
    let stack = stack().await;
    let receipt = receipt(&stack, "--tenant acme --seq 0").await;
    for (option, value) in
        [("--chain-id", "8453"), ("--contract", "0x00000000000000000000000000000000DeaDBeef")]
    {
        let mut verify = auditor(&stack, &receipt);
        verify.args([option, value]);
        run(&mut verify).await.fails_saying(2, &[option, "policy"]);
    }
    let mut same = auditor(&stack, &receipt);
    same.args(["--chain-id", "31337", "--contract", receipt["contract"].as_str().unwrap()]);
    run(&mut same).await.exits(0);
}

#[tokio::test]
async fn disclosed_fields_are_told_and_the_others_are_not() {
    let stack = stack().await;
    let whole = receipt(&stack, "--tenant acme --seq 2").await;
    let partial = receipt(&stack, "--tenant acme --seq 2 --disclose actor,occurred_at").await;
    audit(&stack, &partial).await.exits(0);

    let text = partial.to_string();
    let fields = partial["entry"]["fields"].as_object().unwrap();
    for (name, field) in fields {
        let members: BTreeSet<_> = field.as_object().unwrap().keys().map(String::as_str).collect();
        let value = whole["entry"]["fields"][name]["value"].as_str().unwrap();
        if ["actor", "occurred_at"].contains(&&**name) {
            assert_eq!(members, BTreeSet::from(["salt", "value"]));
            assert_eq!(field["value"], value);
        } else {
            assert_eq!(members, BTreeSet::from(["digest"]));
            assert!(value.len() < 4 || !text.contains(value), "{name} is told");
        }
    }
    assert!(!text.contains(whole["entry"]["seed"].as_str().unwrap()), "the seed is told");
    assert_eq!(partial["path"], whole["path"]);
    for pointer in ["actor/value", "actor/salt", "payload/digest", "reason/digest"] {
        let changed = changed(&partial, &format!("/entry/fields/{pointer}"));
        refused(audit(&stack, &changed).await, "self-consistency");
    }
}

#[tokio::test]
async fn a_receipt_outlives_the_path_into_a_growing_history() {
    let stack = stack().await;
    let old = receipt(&stack, "--tenant acme --seq 1").await;
    assert_eq!((&old["history"]["batches"], &old["history"]["path"]), (&json!("1"), &json!([])));
    let mut refreshed = vec![];
    for round in 5..10 {
        stack.append(&records("acme", round..round + 1)).await;
        stack.anchor().await;
        let verdict = audit(&stack, &old).await.exits(0).json();
        assert_eq!(verdict["valid"], true);
        refreshed.push(verdict["historyRefreshed"].as_bool().unwrap());
        // A receipt made now is right as it stands.
        let new = receipt(&stack, "--tenant acme --seq 1").await;
        let verdict = audit(&stack, &new).await.exits(0).json();
        assert_eq!(verdict["historyRefreshed"], false);
    }
    // With the second batch the first peak is merged into a higher one, for good.
    assert_eq!(refreshed, [true; 5]);
    // Rebuilding takes the tenant's own events, however many blocks others fill.
    let mut late = auditor(&stack, &old);
    run(late.args(["--from-block", "0"])).await.exits(0);
}

/// The receipt with another value at this pointer: the last hex digit, decimal digit or letter.
fn changed(receipt: &Value, pointer: &str) -> Value {
    let mut receipt = receipt.clone();
    let member = receipt.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    let text = member.as_str().unwrap();
    let (kept, last) = text.split_at(text.char_indices().last().map_or(0, |(at, _)| at));
    let other = if last == "1" { "2" } else { "1" };
    *member = format!("{kept}{other}").into();
    receipt
}

#[tokio::test]
async fn every_member_that_is_changed_is_found_and_the_check_named() {
    let stack = stack().await;
    for n in 5..8 {
        stack.append(&records("acme", n..n + 1)).await;
        stack.anchor().await;
    }
    // Four batches: two hashes lead to the peak. Five leaves: up to three lead to the root.
    let good = receipt(&stack, "--tenant acme --seq 2").await;
    assert_eq!(good["history"]["path"].as_array().unwrap().len(), 2);
    assert_eq!(good["path"].as_array().unwrap().len(), 3);
    audit(&stack, &good).await.exits(0);

    let fields = good["entry"]["fields"].as_object().unwrap().keys();
    let fields = fields.map(|name| format!("/entry/fields/{name}/value"));
    let mut cases: Vec<(String, &str)> = fields.map(|it| (it, "self-consistency")).collect();
    cases.extend(
        [
            ("/format", "format"),
            ("/chainId", "chain"),
            ("/contract", "contract"),
            ("/codeHash", "codeHash"),
            ("/tenantId", "self-consistency"),
            ("/entry/seq", "self-consistency"),
            ("/entry/previous", "self-consistency"),
            ("/entry/seed", "self-consistency"),
            ("/batch/index", "event"),
            ("/batch/firstSeq", "self-consistency"),
            ("/batch/count", "self-consistency"),
            ("/batch/root", "self-consistency"),
            ("/batch/anchoredAt", "event"),
            ("/position", "self-consistency"),
            ("/path/0", "self-consistency"),
            ("/path/1", "self-consistency"),
            ("/path/2", "self-consistency"),
            ("/history/path/0", "history"),
            ("/history/path/1", "history"),
            ("/anchor/transaction", "transaction"),
            ("/anchor/logIndex", "event"),
            ("/anchor/blockNumber", "block"),
            ("/anchor/blockHash", "block"),
        ]
        .map(|(pointer, check)| (pointer.to_owned(), check)),
    );
    for (pointer, check) in cases {
        let reason = refused(audit(&stack, &changed(&good, &pointer)).await, check);
        assert!(!reason.is_empty(), "{pointer}");
    }

    let with = |pointer: &str, value: Value| {
        let mut receipt = good.clone();
        *receipt.pointer_mut(pointer).unwrap() = value;
        receipt
    };
    let globex = stack.tenant("globex").await.to_string();
    let without_fields = {
        let mut receipt = good.clone();
        receipt["entry"].as_object_mut().unwrap().remove("fields");
        receipt
    };
    for (receipt, check, said) in [
        (with("/tenantId", globex.into()), "self-consistency", "path"),
        (with("/history/batches", json!("5")), "history", "history"),
        (with("/history/batches", json!("0")), "self-consistency", "history"),
        (with("/history/path", json!([])), "self-consistency", "history"),
        (with("/path", json!([])), "self-consistency", "path"),
        (with("/version", json!(2)), "format", "version 2"),
        (with("/batch/count", json!(5)), "format", "members"),
        (with("/entry/seq", json!("-1")), "format", "members"),
        (with("/entry/seed", json!(null)), "format", "members"),
        (without_fields, "format", "entry"),
    ] {
        let reason = refused(audit(&stack, &receipt).await, check);
        assert!(reason.contains(said), "{reason}");
    }
}

#[tokio::test]
async fn hostile_receipts_are_refused_and_unreadable_ones_are_not_judged() {
    let stack = stack().await;
    let good = receipt(&stack, "--tenant acme --seq 2").await;
    let zero = format!("0x{}", "0".repeat(64));
    for pointer in ["/path", "/history/path"] {
        let mut long = good.clone();
        *long.pointer_mut(pointer).unwrap() = vec![zero.clone(); 10_000].into();
        let reason = refused(audit(&stack, &long).await, "format");
        assert!(reason.contains("10000 hashes"), "{reason}");
        assert!(reason.contains(&pointer[1..].replace('/', ".")), "{reason}");
    }

    let text = good.to_string();
    let doubled = text.replacen("{\"", "{\"version\":1,\"", 1);
    let huge = format!("{{\"format\":\"{}\"}}", "x".repeat(9_000_000));
    let deep = "[".repeat(1_000_000);
    let cases = ["", "null", "[]", &text[..text.len() / 2], &doubled, &huge, &deep, "\u{0}\u{1}"];
    for case in cases {
        let path = stack.file("hostile.json", case);
        let mut verify = program();
        verify.args(["verify", "--json", "--policy"]).arg(stack.data().join("verifier.json"));
        refused(run(verify.arg(path)).await, "format");
    }

    let verify = |receipt: PathBuf, policy: PathBuf| {
        let mut verify = program();
        verify.arg("verify").arg(receipt).arg("--policy").arg(policy);
        verify
    };
    let (receipt, policy) = (stack.file("r.json", &text), stack.data().join("verifier.json"));
    let absent = stack.dir().join("absent.json");
    run(&mut verify(absent.clone(), policy.clone())).await.fails_saying(2, &["absent.json"]);
    let empty = stack.dir().join("empty");
    std::fs::create_dir(&empty).unwrap();
    run(&mut verify(empty, policy)).await.fails_saying(2, &["no receipts or bundles"]);
    run(&mut verify(receipt.clone(), absent)).await.fails_saying(2, &["absent.json"]);
    let nonsense = stack.file("policy.json", "{\"chainId\":31337}");
    run(&mut verify(receipt, nonsense)).await.fails_saying(2, &["not a verifier policy"]);
}

#[tokio::test]
async fn without_an_answer_nothing_is_judged() {
    let stack = stack().await;
    let receipt = receipt(&stack, "--tenant acme --seq 2").await;
    let unreachable = "http://127.0.0.1:9/";
    let mut verify = auditor(&stack, &receipt);
    run(verify.args(["--rpc-url", unreachable]))
        .await
        .fails_saying(2, &["cannot read the chain id"]);

    // A policy that names other code trusts neither this receipt nor, if that follows it, this contract.
    let policy = std::fs::read_to_string(stack.data().join("verifier.json")).unwrap();
    let mut policy: Value = serde_json::from_str(&policy).unwrap();
    policy["codeHash"] = format!("0x{}", "1".repeat(64)).into();
    let mut elsewhere = receipt.clone();
    elsewhere["codeHash"] = policy["codeHash"].clone();
    let policy = stack.file("other-code.json", policy.to_string());
    let verify = |receipt: &Value| {
        let path = stack.file("receipt.json", receipt.to_string());
        let mut verify = program();
        verify.args(["verify", "--json"]).arg(path).arg("--policy").arg(&policy);
        verify
    };
    refused(run(&mut verify(&receipt)).await, "codeHash");
    run(&mut verify(&elsewhere)).await.fails_saying(2, &["not what the policy names"]);

    // What does not even agree with itself needs no chain to be refused.
    let changed = changed(&receipt, "/entry/fields/actor/value");
    let mut verify = auditor(&stack, &changed);
    refused(run(verify.args(["--rpc-url", unreachable])).await, "self-consistency");
}

#[tokio::test]
async fn an_entry_that_is_not_anchored_is_pending_and_cannot_be_judged() {
    let stack = stack().await;
    stack.append(&records("acme", 5..6)).await;
    let pending = receipt(&stack, "--tenant acme --seq 5 --withhold payload").await;
    let all = json!(["batch", "position", "path", "history", "anchor", "proofBlock"]);
    assert_eq!((&pending["state"], &pending["lacks"]), (&json!("pending"), &all));
    audit(&stack, &pending).await.fails_saying(2, &["pending"]);
    for (options, said) in [
        ("--tenant acme --seq 6", "no entry 6"),
        ("--tenant acme --id globex-00001", "no entry with id \"globex-00001\""),
        ("--tenant mallory --seq 0", "\"mallory\""),
    ] {
        let mut receipt = stack.cofferdam(&format!("receipt {options}"));
        run(&mut receipt).await.fails_saying(1, &[said]);
    }
}

/// `COFFERDAM_WRITE_VECTORS=1` makes the golden receipt and its policy afresh.
#[tokio::test]
async fn a_final_entry_is_proven_without_asking_anybody() {
    let stack = stack().await;
    for n in 5..7 {
        stack.append(&records("acme", n..n + 1)).await;
        stack.anchor().await;
    }
    let early = receipt(&stack, "--tenant acme --seq 5").await;
    assert_eq!((&early["state"], &early["lacks"]), (&json!("included"), &json!(["proofBlock"])));
    let chain = stack.chain().await;
    // Anvil's are 32 and 64 blocks deep.
    for (state, blocks) in [("safe", 40), ("final", 40)] {
        let mine: Value =
            chain.provider().raw_request("anvil_mine".into(), (blocks,)).await.unwrap();
        assert_eq!(mine, json!(null));
        let now = receipt(&stack, "--tenant acme --seq 5").await;
        let lacks = if state == "safe" { json!(["proofBlock"]) } else { json!([]) };
        assert_eq!((&now["state"], &now["lacks"]), (&json!(state), &lacks));
        let level = if state == "safe" { 3 } else { 4 };
        assert_eq!(audit(&stack, &now).await.exits(0).json()["level"], level);
    }
    // What is anchored after the final block is not in its storage.
    stack.append(&records("acme", 7..8)).await;
    stack.anchor().await;

    let good = receipt(&stack, "--tenant acme --seq 5 --disclose actor,action,occurred_at").await;
    assert_eq!((&good["state"], &good["lacks"]), (&json!("final"), &json!([])));
    assert_eq!(good["history"]["batches"], "3");
    let finalized = chain.header(BlockNumberOrTag::Finalized).await.unwrap().unwrap();
    let policy = json!({
        "chainId": chain.chain_id(), "contract": chain.contract(), "codeHash": chain.code_hash(),
        "blockHashes": [finalized.hash],
    });
    if std::env::var_os("COFFERDAM_WRITE_VECTORS").is_some() {
        let made = run(&mut stack.cofferdam("receipt --tenant acme --seq 5")).await.exits(0);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
        std::fs::write(folder.join("receipts/final-anvil.json"), made.stdout).unwrap();
        let policy = serde_json::to_string_pretty(&policy).unwrap() + "\n";
        std::fs::write(folder.join("receipt_policy.json"), policy).unwrap();
    }

    // With an endpoint, and with nothing but a block's hash.
    let verdict = audit(&stack, &good).await.exits(0).json();
    assert_eq!((&verdict["level"], &verdict["proofBlock"]), (&json!(4), &json!(finalized.hash)));
    let offline = |receipt: &Value, policy: &Value| {
        let policy = stack.file("pinned.json", policy.to_string());
        let mut verify = program();
        verify.args(["verify", "--json"]).arg(stack.file("receipt.json", receipt.to_string()));
        verify.arg("--policy").arg(policy);
        verify
    };
    let verdict = run(&mut offline(&good, &policy)).await.exits(0).json();
    assert_eq!((&verdict["level"], &verdict["proofBlock"]), (&json!(2), &json!(finalized.hash)));

    // Without a pin, or without a proof, there is nothing to tell.
    let mut unpinned = policy.clone();
    unpinned["blockHashes"] = json!([]);
    run(&mut offline(&good, &unpinned)).await.fails_saying(2, &["no RPC endpoint given"]);
    run(&mut offline(&early, &policy)).await.fails_saying(2, &["no RPC endpoint given"]);
    let hash = finalized.hash.to_string();
    run(offline(&good, &unpinned).args(["--block-hash", &hash])).await.exits(0);
    let other = chain.head().await.unwrap().hash.to_string();
    refused(run(offline(&good, &unpinned).args(["--block-hash", &other])).await, "proof");

    // Another's proof, another block's header, another value: each is found, with and without a node.
    let globex = receipt(&stack, "--tenant globex --seq 1").await;
    let mut theirs = good.clone();
    theirs["proofBlock"] = globex["proofBlock"].clone();
    let mut header = good.clone();
    header["proofBlock"]["header"] = json!("0xc0");
    for changed in [
        theirs,
        header,
        changed(&good, "/proofBlock/head/value"),
        changed(&good, "/proofBlock/peak/proof/0"),
        changed(&good, "/proofBlock/accountProof/0"),
        changed(&good, "/history/path/0"),
    ] {
        refused(run(&mut offline(&changed, &policy)).await, "proof");
        refused(audit(&stack, &changed).await, "proof");
    }
}
