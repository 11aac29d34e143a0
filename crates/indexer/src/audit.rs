//! The mirror against the contracts' own storage, at the very block that it stands at.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, B256, Bytes},
    sol_types::SolCall,
};
use cofferdam_contracts::{
    AuditAnchor, MCPAgentRegistry, PolicyRegistry, SmartAccount, deployment::Deployment,
};
use cofferdam_core::{TenantId, mirror::MirrorTable};
use cofferdam_store::{Checkpoint, MirrorHead};
use tracing::warn;

use crate::{
    IndexError, IndexMetrics, Indexer, Refusal,
    endpoint::{At, Endpoint, Question},
};

/// Tenants whose counters are read from the database at once.
const PAGE: u32 = 1_000;
/// Tenants that the contracts are asked about at once: seven questions each.
const AT_ONCE: usize = 100;

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
            let asked = match self.on_chain(some, at).await {
                Ok(asked) => asked,
                // Another block may be there by now; or the node does not keep this one's state.
                Err(error) => {
                    IndexMetrics::add(&self.metrics.unread, 1);
                    let block = at.number;
                    warn!(block, %error, "the contracts' state at this block could not be read");
                    return Ok(checked);
                }
            };
            for (id, on_chain) in some.iter().zip(asked) {
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
        let different = self.on_chain(&[id], at).await?.iter().find_map(|it| mismatch(&head, it));
        Ok(different.map(|different| different.in_words(at)))
    }

    async fn still(&self, at: Checkpoint) -> Result<bool, IndexError> {
        let link = self.source.link(At::Number(at.number)).await?;
        Ok(link.is_some_and(|link| link.hash == at.hash))
    }

    /// What the contracts say of tenants at a block, in their order.
    pub(crate) async fn on_chain(
        &self,
        tenants: &[B256],
        at: Checkpoint,
    ) -> Result<Vec<OnChain>, IndexError> {
        let deployment = self.source.deployment();
        let ask = self
            .source
            .endpoints
            .ask(|endpoint| async move { on_chain(&endpoint, deployment, tenants, at.hash).await });
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
    endpoint: &Endpoint,
    of: &Deployment,
    tenants: &[B256],
    at: B256,
) -> Result<Vec<OnChain>, IndexError> {
    let heads = AuditAnchor::headsCall { tenantIds: tenants.to_vec() };
    let mut questions = vec![Question::call(of.audit_anchor, &heads)];
    for tenant in tenants {
        let (tenant, agent) = (*tenant, Address::from_word(*tenant));
        questions.extend([
            Question::call(of.audit_anchor, &AuditAnchor::peaksCall { tenantId: tenant }),
            Question::call(of.audit_anchor, &AuditAnchor::nonceOfCall { tenantId: tenant }),
            Question::call(of.policy_registry, &PolicyRegistry::versionOfCall { tenantId: tenant }),
            Question::call(
                of.mcp_agent_registry,
                &MCPAgentRegistry::nonceOfCall { tenantId: tenant },
            ),
            Question::call(of.mcp_agent_registry, &MCPAgentRegistry::agentNonceOfCall { agent }),
            Question::Code(agent),
        ]);
    }
    let answers = endpoint.ask_all(at, &questions).await?;
    let nonsense =
        || endpoint.error("read a contract", Refusal::Nonsense, "the answer is too short");
    let (heads, answers) = answers.split_first().ok_or_else(nonsense)?;
    let heads = returned::<AuditAnchor::headsCall>(endpoint, heads)?;
    let of_each: Vec<&[Bytes]> = answers.chunks_exact(6).collect();
    if heads.len() != tenants.len() || of_each.len() != tenants.len() {
        return Err(nonsense());
    }
    let account_code = of.account_code();
    let accounts = tenants.iter().zip(&of_each).filter(|(_, answers)| *answers[5] == *account_code);
    let accounts: Vec<Address> = accounts.map(|(tenant, _)| Address::from_word(*tenant)).collect();
    let counters = SmartAccount::countersCall {};
    let asked: Vec<_> = accounts.iter().map(|it| Question::call(*it, &counters)).collect();
    let mut counted = endpoint.ask_all(at, &asked).await?.into_iter();

    let mut found = Vec::with_capacity(tenants.len());
    for (head, answers) in heads.iter().zip(of_each) {
        // The other contracts may come later than AuditAnchor, or not at all.
        let number = |answer: &Bytes| match answer.is_empty() {
            true => Ok(0),
            false => returned::<AuditAnchor::nonceOfCall>(endpoint, answer),
        };
        let account_events = match *answers[5] == *account_code {
            true => {
                let answer = counted.next().ok_or_else(nonsense)?;
                Some(returned::<SmartAccount::countersCall>(endpoint, &answer)?.nextEvent)
            }
            false => None,
        };
        found.push(OnChain {
            batches: head.batches,
            entries: head.entries,
            peaks: returned::<AuditAnchor::peaksCall>(endpoint, &answers[0])?,
            anchorers: number(&answers[1])?,
            policies: number(&answers[2])?,
            scopes: number(&answers[3])?,
            agent_events: number(&answers[4])?,
            account_events,
        });
    }
    Ok(found)
}

fn returned<C: SolCall>(endpoint: &Endpoint, answer: &Bytes) -> Result<C::Return, IndexError> {
    C::abi_decode_returns(answer)
        .map_err(|error| endpoint.error("read a contract", Refusal::Nonsense, error))
}
