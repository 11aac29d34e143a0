//! `cofferdam incident`: what stopped a tenant, or everything, and the operator's decision.

use std::{process::ExitCode, time::SystemTime};

use cofferdam_anchorer::{difference, fault};
use cofferdam_contracts::Chain;
use cofferdam_core::TenantId;
use cofferdam_store::{AnchoredEvent, Mirror, SealedBatch, Sealer, Tenant};
use eyre::Result;
use serde_json::json;

use crate::{
    commands::index,
    connect::{self, ChainArgs, DatabaseArgs},
    output::{Output, counted},
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
  chain-ahead, unknown-batch   the chain has what this database does not. Batches whose entries are all here,
                               as after a restore that lost their seals, are adopted from it. Else restore
                               a newer backup. Where there is none, somebody else anchors with the key: have
                               the tenant's authority name another anchorer
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
    let url = args.database.url()?;
    let sealer = Sealer::connect(&url, args.chain.id().await?).await?;
    let seen_of_all = sealer.standing_of_all().await?;
    let chain = args.chain.connect().await?;
    let sequencer = connect::sequencer(&args.database, chain.chain_id()).await?;
    // Refuses another chain, another contract and other code than this database was made for.
    connect::follow(&sequencer, &chain).await?;
    let (who, differences, adoptable) = match &args.tenant {
        None => ("everything".to_string(), vec![], 0),
        Some(name) => {
            let (id, name, seen, mut found) = match connect::tenant(&sequencer, name).await {
                Ok(tenant) => {
                    let seen = sealer.standing(tenant.id).await?;
                    let found = look(&chain, &sealer, &tenant).await?;
                    (tenant.id, tenant.name, seen, found)
                }
                // A stranger, some of whose events may be missing in the mirror.
                Err(error) => {
                    let id = name.parse().map_err(|_| error)?;
                    (id, name.clone(), sealer.standing(id).await?, Look::default())
                }
            };
            if sealer.has_open(id, "hole").await? {
                let indexer = index::indexer(&chain, &url, args.chain.deployment(), vec![]).await?;
                found.differences.extend(indexer.difference(id).await?);
            }
            if found.differences.is_empty() && args.yes {
                if !found.adoptable.is_empty() {
                    adopt(&sealer, id, &found.adoptable).await?;
                    let mirror = Mirror::connect(&url, chain.chain_id()).await?;
                    mirror.confirm_adopted(&sealer, id).await?;
                }
                sealer.resume(id, &seen).await?;
            }
            (name, found.differences, found.adoptable.len())
        }
    };
    if args.everything && args.yes {
        sealer.resume_all(&seen_of_all).await?;
    }
    let resolved = differences.is_empty() && args.yes;
    let adopting = match adoptable {
        0 => String::new(),
        many => {
            format!("{} adopted from the chain; ", counted(many as u64, "batch", "batches"))
        }
    };
    let text = match (&*differences, args.yes) {
        ([], true) => {
            format!("{adopting}{who} is not halted any more; sealing and anchoring go on")
        }
        ([], false) => format!(
            "nothing differs any more. With --yes: {adopting}the halt of {who} is lifted, its incidents are \
             closed, and sealing and anchoring go on where they stopped"
        ),
        (differences, _) => format!(
            "{who} stays halted, since this still differs:\n  {}\nsee `cofferdam incident resolve --help` \
             for what can be done",
            differences.join("\n  ")
        ),
    };
    let json = json!({ "resolved": resolved, "differences": differences, "adoptable": adoptable });
    output.result(&json, text);
    Ok(if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a look at everything about a tenant came to.
#[derive(Debug, Default)]
struct Look {
    /// What a halt could have been for, and still is so.
    differences: Vec<String>,
    /// Events of batches whose seals were lost here, but not their entries, or that wait to be confirmed.
    adoptable: Vec<AnchoredEvent>,
}

async fn look(chain: &Chain, sealer: &Sealer, tenant: &Tenant) -> Result<Look> {
    let Look { differences: mut found, mut adoptable } = Look::default();
    let heads = chain.heads(&[tenant.id]).await?;
    let mut tx = sealer.tenant(tenant.id).await?;
    let next = tx.head().await?.next_seq.get();
    let mut batches = tx.batches().await?;
    // Where the next batch begins.
    let mut sealed = batches.last().map_or(0, |batch| batch.first_seq.get() + batch.count);
    for event in tx.anchored().await? {
        let AnchoredEvent { index, first_seq, count, root, position, .. } = event;
        let at = usize::try_from(index.get()).unwrap_or(usize::MAX);
        let end = first_seq.get().saturating_add(count);
        if at == batches.len() && first_seq.get() == sealed && end <= next {
            let (tenant, sealed_at) = (tenant.id, SystemTime::now());
            let anchored = None;
            batches.push(SealedBatch {
                tenant,
                index,
                first_seq,
                count,
                root,
                sealed_at,
                anchored,
            });
            sealed = end;
        }
        match batches.get(at) {
            Some(ours) if (ours.first_seq, ours.count, ours.root) == (first_seq, count, root) => {
                adoptable.extend(ours.anchored.is_none().then_some(event));
            }
            _ => found.push(format!(
                "batch {index} in block {}, root {root}, was not sealed here",
                position.block_number
            )),
        }
    }
    for head in heads {
        if (head.batches, head.entries) != (batches.len() as u64, sealed) {
            found.extend(difference(sealer, tenant.id, &head).await?.map(|(_, detail)| detail));
        }
    }
    // Each batch to its root, and what is in none yet to its last entry.
    for batch in &batches {
        found.extend(fault(&mut tx, batch).await?.map(|fault| fault.detail));
    }
    let rest = tx.leaves(sealed.into(), next.saturating_sub(sealed), u64::MAX).await?;
    found.extend(rest.err().map(|fault| fault.to_string()));
    found.dedup();
    Ok(Look { differences: found, adoptable })
}

/// Writes down the batches among these that are not there.
async fn adopt(sealer: &Sealer, tenant: TenantId, events: &[AnchoredEvent]) -> Result<()> {
    let mut tx = sealer.tenant(tenant).await?;
    for AnchoredEvent { index, first_seq, count, root, .. } in events {
        if tx.batch(*index).await?.is_none() {
            tx.adopt_batch(*first_seq, *count, *root).await?;
        }
    }
    Ok(tx.commit().await?)
}
