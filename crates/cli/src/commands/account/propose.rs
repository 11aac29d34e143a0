//! `cofferdam account propose`.

use std::{fs, path::PathBuf};

use alloy::{
    primitives::{U256, aliases::U48},
    sol_types::SolEvent,
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::{
    SmartAccount,
    account::{Account, Outcome, SignedVerdict, calls_hash, capability, propose_calldata},
    signing::{PolicyVerdict, Verifier, domain, typed_data},
};
use eyre::{Result, WrapErr, bail};
use serde_json::json;

use super::{ActorArgs, calls, calls::CallArgs};
use crate::{connect::KeyArgs, output::Output};

/// Propose calls, as an agent whose policy wants people to decide
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam account propose --account 0x… --capability payments.send --to 0x… --value 2ether \\
      --verdict verdict.json --keystore agent --password-file agent.password
  cofferdam account propose --account 0x… --capability payments.send --calls calls.json \\
      --verdict-keystore signer --verdict-password-file signer.password \\
      --keystore agent --password-file agent.password
  cofferdam account propose … --dry-run      prints the verdict that is wanted, to be signed elsewhere

verdict.json is {\"verdict\":{…},\"signature\":\"0x…\"}: the members of the EIP-712 type PolicyVerdict, and
the signature of the policy's verdict signer. Its outcome must be 2, ESCALATE. --dry-run prints what the
verdict signer signs (`cast wallet sign --data`), and with --json the verdict beside it. The proposal is
then approved, authorised and executed.")]
pub(super) struct Args {
    /// The capability that the agent was granted, by its name
    #[arg(long, value_name = "NAME")]
    capability: String,

    /// The agent's lane; operations in different lanes do not wait for each other
    #[arg(long, value_name = "N", default_value_t = 0)]
    lane: u32,

    /// Print the verdict that is wanted, and sign and send nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    calls: CallArgs,

    #[command(flatten)]
    verdict: VerdictArgs,

    #[command(flatten)]
    actor: ActorArgs,
}

/// Where the verdict comes from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Verdict")]
struct VerdictArgs {
    /// A JSON file with the verdict and its signature
    #[arg(long, value_name = "FILE", conflicts_with = "verdict_keystore")]
    verdict: Option<PathBuf>,

    /// The keystore of the policy's verdict signer, where its key is at hand
    #[arg(long, value_name = "FILE", env = "COFFERDAM_VERDICT_KEYSTORE")]
    verdict_keystore: Option<PathBuf>,

    /// A file whose first line is that keystore's password
    #[arg(long, value_name = "FILE", env = "COFFERDAM_VERDICT_PASSWORD_FILE")]
    verdict_password_file: Option<PathBuf>,

    /// How long a verdict that is signed here is good
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    valid_for: u64,
}

impl VerdictArgs {
    /// The signed verdict, for what `wanted` says.
    fn signed(&self, account: &Account, wanted: PolicyVerdict) -> Result<SignedVerdict> {
        if let Some(file) = &self.verdict {
            let text = fs::read_to_string(file)
                .wrap_err_with(|| format!("cannot read the verdict {}", file.display()))?;
            return serde_json::from_str(&text)
                .wrap_err_with(|| format!("{} is no signed verdict; see --help", file.display()));
        }
        if self.verdict_keystore.is_none() {
            bail!(
                "no verdict given; pass --verdict or --verdict-keystore, or --dry-run to see which one is wanted"
            );
        }
        let key = KeyArgs {
            keystore: self.verdict_keystore.clone(),
            password_file: self.verdict_password_file.clone(),
            private_key: None,
        };
        let chain_id = account.chain().chain_id();
        let registry = account.deployment().policy_registry;
        Ok(SignedVerdict::sign(wanted, &key.load(chain_id)?, chain_id, registry)?)
    }
}

pub(super) async fn run(args: Args, output: &Output) -> Result<()> {
    let calls = args.calls.calls()?;
    let (account, sender) = args.actor.connect().await?;
    let wanted = wanted(&args, &account, &sender, calls_hash(&calls)).await?;
    if args.dry_run {
        let (chain_id, registry) =
            (account.chain().chain_id(), account.deployment().policy_registry);
        let message = typed_data(&domain(Verifier::PolicyRegistry, chain_id, registry), &wanted);
        let report = json!({ "verdict": wanted, "typedData": message, "calls": calls });
        output.result(&report, &message);
        return Ok(());
    }
    let signed = args.verdict.signed(&account, wanted)?;
    let calldata = propose_calldata(&calls, signed.verdict.nonce, signed.authorisation());
    let receipt = sender.send(account.address(), calldata).await?;
    let proposed = receipt
        .logs()
        .iter()
        .find_map(|log| SmartAccount::Proposed::decode_log(&log.inner).ok())
        .filter(|event| event.address == account.address());
    let Some(proposed) = proposed else {
        bail!("transaction {} proposed nothing", receipt.transaction_hash);
    };
    let (id, expiry) = (proposed.id, proposed.proposal.expiry.to::<u64>());
    let lines: Vec<_> = calls.iter().map(calls::line).collect();
    let report = json!({
        "account": account.address(),
        "proposal": id,
        "stage": "proposed",
        "expiry": expiry,
        "calls": calls,
        "transaction": receipt.transaction_hash,
    });
    let text = format!(
        "proposed {id} ({})\n  {}\ngood until {expiry} (seconds since 1970); next, an approver: cofferdam account approve {id}",
        receipt.transaction_hash,
        lines.join("\n  "),
    );
    output.result(&report, text);
    Ok(())
}

/// The verdict that the account would take for these calls.
async fn wanted(
    args: &Args,
    account: &Account,
    sender: &Sender,
    calls_hash: alloy::primitives::B256,
) -> Result<PolicyVerdict> {
    let now = account.chain().head().await?.timestamp;
    Ok(PolicyVerdict {
        tenantId: account.tenant_id(),
        policyVersion: account.active_policy().await?.version,
        agent: sender.address(),
        capability: capability(&args.capability),
        callsHash: calls_hash,
        outcome: Outcome::Escalate.into(),
        maxFee: U256::ZERO,
        // Good after this second, hence in the next block at the earliest.
        validAfter: U48::from(now.saturating_sub(1)),
        validUntil: U48::from(now.saturating_add(args.verdict.valid_for).min((1 << 47) - 1)),
        nonce: account.next_nonce(sender.address(), args.lane).await?,
    })
}
