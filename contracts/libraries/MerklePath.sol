// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LibBit} from "solady/utils/LibBit.sol";

/// @title MerklePath
/// @notice Audit paths in trees of the shape of RFC 6962, for any number of leaves up to 2^64.
/// @dev Going up from leaf `index` of `size`, the node is a left or right child as the bits of `index`
/// say, up to the level where it meets the right edge of the tree: these are the inner levels. Above,
/// the node is on the right edge itself: it has a sibling, always a left one, only at the levels where
/// `index` has a bit set. So `index` and `size` fix the length of the path exactly.
library MerklePath {
    /// @notice Whether `path` leads from leaf node `leaf` at position `index` to `root`.
    /// @dev False, before anything is hashed, if there is no such position or the path is too long or
    /// too short for it.
    /// @param prefix Prefix byte of the tree's inner nodes: `keccak256(prefix ‖ left ‖ right)`.
    /// @param leaf The leaf node.
    /// @param index Its position, from 0.
    /// @param size Number of leaves, at most 2^64.
    /// @param path Siblings, lowest first.
    /// @param root The root of the tree.
    function verify(
        uint256 prefix,
        bytes32 leaf,
        uint256 index,
        uint256 size,
        bytes32[] calldata path,
        bytes32 root
    ) internal pure returns (bool) {
        if (index >= size) return false;
        uint256 inner = _inner(index, size);
        if (path.length != LibBit.popCount(index | inner)) return false;
        // On the right edge every sibling is a left one, and levels without sibling take no bit.
        return _climb(prefix, leaf, index | ~inner, path) == root;
    }

    /// @notice Exact length of the path of leaf `index` in a tree of `size` leaves.
    /// @dev The caller has checked that `index < size`.
    function length(uint256 index, uint256 size) internal pure returns (uint256) {
        return LibBit.popCount(index | _inner(index, size));
    }

    /// @dev The node that `path` leads to. Bit i of `rights` says that the node at level i is a right
    /// child.
    function _climb(uint256 prefix, bytes32 node, uint256 rights, bytes32[] calldata path)
        private
        pure
        returns (bytes32)
    {
        assembly ("memory-safe") {
            // Assembly: a loop over `Hashes.node` costs 16 levels 3,300 gas more, and one level at a
            // time, instead of two, 230 more. Memory as in `Hashes.node`, prefix and the first byte of
            // the free memory pointer being written once.
            mstore8(0x00, prefix)
            let sibling := path.offset
            let end := add(sibling, shl(5, path.length))
            if and(path.length, 1) {
                switch and(rights, 1)
                case 0 {
                    mstore(0x01, node)
                    mstore(0x21, calldataload(sibling))
                }
                default {
                    mstore(0x01, calldataload(sibling))
                    mstore(0x21, node)
                }
                node := keccak256(0x00, 0x41)
                rights := shr(1, rights)
                sibling := add(sibling, 0x20)
            }
            for {} sub(sibling, end) { sibling := add(sibling, 0x40) } {
                switch and(rights, 1)
                case 0 {
                    mstore(0x01, node)
                    mstore(0x21, calldataload(sibling))
                }
                default {
                    mstore(0x01, calldataload(sibling))
                    mstore(0x21, node)
                }
                node := keccak256(0x00, 0x41)
                switch and(rights, 2)
                case 0 {
                    mstore(0x01, node)
                    mstore(0x21, calldataload(add(sibling, 0x20)))
                }
                default {
                    mstore(0x01, calldataload(add(sibling, 0x20)))
                    mstore(0x21, node)
                }
                node := keccak256(0x00, 0x41)
                rights := shr(2, rights)
            }
            mstore8(0x40, 0)
        }
        return node;
    }

    /// @dev A bit for each level below the one at which the path of `index` has joined that of the last
    /// leaf: all bits up to the highest in which the two differ.
    function _inner(uint256 index, uint256 size) private pure returns (uint256 bits) {
        unchecked {
            bits = index ^ (size - 1);
        }
        bits |= bits >> 1;
        bits |= bits >> 2;
        bits |= bits >> 4;
        bits |= bits >> 8;
        bits |= bits >> 16;
        bits |= bits >> 32;
    }
}
