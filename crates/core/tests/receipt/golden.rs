//! The golden files in `tests/vectors/receipts`, and the schema that they and everything else keep.

use crate::sample::{self, SMALL, Shape, erased, partial, whole};
use cofferdam_core::{
    EntryBody, FieldName, Finality, Policy, ProofError, Receipt, ReceiptError, ReceiptField,
};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::{fs, path::Path};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The published schema.
pub(crate) fn schema() -> Validator {
    let text = fs::read_to_string(root().join("docs/receipt.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Every golden file by name, with its text.
pub(crate) fn files() -> Vec<(String, String)> {
    let folder = fs::read_dir(root().join("tests/vectors/receipts")).unwrap();
    let mut files: Vec<_> = folder
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// One of every form and state.
fn made() -> Vec<(&'static str, Receipt)> {
    let with = |body: fn(_, _) -> EntryBody, finality: Option<Finality>| {
        let mut receipt = sample::receipt(SMALL, body).0;
        match finality {
            None => receipt.inclusion = None,
            Some(finality) => receipt.inclusion.as_mut().unwrap().finality = finality,
        }
        receipt
    };
    let mut erased_field = with(partial, Some(Finality::Included));
    let EntryBody::Partial(fields) = &mut erased_field.entry.body else { panic!() };
    let actor = &mut fields[FieldName::Actor.position()];
    let ReceiptField::Withheld(digest) = *actor else { panic!() };
    *actor = ReceiptField::Erased(digest);
    vec![
        ("pending", with(whole, None)),
        ("included", with(whole, Some(Finality::Included))),
        ("included-partial", with(partial, Some(Finality::Included))),
        ("included-erased-field", erased_field),
        ("safe-erased", with(erased, Some(Finality::Safe))),
        ("final", with(whole, Some(Finality::Final(None)))),
        ("final-proven", sample::proven(SMALL, partial).0),
    ]
}

/// `COFFERDAM_WRITE_VECTORS=1` writes them afresh.
#[test]
fn what_is_made_is_what_is_golden() {
    let (made, files) = (made(), files());
    for (name, receipt) in &made {
        let text = receipt.to_json().unwrap() + "\n";
        if std::env::var_os("COFFERDAM_WRITE_VECTORS").is_some() {
            let path = root().join(format!("tests/vectors/receipts/{name}.json"));
            fs::write(path, &text).unwrap();
            continue;
        }
        let golden = files.iter().find(|(file, _)| file == name);
        assert_eq!(golden.map(|(_, text)| text), Some(&text), "{name}");
    }
}

#[test]
fn every_golden_file_keeps_the_schema_and_is_read_as_written() {
    let (schema, files) = (schema(), files());
    assert!(files.len() >= made().len(), "{files:?}");
    for (name, text) in files {
        let value = serde_json::from_str(&text).unwrap();
        if let Err(error) = schema.validate(&value) {
            panic!("{name}: {} at {}", error, error.instance_path());
        }
        let receipt = Receipt::from_json(text.as_bytes()).unwrap();
        assert_eq!(receipt.to_json().unwrap() + "\n", text, "{name}");
        match receipt.check() {
            Ok(_) => assert_ne!(name, "pending"),
            Err(error) => assert_eq!((&*name, error), ("pending", ReceiptError::Pending)),
        }
    }
}

/// The policy that `final-anvil` is verified under, as `cofferdam verify --policy` reads it.
pub(crate) fn anvil_policy() -> Policy {
    let text = fs::read_to_string(root().join("tests/vectors/receipt_policy.json")).unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    let hash = |value: &Value| value.as_str().unwrap().parse().unwrap();
    Policy {
        chain_id: policy["chainId"].as_u64().unwrap(),
        contract: policy["contract"].as_str().unwrap().parse().unwrap(),
        code_hash: Some(hash(&policy["codeHash"])),
        block_hashes: policy["blockHashes"].as_array().unwrap().iter().map(hash).collect(),
    }
}

/// A contract on a real chain, as its node tells it.
#[test]
fn a_receipt_from_anvil_is_proven() {
    let (_, text) = files().into_iter().find(|(name, _)| name == "final-anvil").unwrap();
    let receipt = Receipt::from_json(text.as_bytes()).unwrap();
    let mut policy = anvil_policy();
    let proven = receipt.prove(&policy).unwrap();
    let inclusion = receipt.inclusion.as_ref().unwrap();
    assert_eq!(proven.head.batches, inclusion.history.batches);
    assert!(proven.block.number > inclusion.anchor.block_number);
    policy.block_hashes[0].0[31] ^= 1;
    let error = receipt.prove(&policy).unwrap_err();
    assert_eq!(error, ProofError::NotPinned(proven.block.hash));
}

/// What the schema can say, it says as the reader does.
#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    let schema = schema();
    let hash = json!(format!("0x{}", "77".repeat(32)));
    let (_, pending) = made().swap_remove(0);
    let pending = serde_json::to_value(pending).unwrap();
    let proven = serde_json::to_value(sample::proven(SMALL, partial).0).unwrap();
    let whole = serde_json::to_value(sample::proven(SMALL, whole).0).unwrap();
    let node = whole.pointer("/proofBlock/head/proof/0").unwrap().clone();
    for (receipt, pointer, value) in [
        (&whole, "/format", json!("cofferdam-receipts")),
        (&whole, "/version", json!(2)),
        (&whole, "/state", json!("pending")),
        (&whole, "/state", json!("included")),
        (&pending, "/state", json!("final")),
        (&whole, "/lacks", json!(["proofBlock"])),
        (&pending, "/lacks", json!([])),
        (&pending, "/position", json!("2")),
        (&whole, "/extra", json!(1)),
        (&whole, "/entry/extra", json!(1)),
        (&whole, "/proofBlock/extra", json!(1)),
        (&whole, "/proofBlock/head/extra", json!(1)),
        (&whole, "/proofBlock/header", json!("0x1")),
        (&whole, "/proofBlock/accountProof/0", json!(format!("0x{}", "00".repeat(1025)))),
        (&whole, "/proofBlock/head/proof", json!(vec![node; 66])),
        (&whole, "/chainId", json!(31337)),
        (&whole, "/chainId", json!("031337")),
        (&whole, "/chainId", json!("-1")),
        (&whole, "/contract", hash.clone()),
        (&whole, "/tenantId", hash.clone()),
        (&whole, "/tenantId", json!(format!("0x{}", "0".repeat(64)))),
        (&whole, "/path/0", json!("0x77")),
        (&whole, "/path", json!(vec![&hash; 65])),
        (&whole, "/entry/commitment", hash.clone()),
        (&whole, "/entry/seed", json!(null)),
        (&whole, "/entry/erased", json!(["actor"])),
        (&whole, "/entry/fields/actor/salt", hash.clone()),
        (&whole, "/entry/fields/actor", json!({ "digest": &hash })),
        (&proven, "/entry/fields/actor/value", json!("x")),
        (&proven, "/entry/fields/actor", json!({})),
        (&proven, "/entry/fields/other", json!({ "digest": &hash })),
        (&proven, "/entry/seed", hash.clone()),
        (&proven, "/entry/erased", json!(["actor", "actor"])),
    ] {
        assert!(schema.is_valid(receipt), "{pointer}");
        let mut changed = receipt.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value.clone(),
            Value::Object(map) => drop(map.insert(key.to_owned(), value.clone())),
            _ => panic!("{pointer}"),
        }
        assert!(!schema.is_valid(&changed), "{pointer} = {value}");
        let read = Receipt::from_json(changed.to_string().as_bytes());
        assert!(read.is_err(), "{pointer} = {value}");
    }
}

/// What a receipt in a full batch takes, besides its payload.
#[test]
fn receipts_of_large_batches_stay_small() {
    let shape = Shape {
        first_seq: 1 << 20,
        count: 1 << 16,
        position: 40_503,
        batch: 700,
        batches: 1_000,
        more: 0,
    };
    let mut receipt = sample::proven(shape, whole).0;
    let size = receipt.to_json().unwrap().len();
    assert!(size <= 32 << 10, "with a proof {size} bytes");
    receipt.inclusion.as_mut().unwrap().finality = Finality::Included;
    let size = receipt.to_json().unwrap().len();
    assert!(size <= 8 << 10, "by itself {size} bytes");
}
