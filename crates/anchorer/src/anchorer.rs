//! Steps of following, sealing and posting.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::primitives::{Address, B256, KECCAK256_EMPTY};
use cofferdam_contracts::{Chain, ChainError};
use cofferdam_core::TenantId;
use cofferdam_store::{Sealer, Sequencer, StoreError};
use tokio::sync::{Mutex, watch};
use tracing::{debug, error, info, warn};

use crate::{
    AnchorError, Anchorers, PostPolicy, Pulse, SealPolicy, SealReport, Sender,
    aside::Aside,
    keeper::{Keeper, Keeping, UNHURRIED},
    lead::Lead,
    poster::{Followed, Poster},
    seal::{Stint, seal_due},
};

mod post;

/// How long a round waits for its transactions.
const LIMIT: Duration = Duration::from_secs(300);
/// How long to wait between the steps of a round: doubled from the first to the second while nothing is mined.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long a step may go on after it was told to stop; it can be cut off anywhere.
const GRACE: Duration = Duration::from_secs(2);
/// How long a step seals before it posts what is sealed.
const SEALING: Duration = Duration::from_secs(5);
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
    /// Tenants that could not be sealed the last time.
    unsealed: Arc<Mutex<HashSet<TenantId>>>,
    holder: String,
    intake: Option<Sequencer>,
    anchorers: Anchorers,
    keeper: Option<Arc<Keeper>>,
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
            unsealed: Arc::default(),
            holder,
            intake: None,
            anchorers: Anchorers::default(),
            keeper: None,
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

    /// Also keeps proofs of tenants' histories while it runs, an active tenant's renewed when it is this old.
    pub fn keeping(self, every: Duration) -> Self {
        let keeper = Keeper::new(self.chain().clone(), every);
        Self { keeper: Some(Arc::new(keeper)), ..self }
    }

    /// How its steps go.
    pub fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Seals whatever is unsealed, posts what is sealed, and waits until it is mined. A tenant in trouble is
    /// reported and never holds up the others.
    pub async fn round(&self) -> Result<RoundReport, AnchorError> {
        let lease = self.poster.policy.lease;
        let lead = Lead::await_free(&self.sealer, &self.holder, lease).await?;
        let outcome = self.until_mined(&lead.sealer).await;
        lead.release().await;
        outcome
    }

    async fn until_mined(&self, ledger: &Sealer) -> Result<RoundReport, AnchorError> {
        let start = Instant::now();
        let mut report = RoundReport::default();
        let mut pause = PAUSE.0;
        let mut flush = true;
        loop {
            report.troubled.clear();
            let posted = report.posted.len();
            let left = self.step(ledger, flush, &mut report).await?;
            flush = false;
            if report.posted.len() > posted {
                pause = PAUSE.0;
            }
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
        let (mut lead, mut keeping) = (None, Keeping::default());
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
            if let (Some(Lead { sealer, .. }), Some(keeper)) = (&lead, &self.keeper) {
                keeping.go_on(keeper, sealer, every * UNHURRIED);
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
        if let Err(error @ AnchorError::OtherChain(_)) = followed {
            return Err(error);
        }
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

    /// Halts everything when the endpoint answers for another chain, or the contract's code changed. No code at
    /// all is waited for: a contract does not end, but a node may lag, or be back before there was one.
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
            _ if code_hash == KECCAK256_EMPTY => {
                let contract = self.chain().contract();
                return Err(ChainError::NoCode { contract, chain_id }.into());
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

    /// Chains what was enqueued, and seals what is due, for a while: more than that waits for the next step,
    /// as what is sealed does not get older by waiting for the rest.
    async fn seal(
        &self,
        ledger: &Sealer,
        flush: bool,
        report: &mut RoundReport,
    ) -> Result<(), AnchorError> {
        report.troubled.extend(self.chain_intake().await);
        let mut unsealed = self.unsealed.lock().await;
        let limit = (!flush).then_some(SEALING);
        let stint = Stint { flush, limit, last: unsealed.clone() };
        let SealReport { sealed, troubled } = seal_due(ledger, &self.policy, stint).await?;
        *unsealed = troubled.iter().map(|(tenant, _)| *tenant).collect();
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
