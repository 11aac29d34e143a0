//! Where the contracts are: CREATE2 gives the same address on every chain.

use alloy::{
    primitives::{Address, B256, Bytes, address, hex},
    sol_types::SolConstructor,
};

use crate::{AuditAnchor, MCPAgentRegistry, PolicyRegistry, SmartAccountFactory};

mod file;

pub use file::{Deployed, DeploymentError, DeploymentFile};

/// The deterministic deployment proxy that most chains have, Base, Base Sepolia and Anvil among them.
/// Called with `salt ‖ init code`, it creates the contract.
pub const DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// The salt of every Cofferdam contract.
pub const SALT: B256 = B256::ZERO;

/// The EntryPoint v0.8 of ERC-4337, at the address that it has on every chain.
pub const ENTRY_POINT: Address = address!("4337084D9E255Ff0702461CF8895CE9E3b5Ff108");

/// What forge compiled when this was built, and its cache: a run of forge with `FOUNDRY_OUT` and a copy of
/// the cache compiles nothing again.
pub const FORGE_OUT: &str = concat!(env!("OUT_DIR"), "/forge");

/// See [`FORGE_OUT`].
pub const FORGE_CACHE: &str = concat!(env!("OUT_DIR"), "/forge-cache");

/// Where the contracts of one chain are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployment {
    /// The EntryPoint of ERC-4337 that every account belongs to.
    pub entry_point: Address,
    /// AuditAnchor.
    pub audit_anchor: Address,
    /// PolicyRegistry.
    pub policy_registry: Address,
    /// MCPAgentRegistry.
    pub mcp_agent_registry: Address,
    /// SmartAccountFactory.
    pub smart_account_factory: Address,
}

impl Default for Deployment {
    /// Where the deployment script puts them on every chain.
    fn default() -> Self {
        Self::salted(SALT)
    }
}

impl Deployment {
    /// Where they are when created with this salt.
    pub fn salted(salt: B256) -> Self {
        let [audit_anchor, policy_registry, mcp_agent_registry, smart_account_factory] =
            creations(salt).map(|(address, _)| address);
        Self {
            entry_point: ENTRY_POINT,
            audit_anchor,
            policy_registry,
            mcp_agent_registry,
            smart_account_factory,
        }
    }

    /// The code of every account of the factory, and of nothing else that can speak of itself: Solady's
    /// minimal clone of what the factory created first, the one implementation, which lets nobody but the
    /// factory initialize it.
    pub fn account_code(&self) -> Vec<u8> {
        let implementation = self.smart_account_factory.create(1);
        [
            &hex!("3d3d3d3d363d3d37363d73")[..],
            implementation.as_slice(),
            &hex!("5af43d3d93803e602a57fd5bf3"),
        ]
        .concat()
    }
}

/// Each contract's address and what [`DEPLOYER`] is called with to create it there, in an order in which
/// they can be created: AuditAnchor, PolicyRegistry, MCPAgentRegistry, SmartAccountFactory.
pub fn creations(salt: B256) -> [(Address, Bytes); 4] {
    let created = |code: &[u8]| {
        (DEPLOYER.create2_from_code(salt, code), [salt.as_slice(), code].concat().into())
    };
    let audit_anchor = created(&AuditAnchor::BYTECODE);
    let policy_registry = created(&PolicyRegistry::BYTECODE);
    let mcp_agent_registry = created(&MCPAgentRegistry::BYTECODE);
    let arguments = SmartAccountFactory::constructorCall {
        entryPoint: ENTRY_POINT,
        auditAnchor: audit_anchor.0,
        policyRegistry: policy_registry.0,
        agentRegistry: mcp_agent_registry.0,
    }
    .abi_encode();
    let factory = created(&[&SmartAccountFactory::BYTECODE[..], &arguments].concat());
    [audit_anchor, policy_registry, mcp_agent_registry, factory]
}

/// The address of AuditAnchor on every chain it was deployed to from these sources.
pub fn audit_anchor() -> Address {
    DEPLOYER.create2_from_code(SALT, &AuditAnchor::BYTECODE)
}
