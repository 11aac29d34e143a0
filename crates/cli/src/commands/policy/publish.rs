//! `cofferdam policy publish`.

use std::process::ExitCode;

use cofferdam_contracts::signing::PublishPolicy;
use cofferdam_core::TenantId;
use eyre::Result;
use serde_json::json;

use super::Publication;
use crate::{
    authority::{Act, CosignerArgs, Hands},
    commands::devnet::quoted,
    connect::KeyArgs,
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
    publication: Publication,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    cosigner: CosignerArgs,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let Args { publication: asked, key, cosigner } = args;
    let mut hands =
        Hands::new(&asked.chain, asked.registry(), key, &cosigner, &asked.relay).await?;
    let (message, signature) = asked.message(&hands.chain).await?;
    hands.signature = signature;

    let PublishPolicy { version, policyHash: hash, .. } = message;
    let tenant = TenantId::try_from(message.tenantId)?;
    let again = format!(
        "cofferdam policy publish {} --tenant {tenant} --verdict-signer {} --not-before {} \
         --not-after {} --version {version}",
        quoted(&asked.terms.file.as_deref().unwrap_or("FILE".as_ref()).to_string_lossy()),
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
