//! The deployment script puts the contracts where everything else looks for them, on every chain, and
//! writes down what is where.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::{primitives::address, providers::Provider};
use cofferdam_contracts::{
    Chain, Expected,
    deployment::{Deployment, DeploymentFile, FORGE_CACHE, FORGE_OUT},
};
use cofferdam_devnet::Toolchain;
use tokio::process::Command;

use crate::{
    shared::Shared,
    support::{Outcome, Stack, program, record, records, run},
};

/// The project, where forge runs and where the script may write.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// A local chain that stands for one that foundry.toml names.
struct Rehearsal {
    stack: Stack,
    name: &'static str,
    chain: Chain,
    /// Relative to the project.
    file: PathBuf,
}

impl Rehearsal {
    async fn new(name: &'static str, chain_id: u64) -> Self {
        let stack = Stack::start().await;
        let url = stack.anvil.rpc_url().clone().into();
        let chain = Chain::connect_undeployed(&url, Expected::default()).await.unwrap();
        let set = chain.provider().raw_request::<_, ()>("anvil_setChainId".into(), (chain_id,));
        set.await.unwrap();
        let chain = Chain::connect_undeployed(&url, Expected::default()).await.unwrap();
        assert_eq!(chain.chain_id(), chain_id);
        // Other tests run in this process, so its id alone would not tell them apart.
        let port = stack.anvil.rpc_url().port().unwrap();
        let file = format!("target/deployments/e2e-{}-{port}.json", std::process::id());
        Self { stack, name, chain, file: file.into() }
    }

    /// Runs the script as the README says, by the chain's name.
    async fn deploy(&self) -> Outcome {
        let key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let cache = self.stack.dir().join("cache");
        fs::create_dir_all(&cache).unwrap();
        let compiled = PathBuf::from(FORGE_CACHE).join("solidity-files-cache.json");
        fs::copy(compiled, cache.join("solidity-files-cache.json")).unwrap();
        let endpoint = format!("{{{}=\"{}\"}}", self.name, self.stack.anvil.rpc_url());
        let mut command = Command::new(Toolchain::find().foundry("forge").unwrap());
        command
            .current_dir(PROJECT)
            .args(["script", "script/Deploy.s.sol", "--broadcast", "--private-key", key])
            .args(["--rpc-url", self.name, "--skip", "contracts/test/**"])
            .env("FOUNDRY_RPC_ENDPOINTS", endpoint)
            .env("FOUNDRY_OUT", FORGE_OUT)
            .env("FOUNDRY_CACHE_PATH", cache)
            .env("FOUNDRY_BROADCAST", self.stack.dir().join("broadcast"))
            .env("COFFERDAM_DEPLOYMENT", &self.file)
            .kill_on_drop(true);
        run(&mut command).await.exits(0)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(PROJECT).join(&self.file)
    }

    fn file(&self) -> DeploymentFile {
        DeploymentFile::read(&self.path()).unwrap()
    }

    /// How many transactions the payer has sent.
    async fn sent(&self) -> u64 {
        let payer = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        self.chain.provider().get_transaction_count(payer).await.unwrap()
    }
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

#[tokio::test]
async fn forge_deploys_to_the_same_addresses_on_every_chain_however_often_it_is_run() {
    let chains = [("anvil", 31_337), ("base_sepolia", 84_532), ("base", 8_453)];
    let mut rehearsals = vec![];
    for (name, chain_id) in chains {
        let rehearsal = Rehearsal::new(name, chain_id).await;
        let url = rehearsal.chain.url().clone();
        let before = Chain::connect(&url, Expected::default()).await.unwrap_err().to_string();
        let address = Deployment::default().audit_anchor;
        assert!(before.contains(&address.to_string()), "{before}");

        let said = rehearsal.deploy().await.stdout;
        assert!(said.contains(&format!("AuditAnchor deployed at {address}")), "{said}");
        let file = rehearsal.file();
        assert_eq!((file.chain_id(), file.addresses()), (chain_id, Deployment::default()));
        file.check(&rehearsal.chain).await.unwrap();
        // What they found out about themselves when they were created is right.
        let chain = Chain::connect(&url, Expected::default()).await.unwrap();
        let domain = chain.binding().eip712Domain().call().await.unwrap();
        assert_eq!((domain.chainId.to(), domain.verifyingContract), (chain_id, address));

        let (sent, text) = (rehearsal.sent().await, fs::read(rehearsal.path()).unwrap());
        assert_eq!(sent, 5);
        let said = rehearsal.deploy().await.stdout;
        assert!(said.contains(&format!("AuditAnchor is already at {address}")), "{said}");
        assert_eq!(rehearsal.sent().await, sent, "the second run sent something");
        assert_eq!(fs::read(rehearsal.path()).unwrap(), text);
        rehearsals.push(rehearsal);
    }

    // The addresses are the same, and so is one chain's file worth nothing on another.
    for (here, there) in [(0, 1), (1, 2), (2, 0)] {
        let (here, there) = (&rehearsals[here], &rehearsals[there]);
        let error = here.file().check(&there.chain).await.unwrap_err().to_string();
        for said in [here.chain.chain_id(), there.chain.chain_id()] {
            assert!(error.contains(&said.to_string()), "{error}");
        }
    }
}

#[tokio::test]
async fn since_when_what_was_there_has_been_there_is_not_guessed() {
    let rehearsal = Rehearsal::new("anvil", 31_337).await;
    let mine = rehearsal.chain.provider().raw_request::<_, ()>("anvil_mine".into(), (7,));
    mine.await.unwrap();
    rehearsal.deploy().await;
    assert_eq!(rehearsal.file().from_block(), Some(7));
    // An earlier run's file knows; without it, nobody does.
    rehearsal.deploy().await;
    assert_eq!(rehearsal.file().from_block(), Some(7));
    fs::remove_file(rehearsal.path()).unwrap();
    rehearsal.deploy().await;
    assert_eq!(rehearsal.file().from_block(), None);
}

#[tokio::test]
async fn the_devnet_deploys_once() {
    let stack = Stack::with(&records("acme", 0..1)).await;
    let file = stack.data().join("deployment.json");
    let before = DeploymentFile::read(&file).unwrap();
    assert_eq!(before.addresses(), Deployment::default());
    before.check(&stack.chain().await).await.unwrap();

    // All is there: the script is not even run.
    fs::remove_dir_all(stack.data().join("forge")).unwrap();
    run(&mut stack.devnet()).await.exits(0);
    assert!(!stack.data().join("forge").exists(), "the script was run");
    // It is, when the file is lost.
    fs::remove_file(&file).unwrap();
    run(&mut stack.devnet()).await.exits(0);
    let after = DeploymentFile::read(&file).unwrap();
    assert_eq!((after.addresses(), after.from_block()), (before.addresses(), None));
}

#[tokio::test]
async fn a_deployment_file_that_says_something_else_than_the_chain() {
    let shared = Shared::get().await;
    let told = fs::read_to_string(shared.stack.data().join("deployment.json")).unwrap();
    let audit_anchor = told.split("auditAnchor").nth(1).unwrap();
    let hash = audit_anchor.split('"').nth(8).unwrap();
    let other = format!("0x{}", "5".repeat(64));
    let nowhere = "0x00000000000000000000000000000000DeaDBeef";
    let address = Deployment::default().policy_registry.to_string();
    for (name, from, to, code, said) in [
        ("chain", "\"chainId\": 31337", "\"chainId\": 8453", 1, &["8453", "31337"][..]),
        ("code", hash, &*other, 1, &["auditAnchor", &*other, hash]),
        ("nowhere", &*address, nowhere, 1, &["policyRegistry", nowhere, "none"]),
        ("field", "\"auditAnchor\"", "\"auditAncor\"", 2, &["auditAnchor is missing"]),
        ("extra", "\"chainId\"", "\"owner\": 1, \"chainId\"", 2, &["owner is no field"]),
    ] {
        let changed = told.replacen(from, to, 1);
        assert_ne!(changed, told, "{name}");
        let path = shared.stack.file(&format!("{name}.json"), changed);
        let said = [said, &[path.to_str().unwrap()]].concat();
        for command in ["status", "append --register"] {
            let mut command_line = shared.stack.cofferdam(command);
            if command.starts_with("append") {
                command_line.arg(shared.stack.file("log.ndjson", record("new", 0)));
            }
            command_line.arg("--deployment").arg(&path);
            shared.refuses_with(code, &mut command_line, &said).await;
        }
    }
}

#[tokio::test]
async fn a_deployment_file_says_what_an_auditor_trusts() {
    let shared = Shared::get().await;
    let receipt = shared.stack.dir().join("trusted.json");
    let mut ask = shared.stack.cofferdam("receipt --tenant acme --seq 0 --out");
    run(ask.arg(&receipt)).await.exits(0);
    let verify = |file: &Path| {
        let mut verify = program();
        verify.args(["verify", "--json"]).arg(&receipt).arg("--deployment").arg(file);
        verify.env("RPC_URL", shared.stack.anvil.rpc_url().as_str());
        verify
    };
    let file = shared.stack.data().join("deployment.json");
    run(&mut verify(&file)).await.exits(0);
    let hash = DeploymentFile::read(&file).unwrap().audit_anchor().code_hash.to_string();
    let told = fs::read_to_string(&file).unwrap();
    let other = told.replace(&hash, &format!("0x{}", "5".repeat(64)));
    let other = shared.stack.file("untrusted.json", other);
    run(&mut verify(&other)).await.fails_saying(1, &[&hash, "codeHash"]);
}
