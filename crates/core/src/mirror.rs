//! The contracts' events as rows: one description that decoding, storing, reading back and encoding
//! again all follow.
//!
//! A log becomes a [`Row`] by [`MirrorEvent::decode`] and a log again by [`Row::encode`], word for word,
//! so that nobody needs a second, raw copy. Events that share a counter share a [`MirrorTable`]: what the
//! contract counts without gaps is a table whose key has none.

use alloy_primitives::{Address, B256, Bytes, U128, keccak256};

use crate::TenantId;

mod abi;
mod events;

pub use abi::LogError;
pub use events::{Column, MIRRORED, MirrorTable};

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

/// An event that is mirrored: how its log looks, and which columns it fills.
#[derive(Debug, PartialEq, Eq)]
pub struct MirrorEvent {
    /// Its name, which is also the row's `kind` where a table has one.
    pub name: &'static str,
    /// What its topic is the hash of.
    pub signature: &'static str,
    /// Where its rows go.
    pub table: MirrorTable,
    /// Its members in the order of their declaration, members of a struct one by one. Exactly one is the
    /// tenant.
    pub members: &'static [Member],
}

/// A member of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// The column that holds it.
    pub column: &'static str,
    /// What it is.
    pub abi: Abi,
    /// Whether it is a topic.
    pub indexed: bool,
}

/// What a member of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abi {
    /// 32 bytes that say whose event it is; an agent's address, where an agent speaks of itself.
    Tenant,
    /// 32 bytes, or a number of 256 bits.
    Word,
    /// An address.
    Address,
    /// A number that a bigint can hold.
    Int,
    /// An amount, of up to 104 bits.
    Amount,
    /// A truth value.
    Bool,
    /// The first four bytes of a call.
    Selector,
    /// Bytes or text, of any length. Text too, since a stranger's need not be text.
    Bytes,
    /// Words, one after another.
    Words,
}

/// A member's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of [`Abi::Word`].
    Word(B256),
    /// Of [`Abi::Address`].
    Address(Address),
    /// Of [`Abi::Int`].
    Int(u64),
    /// Of [`Abi::Amount`]. Not a u128, whose alignment would make every value longer.
    Amount(U128),
    /// Of [`Abi::Bool`].
    Bool(bool),
    /// Of [`Abi::Selector`].
    Selector([u8; 4]),
    /// Of [`Abi::Bytes`] and [`Abi::Words`].
    Bytes(Bytes),
}

/// One mirrored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which event.
    pub event: &'static MirrorEvent,
    /// Whose it is. Nobody need have this id: `Skipped` says what a stranger wrote.
    pub tenant: B256,
    /// Where it stands.
    pub position: LogPosition,
    /// The block's timestamp, in seconds.
    pub time: u64,
    /// Its members but for the tenant, in order.
    pub values: Vec<Value>,
}

impl MirrorEvent {
    /// The event of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MIRRORED.iter().find(|event| event.name == name)
    }

    /// The first topic of its logs.
    pub fn topic(&self) -> B256 {
        keccak256(self.signature)
    }

    /// The members that are columns of their own: all but the tenant, in the order of a row's values.
    pub fn columns(&self) -> impl Iterator<Item = &'static Member> {
        self.members.iter().filter(|member| member.abi != Abi::Tenant)
    }

    /// Takes a log apart: whose it is, and its other members. `topics` are all of them. Only the one
    /// encoding that the compiler makes is taken.
    pub fn decode(
        &'static self,
        topics: &[B256],
        data: &[u8],
    ) -> Result<(B256, Vec<Value>), LogError> {
        abi::decode(self, topics, data)
    }
}

impl Row {
    /// The topics and the data of the log that this is the row of.
    pub fn encode(&self) -> (Vec<B256>, Vec<u8>) {
        abi::encode(self)
    }

    /// The tenant, if anybody can have its id.
    pub fn tenant_id(&self) -> Option<TenantId> {
        TenantId::try_from(self.tenant).ok()
    }

    /// The agent that gave a grant up: the event counts for it too, beside its tenant.
    pub fn forfeiter(&self) -> Option<Address> {
        if self.event.name != "Forfeited" {
            return None;
        }
        match self.value("agent")? {
            Value::Address(agent) => Some(*agent),
            _ => None,
        }
    }

    /// A member by its column.
    pub fn value(&self, column: &str) -> Option<&Value> {
        let at = self.event.columns().position(|member| member.column == column)?;
        self.values.get(at)
    }

    /// A number by its column.
    pub fn int(&self, column: &str) -> Option<u64> {
        match self.value(column)? {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }
}
