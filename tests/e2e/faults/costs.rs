//! What the daemon's transactions cost is what their receipts say, to the wei.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::{SolCall, SolEvent},
};
use cofferdam_contracts::{AuditAnchor, GAS_PRICE_ORACLE};
use serde_json::{Value, json};

use super::{rpc::Fault, world::World};
use crate::support::{records, run};

/// The operator's fee of each transaction, in wei.
const OPERATOR_FEE: u64 = 1_000;

/// What the node itself says of every transaction that anchored batches, or was to.
pub(crate) async fn receipts(world: &World) -> Vec<Value> {
    use AuditAnchor::{anchorManyCall, anchorSignedCall};
    let mut receipts = vec![];
    for number in 0..=world.chain.head().await.unwrap().number {
        let block = world.ask("eth_getBlockByNumber", json!([format!("{number:#x}"), true])).await;
        for tx in block["transactions"].as_array().unwrap() {
            let to = tx["to"].as_str().map(|to| to.parse::<Address>().unwrap());
            let input: Bytes = tx["input"].as_str().unwrap().parse().unwrap();
            let is_ours = to == Some(world.chain.contract());
            let anchors = [anchorManyCall::SELECTOR, anchorSignedCall::SELECTOR];
            if is_ours && anchors.iter().any(|it| input.starts_with(it)) {
                receipts.push(world.ask("eth_getTransactionReceipt", json!([tx["hash"]])).await);
            }
        }
    }
    receipts
}

/// What a receipt says was paid for gas, in wei.
pub(crate) fn paid(receipt: &Value) -> U256 {
    quantity(&receipt["gasUsed"]) * quantity(&receipt["effectiveGasPrice"])
}

pub(crate) fn quantity(value: &Value) -> U256 {
    value.as_str().unwrap().parse().unwrap()
}

/// Waits until what `costs` says adds up to this, and tells what each tenant bears.
pub(crate) async fn until_booked(world: &World, fee: U256) -> BTreeMap<String, U256> {
    let costs = async || world.stack.json("costs").await;
    let in_all = |costs: &Value| quantity(&costs["feeWei"]);
    let what = format!("{fee} wei in {}", costs().await);
    world.until(&what, async || in_all(&costs().await) == fee).await;
    let costs = costs().await;
    assert_eq!(costs["ofNoTenantWei"], "0");
    let tenants = costs["tenants"].as_array().unwrap().iter();
    let tenants =
        tenants.map(|it| (it["tenantId"].as_str().unwrap().into(), quantity(&it["feeWei"])));
    tenants.collect()
}

/// What Base has in a receipt and Anvil has not.
fn as_on_base(receipt: &mut Value) {
    receipt["l1Fee"] = json!(l1_fee(receipt));
    receipt["l1GasPrice"] = json!("0x7");
    receipt["operatorFeeScalar"] = json!("0x1");
    receipt["operatorFeeConstant"] = json!("0x1");
}

/// An amount that does not divide by three.
fn l1_fee(receipt: &Value) -> U256 {
    quantity(&receipt["gasUsed"]) * U256::from(21) + U256::from(1)
}

/// Anvil's receipts have nothing of an OP Stack chain: the proxy adds what they have there, and a contract
/// that answers everything with one number stands in for the GasPriceOracle.
#[tokio::test]
async fn what_an_op_stack_receipt_says_is_booked_to_the_wei() {
    let mut world = World::start().await;
    let before = receipts(&world).await;
    let gas = before.iter().map(paid).sum::<U256>();
    let tenants_before = until_booked(&world, gas).await;
    // PUSH2 1000, MSTORE at 0, RETURN 32 bytes.
    let code = Bytes::from_static(&[0x61, 0x03, 0xe8, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]);
    world.ask("anvil_setCode", json!([GAS_PRICE_ORACLE, code])).await;
    world.rpc.play(|method| {
        (method == "eth_getTransactionReceipt").then_some(Fault::Edited(as_on_base))
    });

    // All tenants in one transaction, and then one of them alone.
    world.append(1).await;
    let daemon = world.daemon();
    world.is_at_rest().await;
    let more = world.stack.file("alone.ndjson", records("acme", 3..4));
    run(world.cofferdam("append").arg(more)).await.exits(0);
    world.is_at_rest().await;

    let all = receipts(&world).await;
    let new = &all[before.len()..];
    assert!(new.len() >= 2, "{new:?}");
    let whole = |it: &Value| paid(it) + l1_fee(it) + U256::from(OPERATOR_FEE);
    let booked = until_booked(&world, gas + new.iter().map(whole).sum::<U256>()).await;
    let mut shares: BTreeMap<String, (U256, U256)> = BTreeMap::new();
    for receipt in new {
        let logs = receipt["logs"].as_array().unwrap();
        let topic = |log: &Value, n: usize| log["topics"][n].as_str().unwrap().parse::<B256>();
        let anchored = AuditAnchor::Anchored::SIGNATURE_HASH;
        let tenants = logs.iter().filter(|log| topic(log, 0) == Ok(anchored));
        let tenants: Vec<_> = tenants.map(|log| topic(log, 1).unwrap().to_string()).collect();
        for tenant in &tenants {
            let (share, batches) = shares.entry(tenant.clone()).or_default();
            *share += whole(receipt) / U256::from(tenants.len());
            *batches += U256::from(1);
        }
    }
    assert_eq!(shares.len(), booked.len());
    for (tenant, (share, batches)) in shares {
        let bears = booked[&tenant] - tenants_before[&tenant];
        // What does not divide is borne by some of them, a wei each.
        assert!((share..=share + batches).contains(&bears), "{tenant}: {bears}, not {share}");
    }
    daemon.stop().await;
}
