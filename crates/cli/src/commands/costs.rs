//! `cofferdam costs`: what anchoring and publishing cost, tenant by tenant.

use std::process::ExitCode;

use alloy::primitives::{U256, utils::format_ether};
use cofferdam_store::Sealer;
use eyre::Result;
use serde_json::json;

use crate::{
    amount,
    connect::{ChainArgs, DatabaseArgs},
    output::{Output, grouped, table},
};

/// Show what each tenant's batches and policies cost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam costs --json

The costs are those of receipts: the gas at the price that was paid, and what an OP Stack chain such as
Base takes beside for publishing on L1 and for its operator. A transaction's cost is shared equally by
the batches that it anchored; a policy has one of its own. A reorg takes a cost back until the batch is anchored again. What belongs
to no tenant is the rest: transactions that only used up a nonce, and those of older versions.")]
pub(crate) struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let sealer = Sealer::connect(&args.database.url()?, args.chain.id().await?).await?;
    let costs = sealer.costs().await?;
    let total = U256::from(sealer.totals().await?.fee_wei);
    let (mut rows, mut tenants, mut shared) = (vec![], vec![], U256::ZERO);
    for head in sealer.heads().await? {
        let cost = costs.get(&head.tenant).copied().unwrap_or_default();
        shared += cost.fee;
        let each = cost.batch_fee.checked_div(U256::from(cost.batches)).unwrap_or_default();
        rows.push([
            head.name.clone(),
            grouped(cost.batches),
            grouped(cost.policies),
            grouped(cost.gas),
            format_ether(cost.fee),
            format_ether(each),
        ]);
        tenants.push(json!({
            "name": head.name, "tenantId": head.tenant, "batches": cost.batches,
            "policies": cost.policies, "gas": cost.gas, "feeWei": cost.fee.to_string(),
        }));
    }
    let rest = total.saturating_sub(shared);
    let headings = ["tenant", "batches", "policies", "gas", "ether", "ether per batch"];
    let text = format!(
        "{}\n\n{} in all, of which {} belong to no tenant",
        table(headings, &rows),
        amount::ether(total),
        amount::ether(rest),
    );
    let json = json!({
        "tenants": tenants, "feeWei": total.to_string(), "ofNoTenantWei": rest.to_string(),
    });
    output.result(&json, text);
    Ok(ExitCode::SUCCESS)
}
