//! One anchored batch, as the contract remembers it.

use crate::{
    BatchCommitment, BatchIndex, BatchMerkle, BatchRoot, EntryHash, Seq, TenantId, keccak::Messages,
};
use alloy_primitives::Keccak256;

/// What a batch's commitment begins with.
const COMMITMENT: u8 = 0x02;

/// A batch has fewer than 2^32 entries.
pub const MAX_BATCH_COUNT: u64 = (1 << 32) - 1;
/// The contract counts a tenant's entries in 56 bits.
pub const MAX_ENTRIES: u64 = (1 << 56) - 1;
/// The contract counts a tenant's batches in 40 bits.
pub const MAX_BATCHES: u64 = (1 << 40) - 1;

/// A batch that has been anchored; it exists only once its block does, and changes with a reorg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose.
    pub tenant: TenantId,
    /// Which, given by the contract.
    pub index: BatchIndex,
    /// Its first entry.
    pub first_seq: Seq,
    /// Its entries.
    pub count: u64,
    /// The root of their tree.
    pub root: BatchRoot,
    /// The block's timestamp, in Unix seconds.
    pub anchored_at: u64,
}

impl Batch {
    /// `keccak(0x02 ‖ tenantId ‖ batchIndex u64 ‖ firstSeq u64 ‖ count u64 ‖ root ‖ anchoredAt
    /// u64)`.
    pub fn commitment(&self) -> BatchCommitment {
        self.message(|parts| {
            let mut hasher = Keccak256::new();
            hasher.update([COMMITMENT]);
            parts.iter().for_each(|part| hasher.update(part));
            hasher.finalize().into()
        })
    }

    fn message<T>(&self, take: impl FnOnce(&[&[u8]]) -> T) -> T {
        take(&[
            self.tenant.as_b256().as_slice(),
            &self.index.get().to_be_bytes(),
            &self.first_seq.get().to_be_bytes(),
            &self.count.to_be_bytes(),
            self.root.as_bytes(),
            &self.anchored_at.to_be_bytes(),
        ])
    }

    /// The leaf of an entry in this batch's tree, `seq − firstSeq`; `None` for an entry of another
    /// batch.
    pub fn leaf_index(&self, seq: Seq) -> Option<u64> {
        seq.get().checked_sub(self.first_seq.get()).filter(|index| *index < self.count)
    }
}

/// The [`Batch::commitment`] of each, hashed together.
pub fn batch_commitments(of: &[Batch]) -> Vec<BatchCommitment> {
    let mut messages = Messages::with_capacity(of.len(), 97);
    of.iter().for_each(|batch| batch.message(|parts| messages.push(COMMITMENT, parts)));
    messages.hashes().into_iter().map(BatchCommitment::from).collect()
}

/// The root of the tree whose leaves are `leaves`; `None` without leaves.
pub fn batch_root(leaves: &[EntryHash]) -> Option<BatchRoot> {
    BatchMerkle::new(leaves).map(|tree| tree.root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::Address;

    #[test]
    fn an_entry_has_a_leaf_only_in_its_own_batch() {
        let batch = Batch {
            tenant: TenantId::from_authority(Address::repeat_byte(1)).expect("not zero"),
            index: BatchIndex(3),
            first_seq: Seq(10),
            count: 5,
            root: BatchRoot::ZERO,
            anchored_at: 0,
        };
        let leaves: Vec<_> = (9..=15).map(|seq| batch.leaf_index(Seq(seq))).collect();
        assert_eq!(leaves, [None, Some(0), Some(1), Some(2), Some(3), Some(4), None]);
        let end = Batch { first_seq: Seq(u64::MAX), ..batch };
        assert_eq!(end.leaf_index(Seq(u64::MAX)), Some(0));
    }

    #[test]
    fn commitments_made_together_are_those_made_alone() {
        let tenant = TenantId::from_authority(Address::repeat_byte(1)).expect("not zero");
        let batch = |n: u64| Batch {
            tenant,
            index: BatchIndex(n),
            first_seq: Seq(10 * n),
            count: n + 1,
            root: BatchRoot::from([n as u8; 32]),
            anchored_at: 1_700_000_000 + n,
        };
        let batches: Vec<_> = (0..21).map(batch).collect();
        let alone: Vec<_> = batches.iter().map(Batch::commitment).collect();
        assert_eq!(batch_commitments(&batches), alone);
    }
}
