//! Bindings of the Cofferdam contracts, built from their Solidity sources by forge.
//!
//! - [`AuditAnchor`], [`PolicyRegistry`], [`MCPAgentRegistry`], [`SmartAccount`], [`SmartAccountFactory`] with the
//!   types of their interfaces, and [`IEntryPoint`]: the generated bindings.
//! - [`Chain`]: a connection that has checked that the endpoint answers for the chain it should and
//!   that the contract is there; every read goes through it.
//! - [`deployment`]: where the contracts are, which is the same on every chain (CREATE2).
//! - [`account`]: what one needs off-chain to act for a SmartAccount.
//! - [`LogReader`]: logs as rows of the mirror.
//! - [`Revert`]: why a contract refused, by the error's name, and what to do about it.
//! - [`signing`]: the EIP-712 messages that a tenant or its anchorer signs, plain or nested for an account.

pub mod account;
mod bindings;
mod chain;
mod credentials;
pub mod deployment;
mod error;
mod event;
mod fees;
mod logs;
mod proof;
mod revert;
pub mod signing;

pub use bindings::{
    audit_anchor::{AuditAnchor, IAuditAnchor},
    entry_point::IEntryPoint,
    mcp_agent_registry::{IMCPAgentRegistry, MCPAgentRegistry},
    policy_registry::{IPolicyRegistry, PolicyRegistry},
    smart_account::{ISmartAccount, SmartAccount},
    smart_account_factory::SmartAccountFactory,
};
pub use chain::{Chain, Expected, Header, RpcUrl};
pub use error::ChainError;
pub use event::{Event, Logged};
pub use fees::{GAS_PRICE_ORACLE, Paid};
pub use logs::{LogReader, LogsAnswer, ReadLog, WireError};
pub use revert::Revert;
