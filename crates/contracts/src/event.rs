//! The contract's events, decoded.

use alloy::{
    primitives::{Address, B256, Log as RawLog},
    rpc::types::Log,
    sol_types::SolEvent,
};
use cofferdam_core::{Batch, BatchIndex, BatchRoot, Seq, TenantId};

use crate::{AuditAnchor, ChainError};

/// An event and where on the chain it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// What happened.
    pub event: Event,
    /// Number of the block.
    pub block_number: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// The transaction.
    pub tx_hash: B256,
    /// Position among all logs of the block.
    pub log_index: u64,
}

/// An event of AuditAnchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A batch was anchored.
    Anchored(Batch),
    /// A tenant's anchorer changed.
    AnchorerSet {
        /// The tenant.
        tenant: TenantId,
        /// The key that may anchor from now on; zero for none.
        anchorer: Address,
        /// The nonce that the change consumed.
        nonce: u64,
    },
    /// An item was left out. Any stranger can cause one with any id, so the id is only what was said.
    Skipped {
        /// Position in the call.
        item: u64,
        /// The id that the item named.
        tenant_id: B256,
        /// The number of the contract's `SkipReason`.
        reason: u8,
    },
}

impl Event {
    /// Decodes a log of the contract.
    pub fn decode(log: &RawLog) -> Result<Self, ChainError> {
        let malformed = |reason: &dyn std::fmt::Display| ChainError::Malformed {
            what: "a log of AuditAnchor",
            reason: reason.to_string(),
        };
        let topic = log.topics().first().copied().unwrap_or_default();
        match topic {
            AuditAnchor::Anchored::SIGNATURE_HASH => {
                let event = AuditAnchor::Anchored::decode_log(log).map_err(|e| malformed(&e))?;
                Ok(Self::Anchored(Batch {
                    tenant: TenantId::try_from(event.tenantId).map_err(|e| malformed(&e))?,
                    index: BatchIndex::from(event.batchIndex),
                    first_seq: Seq::from(event.firstSeq),
                    count: event.count,
                    root: BatchRoot::from(event.root),
                    anchored_at: event.anchoredAt,
                }))
            }
            AuditAnchor::AnchorerSet::SIGNATURE_HASH => {
                let event = AuditAnchor::AnchorerSet::decode_log(log).map_err(|e| malformed(&e))?;
                Ok(Self::AnchorerSet {
                    tenant: TenantId::try_from(event.tenantId).map_err(|e| malformed(&e))?,
                    anchorer: event.anchorer,
                    nonce: event.nonce,
                })
            }
            AuditAnchor::Skipped::SIGNATURE_HASH => {
                let event = AuditAnchor::Skipped::decode_log(log).map_err(|e| malformed(&e))?;
                Ok(Self::Skipped {
                    item: event.item.saturating_to(),
                    tenant_id: event.tenantId,
                    reason: event.reason,
                })
            }
            topic => Err(malformed(&format_args!("unknown topic {topic}"))),
        }
    }
}

impl TryFrom<&Log> for Logged {
    type Error = ChainError;

    fn try_from(log: &Log) -> Result<Self, ChainError> {
        let missing = |reason: &str| ChainError::Malformed {
            what: "a log of AuditAnchor",
            reason: format!("it has no {reason}"),
        };
        Ok(Self {
            event: Event::decode(&log.inner)?,
            block_number: log.block_number.ok_or_else(|| missing("block number"))?,
            block_hash: log.block_hash.ok_or_else(|| missing("block hash"))?,
            tx_hash: log.transaction_hash.ok_or_else(|| missing("transaction hash"))?,
            log_index: log.log_index.ok_or_else(|| missing("log index"))?,
        })
    }
}
