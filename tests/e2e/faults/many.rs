//! Many tenants, of which one is hot and one is poisoned.

use std::{collections::HashMap, time::Instant};

use alloy::{
    primitives::{Address, Bytes},
    sol_types::SolCall,
};
use cofferdam_contracts::{AuditAnchor, Event};
use cofferdam_core::TenantId;
use cofferdam_store::Sequencer;
use serde_json::json;

use super::{leaders::ANCHORER, world::World};
use crate::support::{CHAIN_ID, records, run};

/// Tenants, unless `COFFERDAM_SOAK_TENANTS` says how many.
const MANY: usize = 30;
/// Calls that fit into a block: Anvil, left alone, falls behind where thousands wait in its pool.
const IN_BLOCK: usize = 200;
/// Entries of the hot one; the others have one each.
const HOT: usize = 400;

#[tokio::test]
async fn i9_neither_a_hot_nor_a_poisoned_tenant_holds_up_another() {
    let given = std::env::var("COFFERDAM_SOAK_TENANTS").ok();
    let many = given.map_or(MANY, |many| many.parse().unwrap());
    let mut world = World::start().await;
    let tenants = register(&world, many).await;
    let name = |n: usize| format!("many-{n:05}");
    let (hot, poisoned) = (many / 2, many / 3);
    let entries = |n| if n == hot { HOT } else { 1 };
    let lines: String = (0..many).map(|n| records(&name(n), 0..entries(n))).collect();
    let path = world.stack.file("many.ndjson", lines);
    run(world.stack.cofferdam("append --json").arg(path)).await.exits(0);
    world.stack.json(&format!("devnet tamper --tenant {} --seq 0", name(poisoned))).await;

    let daemon = world.daemon();
    let anchored = async || -> Vec<usize> {
        let heads = world.chain.heads(&tenants).await.unwrap();
        heads.iter().map(|head| usize::try_from(head.entries).unwrap()).collect()
    };
    let expected: Vec<_> = (0..many).map(|n| if n == poisoned { 0 } else { entries(n) }).collect();
    let all: usize = expected.iter().sum();
    // However many there are, no tenth of it takes too long.
    let start = Instant::now();
    for tenth in 1..=10 {
        let part = all * tenth / 10;
        let done = async || anchored().await.iter().sum::<usize>() >= part;
        world.until(&format!("that {part} of {all} entries are anchored"), done).await;
        println!("{part} of {all} entries anchored after {:?}", start.elapsed());
    }
    assert_eq!(anchored().await, expected);
    let why = world.halted(&name(poisoned)).await.expect("it is halted");
    assert!(why.contains("entry 0"), "{why}");
    let status = world.stack.json("status").await;
    let halted = status["tenants"].as_array().unwrap().iter().filter(|it| !it["halted"].is_null());
    assert_eq!(halted.count(), 1);
    // Nobody waited for the hot one's second batch; of more tenants than one step seals, for its last.
    let head = world.chain.head().await.unwrap().number;
    let mut blocks: HashMap<TenantId, Vec<u64>> = HashMap::new();
    for logged in world.chain.events(0, head).await.unwrap() {
        if let Event::Anchored(batch) = logged.event {
            blocks.entry(batch.tenant).or_default().push(logged.block_number);
        }
    }
    let hots = &blocks[&tenants[hot]];
    let limit = hots[if many > MANY { hots.len() - 1 } else { 1 }];
    for n in (0..many).filter(|n| *n != poisoned) {
        let first = blocks[&tenants[n]][0];
        assert!(first <= limit, "{} waited for the hot tenant", name(n));
    }
    let peak = daemon.peak_mb();
    println!("{many} tenants, at most {peak:?} MB resident");
    assert!(peak.is_none_or(|peak| peak <= 100), "{peak:?} MB");
    daemon.stop().await;
}

/// Registers so many tenants, each of which lets our anchorer anchor for it.
async fn register(world: &World, many: usize) -> Vec<TenantId> {
    let sequencer = Sequencer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    let contract = world.chain.contract();
    world.ask("anvil_autoImpersonateAccount", json!([true])).await;
    world.automine(false).await;
    let mut tenants = vec![];
    for n in 0..many {
        let authority = Address::left_padding_from(&(0x0c0f_0000 + n as u64).to_be_bytes());
        let tenant = TenantId::from_authority(authority).unwrap();
        sequencer.add_tenant(&format!("many-{n:05}"), tenant).await.unwrap();
        let anchorer = ANCHORER.parse().unwrap();
        let call = AuditAnchor::setAnchorerCall { tenantId: tenant.as_b256(), anchorer };
        let data = Bytes::from(call.abi_encode());
        world.ask("anvil_setBalance", json!([authority, "0xde0b6b3a7640000"])).await;
        let sent = json!([{ "from": authority, "to": contract, "data": data }]);
        world.ask("eth_sendTransaction", sent).await;
        tenants.push(tenant);
        if tenants.len() % IN_BLOCK == 0 || tenants.len() == many {
            world.mine(1).await;
        }
    }
    world.automine(true).await;
    world.ask("anvil_autoImpersonateAccount", json!([false])).await;
    tenants
}
