//! The second verifier, in `tests/verifier`, which shares no code with this crate: both must judge every file
//! alike, and 10,000 that were changed.

use crate::{
    golden::{anvil_policy, files},
    sample::{self, SMALL, Shape, erased, partial, whole},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use cofferdam_core::{Policy, ProofError, Receipt, ReceiptError};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

/// How many are changed.
const CHANGED: usize = 10_000;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What the first verifier says, in the second one's words.
fn judged(bytes: &[u8], policy: &Policy) -> Value {
    let refused = |check: &str| json!({ "valid": false, "check": check });
    let Ok(receipt) = Receipt::from_json(bytes) else { return refused("format") };
    match receipt.check() {
        Ok(_) => {}
        Err(ReceiptError::Pending) => return json!({ "valid": null }),
        Err(_) => return refused("self-consistency"),
    }
    match receipt.prove(policy) {
        Ok(proven) => {
            json!({ "valid": true, "level": 2, "entryHash": proven.checked.entry_hash })
        }
        Err(error) if error.is_undecided() => json!({ "valid": null }),
        Err(ProofError::Chain { .. }) => refused("chain"),
        Err(ProofError::Contract { .. }) => refused("contract"),
        Err(ProofError::CodeHash { .. }) => refused("codeHash"),
        Err(_) => refused("proof"),
    }
}

/// All places in a JSON value.
fn places(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, it)| places(it, format!("{at}/{name}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, it)| places(it, format!("{at}/{n}"), all));
        }
        _ => {}
    }
    all.push(at);
}

/// Changes what the text means: a value for another's, another form of it, a member more or less.
fn rewritten(text: &str, other: &str, numbers: &mut Numbers) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    let other: Value = serde_json::from_str(other).unwrap();
    let (mut own, mut theirs) = (vec![], vec![]);
    places(&value, String::new(), &mut own);
    places(&other, String::new(), &mut theirs);
    let at = numbers.of(&own).clone();
    let same = other.pointer(&at).cloned();
    let another = value.pointer(numbers.of::<String>(&own)).cloned().unwrap();
    let kind = numbers.below(10);
    let target = value.pointer_mut(&at).unwrap();
    match (kind, &mut *target) {
        (0 | 1, _) if same.is_some() => *target = same.unwrap(),
        (2, _) => *target = another,
        (3, _) => *target = other.pointer(numbers.of::<String>(&theirs)).cloned().unwrap(),
        (4, Value::Object(members)) => {
            let values = members.values().cloned().collect();
            *target = Value::Array(values);
        }
        (5, Value::Object(members)) => {
            let name = members.keys().nth(numbers.below(members.len())).cloned();
            drop(name.and_then(|name| members.remove(&name)));
        }
        (6, Value::Object(members)) => drop(members.insert("more".into(), json!(1))),
        (4..=6, Value::Array(items)) => {
            let item = items.first().cloned().unwrap_or(json!("0x"));
            if kind == 4 { items.push(item) } else { drop(items.pop()) }
        }
        (_, Value::String(text)) => {
            let number: Option<u64> = text.parse().ok();
            *text = match (kind, number) {
                (7, Some(number)) => number.wrapping_add(1).to_string(),
                (8, Some(number)) => number.wrapping_sub(1).to_string(),
                (9, Some(_)) => u64::MAX.to_string(),
                (7, None) => text.to_uppercase(),
                (8, None) => text.chars().rev().collect(),
                _ => {
                    let place = numbers.below(text.chars().count());
                    let digit = *numbers.of(&['0', '1', '7', 'a', 'f', 'é', '\u{0}']);
                    let chars = text.chars().enumerate();
                    chars.map(|(at, it)| if at == place { digit } else { it }).collect()
                }
            };
        }
        (_, target) => {
            let forms = [json!(null), json!(true), json!(1), json!("0"), json!([]), json!({})];
            *target = numbers.of(&forms).clone();
        }
    }
    if numbers.below(2) == 0 { value.to_string() } else { format!("{value:#}") }
}

const TOKENS: [&str; 20] = [
    "null",
    "-1",
    "1e400",
    "1.0",
    "-0",
    "18446744073709551616",
    "\"0x0\"",
    "{}",
    "[]",
    "}",
    ",",
    ":",
    "\"",
    "\\ud800",
    "\\ud83d\\udc4d",
    "\\u0000",
    "\u{feff}",
    "\u{a0}",
    "\"version\":1,",
    "0",
];

/// Changes the text itself.
fn edited(text: &str, numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=numbers.below(2) {
        let at = numbers.below(bytes.len());
        let end = (at + 1 + numbers.below(80)).min(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => drop(bytes.splice(at..at, numbers.of(&TOKENS).bytes())),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at + 1),
            _ => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn two_verifiers_agree() {
    let mut good: Vec<(String, Policy)> = vec![];
    let (_, own) = sample::proven(SMALL, whole);
    for (name, text) in files() {
        let policy = if name == "final-anvil" { anvil_policy() } else { own.clone() };
        good.push((text, policy));
    }
    for (first_seq, count, batch, batches) in [(0, 1, 0, 1), (5, 9, 6, 7), (100, 33, 64, 70)] {
        let shape = Shape { first_seq, count, position: count - 1, batch, batches, more: 1 };
        for body in [whole, partial, erased] {
            let (receipt, policy) = sample::proven(shape, body);
            good.push((receipt.to_json().unwrap(), policy));
        }
    }
    let mut numbers = Numbers(0x5eed_cafe_f00d_1234);
    let mut cases: Vec<_> =
        good.iter().map(|(text, policy)| (text.clone().into_bytes(), policy.clone())).collect();
    for n in 0..CHANGED {
        let (text, policy) = numbers.of(&good).clone();
        let other = numbers.of(&good).0.clone();
        let changed = match n % 2 {
            0 => rewritten(&text, &other, &mut numbers).into_bytes(),
            _ => edited(&text, &mut numbers),
        };
        cases.push((changed, policy));
    }

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/verifier/run.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg("--lines")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js runs the second verifier");
    let mut stdin = node.stdin.take().unwrap();
    let answers = BufReader::new(node.stdout.take().unwrap()).lines();
    let requests: Vec<_> = cases
        .iter()
        .map(|(bytes, policy)| {
            let Policy { chain_id, contract, code_hash, block_hashes } = policy;
            let policy = json!({
                "chainId": chain_id, "contract": contract, "codeHash": code_hash,
                "blockHashes": block_hashes,
            });
            json!({ "receipt": BASE64_STANDARD.encode(bytes), "policy": policy }).to_string()
        })
        .collect();
    let writer =
        thread::spawn(move || requests.iter().try_for_each(|request| writeln!(stdin, "{request}")));
    let (mut seen, mut count, mut differ) = (BTreeMap::<String, usize>::new(), 0, vec![]);
    for (answer, (bytes, policy)) in answers.zip(&cases) {
        let mut answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        let reason = answer.as_object_mut().unwrap().remove("reason");
        let own = judged(bytes, policy);
        if answer != own {
            let text = String::from_utf8_lossy(bytes);
            differ.push(format!("first: {own}\nsecond: {answer} {reason:?}\n{text}"));
        }
        let check = own["check"].as_str().unwrap_or("none");
        *seen.entry(format!("{} {check}", own["valid"])).or_default() += 1;
        count += 1;
    }
    writer.join().unwrap().unwrap();
    assert!(node.wait().unwrap().success());
    assert_eq!(count, cases.len());
    let shown = &differ[..differ.len().min(5)];
    assert!(differ.is_empty(), "{} judged differently:\n{}", differ.len(), shown.join("\n\n"));
    println!("{count} judged alike: {seen:?}");
    // The changes must reach every stage, or this shows little.
    for stage in ["true none", "null none", "false format", "false self-consistency", "false proof"]
    {
        assert!(seen.get(stage).is_some_and(|it| *it > 50), "{stage}: {seen:?}");
    }
}
