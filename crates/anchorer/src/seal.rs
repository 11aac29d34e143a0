//! Turns tenants' entries since their last batches into their next batches.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use cofferdam_core::TenantId;
use cofferdam_store::{Head, Leaves, SealPolicy, SealedBatch, Sealer, StoreError};
use futures::{StreamExt, stream};
use tracing::{error, info};

use crate::{
    AnchorError,
    recheck::{halt, proven_tiles},
};

/// Tenants that are sealed at the same time.
const TOGETHER: usize = 4;

/// How far one call of [`seal_due`] goes.
#[derive(Debug, Clone, Default)]
pub struct Stint {
    /// Also seals what is not due yet, until nothing is left unsealed.
    pub flush: bool,
    /// Begins no batch after this long, for what is sealed to be posted before more is.
    pub limit: Option<Duration>,
    /// Tenants that come after all others, as those that could not be sealed the last time.
    pub last: HashSet<TenantId>,
}

impl Stint {
    /// Everything that is unsealed.
    pub fn flush() -> Self {
        Self { flush: true, ..Self::default() }
    }
}

/// What sealing came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealReport {
    /// Batches that are on disk now.
    pub sealed: usize,
    /// Tenants that cannot be sealed, each with the reason.
    pub troubled: Vec<(TenantId, String)>,
}

/// Seals one batch of every tenant whose next one is due: who has a thousand waiting gets no more of a
/// round than who has one; who has waited longest comes first.
///
/// Entries are hashed again from what is stored; a tenant with one that is not what was acknowledged is
/// halted, alone.
///
/// # Errors
///
/// The database is away, or another daemon leads. What was sealed until then stays sealed.
pub async fn seal_due(
    sealer: &Sealer,
    policy: &SealPolicy,
    Stint { flush, limit, last }: Stint,
) -> Result<SealReport, AnchorError> {
    let halted = sealer.halted().await?.into_iter();
    let mut report = SealReport {
        sealed: 0,
        troubled: halted.map(|(tenant, why)| (tenant, format!("halted: {why}"))).collect(),
    };
    let start = Instant::now();
    let mut left_out = HashSet::new();
    loop {
        let mut due: Vec<Head> = sealer.due(policy, flush).await?;
        due.sort_by_key(|head| last.contains(&head.tenant));
        due.retain(|head| !left_out.contains(&head.tenant));
        if due.is_empty() {
            return Ok(report);
        }
        let is_over = || limit.is_some_and(|limit| start.elapsed() >= limit);
        let turns = due.into_iter().take_while(|_| !is_over()).map(|head| {
            let policy = head.seal.over(policy);
            async move { (head.tenant, seal_one(sealer, &head, &policy).await) }
        });
        let mut turns = stream::iter(turns).buffer_unordered(TOGETHER);
        while let Some((tenant, turn)) = turns.next().await {
            match turn {
                Ok(_) => report.sealed += 1,
                Err(error) if error.concerns_all() => return Err(error),
                Err(trouble) => {
                    error!(%tenant, error = %trouble, "cannot seal");
                    note(sealer, tenant, &trouble).await?;
                    left_out.insert(tenant);
                    report.troubled.push((tenant, trouble.to_string()));
                }
            }
        }
        if !flush || is_over() {
            return Ok(report);
        }
    }
}

async fn seal_one(
    sealer: &Sealer,
    head: &Head,
    policy: &SealPolicy,
) -> Result<SealedBatch, AnchorError> {
    let (tenant, first) = (head.tenant, head.sealed_seq);
    let count = head.unsealed().min(policy.max_entries);
    let mut tx = sealer.tenant(tenant).await?;
    let leaves = match tx.leaves(first, count, policy.max_bytes).await? {
        Ok(leaves) => leaves,
        Err(fault) => {
            drop(tx);
            return Err(halt(sealer, tenant, fault.into()).await?);
        }
    };
    let Leaves { hashes, bytes } = leaves;
    let count = hashes.len() as u64;
    let tiles = proven_tiles(tenant, first, hashes).await?;
    let batch = tx.seal_batch(first, bytes, &tiles).await?;
    tx.commit().await?;
    info!(%tenant, batch = %batch.index, first_seq = %first, count, "batch sealed");
    Ok(batch)
}

/// Writes down as an incident what keeps a tenant back and has not halted it.
pub(crate) async fn note(
    sealer: &Sealer,
    tenant: TenantId,
    trouble: &AnchorError,
) -> Result<(), StoreError> {
    match trouble {
        AnchorError::Tampered { .. } | AnchorError::Missing { .. } => Ok(()),
        AnchorError::Store(StoreError::Halted { .. } | StoreError::BatchGap { .. }) => Ok(()),
        trouble => sealer.report(tenant, "stuck", &trouble.to_string()).await,
    }
}
