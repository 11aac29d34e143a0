//! `cofferdam policy publish`.

use std::process::ExitCode;

use cofferdam_contracts::signing::PublishPolicy;
use cofferdam_core::TenantId;
use eyre::{Result, bail};
use serde_json::json;

use super::Terms;
use crate::{
    authority::{Act, CosignerArgs, Hands, RelayArgs},
    commands::devnet::quoted,
    connect::{ChainArgs, DatabaseArgs, KeyArgs},
    output::Output,
};

/// Publish the policy that replaces the tenant's active one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam policy publish policy.json --tenant acme --verdict-signer 0x… --not-after +90d
  cofferdam policy publish --signed signed.json

With the authority's own key the policy counts at once. Where the authority is a SmartAccount, it does so
with the keys of its owner and of a gate together (--cosigner-keystore). With one of them alone the
registry records it now, in place of the active one, and the account lets nothing pass under it before its
delay is over; until then the guardian can revoke it. For any other wallet this prints what it must send or
sign.")]
pub(super) struct Args {
    #[command(flatten)]
    terms: Terms,

    #[command(flatten)]
    relay: RelayArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    cosigner: CosignerArgs,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let registry = args.chain.deployment().policy_registry;
    let mut hands =
        Hands::new(&args.chain, registry, args.key, &args.cosigner, &args.relay).await?;
    let chain = &hands.chain;
    let message = match args.terms.read_signed()? {
        Some(_) if hands.signature.is_some() => {
            bail!("--signed holds its signature; leave --signature out")
        }
        Some(policy) => {
            policy.demand(chain.chain_id(), registry)?;
            let Some(signature) = policy.signature() else {
                bail!(
                    "the signed policy has {} of the signatures it needs; another principal of the account has to \
                     sign it: `cofferdam policy sign --signed`",
                    policy.signers().count()
                );
            };
            hands.signature = Some(signature.clone());
            policy.message
        }
        None => {
            let deadline = args.relay.deadline;
            args.terms.message(Some(chain), &args.chain, &args.database, deadline).await?
        }
    };

    let PublishPolicy { version, policyHash: hash, .. } = message;
    let tenant = TenantId::try_from(message.tenantId)?;
    let again = format!(
        "cofferdam policy publish {} --tenant {tenant} --verdict-signer {} --not-before {} \
         --not-after {} --version {version}",
        quoted(&args.terms.file.as_deref().unwrap_or("FILE".as_ref()).to_string_lossy()),
        message.verdictSigner,
        message.notBefore,
        message.notAfter,
    );
    let outcome = hands.perform(&Act::Publish(message)).await?;
    Ok(outcome.print(
        output,
        json!({ "tenantId": tenant, "version": version, "policyHash": hash }),
        format!("published policy version {version} of {tenant}"),
        again,
    ))
}
