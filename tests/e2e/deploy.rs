//! The deployment script puts the contract where everything else looks for it.

use alloy::providers::Provider;
use cofferdam_contracts::{Chain, Expected, deployment};
use cofferdam_devnet::Toolchain;
use tokio::process::Command;

use crate::support::{Stack, run};

#[tokio::test]
async fn forge_deploys_to_the_one_address_however_often_it_is_run() {
    let stack = Stack::start().await;
    let url = stack.anvil.rpc_url().clone().into();
    let before = Chain::connect(&url, Expected::default()).await.unwrap_err().to_string();
    let address = deployment::audit_anchor();
    assert!(before.contains(&address.to_string()), "{before}");

    let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let forge = Toolchain::find().foundry("forge").unwrap();
    let deploy = || {
        let mut command = Command::new(&forge);
        command
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .args(["script", "script/Deploy.s.sol", "--broadcast", "--private-key", key])
            .args(["--rpc-url", stack.anvil.rpc_url().as_str()])
            .args(["--skip", "contracts/test/**"])
            // Whatever else is being built there at this moment.
            .env("FOUNDRY_OUT", stack.dir().join("out"))
            .env("FOUNDRY_CACHE_PATH", stack.dir().join("cache"))
            .env("FOUNDRY_BROADCAST", stack.dir().join("broadcast"))
            .kill_on_drop(true);
        command
    };
    let said = run(&mut deploy()).await.exits(0).stdout;
    assert!(said.contains(&format!("AuditAnchor deployed at {address}")), "{said}");
    let chain = Chain::connect(&url, Expected::default()).await.unwrap();
    assert_eq!(chain.contract(), address);
    // What it found out about itself when it was created is right.
    let domain = chain.binding().eip712Domain().call().await.unwrap();
    assert_eq!((domain.chainId.to::<u64>(), domain.verifyingContract), (31_337, address));

    let nonce = || async {
        let sender = alloy::primitives::address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        chain.provider().get_transaction_count(sender).await.unwrap()
    };
    let sent = nonce().await;
    let said = run(&mut deploy()).await.exits(0).stdout;
    assert!(said.contains(&format!("AuditAnchor is already at {address}")), "{said}");
    assert_eq!(nonce().await, sent, "the second run sent something");
}
