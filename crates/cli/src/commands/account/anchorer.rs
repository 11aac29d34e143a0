//! `cofferdam account anchorer`.

use std::process::ExitCode;

use alloy::primitives::Address;
use cofferdam_contracts::signing::SetAnchorer;
use eyre::{Result, bail};
use serde_json::json;

use super::AccountArgs;
use crate::{
    authority::{Act, CosignerArgs, Hands},
    connect::KeyArgs,
    output::Output,
};

/// Let a key anchor for the tenant, by the account's owner and a gate together
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam account anchorer 0xKEY --account 0x… --keystore owner --password-file owner.password \\
      --cosigner-keystore approver --cosigner-password-file approver.password

It takes effect at once, and the key that was named before may anchor no more. The first key pays.")]
pub(super) struct Args {
    /// The address of the key that will anchor
    anchorer: Address,

    #[command(flatten)]
    account: AccountArgs,

    #[command(flatten)]
    key: KeyArgs,

    #[command(flatten)]
    cosigner: CosignerArgs,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let Args { anchorer, account: named, key, cosigner } = args;
    let account = named.connect().await?;
    let (chain, deployment) = (account.chain().clone(), named.chain.deployment());
    let cosigner = cosigner.load(chain.chain_id())?;
    if cosigner.is_none() {
        bail!(
            "an anchorer is named by two keys of account {}, its owner's and a gate's; give the second with \
             --cosigner-keystore",
            account.address()
        );
    }
    let tenant = account.address().into_word();
    // What the account itself calls has neither nonce nor deadline.
    let message = SetAnchorer { tenantId: tenant, anchorer, nonce: 0, deadline: 0 };
    let hands = Hands { chain, deployment, key, cosigner, signature: None };
    let done = hands.perform(&Act::SetAnchorer(message)).await?;
    let fields = json!({ "tenantId": tenant, "anchorer": anchorer });
    let said = format!("{anchorer} may anchor for {}", account.address());
    Ok(done.print(output, fields, said, ""))
}
