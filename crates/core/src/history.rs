//! A tenant's history as the contract keeps it: peaks, one for each set bit of the number of
//! batches.

use crate::{
    BatchCommitment, BatchIndex, HistoryRoot, HistoryTree, PathError, TreeHash, root_from_path,
    tree::{append, fold},
};
use alloy_primitives::B256;

/// The perfect tree of `2^height` batches that covers a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peak {
    /// Its height, hence the length of every path to it.
    pub height: u8,
    /// Its first batch.
    pub first: u64,
}

/// The root of a full tree of `2^height` batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryNode {
    /// Its height; of height 0 is a batch's commitment.
    pub height: u8,
    /// The last of its batches.
    pub last: BatchIndex,
}

/// Why peaks are not those of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A history of so many batches has another number of live peaks.
    #[error("{batches} batches have {} live peaks, found {found}", batches.count_ones())]
    Peaks {
        /// Batches claimed.
        batches: u64,
        /// Peaks given.
        found: usize,
    },
    /// The count of batches would not fit.
    #[error("the history is full")]
    Full,
}

/// The peak that covers batch `index` of a history of `batches`.
pub fn covering_peak(index: BatchIndex, batches: u64) -> Result<Peak, PathError> {
    let index = index.get();
    if index >= batches {
        return Err(PathError::Index { index, size: batches });
    }
    // The highest bit in which they differ is set in `batches`, and the batches before that peak
    // share all bits above it.
    let height = (u64::BITS - 1 - (index ^ batches).leading_zeros()) as u8;
    let first = batches & u64::MAX.checked_shl(u32::from(height) + 1).unwrap_or(0);
    Ok(Peak { height, first })
}

/// The nodes of the path from batch `index` to the peak that covers it, lowest first.
pub fn siblings(
    index: BatchIndex,
    batches: u64,
) -> Result<impl Iterator<Item = HistoryNode>, PathError> {
    let peak = covering_peak(index, batches)?;
    Ok((0..peak.height).map(move |height| {
        let sibling = index.get() >> height ^ 1;
        // Below the peak every sibling ends within the history.
        HistoryNode { height, last: BatchIndex((sibling << height) + ((1 << height) - 1)) }
    }))
}

/// An append-only history in logarithmic space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    batches: u64,
    /// Live peaks, highest first.
    peaks: Vec<B256>,
}

impl History {
    /// The empty history.
    pub const fn new() -> Self {
        Self { batches: 0, peaks: Vec::new() }
    }

    /// A history from its live peaks, highest first, as the contract's `peaks` view returns them.
    pub fn from_peaks(batches: u64, peaks: Vec<B256>) -> Result<Self, HistoryError> {
        if peaks.len() != batches.count_ones() as usize {
            return Err(HistoryError::Peaks { batches, found: peaks.len() });
        }
        Ok(Self { batches, peaks })
    }

    /// Batches so far.
    pub const fn batches(&self) -> u64 {
        self.batches
    }

    /// The live peaks, highest first.
    pub fn peaks(&self) -> &[B256] {
        &self.peaks
    }

    /// Appends the next batch and returns its index.
    pub fn append(&mut self, commitment: BatchCommitment) -> Result<BatchIndex, HistoryError> {
        let index = self.batches;
        self.batches = index.checked_add(1).ok_or(HistoryError::Full)?;
        append::<HistoryTree>(&mut self.peaks, index, commitment.into());
        Ok(BatchIndex(index))
    }

    /// The nodes that the next batch would complete: the roots of the full trees of 2, 4, 8, … batches
    /// that end with it. A node never changes once it is complete.
    pub fn completed(&self, commitment: BatchCommitment) -> Vec<B256> {
        let merging = self.peaks.iter().rev().take(self.batches.trailing_ones() as usize);
        let mut node = commitment.into();
        merging
            .map(|left| {
                node = HistoryTree::node(left, &node);
                node
            })
            .collect()
    }

    /// The root: the peaks folded from the right; zero while empty.
    pub fn root(&self) -> HistoryRoot {
        fold::<HistoryTree>(&self.peaks).unwrap_or_default().into()
    }

    /// Succeeds only when `path` leads from batch `index` with this commitment to the peak that
    /// covers it, as the contract's `verifyBatch` demands.
    pub fn verify(
        &self,
        index: BatchIndex,
        commitment: BatchCommitment,
        path: &[B256],
    ) -> Result<(), PathError> {
        let peak = covering_peak(index, self.batches)?;
        // Higher peaks come first, so a peak's place is the number of set bits above its own.
        let place = (peak.first.count_ones()) as usize;
        let root = peak_from_path(index, self.batches, commitment, path)?;
        if self.peaks.get(place) == Some(&root) { Ok(()) } else { Err(PathError::Root) }
    }
}

/// The peak that `path` leads to from batch `index` of a history of `batches`; its length is
/// checked first.
pub(crate) fn peak_from_path(
    index: BatchIndex,
    batches: u64,
    commitment: BatchCommitment,
    path: &[B256],
) -> Result<B256, PathError> {
    let peak = covering_peak(index, batches)?;
    let expected = usize::from(peak.height);
    if path.len() != expected {
        let found = path.len();
        return Err(PathError::Length { index: index.get(), size: batches, expected, found });
    }
    // A history of 2^63 batches or more has a peak of that size, which still fits a u64.
    root_from_path::<HistoryTree>(
        commitment.into(),
        index.get() - peak.first,
        1 << peak.height,
        path,
    )
}
