//! The devnet's tenants are smart accounts, whose people's keys are at hand.

use std::{collections::BTreeMap, fs};

use alloy::{primitives::Address, providers::Provider, signers::local::PrivateKeySigner};
use cofferdam_contracts::{
    account::{Account, Configuration, Role},
    deployment::Deployment,
};

use crate::support::{Stack, environment, record, records, run};

const ROLES: [Role; 5] =
    [Role::Owner, Role::Approver, Role::Authoriser, Role::Executor, Role::Guardian];

#[tokio::test]
async fn a_tenant_is_an_account_and_every_role_has_its_key() {
    let stack = Stack::with(&(records("acme", 0..1) + &records("globex", 0..1))).await;
    stack.json("tenant add initech").await;
    let chain = stack.chain().await;
    let environment = environment(&stack.data());
    let password = fs::read_to_string(&environment["COFFERDAM_PASSWORD_FILE"]).unwrap();
    let payer = stack.data().join("keys");
    let mut all: BTreeMap<Address, String> = BTreeMap::new();
    for name in ["acme", "globex", "initech"] {
        let tenant = stack.tenant(name).await;
        let address = tenant.authority();
        let folder = payer.join(format!("{address:#x}"));
        let account = Account::connect(chain.clone(), Deployment::default(), address).await;
        let account = account.unwrap();
        for role in ROLES {
            let key = PrivateKeySigner::decrypt_keystore(
                folder.join(format!("{role}.json")),
                password.trim(),
            );
            let holder = key.unwrap().address();
            let word = account.binding().roleOf(holder).call().await.unwrap();
            assert_eq!(Role::try_from(word.role), Ok(role), "{name}");
            assert_eq!(all.insert(holder, format!("{name}'s {role}")), None);
            let balance = chain.provider().get_balance(holder).await.unwrap();
            assert!(!balance.is_zero(), "the {role} of {name} cannot pay for a transaction");
        }
        // What it takes to have the account on another chain.
        let text = fs::read(folder.join("account.json")).unwrap();
        let configuration: Configuration = serde_json::from_slice(&text).unwrap();
        let again = Account::address_of(&chain, &Deployment::default(), &configuration).await;
        assert_eq!(again.unwrap(), address);
        // The account itself let the devnet's key anchor: it has no other authority.
        let head = chain.heads(&[tenant]).await.unwrap()[0].clone();
        assert_eq!(chain.nonce_of(tenant).await.unwrap(), 1);
        let keystore = format!("{:#x}.json", head.anchorer);
        assert!(environment["COFFERDAM_KEYSTORE"].ends_with(&keystore), "{keystore}");
    }
}

/// What is cut off between the operator's table and the chain is taken up again.
#[tokio::test]
async fn an_account_that_was_not_created_is_created_by_the_next_run() {
    let stack = Stack::with(&records("acme", 0..1)).await;
    let before = stack.tenant("acme").await;
    // As if nothing of it had reached the chain: a chain that was started afresh.
    let fresh = Stack::start().await;
    let mut add = stack.cofferdam("tenant add acme --json");
    let deployed = run(&mut fresh.devnet()).await.exits(0);
    drop(deployed);
    add.env("RPC_URL", fresh.anvil.rpc_url().as_str());
    let said = run(&mut add).await.exits(0).json();
    assert_eq!(said["added"], false);
    assert_eq!(said["tenantId"], before.to_string());
    let chain = fresh.chain().await;
    assert!(chain.has_code(before.authority()).await.unwrap());
    assert!(!chain.heads(&[before]).await.unwrap()[0].anchorer.is_zero());
}

/// As tenants were in data directories of earlier versions.
#[tokio::test]
async fn a_tenant_that_is_a_plain_key_keeps_working_once_it_has_an_anchorer() {
    let stack = Stack::with(&records("acme", 0..1)).await;
    let key = PrivateKeySigner::random();
    let add = format!("tenant add old --authority {}", key.address());
    let needed = stack.json(&add).await["authorisation"].clone();

    // Nobody here can sign for it: that is said, with what to do.
    let log = stack.file("old.ndjson", record("old", 0));
    let append = || {
        let mut append = stack.cofferdam("append --register --json");
        append.arg(&log);
        append
    };
    let address = key.address().to_string();
    let said = ["\"old\"", &*address, "--authority", "--data-dir"];
    run(&mut append()).await.fails_saying(1, &said);

    use alloy::{dyn_abi::TypedData, signers::SignerSync};
    let message: TypedData = serde_json::from_value(needed["typedData"].clone()).unwrap();
    let digest = message.eip712_signing_hash().unwrap();
    let signature = alloy::primitives::Bytes::from(key.sign_hash_sync(&digest).unwrap().as_bytes());
    let authorise =
        format!("tenant authorise old --deadline {} --signature {signature}", needed["deadline"]);
    stack.json(&authorise).await;
    assert_eq!(run(&mut append()).await.exits(0).json()["appended"], 1);
    stack.anchor().await;
    let verdict = stack.json("verify").await;
    assert_eq!([&verdict["verified"], &verdict["failed"]], [2, 0]);
}
