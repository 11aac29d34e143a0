//! From where the mirror stands to the head: ranges are read ahead, counted, and written one after another.

use alloy::primitives::B256;
use cofferdam_store::{Applied, Checkpoint, Counted, Counters, StoreError};
use futures::{StreamExt, stream::FuturesOrdered};
use tokio::task::JoinHandle;
use tracing::debug;

use crate::{
    IndexError, Indexer,
    indexer::{Progress, Tags, checkpoint},
    source::{Part, Source, UNSETTLED},
};

/// Ranges that are read while one is written.
const AHEAD: usize = 2;
/// Tenants whose counters are kept from one range to the next.
const KNOWN: usize = 8_192;

/// Ranges of blocks, read ahead.
struct Ranges<'a> {
    source: &'a Source,
    /// The first block that is not being read yet.
    start: u64,
    tags: Tags,
    reading: FuturesOrdered<JoinHandle<(Result<Part, IndexError>, u64)>>,
}

/// A range that can be written.
struct Ready {
    to: Checkpoint,
    blocks: Vec<(u64, B256)>,
    counted: Counted,
}

/// A range that is being written.
struct Writing {
    to: Checkpoint,
    touched: Vec<B256>,
    task: JoinHandle<Result<Applied, StoreError>>,
}

impl Ranges<'_> {
    /// The next one up to the head, or as much of it as an endpoint sent at once.
    async fn next(&mut self) -> Result<Option<Part>, IndexError> {
        let Tags { head, last_final, .. } = self.tags;
        while self.reading.len() < AHEAD && self.start <= head.number {
            // A range is final as a whole, or is not at all.
            let (limit, blocks) = match self.start <= last_final {
                true => (last_final.min(head.number), self.source.span().blocks()),
                false => (head.number, UNSETTLED),
            };
            let end = limit.min(self.start.saturating_add(blocks - 1));
            self.reading.push_back(self.read(self.start, end));
            self.start = end + 1;
        }
        let Some(done) = self.reading.next().await else { return Ok(None) };
        let Ok((part, end)) = done else { return Err(IndexError::Moving { number: self.start }) };
        let part = part?;
        if part.to.number < end {
            // An endpoint sent the first of it: the rest comes next.
            self.reading.push_front(self.read(part.to.number + 1, end));
        }
        Ok(Some(part))
    }

    fn read(&self, from: u64, end: u64) -> JoinHandle<(Result<Part, IndexError>, u64)> {
        let (source, last_final) = (self.source.clone(), self.tags.last_final);
        tokio::spawn(async move { (source.read(from, end, last_final).await, end) })
    }
}

impl Indexer {
    /// Reads ahead and writes, range by range, up to the head; returns where it came to. While one range is
    /// written the next is counted.
    pub(crate) async fn follow(
        &self,
        mut at: Option<Checkpoint>,
        tags: Tags,
        progress: &mut Progress,
    ) -> Result<Option<Checkpoint>, IndexError> {
        let mut ranges = Ranges {
            source: &self.source,
            start: at.map_or(self.from_block, |at| at.number + 1),
            tags,
            reading: FuturesOrdered::new(),
        };
        let mut counters = Counters::default();
        let mut writing: Option<Writing> = None;
        loop {
            if counters.len() > KNOWN {
                // Those that are being written can be read again only afterwards.
                if let Some(range) = writing.take() {
                    self.written(range, progress).await?;
                }
                counters = Counters::default();
            }
            let next = self.next_range(&mut ranges, at, &mut counters).await;
            // Also when there is no next one: what is being written is waited for.
            if let Some(range) = writing.take() {
                self.written(range, progress).await?;
            }
            let Some(Ready { to, blocks, counted }) = next? else { return Ok(at) };
            let (mirror, from, touched) = (self.mirror.clone(), at, counted.touched());
            let task = tokio::spawn(async move { mirror.apply(from, to, &blocks, counted).await });
            writing = Some(Writing { to, touched, task });
            at = Some(to);
        }
    }

    /// The next range that follows `at`, counted.
    async fn next_range(
        &self,
        ranges: &mut Ranges<'_>,
        at: Option<Checkpoint>,
        counters: &mut Counters,
    ) -> Result<Option<Ready>, IndexError> {
        let Some(part) = ranges.next().await? else { return Ok(None) };
        let (to, blocks) = (checkpoint(part.to), self.tied(at, &part)?);
        // The last one, and what may still change, is on the disk when it is said to be mirrored.
        let is_followed = part.links.is_empty() && to.number < ranges.tags.head.number;
        let counted = self.mirror.count(counters, part.rows).await;
        let counted = counted.map_err(|error| self.seen(error))?;
        let counted = if is_followed { counted.followed() } else { counted };
        Ok(Some(Ready { to, blocks, counted }))
    }

    /// Waits until a range is written.
    async fn written(&self, range: Writing, progress: &mut Progress) -> Result<(), IndexError> {
        let Writing { to, touched, task } = range;
        let Ok(applied) = task.await else { return Err(IndexError::Moving { number: to.number }) };
        let applied = applied.map_err(|error| self.seen(error))?;
        self.count(&applied, progress);
        self.touch(touched);
        progress.block = to.number;
        self.metrics.stands_at(to.number);
        debug!(block = to.number, events = applied.mirrored, "range mirrored");
        Ok(())
    }

    /// The hashes to remember of a part that follows `at`.
    pub(crate) fn tied(
        &self,
        at: Option<Checkpoint>,
        part: &Part,
    ) -> Result<Vec<(u64, B256)>, IndexError> {
        let Some(first) = part.links.first() else {
            return Ok(vec![(part.to.number, part.to.hash)]);
        };
        let follows = at.filter(|at| at.number + 1 == first.number);
        if follows.is_some_and(|at| at.hash != first.parent) {
            return Err(IndexError::Moving { number: part.from });
        }
        Ok(part.links.iter().map(|link| (link.number, link.hash)).collect())
    }
}
