//! `cofferdam account`: a tenant's SmartAccount, by the keys of its people and agents.

mod act;
mod anchorer;
mod calls;
mod deploy;
mod propose;
mod show;

use std::process::ExitCode;

use alloy::primitives::Address;
use cofferdam_anchorer::Sender;
use cofferdam_contracts::account::Account;
use eyre::Result;

use crate::{
    amount::{ether, wei},
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
    Anchorer(anchorer::Args),
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
        Command::Anchorer(args) => return anchorer::run(args, output).await,
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
