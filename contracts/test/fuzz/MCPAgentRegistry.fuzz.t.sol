// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";

contract MCPAgentRegistryFuzzTest is MCPAgentRegistryTest {
    /// @dev I1: a sender who is neither authority nor agent leaves no trace, whatever it sends.
    function testFuzz_I1_StrangersChangeNothing(
        address sender,
        address to,
        IMCPAgentRegistry.Limits memory limits,
        uint48 time,
        bytes memory signature
    ) public {
        _grant(alice, agent, SEND);
        if (sender == alice || sender == agent || sender == address(0)) return;
        bytes32 before = _state(aliceId);
        uint64 never = type(uint64).max;
        vm.startPrank(sender);
        vm.expectRevert();
        registry.grant(aliceId, to, SEND, _window(), limits);
        vm.expectRevert();
        registry.grantSigned(aliceId, to, SEND, _window(), limits, never, signature);
        vm.expectRevert();
        registry.extend(aliceId, agent, SEND, time);
        vm.expectRevert();
        registry.extendSigned(aliceId, agent, SEND, time, never, signature);
        vm.expectRevert();
        registry.revoke(aliceId, agent, SEND);
        vm.expectRevert();
        registry.revokeSigned(aliceId, agent, SEND, never, signature);
        vm.expectRevert();
        registry.revokeAgent(aliceId, agent);
        vm.expectRevert();
        registry.revokeAgentSigned(aliceId, agent, never, signature);
        vm.expectRevert();
        registry.forfeit(aliceId, SEND);
        vm.expectRevert();
        registry.forfeitSigned(aliceId, agent, SEND, never, signature);
        vm.expectRevert();
        registry.describeSigned(agent, "", 0, address(0), 0, never, signature);
        registry.describe("", 0, to, time);
        // The sender's own affairs are nobody else's.
        registry.grant(_id(sender), agent, SEND, _window(), _native());
        registry.revokeAgent(_id(sender), agent);
        vm.stopPrank();
        assertEq(_state(aliceId), before);
        assertEq(registry.agentNonceOf(agent), 0);
    }

    /// @dev I5: a grant is worth exactly its tenant, agent and capability, inside its window.
    function testFuzz_I5_ScopeIsExactlyWhatWasGranted(
        bytes32 tenantId,
        address to,
        bytes32 capability,
        uint48 time,
        uint8 keep
    ) public {
        _grant(alice, agent, SEND);
        if (keep & 1 != 0) tenantId = aliceId;
        if (keep & 2 != 0) to = agent;
        if (keep & 4 != 0) capability = SEND;
        if (keep & 8 != 0) {
            time = _window().notBefore + time % (_window().notAfter - _window().notBefore);
        }
        bool same = tenantId == aliceId && to == agent && capability == SEND;
        vm.warp(time);
        bool inside = time >= _window().notBefore && time <= _window().notAfter;
        assertEq(registry.isScoped(tenantId, to, capability), same && inside);
        if (!same) _expectNotGranted(tenantId, to, capability);
        registry.scopeOf(tenantId, to, capability);
    }

    /// @dev A grant is taken exactly when it has a window and limits of one kind, and comes back whole;
    /// the two readings agree at every moment.
    function testFuzz_Grant(
        IMCPAgentRegistry.Window memory window,
        IMCPAgentRegistry.Limits memory limits,
        uint48 time,
        uint8 shape
    ) public {
        if (shape & 1 != 0) limits.target = address(0);
        if (shape & 2 != 0) limits.selector = 0;
        if (shape & 4 != 0) limits.tokenMax = 0;
        if (shape & 8 != 0) window.notAfter %= 2 ** 47;
        if (shape & 16 != 0 && window.notAfter != 0) window.notBefore %= window.notAfter;
        bool kind;
        if (limits.target == address(0)) kind = limits.selector == 0 && limits.tokenMax == 0;
        else kind = (limits.selector == 0) != (limits.tokenMax == 0);
        bool fits = kind && window.notAfter < 2 ** 47 && window.notBefore <= window.notAfter
            && window.notAfter != 0;

        vm.prank(alice);
        if (!fits) vm.expectRevert();
        registry.grant(aliceId, agent, SEND, window, limits);
        if (!fits) return;
        IMCPAgentRegistry.Scope memory scope = registry.scopeOf(aliceId, agent, SEND);
        assertEq(scope.validUntil, window.notAfter);
        assertEq(scope.validAfter, window.notBefore == 0 ? 0 : window.notBefore - 1);
        assertEq(scope.recordedAt, START);
        assertEq(
            abi.encode(scope.nativeMax, scope.target, scope.selector, scope.tokenMax),
            abi.encode(limits)
        );
        if (time == 0) time = 1;
        vm.warp(time);
        assertEq(
            registry.isScoped(aliceId, agent, SEND),
            scope.validAfter < time && time <= scope.validUntil
        );
    }

    /// @dev An extension moves the end and the time of record, and no other bit.
    function testFuzz_Extend(uint48 notAfter, uint48 time) public {
        vm.prank(alice);
        registry.grant(aliceId, agent, SEND, _window(), _token());
        IMCPAgentRegistry.Scope memory scope = registry.scopeOf(aliceId, agent, SEND);
        time %= 2 ** 40;
        vm.warp(time);
        bool fits = notAfter > scope.validUntil && notAfter < 2 ** 47;
        vm.prank(alice);
        if (!fits) vm.expectRevert();
        registry.extend(aliceId, agent, SEND, notAfter);
        if (fits) (scope.validUntil, scope.recordedAt) = (notAfter, time);
        assertEq(abi.encode(registry.scopeOf(aliceId, agent, SEND)), abi.encode(scope));
    }

    /// @dev I4: the authority's signature for one tenant, chain, contract or nonce is refused at another.
    function testFuzz_I4_SignatureIsForItsOwnPlaceAlone(
        uint64 chainId,
        address verifyingContract,
        bytes32 tenantId,
        uint64 nonce,
        uint8 keep
    ) public {
        if (keep & 1 != 0) chainId = uint64(block.chainid);
        if (keep & 2 != 0) verifyingContract = address(registry);
        if (keep & 4 != 0) tenantId = aliceId;
        if (keep & 8 != 0) nonce = 0;
        bool same = chainId == block.chainid && verifyingContract == address(registry)
            && tenantId == aliceId && nonce == 0;
        bytes memory message =
            _grantMessage(tenantId, agent, SEND, _window(), _native(), nonce, DEADLINE);
        bytes32 digest = _typed(_domain(NAME, chainId, verifyingContract), message);
        if (!same) vm.expectRevert();
        registry.grantSigned(
            aliceId, agent, SEND, _window(), _native(), DEADLINE, _sign(ALICE_KEY, digest)
        );
        assertEq(registry.isScoped(aliceId, agent, SEND), same);
    }

    function testFuzz_GrantRelayed(uint256 key, address to, uint64 deadline, uint64 time) public {
        key = 1 + key % (SECP256K1_ORDER - 1);
        bytes32 id = _id(vm.addr(key));
        if (to == address(0)) to = agent;
        bytes memory message = _grantMessage(id, to, SEND, _window(), _call(), 0, deadline);
        bytes memory signature = _sign(key, _typed(_domain(), message));
        vm.warp(time);
        if (time > deadline) vm.expectRevert();
        registry.grantSigned(id, to, SEND, _window(), _call(), deadline, signature);
        assertEq(registry.nonceOf(id), time > deadline ? 0 : 1);
    }
}
