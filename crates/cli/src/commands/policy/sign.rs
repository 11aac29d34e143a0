//! `cofferdam policy sign`.

use std::{path::PathBuf, process::ExitCode};

use alloy::signers::local::PrivateKeySigner;
use cofferdam_contracts::{Chain, deployment::Deployment};
use eyre::{Result, bail};
use serde_json::json;

use super::{Terms, signed::SignedPolicy};
use crate::{
    authority::{Authority, CosignerArgs, demand_principal, role_of},
    connect::{ChainArgs, DatabaseArgs, KeyArgs},
    moment::Moment,
    output::{Output, write_whole},
};

/// Sign a policy, for anybody to publish
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam policy sign policy.json --tenant 0x… --verdict-signer 0x… --not-after +90d --out signed.json
  cofferdam policy sign policy.json --signed signed.json --out signed.json     a second principal
  cofferdam policy publish --signed signed.json                                anybody, who pays

The authority's own key signs once. For a SmartAccount two of its principals sign, one after the other or
with --cosigner-keystore at once. Without an RPC endpoint, as on a machine that has no network, give
--version and --chain-id; nothing looks then at whether the keys are principals of the account.")]
pub(super) struct Args {
    #[command(flatten)]
    terms: Terms,

    /// Until when it can be published; a time as RFC 3339, seconds since 1970, or +7d
    #[arg(long, value_name = "TIME", default_value = "+7d")]
    deadline: Moment,

    /// Where to write the signed policy; standard output by default
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

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
    let chain = match &args.chain.rpc_url {
        Some(_) => Some(args.chain.connect_to(registry).await?),
        None => None,
    };
    let given = args.terms.read_signed(&args.chain, &args.database).await?;
    let chain_id = match (&chain, args.chain.chain_id, &given) {
        (Some(chain), _, _) => chain.chain_id(),
        (None, Some(id), _) => id,
        (None, None, Some(given)) => given.chain_id(),
        (None, None, None) => bail!("no chain given; pass --rpc-url, or --chain-id and --version"),
    };
    let key = args.key.load(chain_id)?;
    let mut policy = match given {
        Some(given) => {
            given.demand(chain_id, registry)?;
            given
        }
        None => {
            let message = args
                .terms
                .message(chain.as_ref(), &args.chain, &args.database, args.deadline)
                .await?;
            let by_account = key.address().into_word() != message.tenantId;
            SignedPolicy::new(chain_id, registry, message, by_account)
        }
    };
    for key in [Some(key), args.cosigner.load(chain_id)?].into_iter().flatten() {
        if let Some(chain) = &chain {
            check(chain, &args.chain.deployment(), &policy, &key).await?;
        }
        policy.sign(&key)?;
    }

    let text = serde_json::to_string_pretty(&policy)?;
    let missing = policy.signature().is_none();
    let next = if missing {
        "another principal of the account has to sign it too: `cofferdam policy sign --signed`"
    } else {
        "anybody can publish it now: `cofferdam policy publish --signed`"
    };
    match &args.out {
        Some(out) => {
            write_whole(out, &format!("{text}\n"))?;
            let signers: Vec<_> = policy.signers().collect();
            output.result(
                &json!({ "out": out, "signers": signers, "complete": !missing }),
                format!("signed {policy}\nwrote {}; {next}", out.display()),
            );
        }
        None => output.result(&policy, text),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the key's signature will count.
async fn check(
    chain: &Chain,
    deployment: &Deployment,
    policy: &SignedPolicy,
    key: &PrivateKeySigner,
) -> Result<()> {
    let authority = policy.authority();
    if key.address() == authority {
        return Ok(());
    }
    match Authority::at(chain, deployment, authority).await? {
        Authority::Account(account) => {
            let role = role_of(&account, key.address()).await?;
            demand_principal(role, key.address(), authority)
        }
        Authority::Key => {
            bail!("only the key {authority} signs for this tenant, not {}", key.address())
        }
        Authority::Wallet => bail!(
            "{authority} is a wallet of a kind that is not known here; `cofferdam policy publish` \
             prints the message that it must sign"
        ),
    }
}
