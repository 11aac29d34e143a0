//! `cofferdam agent`: what agents say about themselves, and what tenants let them do.

use std::process::ExitCode;

use alloy::primitives::Address;
use cofferdam_contracts::{Chain, MCPAgentRegistry, signing::Extend};
use cofferdam_core::TenantId;
use eyre::Result;
use serde_json::json;

mod describe;
mod grant;
pub(crate) mod list;
mod revoke;
mod values;

use self::values::Capability;
use crate::{
    authority::{Act, CosignerArgs, Hands, RelayArgs},
    connect::{ChainArgs, KeyArgs, TenantArgs},
    moment::{Moment, rfc3339},
    output::Output,
};

/// Say what an agent may do for a tenant, take it back, and list it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam agent grant --tenant acme --agent 0x… --capability payments.send --not-after +30d \\
      --native-max 0.01ether
  cofferdam agent list --tenant acme")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Describe(describe::Args),
    Grant(grant::Args),
    Extend(ExtendArgs),
    Revoke(revoke::Args),
    List(list::Args),
}

/// Let a grant end later; it counts as recorded now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam agent extend --tenant acme --agent 0x… --capability payments.send --not-after +60d

Where the authority is a SmartAccount and one key extends alone, the account counts the grant as new: it
lets nothing pass under it until the delay is over.")]
struct ExtendArgs {
    /// Until when the grant is good from now on; a time as RFC 3339, seconds since 1970, or +30d
    #[arg(long, value_name = "TIME")]
    not_after: Moment,

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

/// What a grant is known by.
#[derive(Debug, Clone, clap::Args)]
struct ScopeArgs {
    /// The agent's address
    #[arg(long, value_name = "ADDRESS")]
    agent: Address,

    /// The capability's name, such as payments.send, or the keccak256 of it
    #[arg(long, value_name = "NAME")]
    capability: Capability,

    #[command(flatten)]
    tenant: TenantArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Command::Describe(args) => describe::run(args, output).await,
        Command::Grant(args) => grant::run(args, output).await,
        Command::Extend(args) => extend(args, output).await,
        Command::Revoke(args) => revoke::run(args, output).await,
        Command::List(args) => list::run(args, output).await,
    }
}

async fn extend(args: ExtendArgs, output: &Output) -> Result<ExitCode> {
    let registry = args.chain.deployment().mcp_agent_registry;
    let hands = Hands::new(&args.chain, registry, args.key, &args.cosigner, &args.relay).await?;
    let ScopeArgs { tenant, agent, capability } = args.scope;
    let tenant = tenant.id(&args.chain).await?;
    let now = hands.chain.head().await?.timestamp;
    let not_after = args.not_after.in_window(now)?;
    let message = Extend {
        tenantId: tenant.as_b256(),
        agent,
        capability: capability.hash,
        notAfter: not_after,
        nonce: nonce(&hands.chain, tenant).await?,
        deadline: args.relay.deadline.seconds(now),
    };
    let outcome = hands.perform(&Act::Extend(message)).await?;
    Ok(outcome.print(
        output,
        json!({
            "tenantId": tenant, "agent": agent, "capability": capability.hash,
            "notAfter": not_after.to::<u64>(),
        }),
        format!("{agent} has {capability} of {tenant} until {}", rfc3339(not_after.to())),
        format!(
            "cofferdam agent extend --tenant {tenant} --agent {agent} --capability {} --not-after \
             {not_after}",
            capability.hash
        ),
    ))
}

/// The nonce of the tenant's next signature for the MCPAgentRegistry.
async fn nonce(chain: &Chain, tenant: TenantId) -> Result<u64> {
    let registry = MCPAgentRegistry::new(chain.contract(), chain.provider());
    Ok(chain.view("cannot read the tenant's nonce", &registry.nonceOf(tenant.as_b256())).await?)
}
