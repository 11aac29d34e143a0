//! `cofferdam policy revoke`.

use std::process::ExitCode;

use cofferdam_contracts::signing::RevokePolicy;
use eyre::Result;
use serde_json::json;

use super::next_version;
use crate::{
    authority::{Act, CosignerArgs, Hands, RelayArgs},
    connect::{ChainArgs, KeyArgs, TenantArgs},
    output::Output,
};

/// Leave the tenant without active policy: everything is denied, at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam policy revoke --tenant acme --keystore guardian.json --password-file guardian.password

Where the authority is a SmartAccount, its owner or its guardian does this alone.")]
pub(super) struct Args {
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
    let registry = args.chain.deployment().policy_registry;
    let alone = CosignerArgs::default();
    let hands = Hands::new(&args.chain, registry, args.key, &alone, &args.relay).await?;
    let tenant = args.tenant.id(&args.chain).await?;
    let version = next_version(&hands.chain, tenant).await?;
    let now = hands.chain.head().await?.timestamp;
    let deadline = args.relay.deadline.seconds(now);
    let message = RevokePolicy { tenantId: tenant.as_b256(), version, deadline };
    let outcome = hands.perform(&Act::RevokePolicy(message)).await?;
    Ok(outcome.print(
        output,
        json!({ "tenantId": tenant, "version": version }),
        format!("revoked the policy of {tenant}, which has none now (version {version})"),
        format!("cofferdam policy revoke --tenant {tenant}"),
    ))
}
