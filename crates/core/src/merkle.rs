//! Whole trees, built afresh by `rs_merkle` (its incremental commits are linear in the tree, its
//! verifier is not used).

use crate::{
    BatchCommitment, BatchIndex, BatchRoot, EntryHash, HistoryRoot, TreeHash, covering_peak,
};
use alloy_primitives::{B256, Keccak256};
use rs_merkle::{Hasher, MerkleTree};

macro_rules! tree_hash {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl $name {
            /// What every node is hashed behind.
            pub(crate) const PREFIX: u8 = $prefix;
        }

        impl TreeHash for $name {
            type Digest = B256;

            fn node(left: &B256, right: &B256) -> B256 {
                node(Self::PREFIX, left.as_slice(), right.as_slice())
            }
        }

        impl Hasher for $name {
            type Hash = [u8; 32];

            /// Never called by a tree whose leaves are given and whose concatenation is overridden.
            fn hash(data: &[u8]) -> [u8; 32] {
                alloy_primitives::keccak256(data).0
            }

            /// Without this override a node would have no prefix and could be read as something
            /// else.
            fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
                right.map_or(*left, |right| node(Self::PREFIX, left, right).0)
            }
        }
    };
}

tree_hash!(
    /// Batch trees: `keccak(0x01 ‖ left ‖ right)`.
    BatchTree,
    0x01
);
tree_hash!(
    /// Histories: `keccak(0x03 ‖ left ‖ right)`.
    HistoryTree,
    0x03
);

fn node(prefix: u8, left: &[u8], right: &[u8]) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update([prefix]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize()
}

/// The tree of one batch: its leaves are the entry hashes themselves.
pub struct BatchMerkle {
    tree: Tree<BatchTree>,
    root: BatchRoot,
}

impl BatchMerkle {
    /// Builds the tree; `None` without leaves, since a batch is never empty.
    pub fn new(leaves: &[EntryHash]) -> Option<Self> {
        let tree = Tree::new(leaves.iter().map(EntryHash::as_bytes));
        let root = tree.root()?.into();
        Some(Self { tree, root })
    }

    /// The root that is anchored.
    pub const fn root(&self) -> BatchRoot {
        self.root
    }

    /// Leaves.
    pub const fn count(&self) -> u64 {
        self.tree.size
    }

    /// The path from leaf `index` (the entry's `seq − firstSeq`) to the root; `None` outside the
    /// batch.
    pub fn path(&self, index: u64) -> Option<Vec<B256>> {
        self.tree.path(index)
    }
}

/// A tenant's whole history: its leaves are the batch commitments themselves.
pub struct HistoryMerkle {
    tree: Tree<HistoryTree>,
    root: HistoryRoot,
}

impl HistoryMerkle {
    /// Builds the tree; an empty history has the zero root.
    pub fn new(commitments: &[BatchCommitment]) -> Self {
        let tree = Tree::new(commitments.iter().map(BatchCommitment::as_bytes));
        let root = tree.root().map_or(HistoryRoot::ZERO, HistoryRoot::from);
        Self { tree, root }
    }

    /// The root; zero while the history is empty.
    pub const fn root(&self) -> HistoryRoot {
        self.root
    }

    /// Batches.
    pub const fn batches(&self) -> u64 {
        self.tree.size
    }

    /// The path from a batch to the history root; `None` outside the history.
    pub fn path_to_root(&self, index: BatchIndex) -> Option<Vec<B256>> {
        self.tree.path(index.get())
    }

    /// The path from a batch to the peak that covers it, which is what the contract asks for;
    /// `None` outside the history.
    pub fn path_to_peak(&self, index: BatchIndex) -> Option<Vec<B256>> {
        let peak = covering_peak(index, self.tree.size).ok()?;
        let mut path = self.path_to_root(index)?;
        // A peak is a whole subtree, so the path to it is where the path to the root begins.
        path.truncate(usize::from(peak.height));
        Some(path)
    }
}

pub(crate) struct Tree<H: Hasher<Hash = [u8; 32]>> {
    inner: MerkleTree<H>,
    size: u64,
}

impl<H: Hasher<Hash = [u8; 32]>> Tree<H> {
    pub(crate) fn new<'a>(leaves: impl Iterator<Item = &'a [u8; 32]>) -> Self {
        let leaves: Vec<_> = leaves.copied().collect();
        Self { inner: MerkleTree::from_leaves(&leaves), size: leaves.len() as u64 }
    }

    pub(crate) fn root(&self) -> Option<[u8; 32]> {
        self.inner.root()
    }

    pub(crate) fn path(&self, index: u64) -> Option<Vec<B256>> {
        if index >= self.size {
            return None;
        }
        let index = usize::try_from(index).ok()?;
        Some(self.inner.proof(&[index]).proof_hashes().iter().map(B256::from).collect())
    }
}

macro_rules! debug {
    ($name:ident, $size:ident) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field(stringify!($size), &self.$size())
                    .field("root", &self.root)
                    .finish_non_exhaustive()
            }
        }
    };
}
debug!(BatchMerkle, count);
debug!(HistoryMerkle, batches);
