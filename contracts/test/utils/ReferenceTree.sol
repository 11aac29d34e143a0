// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice RFC 6962 trees as the RFC writes them: split at the largest power of two below the size,
/// and recurse. Slow, and with no line in common with the contract.
library ReferenceTree {
    /// @notice Root over `leaves`; zero when there are none.
    function root(bytes1 prefix, bytes32[] memory leaves) internal pure returns (bytes32) {
        return leaves.length == 0 ? bytes32(0) : _root(prefix, leaves, 0, leaves.length);
    }

    /// @notice Audit path of leaf `index`, lowest sibling first.
    function path(bytes1 prefix, bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32[] memory)
    {
        return pathWithin(prefix, leaves, index, 0, leaves.length);
    }

    /// @notice Audit path of leaf `index` in the tree over the leaves from `start` up to `end`.
    function pathWithin(
        bytes1 prefix,
        bytes32[] memory leaves,
        uint256 index,
        uint256 start,
        uint256 end
    ) internal pure returns (bytes32[] memory result) {
        if (end - start == 1) return new bytes32[](0);
        uint256 middle = start + _split(end - start);
        bytes32[] memory below;
        bytes32 sibling;
        if (index < middle) {
            below = pathWithin(prefix, leaves, index, start, middle);
            sibling = _root(prefix, leaves, middle, end);
        } else {
            below = pathWithin(prefix, leaves, index, middle, end);
            sibling = _root(prefix, leaves, start, middle);
        }
        result = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) {
            result[i] = below[i];
        }
        result[below.length] = sibling;
    }

    /// @notice Path of leaf `index` to the peak that covers it: the perfect trees that the leaves fall
    /// into, the largest first, are tried one after the other.
    function pathToPeak(bytes1 prefix, bytes32[] memory leaves, uint256 index)
        internal
        pure
        returns (bytes32[] memory)
    {
        uint256 start = 0;
        while (true) {
            uint256 size = 1;
            while (size * 2 <= leaves.length - start) size *= 2;
            if (index < start + size) {
                return pathWithin(prefix, leaves, index, start, start + size);
            }
            start += size;
        }
        revert("unreachable");
    }

    function _root(bytes1 prefix, bytes32[] memory leaves, uint256 start, uint256 end)
        private
        pure
        returns (bytes32)
    {
        if (end - start == 1) return leaves[start];
        uint256 middle = start + _split(end - start);
        bytes32 left = _root(prefix, leaves, start, middle);
        bytes32 right = _root(prefix, leaves, middle, end);
        return keccak256(abi.encodePacked(prefix, left, right));
    }

    function _split(uint256 size) private pure returns (uint256 half) {
        half = 1;
        while (half * 2 < size) half *= 2;
    }
}
