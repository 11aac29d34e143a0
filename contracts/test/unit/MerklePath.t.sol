// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MerklePath} from "../../libraries/MerklePath.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {ReferenceTree} from "../utils/ReferenceTree.sol";

contract MerklePathTest is BaseTest {
    bytes1 private constant PREFIX = 0x01;

    /// @dev Every leaf of every size, against the RFC's recursion.
    function test_EverySizeUpTo40() public view {
        for (uint256 size = 1; size <= 40; ++size) {
            bytes32[] memory leaves = _leaves(size);
            bytes32 root = ReferenceTree.root(PREFIX, leaves);
            for (uint256 index = 0; index < size; ++index) {
                bytes32[] memory path = ReferenceTree.path(PREFIX, leaves, index);
                assertEq(MerklePath.length(index, size), path.length, "length");
                assertTrue(this.verify(leaves[index], index, size, path, root), "root");
            }
        }
    }

    /// @dev For a given path length only the right index of the right size leads to the root.
    function test_OtherIndicesLeadElsewhere() public view {
        uint256 size = 21;
        bytes32[] memory leaves = _leaves(size);
        bytes32 root = ReferenceTree.root(PREFIX, leaves);
        for (uint256 index = 0; index < size; ++index) {
            bytes32[] memory path = ReferenceTree.path(PREFIX, leaves, index);
            for (uint256 other = 0; other < size; ++other) {
                if (other == index || MerklePath.length(other, size) != path.length) continue;
                assertFalse(this.verify(leaves[index], other, size, path, root));
            }
        }
    }

    /// @dev Lengths at the far end of the integers, where nothing may overflow.
    function test_LengthsOfHugeTrees() public pure {
        uint256 max = type(uint64).max;
        assertEq(MerklePath.length(0, max), 64);
        assertEq(MerklePath.length(max - 1, max), 63);
        assertEq(MerklePath.length(0, 2 ** 63), 63);
        assertEq(MerklePath.length(2 ** 63 - 1, 2 ** 63), 63);
        assertEq(MerklePath.length(2 ** 63, 2 ** 63 + 1), 1);
        assertEq(MerklePath.length(0, 1), 0);
    }

    function testFuzz_LengthIsThatOfTheRecursion(uint64 index, uint64 size) public pure {
        size = size == 0 ? 1 : size;
        index %= size;
        uint256 expected = 0;
        uint256 start = 0;
        uint256 end = size;
        for (; end - start > 1; ++expected) {
            uint256 half = 1;
            while (half * 2 < end - start) half *= 2;
            if (index < start + half) end = start + half;
            else start += half;
        }
        assertEq(MerklePath.length(index, size), expected);
    }

    /// @dev What hashes to the root proves nothing when it is too long or too short for its position, or
    /// when there is no such position.
    function test_OnlyTheExactLength() public view {
        bytes32[] memory leaves = _leaves(21);
        bytes32 root = ReferenceTree.root(PREFIX, leaves);
        for (uint256 index = 0; index < 21; ++index) {
            bytes32[] memory path = ReferenceTree.path(PREFIX, leaves, index);
            bytes32[] memory longer = new bytes32[](path.length + 1);
            for (uint256 i = 0; i < path.length; ++i) {
                longer[i] = path[i];
            }
            bytes32 above = keccak256(abi.encodePacked(PREFIX, bytes32(0), root));
            assertFalse(this.verify(leaves[index], index, 21, longer, above), "longer");
            assertFalse(this.verify(leaves[index], index, 21, new bytes32[](0), leaves[index]));
        }
        assertTrue(this.verify(root, 0, 1, new bytes32[](0), root));
        assertFalse(this.verify(root, 1, 1, new bytes32[](0), root), "past the end");
        assertFalse(this.verify(root, 0, 0, new bytes32[](0), root), "a tree of nothing");
    }

    /// @dev The first byte of the free memory pointer is borrowed, and given back.
    function test_MemoryIsUsableAfterwards() public view {
        bytes32[] memory leaves = _leaves(6);
        bytes32 root = ReferenceTree.root(PREFIX, leaves);
        for (uint256 index = 0; index < 6; ++index) {
            bytes32[] memory path = ReferenceTree.path(PREFIX, leaves, index);
            assertEq(this.verifyAndEcho(leaves[index], index, path, root), path);
        }
    }

    function verify(
        bytes32 leaf,
        uint256 index,
        uint256 size,
        bytes32[] calldata path,
        bytes32 root
    ) external pure returns (bool) {
        return MerklePath.verify(uint8(PREFIX), leaf, index, size, path, root);
    }

    /// @dev Allocates memory for the answer after the path was climbed.
    function verifyAndEcho(bytes32 leaf, uint256 index, bytes32[] calldata path, bytes32 root)
        external
        pure
        returns (bytes32[] memory)
    {
        assertTrue(MerklePath.verify(uint8(PREFIX), leaf, index, 6, path, root));
        return path;
    }

    function _leaves(uint256 size) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = keccak256(abi.encode(i));
        }
    }
}
