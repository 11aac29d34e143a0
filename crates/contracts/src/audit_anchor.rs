//! The generated binding of AuditAnchor.

// Generated code: the Solidity interface documents what these are.
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the ABI")]

alloy::sol!(
    #[sol(rpc)]
    #[derive(Debug, PartialEq, Eq)]
    AuditAnchor,
    concat!(env!("OUT_DIR"), "/forge/AuditAnchor.sol/AuditAnchor.json")
);
