//! Logs as a node sends them, as rows.
//!
//! A mirror reads millions of them: nothing is copied but what a row keeps.

use std::fmt;

use alloy::primitives::{Address, B256, map::B256Map};
use cofferdam_core::{
    TenantId,
    mirror::{LogPosition, MIRRORED, MirrorEvent, MirrorTable, Row},
};

use crate::{ChainError, deployment::Deployment};

mod answer;

use answer::WireLog;
pub use answer::{LogsAnswer, WireError};

/// Whose logs are rows: where the contracts are, and what each topic means.
#[derive(Debug, Clone)]
pub struct LogReader {
    deployment: Deployment,
    topics: B256Map<&'static MirrorEvent>,
}

/// A log that may be a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadLog {
    /// The row. Its time is 0 where the node did not send it.
    pub row: Row,
    /// Whether the node sent the block's time with it.
    pub timed: bool,
    /// The account that it is of, if it claims to be one's: somebody must check that it is.
    pub account: Option<Address>,
}

impl LogReader {
    /// A reader of these contracts' logs.
    pub fn new(deployment: Deployment) -> Self {
        let topics = MIRRORED.iter().map(|event| (event.topic(), event)).collect();
        Self { deployment, topics }
    }

    /// Where the contracts are.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The topics to ask for, any of which may be a log's first.
    pub fn topics(&self) -> impl Iterator<Item = &B256> {
        self.topics.keys()
    }

    /// The address that has a row's log; an account's is its tenant's.
    pub fn emitter(&self, row: &Row) -> Address {
        self.contract(row.event.table).unwrap_or_else(|| Address::from_word(row.tenant))
    }

    fn contract(&self, table: MirrorTable) -> Option<Address> {
        match table {
            MirrorTable::Anchored | MirrorTable::AnchorerSet | MirrorTable::Skipped => {
                Some(self.deployment.audit_anchor)
            }
            MirrorTable::Policies => Some(self.deployment.policy_registry),
            MirrorTable::Scopes | MirrorTable::Described => {
                Some(self.deployment.mcp_agent_registry)
            }
            MirrorTable::AccountEvents => None,
        }
    }

    /// Begins to read an answer to `eth_getLogs`, with room for so many logs; there may be more.
    pub fn answer(&self, room: usize) -> LogsAnswer<'_> {
        LogsAnswer::new(self, room)
    }

    /// The logs of an array, as [`LogsAnswer::done`] returns those of an answer.
    pub fn logs(&self, array: &str) -> Result<Vec<ReadLog>, ChainError> {
        answer::logs(self, array)
    }

    /// The row that a log is; `None` if it is none of ours. What looks like a log of one of the contracts
    /// and stands at another address is not; what looks like an account's and is not an account's own
    /// word about itself is not either.
    fn read(&self, log: &WireLog) -> Result<Option<ReadLog>, ChainError> {
        let none = "there is none";
        let topics = log.topics.get(..log.topic_count.ok_or_else(|| malformed("topics", &none))?);
        let topics = topics.unwrap_or_default();
        let event = topics.first().and_then(|first| self.topics.get(first).copied());
        let Some(event) = event else { return Ok(None) };
        let address = log.address.ok_or_else(|| malformed("address", &none))?;
        let contract = self.contract(event.table);
        if contract.is_some_and(|contract| contract != address) {
            return Ok(None);
        }
        let (tenant, values) = match (event.decode(topics, &log.data), contract) {
            (Ok(decoded), _) => decoded,
            (Err(error), Some(_)) => return Err(malformed("members", &error)),
            // A stranger's, who imitates an account.
            (Err(_), None) => return Ok(None),
        };
        if contract.is_none() && tenant != address.into_word() {
            return Ok(None);
        }
        // `Skipped` alone says an id that the contract has not checked.
        if contract.is_some() && event.table != MirrorTable::Skipped {
            TenantId::try_from(tenant).map_err(|error| malformed("tenant", &error))?;
        }
        if log.removed {
            return Err(malformed("place", &"it was removed from the chain"));
        }
        let position = LogPosition {
            block_number: log.block_number.ok_or_else(|| malformed("block number", &none))?,
            block_hash: log.block_hash.ok_or_else(|| malformed("block hash", &none))?,
            tx_hash: log.transaction_hash.ok_or_else(|| malformed("transaction hash", &none))?,
            log_index: log.log_index.ok_or_else(|| malformed("log index", &none))?,
        };
        let (time, timed) =
            (log.block_timestamp.unwrap_or_default(), log.block_timestamp.is_some());
        let row = Row { event, tenant, position, time, values };
        Ok(Some(ReadLog { row, timed, account: contract.is_none().then_some(address) }))
    }
}

fn malformed(what: &'static str, reason: &dyn fmt::Display) -> ChainError {
    ChainError::Malformed { what: "a log", reason: format!("its {what}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings;
    use alloy::primitives::hex;
    use serde_json::{Value, json};

    /// An event's signature as the ABI has it.
    fn signature(event: &Value) -> String {
        fn of(input: &Value) -> String {
            let name = input["type"].as_str().expect("a type");
            match name.strip_prefix("tuple") {
                Some(array) => format!("({}){array}", list(&input["components"])),
                None => name.to_owned(),
            }
        }
        fn list(inputs: &Value) -> String {
            let inputs = inputs.as_array().expect("inputs");
            inputs.iter().map(of).collect::<Vec<_>>().join(",")
        }
        format!("{}({})", event["name"].as_str().expect("a name"), list(&event["inputs"]))
    }

    #[test]
    fn every_event_of_every_contract_is_mirrored_and_no_other() {
        let mut of_contracts = vec![];
        for artifact in [
            bindings::audit_anchor::ARTIFACT,
            bindings::policy_registry::ARTIFACT,
            bindings::mcp_agent_registry::ARTIFACT,
            bindings::smart_account_factory::ARTIFACT,
            bindings::smart_account::ARTIFACT,
        ] {
            let artifact: Value = serde_json::from_str(artifact).expect("an artifact");
            for item in artifact["abi"].as_array().expect("an ABI") {
                if item["type"] != "event" {
                    continue;
                }
                let event = MirrorEvent::named(item["name"].as_str().expect("a name"));
                let event = event.unwrap_or_else(|| panic!("{item} is not mirrored"));
                assert_eq!(event.signature, signature(item));
                // A struct's members stand one by one; none of them is a topic.
                let indexed = |it: &Value| {
                    vec![it["indexed"] == true; it["components"].as_array().map_or(1, Vec::len)]
                };
                let topics: Vec<bool> =
                    item["inputs"].as_array().expect("inputs").iter().flat_map(indexed).collect();
                let members: Vec<bool> =
                    event.members.iter().map(|member| member.indexed).collect();
                assert_eq!(members, topics, "{}", event.name);
                of_contracts.push(event.name);
            }
        }
        let mut all: Vec<_> = MIRRORED.iter().map(|event| event.name).collect();
        all.sort_unstable();
        of_contracts.sort_unstable();
        assert_eq!(of_contracts, all);
    }

    fn log(address: Address, topics: &[B256], data: &[u8]) -> String {
        json!({
            "address": address, "topics": topics, "data": hex::encode_prefixed(data),
            "blockNumber": "0x10", "blockHash": B256::repeat_byte(1), "blockTimestamp": "0x20",
            "transactionHash": B256::repeat_byte(2), "transactionIndex": "0x0", "logIndex": "0x3",
            "removed": false,
        })
        .to_string()
    }

    fn read(text: &str) -> Result<Option<ReadLog>, ChainError> {
        let reader = LogReader::new(Deployment::default());
        reader.logs(&format!("[{text}]")).map(|mut logs| logs.pop())
    }

    #[test]
    fn a_log_is_a_row_only_where_the_contract_is() {
        let event = MirrorEvent::named("AnchorerSet").expect("an event");
        let (tenant, anchorer) = (Address::repeat_byte(7).into_word(), Address::repeat_byte(8));
        let topics = [event.topic(), tenant, anchorer.into_word()];
        let data = B256::with_last_byte(5);
        let ours = Deployment::default().audit_anchor;
        let found = read(&log(ours, &topics, data.as_slice())).expect("readable").expect("ours");
        assert_eq!((found.row.tenant, found.row.time, found.account), (tenant, 0x20, None));
        assert_eq!(found.row.int("nonce"), Some(5));
        assert_eq!(found.row.encode(), (topics.to_vec(), data.to_vec()));
        let elsewhere = log(Address::repeat_byte(9), &topics, data.as_slice());
        assert_eq!(read(&elsewhere).expect("readable"), None);
        for wrong in [
            log(ours, &topics[..2], data.as_slice()),
            log(ours, &[topics[0], B256::repeat_byte(7), topics[2]], data.as_slice()),
            log(ours, &topics, &data[1..]),
            log(ours, &topics, B256::repeat_byte(1).as_slice()),
            log(ours, &topics, data.as_slice()).replace("\"0x3\"", "null"),
            log(ours, &topics, data.as_slice()).replace("0x10", "10"),
            log(ours, &topics, data.as_slice()).replace("false", "true"),
        ] {
            read(&wrong).expect_err(&wrong);
        }
    }

    #[test]
    fn whoever_a_stranger_names_is_skipped() {
        let event = MirrorEvent::named("Skipped").expect("an event");
        let nobody = B256::repeat_byte(7);
        let data = [B256::ZERO, nobody, B256::with_last_byte(1)].concat();
        let skipped = log(Deployment::default().audit_anchor, &[event.topic()], &data);
        let found = read(&skipped).expect("readable").expect("ours");
        assert_eq!((found.row.event.table, found.row.tenant), (MirrorTable::Skipped, nobody));
    }

    #[test]
    fn an_account_speaks_of_itself_alone() {
        let event = MirrorEvent::named("FrozenSet").expect("an event");
        let account = Address::repeat_byte(7);
        let topics = [event.topic(), account.into_word()];
        let data = [B256::with_last_byte(4), B256::with_last_byte(1)].concat();
        let found = read(&log(account, &topics, &data)).expect("readable").expect("an account's");
        assert_eq!(found.account, Some(account));
        assert_eq!(read(&log(Address::repeat_byte(8), &topics, &data)).expect("readable"), None);
        // Whatever imitates an account may be malformed: nobody stops for it.
        assert_eq!(read(&log(account, &topics, &data[..32])).expect("readable"), None);
    }
}
