//! `cofferdam status`: how far each tenant's entries have come.

use std::process::ExitCode;

use cofferdam_store::Sealer;
use eyre::Result;
use serde_json::json;

use crate::{
    connect::{ChainArgs, DatabaseArgs},
    output::{Output, grouped, table},
};

/// Show how far each tenant's entries have come: appended, sealed, anchored and mirrored
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam status --json

With --rpc-url (or RPC_URL) the contract's own counters stand beside the database's.")]
pub(crate) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let chain = match args.chain.rpc_url {
        Some(_) => Some(args.chain.connect().await?),
        None => None,
    };
    let sealer = Sealer::connect(&args.database.url()?, args.chain.id().await?).await?;
    let heads = sealer.heads().await?;
    let totals = sealer.totals().await?;
    let checkpoint = sealer.checkpoint().await?;
    let incidents = sealer.incidents(20).await?;

    let ids: Vec<_> = heads.iter().map(|head| head.tenant).collect();
    let on_chain = match &chain {
        Some(chain) => chain.heads(&ids).await?.into_iter().map(Some).collect(),
        None => vec![None; ids.len()],
    };
    let head_block = match &chain {
        Some(chain) => Some(chain.head().await?.number),
        None => None,
    };
    let mut rows = vec![];
    let mut tenants = vec![];
    for (head, on_chain) in heads.iter().zip(&on_chain) {
        let anchored = on_chain.as_ref().map(|head| head.entries);
        rows.push([
            head.name.clone(),
            grouped(head.next_seq.get()),
            grouped(head.sealed_seq.get()),
            anchored.map_or("-".into(), grouped),
            grouped(head.sealed_batches.get()),
            on_chain.as_ref().map_or("-".into(), |head| grouped(head.batches)),
            head.halted.clone().unwrap_or_default(),
        ]);
        tenants.push(json!({
            "name": head.name,
            "tenantId": head.tenant,
            "entries": head.next_seq.get(),
            "sealed": head.sealed_seq.get(),
            "anchored": anchored,
            "batches": head.sealed_batches.get(),
            "batchesOnChain": on_chain.as_ref().map(|head| head.batches),
            "anchorer": on_chain.as_ref().map(|head| head.anchorer),
            "halted": head.halted,
        }));
    }
    let headings =
        ["tenant", "entries", "sealed", "anchored", "batches", "on chain", "halted because"];
    let mut text = table(headings, &rows);
    text += &format!(
        "\n\n{} tenants, {} entries, {} batches sealed, {} mirrored as anchored, {} transactions, {} gas",
        grouped(totals.tenants),
        grouped(totals.entries),
        grouped(totals.batches),
        grouped(totals.anchored),
        grouped(totals.transactions),
        grouped(totals.gas_used),
    );
    if let Some(checkpoint) = checkpoint {
        text += &format!("\nmirrored up to block {}", grouped(checkpoint.number));
        if let Some(head) = head_block {
            text += &format!(" of {}", grouped(head));
        }
    }
    for incident in &incidents {
        let of = incident.tenant.map(|tenant| format!(" of {tenant}")).unwrap_or_default();
        text += &format!("\nincident{of}: {}: {}", incident.kind, incident.detail);
    }
    let incidents: Vec<_> = incidents
        .iter()
        .map(|it| json!({ "tenantId": it.tenant, "kind": it.kind, "detail": it.detail }))
        .collect();
    output.result(
        &json!({
            "tenants": tenants,
            "totals": {
                "tenants": totals.tenants, "entries": totals.entries, "batches": totals.batches,
                "anchored": totals.anchored, "transactions": totals.transactions,
                "gas": totals.gas_used,
            },
            "mirroredBlock": checkpoint.map(|it| it.number),
            "headBlock": head_block,
            "incidents": incidents,
        }),
        text,
    );
    Ok(ExitCode::SUCCESS)
}
