//! The verifier of paths: RFC 6962 trees whose leaves are given as they are, generic over the hash
//! of inner nodes.

/// How a tree joins two nodes.
pub trait TreeHash {
    /// A node.
    type Digest: Copy + Eq;

    /// The node above `left` and `right`.
    fn node(left: &Self::Digest, right: &Self::Digest) -> Self::Digest;
}

/// Why a path proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The tree has no such leaf; an empty tree has none at all.
    #[error("index {index} is outside a tree of {size}")]
    Index {
        /// Leaf asked for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// The path is not exactly as long as this leaf's place requires.
    #[error("a path for index {index} of {size} has {expected} hashes, found {found}")]
    Length {
        /// Leaf asked for.
        index: u64,
        /// Leaves of the tree.
        size: u64,
        /// Hashes that the path must have.
        expected: usize,
        /// Hashes that it has.
        found: usize,
    },
    /// The path leads to another root.
    #[error("the path leads to another root")]
    Root,
}

/// The one length that a path for leaf `index` of a tree of `size` leaves has.
pub fn path_length(index: u64, size: u64) -> Result<usize, PathError> {
    let (inner, border) = shape(index, size)?;
    Ok((inner + border) as usize)
}

/// The root that `path` leads to from `leaf`; the length is checked before anything is hashed.
///
/// A root alone does not fix the size of its tree: a path may lead to the same root for two sizes,
/// so `size` must come from something that is bound to it, as
/// [`Batch::commitment`](crate::Batch::commitment) binds the count.
pub fn root_from_path<H: TreeHash>(
    leaf: H::Digest,
    index: u64,
    size: u64,
    path: &[H::Digest],
) -> Result<H::Digest, PathError> {
    let (inner, border) = shape(index, size)?;
    let expected = (inner + border) as usize;
    if path.len() != expected {
        return Err(PathError::Length { index, size, expected, found: path.len() });
    }
    let (below, above) = path.split_at(inner as usize);
    let inner_root = below.iter().enumerate().fold(leaf, |node, (height, sibling)| {
        if index >> height & 1 == 0 { H::node(&node, sibling) } else { H::node(sibling, &node) }
    });
    Ok(above.iter().fold(inner_root, |node, sibling| H::node(sibling, &node)))
}

/// Succeeds only when `path` leads from `leaf` at `index` of `size` to `root`.
pub fn verify_inclusion<H: TreeHash>(
    leaf: H::Digest,
    index: u64,
    size: u64,
    path: &[H::Digest],
    root: H::Digest,
) -> Result<(), PathError> {
    if root_from_path::<H>(leaf, index, size, path)? == root {
        Ok(())
    } else {
        Err(PathError::Root)
    }
}

/// Appends a leaf to a tree of `size` leaves that is kept as its peaks, highest first: as a binary
/// counter carries, every trailing one bit is a peak that merges into the new one.
pub(crate) fn append<H: TreeHash>(peaks: &mut Vec<H::Digest>, size: u64, leaf: H::Digest) {
    let mut node = leaf;
    for _ in 0..size.trailing_ones() {
        if let Some(left) = peaks.pop() {
            node = H::node(&left, &node);
        }
    }
    peaks.push(node);
}

/// The root above these peaks: folded from the right; `None` of an empty tree.
pub(crate) fn fold<H: TreeHash>(peaks: &[H::Digest]) -> Option<H::Digest> {
    peaks.iter().rev().copied().reduce(|right, left| H::node(&left, &right))
}

/// A path has two parts: up to where it joins the right border every level has a sibling on either
/// side; from there on only the left siblings that the bits of `index` name.
fn shape(index: u64, size: u64) -> Result<(u32, u32), PathError> {
    if index >= size {
        return Err(PathError::Index { index, size });
    }
    let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    Ok((inner, border))
}
