// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Hashes
/// @notice The hashes of format version 1 that the chain computes. Every one starts with its own
/// prefix byte, so that no value of one kind can be read as another.
library Hashes {
    /// @notice Prefix of an inner node of a batch tree.
    uint256 internal constant BATCH_NODE = 0x01;

    /// @notice Prefix of a batch commitment, which is also the leaf node of the history tree.
    uint256 internal constant BATCH_COMMITMENT = 0x02;

    /// @notice Prefix of an inner node of the history tree.
    uint256 internal constant HISTORY_NODE = 0x03;

    /// @notice `keccak256(prefix ‖ left ‖ right)`, `prefix` being one byte.
    function node(uint256 prefix, bytes32 left, bytes32 right)
        internal
        pure
        returns (bytes32 result)
    {
        assembly ("memory-safe") {
            // Assembly: abi.encodePacked costs an average `anchor` 169 gas more.
            // 65 bytes: scratch space, and the first byte of the free memory pointer, which is
            // always zero and is put back.
            mstore8(0x00, prefix)
            mstore(0x01, left)
            mstore(0x21, right)
            result := keccak256(0x00, 0x41)
            mstore8(0x40, 0)
        }
    }

    /// @notice The hash of one entry of a tenant's chain.
    function entry(bytes32 tenantId, uint64 seq, bytes32 previous, bytes32 commitment)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(bytes1(0), tenantId, seq, previous, commitment));
    }

    /// @notice The commitment to one anchored batch of a tenant.
    function batchCommitment(
        bytes32 tenantId,
        uint64 batchIndex,
        uint64 firstSeq,
        uint64 count,
        bytes32 root,
        uint64 anchoredAt
    ) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            // Assembly: abi.encodePacked costs an average `anchor` 184 gas more.
            // From the last field to the first, each store overwriting the zeros that the one
            // before left above its field.
            let m := mload(0x40)
            mstore(add(m, 0x41), anchoredAt)
            mstore(add(m, 0x39), root)
            mstore(add(m, 0x19), count)
            mstore(add(m, 0x11), firstSeq)
            mstore(add(m, 0x09), batchIndex)
            mstore(add(m, 0x01), tenantId)
            mstore8(m, BATCH_COMMITMENT)
            result := keccak256(m, 0x61)
        }
    }
}
