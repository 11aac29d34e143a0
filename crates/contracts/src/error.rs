//! What can go wrong between us and the chain.

use alloy::primitives::Address;

use crate::Revert;

/// The chain could not be reached, or is not the one it should be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChainError {
    /// The RPC URL cannot be used.
    #[error("the RPC URL is not usable: {reason}; expected {}:// or {}://", .schemes[0], .schemes[1])]
    BadUrl {
        /// What is wrong with it, without the URL itself: it may hold a key.
        reason: String,
        /// What it may begin with.
        schemes: [&'static str; 2],
    },
    /// A request failed or was answered with an error.
    #[error("{what}: {reason} (RPC endpoint {endpoint})")]
    Rpc {
        /// What was asked.
        what: &'static str,
        /// The endpoint, without path, query and credentials.
        endpoint: String,
        /// The transport's or the node's own words, without the URL.
        reason: String,
    },
    /// The endpoint serves nobody who asks with this URL: a key is wrong, or the path.
    #[error("{what}: {reason} (RPC endpoint {endpoint}); check the key and the path in --rpc-url")]
    Denied {
        /// What was asked.
        what: &'static str,
        /// The endpoint, without path, query and credentials.
        endpoint: String,
        /// Its own words, without the URL.
        reason: String,
    },
    /// A contract refused what was asked of it.
    #[error("{what}: {revert}{}", .revert.advice().map(|advice| format!("; {advice}")).unwrap_or_default())]
    Reverted {
        /// What was asked.
        what: &'static str,
        /// Why not.
        revert: Box<Revert>,
    },
    /// The endpoint serves another chain.
    #[error(
        "the RPC endpoint {endpoint} serves chain {actual}, not chain {expected}; check --rpc-url and --chain-id"
    )]
    WrongChain {
        /// The endpoint.
        endpoint: String,
        /// The chain that was asked for.
        expected: u64,
        /// The chain that answered.
        actual: u64,
    },
    /// Nothing is deployed at the contract's address.
    #[error(
        "there is no contract at {contract} on chain {chain_id}; check --contract and --deployment, or deploy with `forge script script/Deploy.s.sol`"
    )]
    NoCode {
        /// The address.
        contract: Address,
        /// The chain.
        chain_id: u64,
    },
    /// The node answered something that cannot be.
    #[error("the RPC endpoint sent {what} that cannot be read: {reason}")]
    Malformed {
        /// What it was.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}
