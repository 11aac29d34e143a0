//! `cofferdam account deploy`.

use std::{fs, path::PathBuf};

use alloy::primitives::{Address, B256, U256, aliases::U104};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::account::{Account, Configuration};
use eyre::{Result, WrapErr, bail};
use serde_json::json;

use crate::{
    connect::{ChainArgs, KeyArgs},
    output::Output,
};

/// Create an account at the address that its configuration stands for
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam account deploy --config acme.json --dry-run         only says the address
  cofferdam account deploy --config acme.json --keystore payer --password-file payer.password
  cofferdam account deploy --owner 0x… --guardian 0x… --approver 0x… --authoriser 0x… --executor 0x… \\
      --delay 86400 --per-call 0.1ether --per-day 1ether --keystore payer --password-file payer.password

acme.json:
  {\"owner\":\"0x…\",\"guardian\":\"0x…\",\"approvers\":[\"0x…\"],\"authorisers\":[\"0x…\"],\"executors\":[\"0x…\"],
   \"delay\":86400,\"nativePerCall\":\"100000000000000000\",\"nativePerDay\":\"1000000000000000000\"}

Anyone may pay; the one who does gets no rights. Deploying again does nothing. The same configuration
has the same address on every chain, and its keys control that address wherever the account is not
deployed yet, also after they were replaced elsewhere: deploy there before you retire a key, or never
use the address there. That the keys are held by different people is your duty: no contract can see it.")]
pub(super) struct Args {
    /// Only say the address, and whether the account is there
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    configuration: ConfigurationArgs,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,
}

/// What the account starts with.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Configuration")]
struct ConfigurationArgs {
    /// A JSON file with all of it
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "owner", "guardian", "approver", "authoriser", "executor", "delay", "per_call", "per_day", "salt"
    ])]
    config: Option<PathBuf>,

    /// Makes changes, together with a gate or after the delay
    #[arg(long, value_name = "ADDRESS", required_unless_present = "config")]
    owner: Option<Address>,

    /// Vetoes, freezes and narrows
    #[arg(long, value_name = "ADDRESS", required_unless_present = "config")]
    guardian: Option<Address>,

    /// A key of the first gate; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    approver: Vec<Address>,

    /// A key of the second gate; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    authoriser: Vec<Address>,

    /// A key of the third gate; can be repeated
    #[arg(long, value_name = "ADDRESS")]
    executor: Vec<Address>,

    /// How long one principal's change waits: 3600 to 2592000
    #[arg(long, value_name = "SECONDS", required_unless_present = "config")]
    delay: Option<u32>,

    /// Most that one call of an agent may send: wei, or with a unit
    #[arg(long, value_name = "AMOUNT", value_parser = super::wei, default_value = "0")]
    per_call: U256,

    /// Most that agents' calls and fees on two neighbouring UTC days may cost together
    #[arg(long, value_name = "AMOUNT", value_parser = super::wei, default_value = "0")]
    per_day: U256,

    /// Tells accounts of the same configuration apart: 32 bytes
    #[arg(long, value_name = "HEX", default_value_t = B256::ZERO)]
    salt: B256,
}

impl ConfigurationArgs {
    fn configuration(&self) -> Result<Configuration> {
        if let Some(file) = &self.config {
            let text = fs::read_to_string(file)
                .wrap_err_with(|| format!("cannot read the configuration {}", file.display()))?;
            return serde_json::from_str(&text).wrap_err_with(|| {
                format!("{} is no configuration of an account; see --help", file.display())
            });
        }
        let (Some(owner), Some(guardian), Some(delay)) = (self.owner, self.guardian, self.delay)
        else {
            bail!("no configuration given; pass --config, or --owner, --guardian and --delay");
        };
        Ok(Configuration {
            owner,
            guardian,
            approvers: self.approver.clone(),
            authorisers: self.authoriser.clone(),
            executors: self.executor.clone(),
            delay,
            native_per_call: limit("--per-call", self.per_call)?,
            native_per_day: limit("--per-day", self.per_day)?,
            salt: self.salt,
        })
    }
}

/// Limits have 104 bits.
fn limit(option: &str, amount: U256) -> Result<U104> {
    U104::checked_from_limbs_slice(amount.as_limbs())
        .ok_or_else(|| eyre::eyre!("{option} is too much; a limit is below 2^104 wei"))
}

pub(super) async fn run(args: Args, output: &Output) -> Result<()> {
    let configuration = args.configuration.configuration()?;
    let chain = args.chain.connect().await?;
    let deployment = args.chain.deployment();
    let address = Account::address_of(&chain, &deployment, &configuration).await?;
    let chain_id = chain.chain_id();
    let mut report = json!({
        "account": address,
        "tenantId": address.into_word(),
        "chainId": chain_id,
        "configuration": configuration,
        "created": false,
    });
    let there = chain.has_code(address).await?;
    report["deployed"] = there.into();
    if there {
        output.result(&report, format!("account {address} is already there on chain {chain_id}"));
        return Ok(());
    }
    if args.dry_run {
        let text = format!("account {address} is not deployed on chain {chain_id} yet");
        output.result(&report, text);
        return Ok(());
    }
    output.say(format_args!("deploying account {address} on chain {chain_id}"));
    let sender = Sender::new(chain, args.key.load(chain_id)?);
    let calldata = configuration.create_calldata()?;
    let receipt = sender.send(deployment.smart_account_factory, calldata).await?;
    // What came out is what its address stands for.
    Account::connect(sender.chain().clone(), deployment, address).await?;
    report["created"] = true.into();
    report["deployed"] = true.into();
    report["transaction"] = json!(receipt.transaction_hash);
    let text = format!(
        "account {address} is deployed ({})\n\
         its tenant's id is {}; keep its configuration, with which it can be deployed on other chains",
        receipt.transaction_hash,
        address.into_word(),
    );
    output.result(&report, text);
    Ok(())
}
