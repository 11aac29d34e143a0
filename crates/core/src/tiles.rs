//! The upper part of a batch's tree, kept so that a path takes the leaves of one tile only.

use std::ops::Range;

use crate::{BatchRoot, BatchTree, EntryHash, batch_root, merkle::Tree};
use alloy_primitives::B256;

/// Leaves of a tile. A power of two: every tile is then a subtree of its batch, the last and smaller one
/// too.
pub const TILE_LEAVES: u64 = 256;

/// The roots of a batch's tiles: with the leaves of any one of them, the paths of these leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchTiles {
    count: u64,
    /// Leaves of each tile but the last.
    each: u64,
    roots: Vec<BatchRoot>,
    root: BatchRoot,
}

impl BatchTiles {
    /// The tiles of these leaves; `None` without leaves, since a batch is never empty.
    pub fn new(leaves: &[EntryHash]) -> Option<Self> {
        let tiles = leaves.chunks(usize::try_from(TILE_LEAVES).ok()?);
        Self::from_roots(leaves.len() as u64, tiles.map(batch_root).collect::<Option<_>>()?)
    }

    /// Tiles whose roots were kept; `None` unless a batch of `count` leaves has as many.
    pub fn from_roots(count: u64, roots: Vec<BatchRoot>) -> Option<Self> {
        if roots.len() as u64 != count.div_ceil(TILE_LEAVES) {
            return None;
        }
        let root = upper(&roots).root()?.into();
        Some(Self { count, each: TILE_LEAVES, roots, root })
    }

    /// A batch whose tiles were not kept, as one tile of all its leaves.
    pub fn untiled(count: u64, root: BatchRoot) -> Self {
        Self { count, each: count, roots: vec![root], root }
    }

    /// The batch's root.
    pub const fn root(&self) -> BatchRoot {
        self.root
    }

    /// The batch's leaves.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The tiles' roots, in order.
    pub fn roots(&self) -> &[BatchRoot] {
        &self.roots
    }

    /// The leaves of the tile that leaf `index` is in; `None` outside the batch.
    pub fn tile(&self, index: u64) -> Option<Range<u64>> {
        let first = index - index.checked_rem(self.each)?;
        (index < self.count).then(|| first..self.count.min(first.saturating_add(self.each)))
    }

    /// The path from leaf `index` to the batch's root, as [`BatchMerkle::path`](crate::BatchMerkle::path)
    /// gives it; `None` unless `leaves` are those of the leaf's tile.
    pub fn path(&self, index: u64, leaves: &[EntryHash]) -> Option<Vec<B256>> {
        let tile = self.tile(index)?;
        let at = tile.start / self.each;
        let lower = Tree::<BatchTree>::new(leaves.iter().map(EntryHash::as_bytes));
        let root = lower.root().map(BatchRoot::from)?;
        if leaves.len() as u64 != tile.end - tile.start
            || self.roots.get(at as usize) != Some(&root)
        {
            return None;
        }
        let mut path = lower.path(index - tile.start)?;
        path.extend(upper(&self.roots).path(at)?);
        Some(path)
    }
}

/// The tree above the tiles.
fn upper(roots: &[BatchRoot]) -> Tree<BatchTree> {
    Tree::new(roots.iter().map(BatchRoot::as_bytes))
}
