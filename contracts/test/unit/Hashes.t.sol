// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "../../libraries/Hashes.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract HashesTest is BaseTest {
    function testFuzz_Node(uint8 prefix, bytes32 left, bytes32 right) public pure {
        bytes32 expected = keccak256(abi.encodePacked(prefix, left, right));
        uint256 before = _freeMemory();
        bytes32 node = Hashes.node(prefix, left, right);
        assertEq(_freeMemory(), before, "the free memory pointer was not put back");
        assertEq(node, expected);
    }

    function testFuzz_Entry(bytes32 tenantId, uint64 seq, bytes32 previous, bytes32 commitment)
        public
        pure
    {
        bytes32 hash = Hashes.entry(tenantId, seq, previous, commitment);
        assertEq(hash, keccak256(abi.encodePacked(hex"00", tenantId, seq, previous, commitment)));
    }

    function testFuzz_BatchCommitment(
        bytes32 tenantId,
        uint64 batchIndex,
        uint64 firstSeq,
        uint64 count,
        bytes32 root,
        uint64 anchoredAt
    ) public pure {
        bytes32 expected = keccak256(
            abi.encodePacked(hex"02", tenantId, batchIndex, firstSeq, count, root, anchoredAt)
        );
        assertEq(
            Hashes.batchCommitment(tenantId, batchIndex, firstSeq, count, root, anchoredAt),
            expected
        );
    }

    function test_PrefixesDiffer() public pure {
        assertEq(Hashes.BATCH_NODE, 1);
        assertEq(Hashes.BATCH_COMMITMENT, 2);
        assertEq(Hashes.HISTORY_NODE, 3);
    }

    function _freeMemory() private pure returns (uint256 pointer) {
        assembly ("memory-safe") {
            pointer := mload(0x40)
        }
    }
}
