// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {VmSafe} from "forge-std/Vm.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";

/// @notice Storage is part of the interface: ERC-4337 validation code reads it.
contract MCPAgentRegistryStorageTest is MCPAgentRegistryTest {
    string private constant ARTIFACT =
        "target/forge/out/MCPAgentRegistry.sol/MCPAgentRegistry.json";

    /// @dev What the compiler says is what the documentation says.
    function test_CompilerLayoutIsTheDocumentedOne() public view {
        string memory json = vm.readFile(ARTIFACT);
        _assertVariable(json, 0, "_agents", "mapping(address => struct MCPAgentRegistry.Agent)");
        _assertVariable(json, 1, "_nonces", "mapping(bytes32 => uint64)");
        assertFalse(vm.keyExistsJson(json, ".storageLayout.storage[2]"), "a third variable");

        string memory of_ = _valueOf(json, _typeOf(json, 0));
        _assertMember(json, of_, 0, "grants", 0, 0, 32);
        _assertMember(json, of_, 1, "epochs", 1, 0, 32);
        _assertMember(json, of_, 2, "nonce", 2, 0, 8);
        _assertMember(json, of_, 3, "erc8004Registry", 2, 64, 20);
        _assertMember(json, of_, 4, "erc8004Id", 3, 0, 32);
        _assertMember(json, of_, 5, "endpointHash", 4, 0, 32);
        _assertMember(json, of_, 6, "metadataHash", 5, 0, 32);
        _assertMembers(json, of_, 7);

        string memory grants = vm.parseJsonString(json, _ofType(of_, "members[0].type"));
        assertEq(
            vm.parseJsonString(json, _ofType(grants, "label")),
            "mapping(bytes32 => mapping(bytes32 => struct MCPAgentRegistry.Grant))"
        );
        string memory epochs = vm.parseJsonString(json, _ofType(of_, "members[1].type"));
        assertEq(vm.parseJsonString(json, _ofType(epochs, "label")), "mapping(bytes32 => uint32)");
        string memory stored = _valueOf(json, _valueOf(json, grants));
        _assertMember(json, stored, 0, "word", 0, 0, 32);
        _assertMember(json, stored, 1, "target", 1, 0, 20);
        _assertMember(json, stored, 2, "bound", 1, 160, 12);
        _assertMembers(json, stored, 3);
    }

    /// @dev What is in the slots is what the views say.
    function test_SlotsHoldWhatTheViewsReport() public {
        vm.startPrank(alice);
        registry.revokeAgent(aliceId, agent);
        registry.revokeAgent(aliceId, agent);
        registry.grant(aliceId, agent, SEND, _window(), _token());
        vm.stopPrank();
        assertEq(_load(_nonceSlot(aliceId), 0), 3);
        assertEq(_load(_epochSlot(aliceId, agent), 0), 2);
        bytes32 slot = _grantSlot(aliceId, agent, SEND);
        assertEq(_load(slot, 0), _word(2, _token(), 2));
        assertEq(_load(slot, 1), (uint256(100e6) << 160) | uint160(_token().target));

        vm.prank(alice);
        registry.grant(aliceId, agent, SEND, _window(), _call());
        assertEq(_load(slot, 0), _word(3, _call(), 2));
        assertEq(_load(slot, 1), (uint256(0xa1b2c3d4) << 160) | uint160(_call().target));

        // A grant without target does not touch the second word; nor does revoking it.
        vm.prank(alice);
        registry.grant(aliceId, agent, SEND, _window(), _native());
        assertEq(_load(slot, 0), _word(1, _native(), 2));
        vm.prank(alice);
        registry.revoke(aliceId, agent, SEND);
        assertEq(_load(slot, 0), 0);
        assertEq(_load(slot, 1), (uint256(0xa1b2c3d4) << 160) | uint160(_call().target));

        vm.prank(agent);
        registry.describe("endpoint", keccak256("metadata"), alice, 5);
        assertEq(_load(_agentSlot(agent), 2), (uint256(uint160(alice)) << 64) | 1);
        assertEq(_load(_agentSlot(agent), 3), 5);
        assertEq(_load(_agentSlot(agent), 4), uint256(keccak256("endpoint")));
        assertEq(_load(_agentSlot(agent), 5), uint256(keccak256("metadata")));
    }

    /// @dev ERC-7562: whatever is called for a tenant touches only slots `keccak256(tenantId ‖ x) + n`,
    /// reading or writing, so that validation code of the tenant's account may call it.
    function test_ERC7562_EverySlotIsAssociatedWithItsTenant() public {
        vm.startStateDiffRecording();
        vm.startPrank(alice);
        registry.grant(aliceId, agent, SEND, _window(), _token());
        registry.extend(aliceId, agent, SEND, START + 2 days);
        registry.isScoped(aliceId, agent, SEND);
        registry.scopeOf(aliceId, agent, SEND);
        registry.revoke(aliceId, agent, SEND);
        registry.revokeAgent(aliceId, agent);
        vm.stopPrank();
        _relay(_grantMessage(aliceId, agent, SEND, _window(), _token(), 4, DEADLINE), 0);
        _relay(_extendMessage(aliceId, agent, SEND, START + 2 days, 5, DEADLINE), 1);
        _relay(_revokeMessage(aliceId, agent, SEND, 6, DEADLINE), 2);
        _relay(_revokeAgentMessage(aliceId, agent, 7, DEADLINE), 3);
        registry.nonceOf(aliceId);
        (uint256 reads, uint256 writes) = _assertAssociated(vm.stopAndReturnStateDiff());
        assertEq(registry.nonceOf(aliceId), 8);
        // The second word of a grant is written field by field; the compiler may join the two.
        assertGe(writes, 2 * (3 + 2 + 2 + 2), "writes");
        assertGt(reads, writes, "reads");
    }

    /// @dev What `validateUserOp` calls: two words, and a third if the limits name a target.
    function test_ERC7562_ScopeOfReadsTheGrantAndTheEpochAndNoOther() public {
        IMCPAgentRegistry.Limits[3] memory kinds = [_native(), _token(), _call()];
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(alice);
            registry.grant(aliceId, agent, SEND, _window(), kinds[i]);
            bytes32 first = _grantSlot(aliceId, agent, SEND);
            vm.record();
            registry.scopeOf(aliceId, agent, SEND);
            (bytes32[] memory reads, bytes32[] memory writes) = vm.accesses(address(registry));
            assertEq(writes.length, 0);
            bool third = false;
            for (uint256 j = 0; j < reads.length; ++j) {
                if (reads[j] == bytes32(uint256(first) + 1)) third = true;
                else assertTrue(reads[j] == first || reads[j] == _epochSlot(aliceId, agent));
            }
            assertEq(third, i != 0, "the second word of the grant");
        }
    }

    /// @dev The answer does not depend on the clock at all.
    function testFuzz_ScopeOfDoesNotLookAtTheClock(uint48 time) public {
        _grant(alice, agent, SEND);
        bytes memory before = abi.encode(registry.scopeOf(aliceId, agent, SEND));
        vm.warp(time);
        vm.roll(time);
        assertEq(abi.encode(registry.scopeOf(aliceId, agent, SEND)), before);
    }

    function _relay(bytes memory message, uint256 action) private {
        bytes memory signature = _sign(ALICE_KEY, _typed(_domain(), message));
        if (action == 0) {
            registry.grantSigned(aliceId, agent, SEND, _window(), _token(), DEADLINE, signature);
        } else if (action == 1) {
            registry.extendSigned(aliceId, agent, SEND, START + 2 days, DEADLINE, signature);
        } else if (action == 2) {
            registry.revokeSigned(aliceId, agent, SEND, DEADLINE, signature);
        } else {
            registry.revokeAgentSigned(aliceId, agent, DEADLINE, signature);
        }
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

    /// @dev Whether `slot` is `keccak256(tenantId ‖ x) + n` for the x of a variable.
    function _isAssociated(bytes32 slot, bytes32 tenantId) private view returns (bool) {
        bytes32 first = _grantSlot(tenantId, agent, SEND);
        return slot == first || slot == bytes32(uint256(first) + 1) || slot == _nonceSlot(tenantId)
            || slot == _epochSlot(tenantId, agent);
    }

    function _word(uint256 kind, IMCPAgentRegistry.Limits memory limits, uint256 epoch)
        private
        pure
        returns (uint256)
    {
        IMCPAgentRegistry.Window memory window = _window();
        return (kind << 248) | (uint256(limits.nativeMax) << 168) | (epoch << 136)
            | (uint256(START) << 96) | (uint256(window.notAfter) << 48) | window.notBefore;
    }

    function _load(bytes32 slot, uint256 word) private view returns (uint256) {
        return uint256(vm.load(address(registry), bytes32(uint256(slot) + word)));
    }
}
