//! The generated bindings.

// Generated code: the Solidity interfaces document what these are.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the ABI")]

/// Each in a module of its own: every one brings the types of its interfaces along.
macro_rules! bind {
    ($module:ident, $contract:ident, $($path:tt)+) => {
        pub(crate) mod $module {
            /// What the bindings are made of.
            pub(crate) const ARTIFACT: &str = include_str!(concat!($($path)+));

            alloy::sol!(
                #[sol(rpc, all_derives)]
                $contract,
                concat!($($path)+)
            );
        }
    };
}

bind!(audit_anchor, AuditAnchor, env!("OUT_DIR"), "/forge/AuditAnchor.sol/AuditAnchor.json");
bind!(
    policy_registry,
    PolicyRegistry,
    env!("OUT_DIR"),
    "/forge/PolicyRegistry.sol/PolicyRegistry.json"
);
bind!(
    mcp_agent_registry,
    MCPAgentRegistry,
    env!("OUT_DIR"),
    "/forge/MCPAgentRegistry.sol/MCPAgentRegistry.json"
);
bind!(smart_account, SmartAccount, env!("OUT_DIR"), "/forge/SmartAccount.sol/SmartAccount.json");
bind!(
    smart_account_factory,
    SmartAccountFactory,
    env!("OUT_DIR"),
    "/forge/SmartAccountFactory.sol/SmartAccountFactory.json"
);
bind!(
    entry_point,
    IEntryPoint,
    env!("CARGO_MANIFEST_DIR"),
    "/../../node_modules/@account-abstraction/contracts/artifacts/IEntryPoint.json"
);
