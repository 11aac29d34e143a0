//! What the people of an account do with one key: `approve`, `authorise`, `execute`, `freeze`, `veto`.

use std::path::PathBuf;

use alloy::{
    primitives::{B256, Bytes},
    sol_types::SolCall,
};
use cofferdam_contracts::{
    SmartAccount,
    account::{Account, calls_hash, execute_proposal_calldata},
};
use eyre::{Result, bail};
use serde_json::json;

use super::{ActorArgs, calls};
use crate::output::Output;

/// Approve a proposal: the first gate
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam account approve 0xID --account 0x… --keystore approver --password-file approver.password

Look at what you approve first: cofferdam account show --account 0x… --proposal 0xID")]
pub(super) struct ApproveArgs {
    /// The proposal's id, as `propose` and `show` print it
    id: B256,

    #[command(flatten)]
    actor: ActorArgs,
}

/// Authorise an approved proposal: the second gate
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam account authorise 0xID --account 0x… --keystore authoriser --password-file authoriser.password

Look at what you authorise first: cofferdam account show --account 0x… --proposal 0xID")]
pub(super) struct AuthoriseArgs {
    /// The proposal's id, as `propose` and `show` print it
    id: B256,

    #[command(flatten)]
    actor: ActorArgs,
}

/// Make the calls of an authorised proposal: the third gate
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam account execute 0xID --account 0x… --keystore executor --password-file executor.password

The calls are read from the transaction that proposed them. --calls is needed only where that did not
go to the account directly.")]
pub(super) struct ExecuteArgs {
    /// The proposal's id, as `propose` and `show` print it
    id: B256,

    /// The file of calls that was given to `propose`
    #[arg(long, value_name = "FILE")]
    calls: Option<PathBuf>,

    #[command(flatten)]
    actor: ActorArgs,
}

/// Freeze the account: no calls of agents or gates, no signatures
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam account freeze --account 0x… --keystore guardian --password-file guardian.password

The owner, the guardian and every gate can freeze alone. Owner and a gate unfreeze together, or one of
them after the delay.")]
pub(super) struct FreezeArgs {
    #[command(flatten)]
    actor: ActorArgs,
}

/// Strike a scheduled change out: the guardian
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam account veto 1 --account 0x… --keystore guardian --password-file guardian.password

`cofferdam account show` lists what is scheduled. A policy or a grant that one principal had recorded
is vetoed by revoking it.")]
pub(super) struct VetoArgs {
    /// The scheduled change's id, as `show` prints it
    id: u64,

    #[command(flatten)]
    actor: ActorArgs,
}

pub(super) async fn approve(args: ApproveArgs, output: &Output) -> Result<()> {
    let call = SmartAccount::approveCall { id: args.id }.abi_encode();
    let next = format!("next, an authoriser: cofferdam account authorise {}", args.id);
    pass(&args.actor, args.id, "approved", call, &next, output).await
}

pub(super) async fn authorise(args: AuthoriseArgs, output: &Output) -> Result<()> {
    let call = SmartAccount::authoriseCall { id: args.id }.abi_encode();
    let next = format!("next, an executor: cofferdam account execute {}", args.id);
    pass(&args.actor, args.id, "authorised", call, &next, output).await
}

pub(super) async fn execute(args: ExecuteArgs, output: &Output) -> Result<()> {
    let (account, sender) = args.actor.connect().await?;
    let (proposed, on_chain) = account.proposal(args.id).await?;
    let calls = match (&args.calls, on_chain) {
        (Some(file), _) => calls::read(file)?,
        (None, Some(calls)) => calls,
        (None, None) => bail!(
            "the calls of proposal {} are not in the transaction that proposed them ({}); pass them with --calls",
            args.id,
            proposed.transaction
        ),
    };
    if calls_hash(&calls) != proposed.proposal.callsHash {
        bail!("these are not the calls of proposal {}; pass the file that was proposed", args.id);
    }
    let calldata = execute_proposal_calldata(&proposed.proposal, &calls);
    let receipt = sender.send(account.address(), calldata).await?;
    let made: Vec<_> = calls.iter().map(calls::line).collect();
    let text = format!(
        "executed proposal {} ({})\n  {}",
        args.id,
        receipt.transaction_hash,
        made.join("\n  ")
    );
    output.result(
        &report(
            &account,
            json!({ "proposal": args.id, "stage": "closed", "calls": calls }),
            receipt.transaction_hash,
        ),
        text,
    );
    Ok(())
}

pub(super) async fn freeze(args: FreezeArgs, output: &Output) -> Result<()> {
    let (account, sender) = args.actor.connect().await?;
    let calldata = SmartAccount::freezeCall {}.abi_encode();
    let receipt = sender.send(account.address(), calldata.into()).await?;
    let (address, hash) = (account.address(), receipt.transaction_hash);
    output.result(
        &report(&account, json!({ "frozen": true }), hash),
        format!("account {address} is frozen ({hash})\nowner and a gate can unfreeze it together"),
    );
    Ok(())
}

pub(super) async fn veto(args: VetoArgs, output: &Output) -> Result<()> {
    let (account, sender) = args.actor.connect().await?;
    let calldata = SmartAccount::vetoCall { id: args.id }.abi_encode();
    let receipt = sender.send(account.address(), calldata.into()).await?;
    let (id, hash) = (args.id, receipt.transaction_hash);
    output.result(
        &report(&account, json!({ "vetoed": id }), hash),
        format!("struck out scheduled change {id} ({hash})"),
    );
    Ok(())
}

/// Brings a proposal through a gate.
async fn pass(
    actor: &ActorArgs,
    id: B256,
    stage: &str,
    calldata: Vec<u8>,
    next: &str,
    output: &Output,
) -> Result<()> {
    let (account, sender) = actor.connect().await?;
    let receipt = sender.send(account.address(), Bytes::from(calldata)).await?;
    let hash = receipt.transaction_hash;
    output.result(
        &report(&account, json!({ "proposal": id, "stage": stage }), hash),
        format!("{stage} proposal {id} ({hash})\n{next}"),
    );
    Ok(())
}

/// What was done to which account by which transaction.
fn report(account: &Account, mut done: serde_json::Value, transaction: B256) -> serde_json::Value {
    done["account"] = json!(account.address());
    done["transaction"] = json!(transaction);
    done
}
