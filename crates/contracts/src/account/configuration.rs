//! What an account starts with.

use std::collections::BTreeMap;

use alloy::{
    primitives::{
        Address, B256, Bytes,
        aliases::{U24, U104},
    },
    sol_types::SolCall,
};
use serde::{Deserialize, Serialize};

use super::Role;
use crate::bindings::smart_account_factory::{ISmartAccount, SmartAccountFactory};

/// What an account starts with. Its address commits to all of it, so this is worth keeping: with it,
/// the same account can be deployed on another chain.
///
/// In JSON, amounts may be decimal strings: `{"owner":"0x…","guardian":"0x…","approvers":["0x…"],
/// "authorisers":["0x…"],"executors":["0x…"],"delay":86400,"nativePerCall":"1000","nativePerDay":"5000"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// Makes changes, together with a gate or after the delay.
    pub owner: Address,
    /// Vetoes, freezes and narrows.
    pub guardian: Address,
    /// The keys of the first gate.
    #[serde(default)]
    pub approvers: Vec<Address>,
    /// The keys of the second gate.
    #[serde(default)]
    pub authorisers: Vec<Address>,
    /// The keys of the third gate.
    #[serde(default)]
    pub executors: Vec<Address>,
    /// How long one principal's change waits, in seconds: 1 hour to 30 days.
    pub delay: u32,
    /// Most that one call of an agent may send, in wei.
    #[serde(default)]
    pub native_per_call: U104,
    /// Most that agents' calls and fees on two neighbouring UTC days may cost together, in wei.
    #[serde(default)]
    pub native_per_day: U104,
    /// Tells accounts of the same configuration apart.
    #[serde(default)]
    pub salt: B256,
}

/// Why no account can have a configuration. It must be found out before anybody pays to its address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// A key has two roles.
    #[error("{holder} is {first} and {second}; every key has one role at most")]
    TwoRoles {
        /// The key.
        holder: Address,
        /// Its first role.
        first: Role,
        /// Another one, or the same again.
        second: Role,
    },
    /// The zero address has a role.
    #[error("the {role} is the zero address; give the address of a key")]
    Nobody {
        /// The role.
        role: Role,
    },
    /// Nobody could make a change with the owner.
    #[error(
        "there is no gate; name at least one approver, authoriser or executor, better one of each"
    )]
    NoGate,
    /// The delay is out of its range.
    #[error("the delay is {delay} seconds; it must be 3600 (1 hour) to 2592000 (30 days)")]
    BadDelay {
        /// The delay.
        delay: u32,
    },
}

impl Configuration {
    /// The shortest and the longest delay, in seconds.
    const DELAYS: std::ops::RangeInclusive<u32> = 3_600..=2_592_000;

    /// Who holds which role.
    pub fn holders(&self) -> Vec<(Address, Role)> {
        let gates = [
            (&self.approvers, Role::Approver),
            (&self.authorisers, Role::Authoriser),
            (&self.executors, Role::Executor),
        ];
        let gates = gates.into_iter().flat_map(|(keys, role)| keys.iter().map(move |k| (*k, role)));
        [(self.owner, Role::Owner), (self.guardian, Role::Guardian)]
            .into_iter()
            .chain(gates)
            .collect()
    }

    /// The configuration as the factory takes it; an error where no account can come of it.
    pub(super) fn to_contract(&self) -> Result<ISmartAccount::Configuration, ConfigurationError> {
        let mut roles = BTreeMap::new();
        let mut holders = vec![];
        for (holder, role) in self.holders() {
            if holder.is_zero() {
                return Err(ConfigurationError::Nobody { role });
            }
            if let Some(first) = roles.insert(holder, role) {
                return Err(ConfigurationError::TwoRoles { holder, first, second: role });
            }
            let mut packed = holder.into_word();
            packed[11] = role.into();
            holders.push(packed);
        }
        if holders.len() == 2 {
            return Err(ConfigurationError::NoGate);
        }
        if !Self::DELAYS.contains(&self.delay) {
            return Err(ConfigurationError::BadDelay { delay: self.delay });
        }
        Ok(ISmartAccount::Configuration {
            nativePerCall: self.native_per_call,
            nativePerDay: self.native_per_day,
            delay: U24::from(self.delay),
            holders,
        })
    }

    /// The factory's calldata that creates the account, or does nothing where it exists.
    pub fn create_calldata(&self) -> Result<Bytes, ConfigurationError> {
        // Solidity leaves the arguments without names.
        let call =
            SmartAccountFactory::createAccountCall { _0: self.to_contract()?, _1: self.salt };
        Ok(call.abi_encode().into())
    }
}
