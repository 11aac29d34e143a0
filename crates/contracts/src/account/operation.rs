//! Agents' operations for the EntryPoint v0.8 (ERC-4337).

use alloy::{
    primitives::{
        Address, B256, Bytes, U256,
        aliases::{U160, U192},
    },
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::{Eip712Domain, SolStruct},
};

use super::{Call, execute_calldata};
use crate::IEntryPoint;

#[allow(missing_docs, reason = "documented in ERC-4337")]
mod message {
    use super::sol;

    sol! {
        struct PackedUserOperation {
            address sender;
            uint256 nonce;
            bytes initCode;
            bytes callData;
            bytes32 accountGasLimits;
            uint256 preVerificationGas;
            bytes32 gasFees;
            bytes paymasterAndData;
        }
    }
}

/// The EntryPoint's nonce key of an agent's lane: `agent[20] ‖ lane u32`. Operations in one lane come one
/// after the other; lanes do not wait for each other.
pub fn nonce_key(agent: Address, lane: u32) -> U192 {
    let agent = U160::from_be_bytes(agent.into_array());
    (U192::from(agent) << 32) | U192::from(lane)
}

/// The nonce of the operation that is number `sequence` in an agent's lane.
pub fn nonce(agent: Address, lane: u32, sequence: u64) -> U256 {
    (U256::from(nonce_key(agent, lane)) << 64) | U256::from(sequence)
}

/// What an operation may use, in gas, and pay for it, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gas {
    /// For validation.
    pub verification: u128,
    /// For the calls.
    pub call: u128,
    /// For what the bundler does outside both.
    pub pre_verification: u64,
    /// Most to pay.
    pub max_fee: u128,
    /// Most of it for whoever builds the block.
    pub priority_fee: u128,
}

impl Gas {
    /// The most that the operation can cost in fees, in wei: what its verdict's `maxFee` must cover and
    /// what counts against the account's native limit.
    pub fn fee(&self) -> U256 {
        let gas = U256::from(self.verification)
            + U256::from(self.call)
            + U256::from(self.pre_verification);
        gas * U256::from(self.max_fee)
    }
}

/// Calls that an agent wants an account to make through the EntryPoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// The account.
    pub account: Address,
    /// The agent's [`nonce`].
    pub nonce: U256,
    /// The calls.
    pub calls: Vec<Call>,
    /// What it may use and cost.
    pub gas: Gas,
}

impl Operation {
    /// What the agent signs, as EntryPoint v0.8 computes it (`getUserOpHash`).
    pub fn hash(&self, entry_point: Address, chain_id: u64) -> B256 {
        let operation = self.packed(Bytes::new());
        let message = message::PackedUserOperation {
            sender: operation.sender,
            nonce: operation.nonce,
            initCode: operation.initCode,
            callData: operation.callData,
            accountGasLimits: operation.accountGasLimits,
            preVerificationGas: operation.preVerificationGas,
            gasFees: operation.gasFees,
            paymasterAndData: operation.paymasterAndData,
        };
        let domain = Eip712Domain::new(
            Some("ERC4337".into()),
            Some("1".into()),
            Some(U256::from(chain_id)),
            Some(entry_point),
            None,
        );
        message.eip712_signing_hash(&domain)
    }

    /// The operation with the agent's signature and the packed `authorisation`
    /// ([`super::SignedVerdict::authorisation`]).
    pub fn sign(
        &self,
        agent: &PrivateKeySigner,
        authorisation: &Bytes,
        entry_point: Address,
        chain_id: u64,
    ) -> alloy::signers::Result<IEntryPoint::PackedUserOperation> {
        let signature = agent.sign_hash_sync(&self.hash(entry_point, chain_id))?;
        Ok(self.packed([&signature.as_bytes()[..], authorisation].concat().into()))
    }

    /// The operation as the EntryPoint takes it, with this signature; without paymaster.
    pub fn packed(&self, signature: Bytes) -> IEntryPoint::PackedUserOperation {
        let pair = |high: u128, low: u128| B256::from(U256::from(high) << 128 | U256::from(low));
        IEntryPoint::PackedUserOperation {
            sender: self.account,
            nonce: self.nonce,
            initCode: Bytes::new(),
            callData: execute_calldata(&self.calls),
            accountGasLimits: pair(self.gas.verification, self.gas.call),
            preVerificationGas: U256::from(self.gas.pre_verification),
            gasFees: pair(self.gas.priority_fee, self.gas.max_fee),
            paymasterAndData: Bytes::new(),
            signature,
        }
    }
}
