//! What an account's events tell.

use std::collections::BTreeMap;

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    rpc::types::Log,
    sol_types::{SolCall, SolEventInterface},
};

use super::{AccountError, Role, Stage};
use crate::{ChainError, ISmartAccount, PolicyRegistry, SmartAccount::SmartAccountEvents};

/// The state that follows from all events of an account, in order.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Who holds which role now.
    pub roles: BTreeMap<Address, Role>,
    /// The scheduled changes that were neither applied nor vetoed, by id.
    pub pending: BTreeMap<u64, Pending>,
    /// All proposals, by id.
    pub proposals: BTreeMap<B256, Proposed>,
    /// The version of the last policy that was published through the account, if two principals did so
    /// together: it need not wait for the delay. `None` when one of them did alone.
    pub confirmed_policy: Option<u64>,
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
            SmartAccountEvents::ChangedTogether(event) => {
                if let Ok(publish) = PolicyRegistry::publishCall::abi_decode(&event.data) {
                    self.confirmed_policy = Some(publish.version);
                }
            }
            SmartAccountEvents::Recorded(event)
                if PolicyRegistry::publishCall::abi_decode(&event.data).is_ok() =>
            {
                self.confirmed_policy = None;
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

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolEvent;

    use super::*;
    use crate::SmartAccount::{FrozenSet, Scheduled, Vetoed};

    fn log(event: impl SolEvent) -> Log {
        Log {
            inner: alloy::primitives::Log {
                address: Address::repeat_byte(1),
                data: event.encode_log_data(),
            },
            transaction_hash: Some(B256::ZERO),
            ..Log::default()
        }
    }

    fn logs() -> Vec<Log> {
        let tenant_id = Address::repeat_byte(1).into_word();
        let scheduled = |event_index, id| Scheduled {
            tenantId: tenant_id,
            eventIndex: event_index,
            id,
            by: Address::repeat_byte(2),
            target: Address::repeat_byte(1),
            data: Bytes::new(),
            readyAt: Default::default(),
        };
        vec![
            log(scheduled(0, 1)),
            log(scheduled(1, 2)),
            log(FrozenSet { tenantId: tenant_id, eventIndex: 2, frozen: true }),
            log(Vetoed { tenantId: tenant_id, eventIndex: 3, id: 1 }),
        ]
    }

    #[test]
    fn what_was_vetoed_is_not_pending() {
        let history = History::of(Address::repeat_byte(1), &logs()).expect("a history");
        assert_eq!(history.pending.into_keys().collect::<Vec<_>>(), [2]);
        assert_eq!(history.next_event, 4);
    }

    #[test]
    fn an_event_that_the_endpoint_left_out_is_missed() {
        for missing in 0..3 {
            let mut logs = logs();
            logs.remove(missing);
            let error = History::of(Address::repeat_byte(1), &logs).expect_err("a gap");
            let text = error.to_string();
            assert!(text.starts_with(&format!("event {missing} of account")), "{text}");
        }
    }
}
