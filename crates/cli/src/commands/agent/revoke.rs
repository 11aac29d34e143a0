//! `cofferdam agent revoke`.

use std::process::ExitCode;

use alloy::{primitives::Address, sol_types::SolCall};
use cofferdam_contracts::{
    MCPAgentRegistry,
    signing::{Revoke, RevokeAgent},
};
use cofferdam_core::TenantId;
use eyre::{Result, bail};
use serde_json::json;

use super::{nonce, values::Capability};
use crate::{
    authority::{Act, CosignerArgs, Hands, RelayArgs, post},
    connect::{ChainArgs, KeyArgs, TenantArgs},
    output::Output,
};

/// Take a grant back, or every grant of an agent, at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam agent revoke --tenant acme --agent 0x… --capability payments.send
  cofferdam agent revoke --tenant acme --agent 0x… --all
  cofferdam agent revoke --tenant acme --capability payments.send --forfeit --keystore agent.json …

Where the authority is a SmartAccount, its owner or its guardian does this alone. With --forfeit the agent
itself gives the grant up, with its own key.")]
#[command(group(clap::ArgGroup::new("what").required(true).args(["capability", "all"])))]
pub(super) struct Args {
    /// The agent's address
    #[arg(long, value_name = "ADDRESS", required_unless_present = "forfeit")]
    agent: Option<Address>,

    /// The capability's name, such as payments.send, or the keccak256 of it
    #[arg(long, value_name = "NAME")]
    capability: Option<Capability>,

    /// Everything that the tenant granted to the agent
    #[arg(long)]
    all: bool,

    /// The key is the agent's own, which gives the grant up
    #[arg(long, conflicts_with_all = ["all", "signature"])]
    forfeit: bool,

    #[command(flatten)]
    tenant: TenantArgs,

    #[command(flatten)]
    relay: RelayArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let registry = args.chain.deployment().mcp_agent_registry;
    let alone = CosignerArgs::default();
    let hands = Hands::new(&args.chain, registry, args.key, &alone, &args.relay).await?;
    let tenant = args.tenant.id(&args.chain).await?;
    if let (true, Some(capability)) = (args.forfeit, &args.capability) {
        return forfeit(&hands, tenant, args.agent, capability, output).await;
    }
    let agent = args.agent.unwrap_or_default();
    let nonce = nonce(&hands.chain, tenant).await?;
    let deadline = args.relay.deadline.seconds(hands.chain.head().await?.timestamp);
    let tenant_id = tenant.as_b256();
    let command = format!("cofferdam agent revoke --tenant {tenant} --agent {agent}");
    let (act, done, again) = match &args.capability {
        Some(capability) => (
            Act::Revoke(Revoke {
                tenantId: tenant_id,
                agent,
                capability: capability.hash,
                nonce,
                deadline,
            }),
            format!("{agent} does not have {capability} of {tenant} any more"),
            format!("{command} --capability {}", capability.hash),
        ),
        None => (
            Act::RevokeAgent(RevokeAgent { tenantId: tenant_id, agent, nonce, deadline }),
            format!("{agent} has nothing of {tenant} any more"),
            format!("{command} --all"),
        ),
    };
    let fields = json!({
        "tenantId": tenant, "agent": agent, "capability": args.capability.map(|it| it.hash),
    });
    Ok(hands.perform(&act).await?.print(output, fields, done, again))
}

/// The agent gives the grant up.
async fn forfeit(
    hands: &Hands,
    tenant: TenantId,
    agent: Option<Address>,
    capability: &Capability,
    output: &Output,
) -> Result<ExitCode> {
    let key = hands.key.load(hands.chain.chain_id())?;
    let own = key.address();
    if let Some(agent) = agent.filter(|agent| *agent != own) {
        bail!("the key is {own}'s, not agent {agent}'s, which alone can forfeit its grants");
    }
    let call =
        MCPAgentRegistry::forfeitCall { tenantId: tenant.as_b256(), capability: capability.hash };
    let calldata = call.abi_encode().into();
    let receipt = post(&hands.chain, key, hands.chain.contract(), calldata).await?;
    let transaction = receipt.transaction_hash;
    output.result(
        &json!({
            "tenantId": tenant, "agent": own, "capability": capability.hash,
            "done": true, "way": "forfeited", "transaction": transaction,
        }),
        format!("{own} gave up {capability} of {tenant} ({transaction})"),
    );
    Ok(ExitCode::SUCCESS)
}
