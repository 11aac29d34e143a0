//! What can go wrong while mirroring.

use alloy::primitives::B256;
use cofferdam_contracts::ChainError;
use cofferdam_core::mirror::MirrorTable;
use cofferdam_store::StoreError;

use crate::EndpointError;

/// Mirroring failed; nothing of the failed range was written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain refused or could not be reached.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An RPC endpoint refused or could not be reached.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The chain kept changing while a range was read.
    #[error("block {number} changed while its events were read; trying again")]
    Moving {
        /// The block.
        number: u64,
    },
    /// The chain has no block that the mirror and it agree on, not even before the deployment.
    #[error(
        "the chain ends at block {head}, before the contract's block {from}; is this the same chain?"
    )]
    TooShort {
        /// The chain's newest block.
        head: u64,
        /// The block that the contract was deployed in.
        from: u64,
    },
    /// All endpoints stand below the mirror, on the same chain.
    #[error(
        "the chain ends at block {head}, the mirror stands at {mirrored}: the RPC endpoint lags"
    )]
    Lagging {
        /// The newest block that an endpoint has.
        head: u64,
        /// The mirror's.
        mirrored: u64,
    },
    /// The chain changed below what it had called final.
    #[error(
        "block {number} was final with hash {mirrored} and is another now: the chain or the RPC endpoint broke its word; mirroring has stopped, `cofferdam index rebuild` starts it afresh"
    )]
    BelowFinal {
        /// The final block.
        number: u64,
        /// Its hash in the mirror.
        mirrored: B256,
    },
    /// The chain, at all endpoints and for long, lacks what it had called final.
    #[error(
        "the chain ends at block {head}, and block {number} was final: the chain or all RPC endpoints lost blocks; mirroring goes on where they are again, or afresh with `cofferdam index rebuild`"
    )]
    EndsBelowFinal {
        /// The newest block that an endpoint has.
        head: u64,
        /// The final block.
        number: u64,
    },
    /// Events are missing, and no endpoint has them.
    #[error(
        "{}: tenant {tenant} has {found} where {expected} should be next, and no RPC endpoint has what is missing; give another with --fallback-rpc-url",
        table.name()
    )]
    Hole {
        /// Whose events.
        tenant: B256,
        /// Which.
        table: MirrorTable,
        /// The counter of the first that is missing.
        expected: u64,
        /// What the chain, or its next event, has instead.
        found: u64,
    },
}
