//! What one needs off-chain to act for a tenant's SmartAccount.
//!
//! - [`Configuration`]: what an account starts with, which its address commits to.
//! - [`Call`]: what an account is asked to do; [`calls_hash`] is how a verdict names calls.
//! - [`SignedVerdict`]: what the policy says to calls, and the authorisation that is made of it.
//! - [`Operation`]: an agent's calls as an ERC-4337 operation.
//! - [`Account`]: a connection to one account, and [`History`] what its events tell.
//! - [`Role`], [`Stage`], [`Outcome`]: numbers of the contract's interface.

mod call;
mod configuration;
mod connection;
mod history;
mod numbered;
mod operation;
mod verdict;

pub use call::{Call, calls_hash, execute_calldata, execute_directly_calldata};
pub use configuration::{Configuration, ConfigurationError};
pub use connection::{Account, AccountError, execute_proposal_calldata, propose_calldata};
pub use history::{History, Pending, Proposed};
pub use numbered::{Outcome, Role, Stage, Unknown};
pub use operation::{Gas, Operation, nonce, nonce_key};
pub use verdict::{SignedVerdict, capability};
