//! What a bundle shows, and every way in which one that is not complete is found out.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod make;

use cofferdam_bundle::{StreamError, Verified, verify};
use cofferdam_core::{BundleError, BundleProof, EntryHash, Manifest, Policy, ProofError};
use make::{Body, Made, Shape, make, packed, partial, signed, whole};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    sync::{LazyLock, atomic::AtomicU64},
};

fn shape(sizes: &[u64], held: std::ops::Range<usize>) -> Shape {
    Shape { sizes: sizes.to_vec(), held, body: whole }
}

fn read(file: &[u8]) -> Result<Verified, StreamError> {
    verify(file, &AtomicU64::new(0), true)
}

fn read_lines(lines: &[String]) -> Result<Verified, StreamError> {
    read(&packed(lines))
}

/// The reason for which these lines are refused.
#[track_caller]
fn refused(lines: &[String]) -> String {
    read_lines(lines).expect_err("accepted").to_string()
}

/// With another manifest, signed by the same exporter.
fn with(made: &Made, change: impl FnOnce(&mut Manifest)) -> Vec<String> {
    let mut manifest = made.manifest.clone();
    change(&mut manifest);
    let mut lines = made.lines.clone();
    lines.splice(..2, signed(&manifest));
    lines
}

#[test]
fn whole_histories_and_ranges_of_them_are_complete() {
    let sizes = [3, 1, 4, 1, 5, 2];
    let shapes: [(_, Body); 5] =
        [(0..6, whole), (0..6, partial), (0..2, whole), (2..5, whole), (5..6, partial)];
    for (held, body) in shapes {
        let shape = Shape { sizes: sizes.to_vec(), held: held.clone(), body };
        let made = make(&shape);
        let Verified { checked, batches } = read_lines(&made.lines).unwrap();
        assert_eq!(batches.len(), held.len());
        assert_eq!((checked.history.batches(), &checked.manifest), (6, &made.manifest));
        assert_eq!(checked.prove(&made.policy).unwrap().head.entries, 16);
        let entries: u64 = sizes[held].iter().sum();
        let Manifest { first, last, .. } = &made.manifest;
        assert_eq!(last.seq.get() - first.seq.get() + 1, entries);
    }
    // One that is longer than a chunk, and one of a single entry.
    for sizes in [&[1][..], &[1_500, 700]] {
        let made = make(&shape(sizes, 0..sizes.len()));
        read_lines(&made.lines).unwrap().checked.prove(&made.policy).unwrap();
    }
}

/// What proves a bundle is kept as bytes, and proves a receipt of each of its batches.
#[test]
fn a_proof_reads_back_and_holds_what_each_batch_takes() {
    let made = make(&shape(&[3, 2, 4, 1, 1, 1, 1], 0..7));
    let proof = &made.manifest.proof_block;
    let bytes = proof.to_bytes();
    assert_eq!(BundleProof::from_bytes(&bytes).as_ref(), Some(proof));
    assert_eq!(BundleProof::from_bytes(&bytes[..bytes.len() - 1]), None);
    assert_eq!(BundleProof::from_bytes(&[&bytes[..], &[0]].concat()), None);
    let mut many = proof.clone();
    many.peaks = vec![proof.head.clone(); 41];
    assert_eq!(BundleProof::from_bytes(&many.to_bytes()), None);

    let proven = proof.verify(made.manifest.tenant_id, &made.policy).unwrap();
    assert_eq!((proven.head, proven.peaks.len()), (proof.claimed_head(), 3));
    // Peaks over four, two and one.
    for (index, at) in [0, 0, 0, 0, 1, 1, 2].into_iter().enumerate() {
        let block = proof.of_batch((index as u64).into()).unwrap();
        assert_eq!((&block.head, &block.peak), (&proof.head, &proof.peaks[at]), "batch {index}");
    }
    assert_eq!(proof.of_batch(7.into()), None);
}

#[test]
fn nothing_can_be_left_out_doubled_or_moved() {
    let made = make(&shape(&[3, 2, 4, 1], 1..3));
    let good = &made.lines;
    read_lines(good).unwrap();
    // manifest, signature, batch 1, two entries, batch 2, four entries, batch 3's commitment
    assert_eq!(good.len(), 11);
    let changed = |change: fn(&mut Vec<String>)| {
        let mut lines = good.clone();
        change(&mut lines);
        refused(&lines)
    };
    assert_eq!(changed(|it| drop(it.remove(3))), "entry 3: entry 4 stands in its place");
    assert_eq!(changed(|it| it.swap(6, 7)), "entry 5: entry 6 stands in its place");
    assert_eq!(changed(|it| it.insert(4, it[3].clone())), "entry 4: entry 3 stands in its place");
    // At a batch's end, before another batch and before the commitment of one.
    let missing =
        |seq| format!("entry {seq}: it is missing, what comes after its batch stands in its place");
    assert_eq!(changed(|it| drop(it.remove(4))), missing(4));
    assert_eq!(changed(|it| drop(it.remove(9))), missing(8));
    assert_eq!(changed(|it| drop(it.drain(7..10))), missing(6));
    assert_eq!(
        changed(|it| drop(it.drain(2..5))),
        "batch 1: its index is 2, where 1 follows what came before"
    );
    // The second batch before the first, as it is and with repaired places.
    assert_eq!(
        changed(|it| it[2..10].rotate_left(3)),
        "batch 1: its index is 2, where 1 follows what came before"
    );
    let swapped = |it: &mut Vec<String>| {
        it[2..10].rotate_left(3);
        for (line, (from, to), (seq, place)) in
            [(2, ("2", "1"), ("5", "3")), (7, ("1", "2"), ("3", "7"))]
        {
            let own = format!("\"index\":\"{from}\",\"firstSeq\":\"{seq}\"");
            assert!(it[line].contains(&own), "{}", it[line]);
            it[line] =
                it[line].replace(&own, &format!("\"index\":\"{to}\",\"firstSeq\":\"{place}\""));
        }
    };
    assert_eq!(changed(swapped), "entry 3: entry 5 stands in its place");
    assert!(changed(|it| drop(it.remove(5))).starts_with("batch 2: members: "));
    assert!(changed(|it| it.insert(2, it[3].clone())).starts_with("batch 1: members: "));
    assert_eq!(changed(|it| it.truncate(4)), "the text ends where entry 4 should follow");
    assert_eq!(changed(|it| it.truncate(5)), "the text ends where batch 2 should follow");
    assert_eq!(
        changed(|it| drop(it.pop())),
        "the text ends where the commitment of batch 3 should follow"
    );
    assert_eq!(changed(|it| it.truncate(1)), "the text ends where the signature should follow");
    assert!(changed(Vec::clear).starts_with("compression: "));
    assert_eq!(changed(|it| it.push(it[10].clone())), "the end must follow here");
    assert_eq!(changed(|it| it.push(String::new())), "the end must follow here");
    let later = json!({ "commitment": EntryHash::from([1; 32]) }).to_string();
    let mut lines = good.clone();
    lines[10] = later;
    assert!(refused(&lines).starts_with("the end: the batches have the history root"));

    // Every digit of every hash and number of batches and entries.
    for line in 2..good.len() {
        for (at, digit) in good[line].char_indices().filter(|(_, it)| it.is_ascii_digit()) {
            // What no hash covers is proven by level 3 alone.
            if good[line][..at].contains("\"anchor\"") {
                continue;
            }
            let mut lines = good.clone();
            let other = if digit == '7' { "8" } else { "7" };
            lines[line].replace_range(at..=at, other);
            assert!(read_lines(&lines).is_err(), "line {line}, {at}: {}", lines[line]);
        }
    }
}

/// An exporter may sign anything: what is missing must still be found out.
#[test]
fn repaired_counters_do_not_help() {
    let made = make(&shape(&[3, 2, 4], 0..3));
    // A gap whose counters were repaired: the middle batch is gone and the last follows the first.
    let short = make(&shape(&[3, 4], 0..2));
    let checked = read_lines(&short.lines).unwrap().checked;
    let forged = with(&short, |it| it.proof_block = made.manifest.proof_block.clone());
    let forged = read_lines(&forged).unwrap().checked;
    assert!(matches!(forged.prove(&made.policy), Err(ProofError::Batches { proven: 3, found: 2 })));
    assert!(matches!(checked.prove(&made.policy), Err(ProofError::NotPinned(_))));
    // A bundle that ends early and says that there is no more.
    let early = make(&shape(&[3, 2], 0..2));
    let early = with(&early, |it| it.proof_block = made.manifest.proof_block.clone());
    let early = read_lines(&early).unwrap().checked;
    assert!(matches!(early.prove(&made.policy), Err(ProofError::Batches { .. })));
    // The same number of batches, with other entries.
    let other = make(&shape(&[3, 3, 4], 0..3));
    let other = with(&other, |it| it.proof_block = made.manifest.proof_block.clone());
    let other = read_lines(&other).unwrap().checked;
    assert!(matches!(other.prove(&made.policy), Err(ProofError::Entries { .. })));
    let moved = make(&shape(&[2, 3, 4], 0..3));
    let moved = with(&moved, |it| it.proof_block = made.manifest.proof_block.clone());
    let moved = read_lines(&moved).unwrap().checked;
    assert!(matches!(moved.prove(&made.policy), Err(ProofError::Peak { .. })));

    // Of another chain, contract or code, or with fewer peaks.
    let good = read_lines(&made.lines).unwrap().checked;
    let policy = |change: fn(&mut Policy)| {
        let mut policy = made.policy.clone();
        change(&mut policy);
        good.prove(&policy).unwrap_err()
    };
    assert!(matches!(policy(|it| it.chain_id = 8453), ProofError::Chain { .. }));
    assert!(matches!(policy(|it| it.contract = [1; 20].into()), ProofError::Contract { .. }));
    assert!(matches!(
        policy(|it| it.code_hash = Some([1; 32].into())),
        ProofError::CodeHash { .. }
    ));
    assert!(matches!(
        policy(|it| it.block_hashes = vec![[1; 32].into()]),
        ProofError::NotPinned(_)
    ));
    assert!(matches!(policy(|it| it.block_hashes.clear()), ProofError::Policy(_)));
    let fewer = with(&made, |it| drop(it.proof_block.peaks.pop()));
    let fewer = read_lines(&fewer).unwrap().checked;
    assert!(matches!(fewer.prove(&made.policy), Err(ProofError::Peaks { expected: 2, found: 1 })));
    let swapped = with(&made, |it| it.proof_block.peaks.swap(0, 1));
    let swapped = read_lines(&swapped).unwrap().checked;
    assert!(matches!(swapped.prove(&made.policy), Err(ProofError::Slot { .. })));
}

#[test]
fn a_manifest_must_agree_with_itself() {
    let made = make(&shape(&[3, 2, 4, 1], 1..3));
    let claim = |change: fn(&mut Manifest)| refused(&with(&made, change));
    assert!(claim(|it| it.last.seq = 2.into()).starts_with("manifest.last: "));
    assert!(claim(|it| it.last.batch = 0.into()).starts_with("manifest.last: "));
    assert!(claim(|it| it.last.seq = 7.into()).starts_with("batch 2: it cannot have 4 entries"));
    assert!(claim(|it| it.history.batches = 2).starts_with("manifest.last: "));
    assert!(claim(|it| it.history.batches = 3).starts_with("manifest.history.entries: "));
    assert!(claim(|it| it.history.entries = u64::MAX).starts_with("manifest.history: "));
    assert!(claim(|it| it.first.seq = 0.into()).starts_with("manifest.first.seq: "));
    assert!(claim(|it| it.first.peaks.clear()).starts_with("manifest.first.peaks: "));
    assert!(
        claim(|it| it.first.previous = EntryHash::ZERO).starts_with("entry 3: its previous hash")
    );
    assert!(
        claim(|it| it.last.entry_hash = EntryHash::ZERO).starts_with("the end: the last entry")
    );
    assert!(
        claim(|it| it.first.peaks[0] = [1; 32].into()).starts_with("the end: the batches have")
    );
    assert!(
        claim(|it| it.tenant_id =
            "0x00000000000000000000000000000000000000000000000000000000000000aa".parse().unwrap())
        .starts_with("entry 4: its previous hash")
    );
    assert!(claim(|it| it.first.peaks = vec![[1; 32].into(); 41]).contains("at most 40"));
    assert!(claim(|it| it.proof_block.header = vec![0; 5_000].into()).contains("at most 4096"));
}

#[test]
fn the_exporter_signs_the_line_as_it_stands() {
    let made = make(&shape(&[2], 0..1));
    let manifest = |change: &dyn Fn(&str) -> String| {
        let mut lines = made.lines.clone();
        lines[0] = change(&lines[0]);
        refused(&lines)
    };
    assert!(manifest(&|it| it.replacen(':', ": ", 1)).starts_with("signature: "));
    assert!(manifest(&|it| it.replace("1767300000", "1767300001")).starts_with("signature: "));
    assert!(manifest(&|it| it.replace("\"31337\"", "\"31338\"")).starts_with("signature: "));
    assert!(
        manifest(&|it| it.replace("cofferdam-bundle", "cofferdam-receipt")).contains("expected")
    );
    assert!(manifest(&|it| it.replace("\"version\":1,", "\"version\":2,")).contains("version 2"));
    assert!(manifest(&|it| it.replacen('{', "{\"more\":1,", 1)).contains("unknown field"));
    assert!(manifest(&|it| it.replacen('{', "{\"version\":1,", 1)).contains("duplicate key"));

    // By a key, but not that of the exporter whom it names.
    let other = refused(&with(&made, |it| it.exporter = [1; 20].into()));
    let named = "signed this manifest, not 0x0101010101010101010101010101010101010101";
    assert!(other.starts_with("signature: ") && other.ends_with(named), "{other}");

    let signature = |change: &dyn Fn(&mut Vec<u8>)| {
        let value: Value = serde_json::from_str(&made.lines[1]).unwrap();
        let hex = value["signature"].as_str().unwrap();
        let mut raw = alloy_primitives::hex::decode(hex).unwrap();
        change(&mut raw);
        let mut lines = made.lines.clone();
        lines[1] =
            json!({ "signature": format!("0x{}", alloy_primitives::hex::encode(raw)) }).to_string();
        refused(&lines)
    };
    assert!(signature(&|it| it[64] ^= 7).starts_with("signature: "));
    assert!(signature(&|it| it[3] ^= 1).starts_with("signature: "));
    assert!(signature(&|it| it[64] = 0).contains("27"));
    assert!(signature(&|it| it.truncate(64)).contains("65"));
    // The other signature that ECDSA allows for the same key and message.
    assert!(
        signature(&|it| {
            let s = alloy_primitives::U256::from_be_slice(&it[32..64]);
            let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
            let order: alloy_primitives::U256 = order.parse().unwrap();
            it[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
            it[64] = 55 - it[64];
        })
        .contains("upper half")
    );
}

// ---------------------------------------------------------------- golden files

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

static GOLDEN: LazyLock<[(&str, Made); 2]> = LazyLock::new(|| {
    let range = Shape { sizes: vec![3, 2, 4, 1], held: 1..3, body: partial };
    [("whole", make(&shape(&[3, 2, 4], 0..3))), ("range-partial", make(&range))]
});

/// `COFFERDAM_WRITE_VECTORS=1` writes them afresh. The text is golden; how it is packed is not.
#[test]
fn golden_bundles_are_what_is_made_and_keep_the_schema() {
    let schema = fs::read_to_string(root().join("docs/bundle.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (name, made) in &*GOLDEN {
        let text = made.lines.join("\n") + "\n";
        let path = root().join(format!("tests/vectors/bundles/{name}.ndjson"));
        if std::env::var_os("COFFERDAM_WRITE_VECTORS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{name}");
        for line in text.lines() {
            let value = serde_json::from_str(line).unwrap();
            if let Err(error) = schema.validate(&value) {
                panic!("{name}: {error} at {}: {line}", error.instance_path());
            }
        }
        read_lines(&made.lines).unwrap().checked.prove(&made.policy).unwrap();
        let mut unknown: Value = serde_json::from_str(&made.lines[2]).unwrap();
        unknown["more"] = json!(1);
        assert!(!schema.is_valid(&unknown));
    }
}

// --------------------------------------------------------------------- hostile

proptest! {
    /// Whatever is done to the text: refused, or it says the same.
    #[test]
    fn an_edited_bundle_is_refused_or_says_the_same(
        which in 0..2usize,
        edits in vec((any::<Index>(), any::<Index>(), 0..6u8, any::<u8>()), 1..4),
    ) {
        let made = &GOLDEN[which].1;
        let mut lines = made.lines.clone();
        for (at, place, kind, byte) in edits {
            if lines.is_empty() {
                break;
            }
            let at = at.index(lines.len());
            let other = place.index(lines.len());
            let mut raw = lines[at].clone().into_bytes();
            let place = place.index(raw.len() + 1).min(raw.len().saturating_sub(1));
            match kind {
                0 => drop(lines.remove(at)),
                1 => lines.swap(at, other),
                2 => lines.insert(at, lines[other].clone()),
                3 if !raw.is_empty() => { raw[place] = byte; }
                4 => raw.insert(place, byte),
                _ => raw.truncate(place),
            }
            if kind > 2 {
                lines[at] = String::from_utf8_lossy(&raw).into_owned();
            }
        }
        if let Ok(Verified { checked, batches }) = read_lines(&lines) {
            let original = read_lines(&made.lines).unwrap();
            prop_assert_eq!(checked.manifest, original.checked.manifest);
            prop_assert_eq!(checked.history, original.checked.history);
            prop_assert_eq!(batches.len(), original.batches.len());
        }
    }

    /// Whatever is done to the packed bytes.
    #[test]
    fn edited_files_do_not_panic(
        edits in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<Index>()),
    ) {
        let made = &GOLDEN[0].1;
        let mut file = packed(&made.lines);
        for (at, byte) in edits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            let cut = cut.index(file.len());
            file.truncate(cut);
        }
        if let Ok(verified) = read(&file) {
            prop_assert_eq!(verified.checked.manifest, made.manifest.clone());
        }
    }
}

#[test]
fn a_batch_that_claims_billions_is_refused_at_once() {
    let made = make(&shape(&[2], 0..1));
    let mut lines = with(&made, |it| {
        it.last.seq = ((1 << 55) - 1).into();
        it.history.entries = 1 << 55;
    });
    lines[2] = lines[2].replace("\"count\":\"2\"", "\"count\":\"4294967295\"");
    let error = read_lines(&lines).unwrap_err();
    assert!(matches!(error, StreamError::Bundle(BundleError::Count { .. })), "{error}");
}
