//! The mirror against the contracts' own storage, at the very block that it stands at.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{MutexGuard, PoisonError},
};

use alloy::{
    primitives::{Address, B256, Bytes, keccak256},
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
    endpoint::Endpoint,
    state::{Question, State},
};

/// Tenants whose counters are read from the database at once.
const PAGE: u32 = 1_000;
/// Tenants that the contracts are asked about at once: seven questions each.
const AT_ONCE: usize = 64;
/// Tenants of whom nothing is new that are compared at each new block, one after another.
const IN_TURN: u32 = 8;

/// What the contracts say of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OnChain {
    batches: u64,
    entries: u64,
    peaks: Vec<B256>,
    anchorers: u64,
    policies: u64,
    scopes: u64,
    agent_events: u64,
    /// `None` where there is no account.
    account_events: Option<u64>,
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

/// Whose counters are still to be compared with the contracts'.
#[derive(Debug, Default)]
pub(crate) struct Unchecked {
    /// Whether all were compared since the start.
    all_done: bool,
    /// Whose rows changed since they were compared, or are suspected.
    tenants: BTreeSet<B256>,
    /// Whose turn was the last among those of whom nothing is new.
    last: Option<B256>,
}

impl Indexer {
    fn unchecked(&self) -> MutexGuard<'_, Unchecked> {
        self.unchecked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is anybody to compare, even if no block is new.
    pub(crate) fn is_unchecked(&self) -> bool {
        let unchecked = self.unchecked();
        !unchecked.all_done || !unchecked.tenants.is_empty()
    }

    /// These tenants are to be compared.
    pub(crate) fn suspect(&self, tenants: impl IntoIterator<Item = B256>) {
        self.unchecked().tenants.extend(tenants);
    }

    /// All tenants are to be compared again.
    pub(crate) fn suspect_all(&self) {
        self.unchecked().all_done = false;
    }

    /// These tenants' counters moved: they are to be compared. Until all were once, everybody is anyway.
    pub(crate) fn touch(&self, tenants: Vec<B256>) {
        let mut unchecked = self.unchecked();
        if unchecked.all_done {
            unchecked.tenants.extend(tenants);
        }
    }

    /// Compares with the contracts, at a block, whom nobody has compared yet, registered tenants whose batches
    /// are not all anchored, and some of the others in turn. Whoever could not be compared, or differs, stays to
    /// be. All are compared before an error is told of one that differs, and of those that were not given up
    /// first. Returns how many are as the contracts have them.
    pub(crate) async fn audit(&self, at: Checkpoint) -> Result<u64, IndexError> {
        let (all, last) = {
            let unchecked = self.unchecked();
            (!unchecked.all_done, unchecked.last)
        };
        let (mut checked, mut whole, mut holes) = (0, true, BTreeMap::new());
        let mut after = if all { None } else { last };
        while whole {
            let limit = if all { PAGE } else { IN_TURN };
            let page = self.mirror.tenants(after, limit).await?;
            after = page.last().copied();
            if !page.is_empty() {
                whole &= self.check(at, &page, &mut checked, &mut holes).await?;
            }
            if !all || page.is_empty() {
                break;
            }
        }
        if !all && whole {
            self.unchecked().last = after;
        }
        let mut tenants = self.mirror.registered_behind().await?;
        tenants.extend(self.unchecked().tenants.iter());
        tenants.sort_unstable();
        tenants.dedup();
        for page in tenants.chunks(PAGE as usize) {
            if whole {
                whole &= self.check(at, page, &mut checked, &mut holes).await?;
            }
        }
        if !holes.is_empty() && !self.still(at).await? {
            return Err(IndexError::Moving { number: at.number });
        }
        if whole {
            self.unchecked().all_done = true;
        }
        self.suspect(holes.keys().copied());
        let is_new = |(tenant, _): &(&B256, &Mismatch)| !self.is_given_up(**tenant);
        IndexMetrics::add(&self.metrics.holes, holes.iter().filter(is_new).count() as u64);
        if let Some((tenant, found)) = holes.iter().find(is_new).or(holes.first_key_value()) {
            let (tenant, Mismatch { table, mirrored, on_chain }) = (*tenant, *found);
            return Err(IndexError::Hole { tenant, table, expected: mirrored, found: on_chain });
        }
        if whole {
            self.cleared();
        }
        Ok(checked)
    }

    /// Compares these tenants, counts those that are as the contracts have them, and collects the others;
    /// `false` if the contracts could not be read.
    async fn check(
        &self,
        at: Checkpoint,
        tenants: &[B256],
        checked: &mut u64,
        holes: &mut BTreeMap<B256, Mismatch>,
    ) -> Result<bool, IndexError> {
        let mut known = self.mirror.heads_of(tenants).await?;
        known.sort_by_key(|head| head.tenant);
        // Nobody's id has no counters.
        let (ids, nobody): (Vec<B256>, Vec<B256>) =
            tenants.iter().copied().partition(|id| TenantId::try_from(*id).is_ok());
        self.unchecked().tenants.retain(|id| !nobody.contains(id));
        let head = |tenant: B256| {
            let found = known.binary_search_by_key(&tenant, |head| head.tenant);
            found.map_or(MirrorHead { tenant, ..Default::default() }, |at| known[at].clone())
        };
        let heads: Vec<_> = ids.into_iter().map(head).collect();
        for some in heads.chunks(AT_ONCE) {
            let compared = match self.compared(some, at).await {
                Ok(compared) => compared,
                Err(error @ IndexError::Moving { .. }) => return Err(error),
                // The node may not keep this block's state, or not answer now.
                Err(error) => {
                    IndexMetrics::add(&self.metrics.unread, 1);
                    let block = at.number;
                    warn!(block, %error, "the contracts' state at this block could not be read");
                    return Ok(false);
                }
            };
            for (MirrorHead { tenant, .. }, mismatch) in some.iter().zip(compared) {
                let Some(mismatch) = mismatch else {
                    *checked += 1;
                    self.unchecked().tenants.remove(tenant);
                    self.made_whole(*tenant);
                    continue;
                };
                holes.insert(*tenant, mismatch);
            }
        }
        Ok(true)
    }

    /// How a tenant's mirrored counters and history differ from the contracts' at the mirror's block, if they
    /// do.
    pub async fn difference(&self, tenant: TenantId) -> Result<Option<String>, IndexError> {
        let Some(at) = self.mirror.checkpoint().await? else { return Ok(None) };
        let id = tenant.as_b256();
        let head = self.mirror.heads_of(&[id]).await?.pop();
        let head = head.unwrap_or_else(|| MirrorHead { tenant: id, ..MirrorHead::default() });
        let different = self.compared(&[head], at).await?.pop().flatten();
        Ok(different.map(|different| different.in_words(at)))
    }

    /// Whether mirror and chain still stand where they were compared.
    async fn still(&self, at: Checkpoint) -> Result<bool, IndexError> {
        Ok(self.is_canonical(at).await? && self.mirror.checkpoint().await? == Some(at))
    }

    /// How these counters and histories differ from the contracts' at a block, if they do; of each. Who differs
    /// is asked about once more: an Anvil that mines may answer with the next block's state.
    pub(crate) async fn compared(
        &self,
        heads: &[MirrorHead],
        at: Checkpoint,
    ) -> Result<Vec<Option<Mismatch>>, IndexError> {
        let mut found = self.mismatches(heads, at).await?;
        let (places, differing): (Vec<usize>, Vec<MirrorHead>) = (0..heads.len())
            .filter(|place| found[*place].is_some())
            .map(|place| (place, heads[place].clone()))
            .unzip();
        if differing.is_empty() {
            return Ok(found);
        }
        match self.mismatches(&differing, at).await {
            Ok(again) => places.into_iter().zip(again).for_each(|(place, it)| found[place] = it),
            Err(error @ IndexError::Moving { .. }) => return Err(error),
            // What was read once is told.
            Err(_) => {}
        }
        Ok(found)
    }

    async fn mismatches(
        &self,
        heads: &[MirrorHead],
        at: Checkpoint,
    ) -> Result<Vec<Option<Mismatch>>, IndexError> {
        let tenants: Vec<_> = heads.iter().map(|head| head.tenant).collect();
        let on_chain = self.on_chain(&tenants, at).await?;
        Ok(heads.iter().zip(&on_chain).map(|(head, it)| mismatch(head, it)).collect())
    }

    /// What the contracts say of tenants at a block, in their order.
    async fn on_chain(&self, tenants: &[B256], at: Checkpoint) -> Result<Vec<OnChain>, IndexError> {
        let deployment = self.source.deployment();
        let state = State::After { number: at.number, hash: at.hash };
        let ask = self
            .source
            .endpoints
            .ask(|endpoint| async move { on_chain(&endpoint, deployment, tenants, state).await });
        ask.await
    }
}

/// The first counter that differs.
fn mismatch(head: &MirrorHead, on_chain: &OnChain) -> Option<Mismatch> {
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
    at: State,
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
            Question::CodeHash(agent),
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
    let account_code = keccak256(of.account_code());
    let is_account = |answers: &[Bytes]| answers[5][..] == account_code[..];
    let accounts = tenants.iter().zip(&of_each).filter(|(_, answers)| is_account(answers));
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
        let account_events = match is_account(answers) {
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

/// What a call returned.
pub(crate) fn returned<C: SolCall>(
    endpoint: &Endpoint,
    answer: &Bytes,
) -> Result<C::Return, IndexError> {
    C::abi_decode_returns(answer)
        .map_err(|error| endpoint.error("read a contract", Refusal::Nonsense, error))
}
