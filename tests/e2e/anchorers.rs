//! A tenant's own key signs what is anchored for it, and the daemon's key posts it and pays.

use std::{collections::BTreeSet, time::Duration};

use alloy::{
    primitives::{Address, Bytes, U256, hex},
    signers::{k256::elliptic_curve::rand_core::OsRng, local::PrivateKeySigner},
    sol_types::SolCall,
};
use cofferdam_anchorer::{Anchorers, Sender};
use cofferdam_contracts::AuditAnchor;
use cofferdam_core::FieldName;
use cofferdam_store::{NewEntry, SealedBatch};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    ground::{address, key, raw, tenant},
    submitted::World,
    support::{LIMIT, run},
};

/// The call by which a tenant names the key that may anchor for it.
fn naming(name: &str, anchorer: Address) -> Bytes {
    let tenant = tenant(name).as_b256();
    AuditAnchor::setAnchorerCall { tenantId: tenant, anchorer }.abi_encode().into()
}

async fn name(world: &World, of: &str, anchorer: &str) {
    let sender = Sender::new(world.ground.chain.clone(), key(of));
    sender.send(world.ground.chain.contract(), naming(of, address(anchorer))).await.unwrap();
}

async fn append(world: &World, name: &str, id: &str) {
    let fields = [
        (FieldName::ExternalId, id.to_owned()),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.000000Z".to_owned()),
        (FieldName::Payload, "{}".to_owned()),
    ];
    let entry = NewEntry::new(fields).unwrap();
    world.sequencer.appender().append(tenant(name), vec![entry]).await.unwrap();
}

async fn batches(world: &World, name: &str) -> Vec<SealedBatch> {
    world.sealer.tenant(tenant(name)).await.unwrap().batches().await.unwrap()
}

/// Waits until so many batches of a tenant are anchored.
async fn until_anchored(world: &World, name: &str, count: usize) {
    let waiting = async {
        loop {
            let batches = batches(world, name).await;
            if batches.iter().filter(|batch| batch.anchored.is_some()).count() == count {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{name} has not {count}"));
}

/// The function that anchored each batch of a tenant. All were posted by the daemon's key.
async fn functions(world: &World, name: &str) -> Vec<[u8; 4]> {
    let mut functions = vec![];
    for batch in batches(world, name).await {
        let hash = batch.anchored.unwrap().position.tx_hash;
        let tx = world.ask("eth_getTransactionByHash", [hash]).await;
        assert_eq!(tx["from"].as_str().unwrap().parse(), Ok(address("daemon")));
        let input = hex::decode(tx["input"].as_str().unwrap()).unwrap();
        functions.push(input[..4].try_into().unwrap());
    }
    functions
}

#[tokio::test]
async fn each_tenants_key_signs_its_batches_and_one_key_pays() {
    const SIGNED: [u8; 4] = AuditAnchor::anchorSignedCall::SELECTOR;
    const MANY: [u8; 4] = AuditAnchor::anchorManyCall::SELECTOR;
    let names = ["acme", "globex", "initech"];
    let world = World::with(&names).await;
    for (of, anchorer) in [("acme", "acme's"), ("globex", "globex's"), ("initech", "daemon")] {
        name(&world, of, anchorer).await;
        append(&world, of, "1").await;
    }
    let keys = || Anchorers::new([key("acme's"), key("globex's"), key("another")]);
    let daemon = world.daemon_signing(keys()).await;
    for of in names {
        until_anchored(&world, of, 1).await;
    }
    assert_eq!(functions(&world, "acme").await, [SIGNED]);
    assert_eq!(functions(&world, "initech").await, [MANY]);
    // In one transaction, whoever signed.
    let both = [batches(&world, "acme").await, batches(&world, "globex").await].concat();
    let both: BTreeSet<_> = both.iter().map(|it| it.anchored.unwrap().position.tx_hash).collect();
    assert_eq!(both.len(), 1);

    // The tenant names another key while its batch is under way: that one signs it anew.
    world.ask("evm_setAutomine", [false]).await;
    append(&world, "acme", "2").await;
    let open = async || {
        let intents = world.sealer.unsettled().await.unwrap();
        intents.iter().any(|it| it.outcome == cofferdam_store::Outcome::Open)
    };
    while !open().await {
        sleep(Duration::from_millis(20)).await;
    }
    let (to, tip) = (world.ground.chain.contract(), U256::from(20_000_000_000_u64));
    world.ask("anvil_impersonateAccount", [address("acme")]).await;
    let rotation = json!([{
        "from": address("acme"), "to": to, "input": naming("acme", address("another")),
        "gas": "0x30d40", "maxFeePerGas": tip * U256::from(2), "maxPriorityFeePerGas": tip,
    }]);
    world.ask("eth_sendTransaction", rotation).await;
    world.ask("evm_mine", [(); 0]).await;
    world.ask("evm_setAutomine", [true]).await;
    world.ask("evm_mine", [(); 0]).await;
    until_anchored(&world, "acme", 2).await;
    assert_eq!(functions(&world, "acme").await, [SIGNED, SIGNED]);

    // A key that is not here: that tenant waits, the others do not.
    name(&world, "globex", "nobody's").await;
    append(&world, "globex", "2").await;
    append(&world, "initech", "2").await;
    until_anchored(&world, "initech", 2).await;
    assert_eq!(batches(&world, "globex").await[1].anchored, None);
    daemon.end().await;
    name(&world, "globex", "globex's").await;
    let daemon = world.daemon_signing(keys()).await;
    until_anchored(&world, "globex", 2).await;
    daemon.end().await;
    let all = world.sealer.incidents(10).await.unwrap();
    assert_eq!(all, []);

    // From a folder of keystores, as an operator has them.
    append(&world, "acme", "3").await;
    let (folder, password) = (world.ground.path("anchorers"), world.ground.file("pw", "s3cret\n"));
    std::fs::create_dir(&folder).unwrap();
    let bytes = key("another").to_bytes();
    PrivateKeySigner::encrypt_keystore(&folder, &mut OsRng, bytes, "s3cret", Some("acme")).unwrap();
    let anchor = format!("anchor --once --anchorers {folder} --anchorers-password-file {password}");
    let mut anchor = world.ground.cofferdam("daemon", &anchor);
    anchor.arg("--json");
    anchor.env("DATABASE_URL", world.database.runtime_url.as_str());
    let round: Value = run(&mut anchor).await.exits(0).json();
    assert_eq!(round["anchored"], 1, "{round}");
    let mut without = world.ground.keyless("anchor --once --anchorers /nowhere");
    let without = run(without.args(["--private-key", &raw("daemon")])).await;
    without.fails_saying(2, &["--anchorers-password-file"]);
}
