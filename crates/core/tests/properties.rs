//! No byte of what is proven can change and still be proven: the formats from field to peak, as the
//! contract checks them.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test

use cofferdam_core::{
    Address, B256, Batch, BatchCommitment, BatchIndex, BatchMerkle, BatchTree, EntryHash,
    FieldName, History, HistoryMerkle, HistoryTree, PathError, Salt, Seed, Seq, TenantId,
    commitment, entry_hash, field_digest, path_length, root_from_path, salt, verify_inclusion,
};
use proptest::{collection::vec, prelude::*, sample::Index};

/// All that a verifier is told, as raw bytes; only the history is known from elsewhere.
#[derive(Clone, Debug)]
struct Claim {
    tenant: [u8; 32],
    seq: [u8; 8],
    previous: [u8; 32],
    secrets: Secrets,
    values: [Vec<u8>; 10],
    batch_index: [u8; 8],
    first_seq: [u8; 8],
    count: [u8; 8],
    root: [u8; 32],
    anchored_at: [u8; 8],
    path: Vec<[u8; 32]>,
    history_path: Vec<[u8; 32]>,
}

#[derive(Clone, Debug)]
enum Secrets {
    Seed([u8; 32]),
    Salts(Box<[[u8; 32]; 10]>),
}

impl Claim {
    /// Checks what `AuditAnchor.verifyEntry` checks, and that the values are what was committed to.
    fn holds(&self, history: &History) -> bool {
        let Ok(tenant) = TenantId::try_from(B256::from(self.tenant)) else { return false };
        let number = u64::from_be_bytes;
        let digests = FieldName::ALL.map(|field| {
            let salt = match &self.secrets {
                Secrets::Seed(seed) => salt(&Seed::from(*seed), field),
                Secrets::Salts(salts) => Salt::from(salts[field.position()]),
            };
            field_digest(&salt, field, &self.values[field.position()])
        });
        let seq = Seq(number(self.seq));
        let leaf = entry_hash(tenant, seq, self.previous.into(), commitment(&digests));
        let batch = Batch {
            tenant,
            index: BatchIndex(number(self.batch_index)),
            first_seq: Seq(number(self.first_seq)),
            count: number(self.count),
            root: self.root.into(),
            anchored_at: number(self.anchored_at),
        };
        let Some(index) = batch.leaf_index(seq) else { return false };
        let nodes = |path: &[[u8; 32]]| path.iter().map(B256::from).collect::<Vec<_>>();
        let (path, root) = (nodes(&self.path), batch.root.into());
        verify_inclusion::<BatchTree>(leaf.into(), index, batch.count, &path, root).is_ok()
            && history.verify(batch.index, batch.commitment(), &nodes(&self.history_path)).is_ok()
    }

    /// Every member by name, empty ones left out.
    fn members(&mut self) -> Vec<(String, &mut [u8])> {
        let mut members: Vec<(String, &mut [u8])> = vec![
            ("tenant".into(), &mut self.tenant),
            ("seq".into(), &mut self.seq),
            ("previous".into(), &mut self.previous),
            ("batch index".into(), &mut self.batch_index),
            ("first seq".into(), &mut self.first_seq),
            ("count".into(), &mut self.count),
            ("root".into(), &mut self.root),
            ("anchored at".into(), &mut self.anchored_at),
        ];
        match &mut self.secrets {
            Secrets::Seed(seed) => members.push(("seed".into(), seed)),
            Secrets::Salts(salts) => {
                members.extend(salts.iter_mut().map(|salt| ("salt".into(), &mut salt[..])));
            }
        }
        let values = self.values.iter_mut().filter(|value| !value.is_empty());
        members.extend(values.map(|value| ("value".into(), &mut value[..])));
        members.extend(self.path.iter_mut().map(|node| ("path".into(), &mut node[..])));
        let nodes = self.history_path.iter_mut();
        members.extend(nodes.map(|node| ("history path".into(), &mut node[..])));
        members
    }
}

/// A true claim about some entry of some batch of some history, which may have grown since the
/// batch.
fn claims() -> impl Strategy<Value = (Claim, History)> {
    let values = || vec(any::<u8>(), 0..40);
    let entry = (any::<[u8; 32]>(), prop::array::uniform10(values()));
    let batches = (vec(any::<[u8; 32]>(), 0..20), vec(any::<[u8; 32]>(), 0..20));
    let place = (any::<Index>(), 0..1u64 << 55, any::<u64>(), any::<bool>());
    let tenant = any::<[u8; 20]>().prop_filter("zero is no tenant", |a| *a != [0; 20]);
    (tenant, vec(entry, 1..40), any::<[u8; 32]>(), batches, place).prop_map(
        |(authority, entries, before, (earlier, later), (index, first_seq, anchored_at, seed))| {
            let tenant = TenantId::from_authority(Address::from(authority)).unwrap();
            let mut hashes = vec![EntryHash::from(before)];
            for (seq, (seed, values)) in (first_seq..).zip(&entries) {
                let seed = Seed::from(*seed);
                let digests =
                    FieldName::ALL.map(|f| field_digest(&salt(&seed, f), f, &values[f.position()]));
                let previous = *hashes.last().unwrap();
                hashes.push(entry_hash(tenant, Seq(seq), previous, commitment(&digests)));
            }
            let tree = BatchMerkle::new(&hashes[1..]).unwrap();
            let batch = Batch {
                tenant,
                index: BatchIndex(earlier.len() as u64),
                first_seq: Seq(first_seq),
                count: entries.len() as u64,
                root: tree.root(),
                anchored_at,
            };
            let mut batches: Vec<_> = earlier.into_iter().map(BatchCommitment::from).collect();
            batches.push(batch.commitment());
            batches.extend(later.into_iter().map(BatchCommitment::from));
            let mut history = History::new();
            for batch in &batches {
                history.append(*batch).unwrap();
            }
            let history_path = HistoryMerkle::new(&batches).path_to_peak(batch.index).unwrap();

            let at = index.index(entries.len());
            let (entry_seed, values) = entries[at].clone();
            let secrets = if seed {
                Secrets::Seed(entry_seed)
            } else {
                let seed = Seed::from(entry_seed);
                Secrets::Salts(Box::new(FieldName::ALL.map(|field| *salt(&seed, field).as_bytes())))
            };
            let raw = |path: Vec<B256>| path.into_iter().map(|node| node.0).collect();
            let claim = Claim {
                tenant: tenant.as_b256().0,
                seq: (first_seq + at as u64).to_be_bytes(),
                previous: *hashes[at].as_bytes(),
                secrets,
                values,
                batch_index: batch.index.get().to_be_bytes(),
                first_seq: first_seq.to_be_bytes(),
                count: batch.count.to_be_bytes(),
                root: *batch.root.as_bytes(),
                anchored_at: anchored_at.to_be_bytes(),
                path: raw(tree.path(at as u64).unwrap()),
                history_path: raw(history_path),
            };
            (claim, history)
        },
    )
}

proptest! {
    #[test]
    fn any_flipped_byte_is_refused(
        (claim, history) in claims(),
        byte in any::<Index>(),
        flip in 1..=255u8,
    ) {
        prop_assert!(claim.holds(&history));
        // Every member in turn, at a place of the generator's choice.
        let mut claim = claim;
        for member in 0..claim.members().len() {
            let mut tampered = claim.clone();
            let (name, bytes) = tampered.members().swap_remove(member);
            bytes[byte.index(bytes.len())] ^= flip;
            prop_assert!(!tampered.holds(&history), "{name} flipped");
        }
    }

    #[test]
    fn any_other_place_is_refused((claim, history) in claims(), shift in 1..u64::MAX) {
        let moved = |bytes: [u8; 8]| u64::from_be_bytes(bytes).wrapping_add(shift).to_be_bytes();
        let together = Claim {
            seq: moved(claim.seq),
            first_seq: moved(claim.first_seq),
            ..claim.clone()
        };
        let tampered = [
            Claim { seq: moved(claim.seq), ..claim.clone() },
            Claim { first_seq: moved(claim.first_seq), ..claim.clone() },
            Claim { count: moved(claim.count), ..claim.clone() },
            Claim { batch_index: moved(claim.batch_index), ..claim.clone() },
            together,
        ];
        for tampered in tampered {
            prop_assert!(!tampered.holds(&history), "{tampered:?}");
        }
    }

    #[test]
    fn any_other_path_length_is_refused((claim, history) in claims(), node in any::<[u8; 32]>()) {
        let mut tampered = Vec::new();
        for edit in 0..8 {
            let mut claim = claim.clone();
            let path = if edit < 4 { &mut claim.path } else { &mut claim.history_path };
            match edit % 4 {
                0 => path.push(node),
                1 => path.insert(0, node),
                2 => path.extend(path.clone().last().copied().or(Some(node))),
                _ => {
                    if path.pop().is_none() {
                        continue;
                    }
                }
            }
            tampered.push(claim);
        }
        for tampered in tampered {
            prop_assert!(!tampered.holds(&history));
        }
    }

    /// Values cannot move between fields, nor bytes between name and value.
    #[test]
    fn fields_do_not_swap((claim, history) in claims(), a in 0..10usize, b in 0..10usize) {
        let mut swapped = claim.clone();
        swapped.values.swap(a, b);
        prop_assert_eq!(swapped.holds(&history), claim.values[a] == claim.values[b]);
        if let (Secrets::Salts(salts), true) = (&mut swapped.secrets, a != b) {
            salts.swap(a, b);
            prop_assert!(!swapped.holds(&history));
        }
    }

    /// The contract's way to a history root and rs_merkle's are the same.
    #[test]
    fn peaks_and_tree_agree(leaves in vec(any::<[u8; 32]>(), 0..200), index in any::<Index>()) {
        let leaves: Vec<_> = leaves.into_iter().map(BatchCommitment::from).collect();
        let mut history = History::new();
        for (i, leaf) in leaves.iter().enumerate() {
            prop_assert_eq!(history.append(*leaf), Ok(BatchIndex(i as u64)));
        }
        let tree = HistoryMerkle::new(&leaves);
        prop_assert_eq!(history.root(), tree.root());
        prop_assert_eq!(history.batches(), tree.batches());
        prop_assert_eq!(history.peaks().len(), leaves.len().count_ones() as usize);
        if !leaves.is_empty() {
            let at = index.index(leaves.len());
            let (batch, size) = (BatchIndex(at as u64), leaves.len() as u64);
            let path = tree.path_to_root(batch).unwrap();
            let root = root_from_path::<HistoryTree>(leaves[at].into(), batch.get(), size, &path);
            prop_assert_eq!(root, Ok(history.root().into()));
            let path = tree.path_to_peak(batch).unwrap();
            prop_assert_eq!(history.verify(batch, leaves[at], &path), Ok(()));
            let other = history.verify(batch, BatchCommitment::ZERO, &path);
            prop_assert_eq!(other, Err(PathError::Root));
        }
        prop_assert_eq!(tree.path_to_root(BatchIndex(leaves.len() as u64)), None);
        prop_assert_eq!(tree.path_to_peak(BatchIndex(leaves.len() as u64)), None);
    }

    /// By the definition of the tree, not by bits.
    #[test]
    fn path_lengths_follow_the_definition(
        size in 1..=u64::MAX,
        small in 1..2000u64,
        index in any::<Index>(),
    ) {
        for size in [size, small] {
            let index = index.index(usize::MAX) as u64 % size;
            let (mut left, mut at, mut steps) = (size, index, 0);
            while left > 1 {
                let split = 1 << (u64::BITS - 1 - (left - 1).leading_zeros());
                (left, at) = if at < split { (split, at) } else { (left - split, at - split) };
                steps += 1;
            }
            prop_assert_eq!(path_length(index, size), Ok(steps));
            prop_assert_eq!(path_length(size, size), Err(PathError::Index { index: size, size }));
        }
    }
}

/// Not only another root: nothing is hashed for a path that cannot be right.
#[test]
fn a_wrong_length_is_named() {
    for size in 1..=33 {
        for index in 0..size {
            let expected = path_length(index, size).unwrap();
            for found in (0..=8).chain([10_000]).filter(|found| *found != expected) {
                let path = vec![B256::ZERO; found];
                let result = root_from_path::<BatchTree>(B256::ZERO, index, size, &path);
                assert_eq!(result, Err(PathError::Length { index, size, expected, found }));
            }
        }
    }
}

#[test]
fn ends_of_the_integers_do_not_panic() {
    for size in [0, 1, 2, 1 << 63, (1 << 63) + 1, u64::MAX] {
        for index in [0, 1, size.saturating_sub(1), size, 1 << 63, u64::MAX] {
            let result = verify_inclusion::<BatchTree>(B256::ZERO, index, size, &[], B256::ZERO);
            assert_eq!(result.is_ok(), index == 0 && size == 1, "{index} of {size}");
            let peak = cofferdam_core::covering_peak(BatchIndex(index), size);
            assert_eq!(peak.is_ok(), index < size, "{index} of {size}");
            if let Ok(peak) = peak {
                assert!(peak.first <= index && index - peak.first < 1 << peak.height);
            }
        }
    }
    let full = History::from_peaks(u64::MAX, vec![B256::ZERO; 64]).unwrap();
    assert!(full.clone().append(BatchCommitment::ZERO).is_err());
    assert!(History::from_peaks(3, vec![B256::ZERO]).is_err());
}
