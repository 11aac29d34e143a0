//! Every event of the contracts, and where it goes.

use super::{Abi, Member, MirrorEvent};

/// A table of the mirror. Each but [`MirrorTable::Skipped`] is what one counter of a contract counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MirrorTable {
    /// `Anchored`, by `batch_index`.
    Anchored,
    /// `AnchorerSet`, by `nonce`.
    AnchorerSet,
    /// `Skipped`, which nobody counts: by block and log.
    Skipped,
    /// `PolicyPublished` and `PolicyRevoked`, by `version`.
    Policies,
    /// What a tenant lets agents do, by `event_index`.
    Scopes,
    /// `Described`, by the agent's `agent_nonce`; the agent itself is the tenant.
    Described,
    /// What a `SmartAccount` tells of itself, by `event_index`.
    AccountEvents,
}

/// A column of one of the tables, beside those that all have.
pub type Column = (&'static str, Abi);

impl MirrorTable {
    /// All tables.
    pub const ALL: [Self; 7] = [
        Self::Anchored,
        Self::AnchorerSet,
        Self::Skipped,
        Self::Policies,
        Self::Scopes,
        Self::Described,
        Self::AccountEvents,
    ];

    /// Its name in the schema `cofferdam`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::AnchorerSet => "anchorer_set",
            Self::Skipped => "skipped",
            Self::Policies => "policies",
            Self::Scopes => "scopes",
            Self::Described => "described",
            Self::AccountEvents => "account_events",
        }
    }

    /// Its events.
    pub fn events(self) -> impl Iterator<Item = &'static MirrorEvent> {
        MIRRORED.iter().filter(move |event| event.table == self)
    }

    /// Whether its rows tell by `kind` which event they are.
    pub fn has_kind(self) -> bool {
        self.events().count() > 1
    }

    /// The columns that its events fill, each once.
    pub fn columns(self) -> Vec<Column> {
        let mut columns: Vec<Column> = vec![];
        for member in self.events().flat_map(MirrorEvent::columns) {
            if !columns.iter().any(|(name, _)| *name == member.column) {
                columns.push((member.column, member.abi));
            }
        }
        columns
    }
}

const fn topic(column: &'static str, abi: Abi) -> Member {
    Member { column, abi, indexed: true }
}

const fn data(column: &'static str, abi: Abi) -> Member {
    Member { column, abi, indexed: false }
}

const TENANT: Member = topic("tenant_id", Abi::Tenant);

macro_rules! events {
    ($($table:ident { $($name:ident $types:literal: $($member:expr),+;)+ })+) => {
        /// Every event that is mirrored.
        pub static MIRRORED: &[MirrorEvent] = &[$($(
            MirrorEvent {
                name: stringify!($name),
                signature: concat!(stringify!($name), $types),
                table: MirrorTable::$table,
                members: &[$($member),+],
            },
        )+)+];
    };
}

use Abi::{Address, Amount, Bool, Bytes, Int, Selector, Tenant, Word, Words};

events! {
    Anchored {
        Anchored "(bytes32,uint64,uint64,uint64,bytes32,uint64)":
            TENANT, topic("batch_index", Int), data("first_seq", Int), data("count", Int),
            data("root", Word), data("anchored_at", Int);
    }
    AnchorerSet {
        AnchorerSet "(bytes32,address,uint64)":
            TENANT, topic("anchorer", Address), data("nonce", Int);
    }
    Skipped {
        Skipped "(uint256,bytes32,uint8)":
            data("item", Int), data("tenant_id", Tenant), data("reason", Int);
    }
    Policies {
        PolicyPublished "(bytes32,uint64,bytes32,address,uint48,uint48,uint48)":
            TENANT, topic("version", Int), data("policy_hash", Word), data("verdict_signer", Address),
            data("not_before", Int), data("not_after", Int), data("recorded_at", Int);
        PolicyRevoked "(bytes32,uint64,uint48)":
            TENANT, topic("version", Int), data("recorded_at", Int);
    }
    Scopes {
        Granted "(bytes32,address,bytes32,(uint48,uint48),(uint80,address,bytes4,uint96),uint48,uint64)":
            TENANT, topic("agent", Address), topic("capability", Word), data("not_before", Int),
            data("not_after", Int), data("native_max", Amount), data("target", Address),
            data("selector", Selector), data("token_max", Amount), data("recorded_at", Int),
            data("event_index", Int);
        Extended "(bytes32,address,bytes32,uint48,uint48,uint64)":
            TENANT, topic("agent", Address), topic("capability", Word), data("not_after", Int),
            data("recorded_at", Int), data("event_index", Int);
        Revoked "(bytes32,address,bytes32,uint64)":
            TENANT, topic("agent", Address), topic("capability", Word), data("event_index", Int);
        AgentRevoked "(bytes32,address,uint64)":
            TENANT, topic("agent", Address), data("event_index", Int);
        Forfeited "(bytes32,address,bytes32,uint64,uint64)":
            TENANT, topic("agent", Address), topic("capability", Word), data("event_index", Int),
            data("agent_nonce", Int);
    }
    Described {
        Described "(address,string,bytes32,address,uint256,uint64)":
            TENANT, data("endpoint", Bytes), data("metadata_hash", Word),
            data("erc8004_registry", Address), data("erc8004_id", Word), data("agent_nonce", Int);
    }
    AccountEvents {
        Initialized "(bytes32,uint64,uint104,uint104,uint24,bytes32[])":
            TENANT, data("event_index", Int), data("per_call", Amount), data("per_day", Amount),
            data("delay", Int), data("holders", Words);
        RoleSet "(bytes32,uint64,address,uint8)":
            TENANT, data("event_index", Int), data("holder", Address), data("role", Int);
        LimitSet "(bytes32,uint64,address,uint104,uint104)":
            TENANT, data("event_index", Int), data("token", Address), data("per_call", Amount),
            data("per_day", Amount);
        TokenUnlisted "(bytes32,uint64,address)":
            TENANT, data("event_index", Int), data("token", Address);
        DelaySet "(bytes32,uint64,uint24)":
            TENANT, data("event_index", Int), data("delay", Int);
        FrozenSet "(bytes32,uint64,bool)":
            TENANT, data("event_index", Int), data("frozen", Bool);
        Scheduled "(bytes32,uint64,uint64,address,address,bytes,uint48)":
            TENANT, data("event_index", Int), topic("id", Int), data("by", Address),
            data("target", Address), data("data", Bytes), data("ready_at", Int);
        Vetoed "(bytes32,uint64,uint64)":
            TENANT, data("event_index", Int), topic("id", Int);
        Applied "(bytes32,uint64,uint64)":
            TENANT, data("event_index", Int), topic("id", Int);
        ChangedTogether "(bytes32,uint64,uint64,address,address,address,bytes)":
            TENANT, data("event_index", Int), topic("change_nonce", Int), data("by", Address),
            data("cosigner", Address), data("target", Address), data("data", Bytes);
        Recorded "(bytes32,uint64,address,address,bytes)":
            TENANT, data("event_index", Int), data("by", Address), data("target", Address),
            data("data", Bytes);
        Narrowed "(bytes32,uint64,address,address,bytes)":
            TENANT, data("event_index", Int), data("by", Address), data("target", Address),
            data("data", Bytes);
        Proposed "(bytes32,uint64,bytes32,(address,bytes32,uint64,uint256,uint48,bytes32))":
            TENANT, data("event_index", Int), topic("proposal_id", Word), data("agent", Address),
            data("capability", Word), data("policy_version", Int), data("operation_nonce", Word),
            data("expiry", Int), data("calls_hash", Word);
        StageReached "(bytes32,uint64,bytes32,uint8,address)":
            TENANT, data("event_index", Int), topic("proposal_id", Word), data("stage", Int),
            data("by", Address);
        ExecutedDirectly "(bytes32,uint64,address,uint256,bytes32)":
            TENANT, data("event_index", Int), topic("agent", Address), data("operation_nonce", Word),
            data("calls_hash", Word);
        SignatureAllowed "(bytes32,uint64,bytes32,uint48)":
            TENANT, data("event_index", Int), data("hash", Word), data("until", Int);
    }
}
