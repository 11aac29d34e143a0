//! `cofferdam account show`.

use alloy::primitives::{Address, B256, U256};
use cofferdam_contracts::{
    ChainError, PolicyRegistry, SmartAccount,
    account::{Account, History, Pending, Proposed, Stage},
};
use eyre::Result;
use serde_json::{Value, json};

use super::{AccountArgs, calls, ether};
use crate::output::{Output, table};

/// Show who may do what in an account, its limits, and what is pending
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam account show --account 0x…
  cofferdam account show --account 0x… --proposal 0xID     what is to be approved, call by call")]
pub(super) struct Args {
    #[command(flatten)]
    account: AccountArgs,

    /// Show this proposal alone, with its calls
    #[arg(long, value_name = "ID")]
    proposal: Option<B256>,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<()> {
    let account = args.account.connect().await?;
    match args.proposal {
        Some(id) => proposal(&account, id, output).await,
        None => all(&account, output).await,
    }
}

async fn proposal(account: &Account, id: B256, output: &Output) -> Result<()> {
    let (proposed, made) = account.proposal(id).await?;
    let mut report = proposal_json(id, &proposed);
    report["account"] = json!(account.address());
    report["calls"] = json!(made);
    let mut lines = vec![proposal_line(id, &proposed)];
    lines.push(format!("  capability {}", proposed.proposal.capability));
    match &made {
        Some(made) => lines.extend(made.iter().map(|call| format!("  {}", calls::line(call)))),
        None => lines.push(format!(
            "  its calls are not in the transaction that proposed them ({}); ask the agent for them: \
             their hash is {}",
            proposed.transaction, proposed.proposal.callsHash
        )),
    }
    lines.extend(proposed.by.iter().map(|(stage, by)| format!("  {stage} by {by}")));
    output.result(&report, lines.join("\n"));
    Ok(())
}

/// What is spent of one asset.
struct Spending {
    asset: Address,
    per_call: U256,
    per_day: U256,
    /// Yesterday and today, in UTC; `None` when spending of a later day was recorded already.
    spent: Option<(U256, U256)>,
}

async fn all(account: &Account, output: &Output) -> Result<()> {
    let chain = account.chain();
    let binding = account.binding();
    let history = account.history().await?;
    let settings = chain.view("cannot read the settings", &binding.settings()).await?;
    let counters = chain.view("cannot read the counters", &binding.counters()).await?;
    let (balance, deposit) = (account.balance().await?, account.deposit().await?);
    let policy = account.active_policy().await?;
    let mut assets = vec![Address::ZERO];
    assets.extend(chain.view("cannot read the tokens", &binding.limitedTokens()).await?);
    let mut limits = vec![];
    for asset in assets {
        limits.push(spending(account, asset).await?);
    }

    // What one principal had recorded alone counts only once it is older than the delay.
    let confirmed = history.confirmed_policy == Some(policy.version);
    let wait = if confirmed { 0 } else { settings.delay.to::<u64>() };
    let counts_from = policy.record.recordedAt.to::<u64>() + wait;

    let report = json!({
        "account": account.address(),
        "tenantId": account.tenant_id(),
        "chainId": chain.chain_id(),
        "frozen": settings.frozen,
        "delay": settings.delay.to::<u64>(),
        "balance": balance.to_string(),
        "deposit": deposit.to_string(),
        "roles": history.roles,
        "limits": limits.iter().map(limit_json).collect::<Vec<_>>(),
        "policy": (policy.version != 0).then(|| policy_json(&policy, counts_from)),
        "pending": history.pending.iter().map(pending_json).collect::<Vec<_>>(),
        "proposals": history.proposals.iter().map(|(id, p)| proposal_json(*id, p)).collect::<Vec<_>>(),
        "nextChange": counters.nextChange,
        "nextEvent": history.next_event,
    });
    let state = if settings.frozen { "FROZEN" } else { "not frozen" };
    let mut text = format!(
        "account {} on chain {}, {state}\nbalance {}, deposit at the EntryPoint {}\n\
         one principal's change waits {} seconds\n",
        account.address(),
        chain.chain_id(),
        ether(balance),
        ether(deposit),
        settings.delay,
    );
    text += &match policy.version {
        0 => "no policy is active: agents may do nothing\n".to_string(),
        version => format!(
            "policy version {version}, verdict signer {}, counts from {counts_from} (seconds since 1970)\n",
            policy.record.verdictSigner
        ),
    };
    let mut roles: Vec<_> = history.roles.iter().map(|(key, role)| (role, key)).collect();
    roles.sort();
    let roles: Vec<_> =
        roles.into_iter().map(|(role, key)| [role.to_string(), key.to_string()]).collect();
    text += &format!("\n{}\n\n{}\n", table(["role", "key"], &roles), limits_table(&limits));
    text += &pending_text(&history);
    output.result(&report, text.trim_end());
    Ok(())
}

async fn spending(account: &Account, asset: Address) -> Result<Spending> {
    let (chain, binding) = (account.chain(), account.binding());
    let limit = chain.view("cannot read a limit", &binding.limitOf(asset)).await?;
    let day = U256::from(chain.head().await?.timestamp / 86_400);
    let spent = match chain.view("cannot read what is spent", &binding.spentOf(asset, day)).await {
        Ok(spent) => Some((spent.yesterday, spent.today)),
        Err(ChainError::Reverted { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let (per_call, per_day) = (U256::from(limit.perCall), U256::from(limit.perDay));
    Ok(Spending { asset, per_call, per_day, spent })
}

fn limit_json(limit: &Spending) -> Value {
    json!({
        "asset": limit.asset,
        "perCall": limit.per_call.to_string(),
        "perDay": limit.per_day.to_string(),
        "spentYesterday": limit.spent.map(|(yesterday, _)| yesterday.to_string()),
        "spentToday": limit.spent.map(|(_, today)| today.to_string()),
    })
}

fn limits_table(limits: &[Spending]) -> String {
    let rows: Vec<_> = limits
        .iter()
        .map(|limit| {
            let (asset, amount): (_, fn(U256) -> String) = match limit.asset {
                Address::ZERO => ("native".to_string(), ether),
                token => (token.to_string(), |amount| amount.to_string()),
            };
            let (yesterday, today) = match limit.spent {
                Some((yesterday, today)) => (amount(yesterday), amount(today)),
                None => ("?".into(), "?".into()),
            };
            [asset, amount(limit.per_call), amount(limit.per_day), yesterday, today]
        })
        .collect();
    table(["limit of", "per call", "per two days", "yesterday", "today"], &rows)
}

fn policy_json(policy: &PolicyRegistry::activePolicyReturn, counts_from: u64) -> Value {
    json!({
        "version": policy.version,
        "policyHash": policy.record.policyHash,
        "verdictSigner": policy.record.verdictSigner,
        "notBefore": policy.record.notBefore.to::<u64>(),
        "notAfter": policy.record.notAfter.to::<u64>(),
        "recordedAt": policy.record.recordedAt.to::<u64>(),
        "countsFrom": counts_from,
    })
}

/// The function that a scheduled change calls.
fn function(data: &[u8]) -> Option<&'static str> {
    let selector: [u8; 4] = data.get(..4)?.try_into().ok()?;
    SmartAccount::SmartAccountCalls::name_by_selector(selector)
        .or_else(|| cofferdam_contracts::AuditAnchor::AuditAnchorCalls::name_by_selector(selector))
}

fn pending_json((id, pending): (&u64, &Pending)) -> Value {
    json!({
        "id": id,
        "by": pending.by,
        "target": pending.target,
        "function": function(&pending.data),
        "data": pending.data,
        "readyAt": pending.ready_at,
    })
}

fn proposal_json(id: B256, proposed: &Proposed) -> Value {
    let by: Vec<_> =
        proposed.by.iter().map(|(stage, by)| json!({ "stage": stage, "by": by })).collect();
    json!({
        "id": id,
        "stage": proposed.stage,
        "agent": proposed.proposal.agent,
        "capability": proposed.proposal.capability,
        "policyVersion": proposed.proposal.policyVersion,
        "expiry": proposed.proposal.expiry.to::<u64>(),
        "callsHash": proposed.proposal.callsHash,
        "by": by,
        "transaction": proposed.transaction,
    })
}

fn proposal_line(id: B256, proposed: &Proposed) -> String {
    format!(
        "proposal {id}: {}, by agent {}, good until {}",
        proposed.stage, proposed.proposal.agent, proposed.proposal.expiry
    )
}

/// What waits for somebody.
fn pending_text(history: &History) -> String {
    let mut lines = vec![];
    for (id, pending) in &history.pending {
        let function = function(&pending.data).unwrap_or("an unknown function");
        lines.push(format!(
            "scheduled change {id}: {function} of {}, by {}, ready at {} (seconds since 1970)",
            pending.target, pending.by, pending.ready_at
        ));
    }
    let open = history.proposals.iter().filter(|(_, proposed)| proposed.stage != Stage::Closed);
    lines.extend(open.map(|(id, proposed)| proposal_line(*id, proposed)));
    if lines.is_empty() { "\nnothing is pending".into() } else { format!("\n{}", lines.join("\n")) }
}
