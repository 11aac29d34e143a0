//! What an account's events tell.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
    sol_types::SolEventInterface,
};

use super::{AccountError, Role, Stage};
use crate::{ChainError, ISmartAccount, SmartAccount::SmartAccountEvents};

/// The state that follows from all events of an account, in order.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Who holds which role now.
    pub roles: BTreeMap<Address, Role>,
    /// The scheduled changes that were neither applied nor vetoed, by id.
    pub pending: BTreeMap<u64, Pending>,
    /// All proposals, by id.
    pub proposals: BTreeMap<B256, Proposed>,
    /// The index of the next event.
    pub next_event: u64,
}

/// A scheduled change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Who scheduled it.
    pub by: Address,
    /// What it calls.
    pub target: Address,
    /// The calldata.
    pub data: Bytes,
    /// When it can be applied, in seconds since 1970.
    pub ready_at: u64,
}

/// A proposal and how far it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposed {
    /// What was proposed.
    pub proposal: ISmartAccount::Proposal,
    /// How far it is.
    pub stage: Stage,
    /// Who brought it to which stage, in order.
    pub by: Vec<(Stage, Address)>,
    /// The transaction that proposed it.
    pub transaction: B256,
}

impl History {
    /// Reads all logs of an account, in the chain's order.
    pub(super) fn of(account: Address, logs: &[Log]) -> Result<Self, AccountError> {
        let mut history = Self::default();
        for log in logs {
            // In every event of an account the first member that is not a topic is its index.
            let word = log.data().data.get(..32).unwrap_or_default();
            let index: u64 = U256::try_from_be_slice(word).unwrap_or_default().saturating_to();
            if index != history.next_event {
                let index = history.next_event;
                return Err(AccountError::MissingEvent { address: account, index });
            }
            history.next_event += 1;
            let event = SmartAccountEvents::decode_log(&log.inner)
                .map_err(|error| malformed(error.to_string()))?;
            let transaction = log.transaction_hash.ok_or_else(|| malformed("no transaction"))?;
            history.apply(event.data, transaction)?;
        }
        Ok(history)
    }

    fn apply(&mut self, event: SmartAccountEvents, transaction: B256) -> Result<(), ChainError> {
        match event {
            SmartAccountEvents::Initialized(event) => {
                for holder in event.holders {
                    let role = Role::try_from(holder[11]).map_err(|e| malformed(e.to_string()))?;
                    self.roles.insert(Address::from_word(holder), role);
                }
            }
            SmartAccountEvents::RoleSet(event) => {
                match Role::try_from(event.role).map_err(|e| malformed(e.to_string()))? {
                    Role::None => self.roles.remove(&event.holder),
                    role => self.roles.insert(event.holder, role),
                };
            }
            SmartAccountEvents::Scheduled(event) => {
                let pending = Pending {
                    by: event.by,
                    target: event.target,
                    data: event.data,
                    ready_at: event.readyAt.to(),
                };
                self.pending.insert(event.id, pending);
            }
            SmartAccountEvents::Vetoed(event) => {
                self.pending.remove(&event.id);
            }
            SmartAccountEvents::Applied(event) => {
                self.pending.remove(&event.id);
            }
            SmartAccountEvents::Proposed(event) => {
                let by = vec![(Stage::Proposed, event.proposal.agent)];
                let (proposal, stage) = (event.proposal, Stage::Proposed);
                self.proposals.insert(event.id, Proposed { proposal, stage, by, transaction });
            }
            SmartAccountEvents::StageReached(event) => {
                let stage = Stage::try_from(event.stage).map_err(|e| malformed(e.to_string()))?;
                if let Some(proposed) = self.proposals.get_mut(&event.id) {
                    proposed.stage = stage;
                    proposed.by.push((stage, event.by));
                }
            }
            // What these say can be read from the contract itself.
            _ => {}
        }
        Ok(())
    }
}

fn malformed(reason: impl Into<String>) -> ChainError {
    ChainError::Malformed { what: "a log of a SmartAccount", reason: reason.into() }
}
