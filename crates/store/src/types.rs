//! What the store hands out and takes in.

use std::time::{Duration, SystemTime};

use alloy_primitives::{Address, B256};
use cofferdam_core::{Batch, BatchIndex, BatchRoot, EntryHash, Seq, TenantId};

/// Which contract a chain's tenants are anchored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The `AuditAnchor`.
    pub contract: Address,
    /// keccak256 of its code.
    pub code_hash: B256,
    /// The block to mirror from.
    pub from_block: u64,
}

/// One row of the operator's table: an external name for a tenant id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The id.
    pub id: TenantId,
    /// The name.
    pub name: String,
    /// When its entries become a batch.
    pub seal: SealSettings,
}

/// When a tenant's entries become a batch: as soon as one of the three is reached. The first two are
/// also the most that one batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealPolicy {
    /// This many entries.
    pub max_entries: u64,
    /// This many bytes of field values; an entry that is larger alone is a batch alone.
    pub max_bytes: u64,
    /// The oldest of them is this old.
    pub max_age: Duration,
}

impl Default for SealPolicy {
    fn default() -> Self {
        Self { max_entries: 65_536, max_bytes: 1 << 30, max_age: Duration::from_secs(60) }
    }
}

/// What a tenant has instead of the daemon's [`SealPolicy`]; whatever is `None` is the daemon's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealSettings {
    /// Entries: 1 to 1,000,000.
    pub entries: Option<u64>,
    /// Bytes of field values, at least 1.
    pub bytes: Option<u64>,
    /// Age of the oldest entry, in whole seconds, at most a year.
    pub age: Option<Duration>,
}

impl SealSettings {
    /// The policy that results from the daemon's.
    pub fn over(&self, daemon: &SealPolicy) -> SealPolicy {
        SealPolicy {
            max_entries: self.entries.unwrap_or(daemon.max_entries),
            max_bytes: self.bytes.unwrap_or(daemon.max_bytes),
            max_age: self.age.unwrap_or(daemon.max_age),
        }
    }
}

/// Where a tenant's chain ends and how far it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: String,
    /// The seq of the next entry, so the number of entries.
    pub next_seq: Seq,
    /// The hash of the last entry; zero before the first.
    pub last_entry_hash: EntryHash,
    /// The first entry that is in no batch yet.
    pub sealed_seq: Seq,
    /// The index of the next batch, so the number of batches.
    pub sealed_batches: BatchIndex,
    /// When the oldest unsealed entry was appended.
    pub oldest_unsealed_at: Option<SystemTime>,
    /// The bytes of the values of the entries that are in no batch yet.
    pub unsealed_bytes: u64,
    /// When its entries become a batch.
    pub seal: SealSettings,
    /// Why nothing more is sealed, if so.
    pub halted: Option<String>,
}

impl Head {
    /// The number of entries that are in no batch yet.
    pub fn unsealed(&self) -> u64 {
        self.next_seq.get().saturating_sub(self.sealed_seq.get())
    }
}

/// Where a log stands on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// The block.
    pub block_number: u64,
    /// Its hash.
    pub block_hash: B256,
    /// The transaction.
    pub tx_hash: B256,
    /// The log's index in the block.
    pub log_index: u64,
}

/// A batch the daemon sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// The tenant.
    pub tenant: TenantId,
    /// Which batch.
    pub index: BatchIndex,
    /// Its first entry.
    pub first_seq: Seq,
    /// Its entries.
    pub count: u64,
    /// The root of their tree.
    pub root: BatchRoot,
    /// When it was sealed.
    pub sealed_at: SystemTime,
    /// Where the chain has it, once that is mirrored.
    pub anchored: Option<AnchoredAt>,
}

/// Where and when a batch was anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchoredAt {
    /// The block's timestamp, in Unix seconds.
    pub anchored_at: u64,
    /// The event.
    pub position: LogPosition,
}

/// A mirrored `Anchored` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchoredEvent {
    /// The tenant.
    pub tenant: TenantId,
    /// Which batch.
    pub index: BatchIndex,
    /// Its first entry.
    pub first_seq: Seq,
    /// Its entries.
    pub count: u64,
    /// The root of their tree.
    pub root: BatchRoot,
    /// The block's timestamp, in Unix seconds.
    pub anchored_at: u64,
    /// Where it stands on the chain.
    pub position: LogPosition,
}

impl AnchoredEvent {
    /// The batch as the contract remembers it.
    pub fn batch(&self) -> Batch {
        Batch {
            tenant: self.tenant,
            index: self.index,
            first_seq: self.first_seq,
            count: self.count,
            root: self.root,
            anchored_at: self.anchored_at,
        }
    }
}

/// A mirrored `AnchorerSet` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnchorerSetEvent {
    /// The tenant.
    pub tenant: TenantId,
    /// Who may anchor for it from here on; zero for nobody.
    pub anchorer: Address,
    /// The nonce that this change consumed.
    pub nonce: u64,
    /// Where it stands on the chain.
    pub position: LogPosition,
}

/// An event to be mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirroredEvent {
    /// A batch was anchored.
    Anchored(AnchoredEvent),
    /// A tenant changed its anchorer.
    AnchorerSet(AnchorerSetEvent),
}

impl MirroredEvent {
    /// Where it stands on the chain.
    pub fn position(&self) -> &LogPosition {
        match self {
            Self::Anchored(event) => &event.position,
            Self::AnchorerSet(event) => &event.position,
        }
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Anchored(event) => event.tenant,
            Self::AnchorerSet(event) => event.tenant,
        }
    }
}

/// The last block that is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}
