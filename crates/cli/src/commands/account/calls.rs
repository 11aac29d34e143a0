//! The calls that an account is asked to make, from the command line or a file.

use std::{fs, path::PathBuf};

use alloy::primitives::{Address, Bytes, U256};
use cofferdam_contracts::account::Call;
use eyre::{Result, WrapErr, bail};

/// The calls that are meant.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Calls")]
pub(super) struct CallArgs {
    /// A JSON file of calls: [{"target":"0x…","value":"1000","callData":"0x"}], amounts in wei
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "value", "data"])]
    calls: Option<PathBuf>,

    /// Whom a single call goes to
    #[arg(long, value_name = "ADDRESS", required_unless_present = "calls")]
    to: Option<Address>,

    /// What it sends: wei, or with a unit, such as 0.5ether
    #[arg(long, value_name = "AMOUNT", value_parser = super::wei, default_value = "0")]
    value: U256,

    /// Its calldata
    #[arg(long, value_name = "HEX", default_value = "0x")]
    data: Bytes,
}

impl CallArgs {
    pub(super) fn calls(&self) -> Result<Vec<Call>> {
        match (&self.calls, self.to) {
            (Some(file), _) => read(file),
            (None, Some(target)) => {
                Ok(vec![Call { target, value: self.value, callData: self.data.clone() }])
            }
            (None, None) => bail!("no calls given; pass --to or --calls"),
        }
    }
}

/// Reads a file of calls.
pub(super) fn read(file: &PathBuf) -> Result<Vec<Call>> {
    let text = fs::read_to_string(file)
        .wrap_err_with(|| format!("cannot read the calls in {}", file.display()))?;
    let calls: Vec<Call> = serde_json::from_str(&text).wrap_err_with(|| {
        format!(
            "{} is no list of calls; expected [{{\"target\":\"0x…\",\"value\":\"1000\",\"callData\":\"0x\"}}]",
            file.display()
        )
    })?;
    if calls.is_empty() {
        bail!("{} has no calls in it", file.display());
    }
    Ok(calls)
}

/// A call on one line.
pub(super) fn line(call: &Call) -> String {
    let Call { target, value, callData: data } = call;
    let data = if data.is_empty() { String::new() } else { format!(", calldata {data}") };
    format!("to {target}: {}{data}", super::ether(*value))
}
