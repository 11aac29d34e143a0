//! Receipts made up from nothing, and the chain's side of them.

use alloy_primitives::{U256, keccak256};
use alloy_trie::{
    Nibbles, TrieAccount, TrieMask,
    nodes::{BranchNode, ExtensionNode, LeafNode, RlpNode, TrieNode},
};
use cofferdam_core::{
    Address, AnchorRef, B256, Batch, BatchCommitment, BatchIndex, BatchMerkle, Bytes, EntryBody,
    EntryHash, FieldName, Fields, Finality, History, HistoryMerkle, HistoryRef, Inclusion, Policy,
    ProofBlock, Receipt, ReceiptEntry, Seed, Seq, SlotProof, TenantId, entry_hash,
    storage::{head_slot, peak_slot},
};

/// The time of the batch's block.
pub(crate) const ANCHORED_AT: u64 = 1_767_225_600;
/// The height of the batch's block: one that a double cannot hold.
pub(crate) const ANCHORED_IN: u64 = 9_007_199_254_740_993;

/// What to make a receipt of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The batch's first entry.
    pub(crate) first_seq: u64,
    /// The batch's entries.
    pub(crate) count: u64,
    /// The entry, counted from the batch's first.
    pub(crate) position: u64,
    /// The batch.
    pub(crate) batch: u64,
    /// The tenant's batches.
    pub(crate) batches: u64,
    /// How often the payload says the same again.
    pub(crate) more: usize,
}

/// Entry 11 of a batch of seven from seq 9, the third of five batches.
pub(crate) const SMALL: Shape =
    Shape { first_seq: 9, count: 7, position: 2, batch: 2, batches: 5, more: 0 };

/// A receipt without proof, and the chain's own view of the history.
pub(crate) fn receipt(
    shape: Shape,
    body: impl Fn(Seed, Fields) -> EntryBody,
) -> (Receipt, History) {
    let Shape { first_seq, count, position, batch: index, batches, more } = shape;
    let tenant = TenantId::from_authority(Address::repeat_byte(0x5a)).expect("not zero");
    let seed = |seq: u64| Seed::from([seq as u8; 32]);
    let before = if first_seq == 0 { EntryHash::ZERO } else { EntryHash::from([9; 32]) };
    let mut hashes = vec![before];
    for seq in first_seq..first_seq + count {
        let previous = *hashes.last().expect("the one before");
        hashes.push(entry_hash(
            tenant,
            Seq(seq),
            previous,
            fields(seq, more).commitment(&seed(seq)),
        ));
    }
    let tree = BatchMerkle::new(&hashes[1..]).expect("not empty");
    let index = BatchIndex(index);
    let batch = Batch {
        tenant,
        index,
        first_seq: Seq(first_seq),
        count,
        root: tree.root(),
        anchored_at: ANCHORED_AT,
    };
    let mut commitments: Vec<_> =
        (1..=batches).map(|i| BatchCommitment::from([i as u8; 32])).collect();
    commitments[index.get() as usize] = batch.commitment();
    let mut history = History::new();
    for leaf in &commitments {
        history.append(*leaf).expect("not full");
    }
    let path = HistoryMerkle::new(&commitments).path_to_peak(index).expect("in the history");
    let seq = first_seq + position;
    let receipt = Receipt {
        chain_id: 31337,
        contract: Address::repeat_byte(0xc0),
        code_hash: B256::repeat_byte(0xcd),
        tenant,
        entry: ReceiptEntry {
            seq: Seq(seq),
            previous: hashes[position as usize],
            body: body(seed(seq), fields(seq, more)),
        },
        inclusion: Some(Inclusion {
            batch,
            position,
            path: tree.path(position).expect("in the batch"),
            history: HistoryRef { batches, path },
            anchor: AnchorRef {
                transaction: B256::repeat_byte(1),
                log_index: 3,
                block_number: ANCHORED_IN,
                block_hash: B256::repeat_byte(2),
            },
            finality: Finality::Included,
        }),
    };
    (receipt, history)
}

fn fields(seq: u64, more: usize) -> Fields {
    let more = match vec!["arn:aws:s3:::ledger/2026/01"; more] {
        none if none.is_empty() => String::new(),
        more => format!(",\"more\":{more:?}"),
    };
    Fields::new([
        (FieldName::Action, "payments.send".to_owned()),
        (FieldName::ExternalId, format!("id-{seq}")),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.000000Z".to_owned()),
        (FieldName::Payload, format!("{{\"n\":{seq},\n \"s\":\"\\u0000é\"{more}}}")),
    ])
    .expect("within the limits")
}

/// A receipt with a storage proof, and the policy of somebody who knows the block.
pub(crate) fn proven(shape: Shape, body: impl Fn(Seed, Fields) -> EntryBody) -> (Receipt, Policy) {
    let (mut receipt, history) = receipt(shape, body);
    let entries = match shape.batch + 1 == shape.batches {
        true => shape.first_seq + shape.count,
        false => shape.first_seq + shape.count + 100,
    };
    let peak = receipt.check().expect("its own").peak;
    let stored = history.peaks()[peak.first.count_ones() as usize];
    let head: U256 =
        U256::from(entries) << 200 | U256::from(shape.batches) << 160 | U256::from(0xa11ce);
    let state = State {
        code_hash: receipt.code_hash,
        words: vec![
            (head_slot(receipt.tenant), head.into()),
            (peak_slot(peak.height, receipt.tenant), stored),
        ],
    };
    let proof = state.prove(receipt.contract, &header);
    let policy = Policy {
        chain_id: receipt.chain_id,
        contract: receipt.contract,
        code_hash: Some(receipt.code_hash),
        block_hashes: vec![keccak256(&proof.header)],
    };
    let inclusion = receipt.inclusion.as_mut().expect("included");
    inclusion.finality = Finality::Final(Some(Box::new(proof)));
    (receipt, policy)
}

/// A contract's state: its code and some words.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The hash of its code.
    pub(crate) code_hash: B256,
    /// Head and peaks: where and what.
    pub(crate) words: Vec<(B256, B256)>,
}

impl State {
    /// The proof of head and peak.
    pub(crate) fn prove(&self, contract: Address, header: &dyn Fn(B256) -> Bytes) -> ProofBlock {
        let (header, account_proof, slots) = self.prove_all(contract, header);
        let [head, peak] = slots.try_into().expect("two words");
        ProofBlock { header, account_proof, head, peak }
    }

    /// The proof of it, as deep as on a chain with hundreds of millions of accounts.
    pub(crate) fn prove_all(
        &self,
        contract: Address,
        header: &dyn Fn(B256) -> Bytes,
    ) -> (Bytes, Vec<Bytes>, Vec<SlotProof>) {
        // The words part at the first nibble: the way to each names the others'.
        let ways = self.words.iter().map(|(slot, value)| {
            let value = alloy_rlp::encode(U256::from_be_bytes(value.0));
            (keccak256(slot)[0] >> 4, way(keccak256(slot), value, &STORAGE[1..], 1))
        });
        let ways: Vec<_> = ways.collect();
        let mut nibbles: Vec<_> = ways.iter().map(|(nibble, _)| nibble).collect();
        nibbles.sort();
        nibbles.dedup();
        assert_eq!(nibbles.len(), ways.len(), "choose another tenant");
        let known: Vec<_> = ways.iter().map(|(nibble, (node, _))| (*nibble, node)).collect();
        let top = branch(16, &known);
        let storage_root = keccak256(&top);
        let slots =
            self.words.iter().zip(&ways).map(|((slot, value), (_, (_, below)))| SlotProof {
                slot: *slot,
                value: *value,
                proof: [std::slice::from_ref(&top), &below[..]].concat(),
            });
        let account =
            TrieAccount { nonce: 1, balance: U256::ZERO, storage_root, code_hash: self.code_hash };
        let (root, account_proof) =
            way(keccak256(contract), alloy_rlp::encode(account), &ACCOUNT, 0);
        let state_root = root.as_hash().expect("longer than 32 bytes");
        (header(state_root), account_proof, slots.collect())
    }
}

/// A header as Base's are: with items of later forks.
pub(crate) fn header(state_root: B256) -> Bytes {
    header_at(state_root, ANCHORED_IN + 40, ANCHORED_AT + 80)
}

/// A header of this height and time.
pub(crate) fn header_at(state_root: B256, number: u64, timestamp: u64) -> Bytes {
    let word = |byte| alloy_rlp::encode(B256::repeat_byte(byte));
    let items = [
        word(1),
        word(2),
        alloy_rlp::encode(Address::repeat_byte(3)),
        alloy_rlp::encode(state_root),
        word(4),
        word(5),
        alloy_rlp::encode([0u8; 256]),
        alloy_rlp::encode(0u64),
        alloy_rlp::encode(number),
        alloy_rlp::encode(30_000_000u64),
        alloy_rlp::encode(21_000u64),
        alloy_rlp::encode(timestamp),
        alloy_rlp::encode("extra"),
        word(6),
        alloy_rlp::encode([0u8; 8]),
        alloy_rlp::encode(1_000_000_000u64),
        word(7),
        alloy_rlp::encode(0u64),
        alloy_rlp::encode(0u64),
        word(8),
        word(9),
    ];
    list(&items.concat())
}

/// A list of items that are encoded already.
pub(crate) fn list(items: &[u8]) -> Bytes {
    let mut raw = vec![];
    alloy_rlp::Header { list: true, payload_length: items.len() }.encode(&mut raw);
    raw.extend_from_slice(items);
    raw.into()
}

/// What stands on the way to a value, from the root down.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A branch of so many children.
    Branch(u8),
    /// An extension over so many nibbles.
    Extension(usize),
}

/// Mainnet's proofs of a known account have eight or nine nodes: full branches, then a thin one.
const ACCOUNT: [Step; 7] = [
    Step::Branch(16),
    Step::Branch(16),
    Step::Branch(16),
    Step::Branch(16),
    Step::Branch(16),
    Step::Branch(16),
    Step::Branch(4),
];
/// As in a contract of some ten thousand words.
const STORAGE: [Step; 4] =
    [Step::Branch(16), Step::Branch(16), Step::Extension(1), Step::Branch(2)];

/// The nodes from a root to the value, below the first `walked` nibbles of its key.
pub(crate) fn way(
    key: B256,
    value: Vec<u8>,
    steps: &[Step],
    walked: usize,
) -> (RlpNode, Vec<Bytes>) {
    let key = Nibbles::unpack(key);
    let (node, below) = match steps.split_first() {
        None => (TrieNode::Leaf(LeafNode::new(key.slice(walked..), value)), vec![]),
        Some((Step::Extension(nibbles), rest)) => {
            let (child, below) = way(key_of(&key), value, rest, walked + nibbles);
            let over = key.slice(walked..walked + nibbles);
            (TrieNode::Extension(ExtensionNode::new(over, child)), below)
        }
        Some((Step::Branch(children), rest)) => {
            let (child, below) = way(key_of(&key), value, rest, walked + 1);
            let nibble = key.get(walked).expect("not so deep");
            let raw = branch(*children, &[(nibble, &child)]);
            return (RlpNode::from_rlp(&raw), [&[raw], &below[..]].concat());
        }
    };
    let raw = Bytes::from(alloy_rlp::encode(node));
    (RlpNode::from_rlp(&raw), [&[raw], &below[..]].concat())
}

fn key_of(key: &Nibbles) -> B256 {
    B256::from_slice(&key.pack())
}

/// A branch with these children and as many others as that it has so many.
fn branch(children: u8, known: &[(u8, &RlpNode)]) -> Bytes {
    let mut others = children as usize - known.len();
    let (mut stack, mut mask) = (vec![], TrieMask::default());
    for nibble in 0..16u8 {
        let child = match known.iter().find(|(at, _)| *at == nibble) {
            Some((_, child)) => (*child).clone(),
            None if others > 0 => {
                others -= 1;
                RlpNode::word_rlp(&keccak256([nibble, children, known[0].1[1]]))
            }
            None => continue,
        };
        stack.push(child);
        mask.set_bit(nibble);
    }
    alloy_rlp::encode(BranchNode::new(stack, mask)).into()
}

/// All of it.
pub(crate) fn whole(seed: Seed, fields: Fields) -> EntryBody {
    EntryBody::Whole { seed, fields }
}

/// Two fields of it.
pub(crate) fn partial(seed: Seed, fields: Fields) -> EntryBody {
    EntryBody::partial(&seed, &fields, &[FieldName::Action, FieldName::Result])
}

/// What is left of it.
pub(crate) fn erased(seed: Seed, fields: Fields) -> EntryBody {
    EntryBody::Erased(fields.commitment(&seed))
}
