//! A tenant's history, or a range of it, as one text: a manifest, the exporter's signature, then every
//! batch with all its entries. `docs/bundle.md` specifies the format.
//!
//! [`BundleCheck`] takes it line by line and keeps no more than the peaks of two trees, so that memory is
//! flat at any size. Reading files, inflating and threads are its caller's.

mod check;
mod error;
mod manifest;
mod proof;
mod signature;

pub use check::{BundleCheck, BundleEntry, BundleLine, CheckedBundle, ProvenBundle};
pub use error::BundleError;
pub use manifest::{
    BundleBatch, BundleFirst, BundleHistory, BundleLast, LaterBatch, MAX_LINE_BYTES, Manifest,
    PolicyRecord, ScopeRecord,
};
pub use proof::{BundleProof, ProvenHistory};
pub use signature::{SignatureLine, manifest_digest};
