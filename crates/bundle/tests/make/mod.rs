//! Bundles made up from nothing, with the chain's side of them. Nobody's key signs them but this one.

#[path = "../../../core/tests/receipt/sample.rs"]
#[allow(dead_code)] // receipts use more of it
mod sample;

use alloy_primitives::{U256, keccak256};
use cofferdam_bundle::Writer;
use cofferdam_core::{
    Address, AnchorRef, B256, Batch, BatchIndex, BatchMerkle, BundleBatch, BundleEntry,
    BundleFirst, BundleHistory, BundleLast, BundleProof, EntryBody, EntryHash, FieldName, Fields,
    History, LaterBatch, Manifest, Policy, PolicyRecord, ReceiptEntry, ScopeRecord, Seed, Seq,
    SignatureLine, TenantId, entry_hash, live_heights, manifest_digest,
    storage::{head_slot, peak_slot},
};
use k256::ecdsa::SigningKey;

/// How much of an entry is told.
pub type Body = fn(&Seed, &Fields) -> EntryBody;

/// What a bundle is of: the sizes of all batches, and which of them it holds.
#[derive(Clone, Debug)]
pub struct Shape {
    pub sizes: Vec<u64>,
    pub held: std::ops::Range<usize>,
    pub body: Body,
}

/// All lines, none with its end.
#[derive(Clone, Debug)]
pub struct Made {
    pub manifest: Manifest,
    pub lines: Vec<String>,
    pub policy: Policy,
}

pub fn tenant() -> TenantId {
    TenantId::from_authority(Address::repeat_byte(0x5a)).expect("not zero")
}

pub fn whole(seed: &Seed, fields: &Fields) -> EntryBody {
    EntryBody::Whole { seed: *seed, fields: fields.clone() }
}

pub fn partial(seed: &Seed, fields: &Fields) -> EntryBody {
    EntryBody::partial(seed, fields, &[FieldName::Action, FieldName::OccurredAt])
}

/// As agents' records are: some hundred bytes of values.
pub fn fields(seq: u64) -> Fields {
    Fields::new([
        (FieldName::Action, "invoices.read".to_owned()),
        (FieldName::Actor, format!("agent:clerk-{}", seq % 7)),
        (FieldName::ExternalId, format!("5a3e0000-0000-4000-8000-{seq:012}")),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.000000Z".to_owned()),
        (FieldName::PolicyVersion, "3".to_owned()),
        (FieldName::RecordedAt, "2026-02-01T00:00:01.000000Z".to_owned()),
        (FieldName::Resource, format!("invoice/{seq}")),
        (FieldName::Result, "allow".to_owned()),
        (
            FieldName::Payload,
            format!("{{\"n\":{seq},\"note\":\"Bäckström & Söner 👍\",\"amount\":18250.50}}"),
        ),
    ])
    .expect("within the limits")
}

fn seed(seq: u64) -> Seed {
    keccak256(seq.to_be_bytes()).0.into()
}

/// Makes a bundle, handing out its lines but the first two as they come.
pub fn lines(shape: &Shape, mut line: impl FnMut(String)) -> (Manifest, Policy) {
    let Shape { sizes, held, body } = shape;
    let (contract, code_hash) = (Address::repeat_byte(0xc0), B256::repeat_byte(0xcd));
    let (mut history, mut previous, mut next) = (History::new(), EntryHash::ZERO, 0);
    let (mut first, mut last) = (None, None);
    let mut later = vec![];
    for (at, count) in sizes.iter().enumerate() {
        let index = BatchIndex(at as u64);
        if at == held.start {
            let (seq, peaks) = (Seq(next), history.peaks().to_vec());
            first = Some(BundleFirst { batch: index, seq, previous, peaks });
        }
        let before = previous;
        let mut hashes = vec![];
        for seq in next..next + count {
            let commitment = fields(seq).commitment(&seed(seq));
            previous = entry_hash(tenant(), Seq(seq), previous, commitment);
            hashes.push(previous);
        }
        let root = BatchMerkle::new(&hashes).expect("not empty").root();
        let anchored_at = sample::ANCHORED_AT - 100 + at as u64;
        let batch = Batch {
            tenant: tenant(),
            index,
            first_seq: Seq(next),
            count: *count,
            root,
            anchored_at,
        };
        history.append(batch.commitment()).expect("room");
        if held.contains(&at) {
            let anchor = AnchorRef {
                transaction: B256::repeat_byte(at as u8),
                log_index: 3,
                block_number: sample::ANCHORED_IN - 100 + at as u64,
                block_hash: B256::repeat_byte(2),
            };
            let Batch { index, first_seq, count, root, anchored_at, .. } = batch;
            let head = BundleBatch { index, first_seq, count, root, anchored_at, anchor };
            line(serde_json::to_string(&head).expect("a line"));
            let previous = std::iter::once(&before).chain(&hashes);
            for (seq, previous) in (next..next + count).zip(previous) {
                let body = body(&seed(seq), &fields(seq));
                let entry = ReceiptEntry { seq: Seq(seq), previous: *previous, body };
                line(BundleEntry::to_json(&entry).expect("a line"));
            }
            let seq = Seq(next + count - 1);
            last = Some(BundleLast { batch: index, seq, entry_hash: previous_of(&hashes) });
        } else if at >= held.end {
            later.push(batch.commitment());
        }
        next += count;
    }
    for commitment in later {
        line(serde_json::to_string(&LaterBatch { commitment }).expect("a line"));
    }
    let batches = sizes.len() as u64;
    let head: U256 = U256::from(next) << 200 | U256::from(batches) << 160 | U256::from(0xa11ce);
    let peaks = live_heights(batches).zip(history.peaks());
    let mut words = vec![(head_slot(tenant()), head.into())];
    words.extend(peaks.map(|(height, peak)| (peak_slot(height, tenant()), *peak)));
    let state = sample::State { code_hash, words };
    let (header, account_proof, mut slots) = state.prove_all(contract, &sample::header);
    let policy = Policy {
        chain_id: 31337,
        contract,
        code_hash: Some(code_hash),
        block_hashes: vec![keccak256(&header)],
    };
    let peaks = slots.split_off(1);
    let head = slots.remove(0);
    let proof = BundleProof { header, account_proof, head, peaks };
    let whole = BundleHistory { batches, entries: next, root: history.root() };
    let range = (first.expect("held"), last.expect("held"), whole);
    let mut manifest = Manifest::new(31337, contract, code_hash, tenant(), range, proof);
    manifest.exporter = exporter();
    manifest.exported_at = 1_767_300_000;
    manifest.policies = vec![PolicyRecord {
        version: 1,
        policy_hash: B256::repeat_byte(0x70),
        verdict_signer: Address::repeat_byte(0x71),
        not_before: 1_767_000_000,
        not_after: 1_800_000_000,
        recorded_at: 1_767_000_000,
    }];
    manifest.scopes = vec![ScopeRecord {
        agent: Address::repeat_byte(0xa6),
        capability: keccak256("payments.send"),
        not_before: 1_767_000_000,
        not_after: 1_800_000_000,
        native_max: 1_000_000_000_000_000_000_000,
        token_max: 0,
        target: Address::ZERO,
        selector: [0; 4].into(),
        recorded_at: 1_767_000_100,
    }];
    (manifest, policy)
}

fn previous_of(hashes: &[EntryHash]) -> EntryHash {
    *hashes.last().expect("not empty")
}

pub fn make(shape: &Shape) -> Made {
    let mut rest = vec![];
    let (manifest, policy) = lines(shape, |line| rest.push(line));
    let mut lines = signed(&manifest).to_vec();
    lines.extend(rest);
    Made { manifest, lines, policy }
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).expect("a key")
}

fn exporter() -> Address {
    let public = key().verifying_key().to_encoded_point(false);
    Address::from_slice(&keccak256(&public.as_bytes()[1..])[12..])
}

/// The first two lines.
pub fn signed(manifest: &Manifest) -> [String; 2] {
    let line = manifest.to_json().expect("a line");
    let Manifest { chain_id, contract, tenant_id, .. } = manifest;
    let digest = manifest_digest(*chain_id, *contract, *tenant_id, line.as_bytes());
    let (signature, id) = key().sign_prehash_recoverable(digest.as_slice()).expect("signed");
    let mut raw = signature.to_bytes().to_vec();
    raw.push(27 + id.to_byte());
    let signature = SignatureLine { signature: raw.into() };
    [line, serde_json::to_string(&signature).expect("a line")]
}

pub fn packed(lines: &[String]) -> Vec<u8> {
    let mut writer = Writer::new(vec![]);
    lines.iter().for_each(|line| writer.line(line).expect("memory"));
    writer.finish().expect("memory")
}
