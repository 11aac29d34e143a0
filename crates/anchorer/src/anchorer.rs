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
use futures::{StreamExt, stream};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{
    AnchorError, Anchorers, PostPolicy, Pulse, SealPolicy, SealReport, Sender,
    anchorers::{Ready, anchoring},
    aside::Aside,
    choose::{Choice, choose, other_anchorer},
    fees::Fees,
    lead::Lead,
    policies,
    poster::{Call, Followed, Poster, gas_limit},
    recheck::recheck,
    seal::note,
    seal_due,
};

/// Entries of all batches that are hashed again for one transaction, if that has more than one.
const MAX_ENTRIES: u64 = 1 << 17;
/// Batches that are hashed again at the same time.
const TOGETHER: usize = 4;
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
    aside: Arc<Aside>,
    pulse: Arc<Pulse>,
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
        Self {
            sealer,
            poster,
            aside: Arc::default(),
            pulse: Arc::default(),
            policy,
            holder,
            intake: None,
            anchorers: Anchorers::default(),
        }
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

    /// How its steps go.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
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
            let limit = self.poster.policy.step;
            let turn = tokio::time::timeout(limit, self.turn(&mut lead));
            let turned = tokio::select! {
                turned = turn => turned,
                () = told(&mut stop, GRACE) => break,
            };
            self.pulse.beat(matches!(turned, Ok(true)));
            if turned.is_err() {
                error!(after = ?limit, "step given up, leading no longer");
                if let Some(lead) = lead.take() {
                    let _ = tokio::time::timeout(GRACE, lead.release()).await;
                }
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

    /// One step, if this daemon leads or can take the lead. Whether nothing failed.
    async fn turn(&self, lead: &mut Option<Lead>) -> bool {
        if lead.as_ref().is_some_and(Lead::is_deposed) {
            *lead = None;
        }
        let leading = match lead {
            Some(leading) => leading,
            None => match Lead::take(&self.sealer, &self.holder, self.poster.policy.lease).await {
                Ok(taken) => lead.insert(taken),
                Err(error @ AnchorError::NotLeading { .. }) => {
                    debug!(%error, "standing by");
                    return true;
                }
                Err(error) => {
                    error!(%error, "cannot lead, trying again");
                    return false;
                }
            },
        };
        let mut report = RoundReport::default();
        let outcome = self.step(&leading.sealer, false, &mut report).await;
        let well = outcome.is_ok();
        match outcome {
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
        well
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
        let failed = posted.as_ref().err().map(ToString::to_string);
        ledger.wait_for(failed.as_deref().or(followed.waiting.as_deref())).await?;
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

    /// Posts sealed batches that the contract does not have yet, as far as there is room under way. Goes
    /// on past those that cannot be posted now, however many these are.
    async fn post(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let poster = &self.poster;
        let (us, in_flight) = (poster.sender.address(), poster.policy.in_flight);
        let mut passed = vec![];
        for (tenant, anchorer) in self.aside.resting().await {
            report.troubled.push((tenant, other_anchorer(us, anchorer)));
            passed.push(tenant);
        }
        while followed.open < in_flight {
            let page = (in_flight - followed.open) * poster.policy.max_items;
            let sealed = ledger.unanchored_batches(page as u32, &passed).await?;
            let is_last = sealed.len() < page;
            passed.extend(sealed.iter().map(|batch| batch.tenant));
            let chosen =
                choose(self.chain(), ledger, us, &self.anchorers, &self.aside, sealed).await?;
            let Choice { batches, signers, troubled } = chosen;
            report.troubled.extend(troubled);
            self.post_batches(ledger, followed, (batches, &signers), report).await?;
            if is_last || followed.waiting.is_some() {
                break;
            }
        }
        if followed.open < in_flight
            && followed.has_gap()
            && let Some(fees) = self.fees(followed).await?
        {
            poster.post(ledger, followed, Call::nothing(us), fees, &[]).await?;
        }
        Ok(())
    }

    /// Posts batches that were chosen, a part at a time, each looked at a last time before.
    async fn post_batches(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        (mut chosen, signers): (Vec<SealedBatch>, &HashMap<TenantId, Address>),
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        let PostPolicy { in_flight, max_items, .. } = self.poster.policy;
        if chosen.is_empty() {
            return Ok(());
        }
        let Some(fees) = self.fees(followed).await? else { return Ok(()) };
        let limit = gas_limit(&self.chain().head().await?);
        while followed.open < in_flight && !chosen.is_empty() {
            let part = cut_off(&mut chosen, max_items);
            // A tenant's further batches are left for later: an estimate knows nothing of what is
            // under way, and whatever follows a batch that is not what was sealed waits with it.
            let tenants: HashSet<_> = part.iter().map(|batch| batch.tenant).collect();
            chosen.retain(|batch| !tenants.contains(&batch.tenant));
            let batches = self.sound(ledger, part, report).await?;
            for mut ready in self.sign(batches, signers, report).await {
                while followed.open < in_flight
                    && let Some((chunk, gas)) = self.cut(&mut ready, limit).await?
                {
                    let (to, calldata) = (self.chain().contract(), anchoring(&chunk));
                    let item = |it: &Ready| (it.batch.tenant, Item::Batch(it.batch.index));
                    let items: Vec<_> = chunk.iter().map(item).collect();
                    let call = Call { to, calldata, gas };
                    self.poster.post(ledger, followed, call, fees, &items).await?;
                    if followed.waiting.is_some() {
                        return Ok(());
                    }
                }
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

    /// The batches that still are what was sealed, in order; none of a tenant that has another one.
    async fn sound(
        &self,
        ledger: &Sealer,
        mut batches: Vec<SealedBatch>,
        report: &mut RoundReport,
    ) -> Result<Vec<SealedBatch>, AnchorError> {
        let looks = batches.iter().copied();
        let looks = looks.map(|batch| async move { (batch.tenant, recheck(ledger, &batch).await) });
        let mut looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(TOGETHER);
        let mut unsound = HashSet::new();
        while let Some((tenant, looked)) = looks.next().await {
            match looked {
                Ok(()) => {}
                Err(error) if error.concerns_all() => return Err(error),
                Err(error) => {
                    error!(%tenant, %error, "cannot anchor what was sealed");
                    note(ledger, tenant, &error).await?;
                    if unsound.insert(tenant) {
                        report.troubled.push((tenant, error.to_string()));
                    }
                }
            }
        }
        batches.retain(|batch| !unsound.contains(&batch.tenant));
        Ok(batches)
    }

    /// What a transaction is to offer; none, which is then waited for, while that is over the ceiling.
    async fn fees(&self, followed: &mut Followed) -> Result<Option<Fees>, AnchorError> {
        let (network, ceiling) =
            (Fees::of_network(self.chain()).await?, self.poster.policy.max_fee);
        let price = network.base();
        if price > ceiling {
            followed.waiting = Some(format!(
                "the network asks {price} wei for a unit of gas, the ceiling is {ceiling}"
            ));
            return Ok(None);
        }
        Ok(Some(network.capped(ceiling)))
    }

    /// Cuts off what goes into one transaction, by the gas that it is estimated to use and a fifth more.
    /// A tenant's further batches are left for later, as an estimate knows nothing of what is under way.
    async fn cut(
        &self,
        batches: &mut Vec<Ready>,
        limit: u64,
    ) -> Result<Option<(Vec<Ready>, u64)>, AnchorError> {
        let contract = self.chain().contract();
        let mut size = batches.len().min(self.poster.policy.max_items);
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

/// Cuts off the first batches: as many as go into one transaction and are hashed again in seconds.
fn cut_off(batches: &mut Vec<SealedBatch>, most: usize) -> Vec<SealedBatch> {
    let mut entries = 0;
    let few = batches.iter().take(most).take_while(|batch| {
        entries += batch.count;
        entries <= MAX_ENTRIES
    });
    let few = few.count().max(1).min(batches.len());
    batches.drain(..few).collect()
}

#[cfg(test)]
mod tests {
    use cofferdam_core::BatchIndex;

    use super::*;

    #[test]
    fn a_part_is_what_is_hashed_in_seconds_and_never_nothing() {
        let batch = |count| SealedBatch {
            tenant: TenantId::from_authority([1; 20].into()).expect("not zero"),
            index: BatchIndex(0),
            first_seq: 0.into(),
            count,
            root: [0; 32].into(),
            sealed_at: std::time::SystemTime::UNIX_EPOCH,
            anchored: None,
        };
        let parts = |counts: &[u64], most| {
            let mut batches: Vec<_> = counts.iter().map(|count| batch(*count)).collect();
            let mut sizes = vec![];
            while !batches.is_empty() {
                sizes.push(cut_off(&mut batches, most).len());
            }
            sizes
        };
        let half = MAX_ENTRIES / 2;
        assert_eq!(parts(&[1, 1, 1], 2), [2, 1]);
        assert_eq!(parts(&[half, half, 1, MAX_ENTRIES + 1, 1], 9), [2, 1, 1, 1]);
    }
}
