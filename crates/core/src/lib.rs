//! Identity, byte formats, hash chain, trees and receipts of Cofferdam: no I/O, no async, no clock,
//! no randomness.
//!
//! Everything that two parties must compute alike lives here, once:
//!
//! - [`TenantId`], [`Seq`], [`BatchIndex`]: who, which entry, which batch.
//! - [`Fields`], [`salt()`], [`field_digest`], [`commitment()`], [`entry_hash`]: from an audit
//!   record to the hash that is both a link of the tenant's chain and a leaf of its batch.
//! - [`BatchMerkle`], [`HistoryMerkle`], [`History`]: roots, paths and the contract's peaks;
//!   [`BatchTiles`] and [`siblings`]: the same paths from a few nodes that were kept.
//! - [`verify_inclusion`]: the one verifier of paths, with exact lengths, generic over the hash.
//! - [`Receipt`]: what an auditor is handed, [`Receipt::check`], which needs nothing but the receipt,
//!   and [`Receipt::prove`], which needs a [`Policy`] with the hash of one block.
//! - [`BundleCheck`]: a tenant's history in one text, line by line, and that nothing is missing in it.
//! - [`json`], [`Timestamp`]: what a payload and a time must look like to be accepted.
//! - [`mirror`]: the contracts' events as rows.
//! - [`storage`]: where `AuditAnchor` keeps heads, peaks and nonces; [`BlockHeader`] and
//!   [`value_at`], which lead there from a block's hash.
//!
//! The formats are fixed by the golden vectors in `tests/vectors`, which a program that shares no
//! code with this crate writes, and which the Solidity tests read too.
//!
//! ```
//! use cofferdam_core::{
//!     Address, BatchMerkle, EntryHash, FieldName, Fields, Seed, Seq, TenantId, entry_hash,
//! };
//!
//! let tenant = TenantId::from_authority(Address::repeat_byte(0x11))?;
//! let fields = Fields::new([(FieldName::Action, "s3:GetObject".to_owned())])?;
//! let seed = Seed::from([7; 32]); // from a random source, one for each entry
//! let first = entry_hash(tenant, Seq(0), EntryHash::ZERO, fields.commitment(&seed));
//! let second = entry_hash(tenant, Seq(1), first, fields.commitment(&Seed::from([8; 32])));
//! let batch = BatchMerkle::new(&[first, second]).ok_or("empty")?;
//! assert_eq!(batch.path(0), Some(vec![second.into()]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod bundle;
mod bytes;
mod entry;
mod field;
mod header;
mod hex;
mod history;
pub mod json;
mod keccak;
mod merkle;
pub mod mirror;
mod number;
mod receipt;
pub mod storage;
mod tenant;
mod tiles;
mod timestamp;
mod tree;
mod trie;

pub use alloy_primitives::{Address, B256, Bytes};
pub use batch::{Batch, MAX_BATCH_COUNT, MAX_BATCHES, MAX_ENTRIES, batch_commitments, batch_root};
pub use bundle::{
    BundleBatch, BundleCheck, BundleEntry, BundleError, BundleFirst, BundleHistory, BundleLast,
    BundleLine, BundleProof, CheckedBundle, LaterBatch, MAX_LINE_BYTES, Manifest, PolicyRecord,
    ProvenBundle, ProvenHistory, ScopeRecord, SignatureLine, manifest_digest,
};
pub use bytes::{
    BatchCommitment, BatchRoot, Commitment, EntryHash, FieldDigest, HistoryRoot, Salt, Seed,
    WrongLength,
};
pub use entry::{
    commitment, commitments, entry_digests, entry_hash, field_digest, field_digests, salt, salts,
};
pub use field::{FieldError, FieldName, Fields, UnknownField};
pub use header::{BlockHeader, HeaderError};
pub use hex::HexError;
pub use history::{
    Completed, History, HistoryError, HistoryNode, Peak, covering_peak, live_heights, siblings,
};
pub use merkle::{BatchMerkle, BatchTree, HistoryMerkle, HistoryTree};
pub use number::{BatchIndex, NumberError, PolicyVersion, Seq};
pub use receipt::{
    AnchorRef, CheckedReceipt, EntryBody, Finality, HistoryRef, Inclusion, Level, MAX_HEADER_BYTES,
    MAX_NODE_BYTES, MAX_PATH, MAX_PROOF_NODES, MAX_RECEIPT_BYTES, Member, Policy, ProofBlock,
    ProofError, ProvenReceipt, Receipt, ReceiptEntry, ReceiptError, ReceiptField, SlotProof, State,
    Word,
};
pub use tenant::{TenantId, TenantIdError};
pub use tiles::{BatchTiles, TILE_LEAVES};
pub use timestamp::{Timestamp, TimestampError};
pub use tree::{PathError, TreeHash, path_length, root_from_path, verify_inclusion};
pub use trie::{TrieError, value_at};
