//! The mirror against the contracts' own storage, at the very block that it stands at.

use std::collections::BTreeSet;

use alloy::{
    eips::BlockId,
    primitives::{Address, B256},
    providers::RootProvider,
};
use cofferdam_contracts::{
    AuditAnchor, Chain, ChainError, MCPAgentRegistry, PolicyRegistry, SmartAccount,
    deployment::Deployment,
};
use cofferdam_core::{TenantId, mirror::MirrorTable};
use cofferdam_store::{Checkpoint, MirrorHead};
use futures::future::join_all;
use tracing::warn;

use crate::{IndexError, IndexMetrics, Indexer};

/// Tenants whose counters are read at once; `heads` costs a node about 3,000 gas for each.
const PAGE: u32 = 1_000;
/// Tenants that are checked at the same time.
const AT_ONCE: usize = 8;

/// What the contracts say of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnChain {
    pub(crate) batches: u64,
    pub(crate) entries: u64,
    pub(crate) peaks: Vec<B256>,
    pub(crate) anchorers: u64,
    pub(crate) policies: u64,
    pub(crate) scopes: u64,
    pub(crate) agent_events: u64,
    /// `None` where there is no account.
    pub(crate) account_events: Option<u64>,
}

/// A counter of the mirror that is not the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) table: MirrorTable,
    pub(crate) mirrored: u64,
    pub(crate) on_chain: u64,
}

impl Mismatch {
    pub(crate) fn in_words(self, at: Checkpoint) -> String {
        let Self { table, mirrored, on_chain } = self;
        let (table, block) = (table.name(), at.number);
        if mirrored == on_chain {
            return format!(
                "{table}: as many as in the contract at block {block}, and not the same"
            );
        }
        format!("{table}: {mirrored} mirrored, {on_chain} in the contract at block {block}")
    }
}

impl Indexer {
    /// Checks tenants' counters and histories at a block; all of them when `touched` is `None`. Registered
    /// tenants' batches are always checked. Returns how many were checked.
    pub(crate) async fn audit(
        &self,
        at: Checkpoint,
        touched: Option<&BTreeSet<B256>>,
    ) -> Result<u64, IndexError> {
        let mut checked = 0;
        match touched {
            Some(touched) => {
                let mut touched: Vec<B256> = touched.iter().copied().collect();
                touched.extend(self.mirror.registered_behind().await?);
                touched.sort_unstable();
                touched.dedup();
                for page in touched.chunks(PAGE as usize) {
                    let known = self.mirror.heads_of(page).await?;
                    checked += self.check(at, page, known).await?;
                }
            }
            None => {
                let mut after = None;
                loop {
                    let known = self.mirror.heads(after, PAGE).await?;
                    let page: Vec<B256> = known.iter().map(|head| head.tenant).collect();
                    let Some(last) = page.last() else { break };
                    after = Some(*last);
                    checked += self.check(at, &page, known).await?;
                }
                let registered = self.mirror.registered_behind().await?;
                let known = self.mirror.heads_of(&registered).await?;
                checked += self.check(at, &registered, known).await?;
            }
        }
        Ok(checked)
    }

    async fn check(
        &self,
        at: Checkpoint,
        tenants: &[B256],
        mut known: Vec<MirrorHead>,
    ) -> Result<u64, IndexError> {
        known.sort_by_key(|head| head.tenant);
        let head = |tenant: &B256| {
            let found = known.binary_search_by_key(tenant, |head| head.tenant);
            found.map_or_else(
                |_| MirrorHead { tenant: *tenant, ..Default::default() },
                |at| known[at].clone(),
            )
        };
        let ids: Vec<B256> =
            tenants.iter().copied().filter(|id| TenantId::try_from(*id).is_ok()).collect();
        let mut checked = 0;
        for some in ids.chunks(AT_ONCE) {
            let asked = join_all(some.iter().copied().map(|id| self.on_chain(id, at))).await;
            for (id, on_chain) in some.iter().zip(asked) {
                let on_chain = match on_chain {
                    Ok(on_chain) => on_chain,
                    // Another block may be there by now; or the node does not keep this one's state.
                    Err(error) => {
                        IndexMetrics::add(&self.metrics.unread, 1);
                        let block = at.number;
                        warn!(block, %error, "the contracts' state at this block could not be read");
                        return Ok(checked);
                    }
                };
                let Some(Mismatch { table, mirrored, on_chain }) = mismatch(&head(id), &on_chain)
                else {
                    checked += 1;
                    continue;
                };
                if !self.still(at).await? {
                    return Err(IndexError::Moving { number: at.number });
                }
                IndexMetrics::add(&self.metrics.holes, 1);
                let (tenant, expected, found) = (*id, mirrored, on_chain);
                return Err(IndexError::Hole { tenant, table, expected, found });
            }
        }
        Ok(checked)
    }

    /// How a tenant's mirrored counters and history differ from the contracts' at the mirror's block, if they
    /// do.
    pub async fn difference(&self, tenant: TenantId) -> Result<Option<String>, IndexError> {
        let Some(at) = self.mirror.checkpoint().await? else { return Ok(None) };
        let id = tenant.as_b256();
        let head = self.mirror.heads_of(&[id]).await?.pop();
        let head = head.unwrap_or_else(|| MirrorHead { tenant: id, ..MirrorHead::default() });
        let different = mismatch(&head, &self.on_chain(id, at).await?);
        Ok(different.map(|different| different.in_words(at)))
    }

    async fn still(&self, at: Checkpoint) -> Result<bool, IndexError> {
        let link = self.source.link(crate::endpoint::At::Number(at.number)).await?;
        Ok(link.is_some_and(|link| link.hash == at.hash))
    }

    /// What the contracts say of a tenant at a block.
    pub(crate) async fn on_chain(
        &self,
        tenant: B256,
        at: Checkpoint,
    ) -> Result<OnChain, IndexError> {
        let deployment = *self.source.deployment();
        let ask = self.source.endpoints.ask(|endpoint| async move {
            Ok(on_chain(endpoint.chain().await?, &deployment, tenant, at).await?)
        });
        ask.await
    }
}

/// The first counter that differs.
pub(crate) fn mismatch(head: &MirrorHead, on_chain: &OnChain) -> Option<Mismatch> {
    let differs = |table, mirrored: u64, on_chain: u64| {
        (mirrored != on_chain).then_some(Mismatch { table, mirrored, on_chain })
    };
    let peaks = head.history.as_ref().filter(|history| history.peaks() != on_chain.peaks);
    differs(MirrorTable::Anchored, head.batches, on_chain.batches)
        .or_else(|| differs(MirrorTable::Anchored, head.entries, on_chain.entries))
        .or_else(|| {
            // As many, and not the same: nothing that could be fetched is missing.
            peaks.map(|_| Mismatch {
                table: MirrorTable::Anchored,
                mirrored: head.batches,
                on_chain: on_chain.batches,
            })
        })
        .or_else(|| differs(MirrorTable::AnchorerSet, head.anchorers, on_chain.anchorers))
        .or_else(|| differs(MirrorTable::Policies, head.policies, on_chain.policies))
        .or_else(|| differs(MirrorTable::Scopes, head.scopes, on_chain.scopes))
        .or_else(|| differs(MirrorTable::Described, head.agent_events, on_chain.agent_events))
        .or_else(|| {
            let on_chain = on_chain.account_events?;
            differs(MirrorTable::AccountEvents, head.account_events, on_chain)
        })
}

async fn on_chain(
    chain: &Chain,
    deployment: &Deployment,
    tenant: B256,
    at: Checkpoint,
) -> Result<OnChain, ChainError> {
    let (block, provider) = (BlockId::from(at.hash), chain.provider());
    let what = "cannot read a contract's counters";
    let anchor = AuditAnchor::new(deployment.audit_anchor, provider);
    let ids = vec![tenant];
    let (heads, peaks, nonce) = (
        anchor.heads(ids).block(block),
        anchor.peaks(tenant).block(block),
        anchor.nonceOf(tenant).block(block),
    );
    let (heads, peaks, anchorers) = futures::try_join!(
        chain.view(what, &heads),
        chain.view(what, &peaks),
        chain.view(what, &nonce)
    )?;
    let [head] = &heads[..] else {
        let reason = format!("{} heads for one tenant", heads.len());
        return Err(ChainError::Malformed { what, reason });
    };
    // The other contracts may come later than AuditAnchor, or not at all.
    let policies = PolicyRegistry::new(deployment.policy_registry, provider);
    let agents = MCPAgentRegistry::new(deployment.mcp_agent_registry, provider);
    let authority = Address::from_word(tenant);
    let policies = match has_code(chain, provider, deployment.policy_registry, block).await? {
        true => chain.view(what, &policies.versionOf(tenant).block(block)).await?,
        false => 0,
    };
    let (scopes, agent_events) =
        match has_code(chain, provider, deployment.mcp_agent_registry, block).await? {
            true => (
                chain.view(what, &agents.nonceOf(tenant).block(block)).await?,
                chain.view(what, &agents.agentNonceOf(authority).block(block)).await?,
            ),
            false => (0, 0),
        };
    let code = provider_code(chain, provider, authority, block).await?;
    let account_events = if code == deployment.account_code() {
        let account = SmartAccount::new(authority, provider);
        Some(chain.view(what, &account.counters().block(block)).await?.nextEvent)
    } else {
        None
    };
    let (batches, entries) = (head.batches, head.entries);
    Ok(OnChain {
        batches,
        entries,
        peaks,
        anchorers,
        policies,
        scopes,
        agent_events,
        account_events,
    })
}

async fn has_code(
    chain: &Chain,
    provider: &RootProvider,
    address: Address,
    block: BlockId,
) -> Result<bool, ChainError> {
    Ok(!provider_code(chain, provider, address, block).await?.is_empty())
}

async fn provider_code(
    chain: &Chain,
    provider: &RootProvider,
    address: Address,
    block: BlockId,
) -> Result<Vec<u8>, ChainError> {
    use alloy::providers::Provider;
    let code = provider.get_code_at(address).block_id(block).into_future();
    Ok(chain.ask("cannot read code", code).await?.to_vec())
}
