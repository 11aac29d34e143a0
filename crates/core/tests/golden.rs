//! The golden vectors, written by a program that shares no code with this crate.
#![allow(clippy::unwrap_used)] // a vector that cannot be read is a failed test

use cofferdam_core::{
    Address, B256, Batch, BatchCommitment, BatchIndex, BatchMerkle, BatchRoot, BatchTree,
    Commitment, EntryHash, FieldDigest, FieldName, Fields, History, HistoryMerkle, HistoryRoot,
    HistoryTree, Salt, Seed, Seq, TenantId, batch_root, commitment, covering_peak, entry_hash,
    field_digest, salt, storage, verify_inclusion,
};
use serde::{Deserialize, de::DeserializeOwned};

fn vectors<T: DeserializeOwned>(file: &str) -> T {
    let path = format!("{}/../../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    seed: Seed,
    salts: [Salt; 10],
    values: [String; 10],
    digests: [FieldDigest; 10],
    #[serde(flatten)]
    hashed: Hashed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hashed {
    commitment: Commitment,
    entry_hash: EntryHash,
    previous: EntryHash,
    seq: Seq,
    tenant_id: TenantId,
}

impl Hashed {
    fn check(&self, name: &str) {
        let hash = entry_hash(self.tenant_id, self.seq, self.previous, self.commitment);
        assert_eq!(hash, self.entry_hash, "{name}: entry hash");
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErasedField {
    name: FieldName,
    digest: FieldDigest,
    other_names: [FieldName; 9],
    other_salts: [Salt; 9],
    other_values: [String; 9],
    #[serde(flatten)]
    hashed: Hashed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entries {
    names: [FieldName; 10],
    cases: Vec<Entry>,
    erased: Hashed,
    erased_field: ErasedField,
}

#[test]
fn entries() {
    let vectors: Entries = vectors("entry.json");
    assert_eq!(vectors.names, FieldName::ALL);
    assert!(FieldName::ALL.is_sorted_by_key(|name| name.as_str()), "bytewise ascending");
    for case in &vectors.cases {
        let name = &case.name;
        for field in FieldName::ALL {
            let at = field.position();
            assert_eq!(salt(&case.seed, field), case.salts[at], "{name}: salt of {field}");
            let digest = field_digest(&case.salts[at], field, case.values[at].as_bytes());
            assert_eq!(digest, case.digests[at], "{name}: digest of {field}");
        }
        assert_eq!(commitment(&case.digests), case.hashed.commitment, "{name}: commitment");
        case.hashed.check(name);
        // What may be hashed may also be appended, and comes out the same.
        let given = FieldName::ALL.into_iter().zip(case.values.clone());
        let fields = Fields::new(given).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(fields.commitment(&case.seed), case.hashed.commitment, "{name}: fields");
        assert_eq!(fields, Fields::from_stored(case.values.clone()));
    }
    let covered: Vec<_> = vectors.cases.iter().map(|case| case.name.as_str()).collect();
    for name in [
        "ten empty fields",
        "multi-byte text",
        "U+0000 as six characters in payload",
        "indented payload",
    ] {
        assert!(covered.contains(&name), "no case {name:?}");
    }
}

#[test]
fn an_erased_entry_keeps_the_chain_whole() {
    let vectors: Entries = vectors("entry.json");
    vectors.erased.check("erased");
    let before = &vectors.cases[vectors.erased.seq.get() as usize - 1].hashed;
    let after = &vectors.cases[vectors.erased.seq.get() as usize].hashed;
    assert_eq!(vectors.erased.previous, before.entry_hash);
    assert_eq!(after.previous, vectors.erased.entry_hash);
    assert_eq!(after.seq, vectors.erased.seq.next().unwrap());
}

#[test]
fn an_erased_field_leaves_the_commitment() {
    let ErasedField { name, digest, other_names, other_salts, other_values, hashed } =
        vectors::<Entries>("entry.json").erased_field;
    let mut digests = [digest; 10];
    for ((field, salt), value) in other_names.into_iter().zip(&other_salts).zip(&other_values) {
        assert_ne!(field, name);
        digests[field.position()] = field_digest(salt, field, value.as_bytes());
    }
    assert_eq!(commitment(&digests), hashed.commitment);
    hashed.check("erased field");
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchTrees {
    tenant_id: TenantId,
    commitments: Vec<Commitment>,
    leaves: Vec<EntryHash>,
    roots: Vec<BatchRoot>,
    proofs: Vec<BatchProof>,
}

#[derive(Deserialize)]
struct BatchProof {
    index: u64,
    size: usize,
    path: Vec<B256>,
}

#[test]
fn batch_trees_of_1_to_33() {
    let vectors: BatchTrees = vectors("batch_tree.json");
    let mut previous = EntryHash::ZERO;
    for (seq, (leaf, commitment)) in vectors.leaves.iter().zip(&vectors.commitments).enumerate() {
        previous = entry_hash(vectors.tenant_id, Seq(seq as u64), previous, *commitment);
        assert_eq!(*leaf, previous, "leaf {seq}");
    }
    assert_eq!((vectors.roots.len(), vectors.proofs.len()), (33, 33 * 34 / 2));
    for (size, root) in (1..).zip(&vectors.roots) {
        assert_eq!(batch_root(&vectors.leaves[..size]), Some(*root), "root of {size}");
    }
    for BatchProof { index, size, path } in &vectors.proofs {
        let tree = BatchMerkle::new(&vectors.leaves[..*size]).unwrap();
        assert_eq!(tree.path(*index).as_ref(), Some(path), "path of {index} in {size}");
        assert_eq!(tree.path(*size as u64), None, "outside");
        let leaf = vectors.leaves[*index as usize].into();
        let root = vectors.roots[size - 1].into();
        verify_inclusion::<BatchTree>(leaf, *index, *size as u64, path, root)
            .unwrap_or_else(|e| panic!("{index} in {size}: {e}"));
    }
    assert!(BatchMerkle::new(&[]).is_none());
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Histories {
    tenant_id: TenantId,
    batches: Vec<Anchored>,
    states: Vec<State>,
    proofs: Vec<HistoryProof>,
    extremes: Vec<Extreme>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Anchored {
    anchored_at: u64,
    commitment: BatchCommitment,
    count: u64,
    first_seq: u64,
    index: u64,
    root: BatchRoot,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extreme {
    anchored_at: Seq, // any type that reads a decimal string
    commitment: BatchCommitment,
    count: Seq,
    first_seq: Seq,
    index: BatchIndex,
    root: BatchRoot,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    batches: u64,
    live_peaks: Vec<B256>,
    root: HistoryRoot,
    stored_peaks: Vec<B256>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryProof {
    first: u64,
    height: u8,
    index: u64,
    path_to_peak: Vec<B256>,
    path_to_root: Vec<B256>,
    size: u64,
}

#[test]
fn batch_commitments() {
    let Histories { tenant_id: tenant, batches, extremes, .. } = vectors("history.json");
    for b in batches {
        let batch = Batch {
            tenant,
            index: BatchIndex(b.index),
            first_seq: Seq(b.first_seq),
            count: b.count,
            root: b.root,
            anchored_at: b.anchored_at,
        };
        assert_eq!(batch.commitment(), b.commitment, "batch {}", b.index);
    }
    for b in extremes {
        let Extreme { index, first_seq, count, root, anchored_at, commitment } = b;
        let (count, anchored_at) = (count.get(), anchored_at.get());
        let batch = Batch { tenant, index, first_seq, count, root, anchored_at };
        assert_eq!(batch.commitment(), commitment, "{batch:?}");
    }
}

#[test]
fn histories_of_1_to_17() {
    let Histories { batches, states, proofs, .. } = vectors("history.json");
    let commitments: Vec<_> = batches.iter().map(|batch| batch.commitment).collect();
    let mut history = History::new();
    let zero = HistoryRoot::ZERO;
    assert_eq!((history.root(), HistoryMerkle::new(&[]).root()), (zero, zero));
    assert_eq!((states.len(), proofs.len()), (17, 17 * 18 / 2));
    let mut stale = 0;
    for (state, commitment) in states.iter().zip(&commitments) {
        history.append(*commitment).unwrap();
        let size = state.batches;
        assert_eq!(history.batches(), size);
        assert_eq!(history.peaks(), state.live_peaks, "peaks of {size}");
        assert_eq!(history.root(), state.root, "root of {size}");
        let tree = HistoryMerkle::new(&commitments[..size as usize]);
        assert_eq!(tree.root(), state.root, "root of the whole tree of {size}");
        // As the contract's reader does: bit k of the count says whether the word at height k is
        // live.
        let stored = state.stored_peaks.iter().enumerate().rev();
        let (live, dead): (Vec<_>, Vec<_>) =
            stored.partition(|(height, _)| size >> height & 1 == 1);
        let live = live.into_iter().map(|(_, peak)| *peak).collect();
        assert_eq!(History::from_peaks(size, live).unwrap(), history, "stored peaks of {size}");
        stale += dead.iter().filter(|(_, peak)| !peak.is_zero()).count();
    }
    assert!(stale > 17, "the vectors show stale peaks, {stale} of them");
    for proof in proofs {
        let HistoryProof { first, height, index, path_to_peak, path_to_root, size } = proof;
        let at = BatchIndex(index);
        let (state, leaf) = (&states[size as usize - 1], commitments[index as usize]);
        let peak = covering_peak(at, size).unwrap();
        assert_eq!((peak.first, peak.height), (first, height), "peak over {index} of {size}");
        let tree = HistoryMerkle::new(&commitments[..size as usize]);
        assert_eq!(tree.path_to_peak(at).unwrap(), path_to_peak, "{index} of {size}");
        assert_eq!(tree.path_to_root(at).unwrap(), path_to_root, "{index} of {size}");
        let history = History::from_peaks(size, state.live_peaks.clone()).unwrap();
        history.verify(at, leaf, &path_to_peak).unwrap();
        let (leaf, root) = (leaf.into(), state.root.into());
        verify_inclusion::<HistoryTree>(leaf, index, size, &path_to_root, root).unwrap();
    }
}

#[derive(Deserialize)]
struct Storage {
    heads: Vec<HeadCase>,
    peaks: Vec<PeakCase>,
    nonces: Vec<NonceCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeadCase {
    anchorer: Address,
    batches: Seq,
    entries: Seq,
    slot: B256,
    tenant_id: TenantId,
    word: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PeakCase {
    height: u8,
    slot: B256,
    tenant_id: TenantId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NonceCase {
    slot: B256,
    tenant_id: TenantId,
}

#[test]
fn storage_slots() {
    let Storage { heads, peaks, nonces } = vectors("storage.json");
    assert!(!heads.is_empty() && !peaks.is_empty() && !nonces.is_empty());
    for case in heads {
        assert_eq!(storage::head_slot(case.tenant_id), case.slot, "head of {}", case.tenant_id);
        let (batches, entries) = (case.batches.get(), case.entries.get());
        let head = storage::Head { anchorer: case.anchorer, batches, entries };
        assert_eq!(storage::Head::from_word(case.word), head);
    }
    for PeakCase { height, slot, tenant_id } in peaks {
        assert_eq!(storage::peak_slot(height, tenant_id), slot, "peak {height} of {tenant_id}");
    }
    for NonceCase { slot, tenant_id } in nonces {
        assert_eq!(storage::nonce_slot(tenant_id), slot, "nonce of {tenant_id}");
    }
}
