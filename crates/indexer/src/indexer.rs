//! The loop from checkpoint to checkpoint.

use std::{
    mem::{Discriminant, discriminant},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cofferdam_contracts::{RpcUrl, WireError, deployment::Deployment};
use cofferdam_store::{Applied, Checkpoint, DAY, Mirror, MirrorState, Reader, StoreError};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};
use tracing::{debug, error, info, warn};

use crate::{
    Endpoints, Hints, IndexError, IndexMetrics,
    audit::Unchecked,
    blocks::{At, Link},
    endpoints::ROUNDS,
    refusal::is_no_tag,
    repair::Missing,
    source::Source,
    spending::Settled,
};

/// A pass is begun again this often when the chain, or another indexer, moved under it.
const ATTEMPTS: u32 = 10;
/// How long all endpoints may stand below the mirror on the same chain before the mirror follows them down.
const PATIENCE: Duration = Duration::from_secs(30);
/// What no endpoint had is looked for again after so many polls.
const UNHURRIED: u32 = 10;
/// Rows that are replayed together with the rollback; of more than that, it is rolled back first.
const REPLAYED: usize = 50_000;

/// Mirrors the contracts of one chain.
#[derive(Debug, Clone)]
pub struct Indexer {
    pub(crate) mirror: Mirror,
    pub(crate) reader: Reader,
    pub(crate) source: Source,
    /// The first block that can hold an event.
    pub(crate) from_block: u64,
    pub(crate) metrics: Arc<IndexMetrics>,
    /// Whether the accounts are known.
    primed: Arc<AtomicBool>,
    pub(crate) unchecked: Arc<Mutex<Unchecked>>,
    pub(crate) missing: Arc<Mutex<Missing>>,
    /// By what a day was last found to be over that is not read.
    pub(crate) settled: Arc<watch::Sender<Option<Settled>>>,
    /// Since when all endpoints stand below the mirror, and how long they may.
    lagging: Arc<Mutex<Option<Instant>>>,
    patience: Duration,
    hints: Option<Hints>,
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
pub(crate) struct Tags {
    pub(crate) head: Link,
    pub(crate) safe: u64,
    pub(crate) last_final: u64,
    /// The last final block, as it was told now.
    final_block: Option<Link>,
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
        let (primed, unchecked, missing, lagging, settled) = Default::default();
        Self {
            mirror,
            reader,
            source,
            from_block,
            metrics: Arc::default(),
            primed,
            unchecked,
            missing,
            settled,
            lagging,
            patience: PATIENCE,
            hints: None,
        }
    }

    /// Looks for new blocks also as soon as this WebSocket tells of them.
    pub fn with_hints(self, url: RpcUrl) -> Self {
        let hints = Some(Hints::new(url, self.source.endpoints.chain_id()));
        Self { hints, ..self }
    }

    /// Follows endpoints that all end below the mirror down after this time, rather than half a minute: until
    /// then they are taken to lag.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What it tells of itself.
    pub fn metrics(&self) -> Arc<IndexMetrics> {
        self.metrics.clone()
    }

    /// How far the mirror is, and the chain's newest block.
    pub async fn state(&self) -> Result<(MirrorState, u64), IndexError> {
        Ok((self.mirror.state().await?, self.tags(None).await?.0.head.number))
    }

    /// Mirrors up to the chain's present head, and checks what it touched against the contracts. An event that
    /// is missing is looked for everywhere; [`IndexError::Hole`] says that nobody had it, and that all the others
    /// were checked. Then reads what was spent on the days that are over.
    pub async fn catch_up(&self) -> Result<Progress, IndexError> {
        self.cleared();
        let done = self.keep_up().await;
        self.read_days(ROUNDS, false).await;
        done
    }

    /// The same, but what nobody had is not looked for again.
    async fn keep_up(&self) -> Result<Progress, IndexError> {
        let mut progress = Progress::default();
        let (mut attempt, mut lags, mut broken, mut follow_down) = (0, 0, 0, false);
        loop {
            let error = match self.pass(&mut progress, follow_down).await {
                Ok(()) => {
                    *self.lagging.lock().unwrap_or_else(PoisonError::into_inner) = None;
                    return Ok(progress);
                }
                Err(error) => error,
            };
            attempt += 1;
            match error {
                IndexError::Lagging { .. } if lags < self.source.endpoints.count() => {
                    lags += 1;
                    self.source.endpoints.rotate();
                }
                IndexError::Lagging { .. } if !follow_down && self.lags_for_long() => {
                    follow_down = true;
                }
                // One that lies is no reason to halt: all of them must say so.
                IndexError::BelowFinal { .. } | IndexError::EndsBelowFinal { .. }
                    if broken < self.source.endpoints.count() =>
                {
                    broken += 1;
                    self.source.endpoints.rotate();
                }
                IndexError::BelowFinal { .. } | IndexError::EndsBelowFinal { .. } => {
                    let detail = error.to_string();
                    if self.mirror.incident(None, "reorg-below-final", &detail).await? {
                        IndexMetrics::add(&self.metrics.incidents, 1);
                        error!(%error, "incident");
                    }
                    return Err(error);
                }
                IndexError::Hole { tenant, table, expected, found }
                    if !self.is_given_up(tenant) =>
                {
                    self.repair(tenant, table, expected, found).await?;
                    continue;
                }
                IndexError::Moving { .. } if attempt < ATTEMPTS => {
                    // What keeps moving may stand still at another endpoint: one can be on a fork of its own.
                    if attempt > 2 {
                        self.source.endpoints.rotate();
                    }
                }
                IndexError::Store(StoreError::CheckpointMoved { .. }) if attempt < ATTEMPTS => {}
                error => return Err(error),
            }
            debug!(%error, "beginning again");
            tokio::time::sleep(Duration::from_millis(50) * attempt.min(10)).await;
        }
    }

    /// Whether all endpoints have stood below the mirror for longer than it waits.
    fn lags_for_long(&self) -> bool {
        let mut lagging = self.lagging.lock().unwrap_or_else(PoisonError::into_inner);
        lagging.get_or_insert_with(Instant::now).elapsed() >= self.patience
    }

    /// Keeps the mirror at the head until told to stop.
    pub async fn run(&self, every: Duration, mut stop: watch::Receiver<bool>) {
        let (mut told, mut search_in) = (Told::default(), 0_u32);
        // What a pass takes is no part of the wait for the next.
        let mut polls = tokio::time::interval(every.max(Duration::from_millis(1)));
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Until this ends.
        let (heard, mut beside) = (Arc::new(Notify::new()), JoinSet::new());
        if let Some(hints) = self.hints.clone() {
            beside.spawn(hints.listen(heard.clone()));
        }
        beside.spawn(self.clone().keep_reading_days());
        while !*stop.borrow() {
            tokio::select! {
                _ = polls.tick() => {}
                () = heard.notified() => {}
                // Nobody is left to say so: waiting for it would spin.
                changed = stop.changed() => if changed.is_err() { return } else { continue },
            }
            // Looking for what nobody had reads everything: not at every poll.
            let pass = match search_in {
                0 => {
                    self.cleared();
                    self.keep_up().await
                }
                _ => self.keep_up().await,
            };
            search_in = match &pass {
                Err(IndexError::Hole { .. }) => search_in.checked_sub(1).unwrap_or(UNHURRIED),
                _ => 0,
            };
            let is_first = told.is_first(pass.as_ref().err());
            match &pass {
                Ok(Progress { events: 0, .. }) if is_first => info!("mirroring again"),
                Ok(Progress { events: 0, .. }) => {}
                Ok(done) => info!(
                    block = done.block,
                    events = done.events,
                    incidents = done.incidents,
                    "events mirrored"
                ),
                Err(error) if is_first => error!(%error, "mirroring failed, trying again"),
                Err(error) => debug!(%error, "mirroring failed again"),
            }
        }
    }

    /// Takes everything back and mirrors it again.
    pub async fn rebuild(&self) -> Result<Progress, IndexError> {
        if let Some(at) = self.mirror.checkpoint().await? {
            let before = self.before_all().await?;
            if before.number < at.number {
                self.primed.store(false, Ordering::Relaxed);
                self.mirror.clear(&self.reader, at, before).await?;
            }
        }
        self.suspect_all();
        self.catch_up().await
    }

    async fn pass(&self, progress: &mut Progress, follow_down: bool) -> Result<(), IndexError> {
        let started = Instant::now();
        let events_before = progress.events;
        let primed = self.primed.load(Ordering::Relaxed);
        if !primed {
            self.source.know(self.mirror.accounts().await?);
            self.primed.store(true, Ordering::Relaxed);
        }
        let state = match self.mirror.state().await {
            Ok(state) => state,
            Err(error) => {
                // How far the chain goes on meanwhile is known all the same.
                let _ = self.tags(None).await;
                return Err(error.into());
            }
        };
        self.metrics.stands_at(state.checkpoint.map_or(0, |at| at.number));
        let (mut tags, there) = self.tags(state.checkpoint.map(|at| at.number)).await?;
        // What was final stays so, whatever is said now.
        tags.last_final = tags.last_final.max(state.last_final.unwrap_or_default());
        tags.safe = tags.safe.max(tags.last_final);
        let mut at = state.checkpoint;
        if let Some(old) = at
            && there.is_none_or(|link| link.hash != old.hash)
        {
            at = Some(self.roll_back(old, state, tags, follow_down, progress).await?);
        }
        // Before they grow on, so that their nodes are kept.
        if !primed || progress.rewound {
            self.restore_histories().await?;
        }
        let Some(at) = self.follow(at, tags, progress).await? else { return Ok(()) };
        progress.block = at.number;
        self.metrics.stands_at(at.number);
        let written = progress.events - events_before;
        if written > 0 {
            let seconds = started.elapsed().as_secs_f64().max(0.001);
            IndexMetrics::set(&self.metrics.logs_per_second, (written as f64 / seconds) as u64);
        }
        let (safe, last_final) = (tags.safe.min(at.number), tags.last_final.min(at.number));
        if (state.safe, state.last_final) != (Some(safe), Some(last_final)) {
            self.mirror.settle(safe, last_final).await?;
        }
        let is_over = |it: &Link| it.number <= last_final && it.time / DAY > state.spending_day;
        if let Some(last_final) = tags.final_block.filter(is_over) {
            self.settled.send_replace(Some(Settled { last_final, head: tags.head }));
        }
        if state.checkpoint != Some(at) || self.is_unchecked() {
            progress.checked += self.audit(at).await?;
        }
        Ok(())
    }

    pub(crate) fn count(&self, applied: &Applied, progress: &mut Progress) {
        progress.events += applied.mirrored;
        progress.anchored += applied.anchored;
        progress.incidents += applied.incidents;
        IndexMetrics::add(&self.metrics.logs, applied.mirrored);
        IndexMetrics::add(&self.metrics.incidents, applied.incidents);
    }

    /// Rolls back to where the chain and the mirror agree, and replays what came instead.
    async fn roll_back(
        &self,
        old: Checkpoint,
        state: MirrorState,
        tags: Tags,
        follow_down: bool,
        progress: &mut Progress,
    ) -> Result<Checkpoint, IndexError> {
        let head = tags.head;
        let lagging = IndexError::Lagging { head: head.number, mirrored: old.number };
        // A chain does not end below what it called final; whoever lags does, for a while.
        if let Some(number) = state.last_final.filter(|number| head.number < *number) {
            let ends = IndexError::EndsBelowFinal { head: head.number, number };
            return Err(if follow_down { ends } else { lagging });
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
        self.primed.store(false, Ordering::Relaxed);
        let (mut rows, mut blocks, mut to) = (vec![], vec![], ancestor);
        while to.number < head.number && rows.len() <= REPLAYED {
            let part = self.source.read(to.number + 1, head.number, tags.last_final).await?;
            blocks.extend(self.tied(Some(to), &part)?);
            to = checkpoint(part.to);
            rows.extend(part.rows);
        }
        if to == ancestor || rows.len() > REPLAYED {
            self.suspect(self.mirror.rewind(&self.reader, old, ancestor).await?);
            return Ok(ancestor);
        }
        let applied = self.mirror.replace(&self.reader, old, ancestor, to, &blocks, rows).await;
        let (applied, moved) = applied.map_err(|error| self.seen(error))?;
        self.suspect(moved);
        self.count(&applied, progress);
        Ok(to)
    }

    /// Takes back what is mirrored above a block, which may be final.
    pub(crate) async fn take_back(&self, from: Checkpoint, to: Link) -> Result<(), IndexError> {
        // Whoever became an account in what goes is none.
        self.primed.store(false, Ordering::Relaxed);
        let gone = self.mirror.rewind_final(&self.reader, from, checkpoint(to), to.time).await?;
        self.suspect(gone);
        Ok(())
    }

    pub(crate) fn seen(&self, error: StoreError) -> IndexError {
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

    /// Where the chain stands, and its block of the number `at`.
    async fn tags(&self, at: Option<u64>) -> Result<(Tags, Option<Link>), IndexError> {
        let what = "read a block";
        let tags = self.source.endpoints.ask(|endpoint| async move {
            let mut of = vec![At::Latest, At::Safe, At::Final];
            of.extend(at.map(At::Number));
            let mut found = endpoint.headers(&of).await?.into_iter();
            let mut next = || found.next().unwrap_or(Ok(None));
            let refused = |error| endpoint.refused(what, &error);
            let nothing =
                || endpoint.error(what, crate::Refusal::Nonsense, "there is no newest one");
            let head = next().map_err(refused)?.ok_or_else(nothing)?;
            // A chain without these tags has nothing final; one that does not answer now may have.
            let tag = |said: Result<Option<Link>, WireError>| match said {
                Ok(link) => Ok(link),
                Err(error) if is_no_tag(&error) => Ok(None),
                Err(error) => Err(refused(error)),
            };
            let (safe, final_block) = (tag(next())?, tag(next())?);
            let number = |link: Option<Link>| link.map_or(0, |link| link.number).min(head.number);
            let last_final = number(final_block);
            let there = next().map_err(refused)?;
            Ok((Tags { head, safe: number(safe).max(last_final), last_final, final_block }, there))
        });
        let (tags, there) = tags.await?;
        self.metrics.chain_is_at(tags.head.number);
        IndexMetrics::set(&self.metrics.safe, tags.safe);
        IndexMetrics::set(&self.metrics.last_final, tags.last_final);
        Ok((tags, there))
    }

    pub(crate) async fn is_canonical(&self, at: Checkpoint) -> Result<bool, IndexError> {
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

/// What kind of error was told: once, not at every poll while the database or the chain is away.
#[derive(Debug, Default)]
struct Told(Option<Discriminant<IndexError>>);

impl Told {
    /// Whether this outcome is worth telling: an error of another kind than the last one, or the first success
    /// after it. That the chain moves or an endpoint lags is told to nobody, and is no end of what was told.
    fn is_first(&mut self, error: Option<&IndexError>) -> bool {
        if let Some(IndexError::Moving { .. } | IndexError::Lagging { .. }) = error {
            return false;
        }
        let kind = error.map(discriminant);
        std::mem::replace(&mut self.0, kind) != kind
    }
}

pub(crate) fn checkpoint(link: Link) -> Checkpoint {
    Checkpoint { number: link.number, hash: link.hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_is_told_once_whatever_came_before() {
        let moving = IndexError::Moving { number: 1 };
        let lagging = IndexError::Lagging { head: 1, mirrored: 2 };
        let short = IndexError::TooShort { head: 1, from: 2 };
        let gone = IndexError::EndsBelowFinal { head: 1, number: 2 };
        let mut told = Told::default();
        let outcomes = [
            (None, false),
            (Some(&moving), false),
            (Some(&lagging), false),
            (Some(&short), true),
            (Some(&lagging), false),
            (Some(&short), false),
            (Some(&gone), true),
            (Some(&short), true),
            (None, true),
            (None, false),
            (Some(&short), true),
        ];
        for (n, (error, expected)) in outcomes.into_iter().enumerate() {
            assert_eq!(told.is_first(error), expected, "outcome {n}: {error:?}");
        }
    }
}
