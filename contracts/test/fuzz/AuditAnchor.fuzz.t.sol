// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {ReferenceTree} from "../utils/ReferenceTree.sol";

contract AuditAnchorFuzzTest is AuditAnchorTest {
    /// @dev All that one proof is made of, so that it can be damaged anywhere by one index.
    struct Proof {
        bytes32 tenantId;
        IAuditAnchor.Entry entry;
        IAuditAnchor.Batch batch;
        bytes32[] path;
        bytes32[] historyPath;
    }

    // --------------------------------------------------------------- proofs

    /// @dev Any entry of any batch in any history is proven, and with any one byte changed it is not.
    function testFuzz_ProofHoldsAndNoByteOfItIsSpare(
        uint256 seed,
        uint8 before,
        uint8 after_,
        uint8 size,
        uint8 index,
        uint256 damage
    ) public {
        Proof memory proof = _proof(seed, before % 20, after_ % 20, 1 + size % 40, index);
        assertTrue(_verify(proof));
        assertTrue(auditAnchor.verifyBatch(proof.tenantId, proof.batch, proof.historyPath));

        // Each value as the bytes that are hashed: 32 or 8 wide.
        bytes memory flat = abi.encodePacked(
            proof.tenantId,
            proof.entry.seq,
            proof.entry.previous,
            proof.entry.commitment,
            proof.batch.batchIndex,
            proof.batch.firstSeq,
            proof.batch.count,
            proof.batch.root,
            proof.batch.anchoredAt,
            proof.path,
            proof.historyPath
        );
        uint256 position = damage % flat.length;
        flat[position] ^= bytes1(uint8(1 + (damage >> 128) % 255));
        _fill(proof, flat);
        assertFalse(_verify(proof), "a damaged proof was taken");
    }

    /// @dev Whatever well-formed nonsense is asked, the answer is no, and it is an answer.
    function testFuzz_VerifyNeverReverts(Proof memory proof, uint40 batches) public {
        _storeHead(proof.tenantId, anchorer, batches, batches);
        assertFalse(_verify(proof));
        assertFalse(auditAnchor.verifyBatch(proof.tenantId, proof.batch, proof.historyPath));
    }

    // -------------------------------------------------------------- actions

    /// @dev I1: a sender who is neither authority nor anchorer leaves no trace, even with items that fit.
    function testFuzz_I1_StrangersChangeNothing(
        address sender,
        address newAnchorer,
        uint32 count,
        bytes memory signature
    ) public {
        _setAnchorer(alice, anchorer);
        _anchorBatches(aliceId, 3);
        if (sender == alice || sender == anchorer || sender == address(0)) return;
        bytes32 before = _state(aliceId);
        uint64 next = _head(aliceId).entries;
        if (count == 0) count = 1;

        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](1);
        items[0] = IAuditAnchor.Item(aliceId, next, count, 0);
        IAuditAnchor.SignedItem[] memory signed = new IAuditAnchor.SignedItem[](1);
        signed[0] = IAuditAnchor.SignedItem(aliceId, next, count, 0, type(uint64).max, signature);
        vm.startPrank(sender);
        auditAnchor.anchorMany(items);
        auditAnchor.anchorSigned(signed);
        vm.expectRevert();
        auditAnchor.setAnchorer(aliceId, newAnchorer);
        vm.expectRevert();
        auditAnchor.setAnchorerSigned(aliceId, newAnchorer, type(uint64).max, signature);
        vm.expectRevert();
        auditAnchor.anchor(aliceId, next, count, 0);
        vm.stopPrank();
        assertEq(_state(aliceId), before);
    }

    /// @dev Items are independent: one call with many is the same as many calls with one, where those
    /// that would revert are left out.
    function testFuzz_ManyIsTheSameAsOneByOne(IAuditAnchor.Item[] memory items, uint256 seed)
        public
    {
        bytes32[3] memory ids = [aliceId, bobId, _id(stranger)];
        for (uint64 i = 0; i < items.length; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            items[i].tenantId = dice % 8 == 0 ? items[i].tenantId : ids[(dice >> 8) % 3];
            items[i].count = (dice >> 16) % 8 == 0 ? items[i].count : uint64(1);
            items[i].firstSeq = (dice >> 24) % 8 == 0 ? items[i].firstSeq : i / 3;
        }
        IAuditAnchor together = auditAnchor;
        IAuditAnchor oneByOne = _deployAuditAnchor();
        _prepare(together);
        _prepare(oneByOne);
        vm.startPrank(anchorer);
        together.anchorMany(items);
        for (uint256 i = 0; i < items.length; ++i) {
            IAuditAnchor.Item memory item = items[i];
            try oneByOne.anchor(item.tenantId, item.firstSeq, item.count, item.root) {} catch {}
        }
        vm.stopPrank();
        for (uint256 i = 0; i < 3; ++i) {
            auditAnchor = together;
            bytes32 state = _state(ids[i]);
            auditAnchor = oneByOne;
            assertEq(state, _state(ids[i]));
        }
    }

    /// @dev From any counters: a batch is taken exactly when it fits, and moves nothing else.
    function testFuzz_I3_CountersMoveByExactlyOneBatch(
        uint40 batches,
        uint56 entries,
        uint64 firstSeq,
        uint64 count,
        bool next
    ) public {
        _storeHead(aliceId, anchorer, batches, entries);
        if (next) firstSeq = entries;
        bool fits = firstSeq == entries && count > 0 && count < 2 ** 32
            && uint256(entries) + count < 2 ** 56 && batches < 2 ** 40 - 1;
        vm.prank(anchorer);
        try auditAnchor.anchor(aliceId, firstSeq, count, 0) {
            assertTrue(fits, "anchored what does not fit");
            _assertHead(aliceId, anchorer, uint256(batches) + 1, uint256(entries) + count);
        } catch {
            assertFalse(fits, "refused what fits");
            _assertHead(aliceId, anchorer, batches, entries);
        }
    }

    function testFuzz_SetAnchorerSigned(
        uint256 key,
        address newAnchorer,
        uint64 deadline,
        uint64 time
    ) public {
        key = 1 + key % (SECP256K1_ORDER - 1);
        address authority = vm.addr(key);
        bytes32 digest = _setAnchorerDigest(_domain(), _id(authority), newAnchorer, 0, deadline);
        vm.warp(time);
        if (time > deadline) vm.expectRevert();
        auditAnchor.setAnchorerSigned(_id(authority), newAnchorer, deadline, _sign(key, digest));
        assertEq(auditAnchor.nonceOf(_id(authority)), time > deadline ? 0 : 1);
        _assertHead(_id(authority), time > deadline ? address(0) : newAnchorer, 0, 0);
    }

    // -------------------------------------------------------------- helpers

    function _proof(uint256 seed, uint256 before, uint256 after_, uint64 size, uint64 index)
        private
        returns (Proof memory proof)
    {
        index %= size;
        _setAnchorer(alice, anchorer);
        _anchorBatches(aliceId, before);
        proof.tenantId = aliceId;
        uint64 firstSeq = _head(aliceId).entries;
        bytes32[] memory leaves = new bytes32[](size);
        bytes32 previous = bytes32(seed);
        for (uint64 i = 0; i < size; ++i) {
            IAuditAnchor.Entry memory entry =
                IAuditAnchor.Entry(firstSeq + i, previous, keccak256(abi.encode(seed, i)));
            if (i == index) proof.entry = entry;
            leaves[i] = previous = _entryHash(aliceId, entry);
        }
        proof.batch = _anchorBatch(aliceId, size, ReferenceTree.root(BATCH_NODE, leaves));
        proof.path = ReferenceTree.path(BATCH_NODE, leaves, index);
        _anchorBatches(aliceId, after_);
        proof.historyPath = _pathToPeak(aliceId, before);
    }

    function _verify(Proof memory proof) private view returns (bool) {
        return auditAnchor.verifyEntry(
            proof.tenantId, proof.entry, proof.batch, proof.path, proof.historyPath
        );
    }

    /// @dev The reverse of the packing above.
    function _fill(Proof memory proof, bytes memory flat) private pure {
        proof.tenantId = _word(flat, 0);
        proof.entry.seq = _uint64(flat, 32);
        proof.entry.previous = _word(flat, 40);
        proof.entry.commitment = _word(flat, 72);
        proof.batch.batchIndex = _uint64(flat, 104);
        proof.batch.firstSeq = _uint64(flat, 112);
        proof.batch.count = _uint64(flat, 120);
        proof.batch.root = _word(flat, 128);
        proof.batch.anchoredAt = _uint64(flat, 160);
        uint256 position = 168;
        for (uint256 i = 0; i < proof.path.length; ++i) {
            proof.path[i] = _word(flat, position);
            position += 32;
        }
        for (uint256 i = 0; i < proof.historyPath.length; ++i) {
            proof.historyPath[i] = _word(flat, position);
            position += 32;
        }
        assertEq(position, flat.length);
    }

    function _word(bytes memory flat, uint256 position) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(add(flat, 0x20), position))
        }
    }

    function _uint64(bytes memory flat, uint256 position) private pure returns (uint64) {
        return uint64(bytes8(_word(flat, position)));
    }

    function _prepare(IAuditAnchor target) private {
        vm.prank(alice);
        target.setAnchorer(aliceId, anchorer);
        vm.prank(bob);
        target.setAnchorer(bobId, anchorer);
    }
}
