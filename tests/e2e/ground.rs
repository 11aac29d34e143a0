//! A chain with all contracts on it and keys that can pay, and no database.

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    providers::Provider,
    signers::local::PrivateKeySigner,
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::{
    Chain, Expected, MCPAgentRegistry, PolicyRegistry,
    account::{Account, Configuration},
    deployment::{DEPLOYER, Deployment, SALT, creations},
};
use cofferdam_core::TenantId;
use cofferdam_devnet::{Anvil, AnvilOptions, Toolchain};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use crate::support::{Outcome, program, run, scratch};

/// How long one principal's change waits in the accounts made here, in seconds.
pub(crate) const DELAY: u64 = 3_600;

/// The key that a name stands for.
pub(crate) fn key(name: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(name)).unwrap()
}

/// Its address.
pub(crate) fn address(name: &str) -> Address {
    key(name).address()
}

/// The tenant whose authority is that key.
pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::from_authority(address(name)).unwrap()
}

/// It as the command line takes it on this chain.
pub(crate) fn raw(name: &str) -> String {
    key(name).to_bytes().to_string()
}

/// A chain of its own for one test.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) anvil: Anvil,
    pub(crate) chain: Chain,
    dir: TempDir,
}

impl Ground {
    /// Starts the chain and puts the contracts where they belong.
    pub(crate) async fn start() -> Self {
        // As every main must, before anything speaks HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = scratch();
        let options = AnvilOptions {
            data_dir: dir.path().join("anvil"),
            port: None,
            keep: false,
            args: vec![],
        };
        let anvil = Anvil::start(&Toolchain::find(), &options).await.unwrap();
        deploy(anvil.rpc_url()).await;
        let url = anvil.rpc_url().clone().into();
        let chain = Chain::connect(&url, Expected::default()).await.unwrap();
        Self { anvil, chain, dir }
    }

    /// Gives keys something to pay gas with.
    pub(crate) async fn fund(&self, names: &[&str]) {
        for name in names {
            fund(&self.chain, address(name)).await;
        }
    }

    /// Writes a file of the test's own.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Where a file of the test's own is, or will be.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The program on this chain, without a key.
    pub(crate) fn keyless(&self, command: &str) -> Command {
        let mut program = program();
        program.env("RPC_URL", self.anvil.rpc_url().as_str()).args(command.split_whitespace());
        program
    }

    /// The program on this chain, paying with a key.
    pub(crate) fn cofferdam(&self, payer: &str, command: &str) -> Command {
        let mut program = self.keyless(command);
        program.args(["--private-key", &raw(payer)]);
        program
    }

    /// What a command that needs no key finds out.
    pub(crate) async fn reads(&self, command: &str) -> Value {
        run(self.keyless(command).arg("--json")).await.exits(0).json()
    }

    /// Runs a command with `--json` to success.
    pub(crate) async fn json(&self, payer: &str, command: &str) -> Value {
        run(self.cofferdam(payer, command).arg("--json")).await.exits(0).json()
    }

    /// Runs a command that must be refused, saying all of this, and send nothing.
    pub(crate) async fn refuses(&self, payer: &str, command: &str, said: &[&str]) -> Outcome {
        let before = self.chain.head().await.unwrap();
        let outcome = run(&mut self.cofferdam(payer, command)).await.fails_saying(1, said);
        assert_eq!(self.chain.head().await.unwrap(), before, "something was sent");
        outcome
    }

    /// An account whose principals are the keys of these names, each beginning with `who`.
    pub(crate) async fn account(&self, who: &str) -> TenantId {
        let of = |role: &str| address(&format!("{who} {role}"));
        let configuration = Configuration {
            owner: of("owner"),
            guardian: of("guardian"),
            approvers: vec![of("approver")],
            authorisers: vec![of("authoriser")],
            executors: vec![],
            delay: DELAY as u32,
            native_per_call: Default::default(),
            native_per_day: Default::default(),
            salt: B256::ZERO,
        };
        self.create(&configuration).await
    }

    /// An account of this configuration; its owner, guardian and gates can pay for gas.
    pub(crate) async fn create(&self, configuration: &Configuration) -> TenantId {
        for (holder, _) in configuration.holders() {
            fund(&self.chain, holder).await;
        }
        let payer = key("deployer");
        let factory = Deployment::default().smart_account_factory;
        let calldata = configuration.create_calldata().unwrap();
        Sender::new(self.chain.clone(), payer).send(factory, calldata).await.unwrap();
        let deployment = Deployment::default();
        let account = Account::address_of(&self.chain, &deployment, configuration).await.unwrap();
        TenantId::from_authority(account).unwrap()
    }

    /// Lets time pass.
    pub(crate) async fn wait(&self, seconds: u64) {
        let client = self.chain.provider();
        let _: Value = client.raw_request("evm_increaseTime".into(), [seconds]).await.unwrap();
        let _: Value = client.raw_request("evm_mine".into(), ()).await.unwrap();
    }

    /// The PolicyRegistry.
    pub(crate) fn policies(
        &self,
    ) -> PolicyRegistry::PolicyRegistryInstance<&alloy::providers::RootProvider> {
        PolicyRegistry::new(Deployment::default().policy_registry, self.chain.provider())
    }

    /// The MCPAgentRegistry.
    pub(crate) fn agents(
        &self,
    ) -> MCPAgentRegistry::MCPAgentRegistryInstance<&alloy::providers::RootProvider> {
        MCPAgentRegistry::new(Deployment::default().mcp_agent_registry, self.chain.provider())
    }
}

/// Gives an address something to pay gas with.
pub(crate) async fn fund(chain: &Chain, address: Address) {
    let amount = U256::from(10).pow(U256::from(18));
    let _: Value =
        chain.provider().raw_request("anvil_setBalance".into(), (address, amount)).await.unwrap();
}

/// Puts all contracts but the EntryPoint, which nothing here calls, on a chain that lacks them.
async fn deploy(rpc_url: &Url) {
    let url = rpc_url.clone().into();
    let chain = Chain::connect_undeployed(&url, Expected::default()).await.unwrap();
    fund(&chain, address("deployer")).await;
    let sender = Sender::new(chain.clone(), key("deployer"));
    for (contract, creation) in creations(SALT) {
        if !chain.has_code(contract).await.unwrap() {
            sender.send(DEPLOYER, creation).await.unwrap();
            assert!(chain.has_code(contract).await.unwrap());
        }
    }
}
