//! `cofferdam devnet tamper`: changes one byte of a stored entry, to see it found.

use std::{fs, path::PathBuf, process::ExitCode};

use cofferdam_devnet::Anvil;
use cofferdam_store::{DatabaseUrl, Sequencer, flip_one_bit};
use eyre::{Result, WrapErr};
use serde_json::json;

use crate::{
    connect::{self, DatabaseArgs},
    output::Output,
};

/// Change one byte of an entry in a devnet's database, as its administrator; again to change it back
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam devnet tamper --tenant acme-robotics --seq 0
  cofferdam verify")]
pub(crate) struct Args {
    /// The tenant, by name or id
    #[arg(long, value_name = "TENANT")]
    tenant: String,

    /// The entry's sequence number
    #[arg(long, value_name = "N")]
    seq: u64,

    /// Leave what is no text any more, and cannot even be read
    #[arg(long)]
    unreadable: bool,

    /// The devnet's data directory
    #[arg(long, value_name = "DIR", env = "COFFERDAM_DATA", default_value = ".cofferdam")]
    data_dir: PathBuf,

    #[command(flatten)]
    database: DatabaseArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let sequencer: Sequencer = connect::sequencer(&args.database, Anvil::CHAIN_ID).await?;
    let tenant = connect::tenant(&sequencer, &args.tenant).await?;
    let file = args.data_dir.join("admin-url");
    let admin = fs::read_to_string(&file).wrap_err_with(|| {
        format!("no administrator's login in {}; is this a devnet's directory?", file.display())
    })?;
    let admin: DatabaseUrl = admin.parse()?;
    let bit = if args.unreadable { 7 } else { 5 };
    let (before, after) =
        flip_one_bit(&admin, Anvil::CHAIN_ID, tenant.id, args.seq.into(), bit).await?;
    output.result(
        &json!({ "tenantId": tenant.id, "seq": args.seq, "field": "action", "before": before, "after": after }),
        format!(
            "changed the action of entry {} of {}: {before:?} became {after:?}",
            args.seq, tenant.name
        ),
    );
    Ok(ExitCode::SUCCESS)
}
