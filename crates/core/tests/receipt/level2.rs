//! What a receipt proves under the hash of a block, and what it does not.

use crate::sample::{
    self, ANCHORED_AT, ANCHORED_IN, SMALL, Shape, erased, header_at, list, partial, whole,
};
use alloy_primitives::{U256, keccak256};
use cofferdam_core::{
    Address, B256, BlockHeader, Bytes, Finality, HeaderError, Policy, ProofBlock, ProofError,
    Receipt, TrieError, Word, value_at,
};
use proptest::{prelude::*, sample::Index};

fn sample() -> (Receipt, Policy) {
    sample::proven(SMALL, whole)
}

fn proof_mut(receipt: &mut Receipt) -> &mut ProofBlock {
    match &mut receipt.inclusion.as_mut().unwrap().finality {
        Finality::Final(Some(proof)) => proof,
        _ => panic!("no proof"),
    }
}

/// The sample after a change, under a policy that knows the block whatever became of it.
fn after(change: impl FnOnce(&mut Receipt, &mut Policy)) -> ProofError {
    let (mut receipt, mut policy) = sample();
    change(&mut receipt, &mut policy);
    receipt.prove(&policy).unwrap_err()
}

#[test]
fn a_pinned_block_proves_every_form() {
    for body in [whole, partial, erased] {
        let (receipt, policy) = sample::proven(SMALL, body);
        let json = receipt.to_json().unwrap();
        assert_eq!(Receipt::from_json(json.as_bytes()).as_ref(), Ok(&receipt));
        let proven = receipt.prove(&policy).unwrap();
        assert_eq!(proven.checked, receipt.check().unwrap());
        assert_eq!(
            (proven.block.number, proven.block.hash),
            (ANCHORED_IN + 40, policy.block_hashes[0])
        );
        assert_eq!((proven.head.batches, proven.head.entries), (5, 116));
        let proof = proof_mut(&mut receipt.clone()).clone();
        assert_eq!(
            [proof.account_proof.len(), proof.head.proof.len(), proof.peak.proof.len()],
            [8, 5, 5]
        );
    }
    // The last batch of a history, and the only one.
    for shape in [Shape { batch: 4, ..SMALL }, Shape { batch: 0, batches: 1, ..SMALL }] {
        let (receipt, policy) = sample::proven(shape, whole);
        assert_eq!(receipt.prove(&policy).unwrap().head.entries, 16);
    }
}

/// Nothing of what is trusted comes from the receipt.
#[test]
fn the_policy_decides_what_is_trusted() {
    let other = B256::repeat_byte(7);
    assert_eq!(
        after(|_, policy| policy.chain_id = 1),
        ProofError::Chain { found: 31337, trusted: 1 }
    );
    assert!(matches!(
        after(|_, policy| policy.contract = Address::ZERO),
        ProofError::Contract { .. }
    ));
    assert!(matches!(
        after(|_, policy| policy.code_hash = Some(other)),
        ProofError::CodeHash { .. }
    ));
    assert!(matches!(
        after(|_, policy| policy.block_hashes = vec![other]),
        ProofError::NotPinned(_)
    ));
    // A receipt that says what the policy says does not make it so.
    let error = after(|receipt, policy| {
        receipt.code_hash = other;
        policy.code_hash = Some(other);
    });
    assert!(matches!(error, ProofError::Code { trusted, .. } if trusted == other), "{error}");
    let error = after(|receipt, policy| {
        receipt.contract = Address::ZERO;
        policy.contract = Address::ZERO;
    });
    assert_eq!(error, ProofError::Account(TrieError::Link { node: 1 }));

    // Several blocks may be known, and without one, or without the code, nothing can be told.
    let (mut receipt, mut policy) = sample();
    policy.block_hashes.insert(0, other);
    receipt.prove(&policy).unwrap();
    for error in [
        after(|_, policy| policy.block_hashes.clear()),
        after(|_, policy| policy.code_hash = None),
        after(|receipt, _| receipt.inclusion.as_mut().unwrap().finality = Finality::Final(None)),
        after(|receipt, _| receipt.inclusion = None),
    ] {
        assert!(error.is_undecided(), "{error}");
    }
    receipt.chain_id += 1;
    assert!(!receipt.prove(&policy).unwrap_err().is_undecided());
}

#[test]
fn what_contradicts_the_proven_state_is_refused() {
    let (good, _) = sample();
    let stored = good.check().unwrap().peak_hash;
    let error = after(|receipt, _| receipt.inclusion.as_mut().unwrap().batch.anchored_at += 1);
    assert!(matches!(error, ProofError::Peak { stored: it, .. } if it == stored), "{error}");
    let error =
        after(|receipt, _| receipt.inclusion.as_mut().unwrap().history.path[1] = B256::ZERO);
    assert!(matches!(error, ProofError::Peak { .. }), "{error}");
    // A path that is as long at another size.
    let error = after(|receipt, _| receipt.inclusion.as_mut().unwrap().history.batches = 4);
    assert_eq!(error, ProofError::Batches { proven: 5, found: 4 });
    let error = after(|receipt, _| receipt.inclusion.as_mut().unwrap().anchor.block_number += 41);
    assert!(matches!(error, ProofError::Before { .. }), "{error}");
    let error = after(|receipt, _| receipt.inclusion.as_mut().unwrap().anchor.block_number += 40);
    assert!(
        matches!(error, ProofError::Anchor { number, .. } if number == ANCHORED_IN + 40),
        "{error}"
    );
    for word in [Word::Head, Word::Peak] {
        let change = |change: fn(&mut cofferdam_core::SlotProof)| {
            after(|receipt, _| {
                let proof = proof_mut(receipt);
                change(match word {
                    Word::Head => &mut proof.head,
                    Word::Peak => &mut proof.peak,
                });
            })
        };
        let error = change(|slot| slot.slot.0[31] ^= 1);
        assert!(matches!(error, ProofError::Slot { word: it, .. } if it == word), "{error}");
        let error = change(|slot| slot.value.0[31] ^= 1);
        assert!(matches!(error, ProofError::Value { word: it, .. } if it == word), "{error}");
        let error = change(|slot| drop(slot.proof.pop()));
        let reason = TrieError::Ends { nodes: 4 };
        assert_eq!(error, ProofError::Storage { word, reason });
        let error = change(|slot| slot.proof.clear());
        let reason = TrieError::Ends { nodes: 0 };
        assert_eq!(error, ProofError::Storage { word, reason });
        let error = change(|slot| slot.proof.insert(2, slot.proof[1].clone()));
        let reason = TrieError::Duplicate { node: 2 };
        assert_eq!(error, ProofError::Storage { word, reason });
        let error = change(|slot| slot.proof.push(slot.proof[4].clone()));
        let reason = TrieError::Duplicate { node: 5 };
        assert_eq!(error, ProofError::Storage { word, reason });
        let error = change(|slot| slot.proof.push(Bytes::from_static(&[0xc0])));
        let reason = TrieError::Surplus { node: 5 };
        assert_eq!(error, ProofError::Storage { word, reason });
        let error = change(|slot| slot.proof.swap(1, 2));
        let reason = TrieError::Link { node: 1 };
        assert_eq!(error, ProofError::Storage { word, reason });
    }
    // One word's proof in the place of the other's.
    let error = after(|receipt, _| {
        let proof = proof_mut(receipt);
        proof.peak.proof = proof.head.proof.clone();
    });
    let reason = TrieError::Link { node: 1 };
    assert_eq!(error, ProofError::Storage { word: Word::Peak, reason });
    let error = after(|receipt, _| drop(proof_mut(receipt).account_proof.remove(0)));
    assert_eq!(error, ProofError::Account(TrieError::Link { node: 0 }));
}

/// An entry whose batch ends elsewhere than the contract counts.
#[test]
fn the_entries_must_add_up() {
    let (mut receipt, mut policy) = sample::proven(Shape { batch: 4, ..SMALL }, whole);
    let peak = receipt.check().unwrap();
    for (entries, refused) in [(15u64, true), (16, false), (17, true)] {
        let head: U256 = U256::from(entries) << 200 | U256::from(5) << 160;
        let state = sample::State {
            code_hash: receipt.code_hash,
            words: vec![
                (cofferdam_core::storage::head_slot(receipt.tenant), head.into()),
                (
                    cofferdam_core::storage::peak_slot(peak.peak.height, receipt.tenant),
                    peak.peak_hash,
                ),
            ],
        };
        *proof_mut(&mut receipt) = state.prove(receipt.contract, &sample::header);
        policy.block_hashes = vec![keccak256(&proof_mut(&mut receipt).header)];
        let result = receipt.prove(&policy);
        let error = Err(ProofError::Entries { end: 16, entries });
        assert_eq!(result.map(|_| ()), if refused { error } else { Ok(()) });
    }
}

#[test]
fn headers_are_read_by_position() {
    let raw = header_at(B256::repeat_byte(3), 8, 11);
    let header = BlockHeader::decode(&raw).unwrap();
    let BlockHeader { hash, state_root, number, timestamp } = header;
    assert_eq!((state_root, number, timestamp), (B256::repeat_byte(3), 8, 11));
    assert_eq!(hash, keccak256(&raw));
    // As the first headers were, without a later fork's items; and with one that nobody knows yet.
    let items = items(&raw);
    let again = |items: &[Bytes]| BlockHeader::decode(&list(&items.concat()));
    assert_eq!(again(&items[..15]).map(|it| it.number), Ok(8));
    let more = [&items[..], &[list(&[1, 2, 3])]].concat();
    assert_eq!(again(&more).map(|it| it.timestamp), Ok(11));

    let at = |item: usize, with: &[u8]| {
        let mut items = items.clone();
        items[item] = Bytes::copy_from_slice(with);
        again(&items).unwrap_err()
    };
    for (error, item) in [
        (again(&items[..14]).unwrap_err(), 14),
        (again(&items[..3]).unwrap_err(), 3),
        (again(&[]).unwrap_err(), 0),
        (at(3, &alloy_rlp::encode([1u8; 31].as_slice())), 3),
        (at(3, &alloy_rlp::encode([1u8; 33].as_slice())), 3),
        (at(8, &[0]), 8),
        (at(8, &[0x82, 0, 1]), 8),
        (at(8, &alloy_rlp::encode([1u8; 9].as_slice())), 8),
        (at(11, &[0xc0]), 11),
        (at(12, &[0xc0]), 12),
    ] {
        assert!(
            matches!(error, HeaderError::Item { item: it, .. } if it == item),
            "{error} {item}"
        );
    }
    assert_eq!(BlockHeader::decode(&[&raw[..], &[0]].concat()), Err(HeaderError::Trailing(1)));
    for raw in [&[][..], &[0x80], &raw[..raw.len() - 1], &[0xff; 9]] {
        assert!(matches!(BlockHeader::decode(raw), Err(HeaderError::List(_))), "{raw:?}");
    }
    let error = after(|receipt, policy| {
        proof_mut(receipt).header = Bytes::from_static(&[0xc0]);
        policy.block_hashes = vec![keccak256([0xc0])];
    });
    assert!(matches!(error, ProofError::Header(HeaderError::Item { item: 0, .. })), "{error}");
    let error = after(|receipt, policy| {
        proof_mut(receipt).header = header_at(B256::ZERO, ANCHORED_IN + 1, ANCHORED_AT - 1);
        policy.block_hashes = vec![keccak256(&proof_mut(receipt).header)];
    });
    assert!(matches!(error, ProofError::Before { .. }), "{error}");
}

fn items(raw: &[u8]) -> Vec<Bytes> {
    let mut payload = alloy_rlp::Header::decode_bytes(&mut &raw[..], true).unwrap();
    let mut items = vec![];
    while !payload.is_empty() {
        let start = payload;
        let header = alloy_rlp::Header::decode(&mut payload).unwrap();
        payload = &payload[header.payload_length..];
        items.push(Bytes::copy_from_slice(&start[..start.len() - payload.len()]));
    }
    items
}

proptest! {
    /// Whatever byte of the proof or the header changes: refused, unless somebody vouches for the
    /// header so changed and what changed in it is not read.
    #[test]
    fn any_flipped_byte_of_the_proof_is_refused(
        part in 0..4usize,
        node in any::<Index>(),
        byte in any::<Index>(),
        flip in 1..=255u8,
    ) {
        let (mut receipt, policy) = sample();
        let proof = proof_mut(&mut receipt);
        let bytes = match part {
            0 => &mut proof.header,
            1 => node.get_mut(&mut proof.account_proof),
            2 => node.get_mut(&mut proof.head.proof),
            _ => node.get_mut(&mut proof.peak.proof),
        };
        let mut changed = bytes.to_vec();
        *byte.get_mut(&mut changed) ^= flip;
        *bytes = changed.into();
        let error = receipt.prove(&policy).unwrap_err();
        let named = match part {
            0 => matches!(error, ProofError::NotPinned(_)),
            1 => matches!(error, ProofError::Account(TrieError::Link { .. })),
            2 => matches!(error, ProofError::Storage { word: Word::Head, reason: TrieError::Link { .. } }),
            _ => matches!(error, ProofError::Storage { word: Word::Peak, reason: TrieError::Link { .. } }),
        };
        prop_assert!(named, "{}", error);
    }

    /// The walk finds what alloy_trie's own verifier proves, and nothing else.
    #[test]
    fn the_walk_agrees_with_alloy_trie(
        entries in proptest::collection::btree_map(any::<[u8; 2]>(), proptest::collection::vec(any::<u8>(), 32..40), 1..60),
        asked in any::<Index>(),
        other in any::<[u8; 2]>(),
    ) {
        use alloy_trie::{HashBuilder, Nibbles, proof::{ProofRetainer, verify_proof}};
        let hashed: std::collections::BTreeMap<_, _> =
            entries.iter().map(|(key, value)| (keccak256(key), value.clone())).collect();
        let present = *hashed.keys().nth(asked.index(hashed.len())).unwrap();
        for key in [present, keccak256(other)] {
            let retainer = ProofRetainer::new(vec![Nibbles::unpack(key)]);
            let mut builder = HashBuilder::default().with_proof_retainer(retainer);
            for (key, value) in &hashed {
                builder.add_leaf(Nibbles::unpack(key), value);
            }
            let root = builder.root();
            let nodes = builder.take_proof_nodes().into_nodes_sorted();
            let proof: Vec<Bytes> = nodes.into_iter().map(|(_, node)| node).collect();
            let stored = hashed.get(&key).cloned();
            prop_assert!(verify_proof(root, Nibbles::unpack(key), stored.clone(), &proof).is_ok());
            let found = value_at(root, key, &proof);
            match stored {
                Some(value) => prop_assert_eq!(found, Ok(value)),
                None => prop_assert!(matches!(found, Err(TrieError::Absent { .. })), "{:?}", found),
            }
        }
    }
}
