// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LibBit} from "solady/utils/LibBit.sol";

import {Hashes} from "./Hashes.sol";

/// @title MerklePath
/// @notice Audit paths in trees of the shape of RFC 6962, for any number of leaves.
/// @dev Going up from leaf `index` of `size`, the node is a left or right child as the bits of `index`
/// say, up to the level where it meets the right edge of the tree; there are `inner` of those levels.
/// Above, the node is on the right edge itself: it has a sibling, always a left one, only at the
/// levels where `index` has a bit set. So `index` and `size` fix the length of the path exactly.
library MerklePath {
    /// @notice Exact length of the path of leaf `index` in a tree of `size` leaves.
    /// @dev The caller has checked that `index < size`.
    function length(uint256 index, uint256 size) internal pure returns (uint256) {
        uint256 inner = _inner(index, size);
        return inner + LibBit.popCount(index >> inner);
    }

    /// @notice The root that `path` leads to from leaf node `leaf`.
    /// @dev The caller has checked that `index < size` and that `path.length == length(index, size)`.
    /// @param prefix Prefix byte of the tree's inner nodes.
    /// @param leaf The leaf node.
    /// @param index Its position, from 0.
    /// @param size Number of leaves.
    /// @param path Siblings, lowest first.
    function root(
        uint256 prefix,
        bytes32 leaf,
        uint256 index,
        uint256 size,
        bytes32[] calldata path
    ) internal pure returns (bytes32 node) {
        uint256 inner = _inner(index, size);
        node = leaf;
        for (uint256 i = 0; i < path.length; ++i) {
            bool right = i >= inner || (index >> i) & 1 == 1;
            node = right ? Hashes.node(prefix, path[i], node) : Hashes.node(prefix, node, path[i]);
        }
    }

    /// @notice The lowest level at which the path of `index` has joined that of the last leaf.
    function _inner(uint256 index, uint256 size) private pure returns (uint256) {
        uint256 differing = index ^ (size - 1);
        return differing == 0 ? 0 : LibBit.fls(differing) + 1;
    }
}
