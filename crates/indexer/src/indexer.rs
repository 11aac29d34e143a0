//! The loop from checkpoint to checkpoint.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alloy::primitives::B256;
use cofferdam_contracts::deployment::Deployment;
use cofferdam_store::{Checkpoint, Mirror, MirrorState, Reader, StoreError};
use futures::{StreamExt, stream::FuturesOrdered};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    Endpoints, IndexError, IndexMetrics,
    endpoint::{At, Link},
    repair::Suspect,
    source::{Part, Source},
};

/// Ranges that are read while one is written.
const AHEAD: usize = 3;
/// A pass is begun again this often when the chain, or another indexer, moved under it.
const ATTEMPTS: u32 = 10;
/// How often an endpoint may stand below the mirror on the same chain before the mirror follows it down.
const PATIENCE: u32 = 3;
/// After a hole that no endpoint could fill, as many polls are left out.
const UNHURRIED: u32 = 10;
/// What is replayed together with its rollback; more than that is rolled back first.
const REPLAYED: u64 = 10_000;

/// Mirrors the contracts of one chain.
#[derive(Debug, Clone)]
pub struct Indexer {
    pub(crate) mirror: Mirror,
    pub(crate) reader: Reader,
    pub(crate) source: Source,
    /// The first block that can hold an event.
    pub(crate) from_block: u64,
    pub(crate) metrics: Arc<IndexMetrics>,
    /// Whether the accounts are known, and whether all tenants were checked since the start.
    primed: Arc<AtomicBool>,
    checked: Arc<AtomicBool>,
    pub(crate) suspect: Arc<Mutex<Suspect>>,
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
    /// Tenants whose counters and history were found to be the contracts'.
    pub checked: u64,
}

/// Where the chain stands.
#[derive(Debug, Clone, Copy)]
struct Tags {
    head: Link,
    safe: u64,
    last_final: u64,
}

impl Indexer {
    /// An indexer of these contracts, from the first block that can hold an event of theirs.
    pub fn new(
        mirror: Mirror,
        reader: Reader,
        endpoints: Endpoints,
        deployment: Deployment,
        from_block: u64,
    ) -> Self {
        let source = Source::new(endpoints, deployment);
        let (primed, checked, suspect) = Default::default();
        Self {
            mirror,
            reader,
            source,
            from_block,
            metrics: Arc::default(),
            primed,
            checked,
            suspect,
        }
    }

    /// What it tells of itself.
    pub fn metrics(&self) -> Arc<IndexMetrics> {
        self.metrics.clone()
    }

    /// How far the mirror is, and the chain's newest block.
    pub async fn state(&self) -> Result<(MirrorState, u64), IndexError> {
        Ok((self.mirror.state().await?, self.tags().await?.head.number))
    }

    /// Mirrors up to the chain's present head, and checks what it touched against the contracts.
    pub async fn catch_up(&self) -> Result<Progress, IndexError> {
        let mut progress = Progress::default();
        let (mut attempt, mut patience, mut broken) = (0, 0, 0);
        loop {
            let error = match self.pass(&mut progress, patience >= PATIENCE).await {
                Ok(()) => return Ok(progress),
                Err(error) => error,
            };
            attempt += 1;
            match error {
                IndexError::Lagging { .. } if patience < PATIENCE => {
                    patience += 1;
                    self.source.endpoints.rotate();
                }
                // One that lies is no reason to halt: all of them must say so.
                IndexError::BelowFinal { .. } if broken < self.source.endpoints.count() => {
                    broken += 1;
                    self.source.endpoints.rotate();
                }
                IndexError::BelowFinal { .. } => {
                    let detail = error.to_string();
                    if self.mirror.incident(None, "reorg-below-final", &detail).await? {
                        IndexMetrics::add(&self.metrics.incidents, 1);
                        error!(%error, "incident");
                    }
                    return Err(error);
                }
                IndexError::Hole { tenant, table, expected, found } => {
                    self.repair(tenant, table, expected, found).await?;
                    continue;
                }
                IndexError::Moving { .. }
                | IndexError::Store(StoreError::CheckpointMoved { .. })
                    if attempt < ATTEMPTS => {}
                error => return Err(error),
            }
            debug!(%error, "beginning again");
            tokio::time::sleep(Duration::from_millis(50) * attempt.min(10)).await;
        }
    }

    /// Keeps the mirror at the head until told to stop.
    pub async fn run(&self, every: Duration, mut stop: watch::Receiver<bool>) {
        let mut failed = false;
        while !*stop.borrow() {
            let pass = self.catch_up().await;
            match &pass {
                Ok(Progress { events: 0, .. }) => {}
                Ok(done) => info!(
                    block = done.block,
                    events = done.events,
                    incidents = done.incidents,
                    "events mirrored"
                ),
                Err(error @ (IndexError::Moving { .. } | IndexError::Lagging { .. })) => {
                    debug!(%error, "mirroring again");
                }
                // Once, not at every poll while the database or the chain is away.
                Err(error) if failed => debug!(%error, "mirroring failed again"),
                Err(error) => error!(%error, "mirroring failed, trying again"),
            }
            if failed && pass.is_ok() {
                info!("mirroring again");
            }
            failed = pass.is_err();
            let wait = match pass {
                // Everything was read and searched: not again at once.
                Err(IndexError::Hole { .. }) => every * UNHURRIED,
                _ => every,
            };
            tokio::select! {
                _ = tokio::time::sleep(wait) => {}
                // Nobody is left to say so: waiting for it would spin.
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Takes everything back and mirrors it again.
    pub async fn rebuild(&self) -> Result<Progress, IndexError> {
        if let Some(at) = self.mirror.checkpoint().await? {
            let before = self.before_all().await?;
            if before.number < at.number {
                self.mirror.rewind(at, before).await?;
            }
        }
        self.primed.store(false, Ordering::Relaxed);
        self.checked.store(false, Ordering::Relaxed);
        self.catch_up().await
    }

    async fn pass(&self, progress: &mut Progress, follow_down: bool) -> Result<(), IndexError> {
        let started = Instant::now();
        let events_before = progress.events;
        if !self.primed.load(Ordering::Relaxed) {
            self.source.know(self.mirror.accounts().await?);
            self.primed.store(true, Ordering::Relaxed);
        }
        let tags = self.tags().await?;
        let state = self.mirror.state().await?;
        let mut touched = BTreeSet::new();
        let mut at = state.checkpoint;
        if let Some(old) = at
            && !self.is_canonical(old).await?
        {
            at = Some(self.roll_back(old, state, tags, follow_down, progress, &mut touched).await?);
        }
        self.follow(at, tags, progress, &mut touched).await?;

        let Some(at) = self.mirror.checkpoint().await? else { return Ok(()) };
        progress.block = at.number;
        IndexMetrics::set(&self.metrics.mirrored, at.number);
        IndexMetrics::set(&self.metrics.lag, tags.head.number.saturating_sub(at.number));
        let written = progress.events - events_before;
        if written > 0 {
            let seconds = started.elapsed().as_secs_f64().max(0.001);
            IndexMetrics::set(&self.metrics.logs_per_second, (written as f64 / seconds) as u64);
        }
        self.restore_histories().await?;
        let all = !self.checked.load(Ordering::Relaxed);
        if all || state.checkpoint != Some(at) {
            progress.checked += self.audit(at, if all { None } else { Some(&touched) }).await?;
            self.checked.store(true, Ordering::Relaxed);
            self.cleared();
        }
        if (state.safe, state.last_final)
            != (Some(tags.safe.min(at.number)), Some(tags.last_final.min(at.number)))
        {
            self.mirror.settle(tags.safe, tags.last_final).await?;
        }
        Ok(())
    }

    /// Reads ahead and writes, range by range, up to the head.
    async fn follow(
        &self,
        mut at: Option<Checkpoint>,
        tags: Tags,
        progress: &mut Progress,
        touched: &mut BTreeSet<B256>,
    ) -> Result<(), IndexError> {
        let Tags { head, last_final, .. } = tags;
        let mut start = at.map_or(self.from_block, |at| at.number + 1);
        let mut reading = FuturesOrdered::new();
        loop {
            while reading.len() < AHEAD && start <= head.number {
                // A range is final as a whole, or is not at all.
                let limit = if start <= last_final { last_final } else { head.number };
                let end = limit.min(start.saturating_add(self.source.span() - 1));
                let (source, from) = (self.source.clone(), start);
                let read = tokio::spawn(async move { source.read(from, end, last_final).await });
                reading.push_back(read);
                start = end + 1;
            }
            let Some(parts) = reading.next().await else { return Ok(()) };
            let parts = parts.unwrap_or(Err(IndexError::Moving { number: start }))?;
            for part in parts {
                let (to, blocks) = (checkpoint(part.to), self.tied(at, &part)?);
                let applied = self.mirror.apply(at, to, &blocks, &part.rows).await;
                let applied = applied.map_err(|error| self.seen(error))?;
                progress.events += applied.mirrored;
                progress.anchored += applied.anchored;
                progress.incidents += applied.incidents;
                progress.block = to.number;
                IndexMetrics::add(&self.metrics.logs, applied.mirrored);
                IndexMetrics::add(&self.metrics.incidents, applied.incidents);
                IndexMetrics::set(&self.metrics.mirrored, to.number);
                self.touch(&part, touched);
                at = Some(to);
                debug!(block = to.number, events = applied.mirrored, "range mirrored");
            }
        }
    }

    /// Rolls back to where the chain and the mirror agree, and replays what came instead.
    async fn roll_back(
        &self,
        old: Checkpoint,
        state: MirrorState,
        tags: Tags,
        follow_down: bool,
        progress: &mut Progress,
        touched: &mut BTreeSet<B256>,
    ) -> Result<Checkpoint, IndexError> {
        let head = tags.head;
        let lagging = IndexError::Lagging { head: head.number, mirrored: old.number };
        // A chain does not end below what it called final.
        if state.last_final.is_some_and(|number| head.number < number) {
            return Err(lagging);
        }
        if head.number < old.number
            && !follow_down
            && self.mirror.block_hash(head.number).await? == Some(head.hash)
        {
            return Err(lagging);
        }
        let ancestor = self.common_ancestor(old, head).await?;
        if let Some(number) = state.last_final
            && ancestor.number < number
            && number >= self.from_block
        {
            let mirrored = self.mirror.block_hash(number).await?.unwrap_or(old.hash);
            return Err(IndexError::BelowFinal { number, mirrored });
        }
        warn!(from = old.number, to = ancestor.number, "chain changed, mirror rolled back");
        IndexMetrics::add(&self.metrics.reorgs, 1);
        progress.rewound = true;
        // Whoever became an account in what went is none.
        self.primed.store(false, Ordering::Relaxed);
        let replayed = head.number.saturating_sub(ancestor.number);
        if replayed == 0 || replayed > REPLAYED {
            self.mirror.rewind(old, ancestor).await?;
            return Ok(ancestor);
        }
        let parts = self.source.read(ancestor.number + 1, head.number, tags.last_final).await?;
        let (mut rows, mut blocks, mut to) = (vec![], vec![], ancestor);
        for part in parts {
            blocks.extend(self.tied(Some(to), &part)?);
            self.touch(&part, touched);
            to = checkpoint(part.to);
            rows.extend(part.rows);
        }
        let applied = self.mirror.replace(old, ancestor, to, &blocks, &rows).await;
        let applied = applied.map_err(|error| self.seen(error))?;
        progress.events += applied.mirrored;
        progress.anchored += applied.anchored;
        progress.incidents += applied.incidents;
        IndexMetrics::add(&self.metrics.logs, applied.mirrored);
        Ok(to)
    }

    /// The hashes to remember of a part that follows `at`.
    fn tied(&self, at: Option<Checkpoint>, part: &Part) -> Result<Vec<(u64, B256)>, IndexError> {
        let Some(first) = part.links.first() else {
            return Ok(vec![(part.to.number, part.to.hash)]);
        };
        let follows = at.filter(|at| at.number + 1 == first.number);
        if follows.is_some_and(|at| at.hash != first.parent) {
            return Err(IndexError::Moving { number: part.from });
        }
        Ok(part.links.iter().map(|link| (link.number, link.hash)).collect())
    }

    /// Notes whose counters to check; all are, the first time.
    fn touch(&self, part: &Part, touched: &mut BTreeSet<B256>) {
        if self.checked.load(Ordering::Relaxed) {
            touched.extend(part.rows.iter().map(|row| row.tenant));
        }
    }

    fn seen(&self, error: StoreError) -> IndexError {
        match error {
            StoreError::Hole(hole) => {
                IndexMetrics::add(&self.metrics.holes, 1);
                IndexError::Hole {
                    tenant: hole.tenant,
                    table: hole.table,
                    expected: hole.expected,
                    found: hole.found,
                }
            }
            error => error.into(),
        }
    }

    async fn tags(&self) -> Result<Tags, IndexError> {
        let tags = self.source.endpoints.ask(|endpoint| async move {
            let (head, safe, last_final) = futures::join!(
                endpoint.link(At::Latest),
                endpoint.link(At::Safe),
                endpoint.link(At::Final)
            );
            let head = head?.ok_or_else(|| {
                endpoint.error("read a block", crate::Refusal::Nonsense, "there is no newest one")
            })?;
            // A chain without these tags has nothing final.
            let number =
                |link: Result<Option<Link>, _>| link.ok().flatten().map_or(0, |it| it.number);
            let last_final = number(last_final).min(head.number);
            Ok(Tags { head, safe: number(safe).clamp(last_final, head.number), last_final })
        });
        let tags = tags.await?;
        IndexMetrics::set(&self.metrics.head, tags.head.number);
        IndexMetrics::set(&self.metrics.safe, tags.safe);
        IndexMetrics::set(&self.metrics.last_final, tags.last_final);
        Ok(tags)
    }

    async fn is_canonical(&self, at: Checkpoint) -> Result<bool, IndexError> {
        let link = self.source.link(At::Number(at.number)).await?;
        Ok(link.is_some_and(|link| link.hash == at.hash))
    }

    /// The newest block that the mirror knows and the chain still has; the one before the deployment
    /// when none of those it knows is left.
    async fn common_ancestor(&self, old: Checkpoint, head: Link) -> Result<Checkpoint, IndexError> {
        let mut known = self.mirror.blocks().await?;
        known.retain(|at| at.number < old.number && at.number <= head.number);
        // Below the ancestor all are still the chain's, above it none.
        let (mut low, mut high) = (0, known.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.is_canonical(known[middle]).await? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match low.checked_sub(1) {
            Some(newest) => Ok(known[newest]),
            None => self.before_all().await,
        }
    }

    /// The block before the first that can hold an event.
    async fn before_all(&self) -> Result<Checkpoint, IndexError> {
        let before = self.from_block.saturating_sub(1);
        match self.source.link(At::Number(before)).await? {
            Some(link) => Ok(checkpoint(link)),
            None => {
                let head = self.source.link(At::Latest).await?.map_or(0, |link| link.number);
                Err(IndexError::TooShort { head, from: self.from_block })
            }
        }
    }
}

pub(crate) fn checkpoint(link: Link) -> Checkpoint {
    Checkpoint { number: link.number, hash: link.hash }
}
