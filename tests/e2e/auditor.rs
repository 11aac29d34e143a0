//! What an auditor does with many files, with several endpoints, and with no file at all.

use std::{fs, path::Path};

use alloy::{
    primitives::{B256, U256},
    providers::{Provider, RootProvider},
};
use cofferdam_core::{
    EntryBody, Receipt, ReceiptField,
    storage::{head_slot, peak_slot},
};
use cofferdam_devnet::{Anvil, AnvilOptions, Toolchain};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    receipts::{keeps_schema, stack},
    support::{Outcome, Stack, program, records, run, scratch},
};

async fn receipt(stack: &Stack, options: &str) -> String {
    let text = run(&mut stack.cofferdam(&format!("receipt {options}"))).await.exits(0).stdout;
    keeps_schema(&text, include_str!("../../docs/receipt.schema.json"));
    text
}

/// Every line of a bundle, as its schema says.
fn bundle_keeps_schema(path: &Path) {
    let text = zstd::decode_all(fs::File::open(path).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let lines =
        text.lines().map(|line| keeps_schema(line, include_str!("../../docs/bundle.schema.json")));
    assert!(lines.count() > 2, "{text}");
}

fn verify(stack: &Stack, path: &Path) -> Command {
    let mut verify = program();
    verify.args(["verify", "--json", "--policy"]).arg(stack.data().join("verifier.json"));
    verify.arg(path);
    verify
}

/// `audit`, with nothing but an endpoint.
fn audit(stack: &Stack, tenant: &str) -> Command {
    let mut audit = program();
    audit.args([
        "audit",
        "--json",
        "--tenant",
        tenant,
        "--rpc-url",
        stack.anvil.rpc_url().as_str(),
    ]);
    audit
}

#[tokio::test]
async fn a_folder_is_as_good_as_its_worst_file() {
    let stack = stack().await;
    let folder = stack.dir().join("evidence");
    fs::create_dir_all(folder.join("deeper")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let mut receipts = vec![];
    for seq in 0..4 {
        receipts.push(receipt(&stack, &format!("--tenant acme --seq {seq}")).await);
    }
    for (n, text) in receipts.iter().enumerate() {
        write(&format!("{n}.json"), text);
    }
    write("deeper/again.json", &receipts[1]);
    write("notes.txt", "not ours");
    let page = stack.dir().join("report.html");
    let report = |mut command: Command| {
        command.arg("--report").arg(&page);
        command
    };

    let all = run(&mut report(verify(&stack, &folder))).await.exits(0).json();
    assert_eq!(
        (&all["valid"], &all["files"], &all["validFiles"]),
        (&json!(true), &json!(5), &json!(5))
    );
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("verdict valid") && html.contains("all 5 files"), "{html}");
    assert!(html.contains("3, chain-confirmed"), "{html}");

    stack.append(&records("acme", 5..6)).await;
    write("4.json", &receipt(&stack, "--tenant acme --seq 5").await);
    let some = run(&mut verify(&stack, &folder)).await.exits(2).json();
    assert_eq!((&some["valid"], &some["undecidedFiles"]), (&json!(null), &json!(1)));

    // What the file says is shown, and is never markup.
    let evil = "<script>alert(1)</script>";
    let mut changed: Value = serde_json::from_str(&receipts[2]).unwrap();
    changed["entry"]["fields"]["actor"]["value"] = json!(evil);
    write("deeper/<b>.json", &changed.to_string());
    let worst = run(&mut report(verify(&stack, &folder))).await.exits(1).json();
    assert_eq!((&worst["valid"], &worst["invalidFiles"]), (&json!(false), &json!(1)));
    let results = worst["results"].as_array().unwrap();
    let bad = results.iter().find(|it| it["valid"] == false).unwrap();
    assert!(bad["file"].as_str().unwrap().ends_with("deeper/<b>.json"), "{bad}");
    assert_eq!(bad["check"], "self-consistency");
    assert!(bad["reason"].as_str().unwrap().starts_with("entry 2: path: "), "{bad}");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("verdict invalid") && html.contains("&lt;b&gt;.json"), "{html}");
    assert!(!html.contains("<b>") && !html.contains(evil), "{html}");
}

#[tokio::test]
async fn progress_shows_on_a_terminal_and_nowhere_else() {
    let folder = scratch();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors");
    for n in 0..8 {
        let copy = folder.path().join(format!("{n}.json"));
        fs::copy(vectors.join("receipts/final-anvil.json"), copy).unwrap();
    }
    let mut verify = program();
    verify.args(["verify", "--json", "--policy"]).arg(vectors.join("receipt_policy.json"));
    let plain = run(verify.arg(folder.path())).await.exits(0);
    assert_eq!((plain.json()["validFiles"].clone(), &*plain.stderr), (json!(8), ""));
    assert_eq!(plain.stdout.lines().count(), 1, "{}", plain.stdout);

    // The same on a terminal, but for what it prints.
    let std = verify.as_std();
    let words = std::iter::once(std.get_program()).chain(std.get_args());
    let words: Vec<_> = words.map(|it| format!("'{}'", it.to_str().unwrap())).collect();
    let printed = folder.path().join("printed");
    let line = format!("{} > '{}'", words.join(" "), printed.display());
    let mut terminal = Command::new("script");
    match cfg!(target_os = "macos") {
        true => terminal.args(["-q", "/dev/null", "sh", "-c", &line]),
        false => terminal.args(["-qec", &line, "/dev/null"]),
    };
    let shown = run(terminal.env("TERM", "xterm")).await.exits(0).stdout;
    assert!(shown.contains("verifying") && shown.contains("░"), "{shown:?}");
    assert_eq!(fs::read_to_string(printed).unwrap(), plain.stdout);
}

#[tokio::test]
async fn endpoints_must_agree() {
    let stack = stack().await;
    let path = stack.file("receipt.json", receipt(&stack, "--tenant acme --seq 1").await);
    let own = stack.anvil.rpc_url().to_string();
    let ask = |urls: &[&str]| {
        let mut verify = verify(&stack, &path);
        urls.iter().for_each(|url| {
            verify.args(["--rpc-url", url]);
        });
        verify
    };
    run(&mut ask(&[&own, &own])).await.exits(0);

    // The same chain at another time: the same code at the same address, and none of the events.
    let options =
        AnvilOptions { data_dir: stack.dir().join("other"), port: None, keep: false, args: vec![] };
    let other = Anvil::start(&Toolchain::find(), &options).await.unwrap();
    let chain = stack.chain().await;
    let code = chain.provider().get_code_at(chain.contract()).await.unwrap();
    let elsewhere = {
        let provider: RootProvider = RootProvider::new_http(other.rpc_url().clone());
        let set = (chain.contract(), code);
        let () = provider.raw_request("anvil_setCode".into(), set).await.unwrap();
        other.rpc_url().to_string()
    };
    run(&mut ask(&[&elsewhere])).await.exits(1);
    for urls in [[&*own, &*elsewhere], [&*elsewhere, &*own]] {
        run(&mut ask(&urls)).await.fails_saying(2, &["disagree"]);
    }
    run(&mut ask(&[&own, "http://127.0.0.1:9/"]))
        .await
        .fails_saying(2, &["cannot read the chain id"]);

    let bundle = stack.dir().join("acme.bundle");
    run(stack.cofferdam("bundle --tenant acme --block latest --out").arg(&bundle)).await.exits(0);
    let mut ask = verify(&stack, &bundle);
    run(ask.args(["--rpc-url", &own, "--rpc-url", &own])).await.exits(0);
    run(ask.args(["--rpc-url", &elsewhere])).await.fails_saying(2, &["disagree"]);

    let tenant = stack.tenant("acme").await.to_string();
    run(audit(&stack, &tenant).args(["--rpc-url", &elsewhere]))
        .await
        .fails_saying(2, &["disagree"]);
    run(audit(&stack, &tenant).args(["--rpc-url", &own])).await.exits(0);
}

#[tokio::test]
async fn a_tenants_history_is_read_from_the_chain_alone() {
    let stack = stack().await;
    for n in 5..8 {
        stack.append(&records("acme", n..n + 1)).await;
        stack.anchor().await;
    }
    let log = stack.snapshot().await;
    let log = log.named("acme");
    let id = stack.tenant("acme").await;
    let found = run(&mut audit(&stack, &id.to_string())).await.exits(0).json();
    assert_eq!((&found["entries"], &found["batchCount"]), (&json!(8), &json!(4)));
    let listed = found["batches"].as_array().unwrap();
    assert_eq!(listed.len(), log.anchored.len());
    for (listed, own) in listed.iter().zip(&log.anchored) {
        assert_eq!(listed["root"], json!(own.root.to_string()));
        assert_eq!(listed["index"], json!(own.index.to_string()));
        assert_eq!(listed["firstSeq"], json!(own.first_seq.to_string()));
        assert_eq!(listed["count"], json!(own.count.to_string()));
        assert_eq!(listed["anchor"]["transaction"], json!(own.position.tx_hash));
    }
    // By the authority's address as well, and as it was at an earlier block.
    let address = format!("0x{}", &id.to_string()[26..]);
    let block = log.anchored[1].position.block_number.to_string();
    let then = run(audit(&stack, &address).args(["--block", &block])).await.exits(0).json();
    assert_eq!((&then["entries"], &then["batchCount"]), (&json!(6), &json!(2)));
    // Of a stranger there is nothing, which is true.
    let nobody = format!("0x{}", "11".repeat(20));
    let none = run(&mut audit(&stack, &nobody)).await.exits(0).json();
    assert_eq!((&none["entries"], &none["batches"]), (&json!(0), &json!([])));

    let late = (log.anchored[0].position.block_number + 1).to_string();
    run(audit(&stack, &address).args(["--from-block", &late])).await.fails_saying(2, &["left out"]);
    run(&mut audit(&stack, "acme")).await.exits(2);
    let mut unreachable = program();
    unreachable.args(["audit", "--tenant", &address, "--rpc-url", "http://127.0.0.1:9/"]);
    run(&mut unreachable).await.fails_saying(2, &["cannot read the chain id"]);
    run(program().args(["audit", "--tenant", &address])).await.fails_saying(2, &["--rpc-url"]);

    // A contract that holds something else than it told.
    let chain = stack.chain().await;
    let head =
        chain.provider().get_storage_at(chain.contract(), head_slot(id).into()).await.unwrap();
    let one_more = B256::from(head + (U256::ONE << 200));
    for (slot, word, said) in [
        (peak_slot(2, id), B256::repeat_byte(1), "other peaks"),
        (head_slot(id), one_more, "the contract counts 9 in 4"),
    ] {
        let set = (chain.contract(), slot, word);
        let done: bool =
            chain.provider().raw_request("anvil_setStorageAt".into(), set).await.unwrap();
        assert!(done);
        let found = run(&mut audit(&stack, &address)).await.exits(1).json();
        assert_eq!(found["valid"], false);
        assert!(found["reason"].as_str().unwrap().contains(said), "{found}");
    }
}

/// The receipt as it is once its first field, and once all of it, was erased.
fn erased(text: &str) -> [String; 2] {
    let mut receipt = Receipt::from_json(text.as_bytes()).unwrap();
    let EntryBody::Whole { seed, fields } = &receipt.entry.body else { panic!("not whole") };
    let EntryBody::Partial(mut some) = EntryBody::partial(seed, fields, &[]) else {
        panic!("not partial")
    };
    let ReceiptField::Withheld(digest) = some[0] else { panic!("not withheld") };
    some[0] = ReceiptField::Erased(digest);
    let commitment = receipt.entry.body.commitment();
    [EntryBody::Partial(some), EntryBody::Erased(commitment)].map(|body| {
        receipt.entry.body = body;
        receipt.to_json().unwrap()
    })
}

/// The second verifier, which shares no code with the first, asks the same chain.
async fn second(stack: &Stack, path: &Path) -> Outcome {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/verifier/run.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(path).arg("--policy").arg(stack.data().join("verifier.json"));
    run(&mut node).await
}

#[tokio::test]
async fn two_verifiers_agree_on_what_the_chain_says() {
    let stack = stack().await;
    let mut receipts = vec![receipt(&stack, "--tenant acme --seq 2").await];
    for n in 5..7 {
        stack.append(&records("acme", n..n + 1)).await;
        stack.anchor().await;
    }
    receipts.push(receipt(&stack, "--tenant acme --seq 5 --disclose actor").await);
    receipts.extend(erased(&receipts[0]));
    let valid = receipts.len();
    let good: Value = serde_json::from_str(&receipts[0]).unwrap();
    let hash = format!("0x{}", "1".repeat(64));
    for (pointer, value) in [
        ("/anchor/transaction", json!(hash)),
        ("/anchor/logIndex", json!("77")),
        ("/anchor/blockHash", json!(hash)),
        ("/batch/anchoredAt", json!("1")),
        ("/history/batches", json!("9")),
        ("/chainId", json!("1")),
        ("/entry/seed", json!(hash)),
        ("/state", json!("pending")),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        receipts.push(changed.to_string());
    }
    for (n, text) in receipts.iter().enumerate() {
        let path = stack.file("receipt.json", text);
        let first = run(&mut verify(&stack, &path)).await;
        let second = second(&stack, &path).await.exits(first.code.unwrap()).json();
        let first = first.json();
        assert_eq!(second["valid"], first["valid"], "{n}: {second} {first}");
        assert_eq!(second["entryHash"], first["entryHash"], "{n}: {second} {first}");
        if n < valid {
            assert_eq!((&first["valid"], &second["level"]), (&json!(true), &json!(3)));
        } else {
            assert_eq!(second["check"], first["check"], "{n}: {second} {first}");
        }
    }
}

#[tokio::test]
async fn a_bundle_is_complete_or_is_refused() {
    let stack = stack().await;
    for n in 5..8 {
        stack.append(&records("acme", n..n + 1)).await;
        stack.anchor().await;
    }
    let path = stack.dir().join("acme.bundle");
    let export = |options: &str| {
        let mut export = stack.cofferdam("bundle --tenant acme --json --out");
        export.arg(&path).args(options.split(' '));
        export
    };
    // Nothing is final yet.
    run(&mut export("--block finalized")).await.fails_saying(1, &["no batch at block"]);
    let made = run(&mut export("--block latest")).await.exits(0).json();
    assert_eq!(
        (&made["entries"], &made["firstBatch"], &made["lastBatch"]),
        (&json!(8), &json!("0"), &json!("3"))
    );
    bundle_keeps_schema(&path);
    let found = run(&mut verify(&stack, &path)).await.exits(0).json();
    assert_eq!(
        (&found["level"], &found["complete"], &found["toTheEnd"]),
        (&json!(3), &json!(true), &json!(true))
    );
    assert_eq!((&found["entries"], &found["historyRoot"]), (&json!(8), &made["historyRoot"]));

    // With the block's hash, nobody needs to be asked.
    let mut offline = program();
    let chain = stack.chain().await;
    offline.args(["verify", "--json", "--chain-id", "31337", "--contract"]);
    offline.arg(chain.contract().to_string()).args(["--code-hash", &chain.code_hash().to_string()]);
    offline.args(["--block-hash", made["blockHash"].as_str().unwrap()]).arg(&path);
    assert_eq!(run(&mut offline).await.exits(0).json()["level"], 2);

    // It stays true as the chain goes on, and a range of it is as good.
    stack.append(&records("acme", 8..9)).await;
    stack.anchor().await;
    run(&mut verify(&stack, &path)).await.exits(0);
    let range = "--first-batch 1 --last-batch 2 --withhold payload --block latest";
    run(&mut export(range)).await.exits(0);
    bundle_keeps_schema(&path);
    let found = run(&mut verify(&stack, &path)).await.exits(0).json();
    assert_eq!(
        (&found["entries"], &found["firstSeq"], &found["lastSeq"]),
        (&json!(2), &json!("5"), &json!("6"))
    );
    assert_eq!(found["toTheEnd"], false);
    run(&mut export("--first-batch 5 --block latest")).await.fails_saying(1, &["batches 0 to 4"]);

    // Once a block is final, it is what a bundle is proven at, and what the endpoint confirms is for good.
    let mined: Value = chain.provider().raw_request("anvil_mine".into(), (80,)).await.unwrap();
    assert_eq!(mined, json!(null));
    run(&mut export("--block finalized")).await.exits(0);
    let found = run(&mut verify(&stack, &path)).await.exits(0).json();
    assert_eq!((&found["level"], &found["toTheEnd"]), (&json!(4), &json!(true)), "{found}");
    assert_eq!((&found["entries"], &found["lastBatch"]), (&json!(9), &json!("4")));

    // What was tampered with is not written, and leaves nothing behind.
    let written = fs::read(&path).unwrap();
    stack.json("devnet tamper --tenant acme --seq 6").await;
    run(&mut export("--block latest")).await.fails_saying(1, &["not what was anchored"]);
    assert_eq!(fs::read(&path).unwrap(), written);
    let names = fs::read_dir(stack.dir()).unwrap().map(|it| it.unwrap().file_name());
    let left: Vec<_> = names.filter(|it| it.to_string_lossy().contains("acme.bundle")).collect();
    assert_eq!(left, ["acme.bundle"]);
    let cut = stack.file("cut.bundle", &written[..written.len() - 9]);
    run(&mut verify(&stack, &cut)).await.exits(1);
}
