//! Where `AuditAnchor` keeps a tenant's state: storage is part of its interface, since storage
//! proofs read it.
//!
//! | slot | holds | place of a tenant's word |
//! |---|---|---|
//! | 0 | `tenantId => head` | `keccak(tenantId ‖ 0)` |
//! | 1 | `height => tenantId => peak` | `keccak(tenantId ‖ keccak(height ‖ 1))` |
//! | 2 | `tenantId => nonce` | `keccak(tenantId ‖ 2)` |
//!
//! The head is one word: `entries 56 | batches 40 | anchorer 160`, the anchorer in the low bits.

use crate::TenantId;
use alloy_primitives::{Address, B256, U256, keccak256};

/// A tenant's head: who may anchor, and what comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The only key that may anchor; zero when none is set.
    pub anchorer: Address,
    /// Batches anchored; 40 bits in storage.
    pub batches: u64,
    /// Entries anchored; 56 bits in storage.
    pub entries: u64,
}

impl Head {
    /// Takes a head out of its storage word.
    pub fn from_word(word: B256) -> Self {
        let bytes = word.0;
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        Self { anchorer: Address::from_word(word), batches: number(7..12), entries: number(0..7) }
    }
}

/// The slot of a tenant's head.
pub fn head_slot(tenant: TenantId) -> B256 {
    mapped(tenant.as_b256(), B256::with_last_byte(0))
}

/// The slot of a tenant's peak; stale, though not zero, unless bit `height` of its batches is set.
pub fn peak_slot(height: u8, tenant: TenantId) -> B256 {
    let inner = mapped(B256::from(U256::from(height)), B256::with_last_byte(1));
    mapped(tenant.as_b256(), inner)
}

/// The slot of a tenant's nonce of anchorer changes.
pub fn nonce_slot(tenant: TenantId) -> B256 {
    mapped(tenant.as_b256(), B256::with_last_byte(2))
}

fn mapped(key: B256, slot: B256) -> B256 {
    keccak256([key.0, slot.0].concat())
}
