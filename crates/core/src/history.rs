//! A tenant's history as the contract keeps it: peaks, one for each set bit of the number of
//! batches.

use crate::{
    BatchCommitment, BatchIndex, HistoryRoot, HistoryTree, PathError,
    keccak::Messages,
    root_from_path,
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

/// The heights of the peaks that a history of `batches` has, highest first.
pub fn live_heights(batches: u64) -> impl Iterator<Item = u8> {
    (0..u64::BITS as u8).rev().filter(move |height| batches >> height & 1 == 1)
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

    /// Appends the next batches to each of several histories, hashing them together.
    pub fn append_together(
        growing: &mut [(&mut Self, &[BatchCommitment])],
    ) -> Result<Vec<Completed>, HistoryError> {
        let full = |(history, new): &(&mut Self, &[BatchCommitment])| {
            history.batches.checked_add(new.len() as u64).is_none()
        };
        if growing.iter().any(full) {
            return Err(HistoryError::Full);
        }
        let mut growths: Vec<_> = growing.iter_mut().map(Growth::new).collect();
        let mut height = 0;
        while growths.iter().any(|growth| !growth.nodes.is_empty()) {
            let nodes: usize = growths.iter().map(|growth| growth.nodes.len()).sum();
            let mut messages = Messages::with_capacity(nodes / 2, 65);
            growths.iter_mut().for_each(|growth| growth.pair(height, &mut messages));
            let mut parents = messages.hashes().into_iter();
            growths.iter_mut().for_each(|growth| growth.rise(height, &mut parents));
            height += 1;
        }
        Ok(growths.into_iter().map(Growth::done).collect())
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

/// The nodes that new batches of a history complete: the roots of the full trees of 2, 4, 8, … batches that
/// end with one of them. A node never changes once it is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Batches before.
    before: u64,
    /// Batch by batch, the lowest first.
    nodes: Vec<B256>,
}

impl Completed {
    fn new(before: u64, new: usize) -> Self {
        let nodes = completed_by(before + new as u64) - completed_by(before);
        Self { before, nodes: vec![B256::ZERO; nodes as usize] }
    }

    /// Those that end with a batch, lowest first; none of a batch that is not new.
    pub fn by(&self, batch: BatchIndex) -> &[B256] {
        let start = self.place(batch.get());
        let end = start.map(|start| start + batch.get().trailing_ones() as usize);
        start.zip(end).and_then(|(start, end)| self.nodes.get(start..end)).unwrap_or_default()
    }

    /// Where those begin that end with a batch.
    fn place(&self, batch: u64) -> Option<usize> {
        let place = completed_by(batch).checked_sub(completed_by(self.before));
        place.filter(|_| batch >= self.before).map(|place| place as usize)
    }
}

/// How many nodes so many batches complete: a tree of n leaves has n − 1 above them, and there is a full tree
/// for each set bit.
const fn completed_by(batches: u64) -> u64 {
    batches - batches.count_ones() as u64
}

/// New nodes of a history, one height after another.
struct Growth<'a> {
    /// The peaks that did not merge yet of the batches before, highest first.
    peaks: &'a mut Vec<B256>,
    /// The nodes of one height: the new ones, behind the peak that the first of them merges with.
    nodes: Vec<B256>,
    /// New peaks, lowest first.
    lower: Vec<B256>,
    completed: Completed,
}

impl<'a> Growth<'a> {
    fn new((history, new): &'a mut (&mut History, &[BatchCommitment])) -> Self {
        let completed = Completed::new(history.batches, new.len());
        history.batches += new.len() as u64;
        let nodes = new.iter().map(|commitment| (*commitment).into()).collect();
        Self { peaks: &mut history.peaks, nodes, lower: vec![], completed }
    }

    /// Adds what the parents of a height's nodes are hashed of.
    fn pair(&mut self, height: u32, messages: &mut Messages) {
        if !self.nodes.is_empty() && self.completed.before >> height & 1 == 1 {
            self.nodes.splice(0..0, self.peaks.pop());
        }
        let (pairs, alone) = self.nodes.as_chunks();
        for [left, right] in pairs {
            messages.push(HistoryTree::PREFIX, &[left.as_slice(), right.as_slice()]);
        }
        self.lower.extend(alone);
    }

    /// Goes on with these parents.
    fn rise(&mut self, height: u32, parents: &mut impl Iterator<Item = B256>) {
        let count = self.nodes.len() / 2;
        self.nodes.clear();
        self.nodes.extend(parents.take(count));
        let first = self.completed.before >> height >> 1;
        for (node, parent) in (first..).zip(&self.nodes) {
            // A parent ends with a new batch, since its right child is new.
            let last = ((node + 1) << (height + 1)) - 1;
            let place = self.completed.place(last).map(|place| place + height as usize);
            if let Some(place) = place.and_then(|place| self.completed.nodes.get_mut(place)) {
                *place = *parent;
            }
        }
    }

    fn done(self) -> Completed {
        self.peaks.extend(self.lower.into_iter().rev());
        self.completed
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
