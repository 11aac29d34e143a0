//! What can go wrong between an entry and its anchor.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use cofferdam_contracts::ChainError;
use cofferdam_core::{Seq, TenantId};
use cofferdam_store::{Leader, StoreError};

/// Sealing or anchoring failed.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The database refused or could not be reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The chain refused or could not be reached.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An entry is not what was acknowledged.
    #[error(
        "tenant {tenant} is halted: its entry {seq} was changed after it was acknowledged ({fault}); run `cofferdam verify --tenant {tenant}`"
    )]
    Tampered {
        /// The tenant.
        tenant: TenantId,
        /// The entry.
        seq: Seq,
        /// What does not fit.
        fault: String,
    },
    /// Entries that the head counts are not there.
    #[error("tenant {tenant} is halted: entry {seq} is missing from the database")]
    Missing {
        /// The tenant.
        tenant: TenantId,
        /// The first missing entry.
        seq: Seq,
    },
    /// The tree that was built does not prove its own leaves.
    #[error(
        "tenant {tenant}: the batch from entry {first} goes nowhere, since a proof of it does not hold; this machine computes wrongly"
    )]
    NoProof {
        /// The tenant.
        tenant: TenantId,
        /// The first entry of the batch.
        first: Seq,
    },
    /// The key could not sign.
    #[error("cannot sign a transaction: {0}")]
    Signer(String),
    /// An anchorer's key could not sign a batch.
    #[error("tenant {tenant}: its anchorer {anchorer} cannot sign: {why}")]
    Anchorer {
        /// The tenant.
        tenant: TenantId,
        /// The key's address.
        anchorer: Address,
        /// What it said.
        why: String,
    },
    /// The transaction was mined and reverted.
    #[error("transaction {0} reverted; nothing was changed on the chain")]
    Reverted(B256),
    /// Another daemon leads this database.
    #[error(
        "{:?} leads this database (epoch {}) and does the anchoring; its lease runs out {} s after it stops",
        leader.holder, leader.epoch, leader.remaining.as_secs() + 1
    )]
    NotLeading {
        /// Which one.
        leader: Leader,
    },
    /// Something that only somebody outside can give.
    #[error("cannot go on: {0}")]
    Waiting(String),
    /// The endpoint answers for another chain than it did, or the contract's code changed.
    #[error("everything is halted: {0}")]
    OtherChain(String),
    /// None of the transaction's hashes was mined in time.
    #[error("transaction {tx} was not mined within {} s; it may still be, and the next round sees it if so", after.as_secs())]
    NotMined {
        /// The last hash that was sent.
        tx: B256,
        /// How long was waited.
        after: Duration,
    },
    /// A single batch does not fit into a transaction.
    #[error("one batch needs {gas} gas, more than a transaction may use ({limit})")]
    TooMuchGas {
        /// What it needs.
        gas: u64,
        /// What there is.
        limit: u64,
    },
}

impl AnchorError {
    /// Whether it is no one tenant's trouble: the database is away, or another daemon leads.
    pub(crate) fn concerns_all(&self) -> bool {
        matches!(self, Self::Store(error)
            if error.is_transient() || matches!(error, StoreError::Deposed { .. }))
    }
}
