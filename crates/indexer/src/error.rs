//! What can go wrong while mirroring.

use cofferdam_contracts::ChainError;
use cofferdam_store::StoreError;

/// Mirroring failed; nothing of the failed range was written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain refused or could not be reached.
    #[error(transparent)]
    Chain(#[from] ChainError),
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
}
