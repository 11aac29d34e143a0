// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";

/// @notice What a tenant does directly, and what comes of it.
contract GrantTest is MCPAgentRegistryTest {
    uint48 private constant END_OF_TIME = 2 ** 47;

    // ---------------------------------------------------------------- grant

    function test_Grant() public {
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.Granted(aliceId, agent, SEND, _window(), _native(), START, 0);
        _grant(alice, agent, SEND);
        assertTrue(registry.isScoped(aliceId, agent, SEND));
        assertEq(registry.nonceOf(aliceId), 1);
        _assertScope(_native(), START - 1 hours - 1, START + 1 days, START);
    }

    function test_LimitsComeBackAsTheyWereGiven() public {
        IMCPAgentRegistry.Limits[3] memory kinds = [_native(), _token(), _call()];
        for (uint256 from = 0; from < 3; ++from) {
            for (uint256 to = 0; to < 3; ++to) {
                _grantLimits(kinds[from]);
                _assertScope(kinds[from], START - 1 hours - 1, START + 1 days, START);
                // Nothing of the grant that was replaced shines through.
                _grantLimits(kinds[to]);
                _assertScope(kinds[to], START - 1 hours - 1, START + 1 days, START);
            }
        }
    }

    /// @dev A native limit of zero is a grant too: for calls that carry no value, or for nothing.
    function test_LimitsReachEveryBit() public {
        address all = address(type(uint160).max);
        _grantAndAssert(IMCPAgentRegistry.Limits(0, address(0), 0, 0));
        _grantAndAssert(IMCPAgentRegistry.Limits(type(uint80).max, address(0), 0, 0));
        _grantAndAssert(IMCPAgentRegistry.Limits(type(uint80).max, all, 0, type(uint96).max));
        _grantAndAssert(IMCPAgentRegistry.Limits(0, all, 0, 1));
        _grantAndAssert(IMCPAgentRegistry.Limits(type(uint80).max, all, 0xffffffff, 0));
        _grantAndAssert(IMCPAgentRegistry.Limits(0, address(1), 0x00000001, 0));
    }

    function test_RefusesLimitsThatAreNeitherKind() public {
        address target = _address("token", 0);
        _refusedLimits(IMCPAgentRegistry.Limits(1, address(0), 0xa1b2c3d4, 0));
        _refusedLimits(IMCPAgentRegistry.Limits(1, address(0), 0, 1));
        _refusedLimits(IMCPAgentRegistry.Limits(1, address(0), 0xa1b2c3d4, 1));
        _refusedLimits(IMCPAgentRegistry.Limits(1, target, 0, 0));
        _refusedLimits(IMCPAgentRegistry.Limits(1, target, 0xa1b2c3d4, 1));
    }

    function test_RefusesWindowsThatAreEmptyOrTooLate() public {
        _refusedWindow(0, 0);
        _refusedWindow(2, 1);
        _refusedWindow(START, START - 1);
        _refusedWindow(0, END_OF_TIME);
        _refusedWindow(0, type(uint48).max);
        _grantWindow(1, 1);
        _grantWindow(0, 1);
        _grantWindow(0, END_OF_TIME - 1);
        IMCPAgentRegistry.Scope memory scope = registry.scopeOf(aliceId, agent, SEND);
        assertEq(scope.validAfter, 0);
        assertEq(scope.validUntil, END_OF_TIME - 1);
    }

    function test_RefusesZeroAgent() public {
        vm.expectRevert(
            abi.encodeWithSelector(IMCPAgentRegistry.MCPAgentRegistry_NoAgent.selector, aliceId)
        );
        _grant(alice, address(0), SEND);
    }

    /// @dev Also when it is a narrower one: what is narrower is for nobody here to judge.
    function test_GrantInPlaceOfAnotherCountsAsRecordedNow() public {
        _grant(alice, agent, SEND);
        vm.warp(START + 10);
        _grant(alice, agent, SEND);
        assertEq(registry.scopeOf(aliceId, agent, SEND).recordedAt, START + 10);
        assertEq(registry.nonceOf(aliceId), 2);
    }

    // --------------------------------------------------------------- window

    function test_I5_ScopedFromFirstToLastSecond() public {
        _grant(alice, agent, SEND);
        IMCPAgentRegistry.Window memory window = _window();
        uint48[4] memory times =
            [window.notBefore - 1, window.notBefore, window.notAfter, window.notAfter + 1];
        for (uint256 i = 0; i < 4; ++i) {
            vm.warp(times[i]);
            assertEq(registry.isScoped(aliceId, agent, SEND), i == 1 || i == 2);
            // The other reading does not know what time it is, and agrees with what an EntryPoint
            // makes of its window.
            IMCPAgentRegistry.Scope memory scope = registry.scopeOf(aliceId, agent, SEND);
            bool good = times[i] > scope.validAfter && times[i] <= scope.validUntil;
            assertEq(good, i == 1 || i == 2);
        }
    }

    function test_I5_ScopeIsOfItsTenantAgentAndCapabilityAlone() public {
        _grant(alice, agent, SEND);
        _assertNotGranted(bobId, agent, SEND);
        _assertNotGranted(aliceId, otherAgent, SEND);
        _assertNotGranted(aliceId, agent, SWAP);
        _assertNotGranted(aliceId, alice, SEND);
        _assertNotGranted(_id(agent), alice, SEND);
        _assertNotGranted(aliceId | bytes32(uint256(1) << 160), agent, SEND);
        _assertNotGranted(0, agent, SEND);
        _assertNotGranted(aliceId, address(0), SEND);
    }

    // --------------------------------------------------------------- extend

    function test_Extend() public {
        vm.prank(alice);
        registry.grant(aliceId, agent, SEND, _window(), _token());
        vm.warp(START + 10);
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.Extended(aliceId, agent, SEND, START + 2 days, START + 10, 1);
        _extend(START + 2 days);
        _assertScope(_token(), START - 1 hours - 1, START + 2 days, START + 10);
        assertEq(registry.nonceOf(aliceId), 2);
        _extend(END_OF_TIME - 1);
    }

    /// @dev A grant that ran out may run on.
    function test_ExtendsWhatRanOut() public {
        _grant(alice, agent, SEND);
        vm.warp(START + 3 days);
        assertFalse(registry.isScoped(aliceId, agent, SEND));
        _extend(START + 4 days);
        assertTrue(registry.isScoped(aliceId, agent, SEND));
    }

    function test_RefusesToExtendToNoLaterOrToTheEndOfTime() public {
        _grant(alice, agent, SEND);
        uint48 end = START + 1 days;
        uint48[3] memory times = [end, end - 1, 0];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IMCPAgentRegistry.MCPAgentRegistry_NotLater.selector, aliceId, end, times[i]
                )
            );
            _extend(times[i]);
        }
        _expectBadWindow(START - 1 hours, END_OF_TIME);
        _extend(END_OF_TIME);
    }

    function test_RefusesToExtendWhatIsNotGranted() public {
        _expectNotGranted(aliceId, agent, SEND);
        _extend(START + 2 days);
        _grant(alice, agent, SEND);
        _revoke();
        _expectNotGranted(aliceId, agent, SEND);
        _extend(START + 2 days);
        _grant(alice, agent, SEND);
        _revokeAgent();
        _expectNotGranted(aliceId, agent, SEND);
        _extend(START + 2 days);
    }

    // --------------------------------------------------------------- revoke

    function test_Revoke() public {
        _grant(alice, agent, SEND);
        _grant(alice, agent, SWAP);
        _grant(bob, agent, SEND);
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.Revoked(aliceId, agent, SEND, 2);
        _revoke();
        _assertNotGranted(aliceId, agent, SEND);
        assertTrue(registry.isScoped(aliceId, agent, SWAP));
        assertTrue(registry.isScoped(bobId, agent, SEND));
    }

    /// @dev An agent that forfeits first cannot make it fail, and it voids pending signatures anyway.
    function test_RevokesNothingAndConsumesANonceAllTheSame() public {
        _revoke();
        _revokeAgent();
        assertEq(registry.nonceOf(aliceId), 2);
    }

    function test_RevokeAgentTakesEveryGrantByOneWrite() public {
        _grant(alice, agent, SEND);
        _grant(alice, agent, SWAP);
        _grant(alice, otherAgent, SEND);
        _grant(bob, agent, SEND);
        vm.record();
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.AgentRevoked(aliceId, agent, 3);
        _revokeAgent();
        (, bytes32[] memory writes) = vm.accesses(address(registry));
        assertEq(writes.length, 2, "the epoch and the nonce");
        _assertNotGranted(aliceId, agent, SEND);
        _assertNotGranted(aliceId, agent, SWAP);
        assertTrue(registry.isScoped(aliceId, otherAgent, SEND));
        assertTrue(registry.isScoped(bobId, agent, SEND));
    }

    /// @dev A new grant revives no other.
    function test_GrantAfterRevokeAgentIsOneGrant() public {
        _grant(alice, agent, SEND);
        _grant(alice, agent, SWAP);
        _revokeAgent();
        _grant(alice, agent, SWAP);
        _assertNotGranted(aliceId, agent, SEND);
        assertTrue(registry.isScoped(aliceId, agent, SWAP));
    }

    /// @dev No epoch comes round again: after the last there is no revoking the agent as a whole, and
    /// what is granted then is revoked one by one.
    function test_EpochsDoNotWrapAround() public {
        vm.store(
            address(registry), _epochSlot(aliceId, agent), bytes32(uint256(type(uint32).max - 1))
        );
        _grant(alice, agent, SEND);
        _revokeAgent();
        _assertNotGranted(aliceId, agent, SEND);
        vm.expectRevert();
        _revokeAgent();
        _grant(alice, agent, SEND);
        assertTrue(registry.isScoped(aliceId, agent, SEND));
        _revoke();
        _assertNotGranted(aliceId, agent, SEND);
    }

    // ---------------------------------------------------------------- who may

    function test_I1_RefusesEveryoneElse() public {
        _grant(alice, agent, SEND);
        bytes32 before = _state(aliceId);
        address[4] memory senders = [stranger, bob, agent, address(registry)];
        for (uint256 i = 0; i < senders.length; ++i) {
            bytes memory error_ = abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_NotAuthority.selector, aliceId, senders[i]
            );
            _refusedTo(senders[i], aliceId, error_);
        }
        assertEq(_state(aliceId), before);
    }

    function test_RefusesIdsOfNobody() public {
        bytes32[3] memory ids =
            [bytes32(0), aliceId | bytes32(uint256(1) << 160), bytes32(type(uint256).max)];
        for (uint256 i = 0; i < ids.length; ++i) {
            bytes memory error_ = abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_InvalidTenantId.selector, ids[i]
            );
            _refusedTo(alice, ids[i], error_);
        }
    }

    // -------------------------------------------------------------- helpers

    function _refusedTo(address sender, bytes32 tenantId, bytes memory error_) private {
        vm.startPrank(sender);
        vm.expectRevert(error_);
        registry.grant(tenantId, agent, SEND, _window(), _native());
        vm.expectRevert(error_);
        registry.extend(tenantId, agent, SEND, START + 2 days);
        vm.expectRevert(error_);
        registry.revoke(tenantId, agent, SEND);
        vm.expectRevert(error_);
        registry.revokeAgent(tenantId, agent);
        vm.stopPrank();
    }

    function _grantLimits(IMCPAgentRegistry.Limits memory limits) private {
        vm.prank(alice);
        registry.grant(aliceId, agent, SEND, _window(), limits);
    }

    function _grantAndAssert(IMCPAgentRegistry.Limits memory limits) private {
        _grantLimits(limits);
        _assertScope(limits, START - 1 hours - 1, START + 1 days, START);
    }

    function _refusedLimits(IMCPAgentRegistry.Limits memory limits) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_BadLimits.selector,
                aliceId,
                limits.target,
                limits.selector,
                limits.tokenMax
            )
        );
        _grantLimits(limits);
    }

    function _grantWindow(uint48 notBefore, uint48 notAfter) private {
        vm.prank(alice);
        registry.grant(
            aliceId, agent, SEND, IMCPAgentRegistry.Window(notBefore, notAfter), _native()
        );
    }

    function _refusedWindow(uint48 notBefore, uint48 notAfter) private {
        _expectBadWindow(notBefore, notAfter);
        _grantWindow(notBefore, notAfter);
    }

    function _expectBadWindow(uint48 notBefore, uint48 notAfter) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_BadWindow.selector, aliceId, notBefore, notAfter
            )
        );
    }

    function _extend(uint48 notAfter) private {
        vm.prank(alice);
        registry.extend(aliceId, agent, SEND, notAfter);
    }

    function _revoke() private {
        vm.prank(alice);
        registry.revoke(aliceId, agent, SEND);
    }

    function _revokeAgent() private {
        vm.prank(alice);
        registry.revokeAgent(aliceId, agent);
    }

    function _assertScope(
        IMCPAgentRegistry.Limits memory limits,
        uint48 validAfter,
        uint48 validUntil,
        uint48 recordedAt
    ) private view {
        IMCPAgentRegistry.Scope memory expected = IMCPAgentRegistry.Scope(
            validAfter,
            validUntil,
            recordedAt,
            limits.nativeMax,
            limits.target,
            limits.selector,
            limits.tokenMax
        );
        assertEq(abi.encode(registry.scopeOf(aliceId, agent, SEND)), abi.encode(expected), "scope");
    }
}
