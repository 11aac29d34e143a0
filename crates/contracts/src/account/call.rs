//! Calls of an account, as the contract hashes and encodes them (`contracts/libraries/AccountCalls.sol`).

use alloy::{
    primitives::{B256, Bytes, U256, b256, keccak256},
    sol,
    sol_types::{SolCall, SolStruct, SolType},
};

use crate::SmartAccount;

/// ERC-7821: a batch that reverts as a whole, without `opData`; for the EntryPoint.
const MODE_BATCH: B256 = b256!("0100000000000000000000000000000000000000000000000000000000000000");

/// ERC-7821: a batch that reverts as a whole, with `opData` after the calls; for the agent itself.
const MODE_OP_DATA: B256 =
    b256!("0100000000007821000100000000000000000000000000000000000000000000");

sol! {
    #![sol(all_derives, extra_derives(serde::Serialize, serde::Deserialize))]

    /// One call of an account: where to, how much native currency in wei, and the calldata. In JSON
    /// `{"target":"0x…","value":"1000","callData":"0x"}`.
    struct Call {
        #[allow(missing_docs)]
        address target;
        #[allow(missing_docs)]
        uint256 value;
        #[allow(missing_docs)]
        bytes callData;
    }
}

/// What a verdict names calls by: the EIP-712 hash of the array.
pub fn calls_hash(calls: &[Call]) -> B256 {
    let hashes: Vec<u8> = calls.iter().flat_map(|call| call.eip712_hash_struct().0).collect();
    keccak256(hashes)
}

impl From<SmartAccount::Execution> for Call {
    fn from(execution: SmartAccount::Execution) -> Self {
        let SmartAccount::Execution { target, value, callData } = execution;
        Self { target, value, callData }
    }
}

/// The calls as the contract's functions take them.
pub(super) fn executions(calls: &[Call]) -> Vec<SmartAccount::Execution> {
    let execution = |call: &Call| SmartAccount::Execution {
        target: call.target,
        value: call.value,
        callData: call.callData.clone(),
    };
    calls.iter().map(execution).collect()
}

/// The calldata with which the EntryPoint has the account make calls.
pub fn execute_calldata(calls: &[Call]) -> Bytes {
    let data =
        <sol!(((address, uint256, bytes)[],)) as SolType>::abi_encode_params(&(tuples(calls),));
    SmartAccount::executeCall { mode: MODE_BATCH, executionData: data.into() }.abi_encode().into()
}

/// The calldata with which an agent has the account make calls without the EntryPoint, at its own
/// cost. Consumes the same `nonce`.
pub fn execute_directly_calldata(calls: &[Call], nonce: U256, authorisation: &Bytes) -> Bytes {
    let op_data: Bytes = [&nonce.to_be_bytes::<32>()[..], authorisation].concat().into();
    let data = <sol!(((address, uint256, bytes)[], bytes)) as SolType>::abi_encode_params(&(
        tuples(calls),
        op_data,
    ));
    SmartAccount::executeCall { mode: MODE_OP_DATA, executionData: data.into() }.abi_encode().into()
}

fn tuples(calls: &[Call]) -> Vec<(alloy::primitives::Address, U256, Bytes)> {
    calls.iter().map(|call| (call.target, call.value, call.callData.clone())).collect()
}
