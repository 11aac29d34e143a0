//! What an auditor does with many files, with several endpoints, and with no file at all.

use std::{fs, path::Path};

use cofferdam_devnet::{Anvil, AnvilOptions, Toolchain};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    receipts::stack,
    support::{Stack, program, records, run},
};

async fn receipt(stack: &Stack, options: &str) -> String {
    run(&mut stack.cofferdam(&format!("receipt {options}"))).await.exits(0).stdout
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
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("verdict invalid") && html.contains("&lt;b&gt;.json"), "{html}");
    assert!(!html.contains("<b>") && !html.contains(evil), "{html}");
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
    let code = {
        use alloy::providers::Provider;
        chain.provider().get_code_at(chain.contract()).await.unwrap()
    };
    let elsewhere = {
        use alloy::providers::{Provider, RootProvider};
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
}
