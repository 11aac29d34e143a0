//! Another project's inclusion vectors through the very verifier that checks our own paths.
//!
//! They are read where they lie beside the project and never copied into it.
#![allow(clippy::unwrap_used)] // a vector that cannot be read is a failed test

use base64::{Engine, prelude::BASE64_STANDARD};
use cofferdam_core::{TreeHash, verify_inclusion};
use rs_merkle::{Hasher, algorithms::Sha256};
use serde::Deserialize;
use std::path::PathBuf;

/// Inner nodes of RFC 6962: `sha256(0x01 ‖ left ‖ right)`.
struct Rfc6962;

impl TreeHash for Rfc6962 {
    type Digest = [u8; 32];

    fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
        Sha256::hash(&[&[1], &left[..], right].concat())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    name: String,
    leaf_idx: u64,
    tree_size: u64,
    root: Option<String>,
    leaf_hash: Option<String>,
    proof: Option<Vec<String>>,
    want_err: bool,
}

impl Vector {
    /// What is no 32-byte hash cannot even be given to the verifier, which is one way to be
    /// refused.
    fn accepted(&self) -> bool {
        let proof = self.proof.iter().flatten().map(|node| digest(node));
        let proof: Option<Vec<_>> = proof.collect();
        let (leaf, root) = (self.leaf_hash.as_deref(), self.root.as_deref());
        let parts = (leaf.and_then(digest), root.and_then(digest), proof);
        let (Some(leaf), Some(root), Some(proof)) = parts else { return false };
        verify_inclusion::<Rfc6962>(leaf, self.leaf_idx, self.tree_size, &proof, root).is_ok()
    }
}

fn digest(base64: &str) -> Option<[u8; 32]> {
    BASE64_STANDARD.decode(base64).unwrap().try_into().ok()
}

#[test]
fn inclusion_vectors() {
    let shared = std::env::var_os("COFFERDAM_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let file = shared.join("vectors/rfc6962-inclusion/vectors.json");
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {} is absent (COFFERDAM_SHARED names its folder)", file.display());
            return;
        }
        Err(e) => panic!("{}: {e}", file.display()),
    };
    let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap();
    assert_eq!(vectors.len(), 49);
    assert!(vectors.iter().any(|vector| !vector.want_err), "some must be accepted");
    for vector in &vectors {
        assert_eq!(vector.accepted(), !vector.want_err, "{}", vector.name);
    }
}
