//! Bindings of the Cofferdam contracts, built from their Solidity sources by forge.
//!
//! - [`AuditAnchor`] and the types of [`IAuditAnchor`]: the generated bindings.
//! - [`Chain`]: a connection that has checked that the endpoint answers for the chain it should and
//!   that the contract is there; every read goes through it.
//! - [`deployment`]: where the contracts are, which is the same on every chain (CREATE2).
//! - [`signing`]: the EIP-712 messages that a tenant or its anchorer signs.

mod audit_anchor;
mod chain;
pub mod deployment;
mod error;
mod event;
pub mod signing;

pub use audit_anchor::{AuditAnchor, IAuditAnchor};
pub use chain::{Chain, Expected, Header, RpcUrl};
pub use error::ChainError;
pub use event::{Event, Logged};
