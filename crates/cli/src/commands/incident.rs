//! `cofferdam incident`: what stopped a tenant, or everything, and the operator's decision.

use std::process::ExitCode;

use cofferdam_anchorer::{difference, fault};
use cofferdam_contracts::Chain;
use cofferdam_store::{Sealer, Tenant};
use eyre::Result;
use serde_json::json;

use crate::{
    commands::index,
    connect::{self, ChainArgs, DatabaseArgs},
    output::Output,
};

/// List what stopped a tenant or everything, and decide on it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cofferdam incident list
  cofferdam incident resolve --tenant acme           checks again, and says what it would do
  cofferdam incident resolve --tenant acme --yes     does it")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Resolve(ResolveArgs),
}

/// List incidents, and who is halted
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Those too that were decided on
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Lift a halt whose reason is gone
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What stopped a tenant is checked again first: the hash of every entry, the root of every batch, every
mirrored event against what was sealed, and the contract's counters. While any of it still differs nothing is lifted, with or without
--yes: sealing on would build on a history that is not the one on the chain. What can be done then:

  tampered, missing            restore the entry from a backup, byte for byte
  chain-ahead, unknown-batch   the chain has what this database does not: restore a newer backup. Where
                               there is none, somebody else anchors with the key: have the tenant's
                               authority name another anchorer
  different-batch              the same; what the chain has at that position stays there for good
  policy-expired, -refused     have the tenant sign the policy again: `cofferdam policy submit`. It halts
                               nothing, and neither do the two below
  different-policy             something else has the version; have it signed as the next one
  unknown-policy               ask the tenant whether it published that itself; if it did not, somebody else
                               has its authority's key: `cofferdam policy revoke`
  hole                         the mirror lacks events that no RPC endpoint had: run `cofferdam index` with
                               another, --fallback-rpc-url
  reorg-below-final            `cofferdam index rebuild` mirrors the chain afresh
  other-chain, other-code      point --rpc-url at the chain this database was made for

An incident of kind `intake` stays open while anything waits in that intake, which resolving does not change:
see `cofferdam intake`.

Where the reason is gone (an endpoint that lied, a reorg, a restored row), the halt is lifted, the
incidents are closed, and sealing and anchoring go on where they stopped. No row is deleted.")]
struct ResolveArgs {
    /// The tenant, by name or id; a stranger, whose events are missing, by id
    #[arg(long, value_name = "TENANT", required_unless_present = "everything")]
    tenant: Option<String>,

    /// What halted everything, instead of one tenant
    #[arg(long, conflicts_with = "tenant")]
    everything: bool,

    /// Do it; without this, only say what would be done
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    match args.command {
        Command::List(args) => list(args, output).await,
        Command::Resolve(args) => resolve(args, output).await,
    }
}

async fn list(args: ListArgs, output: &Output) -> Result<ExitCode> {
    let sealer = Sealer::connect(&args.database.url()?, args.chain.id().await?).await?;
    let mut incidents = sealer.incidents(1_000).await?;
    incidents.retain(|incident| args.all || incident.resolved_at.is_none());
    let mut lines = vec![];
    let mut halted = vec![];
    if let Some(reason) = sealer.all_halted().await? {
        lines.push(format!("EVERYTHING IS HALTED: {reason}"));
        halted.push(json!({ "tenantId": null, "reason": reason }));
    }
    for head in sealer.heads().await? {
        let Some(reason) = head.halted else { continue };
        lines.push(format!("{} is halted: {reason}", head.name));
        halted.push(json!({ "name": head.name, "tenantId": head.tenant, "reason": reason }));
    }
    let json: Vec<_> = incidents
        .iter()
        .map(|it| {
            let of = it.tenant.map_or("everything".into(), |tenant| tenant.to_string());
            let state = if it.resolved_at.is_some() { "decided on" } else { "open" };
            lines.push(format!("incident {} ({state}): {of}: {}: {}", it.id, it.kind, it.detail));
            json!({
                "id": it.id, "tenantId": it.tenant, "kind": it.kind, "detail": it.detail,
                "open": it.resolved_at.is_none(),
            })
        })
        .collect();
    if lines.is_empty() {
        lines.push("no incident is open and nobody is halted".into());
    }
    output.result(&json!({ "incidents": json, "halted": halted }), lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}

async fn resolve(args: ResolveArgs, output: &Output) -> Result<ExitCode> {
    let chain = args.chain.connect().await?;
    let url = args.database.url()?;
    let sequencer = connect::sequencer(&args.database, chain.chain_id()).await?;
    // Refuses another chain, another contract and other code than this database was made for.
    connect::follow(&sequencer, &chain).await?;
    let sealer = Sealer::connect(&url, chain.chain_id()).await?;
    let (who, differences) = match &args.tenant {
        None => ("everything".to_string(), vec![]),
        Some(name) => {
            let (id, name, seen, mut differences) = match connect::tenant(&sequencer, name).await {
                Ok(tenant) => {
                    let seen = sealer.standing(tenant.id).await?;
                    let differences = differences(&chain, &sealer, &tenant).await?;
                    (tenant.id, tenant.name, seen, differences)
                }
                // A stranger, some of whose events may be missing in the mirror.
                Err(error) => {
                    let id = name.parse().map_err(|_| error)?;
                    (id, name.clone(), sealer.standing(id).await?, vec![])
                }
            };
            if sealer.has_open(id, "hole").await? {
                let indexer = index::indexer(&chain, &url, args.chain.deployment(), vec![]).await?;
                differences.extend(indexer.difference(id).await?);
            }
            if differences.is_empty() && args.yes {
                sealer.resume(id, &seen).await?;
            }
            (name, differences)
        }
    };
    if args.everything && args.yes {
        sealer.resume_all().await?;
    }
    let resolved = differences.is_empty() && args.yes;
    let text = match (&*differences, args.yes) {
        ([], true) => format!("{who} is not halted any more; sealing and anchoring go on"),
        ([], false) => format!(
            "nothing differs any more. With --yes the halt of {who} is lifted, its incidents are closed, \
             and sealing and anchoring go on where they stopped"
        ),
        (differences, _) => format!(
            "{who} stays halted, since this still differs:\n  {}\nsee `cofferdam incident resolve --help` \
             for what can be done",
            differences.join("\n  ")
        ),
    };
    let json = json!({ "resolved": resolved, "differences": differences });
    output.result(&json, text);
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything about a tenant that a halt could have been for, and that still is so.
async fn differences(chain: &Chain, sealer: &Sealer, tenant: &Tenant) -> Result<Vec<String>> {
    let mut found = vec![];
    for head in chain.heads(&[tenant.id]).await? {
        found.extend(difference(sealer, tenant.id, &head).await?.map(|(_, detail)| detail));
    }
    let mut tx = sealer.tenant(tenant.id).await?;
    let batches = tx.batches().await?;
    for event in tx.anchored().await? {
        let sealed = usize::try_from(event.index.get()).ok().and_then(|at| batches.get(at));
        let same = sealed.is_some_and(|sealed| {
            (sealed.first_seq, sealed.count, sealed.root)
                == (event.first_seq, event.count, event.root)
        });
        if !same {
            let (index, root, block) = (event.index, event.root, event.position.block_number);
            found.push(format!("batch {index} in block {block}, root {root}, was not sealed here"));
        }
    }
    // Each sealed batch to its root, and what is not sealed yet to its last entry.
    let mut sealed = 0;
    for batch in &batches {
        found.extend(fault(&mut tx, batch).await?.map(|fault| fault.detail));
        sealed = batch.first_seq.get() + batch.count;
    }
    let open = tx.head().await?.next_seq.get().saturating_sub(sealed);
    let rest = tx.leaves(sealed.into(), open, u64::MAX).await?;
    found.extend(rest.err().map(|fault| fault.to_string()));
    found.dedup();
    Ok(found)
}
