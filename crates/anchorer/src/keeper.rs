//! Keeping what a node proves of tenants' histories, for receipts that are made once it has forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use alloy::primitives::B256;
use cofferdam_contracts::{Chain, Header};
use cofferdam_core::{Policy, TenantId};
use cofferdam_store::{Checkpoint, Sealer};
use futures::{StreamExt, stream};
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

use crate::AnchorError;

/// Proofs that are taken in one round.
const ROUND: u32 = 32;
/// Proofs that are asked for at the same time.
const TOGETHER: usize = 4;
/// Proofs of which a round finds out what became of them.
const SETTLED: u32 = 256;
/// How long a tenant is passed over whose proof could not be had.
const ASIDE: Duration = Duration::from_secs(60);
/// How many steps of the daemon pass between two rounds, at least.
pub(crate) const UNHURRIED: u32 = 5;
/// A round is followed by so many times its own length without one, though never by more than this.
const SHARE: u32 = 10;
const LONGEST: Duration = Duration::from_secs(300);

/// Takes and keeps proofs, for whoever leads.
///
/// A proof is taken at the head, where every node has the state, as soon as a tenant's batch is mirrored and
/// the tenant has none, or its last is older than `every`; it proves all batches before it, too. It is kept
/// once its block is final, and those before it are dropped; and it is dropped when its block went.
#[derive(Debug)]
pub struct Keeper {
    chain: Chain,
    every: Duration,
    /// Until when tenants are passed over.
    aside: Mutex<HashMap<TenantId, SystemTime>>,
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Proofs taken, which now wait to be final.
    pub taken: usize,
    /// Proofs that became final.
    pub settled: usize,
    /// Proofs whose block is no more.
    pub dropped: usize,
    /// Tenants whose proof could not be had now.
    pub failed: usize,
}

impl Keeper {
    /// A keeper that renews an active tenant's proof when it is this old.
    pub fn new(chain: Chain, every: Duration) -> Self {
        Self { chain, every, aside: Mutex::default() }
    }

    /// One round. What cannot be had of one tenant keeps no other waiting; an error concerns all.
    pub async fn round(&self, ledger: &Sealer, now: SystemTime) -> Result<Kept, AnchorError> {
        let mut kept = Kept::default();
        self.settle(ledger, &mut kept).await?;
        self.take(ledger, now, &mut kept).await?;
        Ok(kept)
    }

    /// Finds out which of the blocks that were waited for are final, and which went.
    async fn settle(&self, ledger: &Sealer, kept: &mut Kept) -> Result<(), AnchorError> {
        let Some(finality) = ledger.finality().await? else { return Ok(()) };
        let mut canonical: HashMap<u64, Option<B256>> = HashMap::new();
        for (tenant, at) in ledger.unsettled_proofs(finality.last_final, SETTLED).await? {
            let Checkpoint { number, hash } = at;
            let stands = match canonical.get(&number) {
                Some(stands) => *stands,
                None => {
                    let there = self.chain.header(number.into()).await?.map(|it| it.hash);
                    canonical.insert(number, there);
                    there
                }
            };
            // A node that lags says nothing of it.
            let Some(stands) = stands else { continue };
            let mut tx = ledger.tenant(tenant).await?;
            if stands == hash {
                tx.settle_proof(number).await?;
                kept.settled += 1;
            } else {
                tx.drop_proof(number).await?;
                kept.dropped += 1;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        ledger: &Sealer,
        now: SystemTime,
        kept: &mut Kept,
    ) -> Result<(), AnchorError> {
        let passed = self.passed(now);
        let due = ledger.unproven(now, self.every, &passed, ROUND).await?;
        if due.is_empty() {
            return Ok(());
        }
        let at = self.chain.head().await?;
        let taking = due.into_iter().map(|(tenant, mirrored)| async move {
            (tenant, self.take_one(ledger, tenant, mirrored, &at, now).await)
        });
        let mut taking = stream::iter(taking.collect::<Vec<_>>()).buffer_unordered(TOGETHER);
        let mut last = None;
        while let Some((tenant, taken)) = taking.next().await {
            match taken {
                Ok(()) => kept.taken += 1,
                Err(Untaken::All(error)) => return Err(error),
                Err(Untaken::One(why)) => {
                    debug!(%tenant, why, "no proof of a history");
                    self.put_aside(tenant, now);
                    kept.failed += 1;
                    last = Some(why);
                }
            }
        }
        if let Some(why) = last {
            warn!(tenants = kept.failed, why, "histories not proven, trying again later");
        }
        Ok(())
    }

    /// Takes and keeps one tenant's proof at this block, once it was verified to be of as much as is mirrored.
    async fn take_one(
        &self,
        ledger: &Sealer,
        tenant: TenantId,
        mirrored: u64,
        at: &Header,
        now: SystemTime,
    ) -> Result<(), Untaken> {
        let one = |error: &dyn std::error::Error| Untaken::One(error.to_string());
        let proof = self.chain.prove(tenant, at.number).await.map_err(|error| one(&error))?;
        let policy = Policy {
            chain_id: self.chain.chain_id(),
            contract: self.chain.contract(),
            code_hash: Some(self.chain.code_hash()),
            block_hashes: vec![at.hash],
        };
        let proven = proof.verify(tenant, &policy).map_err(|error| one(&error))?;
        if proven.head.batches < mirrored {
            let (number, batches) = (at.number, proven.head.batches);
            let why = format!("block {number} has {batches} of the {mirrored} mirrored batches");
            return Err(Untaken::One(why));
        }
        let keeping = async {
            let mut tx = ledger.tenant(tenant).await?;
            let at = Checkpoint { number: at.number, hash: at.hash };
            tx.keep_proof(at, &proof, now).await?;
            tx.commit().await
        };
        keeping.await.map_err(|error| {
            let error = AnchorError::from(error);
            if error.concerns_all() { Untaken::All(error) } else { one(&error) }
        })
    }

    fn put_aside(&self, tenant: TenantId, now: SystemTime) {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        aside.insert(tenant, now + ASIDE);
    }

    /// The tenants that are passed over now.
    fn passed(&self, now: SystemTime) -> Vec<TenantId> {
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        // One that lies further ahead is from before the clock was stepped back.
        aside.retain(|_, until| (now..=now + ASIDE).contains(until));
        aside.keys().copied().collect()
    }
}

/// Why a tenant's proof was not kept.
enum Untaken {
    /// It is this tenant's trouble.
    One(String),
    /// It is everybody's.
    All(AnchorError),
}

/// The keeper's rounds beside a daemon's steps, one at a time, so that no step waits for one. Cut off when
/// this is dropped, as a round can be anywhere.
#[derive(Debug, Default)]
pub(crate) struct Keeping(Option<JoinHandle<()>>);

impl Keeping {
    /// Begins a round if the last one, and the pause after it, are over.
    pub(crate) fn go_on(&mut self, keeper: &Arc<Keeper>, ledger: &Sealer, pause: Duration) {
        if self.0.as_ref().is_some_and(|round| !round.is_finished()) {
            return;
        }
        let (keeper, ledger) = (keeper.clone(), ledger.clone());
        self.0 = Some(tokio::spawn(async move {
            let start = Instant::now();
            match keeper.round(&ledger, SystemTime::now()).await {
                Ok(kept) if kept == Kept::default() => {}
                Ok(Kept { taken, settled, dropped, failed }) => {
                    info!(taken, settled, dropped, failed, "proofs kept");
                }
                Err(error) => error!(%error, "proofs not kept, trying again"),
            }
            // However many tenants there are, looking for those that are due is a small part of all.
            let rest = (start.elapsed() * SHARE).min(LONGEST);
            tokio::time::sleep(rest.max(pause)).await;
        }));
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        if let Some(round) = &self.0 {
            round.abort();
        }
    }
}
