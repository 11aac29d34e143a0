//! Hostile input: the golden files as a corpus, changed in every way that comes to mind. Nothing may
//! panic, take long, or be accepted that says something else.
//!
//! `PROPTEST_CASES` and `--release` make a long run of it.

use crate::{
    golden::{anvil_policy, files},
    sample::{self, SMALL, Step, way, whole},
};
use alloy_primitives::keccak256;
use cofferdam_core::{
    Address, B256, BlockHeader, Bytes, Finality, Policy, ProofBlock, Receipt, SlotProof, TrieError,
    value_at,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::sync::LazyLock;

/// The corpus: the golden files' text.
static TEXTS: LazyLock<Vec<String>> =
    LazyLock::new(|| files().into_iter().map(|(_, text)| text).collect());

/// The proofs in them, each with its contract.
static PROOFS: LazyLock<Vec<(Address, ProofBlock)>> = LazyLock::new(|| {
    let receipts = TEXTS.iter().map(|text| Receipt::from_json(text.as_bytes()).unwrap());
    receipts.filter_map(|it| Some((it.contract, it.inclusion?.finality.proof()?.clone()))).collect()
});

/// One change to a text, at a place of the generator's choice.
#[derive(Clone, Debug)]
enum Edit {
    Flip(u8),
    Insert(&'static str),
    Cut(usize),
    Repeat(usize),
    Swap(Index, usize),
}

/// What a careless parser trips over.
const TOKENS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "1e400",
    "18446744073709551616",
    "\"0x\"",
    "\"0X00\"",
    "\"0x0\"",
    "{}",
    "[]",
    "[[[[",
    "}",
    "]",
    ",",
    ":",
    "\"",
    "\\ud800",
    "\\u0000",
    "\u{feff}",
    "\"seed\":\"0x\",",
    "\"erased\":[],",
    "\"version\":1,",
    "\"lacks\":[],",
    "0",
];

fn edits() -> impl Strategy<Value = (Index, Edit)> {
    let edit = prop_oneof![
        (1..=255u8).prop_map(Edit::Flip),
        proptest::sample::select(&TOKENS[..]).prop_map(Edit::Insert),
        (1..200usize).prop_map(Edit::Cut),
        (1..200usize).prop_map(Edit::Repeat),
        (any::<Index>(), 1..80usize).prop_map(|(with, length)| Edit::Swap(with, length)),
    ];
    (any::<Index>(), edit)
}

fn edited(bytes: &mut Vec<u8>, at: usize, edit: &Edit) {
    let end = |length: &usize| (at + length).min(bytes.len());
    match edit {
        Edit::Flip(mask) => bytes[at] ^= mask,
        Edit::Insert(token) => drop(bytes.splice(at..at, token.bytes())),
        Edit::Cut(length) => drop(bytes.drain(at..end(length))),
        Edit::Repeat(length) => {
            let again = bytes[at..end(length)].to_vec();
            bytes.splice(at..at, again);
        }
        Edit::Swap(with, length) => {
            let from = with.index(bytes.len());
            let other = bytes[from..(from + length).min(bytes.len())].to_vec();
            let end = end(&other.len());
            bytes.splice(at..end, other);
        }
    }
}

/// What a receipt says that its verification does not check.
fn normalised(mut receipt: Receipt, like: &Receipt) -> Receipt {
    let (Some(it), Some(like)) = (&mut receipt.inclusion, &like.inclusion) else { return receipt };
    it.anchor = like.anchor;
    receipt
}

proptest! {
    /// Whatever is done to the text of a proven receipt: refused, or it says the same.
    #[test]
    fn an_edited_receipt_is_refused_or_says_the_same(
        file in any::<Index>(),
        edits in vec(edits(), 1..4),
    ) {
        let text = file.get(&TEXTS);
        let mut bytes = text.clone().into_bytes();
        for (at, edit) in &edits {
            let at = at.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            if !bytes.is_empty() {
                edited(&mut bytes, at, edit);
            }
        }
        let original = Receipt::from_json(text.as_bytes()).unwrap();
        if let Ok(read) = Receipt::from_json(&bytes) {
            // What can be read can be written and read again.
            let again = read.to_json().unwrap();
            let again = Receipt::from_json(again.as_bytes());
            prop_assert_eq!(again.as_ref(), Ok(&read));
            let _ = read.check();
            for policy in [anvil_policy(), sample::proven(SMALL, whole).1] {
                if read.prove(&policy).is_ok() {
                    prop_assert_eq!(normalised(read.clone(), &original), original.clone());
                }
            }
        }
    }

    #[test]
    fn arbitrary_headers_do_not_panic(
        raw in vec(any::<u8>(), 0..700),
        file in any::<Index>(),
        edits in vec(edits(), 0..4),
    ) {
        let _ = BlockHeader::decode(&raw);
        let mut header = file.get(&PROOFS).1.header.to_vec();
        for (at, edit) in &edits {
            if !header.is_empty() {
                let at = at.index(header.len());
                edited(&mut header, at, edit);
            }
        }
        if let Ok(read) = BlockHeader::decode(&header) {
            prop_assert_eq!(read.hash, keccak256(&header));
        }
    }

    /// A whole trie, golden or of the adversary's own making, whose hashes all fit: keys too long for any
    /// trie, branches under leaves, nodes within nodes.
    #[test]
    fn arbitrary_tries_do_not_panic(
        (key, mut proof) in prop_oneof![made(), any::<Index>().prop_map(golden)],
        at in any::<Index>(),
        edits in vec(edits(), 0..3),
        asked in prop::option::of(any::<[u8; 32]>()),
    ) {
        // Edited from the leaf up, with every hash above it made to fit.
        let at = at.index(proof.len());
        let mut node = proof[at].to_vec();
        let before = keccak256(&node);
        for (place, edit) in &edits {
            if !node.is_empty() {
                let place = place.index(node.len());
                edited(&mut node, place, edit);
            }
        }
        let mut hash = (before, keccak256(&node));
        proof[at] = node.into();
        for above in proof[..at].iter_mut().rev() {
            let was = keccak256(&*above);
            let text = above.to_vec();
            let mut fitted = text.clone();
            if let Some(place) = text.windows(32).position(|window| window == hash.0) {
                fitted[place..place + 32].copy_from_slice(hash.1.as_slice());
            }
            *above = fitted.into();
            hash = (was, keccak256(&*above));
        }
        let _ = value_at(keccak256(&proof[0]), asked.map_or(key, B256::from), &proof);
    }
}

/// A way to some value, of the adversary's own making.
fn made() -> impl Strategy<Value = (B256, Vec<Bytes>)> {
    let step =
        prop_oneof![(1..=16u8).prop_map(Step::Branch), (1..20usize).prop_map(Step::Extension),];
    (any::<[u8; 32]>(), vec(any::<u8>(), 0..60), vec(step, 0..8)).prop_filter_map(
        "no key has more nibbles",
        |(key, value, steps)| {
            let nibbles = |step: &Step| match step {
                Step::Branch(_) => 1,
                Step::Extension(nibbles) => *nibbles,
            };
            if steps.iter().map(nibbles).sum::<usize>() > 64 {
                return None;
            }
            let (root, proof) = way(key.into(), value.clone(), &steps, 0);
            let whole = value_at(keccak256(&proof[0]), key.into(), &proof);
            let held = proof.iter().any(|node| node.len() < 32);
            assert!(whole == Ok(value) || (held && whole.is_err()), "{whole:?} {root:?}");
            Some((key.into(), proof))
        },
    )
}

/// The way to an account or a word, as it stands in a golden file.
fn golden(which: Index) -> (B256, Vec<Bytes>) {
    let ways = PROOFS.iter().flat_map(|(contract, it)| {
        let word = |slot: &SlotProof| (keccak256(slot.slot), slot.proof.clone());
        let account = (keccak256(contract), it.account_proof.clone());
        [account, word(&it.head), word(&it.peak)]
    });
    let (key, proof) = which.get(&ways.collect::<Vec<_>>()).clone();
    assert!(value_at(keccak256(&proof[0]), key, &proof).is_ok());
    (key, proof)
}

/// alloy_trie's own verifier panics here.
#[test]
fn keys_longer_than_a_trie_are_refused() {
    let key = keccak256("key");
    let (leaf, mut below) = way(key, vec![7; 40], &[], 0);
    let branch = {
        let mut items = vec![0x80u8; 17];
        items.splice(usize::from(key[0] >> 4)..=usize::from(key[0] >> 4), leaf.iter().copied());
        sample::list(&items)
    };
    let root = keccak256(&branch);
    below.insert(0, branch);
    // A leaf of 64 nibbles below a branch: 65 in all.
    assert_eq!(value_at(root, key, &below), Err(TrieError::Absent { node: 1 }));
    assert_eq!(value_at(root, key, &[]), Err(TrieError::Ends { nodes: 0 }));
    let empty = Bytes::from_static(&[0x80]);
    let absent = value_at(keccak256(&empty), key, std::slice::from_ref(&empty));
    assert_eq!(absent, Err(TrieError::Link { node: 0 }));
    let text = Bytes::from(vec![0xb8; 40]);
    let malformed = value_at(keccak256(&text), key, std::slice::from_ref(&text));
    assert!(matches!(malformed, Err(TrieError::Malformed { node: 0, .. })), "{malformed:?}");
}

/// A receipt with somebody else's proof block is not proven by it.
#[test]
fn proofs_do_not_travel() {
    let files = files();
    let (_, text) = files.iter().find(|(name, _)| name == "final-anvil").unwrap();
    let theirs = Receipt::from_json(text.as_bytes()).unwrap();
    let (mut ours, policy) = sample::proven(SMALL, whole);
    let proof = theirs.inclusion.as_ref().unwrap().finality.proof().unwrap().clone();
    ours.inclusion.as_mut().unwrap().finality = Finality::Final(Some(Box::new(proof)));
    assert!(ours.prove(&policy).is_err());
    let both = Policy { block_hashes: anvil_policy().block_hashes, ..policy };
    assert!(ours.prove(&both).is_err());
}
