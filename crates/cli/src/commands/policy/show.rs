//! `cofferdam policy show`.

use std::process::ExitCode;

use alloy::primitives::{Address, B256};
use cofferdam_contracts::{IPolicyRegistry, PolicyRegistry};
use eyre::Result;
use serde::Serialize;
use serde_json::json;

use crate::{
    connect::{ChainArgs, TenantArgs},
    moment::rfc3339,
    output::{Output, table},
};

/// Show a tenant's active policy and every version before it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam policy show --tenant acme --json

Read from the registry's own records, so that no version can be missing. Where the authority is a
SmartAccount, what one key published alone counts there only after the delay: `cofferdam account show` says from when.")]
pub(super) struct Args {
    #[command(flatten)]
    tenant: TenantArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

/// What became of a version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: u64,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    recorded_at: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    policy_hash: B256,
    verdict_signer: Address,
    not_before: u64,
    not_after: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// The last, and the clock is inside its window.
    Active,
    /// The last, and its window has not begun.
    Early,
    /// The last, and its window is over.
    Expired,
    /// Another policy came after it.
    Replaced,
    /// A revocation came after it.
    Revoked,
    /// It is a revocation itself.
    Revocation,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Early => "not good yet",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::Revocation => "revocation",
        }
    }
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let chain = args.chain.connect_to(args.chain.deployment().policy_registry).await?;
    let tenant = args.tenant.id(&args.chain).await?;
    let registry = PolicyRegistry::new(chain.contract(), chain.provider());
    // All at one block, so that a publication in between cannot make the versions disagree.
    let head = chain.head().await?;
    let call = registry.versionOf(tenant.as_b256()).block(head.number.into());
    let last = chain.view("cannot read the policy's version", &call).await?;
    let mut versions: Vec<Version> = vec![];
    for version in (1..=last).rev() {
        let call = registry.policyAt(tenant.as_b256(), version).block(head.number.into());
        let record = chain.view("cannot read a policy", &call).await?;
        let next = versions.last().map(|next| next.state);
        versions.push(describe(version, &record, next, head.timestamp));
    }
    versions.reverse();

    let active = versions.last().filter(|version| version.policy.is_some());
    let text = match active {
        Some(active) => {
            format!("policy of {tenant}: version {}, {}", active.version, active.state.words())
        }
        None => format!("{tenant} has no active policy: everything is denied"),
    };
    let rows: Vec<_> = versions.iter().map(row).collect();
    let headings =
        ["version", "state", "policy hash", "verdict signer", "good from", "until", "recorded at"];
    let text = if rows.is_empty() { text } else { format!("{text}\n\n{}", table(headings, &rows)) };
    let json = json!({
        "tenantId": tenant,
        "activeVersion": active.map(|active| active.version),
        "state": active.map(|active| active.state),
        "versions": versions,
        "block": head.number,
        "timestamp": head.timestamp,
    });
    output.result(&json, text);
    Ok(ExitCode::SUCCESS)
}

fn describe(
    version: u64,
    record: &IPolicyRegistry::Record,
    next: Option<State>,
    now: u64,
) -> Version {
    let policy = Policy {
        policy_hash: record.policyHash,
        verdict_signer: record.verdictSigner,
        not_before: record.notBefore.to(),
        not_after: record.notAfter.to(),
    };
    let state = match next {
        // The registry takes no policy without verdict signer.
        _ if record.verdictSigner.is_zero() => State::Revocation,
        Some(State::Revocation) => State::Revoked,
        Some(_) => State::Replaced,
        None if now < policy.not_before => State::Early,
        None if now > policy.not_after => State::Expired,
        None => State::Active,
    };
    let policy = (state != State::Revocation).then_some(policy);
    Version { version, state, policy, recorded_at: record.recordedAt.to() }
}

fn row(version: &Version) -> [String; 7] {
    let of = |text: &dyn Fn(&Policy) -> String| version.policy.as_ref().map_or("-".into(), text);
    [
        version.version.to_string(),
        version.state.words().into(),
        of(&|policy| policy.policy_hash.to_string()),
        of(&|policy| policy.verdict_signer.to_string()),
        of(&|policy| rfc3339(policy.not_before)),
        of(&|policy| rfc3339(policy.not_after)),
        rfc3339(version.recorded_at),
    ]
}
