// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {ISmartAccount} from "../interfaces/ISmartAccount.sol";

/// @title AccountCalls
/// @notice Reads, hashes and makes the calls of a `SmartAccount`'s batches.
library AccountCalls {
    /// @dev EIP-712 type of one call. `callsHash` is the EIP-712 hash of an array of these.
    bytes32 internal constant CALL_TYPEHASH =
        keccak256("Call(address target,uint256 value,bytes callData)");

    /// @dev ERC-7821: a batch that reverts as a whole, without `opData`.
    bytes32 internal constant MODE_BATCH =
        0x0100000000000000000000000000000000000000000000000000000000000000;

    /// @dev ERC-7821: a batch that reverts as a whole, with `opData` after the calls.
    bytes32 internal constant MODE_OP_DATA =
        0x0100000000007821000100000000000000000000000000000000000000000000;

    /// @dev `increaseAllowance(address,uint256)`, which many tokens have beside `approve`.
    bytes4 internal constant INCREASE_ALLOWANCE = 0x39509351;

    /// @dev How much of a failed call's answer is passed on: a target must not be able to make its
    /// caller pay for copying more.
    uint256 private constant MAX_REASON = 256;

    /// @notice The calls of ERC-7821 execution data, which starts with the offset of their array.
    /// @dev Every part must lie inside `data`. The compiler checks calldata offsets only against the
    /// end of all calldata, and signed: a call that pointed outside would read one thing in
    /// `validateUserOp`, where `data` lies inside an operation, and another in `execute`.
    function decode(bytes calldata data) internal pure returns (Execution[] calldata calls) {
        bool bad;
        assembly ("memory-safe") {
            // Assembly: there is no other way to make a calldata array of a part of calldata, and an
            // operation costs 500 gas less. A difference below means something only where what came
            // before was good, and `bad` stays set.
            let size := data.length
            let start := calldataload(data.offset)
            bad := or(lt(size, 0x40), gt(start, sub(size, 0x20)))
            let count := calldataload(add(data.offset, start))
            start := add(start, 0x20)
            let heads := add(data.offset, start)
            let room := sub(size, start)
            bad := or(bad, or(iszero(count), gt(count, shr(5, room))))
            calls.offset := heads
            calls.length := count
            if bad { count := 0 }
            bad := or(bad, lt(room, 0x60))
            for { let i := 0 } lt(i, count) { i := add(i, 1) } {
                let offset := calldataload(add(heads, shl(5, i)))
                let rest := sub(room, offset)
                let element := add(heads, offset)
                let inner := calldataload(add(element, 0x40))
                let length := calldataload(add(element, inner))
                bad := or(bad, gt(offset, sub(room, 0x60)))
                bad := or(bad, gt(inner, sub(rest, 0x20)))
                bad := or(bad, gt(length, sub(sub(rest, inner), 0x20)))
            }
        }
        if (bad) revert ISmartAccount.SmartAccount_BadCallData();
    }

    /// @notice The same for data that `decode` has passed before, in the same transaction.
    function decodeChecked(bytes calldata data) internal pure returns (Execution[] calldata calls) {
        assembly ("memory-safe") {
            // Assembly: as above.
            let start := add(data.offset, calldataload(data.offset))
            calls.offset := add(start, 0x20)
            calls.length := calldataload(start)
        }
    }

    /// @notice The `bytes` value whose offset stands at `position` in ABI-encoded `data`.
    function bytesAt(bytes calldata data, uint256 position)
        internal
        pure
        returns (bytes calldata value)
    {
        unchecked {
            if (data.length < position + 0x20) revert ISmartAccount.SmartAccount_BadCallData();
            uint256 offset = word(data, position);
            if (offset > data.length - 0x20) revert ISmartAccount.SmartAccount_BadCallData();
            uint256 length = word(data, offset);
            offset += 0x20;
            if (length > data.length - offset) revert ISmartAccount.SmartAccount_BadCallData();
            return data[offset:offset + length];
        }
    }

    /// @notice What a verdict names the calls by.
    function hash(Execution[] calldata calls) internal pure returns (bytes32 result) {
        uint256 count = calls.length;
        bytes32 typeHash = CALL_TYPEHASH;
        uint256 hashes;
        assembly ("memory-safe") {
            // Assembly, here and below: abi.encode costs an operation 400 gas more.
            hashes := mload(0x40)
            mstore(0x40, add(hashes, shl(5, count)))
        }
        for (uint256 i = 0; i < count; ++i) {
            Execution calldata call = calls[i];
            address target = call.target;
            uint256 value = call.value;
            bytes calldata data = call.callData;
            assembly ("memory-safe") {
                let m := mload(0x40)
                calldatacopy(m, data.offset, data.length)
                let dataHash := keccak256(m, data.length)
                mstore(m, typeHash)
                mstore(add(m, 0x20), target)
                mstore(add(m, 0x40), value)
                mstore(add(m, 0x60), dataHash)
                mstore(add(hashes, shl(5, i)), keccak256(m, 0x80))
            }
        }
        assembly ("memory-safe") {
            result := keccak256(hashes, shl(5, count))
        }
    }

    /// @notice Whether a call is `transfer`, `transferFrom`, `approve` or `increaseAllowance`, whatever
    /// its target is, and the amount that it may cost the account.
    function erc20Amount(bytes calldata data) internal pure returns (bool isErc20, uint256 amount) {
        if (data.length < 4) return (false, 0);
        // forge-lint: disable-next-line(unsafe-typecast) the selector
        bytes4 selector = bytes4(data);
        if (
            selector == IERC20.transfer.selector || selector == IERC20.approve.selector
                || selector == INCREASE_ALLOWANCE
        ) {
            if (data.length != 0x44) revert ISmartAccount.SmartAccount_BadCallData();
            return (true, word(data, 0x24));
        }
        if (selector == IERC20.transferFrom.selector) {
            if (data.length != 0x64) revert ISmartAccount.SmartAccount_BadCallData();
            return (true, word(data, 0x44));
        }
        return (false, 0);
    }

    /// @notice Makes one call; a failure reverts with the first bytes of its reason.
    function run(uint256 index, address target, uint256 value, bytes calldata data) internal {
        bool success;
        bytes memory reason;
        assembly ("memory-safe") {
            // Assembly: a high-level call copies the whole answer, at the account's cost.
            let m := mload(0x40)
            calldatacopy(m, data.offset, data.length)
            success := call(gas(), target, value, m, data.length, 0, 0)
            if iszero(success) {
                let size := returndatasize()
                if gt(size, MAX_REASON) { size := MAX_REASON }
                reason := m
                mstore(reason, size)
                returndatacopy(add(reason, 0x20), 0, size)
                mstore(0x40, add(add(reason, 0x20), and(add(size, 0x1f), not(0x1f))))
            }
        }
        if (!success) revert ISmartAccount.SmartAccount_CallFailed(index, reason);
    }

    /// @notice `token`'s balance of this account.
    function balanceOf(address token) internal view returns (uint256 held) {
        bool success;
        bytes4 selector = IERC20.balanceOf.selector;
        assembly ("memory-safe") {
            // Assembly: takes one word of the answer, whatever its length.
            mstore(0x00, selector)
            mstore(0x04, address())
            success := staticcall(gas(), token, 0x00, 0x24, 0x00, 0x20)
            success := and(success, gt(returndatasize(), 0x1f))
            held := mload(0x00)
        }
        if (!success) revert ISmartAccount.SmartAccount_NoBalance(token);
    }

    /// @notice The word at `offset`; zeros where all calldata ends.
    function word(bytes calldata data, uint256 offset) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            // Assembly: the callers have checked the length, or do so before the word is used, and a
            // slice would check it again.
            value := calldataload(add(data.offset, offset))
        }
    }
}
