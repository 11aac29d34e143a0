// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {VmSafe} from "forge-std/Vm.sol";

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";

/// @notice Storage is part of the interface: ERC-4337 validation code reads it.
contract PolicyRegistryStorageTest is PolicyRegistryTest {
    string private constant ARTIFACT = "target/forge/out/PolicyRegistry.sol/PolicyRegistry.json";

    /// @dev What the compiler says is what the documentation says.
    function test_CompilerLayoutIsTheDocumentedOne() public view {
        string memory json = vm.readFile(ARTIFACT);
        _assertVariable(json, 0, "_heads", "mapping(bytes32 => struct PolicyRegistry.Head)");
        _assertVariable(
            json,
            1,
            "_versions",
            "mapping(uint64 => mapping(bytes32 => struct PolicyRegistry.Version))"
        );
        assertFalse(vm.keyExistsJson(json, ".storageLayout.storage[2]"), "a third variable");

        string memory head = _valueOf(json, _typeOf(json, 0));
        _assertMember(json, head, 0, "version", 0, 0, 8);
        _assertMember(json, head, 1, "recordedAt", 0, 64, 6);
        _assertMembers(json, head, 2);

        string memory version = _valueOf(json, _valueOf(json, _typeOf(json, 1)));
        _assertMember(json, version, 0, "verdictSigner", 0, 0, 20);
        _assertMember(json, version, 1, "notBefore", 0, 160, 6);
        _assertMember(json, version, 2, "notAfter", 0, 208, 6);
        _assertMember(json, version, 3, "policyHash", 1, 0, 32);
        _assertMember(json, version, 4, "recordedAt", 2, 0, 6);
        _assertMembers(json, version, 5);
    }

    /// @dev What is in the slots is what the views say.
    function test_SlotsHoldWhatTheViewsReport() public {
        IPolicyRegistry.Policy memory policy = _policy();
        _publish(alice, policy);
        _revoke(alice);
        assertEq(_load(_headSlot(aliceId), 0), (uint256(START) << 64) | 2);
        uint256 terms = (uint256(policy.notAfter) << 208) | (uint256(policy.notBefore) << 160)
            | uint160(signer);
        bytes32 first = _versionSlot(aliceId, 1);
        assertEq(_load(first, 0), terms);
        assertEq(_load(first, 1), uint256(policy.policyHash));
        assertEq(_load(first, 2), START);
        bytes32 second = _versionSlot(aliceId, 2);
        assertEq(_load(second, 0), 0);
        assertEq(_load(second, 1), 0);
        assertEq(_load(second, 2), START);
    }

    /// @dev ERC-7562: whatever is called for a tenant touches only slots `keccak256(tenantId ‖ x) + n`,
    /// reading or writing, so that validation code of the tenant's account may call it.
    function test_ERC7562_EverySlotIsAssociatedWithItsTenant() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        bytes32 publish = _publishDigest(_domain(), aliceId, 2, _policy(), DEADLINE);
        bytes memory publishSignature = _sign(ALICE_KEY, publish);
        bytes memory revokeSignature =
            _sign(ALICE_KEY, _revokeDigest(_domain(), aliceId, 4, DEADLINE));

        vm.startStateDiffRecording();
        _publish(alice, _policy());
        registry.verdictWindow(verdict, signature);
        registry.checkVerdict(verdict, signature);
        registry.publish(aliceId, 2, _policy(), DEADLINE, publishSignature);
        _revoke(alice);
        registry.revokeSigned(aliceId, 4, DEADLINE, revokeSignature);
        registry.versionOf(aliceId);
        registry.activePolicy(aliceId);
        registry.policyAt(aliceId, 1);
        (uint256 reads, uint256 writes) = _assertAssociated(vm.stopAndReturnStateDiff());
        assertEq(registry.versionOf(aliceId), 4);
        assertEq(writes, 2 * (1 + 3) + 2 * (1 + 1), "writes");
        assertGt(reads, writes, "reads");
    }

    /// @dev What `validateUserOp` calls: exactly two words.
    function test_ERC7562_VerdictWindowReadsTwoWordsAndNoOther() public {
        _publish(alice, _policy());
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        vm.record();
        registry.verdictWindow(verdict, signature);
        (bytes32[] memory reads, bytes32[] memory writes) = vm.accesses(address(registry));
        assertEq(writes.length, 0);
        for (uint256 i = 0; i < reads.length; ++i) {
            bool known = reads[i] == _headSlot(aliceId) || reads[i] == _versionSlot(aliceId, 1);
            assertTrue(known, "a third word");
        }
    }

    /// @dev The answer does not depend on the clock at all.
    function testFuzz_VerdictWindowDoesNotLookAtTheClock(uint48 time) public {
        _publish(alice, _policy());
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        bytes memory before = abi.encode(registry.verdictWindow(verdict, signature));
        vm.warp(time);
        vm.roll(time);
        assertEq(abi.encode(registry.verdictWindow(verdict, signature)), before);
    }

    function _assertAssociated(VmSafe.AccountAccess[] memory accesses)
        private
        view
        returns (uint256 reads, uint256 writes)
    {
        for (uint256 i = 0; i < accesses.length; ++i) {
            for (uint256 j = 0; j < accesses[i].storageAccesses.length; ++j) {
                VmSafe.StorageAccess memory access = accesses[i].storageAccesses[j];
                assertEq(access.account, address(registry));
                assertTrue(_isAssociated(access.slot, aliceId), "slot of nobody");
                assertFalse(_isAssociated(access.slot, bobId));
                if (access.isWrite) ++writes;
                else ++reads;
            }
        }
    }

    function _isAssociated(bytes32 slot, bytes32 tenantId) private pure returns (bool) {
        if (slot == _headSlot(tenantId)) return true;
        for (uint64 version = 0; version < 6; ++version) {
            uint256 offset;
            unchecked {
                offset = uint256(slot) - uint256(_versionSlot(tenantId, version));
            }
            if (offset < 3) return true;
        }
        return false;
    }

    function _load(bytes32 slot, uint256 word) private view returns (uint256) {
        return uint256(vm.load(address(registry), bytes32(uint256(slot) + word)));
    }
}
