//! Completeness, line by line.

use super::{BundleBatch, BundleError, LaterBatch, Manifest, signature};
use crate::{
    Batch, BatchIndex, BatchTree, BlockHeader, Commitment, EntryBody, EntryHash, History,
    MAX_BATCH_COUNT, MAX_BATCHES, MAX_ENTRIES, Policy, ProofError, ProvenHistory, ReceiptEntry,
    ReceiptError, Seq, entry_hash,
    receipt::wire::{read_entry, write_entry},
    storage::Head,
    tree::{append, fold},
};
use alloy_primitives::B256;
use std::mem::replace;

/// What must follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleLine {
    /// A batch.
    Batch,
    /// An entry, and how many in all until the batch is complete.
    Entries(u64),
    /// The commitment of a batch after the bundle's last.
    Later,
    /// Nothing.
    End,
}

/// As much of an entry as its batch needs; it can be made of a line anywhere, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleEntry {
    /// Its place.
    pub seq: Seq,
    /// The hash of the entry before it, as it says.
    pub previous: EntryHash,
    /// Its commitment, recomputed unless it was erased.
    pub commitment: Commitment,
}

impl BundleEntry {
    /// Reads lines, up to the first that is no entry, and hashes their fields together, which is most of
    /// the work that a bundle makes.
    pub fn from_lines<'a>(
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> Vec<Result<Self, ReceiptError>> {
        let mut failed = false;
        let until = |entry: &Result<_, _>| !replace(&mut failed, entry.is_err());
        let read: Vec<_> = lines.into_iter().map(read_entry).take_while(until).collect();
        let bodies: Vec<_> = read.iter().flatten().map(|entry| &entry.body).collect();
        let mut commitments = EntryBody::commitments(&bodies).into_iter();
        let hashed = read.into_iter().map(|entry| {
            let ReceiptEntry { seq, previous, body } = entry?;
            let commitment = commitments.next().unwrap_or_else(|| body.commitment());
            Ok(Self { seq, previous, commitment })
        });
        hashed.collect()
    }

    /// Writes an entry as a line, without its end.
    pub fn to_json(entry: &ReceiptEntry) -> Result<String, ReceiptError> {
        write_entry(entry)
    }
}

impl From<&ReceiptEntry> for BundleEntry {
    fn from(entry: &ReceiptEntry) -> Self {
        let ReceiptEntry { seq, previous, body } = entry;
        Self { seq: *seq, previous: *previous, commitment: body.commitment() }
    }
}

/// A bundle that is being checked.
#[derive(Debug)]
pub struct BundleCheck {
    manifest: Manifest,
    /// The batches so far.
    history: History,
    previous: EntryHash,
    next_seq: u64,
    /// The batch whose entries are being read, and the peaks of their tree.
    open: Option<(Batch, Vec<B256>)>,
    anchored_in: u64,
    anchored_at: u64,
}

/// A bundle that agrees with itself and is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedBundle {
    /// Its first line.
    pub manifest: Manifest,
    /// The whole history, from the bundle's batches and the hashes around them.
    pub history: History,
    /// The last batch's block, as the bundle says.
    pub anchored_in: u64,
    /// The last batch's time.
    pub anchored_at: u64,
}

/// What is proven under a pinned block hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenBundle {
    /// The block.
    pub block: BlockHeader,
    /// The tenant's head at that block.
    pub head: Head,
}

impl BundleCheck {
    /// Begins with the first two lines, without their ends.
    pub fn open(manifest: &[u8], signed: &[u8]) -> Result<Self, BundleError> {
        let line = manifest;
        let manifest = Manifest::from_json(line)?;
        signature::verify(&manifest, line, signed)?;
        Self::of(manifest)
    }

    fn of(manifest: Manifest) -> Result<Self, BundleError> {
        let refuse =
            |member, problem: &str| Err(BundleError::Claim { member, problem: problem.to_owned() });
        let (first, last, all) = (&manifest.first, &manifest.last, &manifest.history);
        let (before, end) = (first.batch.get(), last.batch.get());
        if all.batches > MAX_BATCHES || all.entries > MAX_ENTRIES {
            return refuse("history", "more than the contract can count");
        }
        if end < before || last.seq < first.seq {
            return refuse("last", "before the first");
        }
        if end >= all.batches || last.seq.get() >= all.entries {
            return refuse("last", "after the end of the history");
        }
        if (end + 1 == all.batches) != (last.seq.get() + 1 == all.entries) {
            return refuse("history.entries", "not where the last batch ends");
        }
        if (before == 0) != (first.seq.get() == 0) {
            return refuse("first.seq", "the first batch begins with entry 0, and no other");
        }
        if before == 0 && first.previous != EntryHash::ZERO {
            return refuse("first.previous", "must be zero for seq 0");
        }
        let history = match History::from_peaks(before, first.peaks.clone()) {
            Ok(history) => history,
            Err(error) => return refuse("first.peaks", &error.to_string()),
        };
        let (previous, next_seq) = (first.previous, first.seq.get());
        let (open, anchored_in, anchored_at) = (None, 0, 0);
        Ok(Self { manifest, history, previous, next_seq, open, anchored_in, anchored_at })
    }

    /// The first line.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What must follow.
    pub fn expects(&self) -> BundleLine {
        if let Some((batch, _)) = &self.open {
            let end = batch.first_seq.get() + batch.count;
            return BundleLine::Entries(end - self.next_seq);
        }
        match self.history.batches() {
            next if next <= self.manifest.last.batch.get() => BundleLine::Batch,
            next if next < self.manifest.history.batches => BundleLine::Later,
            _ => BundleLine::End,
        }
    }

    /// The entry that comes next.
    pub fn next_seq(&self) -> Seq {
        Seq(self.next_seq)
    }

    /// The batch that is being read, or comes next.
    pub fn next_batch(&self) -> BatchIndex {
        BatchIndex(self.history.batches())
    }

    fn demand(&self, expected: bool) -> Result<(), BundleError> {
        if expected { Ok(()) } else { Err(BundleError::Misplaced(self.due())) }
    }

    /// What must follow, in words.
    pub fn due(&self) -> String {
        match self.expects() {
            BundleLine::Batch => format!("batch {}", self.history.batches()),
            BundleLine::Entries(_) => format!("entry {}", self.next_seq),
            BundleLine::Later => format!("the commitment of batch {}", self.history.batches()),
            BundleLine::End => "the end".to_owned(),
        }
    }

    /// Takes a batch, whose entries follow.
    pub fn batch(&mut self, line: &BundleBatch) -> Result<(), BundleError> {
        self.demand(self.expects() == BundleLine::Batch)?;
        let index = self.next_batch();
        let gap = |member, expected, found| match expected == found {
            true => Ok(()),
            false => Err(BundleError::Gap { index, member, expected, found }),
        };
        gap("index", index.get(), line.index.get())?;
        gap("firstSeq", self.next_seq, line.first_seq.get())?;
        let (count, last) = (line.count, self.manifest.last.seq);
        let room = last.get().checked_sub(self.next_seq).map_or(0, |more| more + 1);
        let ends = index == self.manifest.last.batch;
        if !(1..=MAX_BATCH_COUNT).contains(&count) || count > room || ends != (count == room) {
            return Err(BundleError::Count { index, count, last });
        }
        self.anchored_in = self.anchored_in.max(line.anchor.block_number);
        self.anchored_at = self.anchored_at.max(line.anchored_at);
        self.open = Some((line.batch(self.manifest.tenant_id), vec![]));
        Ok(())
    }

    /// Takes the next entry of the batch.
    pub fn entry(&mut self, entry: &BundleEntry) -> Result<(), BundleError> {
        let Some((batch, peaks)) = &mut self.open else {
            return Err(BundleError::Misplaced(self.due()));
        };
        let (seq, found) = (Seq(self.next_seq), entry.seq);
        if found != seq {
            return Err(BundleError::Order { expected: seq, found });
        }
        if entry.previous != self.previous {
            let (expected, found) = (self.previous, entry.previous);
            return Err(BundleError::Chain { seq, expected, found });
        }
        let hash = entry_hash(batch.tenant, seq, entry.previous, entry.commitment);
        let position = seq.get() - batch.first_seq.get();
        append::<BatchTree>(peaks, position, hash.into());
        (self.previous, self.next_seq) = (hash, seq.get() + 1);
        if position + 1 < batch.count {
            return Ok(());
        }
        let Batch { index, first_seq, count, root, .. } = *batch;
        if fold::<BatchTree>(peaks) != Some(root.into()) {
            return Err(BundleError::Root { index, first_seq, count });
        }
        let commitment = batch.commitment();
        self.open = None;
        self.append(commitment.into())
    }

    /// Takes the commitment of a batch after the bundle's last.
    pub fn later(&mut self, line: &LaterBatch) -> Result<(), BundleError> {
        self.demand(self.expects() == BundleLine::Later)?;
        self.append(line.commitment.into())
    }

    fn append(&mut self, commitment: B256) -> Result<(), BundleError> {
        let appended = self.history.append(commitment.into());
        appended.map(drop).map_err(|error| BundleError::End(error.to_string()))
    }

    /// Ends: the history must be the one that the manifest names.
    pub fn finish(self) -> Result<CheckedBundle, BundleError> {
        self.demand(self.expects() == BundleLine::End)?;
        let Self { manifest, history, previous, anchored_in, anchored_at, .. } = self;
        if previous != manifest.last.entry_hash {
            let claimed = manifest.last.entry_hash;
            return Err(BundleError::End(format!(
                "the last entry has hash {previous}, the manifest names {claimed}"
            )));
        }
        let (root, claimed) = (history.root(), manifest.history.root);
        if root != claimed {
            return Err(BundleError::End(format!(
                "the batches have the history root {root}, the manifest names {claimed}"
            )));
        }
        Ok(CheckedBundle { manifest, history, anchored_in, anchored_at })
    }
}

impl CheckedBundle {
    /// Level 2: a block whose hash the policy names → header → state root → the contract's account →
    /// the tenant's counters and every live peak, which are those of this bundle: nothing is missing
    /// at its end, and nothing in it was not anchored.
    pub fn prove(&self, policy: &Policy) -> Result<ProvenBundle, ProofError> {
        let Manifest { chain_id, contract, code_hash, tenant_id, history, proof_block, .. } =
            &self.manifest;
        policy.admits_claims(*chain_id, *contract, *code_hash)?;
        let ProvenHistory { block, head, peaks } = proof_block.verify(*tenant_id, policy)?;
        let (number, timestamp) = (block.number, block.timestamp);
        let (anchored, anchored_at) = (self.anchored_in, self.anchored_at);
        if number < anchored || timestamp < anchored_at {
            return Err(ProofError::Before { number, timestamp, anchored, anchored_at });
        }
        if head.batches != history.batches {
            let (proven, found) = (head.batches, history.batches);
            return Err(ProofError::Batches { proven, found });
        }
        if head.entries != history.entries {
            let (end, entries) = (history.entries, head.entries);
            return Err(ProofError::Entries { end, entries });
        }
        for (stored, found) in peaks.into_iter().zip(self.history.peaks().iter().copied()) {
            if stored != found {
                return Err(ProofError::Peak { stored, found });
            }
        }
        Ok(ProvenBundle { block, head })
    }
}
