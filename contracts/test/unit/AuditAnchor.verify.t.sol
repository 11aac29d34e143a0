// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {ReferenceTree} from "../utils/ReferenceTree.sol";

/// @notice Entry 4 of the 11 in alice's batch 2, in a history of 7 batches, and what it takes to make
/// its proof false. Sizes and indices in breadth: fuzz/ and vectors/.
contract VerifyTest is AuditAnchorTest {
    uint64 private constant COUNT = 11;
    uint64 private constant LEAF = 4;
    uint64 private constant BATCH = 2;

    IAuditAnchor.Entry private entry;
    IAuditAnchor.Batch private batch;
    bytes32[] private path;

    function setUp() public override {
        super.setUp();
        _setAnchorer(alice, anchorer);
        _setAnchorer(bob, anchorer);
        _anchorBatches(aliceId, BATCH);

        uint64 firstSeq = _head(aliceId).entries;
        bytes32[] memory leaves = new bytes32[](COUNT);
        bytes32 previous = keccak256("the entry before the batch");
        for (uint64 i = 0; i < COUNT; ++i) {
            IAuditAnchor.Entry memory one =
                IAuditAnchor.Entry(firstSeq + i, previous, keccak256(abi.encode("fields", i)));
            if (i == LEAF) entry = one;
            leaves[i] = previous = _entryHash(aliceId, one);
        }
        batch = _anchorBatch(aliceId, COUNT, ReferenceTree.root(BATCH_NODE, leaves));
        path = ReferenceTree.path(BATCH_NODE, leaves, LEAF);
        _anchorBatches(aliceId, 4);
    }

    function test_TakesTheEntryAndTheBatch() public view {
        assertTrue(_verify(aliceId, entry, batch, path, _pathToPeak(aliceId, BATCH)));
        assertTrue(auditAnchor.verifyBatch(aliceId, batch, _pathToPeak(aliceId, BATCH)));
    }

    /// @dev bob has the same batches at the same positions, his own.
    function test_RefusesEveryOtherTenant() public {
        _anchorBatches(bobId, 7);
        bytes32[] memory historyPath = _pathToPeak(aliceId, BATCH);
        for (uint256 bit = 0; bit < 256; ++bit) {
            bytes32 other = bytes32(uint256(aliceId) ^ (uint256(1) << bit));
            assertFalse(_verify(other, entry, batch, path, historyPath));
            assertFalse(auditAnchor.verifyBatch(other, batch, historyPath));
        }
        assertFalse(_verify(bobId, entry, batch, path, historyPath));
        assertFalse(_verify(bytes32(0), entry, batch, path, historyPath));
    }

    function test_RefusesEveryFlippedBitOfTheEntry() public view {
        bytes32[] memory historyPath = _pathToPeak(aliceId, BATCH);
        bytes memory good = abi.encode(entry);
        for (uint256 bit = 0; bit < good.length * 8; ++bit) {
            if (bit % 256 < 192 && bit < 256) continue; // zeros above the 64 bits of seq
            bytes memory bad = _flip(good, bit);
            assertFalse(
                _verify(aliceId, abi.decode(bad, (IAuditAnchor.Entry)), batch, path, historyPath)
            );
        }
    }

    function test_RefusesEveryFlippedBitOfTheBatch() public view {
        bytes32[] memory historyPath = _pathToPeak(aliceId, BATCH);
        bytes memory good = abi.encode(batch);
        for (uint256 bit = 0; bit < good.length * 8; ++bit) {
            if (bit % 256 < 192 && bit / 256 != 3) continue; // zeros above the 64-bit fields
            IAuditAnchor.Batch memory bad = abi.decode(_flip(good, bit), (IAuditAnchor.Batch));
            assertFalse(_verify(aliceId, entry, bad, path, historyPath));
            assertFalse(auditAnchor.verifyBatch(aliceId, bad, historyPath));
        }
    }

    function test_RefusesEveryFlippedByteOfThePaths() public view {
        bytes32[] memory goodPath = path;
        bytes32[] memory historyPath = _pathToPeak(aliceId, BATCH);
        for (uint256 i = 0; i < goodPath.length; ++i) {
            for (uint256 byteIndex = 0; byteIndex < 32; ++byteIndex) {
                bytes32 flip = bytes32(uint256(0xff) << (8 * byteIndex));
                goodPath[i] ^= flip;
                assertFalse(_verify(aliceId, entry, batch, goodPath, historyPath));
                goodPath[i] ^= flip;
            }
        }
        for (uint256 i = 0; i < historyPath.length; ++i) {
            historyPath[i] ^= bytes32(uint256(1));
            assertFalse(_verify(aliceId, entry, batch, goodPath, historyPath));
            assertFalse(auditAnchor.verifyBatch(aliceId, batch, historyPath));
            historyPath[i] ^= bytes32(uint256(1));
        }
    }

    /// @dev Every length but the right one, and 10,000 elements: false before anything is hashed.
    function test_RefusesWrongPathLengthsCheaply() public view {
        bytes32[] memory historyPath = _pathToPeak(aliceId, BATCH);
        for (uint256 length = 0; length <= 70; ++length) {
            if (length != path.length) {
                assertFalse(_verify(aliceId, entry, batch, _resized(path, length), historyPath));
            }
            if (length != historyPath.length) {
                bytes32[] memory wrong = _resized(historyPath, length);
                assertFalse(_verify(aliceId, entry, batch, path, wrong));
                assertFalse(auditAnchor.verifyBatch(aliceId, batch, wrong));
            }
        }
        bytes32[] memory long = new bytes32[](10_000);
        assertFalse(_verify(aliceId, entry, batch, long, historyPath));
        _assertCheap();
        assertFalse(_verify(aliceId, entry, batch, path, long));
        _assertCheap();
        assertFalse(_verify(aliceId, entry, batch, long, long));
        _assertCheap();
        assertFalse(auditAnchor.verifyBatch(aliceId, batch, long));
        _assertCheap();
    }

    /// @dev The path is good while its peak lives, and can be made again when that was merged away.
    function test_I2_StalePathCanBeRebuilt() public {
        bytes32[] memory before = _pathToPeak(aliceId, BATCH);
        assertEq(before.length, 2);
        _anchorBatches(aliceId, 1);
        assertFalse(_verify(aliceId, entry, batch, path, before), "peak of height 2 is stale");
        assertTrue(_verify(aliceId, entry, batch, path, _pathToPeak(aliceId, BATCH)));
        _anchorBatches(aliceId, 7);
        assertTrue(_verify(aliceId, entry, batch, path, _pathToPeak(aliceId, BATCH)));
    }

    /// @dev After 8 batches the peaks of height 0 to 2 are stale, yet still in storage.
    function test_StalePeaksProveNothing() public {
        _anchorBatches(aliceId, 1);
        for (uint256 height = 0; height < 3; ++height) {
            bytes32 stale = vm.load(address(auditAnchor), _peakSlot(aliceId, height));
            assertTrue(stale != bytes32(0), "there is no stale peak to test");
            for (uint64 index = 0; index < 8; ++index) {
                IAuditAnchor.Batch memory one = anchored[aliceId][index];
                assertFalse(auditAnchor.verifyBatch(aliceId, one, new bytes32[](height)));
            }
        }
        // The single batch that is the stale peak of height 0.
        assertFalse(auditAnchor.verifyBatch(aliceId, anchored[aliceId][6], new bytes32[](0)));
    }

    function test_RefusesBatchesThatAreNotThereYet() public view {
        IAuditAnchor.Batch memory next = anchored[aliceId][6];
        next.batchIndex = 7;
        assertFalse(auditAnchor.verifyBatch(aliceId, next, new bytes32[](0)));
        // Where `batches` and the index do not differ, the highest differing bit would be number 256.
        assertFalse(auditAnchor.verifyBatch(aliceId, next, new bytes32[](256)));
        next.batchIndex = type(uint64).max;
        assertFalse(auditAnchor.verifyBatch(aliceId, next, new bytes32[](0)));
        assertFalse(auditAnchor.verifyBatch(bobId, anchored[aliceId][0], new bytes32[](0)));
    }

    /// @dev The leaf's index is counted, not claimed: moving the batch under the entry changes both.
    function test_RefusesShiftedIndex() public view {
        IAuditAnchor.Entry memory shifted = entry;
        IAuditAnchor.Batch memory other = batch;
        shifted.seq += 1;
        other.firstSeq += 1;
        assertFalse(_verify(aliceId, shifted, other, path, _pathToPeak(aliceId, BATCH)));
        shifted.seq = batch.firstSeq - 1;
        assertFalse(_verify(aliceId, shifted, batch, path, _pathToPeak(aliceId, BATCH)));
        shifted.seq = batch.firstSeq + COUNT;
        assertFalse(_verify(aliceId, shifted, batch, path, _pathToPeak(aliceId, BATCH)));
    }

    // ------------------------------------------------------------- helpers

    function _verify(
        bytes32 tenantId,
        IAuditAnchor.Entry memory entry_,
        IAuditAnchor.Batch memory batch_,
        bytes32[] memory path_,
        bytes32[] memory historyPath
    ) private view returns (bool) {
        return auditAnchor.verifyEntry(tenantId, entry_, batch_, path_, historyPath);
    }

    /// @dev One storage read and a few comparisons; hashing 10,000 nodes would be over a million.
    function _assertCheap() private view {
        assertLt(vm.lastCallGas().gasTotalUsed, 6_000, "long path was not refused cheaply");
    }

    function _flip(bytes memory data, uint256 bit) private pure returns (bytes memory flipped) {
        flipped = bytes.concat(data);
        flipped[bit / 8] ^= bytes1(uint8(0x80) >> (bit % 8));
    }

    function _resized(bytes32[] memory from, uint256 length)
        private
        pure
        returns (bytes32[] memory to)
    {
        to = new bytes32[](length);
        for (uint256 i = 0; i < length && i < from.length; ++i) {
            to[i] = from[i];
        }
    }
}
