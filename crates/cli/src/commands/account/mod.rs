//! `cofferdam account`: a tenant's SmartAccount, by the keys of its people and agents.

mod act;
mod calls;
mod deploy;
mod propose;
mod show;

use std::process::ExitCode;

use alloy::primitives::{
    Address, U256,
    utils::{format_ether, parse_units},
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::account::Account;
use eyre::Result;

use crate::{
    connect::{ChainArgs, KeyArgs},
    output::Output,
};

/// Deploy a tenant's SmartAccount, look at it, and act for it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, each step with the key of the one who takes it (and --password-file):
  cofferdam account deploy --config acme.json --keystore anyone
  cofferdam account propose --account 0x… --capability payments.send --to 0x… --value 2ether \\
      --verdict verdict.json --keystore agent
  cofferdam account approve 0xID --account 0x… --keystore approver
  cofferdam account authorise 0xID --account 0x… --keystore authoriser
  cofferdam account execute 0xID --account 0x… --keystore executor

Everything is tried on the node before it is sent: what the account would refuse costs nothing, and is
told by the contract's own name for it.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Deploy(deploy::Args),
    Show(show::Args),
    Propose(propose::Args),
    Approve(act::ApproveArgs),
    Authorise(act::AuthoriseArgs),
    Execute(act::ExecuteArgs),
    Freeze(act::FreezeArgs),
    Veto(act::VetoArgs),
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Command::Deploy(args) => deploy::run(args, output).await?,
        Command::Show(args) => show::run(args, output).await?,
        Command::Propose(args) => propose::run(args, output).await?,
        Command::Approve(args) => act::approve(args, output).await?,
        Command::Authorise(args) => act::authorise(args, output).await?,
        Command::Execute(args) => act::execute(args, output).await?,
        Command::Freeze(args) => act::freeze(args, output).await?,
        Command::Veto(args) => act::veto(args, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Which account is meant.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Account")]
pub(crate) struct AccountArgs {
    /// The account's address, as `cofferdam account deploy` printed it
    #[arg(long, value_name = "ADDRESS", env = "COFFERDAM_ACCOUNT")]
    account: Address,

    #[command(flatten)]
    chain: ChainArgs,
}

impl AccountArgs {
    pub(crate) async fn connect(&self) -> Result<Account> {
        let chain = self.chain.connect().await?;
        Ok(Account::connect(chain, self.chain.deployment(), self.account).await?)
    }
}

/// Which account is meant, and whose key acts.
#[derive(Debug, clap::Args)]
pub(crate) struct ActorArgs {
    #[command(flatten)]
    account: AccountArgs,

    #[command(flatten)]
    key: KeyArgs,
}

impl ActorArgs {
    async fn connect(&self) -> Result<(Account, Sender)> {
        let account = self.account.connect().await?;
        let key = self.key.load(account.chain().chain_id())?;
        let sender = Sender::new(account.chain().clone(), key);
        Ok((account, sender))
    }
}

/// An amount of the native currency: `1000` or `1000wei`, `20gwei`, `0.5ether`.
fn wei(text: &str) -> Result<U256, String> {
    const UNITS: [(&str, u8); 3] = [("ether", 18), ("gwei", 9), ("wei", 0)];
    let unit = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit));
    let (unit, decimals) = unit.unwrap_or_default();
    let number = text[..text.len() - unit.len()].trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    // What is finer than a wei would be cut off in silence.
    match parse_units(number, decimals) {
        Ok(amount) if digits && !whole.is_empty() && fraction.len() <= decimals.into() => {
            Ok(amount.get_absolute())
        }
        _ => Err("expected an amount such as 1000, 20gwei or 0.5ether".into()),
    }
}

/// An amount of the native currency for people, exact to the wei.
fn ether(wei: U256) -> String {
    let text = format_ether(wei);
    format!("{} ether", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        for (text, amount) in [
            ("0", 0_u64),
            ("1000", 1_000),
            ("7wei", 7),
            ("20gwei", 20_000_000_000),
            ("0.5ether", 500_000_000_000_000_000),
            ("1 ether", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(wei(text), Ok(U256::from(amount)), "{text}");
        }
        for text in [
            "",
            "ether",
            "-1",
            "+1",
            "1e18",
            "0.5",
            "1.0000000001gwei",
            "1.5wei",
            ".5ether",
            "1 eth",
            "1_000",
        ] {
            assert!(wei(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_are_printed_to_the_wei() {
        for (amount, text) in [
            (0_u64, "0 ether"),
            (7, "0.000000000000000007 ether"),
            (1_500_000_000_000_000_000, "1.5 ether"),
            (10_000_000_000_000_000_000, "10 ether"),
        ] {
            assert_eq!(ether(U256::from(amount)), text);
        }
    }
}
