//! The key that pays is replaced while a transaction of the one before is under way.

use alloy::{
    primitives::{Address, U256},
    signers::{k256::elliptic_curve::rand_core::OsRng, local::PrivateKeySigner},
};
use cofferdam_store::{Intent, Outcome, Sealer};
use serde_json::json;

use super::{
    costs::{paid, quantity, receipts, until_booked},
    leaders::{ANCHORER, set_anchorer},
    world::{Daemon, TENANTS, World, on_chain},
};
use crate::{
    ground::{address, key},
    support::CHAIN_ID,
};

/// A daemon whose transaction is in the pool, and what it wrote down of that.
async fn under_way(
    world: &mut World,
    sealer: &Sealer,
    (payer, options): (Address, &[String]),
) -> (Daemon, Intent) {
    world.automine(false).await;
    // Before the daemon is there, so that all tenants' are in one transaction.
    world.append(1).await;
    let daemon = start(world, options);
    world.pooled().await;
    let mut all = sealer.unsettled().await.unwrap();
    all.retain(|it| it.sender == payer && it.outcome == Outcome::Open);
    assert_eq!(all.iter().map(|it| it.items).collect::<Vec<_>>(), [3], "{all:?}");
    (daemon, all.remove(0))
}

fn start(world: &mut World, options: &[String]) -> Daemon {
    world.daemon_with(&options.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The options that make a key pay, which has what it takes.
async fn paying(world: &World, name: &str) -> Vec<String> {
    world.ask("anvil_setBalance", json!([address(name), "0xde0b6b3a7640000"])).await;
    let keystore = keystore(world, "", name);
    vec!["--keystore".into(), keystore, "--password-file".into(), password(world)]
}

/// Writes a key's keystore into a folder of the world.
fn keystore(world: &World, folder: &str, name: &str) -> String {
    let folder = world.stack.dir().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let bytes = key(name).to_bytes();
    PrivateKeySigner::encrypt_keystore(&folder, &mut OsRng, bytes, "s3cret", Some(name)).unwrap();
    folder.join(name).display().to_string()
}

fn password(world: &World) -> String {
    world.stack.file("password", "s3cret\n").display().to_string()
}

/// Every tenant's authority names another anchorer.
async fn all_name(world: &World, anchorer: Address) {
    for name in TENANTS {
        set_anchorer(world, name, anchorer).await;
    }
}

/// Who posted each tenant's latest batch.
async fn posters(world: &World) -> [Address; TENANTS.len()] {
    let mut posters = [Address::ZERO; TENANTS.len()];
    for (name, poster) in TENANTS.into_iter().zip(&mut posters) {
        let latest = on_chain(&world.chain, world.stack.tenant(name).await).await.pop().unwrap().0;
        let tx = world.ask("eth_getTransactionByHash", json!([latest.tx_hash])).await;
        *poster = tx["from"].as_str().unwrap().parse().unwrap();
    }
    posters
}

/// Demands that nothing is lost or doubled, and that every transaction of any key is in the books.
async fn is_well(world: &World) {
    world.is_well().await;
    until_booked(world, receipts(world).await.iter().map(paid).sum()).await;
}

async fn sent_by(world: &World, payer: Address) -> U256 {
    quantity(&world.ask("eth_getTransactionCount", json!([payer, "latest"])).await)
}

#[tokio::test]
async fn i8_a_paying_key_that_is_replaced_mid_flight_loses_and_doubles_nothing() {
    let mut world = World::start().await;
    let sealer = Sealer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    let [second, third, fourth, fifth] = ["second", "third", "fourth", "fifth"].map(address);

    // What it sent is dropped by the node: the new key posts it.
    let first = ANCHORER.parse().unwrap();
    let (daemon, lost) = under_way(&mut world, &sealer, (first, &[])).await;
    daemon.kill().await;
    for attempt in &lost.attempts {
        world.ask("anvil_dropTransaction", json!([attempt.hash])).await;
    }
    world.automine(true).await;
    all_name(&world, second).await;
    let pays = paying(&world, "second").await;
    let daemon = start(&mut world, &pays);
    is_well(&world).await;
    assert_eq!(posters(&world).await, [second; 3]);
    // It comes back after all: the contract takes nothing of it, and what it cost is booked.
    world.ask("eth_sendRawTransaction", json!([lost.attempts[0].raw])).await;
    is_well(&world).await;
    assert_eq!(posters(&world).await, [second; 3]);
    daemon.stop().await;

    // What it sent is mined before anybody follows it: the new key has nothing to post.
    let (daemon, _) = under_way(&mut world, &sealer, (second, &pays)).await;
    daemon.stop().await;
    world.automine(true).await;
    world.mine(1).await;
    all_name(&world, third).await;
    let pays = paying(&world, "third").await;
    let daemon = start(&mut world, &pays);
    is_well(&world).await;
    assert_eq!(posters(&world).await, [second; 3]);
    assert_eq!(sent_by(&world, third).await, U256::ZERO);
    daemon.stop().await;

    // The anchorer stays, and only who pays for what it signed is another: both transactions are good, and
    // both come into a block.
    keystore(&world, "anchorers", "third");
    let folder = world.stack.dir().join("anchorers").display().to_string();
    let signs = ["--anchorers", &*folder, "--anchorers-password-file", &*password(&world)];
    let signs = signs.map(String::from);
    let pays = [paying(&world, "fourth").await, signs.to_vec()].concat();
    let (daemon, _) = under_way(&mut world, &sealer, (fourth, &pays)).await;
    daemon.stop().await;
    let pays = [paying(&world, "fifth").await, signs.to_vec()].concat();
    let daemon = start(&mut world, &pays);
    world
        .until("a transaction of either", async || {
            let pool = world.ask("txpool_content", json!([])).await;
            pool["pending"].as_object().unwrap().len() == 2
        })
        .await;
    world.automine(true).await;
    world.mine(1).await;
    is_well(&world).await;
    let sent = [sent_by(&world, fourth).await, sent_by(&world, fifth).await];
    assert_eq!(sent, [U256::from(1); 2]);

    // In the end nothing is waited for any more, whoever sent it.
    world.append(1).await;
    is_well(&world).await;
    assert_eq!(posters(&world).await, [fifth; 3]);
    world.mine(70).await;
    world.until("that all is settled", async || sealer.unsettled().await.unwrap().is_empty()).await;
    daemon.stop().await;
}
