//! `cofferdam policy`: what a tenant's agents are under.
//!
//! The document itself never goes on a chain: only the keccak256 of its bytes, verbatim.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy::primitives::{Address, B256, Bytes, keccak256};
use cofferdam_contracts::{Chain, PolicyRegistry, signing::PublishPolicy};
use cofferdam_core::TenantId;
use eyre::{Result, WrapErr, bail};
use serde_json::json;

mod publish;
mod revoke;
mod show;
mod sign;
mod signed;
mod submit;

use self::signed::SignedPolicy;
use crate::{
    authority::RelayArgs,
    connect::{self, ChainArgs, DatabaseArgs},
    moment::{Moment, clock},
    output::Output,
};

/// Publish a tenant's policy, revoke it, and see which is active
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam policy publish policy.json --tenant acme --verdict-signer 0x… --not-after +90d
  cofferdam policy submit --signed signed.json
  cofferdam policy show --tenant acme")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Hash(HashArgs),
    Sign(sign::Args),
    Publish(publish::Args),
    Submit(submit::Args),
    Revoke(revoke::Args),
    Show(show::Args),
}

/// The keccak256 of a policy's bytes, which is all of it that goes on a chain
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cofferdam policy hash policy.json")]
struct HashArgs {
    /// The policy's document
    file: PathBuf,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Command::Hash(args) => {
            let hash = hash(&args.file)?;
            output.result(&json!({ "policyHash": hash }), hash);
            Ok(ExitCode::SUCCESS)
        }
        Command::Sign(args) => sign::run(args, output).await,
        Command::Publish(args) => publish::run(args, output).await,
        Command::Submit(args) => submit::run(args, output).await,
        Command::Revoke(args) => revoke::run(args, output).await,
        Command::Show(args) => show::run(args, output).await,
    }
}

/// What is published of a policy. None of it is needed where a signed policy is given instead; the
/// document may be, and is compared then.
#[derive(Debug, Clone, clap::Args)]
struct Terms {
    /// The policy's document, of which only the hash is used
    #[arg(required_unless_present = "signed")]
    file: Option<PathBuf>,

    /// The key whose verdicts count under the policy
    #[arg(long, value_name = "ADDRESS", required_unless_present = "signed")]
    verdict_signer: Option<Address>,

    /// From when the policy is good; a time as RFC 3339, seconds since 1970, or +1h
    #[arg(long, value_name = "TIME", default_value = "+0s")]
    not_before: Moment,

    /// Until when the policy is good
    #[arg(long, value_name = "TIME", required_unless_present = "signed")]
    not_after: Option<Moment>,

    /// The version that is published; by default the tenant's last plus one, read from the chain
    #[arg(long, value_name = "N")]
    version: Option<u64>,

    /// A signed policy that `policy sign` made, instead of all that but the document
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["verdict_signer", "not_after", "not_before", "version", "deadline"]
    )]
    signed: Option<PathBuf>,

    /// The tenant: its id, its authority's address, or its name in the operator's database; beside a signed
    /// policy, whose it must be
    #[arg(long, value_name = "TENANT", required_unless_present = "signed")]
    tenant: Option<String>,
}

impl Terms {
    /// The message that the authority signs. What is not given is read from the chain, if there is one.
    async fn message(
        &self,
        chain: Option<&Chain>,
        options: &ChainArgs,
        database: &DatabaseArgs,
        deadline: Moment,
    ) -> Result<PublishPolicy> {
        let (Some(file), Some(tenant), Some(verdict_signer), Some(not_after)) =
            (&self.file, &self.tenant, self.verdict_signer, self.not_after)
        else {
            bail!("give a document, --tenant, --verdict-signer and --not-after, or --signed");
        };
        let tenant = connect::tenant_id(tenant, database, options).await?;
        let version = match (self.version, chain) {
            (Some(version), _) => version,
            (None, Some(chain)) => next_version(chain, tenant).await?,
            (None, None) => bail!(
                "no RPC endpoint to read the tenant's last version from; pass --version, or --rpc-url"
            ),
        };
        let now = match chain {
            Some(chain) => chain.head().await?.timestamp,
            None => clock(),
        };
        Ok(PublishPolicy {
            tenantId: tenant.as_b256(),
            version,
            policyHash: hash(file)?,
            verdictSigner: verdict_signer,
            notBefore: self.not_before.in_window(now)?,
            notAfter: not_after.in_window(now)?,
            deadline: deadline.seconds(now),
        })
    }

    /// The signed policy that is given, which must be of the document and the tenant if these are given
    /// too.
    async fn read_signed(
        &self,
        options: &ChainArgs,
        database: &DatabaseArgs,
    ) -> Result<Option<SignedPolicy>> {
        let Some(path) = &self.signed else { return Ok(None) };
        let policy = SignedPolicy::read(path)?;
        if let Some(tenant) = &self.tenant {
            let id = connect::tenant_id(tenant, database, options).await?;
            if id.as_b256() != policy.message.tenantId {
                bail!(
                    "{} is of tenant {}, not of {tenant} ({id})",
                    path.display(),
                    policy.message.tenantId
                );
            }
        }
        if let Some(file) = &self.file {
            let (ours, signed) = (hash(file)?, policy.message.policyHash);
            if ours != signed {
                bail!(
                    "{} is of another document: its hash is {signed}, and that of {} is {ours}",
                    path.display(),
                    file.display()
                );
            }
        }
        Ok(Some(policy))
    }
}

/// A policy, signed or to be signed, and where it is to be published.
#[derive(Debug, Clone, clap::Args)]
struct Publication {
    #[command(flatten)]
    terms: Terms,

    #[command(flatten)]
    relay: RelayArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    database: DatabaseArgs,
}

impl Publication {
    /// The PolicyRegistry.
    fn registry(&self) -> Address {
        self.chain.deployment().policy_registry
    }

    /// The message, and its whole signature where one is given, in a file or by itself.
    async fn message(&self, chain: &Chain) -> Result<(PublishPolicy, Option<Bytes>)> {
        let Self { terms, relay, chain: options, database } = self;
        let Some(policy) = terms.read_signed(options, database).await? else {
            let message = terms.message(Some(chain), options, database, relay.deadline).await?;
            return Ok((message, relay.signature.clone()));
        };
        if relay.signature.is_some() {
            bail!("--signed holds its signature; leave --signature out");
        }
        policy.demand(chain.chain_id(), chain.contract())?;
        let Some(signature) = policy.signature() else {
            bail!(
                "the signed policy has {} of the signatures it needs; another principal of the account has to \
                 sign it: `cofferdam policy sign --signed`",
                policy.signers().count()
            );
        };
        Ok((policy.message.clone(), Some(signature.clone())))
    }
}

/// keccak256 of a file's bytes.
fn hash(file: &Path) -> Result<B256> {
    let bytes = fs::read(file)
        .wrap_err_with(|| format!("cannot read the policy's document {}", file.display()))?;
    Ok(keccak256(bytes))
}

/// The version that the tenant's next publication or revocation consumes.
async fn next_version(chain: &Chain, tenant: TenantId) -> Result<u64> {
    let registry = PolicyRegistry::new(chain.contract(), chain.provider());
    let call = registry.versionOf(tenant.as_b256());
    let last = chain.view("cannot read the policy's version", &call).await?;
    Ok(last.saturating_add(1))
}
