//! Which sealed batches go out next: the contract's counters decide.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy::primitives::Address;
use cofferdam_contracts::{Chain, ChainError, IAuditAnchor};
use cofferdam_core::{BatchIndex, TenantId};
use cofferdam_store::{SealedBatch, Sealer};
use tracing::debug;

use crate::{AnchorError, Anchorers, aside::Aside};

/// What the contract's counters say about a tenant whose next batch is to go out.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the contract's next one, and this key's to anchor.
    Post(Address),
    /// Wait: the contract has it already and the mirror is about to see that, or the contract is behind
    /// what was seen, as after a reorg or on a node that lags.
    Wait,
    /// Somebody else anchors for this tenant, or nobody.
    OtherAnchorer(Address),
    /// The contract has what was never sealed here.
    Differs { kind: &'static str, detail: String },
}

/// What was chosen.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// Batches to post: each tenant's in order, each the contract's next.
    pub(crate) batches: Vec<SealedBatch>,
    /// Who must sign for each tenant whose anchorer is not our own key.
    pub(crate) signers: HashMap<TenantId, Address>,
    /// Tenants that have another anchorer or were halted, each with the reason.
    pub(crate) troubled: Vec<(TenantId, String)>,
}

/// Leaves out what the contract already has, and tenants that have another anchorer; halts those whose
/// history on the chain is not the one that was sealed here.
pub(crate) async fn choose(
    chain: &Chain,
    ledger: &Sealer,
    us: Address,
    anchorers: &Anchorers,
    aside: &Aside,
    batches: Vec<SealedBatch>,
) -> Result<Choice, AnchorError> {
    let ours = |anchorer| anchorer == us || anchorers.has(anchorer);
    let mut firsts: BTreeMap<TenantId, SealedBatch> = BTreeMap::new();
    for batch in &batches {
        firsts.entry(batch.tenant).or_insert(*batch);
    }
    let tenants: Vec<TenantId> = firsts.keys().copied().collect();
    let heads = heads(chain, &tenants).await?;
    let mut choice = Choice::default();
    let mut posting = HashSet::new();
    for (tenant, first) in &firsts {
        let mut verdict = judge(ledger, ours, first, &heads[tenant]).await?;
        if let Verdict::Differs { .. } = verdict {
            // Halting is for ever: ask twice, and the database after the chain.
            let again = self::heads(chain, &[*tenant]).await?;
            verdict = judge(ledger, ours, first, &again[tenant]).await?;
        }
        match verdict {
            Verdict::Post(anchorer) => {
                posting.insert(*tenant);
                aside.remove(*tenant).await;
                if anchorer != us {
                    choice.signers.insert(*tenant, anchorer);
                }
            }
            Verdict::Wait => debug!(%tenant, batch = %first.index, "waiting for the mirror"),
            Verdict::OtherAnchorer(anchorer) => {
                aside.put(*tenant, anchorer).await;
                choice.troubled.push((*tenant, other_anchorer(us, anchorer)));
            }
            Verdict::Differs { kind, detail } => {
                ledger.halt(*tenant, kind, &detail).await?;
                choice.troubled.push((*tenant, format!("halted: {kind}: {detail}")));
            }
        }
    }
    // A tenant's own batches stand in order; whatever does not follow the one before waits.
    let mut next: HashMap<TenantId, BatchIndex> = HashMap::new();
    for batch in batches.into_iter().filter(|batch| posting.contains(&batch.tenant)) {
        let expected = next.entry(batch.tenant).or_insert(batch.index);
        if *expected == batch.index {
            *expected = BatchIndex(batch.index.get() + 1);
            choice.batches.push(batch);
        }
    }
    Ok(choice)
}

/// What is in the way of a tenant that has another anchorer, and who can change that.
pub(crate) fn other_anchorer(us: Address, anchorer: Address) -> String {
    let reason = match anchorer {
        Address::ZERO => "no anchorer is set on the chain".to_string(),
        other => format!("its anchorer on the chain is {other}"),
    };
    format!("{reason}; its authority must set it to {us}")
}

async fn heads(
    chain: &Chain,
    tenants: &[TenantId],
) -> Result<HashMap<TenantId, IAuditAnchor::Head>, ChainError> {
    let heads = chain.heads(tenants).await?;
    Ok(tenants.iter().copied().zip(heads).collect())
}

/// Compares the contract's counters with a tenant's first batch that nobody has seen anchored.
async fn judge(
    ledger: &Sealer,
    ours: impl Fn(Address) -> bool,
    first: &SealedBatch,
    head: &IAuditAnchor::Head,
) -> Result<Verdict, AnchorError> {
    if head.batches < first.index.get() {
        return Ok(Verdict::Wait);
    }
    if head.batches == first.index.get() && head.entries == first.first_seq.get() {
        return Ok(match ours(head.anchorer) {
            true => Verdict::Post(head.anchorer),
            false => Verdict::OtherAnchorer(head.anchorer),
        });
    }
    // The contract has more than was seen anchored.
    Ok(match difference(ledger, first.tenant, head).await? {
        None => Verdict::Wait,
        Some((kind, detail)) => Verdict::Differs { kind, detail },
    })
}

/// Whether the contract's history of a tenant ends where one of the batches sealed here ends; if not,
/// what kind of difference that is, and the counters.
pub async fn difference(
    sealer: &Sealer,
    tenant: TenantId,
    head: &IAuditAnchor::Head,
) -> Result<Option<(&'static str, String)>, AnchorError> {
    let mut tx = sealer.tenant(tenant).await?;
    let ours = tx.head().await?;
    let end = match tx.batch(BatchIndex(head.batches)).await? {
        Some(batch) => Some(batch.first_seq),
        None => (ours.sealed_batches.get() == head.batches).then_some(ours.sealed_seq),
    };
    if end.is_some_and(|end| end.get() == head.entries) {
        return Ok(None);
    }
    let kind = if end.is_none() { "chain-ahead" } else { "different-batch" };
    let detail = format!(
        "the contract has {} batches with {} entries, sealed here are {} batches with {} entries",
        head.batches, head.entries, ours.sealed_batches, ours.sealed_seq
    );
    Ok(Some((kind, detail)))
}
