//! Steps of following, sealing and posting.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256};
use cofferdam_contracts::{Chain, ChainError};
use cofferdam_core::TenantId;
use cofferdam_store::{Item, SealedBatch, Sealer, Sequencer, StoreError};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    AnchorError, Anchorers, PostPolicy, SealPolicy, SealReport, Sender,
    anchorers::{Ready, anchoring},
    choose::choose,
    fees::Fees,
    lead::Lead,
    policies,
    poster::{Call, Followed, Poster, gas_limit},
    recheck::recheck,
    seal_due,
};

/// Batches in one transaction; a tenant's first one is the dearest, at some 40,000 gas.
const MAX_ITEMS: usize = 300;
/// How long a round waits for its transactions.
const LIMIT: Duration = Duration::from_secs(300);
/// How long to wait between the steps of a round: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long a step may go on after it was told to stop; it can be cut off anywhere.
const GRACE: Duration = Duration::from_secs(2);
/// Transactions' worth of a tenant's intake that are chained in one step.
const TURNS: u32 = 64;

/// Seals and posts for all tenants of a database.
#[derive(Debug, Clone)]
pub struct Anchorer {
    sealer: Sealer,
    poster: Arc<Poster>,
    policy: SealPolicy,
    holder: String,
    intake: Option<Sequencer>,
    anchorers: Anchorers,
}

/// What one transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted {
    /// Its hash.
    pub tx: B256,
    /// Batches it anchored.
    pub anchored: usize,
    /// Policies it published.
    pub published: usize,
    /// Batches that the contract left out.
    pub skipped: usize,
    /// Gas it used.
    pub gas_used: u64,
}

/// What one round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundReport {
    /// Batches sealed.
    pub sealed: usize,
    /// Transactions mined.
    pub posted: Vec<Posted>,
    /// Tenants that could not be sealed or have another anchorer, each with the reason.
    pub troubled: Vec<(TenantId, String)>,
}

/// What one step left to do.
#[derive(Debug, Default)]
struct Left {
    /// Transactions that may still be put in a block.
    open: usize,
    /// What cannot be gone on without.
    waiting: Option<String>,
}

impl Anchorer {
    /// An anchorer that seals by `policy` and posts with the sender's key.
    pub fn new(sealer: Sealer, sender: Sender, policy: SealPolicy) -> Self {
        // Tells two daemons of one machine, and a restarted one from its predecessor, apart.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let holder = format!("{}:{}", host.trim(), std::process::id());
        let poster = Arc::new(Poster::new(sender, PostPolicy::default()));
        Self { sealer, poster, policy, holder, intake: None, anchorers: Anchorers::default() }
    }

    /// The same, posting by `policy`.
    pub fn posting(self, policy: PostPolicy) -> Self {
        let poster = Poster::new(self.poster.sender.clone(), policy);
        let poster = poster.publishing(self.poster.registry);
        self.with(poster)
    }

    /// The same, publishing policies at this PolicyRegistry instead of where CREATE2 puts it.
    pub fn publishing(self, registry: Address) -> Self {
        let poster = Poster::new(self.poster.sender.clone(), self.poster.policy);
        self.with(poster.publishing(registry))
    }

    fn with(self, poster: Poster) -> Self {
        Self { poster: Arc::new(poster), ..self }
    }

    /// Also chains what applications enqueued, at the start of each step.
    pub fn chaining(self, sequencer: Sequencer) -> Self {
        Self { intake: Some(sequencer), ..self }
    }

    /// Also anchors for the tenants that name one of these keys: it signs, and the sender's pays.
    pub fn signing(self, anchorers: Anchorers) -> Self {
        Self { anchorers, ..self }
    }

    /// Seals what is due (everything when `flush` is set), posts what is sealed, and waits until it is
    /// mined. A tenant in trouble is reported and never holds up the others.
    pub async fn round(&self, flush: bool) -> Result<RoundReport, AnchorError> {
        let lease = self.poster.policy.lease;
        let lead = Lead::await_free(&self.sealer, &self.holder, lease).await?;
        let outcome = self.until_mined(&lead.sealer, flush).await;
        lead.release().await;
        outcome
    }

    async fn until_mined(&self, ledger: &Sealer, flush: bool) -> Result<RoundReport, AnchorError> {
        let start = Instant::now();
        let mut report = RoundReport::default();
        let mut pause = PAUSE.0;
        let mut flush = flush;
        loop {
            report.troubled.clear();
            let left = self.step(ledger, flush, &mut report).await?;
            flush = false;
            match left {
                Left { open: 0, waiting: None } => return Ok(report),
                Left { open: 0, waiting: Some(what) } => return Err(AnchorError::Waiting(what)),
                Left { .. } if start.elapsed() > LIMIT => {
                    let what = "transactions were not mined in time; the next run follows them";
                    return Err(AnchorError::Waiting(what.into()));
                }
                Left { .. } => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Steps until told to stop, whenever this daemon leads. Returns within seconds of being told.
    pub async fn run(&self, every: Duration, mut stop: watch::Receiver<bool>) {
        let mut lead = None;
        while !*stop.borrow() {
            let step = self.turn(&mut lead);
            tokio::select! {
                () = step => {}
                () = told(&mut stop, GRACE) => break,
            }
            tokio::select! {
                _ = tokio::time::sleep(every) => {}
                () = told(&mut stop, Duration::ZERO) => break,
            }
        }
        if let Some(lead) = lead {
            let _ = tokio::time::timeout(GRACE, lead.release()).await;
        }
    }

    /// One step, if this daemon leads or can take the lead.
    async fn turn(&self, lead: &mut Option<Lead>) {
        if lead.as_ref().is_some_and(Lead::is_deposed) {
            *lead = None;
        }
        let leading = match lead {
            Some(leading) => leading,
            None => match Lead::take(&self.sealer, &self.holder, self.poster.policy.lease).await {
                Ok(taken) => lead.insert(taken),
                Err(error @ AnchorError::NotLeading { .. }) => return debug!(%error, "standing by"),
                Err(error) => return error!(%error, "cannot lead, trying again"),
            },
        };
        let mut report = RoundReport::default();
        match self.step(&leading.sealer, false, &mut report).await {
            Ok(_) if report == RoundReport::default() => debug!("nothing to anchor"),
            Ok(_) => info!(
                sealed = report.sealed,
                transactions = report.posted.len(),
                troubled = report.troubled.len(),
                "step done"
            ),
            Err(AnchorError::Store(error @ StoreError::Deposed { .. })) => {
                warn!(%error, "no longer leading");
                *lead = None;
            }
            Err(error) => error!(%error, "step failed, trying again"),
        }
    }

    /// Follows what is under way, seals what is due, and posts what is sealed. Sealing goes on when the
    /// chain cannot be reached.
    async fn step(
        &self,
        ledger: &Sealer,
        flush: bool,
        report: &mut RoundReport,
    ) -> Result<Left, AnchorError> {
        if let Some(reason) = ledger.all_halted().await? {
            return Err(StoreError::AllHalted { reason }.into());
        }
        let followed = self.follow(ledger).await;
        self.seal(ledger, flush, report).await?;
        let mut followed = followed?;
        report.posted.append(&mut followed.posted);
        let posted = self.post_all(ledger, &mut followed, report).await;
        ledger.wait_for(followed.waiting.as_deref()).await?;
        posted?;
        Ok(Left { open: followed.open, waiting: followed.waiting })
    }

    async fn follow(&self, ledger: &Sealer) -> Result<Followed, AnchorError> {
        self.same_chain(ledger).await?;
        let finality = self.poster.finality(ledger).await?;
        self.poster.follow(ledger, finality).await
    }

    /// Halts everything when the endpoint answers for another chain, or the contract's code changed.
    async fn same_chain(&self, ledger: &Sealer) -> Result<(), AnchorError> {
        let known = (self.chain().chain_id(), self.chain().code_hash());
        if self.chain().identity().await? == known {
            return Ok(());
        }
        // Halting is for ever: ask twice.
        let (chain_id, code_hash) = self.chain().identity().await?;
        let (kind, detail) = match known {
            (id, _) if id != chain_id => {
                ("other-chain", format!("the endpoint serves chain {chain_id} instead of {id}"))
            }
            (_, hash) if hash != code_hash => {
                let contract = self.chain().contract();
                let detail =
                    format!("the code at {contract} has hash {code_hash} instead of {hash}");
                ("other-code", detail)
            }
            _ => return Ok(()),
        };
        ledger.halt_all(kind, &detail).await?;
        Err(AnchorError::OtherChain(format!("{kind}: {detail}")))
    }

    /// Chains what was enqueued, and seals what is due.
    async fn seal(
        &self,
        ledger: &Sealer,
        flush: bool,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        report.troubled.extend(self.chain_intake().await);
        let SealReport { sealed, troubled } = seal_due(ledger, &self.policy, flush).await?;
        report.sealed += sealed;
        report.troubled.extend(troubled);
        Ok(())
    }

    /// What cannot be chained, or not now, holds up nothing that is in a chain already.
    async fn chain_intake(&self) -> Vec<(TenantId, String)> {
        let Some(sequencer) = &self.intake else { return vec![] };
        match sequencer.drain(TURNS).await {
            Ok(drained) => {
                drained.stopped.into_iter().map(|stop| (stop.tenant, stop.reason)).collect()
            }
            Err(error) => {
                warn!(%error, "the intake was not chained, trying again");
                vec![]
            }
        }
    }

    /// Posts what there is to post, as far as there is room under way. Policies, which are few, come
    /// first and take half of it at most.
    async fn post_all(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let trouble = match self.publish(ledger, followed).await {
            Err(AnchorError::Chain(error)) => Some(error),
            published => published?,
        };
        let posted = self.post(ledger, followed, report).await;
        // What stands in the way of policies does not hold up batches.
        if let (Some(error), None) = (trouble, &followed.waiting) {
            followed.waiting = Some(format!("a policy is not published: {error}"));
        }
        posted
    }

    /// Posts policies that tenants handed in and that are the registry's next. What stood in the way of
    /// one of them.
    async fn publish(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
    ) -> Result<Option<ChainError>, AnchorError> {
        let poster = &self.poster;
        let room = poster.policy.in_flight.saturating_sub(followed.open).div_ceil(2);
        let policies::Due { calls, trouble } = policies::due(poster, ledger, room).await?;
        if calls.is_empty() {
            return Ok(trouble);
        }
        let Some(fees) = self.fees(followed).await? else { return Ok(trouble) };
        for (item, call) in calls {
            poster.post(ledger, followed, call, fees, &[item]).await?;
            if followed.waiting.is_some() {
                break;
            }
        }
        Ok(trouble)
    }

    /// What the network takes; `None`, with a word about it, when that is over the ceiling.
    async fn fees(&self, followed: &mut Followed) -> Result<Option<Fees>, AnchorError> {
        let network = Fees::of_network(self.chain()).await?;
        let (price, ceiling) = (network.base(), self.poster.policy.max_fee);
        if price > ceiling {
            followed.waiting = Some(format!(
                "the network asks {price} wei for a unit of gas, the ceiling is {ceiling}"
            ));
            return Ok(None);
        }
        Ok(Some(network.capped(ceiling)))
    }

    /// Posts sealed batches that the contract does not have yet, as far as there is room under way.
    async fn post(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let poster = &self.poster;
        let room = poster.policy.in_flight.saturating_sub(followed.open);
        if room == 0 {
            return Ok(());
        }
        let sealed = ledger.unanchored_batches((room * MAX_ITEMS) as u32).await?;
        if sealed.is_empty() && !followed.has_gap() {
            return Ok(());
        }
        let us = poster.sender.address();
        let chosen = choose(self.chain(), ledger, us, &self.anchorers, sealed).await?;
        report.troubled.extend(chosen.troubled);
        let mut batches = Vec::with_capacity(chosen.batches.len());
        for batch in chosen.batches {
            // Whatever follows a batch that is not what was sealed waits with it.
            if report.troubled.iter().any(|(tenant, _)| *tenant == batch.tenant) {
                continue;
            }
            match recheck(ledger, &batch).await {
                Ok(()) => batches.push(batch),
                Err(error @ (AnchorError::Tampered { .. } | AnchorError::Missing { .. })) => {
                    error!(tenant = %batch.tenant, %error, "tenant halted");
                    report.troubled.push((batch.tenant, error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        batches.retain(|batch| !report.troubled.iter().any(|(tenant, _)| *tenant == batch.tenant));
        if batches.is_empty() && !followed.has_gap() {
            return Ok(());
        }

        let Some(fees) = self.fees(followed).await? else { return Ok(()) };
        if batches.is_empty() {
            return poster.post(ledger, followed, Call::nothing(us), fees, &[]).await;
        }
        let limit = gas_limit(&self.chain().head().await?);
        let [mut own, mut signed] = self.sign(batches, &chosen.signers, report).await;
        for _ in 0..room {
            let longer = if own.len() >= signed.len() { &mut own } else { &mut signed };
            let Some((chunk, gas)) = self.cut(longer, limit).await? else { break };
            let (to, calldata) = (self.chain().contract(), anchoring(&chunk));
            let item = |it: &Ready| (it.batch.tenant, Item::Batch(it.batch.index));
            let items: Vec<_> = chunk.iter().map(item).collect();
            poster.post(ledger, followed, Call { to, calldata, gas }, fees, &items).await?;
            if followed.waiting.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Batches that our own key anchors, and those of others' keys, which sign them. A key that does not
    /// answer holds up its own tenants alone.
    async fn sign(
        &self,
        batches: Vec<SealedBatch>,
        signers: &HashMap<TenantId, Address>,
        report: &mut RoundReport,
    ) -> [Vec<Ready>; 2] {
        let (mut own, mut signed) = (vec![], vec![]);
        for batch in batches {
            let Some(anchorer) = signers.get(&batch.tenant) else {
                own.push(Ready { batch, signed: None });
                continue;
            };
            if report.troubled.iter().any(|(tenant, _)| *tenant == batch.tenant) {
                continue;
            }
            match self.anchorers.sign(self.chain(), *anchorer, &batch).await {
                Ok(item) => signed.push(Ready { batch, signed: Some(item) }),
                Err(error) => {
                    warn!(tenant = %batch.tenant, %error, "batch not signed, trying again");
                    report.troubled.push((batch.tenant, error.to_string()));
                }
            }
        }
        [own, signed]
    }

    /// Cuts off what goes into one transaction, by the gas that it is estimated to use and a fifth more.
    /// A tenant's further batches are left for later: an estimate knows nothing of what is under way.
    async fn cut(
        &self,
        batches: &mut Vec<Ready>,
        limit: u64,
    ) -> Result<Option<(Vec<Ready>, u64)>, AnchorError> {
        let contract = self.chain().contract();
        let mut size = batches.len().min(MAX_ITEMS);
        while size > 0 {
            let calldata = anchoring(&batches[..size]);
            let estimated = self.poster.sender.estimate(contract, &calldata).await?;
            let gas = estimated + estimated / 5;
            if gas <= limit {
                let chunk: Vec<_> = batches.drain(..size).collect();
                let tenants: HashSet<_> = chunk.iter().map(|it| it.batch.tenant).collect();
                batches.retain(|it| !tenants.contains(&it.batch.tenant));
                return Ok(Some((chunk, gas)));
            }
            if size == 1 {
                return Err(AnchorError::TooMuchGas { gas: estimated, limit });
            }
            size /= 2;
        }
        Ok(None)
    }

    fn chain(&self) -> &Chain {
        self.poster.chain()
    }
}

/// Returns once it was told to stop, and that long ago.
async fn told(stop: &mut watch::Receiver<bool>, grace: Duration) {
    // Nobody is left to say so: that is as good as being told.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(grace).await;
}
