//! Rounds of sealing and posting.

use std::{collections::HashMap, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes},
    rpc::types::TransactionReceipt,
    sol_types::SolCall,
};
use cofferdam_contracts::{AuditAnchor, Chain, Event, IAuditAnchor, Logged};
use cofferdam_core::TenantId;
use cofferdam_store::{SealedBatch, Sealer, Sequencer};
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use crate::{AnchorError, SealPolicy, SealReport, Sender, seal_due};

/// The most gas that Base takes in one transaction (EIP-7825), in gas.
const MAX_TRANSACTION_GAS: u64 = 16_777_216;
/// Batches in one transaction; a tenant's first one is the dearest, at some 40,000 gas.
const MAX_ITEMS: usize = 300;
/// Batches looked at in one round.
const MAX_ROUND: u32 = 10_000;

/// Transactions' worth of a tenant's intake that are chained in one round.
const TURNS: u32 = 64;

/// Seals and posts for all tenants of a database.
#[derive(Debug, Clone)]
pub struct Anchorer {
    sealer: Sealer,
    sender: Sender,
    policy: SealPolicy,
    intake: Option<Sequencer>,
}

/// What one transaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted {
    /// Its hash.
    pub tx: B256,
    /// Batches it anchored.
    pub anchored: usize,
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

impl Anchorer {
    /// An anchorer that seals by `policy` and posts with the sender's key.
    pub fn new(sealer: Sealer, sender: Sender, policy: SealPolicy) -> Self {
        let sender = sender.booked(sealer.clone());
        Self { sealer, sender, policy, intake: None }
    }

    /// Also chains what applications enqueued, at the start of each round.
    pub fn chaining(self, sequencer: Sequencer) -> Self {
        Self { intake: Some(sequencer), ..self }
    }

    /// Seals what is due (everything when `flush` is set) and posts what is sealed. A tenant in
    /// trouble is reported and never holds up the others.
    pub async fn round(&self, flush: bool) -> Result<RoundReport, AnchorError> {
        let stopped = self.chain_intake().await;
        let SealReport { sealed, troubled } = seal_due(&self.sealer, &self.policy, flush).await?;
        let mut report = RoundReport { sealed, troubled, ..RoundReport::default() };
        report.troubled.extend(stopped);
        self.post(&mut report).await?;
        Ok(report)
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

    /// Rounds until told to stop; a round that has begun is finished.
    pub async fn run(&self, every: Duration, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            match self.round(false).await {
                Ok(report) if report == RoundReport::default() => debug!("nothing to anchor"),
                Ok(report) => info!(
                    sealed = report.sealed,
                    transactions = report.posted.len(),
                    troubled = report.troubled.len(),
                    "round done"
                ),
                Err(error) => error!(%error, "round failed, trying again"),
            }
            tokio::select! {
                _ = tokio::time::sleep(every) => {}
                // Nobody is left to say so: waiting for it would spin.
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Posts sealed batches that the contract does not have yet.
    async fn post(&self, report: &mut RoundReport) -> Result<(), AnchorError> {
        let batches = self.sealer.unanchored_batches(MAX_ROUND).await?;
        if batches.is_empty() {
            return Ok(());
        }
        let batches = self.missing_on_chain(batches, report).await?;
        let limit = self.chain().head().await?.gas_limit.min(MAX_TRANSACTION_GAS);
        let mut chunks: Vec<&[SealedBatch]> = batches.chunks(MAX_ITEMS).rev().collect();
        while let Some(chunk) = chunks.pop() {
            let calldata = anchor_many(chunk);
            let gas = self.sender.estimate(self.chain().contract(), &calldata).await?;
            if gas + gas / 5 > limit {
                if chunk.len() == 1 {
                    return Err(AnchorError::TooMuchGas { gas, limit });
                }
                let (front, back) = chunk.split_at(chunk.len() / 2);
                chunks.extend([back, front]);
                continue;
            }
            let contract = self.chain().contract();
            let items = chunk.len() as u32;
            let receipt = self.sender.send_with_gas(contract, calldata, gas, items).await?;
            report.posted.push(self.read(&receipt)?);
        }
        Ok(())
    }

    /// Leaves out what the contract already has, and tenants that have another anchorer.
    async fn missing_on_chain(
        &self,
        batches: Vec<SealedBatch>,
        report: &mut RoundReport,
    ) -> Result<Vec<SealedBatch>, AnchorError> {
        let mut tenants: Vec<TenantId> = batches.iter().map(|batch| batch.tenant).collect();
        tenants.sort_unstable();
        tenants.dedup();
        let heads = self.chain().heads(&tenants).await?;
        let heads: HashMap<TenantId, IAuditAnchor::Head> = tenants.into_iter().zip(heads).collect();
        for (tenant, head) in &heads {
            if head.anchorer != self.sender.address() {
                let reason = match head.anchorer {
                    Address::ZERO => "no anchorer is set on the chain".to_string(),
                    other => format!("its anchorer on the chain is {other}"),
                };
                warn!(%tenant, %reason, "cannot anchor for this tenant");
                let us = self.sender.address();
                let what_next = format!("{reason}; its authority must set it to {us}");
                report.troubled.push((*tenant, what_next));
            }
        }
        let wanted = |batch: &SealedBatch| {
            let head = &heads[&batch.tenant];
            head.anchorer == self.sender.address() && batch.index.get() >= head.batches
        };
        Ok(batches.into_iter().filter(wanted).collect())
    }

    /// Reads from a receipt what became of each batch.
    fn read(&self, receipt: &TransactionReceipt) -> Result<Posted, AnchorError> {
        let mut posted = Posted {
            tx: receipt.transaction_hash,
            gas_used: receipt.gas_used,
            ..Posted::default()
        };
        for log in receipt.inner.logs().iter().filter(|l| l.address() == self.chain().contract()) {
            match Logged::try_from(log)?.event {
                Event::Anchored(_) => posted.anchored += 1,
                Event::Skipped { tenant_id, reason, .. } => {
                    posted.skipped += 1;
                    warn!(tenant = %tenant_id, reason, tx = %posted.tx, "batch skipped");
                }
                Event::AnchorerSet { .. } => {}
            }
        }
        let (tx, anchored, gas) = (posted.tx, posted.anchored, posted.gas_used);
        info!(%tx, anchored, gas, "batches anchored");
        Ok(posted)
    }

    fn chain(&self) -> &Chain {
        self.sender.chain()
    }
}

/// The calldata of `anchorMany`.
fn anchor_many(batches: &[SealedBatch]) -> Bytes {
    let items = batches
        .iter()
        .map(|batch| IAuditAnchor::Item {
            tenantId: batch.tenant.as_b256(),
            firstSeq: batch.first_seq.get(),
            count: batch.count,
            root: batch.root.into(),
        })
        .collect();
    AuditAnchor::anchorManyCall { items }.abi_encode().into()
}
