// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {VmSafe} from "forge-std/Vm.sol";

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {StorageLayout} from "../utils/StorageLayout.sol";

/// @notice Storage is part of the interface: proofs and ERC-4337 validation code read it.
contract StorageTest is AuditAnchorTest, StorageLayout {
    string private constant ARTIFACT = "target/forge/out/AuditAnchor.sol/AuditAnchor.json";

    /// @dev What the compiler says is what the documentation says.
    function test_CompilerLayoutIsTheDocumentedOne() public view {
        string memory json = vm.readFile(ARTIFACT);
        _assertVariable(json, 0, "_heads", "mapping(bytes32 => struct AuditAnchor.TenantHead)");
        _assertVariable(json, 1, "_peaks", "mapping(uint256 => mapping(bytes32 => bytes32))");
        _assertVariable(json, 2, "_nonces", "mapping(bytes32 => uint64)");
        assertFalse(vm.keyExistsJson(json, ".storageLayout.storage[3]"), "a fourth variable");

        // The struct of `_heads` is one word and nothing else.
        string memory heads = vm.parseJsonString(json, ".storageLayout.storage[0].type");
        string memory head = vm.parseJsonString(json, _ofType(heads, "value"));
        assertEq(vm.parseJsonString(json, _ofType(head, "numberOfBytes")), "32");
        assertEq(vm.parseJsonString(json, _ofType(head, "members[0].label")), "word");
        assertEq(vm.parseJsonString(json, _ofType(head, "members[0].slot")), "0");
        assertFalse(vm.keyExistsJson(json, _ofType(head, "members[1]")), "a second member");
    }

    /// @dev What is in the slots is what the views say.
    function test_SlotsHoldWhatTheViewsReport() public {
        _setAnchorer(alice, anchorer);
        _setAnchorer(alice, anchorer);
        _anchorBatches(aliceId, 6);
        IAuditAnchor.Head memory head = _head(aliceId);
        uint256 word = (uint256(head.entries) << 200) | (uint256(head.batches) << 160)
            | uint160(head.anchorer);
        assertEq(head.batches, 6);
        assertEq(_load(_headSlot(aliceId)), bytes32(word));
        assertEq(_load(_nonceSlot(aliceId)), bytes32(uint256(2)));
        bytes32[] memory peaks = auditAnchor.peaks(aliceId);
        assertEq(_load(_peakSlot(aliceId, 2)), peaks[0]);
        assertEq(_load(_peakSlot(aliceId, 1)), peaks[1]);
        assertTrue(_load(_peakSlot(aliceId, 0)) != 0, "the stale peak stays");
        assertEq(_load(_peakSlot(aliceId, 3)), 0);
    }

    /// @dev ERC-7562: whatever is called for a tenant touches only slots `keccak256(tenantId ‖ x)`,
    /// reading or writing, so that validation code of the tenant's account may call it.
    function test_ERC7562_EverySlotIsAssociatedWithItsTenant() public {
        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](1);
        IAuditAnchor.SignedItem[] memory signed = new IAuditAnchor.SignedItem[](1);
        bytes memory signature =
            _sign(ALICE_KEY, _setAnchorerDigest(_domain(), aliceId, anchorer, 1, START));

        vm.startStateDiffRecording();
        _setAnchorer(alice, anchorer);
        auditAnchor.setAnchorerSigned(aliceId, anchorer, START, signature);
        for (uint64 i = 0; i < 24; i += 3) {
            vm.prank(anchorer);
            auditAnchor.anchor(aliceId, i, 1, bytes32(0));
            items[0] = IAuditAnchor.Item(aliceId, i + 1, 1, bytes32(0));
            vm.prank(anchorer);
            auditAnchor.anchorMany(items);
            signed[0] = IAuditAnchor.SignedItem(aliceId, i + 2, 1, bytes32(0), START, "");
            signed[0].signature = _sign(ANCHORER_KEY, _anchorDigest(_domain(), signed[0]));
            auditAnchor.anchorSigned(signed);
        }
        _head(aliceId);
        auditAnchor.nonceOf(aliceId);
        auditAnchor.peaks(aliceId);
        auditAnchor.historyRoot(aliceId);
        IAuditAnchor.Batch memory batch = IAuditAnchor.Batch(0, 0, 1, bytes32(0), START);
        auditAnchor.verifyBatch(aliceId, batch, new bytes32[](4));
        auditAnchor.verifyEntry(
            aliceId, IAuditAnchor.Entry(0, 0, 0), batch, new bytes32[](0), new bytes32[](4)
        );
        VmSafe.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();

        uint256 reads = 0;
        uint256 writes = 0;
        for (uint256 i = 0; i < accesses.length; ++i) {
            for (uint256 j = 0; j < accesses[i].storageAccesses.length; ++j) {
                VmSafe.StorageAccess memory access = accesses[i].storageAccesses[j];
                assertEq(access.account, address(auditAnchor));
                assertTrue(_isAssociated(access.slot, aliceId), "slot of nobody");
                assertFalse(_isAssociated(access.slot, bobId));
                if (access.isWrite) ++writes;
                else ++reads;
            }
        }
        assertEq(_head(aliceId).batches, 24, "an anchor was skipped");
        assertEq(writes, 2 * 2 + 2 * 24, "writes");
        assertGt(reads, writes, "reads");
    }

    /// @dev Whether `slot` is `keccak256(tenantId ‖ x)` for the x of a variable.
    function _isAssociated(bytes32 slot, bytes32 tenantId) private pure returns (bool) {
        if (slot == _headSlot(tenantId) || slot == _nonceSlot(tenantId)) return true;
        for (uint256 height = 0; height < 40; ++height) {
            if (slot == _peakSlot(tenantId, height)) return true;
        }
        return false;
    }

    function _load(bytes32 slot) private view returns (bytes32) {
        return vm.load(address(auditAnchor), slot);
    }
}
