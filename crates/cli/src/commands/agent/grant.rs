//! `cofferdam agent grant`.

use std::process::ExitCode;

use alloy::primitives::{
    Address, FixedBytes,
    aliases::{U80, U96},
};
use cofferdam_contracts::signing::Grant;
use eyre::Result;
use serde_json::json;

use super::{ScopeArgs, nonce, values};
use crate::{
    authority::{Act, CosignerArgs, Hands, RelayArgs},
    connect::{ChainArgs, KeyArgs},
    moment::{Moment, rfc3339},
    output::Output,
};

/// Grant a capability to an agent, in place of any such grant before
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam agent grant --tenant acme --agent 0x… --capability payments.send --not-after +30d \\
      --native-max 0.01ether                                   sends of the native currency
  cofferdam agent grant … --target TOKEN --token-max 5000000   transfers of a token, in its smallest unit
  cofferdam agent grant … --target CONTRACT --selector 'settle(uint256)'   calls of one function

The maxima are for one call. With the authority's own key, or with the keys of a SmartAccount's owner and a
gate together (--cosigner-keystore), the grant counts at once. With one of them alone the registry records
it now and the account lets nothing pass under it before its delay is over; until then the guardian can
revoke it. For any other wallet this prints what it must send or sign.")]
pub(super) struct Args {
    /// From when the grant is good; a time as RFC 3339, seconds since 1970, or +1h
    #[arg(long, value_name = "TIME", default_value = "+0s")]
    not_before: Moment,

    /// Until when the grant is good
    #[arg(long, value_name = "TIME")]
    not_after: Moment,

    /// Most of the native currency for one call, in wei or with a unit as in 0.01ether
    #[arg(long, value_name = "AMOUNT", value_parser = values::native, default_value = "0")]
    native_max: U80,

    /// The token, or the contract of --selector
    #[arg(long, value_name = "ADDRESS")]
    target: Option<Address>,

    /// The one function of --target that may be called: 0x… or its signature
    #[arg(long, value_name = "FUNCTION", value_parser = values::selector, requires = "target")]
    selector: Option<FixedBytes<4>>,

    /// Most of the token --target for one call, in its smallest unit
    #[arg(long, value_name = "AMOUNT", value_parser = values::token, requires = "target")]
    token_max: Option<U96>,

    #[command(flatten)]
    scope: ScopeArgs,

    #[command(flatten)]
    relay: RelayArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    cosigner: CosignerArgs,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let registry = args.chain.deployment().mcp_agent_registry;
    let hands = Hands::new(&args.chain, registry, args.key, &args.cosigner, &args.relay).await?;
    let ScopeArgs { tenant, agent, capability } = args.scope;
    let tenant = tenant.id(&args.chain).await?;
    let now = hands.chain.head().await?.timestamp;
    let (not_before, not_after) = (args.not_before.in_window(now)?, args.not_after.in_window(now)?);
    let message = Grant {
        tenantId: tenant.as_b256(),
        agent,
        capability: capability.hash,
        notBefore: not_before,
        notAfter: not_after,
        nativeMax: args.native_max,
        target: args.target.unwrap_or_default(),
        selector: args.selector.unwrap_or_default(),
        tokenMax: args.token_max.unwrap_or_default(),
        nonce: nonce(&hands.chain, tenant).await?,
        deadline: args.relay.deadline.seconds(now),
    };
    let mut again = format!(
        "cofferdam agent grant --tenant {tenant} --agent {agent} --capability {} \
         --not-before {not_before} --not-after {not_after} --native-max {}",
        capability.hash, args.native_max
    );
    if let Some(target) = args.target {
        again += &format!(" --target {target}");
    }
    if let Some(selector) = args.selector {
        again += &format!(" --selector {selector}");
    }
    if let Some(most) = args.token_max {
        again += &format!(" --token-max {most}");
    }
    let outcome = hands.perform(&Act::Grant(message)).await?;
    Ok(outcome.print(
        output,
        json!({
            "tenantId": tenant, "agent": agent, "capability": capability.hash,
            "notBefore": not_before.to::<u64>(), "notAfter": not_after.to::<u64>(),
        }),
        format!("granted {capability} of {tenant} to {agent} until {}", rfc3339(not_after.to())),
        again,
    ))
}
