//! The loop from checkpoint to checkpoint.

use std::time::Duration;

use alloy::eips::BlockNumberOrTag;
use cofferdam_contracts::{Chain, Event, Header, Logged};
use cofferdam_store::{
    AnchoredEvent, AnchorerSetEvent, Checkpoint, LogPosition, Mirror, MirroredEvent,
};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::IndexError;

/// Blocks read at once; halved when a node refuses, grown back when it does not.
const MAX_RANGE: u64 = 2_000;
/// Below the head, the hash of every block is kept, so that a reorg rewinds no further than it must.
const KEPT_HASHES: u64 = 128;

/// Mirrors one contract on one chain.
#[derive(Debug, Clone)]
pub struct Indexer {
    mirror: Mirror,
    chain: Chain,
    /// The block that the contract was deployed in.
    from_block: u64,
}

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The block that the mirror is complete up to.
    pub block: u64,
    /// Events written.
    pub events: u64,
    /// Our own batches that were found anchored.
    pub anchored: u64,
    /// Differences between the chain and what was sealed.
    pub incidents: u64,
    /// Whether the chain had changed below the checkpoint.
    pub rewound: bool,
}

impl Indexer {
    /// An indexer from the block that the contract was deployed in.
    pub fn new(mirror: Mirror, chain: Chain, from_block: u64) -> Self {
        Self { mirror, chain, from_block }
    }

    /// Mirrors up to the chain's present head.
    pub async fn catch_up(&self) -> Result<Progress, IndexError> {
        let mut progress = Progress::default();
        let head = self.chain.head().await?;
        let mut checkpoint = self.mirror.checkpoint().await?;
        if let Some(old) = checkpoint
            && !self.is_canonical(old).await?
        {
            let ancestor = self.common_ancestor(old, head).await?;
            warn!(from = old.number, to = ancestor.number, "chain changed, mirror rewound");
            self.mirror.rewind(old, ancestor).await?;
            checkpoint = Some(ancestor);
            progress.rewound = true;
        }
        let mut range = MAX_RANGE;
        let mut next = checkpoint.map_or(self.from_block, |at| at.number + 1);
        progress.block = next.saturating_sub(1);
        while next <= head.number {
            let last = head.number.min(next + range - 1);
            let (events, to) = match self.read(next, last).await {
                Ok(read) => read,
                Err(IndexError::Chain(error)) if range > 1 => {
                    debug!(%error, range, "range refused, halving it");
                    range /= 2;
                    continue;
                }
                Err(error) => return Err(error),
            };
            range = (range * 2).min(MAX_RANGE);
            let hashes = self.hashes(next, last, head.number).await?;
            let mirrored: Vec<MirroredEvent> = events.into_iter().filter_map(mirrored).collect();
            let written = mirrored.len() as u64;
            let applied = self.mirror.apply(checkpoint, to, &hashes, mirrored).await?;
            progress.events += written;
            progress.anchored += applied.anchored;
            progress.incidents += applied.incidents;
            progress.block = to.number;
            checkpoint = Some(to);
            next = to.number + 1;
            debug!(block = to.number, events = written, "range mirrored");
        }
        Ok(progress)
    }

    /// Keeps the mirror at the head until told to stop.
    pub async fn run(&self, every: Duration, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.catch_up().await {
                Ok(Progress { events: 0, .. }) => {}
                Ok(done) => info!(
                    block = done.block,
                    events = done.events,
                    incidents = done.incidents,
                    "events mirrored"
                ),
                Err(error @ IndexError::Moving { .. }) => debug!(%error, "mirroring again"),
                Err(error) => error!(%error, "mirroring failed, trying again"),
            }
            tokio::select! {
                _ = tokio::time::sleep(every) => {}
                // Nobody is left to say so: waiting for it would spin.
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The events of a range, read while its last block stayed the same.
    async fn read(&self, from: u64, to: u64) -> Result<(Vec<Logged>, Checkpoint), IndexError> {
        let moving = IndexError::Moving { number: to };
        let Some(before) = self.header(to).await? else { return Err(moving) };
        let events = self.chain.events(from, to).await?;
        if self.header(to).await? != Some(before) {
            return Err(moving);
        }
        Ok((events, Checkpoint { number: before.number, hash: before.hash }))
    }

    /// The hashes to remember of a range: those near the head.
    async fn hashes(
        &self,
        from: u64,
        to: u64,
        head: u64,
    ) -> Result<Vec<(u64, alloy::primitives::B256)>, IndexError> {
        let mut hashes = vec![];
        for number in from.max(head.saturating_sub(KEPT_HASHES))..=to {
            let Some(header) = self.header(number).await? else {
                return Err(IndexError::Moving { number });
            };
            // A chain of parents ties the range's blocks to each other.
            if hashes.last().is_some_and(|(_, hash)| *hash != header.parent) {
                return Err(IndexError::Moving { number });
            }
            hashes.push((number, header.hash));
        }
        Ok(hashes)
    }

    async fn is_canonical(&self, at: Checkpoint) -> Result<bool, IndexError> {
        Ok(self.header(at.number).await?.is_some_and(|header| header.hash == at.hash))
    }

    /// The newest block that the mirror knows and the chain still has; the one before the deployment
    /// when none of those it knows is left.
    async fn common_ancestor(
        &self,
        old: Checkpoint,
        head: Header,
    ) -> Result<Checkpoint, IndexError> {
        let mut number = old.number.min(head.number + 1);
        while number > self.from_block {
            number -= 1;
            let Some(hash) = self.mirror.block_hash(number).await? else { break };
            let at = Checkpoint { number, hash };
            if self.is_canonical(at).await? {
                return Ok(at);
            }
        }
        let before = self.from_block.saturating_sub(1);
        let Some(header) = self.header(before).await? else {
            return Err(IndexError::TooShort { head: head.number, from: self.from_block });
        };
        Ok(Checkpoint { number: before, hash: header.hash })
    }

    async fn header(&self, number: u64) -> Result<Option<Header>, IndexError> {
        Ok(self.chain.header(BlockNumberOrTag::Number(number)).await?)
    }
}

/// The row that an event becomes. Skips are noise: any stranger can cause one with any tenant's id.
fn mirrored(logged: Logged) -> Option<MirroredEvent> {
    let Logged { event, block_number, block_hash, tx_hash, log_index } = logged;
    let position = LogPosition { block_number, block_hash, tx_hash, log_index };
    match event {
        Event::Anchored(batch) => Some(MirroredEvent::Anchored(AnchoredEvent {
            tenant: batch.tenant,
            index: batch.index,
            first_seq: batch.first_seq,
            count: batch.count,
            root: batch.root,
            anchored_at: batch.anchored_at,
            position,
        })),
        Event::AnchorerSet { tenant, anchorer, nonce } => {
            let event = AnchorerSetEvent { tenant, anchorer, nonce, position };
            Some(MirroredEvent::AnchorerSet(event))
        }
        Event::Skipped { .. } => None,
    }
}
