//! From ten fields to the entry hash: salts, digests, commitment, chain.

use crate::{Commitment, EntryHash, FieldDigest, FieldName, Salt, Seed, Seq, TenantId};
use alloy_primitives::Keccak256;

/// The first byte of whatever is hashed says what it is, so that no hash of one kind is a hash of
/// another.
mod prefix {
    pub(super) const ENTRY: u8 = 0x00;
    pub(super) const FIELD: u8 = 0x04;
    pub(super) const COMMITMENT: u8 = 0x05;
    pub(super) const SALT: u8 = 0x06;
}

/// `keccak(0x06 ‖ seed ‖ name)`: the salt of one field of the entry whose seed this is.
pub fn salt(seed: &Seed, name: FieldName) -> Salt {
    hash(prefix::SALT, &[seed.as_bytes(), name.as_str().as_bytes()]).into()
}

/// `keccak(0x04 ‖ salt ‖ len(name) u16 ‖ name ‖ value)`.
pub fn field_digest(salt: &Salt, name: FieldName, value: &[u8]) -> FieldDigest {
    let name = name.as_str();
    // The ten names are shorter than 256 bytes, so the high byte of the length is always zero.
    let length = [0, name.len() as u8];
    hash(prefix::FIELD, &[salt.as_bytes(), &length, name.as_bytes(), value]).into()
}

/// `keccak(0x05 ‖ the ten digests)`, in the order of [`FieldName::ALL`].
pub fn commitment(digests: &[FieldDigest; 10]) -> Commitment {
    hash(prefix::COMMITMENT, &digests.each_ref().map(|digest| digest.as_ref())).into()
}

/// `keccak(0x00 ‖ tenantId ‖ seq u64 ‖ previous ‖ commitment)`; `previous` is [`EntryHash::ZERO`]
/// for the first entry.
pub fn entry_hash(
    tenant: TenantId,
    seq: Seq,
    previous: EntryHash,
    commitment: Commitment,
) -> EntryHash {
    let (tenant, seq) = (tenant.as_b256(), seq.get().to_be_bytes());
    hash(prefix::ENTRY, &[tenant.as_slice(), &seq, previous.as_bytes(), commitment.as_bytes()])
        .into()
}

fn hash(prefix: u8, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    hasher.update([prefix]);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().0
}
