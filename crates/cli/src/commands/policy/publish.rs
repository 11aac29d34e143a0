//! `cofferdam policy publish`.

use std::process::ExitCode;

use cofferdam_contracts::signing::PublishPolicy;
use cofferdam_core::TenantId;
use eyre::{Result, bail};
use serde_json::json;

use super::{Terms, next_version, signed::SignedPolicy};
use crate::{
    authority::{Act, CosignerArgs, Hands, RelayArgs},
    connect::{self, ChainArgs, DatabaseArgs, KeyArgs},
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
    let message = match &args.terms.signed {
        Some(_) if hands.signature.is_some() => {
            bail!("--signed holds its signature; leave --signature out")
        }
        Some(path) => {
            let policy = SignedPolicy::read(path)?;
            if (policy.chain_id, policy.contract) != (chain.chain_id(), registry) {
                bail!(
                    "{} is signed for {} on chain {}, not for {registry} on chain {}; have it signed \
                     for this one",
                    path.display(),
                    policy.contract,
                    policy.chain_id,
                    chain.chain_id()
                );
            }
            let Some(signature) = policy.signature() else {
                bail!(
                    "{} has {} of the signatures it needs; another principal of the account has to \
                     sign it: `cofferdam policy sign --signed`",
                    path.display(),
                    policy.signers().count()
                );
            };
            hands.signature = Some(signature.clone());
            policy.message
        }
        None => {
            let tenant = args.terms.tenant.as_deref().unwrap_or_default();
            let tenant = connect::tenant_id(tenant, &args.database, &args.chain).await?;
            let version = match args.terms.version {
                Some(version) => version,
                None => next_version(chain, tenant).await?,
            };
            let now = chain.head().await?.timestamp;
            args.terms.message(tenant, version, now, args.relay.deadline)?
        }
    };

    let PublishPolicy { version, policyHash: hash, .. } = message;
    let tenant = TenantId::try_from(message.tenantId)?;
    let again = format!(
        "cofferdam policy publish {} --tenant {tenant} --verdict-signer {} --not-before {} \
         --not-after {} --version {version}",
        args.terms.file.as_deref().unwrap_or("FILE".as_ref()).display(),
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
