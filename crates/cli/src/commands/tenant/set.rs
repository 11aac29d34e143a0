//! `cofferdam tenant set`: when a tenant's entries become a batch.

use std::{process::ExitCode, str::FromStr, time::Duration};

use cofferdam_store::SealSettings;
use eyre::Result;
use serde_json::{Value, json};

use crate::{
    connect::{self, ChainArgs, DatabaseArgs},
    output::{Output, grouped},
};

/// Set when a tenant's entries become a batch
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam tenant set acme --seal-age 10                  anchored sooner, at more gas
  cofferdam tenant set acme --seal-entries 1000 --seal-age 3600
  cofferdam tenant set acme --seal-age default             as the daemon is told with `run --seal-age`

A batch is sealed as soon as one of the three is reached. What is not named stays as it is; a daemon that
runs takes it up with its next round.")]
pub(super) struct SetArgs {
    /// The tenant, by name or id
    tenant: String,

    /// As soon as this many entries wait, 1 to 1000000, or `default`; also the most that a batch holds
    #[arg(long, value_name = "N", value_parser = limit::<1, 1_000_000>)]
    seal_entries: Option<Limit>,

    /// As soon as their fields have this many bytes, or `default`; also the most that a batch holds
    #[arg(long, value_name = "BYTES", value_parser = limit::<1, { i64::MAX as u64 }>)]
    seal_bytes: Option<Limit>,

    /// As soon as the oldest is this old, at most a year, or `default`
    #[arg(long, value_name = "SECONDS", value_parser = limit::<0, 31_536_000>)]
    seal_age: Option<Limit>,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

/// A number, or the daemon's.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<u64>);

fn limit<const MIN: u64, const MAX: u64>(text: &str) -> Result<Limit, String> {
    if text == "default" {
        return Ok(Limit(None));
    }
    match u64::from_str(text) {
        Ok(number) if (MIN..=MAX).contains(&number) => Ok(Limit(Some(number))),
        _ => Err(format!("expected a number from {MIN} to {MAX}, or `default`")),
    }
}

pub(super) async fn set(args: SetArgs, output: &Output) -> Result<ExitCode> {
    let sequencer = connect::sequencer(&args.database, args.chain.id().await?).await?;
    let tenant = connect::tenant(&sequencer, &args.tenant).await?;
    let SealSettings { mut entries, mut bytes, mut age } = tenant.seal;
    for (setting, given) in [(&mut entries, args.seal_entries), (&mut bytes, args.seal_bytes)] {
        if let Some(Limit(given)) = given {
            *setting = given;
        }
    }
    if let Some(Limit(seconds)) = args.seal_age {
        age = seconds.map(Duration::from_secs);
    }
    let settings = SealSettings { entries, bytes, age };
    sequencer.set_seal(tenant.id, settings).await?;
    output.result(
        &json!({ "name": tenant.name, "tenantId": tenant.id, "seal": as_json(&settings) }),
        format!("{} is sealed {}", tenant.name, in_words(&settings)),
    );
    Ok(ExitCode::SUCCESS)
}

pub(super) fn as_json(settings: &SealSettings) -> Value {
    let seconds = settings.age.map(|age| age.as_secs());
    json!({ "entries": settings.entries, "bytes": settings.bytes, "age": seconds })
}

/// When a tenant is sealed, where that is not as the daemon is told.
pub(super) fn in_words(settings: &SealSettings) -> String {
    let own: Vec<String> = [
        settings.entries.map(|entries| format!("at {} entries", grouped(entries))),
        settings.bytes.map(|bytes| format!("at {} bytes", grouped(bytes))),
        settings.age.map(|age| format!("after {} s", grouped(age.as_secs()))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if own.is_empty() { "as the daemon is told".to_owned() } else { own.join(", ") }
}
