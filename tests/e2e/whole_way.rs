//! From audit records to entries that the contract itself confirms, and nothing else that it does.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    attack,
    support::{self, Snapshot, Stack, cloudtrail, program, random, run, scratch},
};

/// The counts that a run reports, by name.
fn counts<const N: usize>(report: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| report[name].as_u64().unwrap_or_else(|| panic!("no {name} in {report}")))
}

const TOTALS: [&str; 8] =
    ["tenants", "entries", "batches", "anchored", "mirrored", "verified", "failed", "transactions"];

#[tokio::test]
async fn real_records_are_anchored_and_nothing_but_them_is_confirmed() {
    let Some(folder) = cloudtrail() else { return };
    let stack = Stack::start().await;

    let report = run(stack.devnet().arg(&folder)).await.exits(0).json();
    assert_eq!(counts(&report, TOTALS), [35, 310, 35, 35, 35, 310, 0, 1]);
    assert_eq!(counts(&report, ["appended", "repeated"]), [310, 0]);

    // Again: nothing new, and it says so.
    let first = stack.snapshot().await;
    let again = run(stack.devnet().arg(&folder)).await.exits(0);
    assert_eq!(counts(&again.json(), TOTALS), counts(&report, TOTALS));
    assert_eq!(counts(&again.json(), ["appended", "repeated"]), [0, 310]);
    assert!(again.stderr.contains("nothing new"), "{}", again.stderr);
    let second = stack.snapshot().await;
    assert_eq!(first.tenants, second.tenants);
    assert_eq!(first.heads, second.heads);

    verbatim(&folder, &second);
    let asked = attack::every_entry(&stack, &mut random("real records")).await;
    assert_eq!(asked.true_claims, 310);
}

/// Every record of the files is an entry of its own tenant, with its own text as payload.
fn verbatim(folder: &Path, snapshot: &Snapshot) {
    let mut expected = BTreeMap::new();
    let mut texts = vec![];
    for file in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let records = value.as_array().or_else(|| value["Records"].as_array()).unwrap().clone();
        for record in records {
            let [tenant, id] = ["recipientAccountId", "eventID"]
                .map(|name| record[name].as_str().unwrap_or_else(|| panic!("{name}")).to_owned());
            assert!(expected.insert((tenant, id), texts.len()).is_none());
        }
        texts.push(text);
    }
    assert_eq!(expected.len(), 310);
    for head in &snapshot.heads {
        for entry in &snapshot.tenants[&head.tenant].entries {
            let field = |name: &str| entry.fields.get(name.parse().unwrap());
            let key = (head.name.clone(), field("external_id").to_owned());
            let file = expected.remove(&key).unwrap_or_else(|| panic!("{key:?} is in no file"));
            assert!(texts[file].contains(field("payload")), "{key:?} was reformatted");
            assert!(field("payload").contains(&key.1), "{key:?} has another record's payload");
        }
    }
    assert!(expected.is_empty(), "never appended: {expected:?}");
}

#[tokio::test]
async fn every_entry_of_long_histories_is_confirmed_and_nothing_else() {
    let stack = Stack::start().await;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample");
    let report = run(stack.devnet().args(["--seal-entries", "2"]).arg(sample)).await.exits(0);
    let [tenants, batches] = counts(&report.json(), ["tenants", "batches"]);
    assert!(batches > 2 * tenants, "histories too short to have paths");
    attack::every_entry(&stack, &mut random("long histories")).await;
}

#[tokio::test]
async fn without_a_path_the_sample_goes_the_whole_way_and_is_kept() {
    let dir = scratch();
    let devnet = |flags: &[&str]| {
        let mut command = program();
        command.args(["devnet", "--once", "--anvil-port", "0", "--data-dir"]);
        command.arg(dir.path()).args(flags);
        command
    };
    let first = run(&mut devnet(&["--json"])).await.exits(0).json();
    let [tenants, entries, _, anchored, mirrored, verified, failed, _] = counts(&first, TOTALS);
    assert!(tenants > 1 && entries > tenants, "{first}");
    assert_eq!([anchored, mirrored], [counts(&first, ["batches"])[0]; 2]);
    assert_eq!([verified, failed], [entries, 0]);
    assert_eq!(counts(&first, ["appended", "repeated"]), [entries, 0]);

    // The chain, the database and the keys were kept.
    let second = run(&mut devnet(&["--json"])).await.exits(0).json();
    assert_eq!(counts(&second, TOTALS), counts(&first, TOTALS));
    assert_eq!(counts(&second, ["appended", "repeated"]), [0, entries]);

    let third = run(&mut devnet(&[])).await.exits(0).stdout;
    let said = ["nothing new", "verified by the contract's own view"];
    assert!(said.iter().all(|part| third.contains(part)), "{third}");
    let environment = support::environment(dir.path());
    for url in ["RPC_URL", "DATABASE_URL"] {
        assert!(!support::listens(&environment[url]), "{url} still answers");
    }
}
