//! Which policies go out next: the registry's versions and the chain's clock decide.

use alloy::{
    primitives::{Bytes, aliases::U48},
    sol_types::SolCall,
};
use cofferdam_contracts::{
    ChainError, Header, PolicyRegistry,
    signing::{PublishPolicy, publication},
};
use cofferdam_core::TenantId;
use cofferdam_store::{Item, Sealer, Submission, WaitingPolicy};
use tracing::{debug, warn};

use crate::{
    AnchorError,
    poster::{Call, Poster},
};

/// How many tenants' policies are looked at in one step; the next step goes on after them.
const MOST: usize = 100;
/// The most gas that publishing a policy may use: the check of its signature is the tenant's own code, and
/// we pay for it.
const MAX_GAS: u64 = 1_000_000;
/// A policy that was simulated well and reverted so often is not tried again.
const MAX_REVERTED: u64 = 3;

/// Policies that can be published now.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Each with the call that does it.
    pub(crate) calls: Vec<((TenantId, Item), Call)>,
    /// What stood in the way of looking at one of them.
    pub(crate) trouble: Option<AnchorError>,
}

/// Chooses up to so many of the policies that wait: those that are the registry's next and that it would
/// take. Gives up, with an incident, what cannot be published any more.
pub(crate) async fn due(poster: &Poster, ledger: &Sealer, room: usize) -> Result<Due, AnchorError> {
    let mut due = Due::default();
    let waiting = {
        let mut looked_at = poster.looked_at.lock().await;
        let waiting = ledger.waiting_policies(MOST as u32, &looked_at).await?;
        match waiting.len() < MOST {
            true => looked_at.clear(),
            false => looked_at.extend(waiting.iter().map(|policy| policy.submission.tenant)),
        }
        waiting
    };
    if waiting.is_empty() {
        return Ok(due);
    }
    let head = poster.chain().head().await?;
    for policy in waiting {
        let simulate = due.calls.len() < room;
        match look(poster, ledger, &head, &policy, simulate).await {
            Ok(Some(call)) => {
                let Submission { tenant, version, .. } = policy.submission;
                due.calls.push(((tenant, Item::Policy(version)), call));
            }
            Ok(None) => {}
            Err(error) if error.concerns_all() => return Err(error),
            // One tenant's wallet that cannot be asked holds up nobody else.
            Err(error) => {
                warn!(tenant = %policy.submission.tenant, %error, "policy not published, trying again");
                due.trouble = Some(error);
            }
        }
    }
    Ok(due)
}

/// The call that publishes a policy, if it is to be made now.
async fn look(
    poster: &Poster,
    ledger: &Sealer,
    head: &Header,
    waiting: &WaitingPolicy,
    simulate: bool,
) -> Result<Option<Call>, AnchorError> {
    let WaitingPolicy { submission: policy, under_way, reverted } = waiting;
    let (chain, version) = (poster.chain(), policy.version.get());
    let registry = PolicyRegistry::new(poster.registry, chain.provider());
    let last = registry.versionOf(policy.tenant.as_b256());
    let what = "cannot read the policy's version";
    let at = chain.view(what, &last).await?;
    if at >= version {
        // Whoever published that: the mirror sees what it is, or saw it before this was handed in.
        ledger.meet_mirrored(policy).await?;
        return Ok(None);
    }
    if head.timestamp > policy.deadline {
        // Giving up is for ever: what is asked must know the block that the time is of.
        if chain.view(what, &last.block(head.number.into())).await? >= version {
            return Ok(None);
        }
        let detail = format!(
            "version {version} could be published until {}, and block {} is of {}: have the tenant sign it \
             with a later deadline, and hand it in again",
            policy.deadline, head.number, head.timestamp
        );
        ledger.fail_policy(policy, "policy-expired", &detail).await?;
        return Ok(None);
    }
    if *under_way || at + 1 != version || !simulate {
        return Ok(None);
    }
    let calldata: Bytes =
        publication(&message(policy), policy.signature.clone()).abi_encode().into();
    let refused = match poster.sender.estimate(poster.registry, &calldata).await {
        Ok(_) if *reverted >= MAX_REVERTED => {
            format!("it was tried {reverted} times, and each transaction reverted")
        }
        Ok(gas) if gas > MAX_GAS => {
            format!("it would use {gas} gas, and {MAX_GAS} is the most that a policy may")
        }
        Ok(gas) => {
            let gas = gas + gas / 5;
            return Ok(Some(Call { to: poster.registry, calldata, gas }));
        }
        Err(AnchorError::Chain(ChainError::Reverted { revert, .. })) => {
            let lags = ["PolicyRegistry_WrongVersion", "PolicyRegistry_Expired"];
            if revert.name().is_some_and(|name| lags.contains(&name)) {
                debug!(tenant = %policy.tenant, version, %revert, "policy not simulated well");
                return Ok(None);
            }
            format!("the registry refuses it: {revert}")
        }
        Err(error) => return Err(error),
    };
    let detail = format!(
        "version {version} with document {} cannot be published: {refused}; have the tenant sign it again, \
         and hand it in again",
        policy.terms.policy_hash
    );
    ledger.fail_policy(policy, "policy-refused", &detail).await?;
    Ok(None)
}

/// What the tenant's authority signed.
fn message(policy: &Submission) -> PublishPolicy {
    PublishPolicy {
        tenantId: policy.tenant.as_b256(),
        version: policy.version.get(),
        policyHash: policy.terms.policy_hash,
        verdictSigner: policy.terms.verdict_signer,
        notBefore: U48::saturating_from(policy.terms.not_before),
        notAfter: U48::saturating_from(policy.terms.not_after),
        deadline: policy.deadline,
    }
}
