//! `cofferdam status`: how far each tenant's entries have come.

use std::{collections::BTreeMap, process::ExitCode};

use cofferdam_store::{PolicyStage, Sealer, Submission};
use eyre::Result;
use serde_json::{Value, json};

use crate::{
    connect::{ChainArgs, DatabaseArgs},
    output::{Output, counted, grouped, table},
};

/// Show how far each tenant's entries have come: appended, sealed, posted, included, safe, final
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam status --json

Each column counts the entries that are at least so far: sealed in a batch, posted in a transaction,
included in a block that is mirrored, in a safe one, in a final one. Policies that were handed in stand with
their version and how far it is: submitted, posted, included, safe, final, or failed.
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
    let mut incidents = sealer.incidents(20).await?;
    incidents.retain(|incident| incident.resolved_at.is_none());
    let stages = sealer.stages().await?;
    let finality = sealer.finality().await?;
    let leader = sealer.leader().await?.filter(|leader| !leader.remaining.is_zero());
    let all_halted = sealer.all_halted().await?;

    let ids: Vec<_> = heads.iter().map(|head| head.tenant).collect();
    let on_chain = match &chain {
        Some(chain) => chain.heads(&ids).await?.into_iter().map(Some).collect(),
        None => vec![None; ids.len()],
    };
    let head_block = match &chain {
        Some(chain) => Some(chain.head().await?.number),
        None => None,
    };
    let mut policies: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (policy, stage) in sealer.policies().await? {
        policies.entry(policy.tenant).or_default().push((policy, stage));
    }
    let mut rows = vec![];
    let mut tenants = vec![];
    for (head, on_chain) in heads.iter().zip(&on_chain) {
        let anchored = on_chain.as_ref().map(|head| head.entries);
        let stages = stages.get(&head.tenant).copied().unwrap_or_default();
        let policies = policies.remove(&head.tenant).unwrap_or_default();
        let of_policy =
            |(policy, stage): &(Submission, _)| format!("{} {}", policy.version, word(stage));
        rows.push([
            head.name.clone(),
            grouped(head.next_seq.get()),
            grouped(head.sealed_seq.get()),
            grouped(stages.posted),
            grouped(stages.included),
            grouped(stages.safe),
            grouped(stages.last_final),
            grouped(head.sealed_batches.get()),
            on_chain.as_ref().map_or("-".into(), |head| grouped(head.batches)),
            policies.iter().map(of_policy).collect::<Vec<_>>().join(", "),
            head.halted.clone().unwrap_or_default(),
        ]);
        tenants.push(json!({
            "name": head.name,
            "tenantId": head.tenant,
            "entries": head.next_seq.get(),
            "sealed": head.sealed_seq.get(),
            "posted": stages.posted,
            "included": stages.included,
            "safe": stages.safe,
            "final": stages.last_final,
            "anchored": anchored,
            "batches": head.sealed_batches.get(),
            "batchesOnChain": on_chain.as_ref().map(|head| head.batches),
            "anchorer": on_chain.as_ref().map(|head| head.anchorer),
            "policies": policies.iter().map(described).collect::<Vec<_>>(),
            "halted": head.halted,
        }));
    }
    let headings = [
        "tenant",
        "entries",
        "sealed",
        "posted",
        "included",
        "safe",
        "final",
        "batches",
        "on chain",
        "policies",
        "halted because",
    ];
    let mut text = table(headings, &rows);
    text += &format!(
        "\n\n{}, {}, {} sealed, {} mirrored as anchored, {}, {} gas",
        counted(totals.tenants, "tenant", "tenants"),
        counted(totals.entries, "entry", "entries"),
        counted(totals.batches, "batch", "batches"),
        grouped(totals.anchored),
        counted(totals.transactions, "transaction", "transactions"),
        grouped(totals.gas_used),
    );
    if let Some(checkpoint) = checkpoint {
        text += &format!("\nmirrored up to block {}", grouped(checkpoint.number));
        if let Some(head) = head_block {
            text += &format!(" of {}", grouped(head));
        }
    }
    if let Some(at) = finality {
        text +=
            &format!("; safe up to {}, final up to {}", grouped(at.safe), grouped(at.last_final));
    }
    if let Some(leader) = &leader {
        text += &format!("\n{} leads (epoch {})", leader.holder, leader.epoch);
        if let Some(waiting) = &leader.waiting {
            text += &format!(" and waits: {waiting}");
        }
    }
    if let Some(reason) = &all_halted {
        text += &format!("\nEVERYTHING IS HALTED: {reason}");
    }
    for incident in &incidents {
        let of = incident.tenant.map(|tenant| format!(" of {tenant}")).unwrap_or_default();
        text += &format!("\nincident{of}: {}: {}", incident.kind, incident.detail);
    }
    let incidents: Vec<_> = incidents
        .iter()
        .map(|it| {
            json!({
                "id": it.id, "tenantId": it.tenant, "kind": it.kind, "detail": it.detail,
            })
        })
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
            "safeBlock": finality.map(|at| at.safe),
            "finalBlock": finality.map(|at| at.last_final),
            "leader": leader.as_ref().map(|it| json!({ "holder": it.holder, "epoch": it.epoch })),
            "waiting": leader.as_ref().and_then(|leader| leader.waiting.as_ref()),
            "halted": all_halted,
            "incidents": incidents,
        }),
        text,
    );
    Ok(ExitCode::SUCCESS)
}

/// How far a policy has come, in a word.
fn word(stage: &PolicyStage) -> &'static str {
    match stage {
        PolicyStage::Submitted => "submitted",
        PolicyStage::Posted => "posted",
        PolicyStage::Included => "included",
        PolicyStage::Safe => "safe",
        PolicyStage::Final => "final",
        PolicyStage::Failed(_) => "FAILED",
    }
}

fn described((policy, stage): &(Submission, PolicyStage)) -> Value {
    let failed = match stage {
        PolicyStage::Failed(why) => Some(why),
        _ => None,
    };
    json!({
        "version": policy.version.get(),
        "policyHash": policy.terms.policy_hash,
        "stage": word(stage).to_lowercase(),
        "failed": failed,
    })
}
