// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";
import {ReenteringCaller} from "../utils/ReenteringCaller.sol";
import {SafeWallet} from "../utils/Wallets.sol";

/// @notice Somebody brings the authority's signature. Each test goes through all four relayed actions,
/// which differ in nothing but what they sign.
contract MCPAgentRegistrySignedTest is MCPAgentRegistryTest {
    enum Action {
        Grant,
        Extend,
        Revoke,
        RevokeAgent
    }

    uint256 private constant ACTIONS = 4;
    uint48 private constant LATER = START + 2 days;

    function test_EveryActionTakesEcdsaOf65And64Bytes() public {
        for (uint64 i = 0; i < ACTIONS; ++i) {
            Action action = Action(i);
            bytes32 digest = _digest(action, aliceId, 2 * i);
            _expectEvent(action, 2 * i);
            _relay(action, aliceId, _sign(ALICE_KEY, digest));
            // What was extended once cannot be extended to the same time again.
            if (action == Action.Extend) {
                _grant(alice, agent, SEND);
            } else {
                _relay(
                    action, aliceId, _signCompact(ALICE_KEY, _digest(action, aliceId, 2 * i + 1))
                );
            }
            assertEq(registry.nonceOf(aliceId), 2 * i + 2);
        }
    }

    function test_EveryActionDoesWhatItSays() public {
        _signedRelay(Action.Grant);
        assertEq(registry.scopeOf(aliceId, agent, SEND).tokenMax, _token().tokenMax);
        assertTrue(registry.isScoped(aliceId, agent, SEND));
        _signedRelay(Action.Extend);
        assertEq(registry.scopeOf(aliceId, agent, SEND).validUntil, LATER);
        _signedRelay(Action.Revoke);
        _assertNotGranted(aliceId, agent, SEND);
        _grant(alice, agent, SEND);
        _grant(alice, agent, SWAP);
        _signedRelay(Action.RevokeAgent);
        _assertNotGranted(aliceId, agent, SEND);
        _assertNotGranted(aliceId, agent, SWAP);
    }

    function test_EveryActionTakesItsSignatureUntilItsDeadline() public {
        _grant(alice, agent, SEND);
        for (uint256 i = 0; i < ACTIONS; ++i) {
            Action action = Action(i);
            bytes memory signature =
                _sign(ALICE_KEY, _digest(action, aliceId, registry.nonceOf(aliceId)));
            vm.warp(DEADLINE + 1);
            vm.expectRevert(
                abi.encodeWithSelector(
                    IMCPAgentRegistry.MCPAgentRegistry_Expired.selector,
                    aliceId,
                    DEADLINE,
                    DEADLINE + 1
                )
            );
            _relay(action, aliceId, signature);
            vm.warp(DEADLINE);
            _relay(action, aliceId, signature);
        }
    }

    function test_I4_EveryActionRefusesOtherChainContractTenantNonceAndAction() public {
        _grant(alice, agent, SEND);
        _grant(bob, agent, SEND);
        for (uint256 i = 0; i < ACTIONS; ++i) {
            Action action = Action(i);
            bytes32[6] memory digests = [
                _typed(_domain(NAME, 84532, address(registry)), _message(action, aliceId, 1)),
                _typed(_domain(NAME, 8453, alice), _message(action, aliceId, 1)),
                _digest(action, bobId, 1),
                _digest(action, aliceId, 0),
                _digest(action, aliceId, 2),
                keccak256("something else")
            ];
            for (uint256 j = 0; j < digests.length; ++j) {
                _refused(action, aliceId, 1, _sign(ALICE_KEY, digests[j]));
            }
            for (uint256 j = 0; j < ACTIONS; ++j) {
                if (j == i) continue;
                _refused(action, aliceId, 1, _sign(ALICE_KEY, _digest(Action(j), aliceId, 1)));
            }
            _refused(action, aliceId, 1, _sign(BOB_KEY, _digest(action, aliceId, 1)));
            _refused(action, aliceId, 1, _sign(AGENT_KEY, _digest(action, aliceId, 1)));
            _refused(action, aliceId, 1, "");
            _refused(action, aliceId, 1, new bytes(65));
        }
    }

    /// @dev Every value that is signed counts: with any other, it is another grant.
    function test_I5_RefusesGrantOfAnythingThatWasNotSigned() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(Action.Grant, aliceId, 0));
        for (uint256 field = 0; field < 8; ++field) {
            (address to, bytes32 capability) = (agent, SEND);
            IMCPAgentRegistry.Window memory window = _window();
            IMCPAgentRegistry.Limits memory limits = _token();
            uint64 deadline = DEADLINE;
            if (field == 0) to = otherAgent;
            if (field == 1) capability = SWAP;
            if (field == 2) window.notBefore -= 1;
            if (field == 3) window.notAfter += 1;
            if (field == 4) limits.nativeMax += 1;
            if (field == 5) limits.target = _address("token", 1);
            if (field == 6) limits.tokenMax += 1;
            if (field == 7) deadline += 1;
            vm.expectRevert();
            registry.grantSigned(aliceId, to, capability, window, limits, deadline, signature);
        }
        _relay(Action.Grant, aliceId, signature);
    }

    // ------------------------------------------------------------- revival

    /// @dev Whatever happens to a tenant voids what was signed before and not posted.
    function test_I4_UnpostedSignatureNeverRevivesWhatWasRevoked() public {
        for (uint256 change = 0; change < 7; ++change) {
            registry = _deployRegistry();
            _grant(alice, agent, SEND);
            bytes memory revoke = _sign(ALICE_KEY, _digest(Action.Revoke, aliceId, 1));
            bytes memory revokeAgent = _sign(ALICE_KEY, _digest(Action.RevokeAgent, aliceId, 1));
            bytes memory unposted = _sign(ALICE_KEY, _digest(Action.Grant, aliceId, 1));
            bytes memory unpostedToo = _sign(ALICE_KEY, _digest(Action.Extend, aliceId, 1));
            if (change == 0) _relay(Action.Revoke, aliceId, revoke);
            if (change == 1) _relay(Action.RevokeAgent, aliceId, revokeAgent);
            vm.startPrank(change == 5 ? agent : alice);
            if (change == 2) registry.revoke(aliceId, agent, SEND);
            if (change == 3) registry.revokeAgent(aliceId, agent);
            // Also a revocation of something else.
            if (change == 4) registry.revokeAgent(aliceId, otherAgent);
            if (change == 5) registry.forfeit(aliceId, SEND);
            vm.stopPrank();
            if (change == 6) {
                bytes memory message = _forfeitMessage(aliceId, agent, SEND, 0, DEADLINE);
                bytes memory signature = _sign(AGENT_KEY, _typed(_domain(), message));
                registry.forfeitSigned(aliceId, agent, SEND, DEADLINE, signature);
            }
            _refused(Action.Grant, aliceId, 2, unposted);
            _refused(Action.Extend, aliceId, 2, unpostedToo);
            assertEq(registry.isScoped(aliceId, agent, SEND), change == 4);
        }
    }

    function test_I4_RefusesReplay() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(Action.Grant, aliceId, 0));
        _relay(Action.Grant, aliceId, signature);
        _refused(Action.Grant, aliceId, 1, signature);
    }

    /// @dev A chain that splits gets another id, and the contract follows it.
    function test_I4_FollowsTheChainIdAcrossFork() public {
        bytes memory before = _sign(ALICE_KEY, _digest(Action.Grant, aliceId, 0));
        vm.chainId(84_530);
        _refused(Action.Grant, aliceId, 0, before);
        _signedRelay(Action.Grant);
    }

    /// @dev A good signature for what `grant` itself would refuse is refused likewise.
    function test_SignatureExcusesNothing() public {
        bytes memory message =
            _grantMessage(aliceId, address(0), SEND, _window(), _token(), 0, DEADLINE);
        bytes memory signature = _sign(ALICE_KEY, _typed(_domain(), message));
        vm.expectRevert(
            abi.encodeWithSelector(IMCPAgentRegistry.MCPAgentRegistry_NoAgent.selector, aliceId)
        );
        registry.grantSigned(aliceId, address(0), SEND, _window(), _token(), DEADLINE, signature);
        signature = _sign(ALICE_KEY, _digest(Action.Extend, aliceId, 0));
        _expectNotGranted(aliceId, agent, SEND);
        _relay(Action.Extend, aliceId, signature);
    }

    function test_RefusesIdsOfNobody() public {
        bytes32[2] memory ids = [bytes32(0), aliceId | bytes32(uint256(1) << 160)];
        for (uint256 i = 0; i < ACTIONS; ++i) {
            for (uint256 j = 0; j < ids.length; ++j) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        IMCPAgentRegistry.MCPAgentRegistry_InvalidTenantId.selector, ids[j]
                    )
                );
                _relay(Action(i), ids[j], new bytes(65));
            }
        }
    }

    // ------------------------------------------------------------- ERC-1271

    function test_TakesSafeWithItsThreshold() public {
        (address safe, uint256[] memory keys) = _safe();
        for (uint64 i = 0; i < ACTIONS; ++i) {
            bytes32 digest = _digest(Action(i), _id(safe), i);
            _refused(Action(i), _id(safe), i, _sign(keys[0], digest));
            _relay(
                Action(i),
                _id(safe),
                abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest))
            );
        }
        (address twin,) = _safe();
        bytes32 forSafe = _digest(Action.Grant, _id(safe), 0);
        bytes memory both = abi.encodePacked(_sign(keys[0], forSafe), _sign(keys[1], forSafe));
        _refused(Action.Grant, _id(twin), 0, both);
    }

    function test_SafeMayAlsoCallItself() public {
        (address safe,) = _safe();
        bytes memory data =
            abi.encodeCall(registry.grant, (_id(safe), agent, SEND, _window(), _native()));
        SafeWallet(safe).execute(address(registry), data);
        assertTrue(registry.isScoped(_id(safe), agent, SEND));
    }

    function test_RefusesEveryAnswerButTheMagicWord() public {
        (address yes, address[7] memory noes) = _answers();
        _relay(Action.Grant, _id(yes), "");
        for (uint256 i = 0; i < noes.length; ++i) {
            _refused(Action.Grant, _id(noes[i]), 0, "");
        }
        for (uint160 i = 1; i <= 10; ++i) {
            _refused(Action.Grant, _id(address(i)), 0, "");
        }
    }

    /// @dev The question is a static call: whatever the wallet tries, the one change is the signed one.
    function test_ReentryChangesNothing() public {
        ReenteringCaller wallet = new ReenteringCaller();
        bytes32 id = _id(address(wallet));
        wallet.plan(address(registry), abi.encodeCall(registry.revoke, (id, agent, SEND)));
        _relay(Action.Grant, id, "anything");
        assertEq(registry.nonceOf(id), 1);
        assertTrue(registry.isScoped(id, agent, SEND));
    }

    // ------------------------------------------------------------- EIP-7702

    /// @dev The key of an EOA keeps its word when the EOA has code that would refuse.
    /// forge-config: default.evm_version = "prague"
    function test_KeyOfDelegatedEoaComesBeforeItsCode() public {
        _delegate(alice, _answering(abi.encode(uint256(0)), false));
        _signedRelay(Action.Grant);
        _refused(Action.Revoke, aliceId, 1, _sign(BOB_KEY, _digest(Action.Revoke, aliceId, 1)));
    }

    // -------------------------------------------------------------- helpers

    function _message(Action action, bytes32 tenantId, uint64 nonce)
        private
        view
        returns (bytes memory)
    {
        if (action == Action.Grant) {
            return _grantMessage(tenantId, agent, SEND, _window(), _token(), nonce, DEADLINE);
        }
        if (action == Action.Extend) {
            return _extendMessage(tenantId, agent, SEND, LATER, nonce, DEADLINE);
        }
        if (action == Action.Revoke) {
            return _revokeMessage(tenantId, agent, SEND, nonce, DEADLINE);
        }
        return _revokeAgentMessage(tenantId, agent, nonce, DEADLINE);
    }

    function _digest(Action action, bytes32 tenantId, uint64 nonce) private view returns (bytes32) {
        return _typed(_domain(), _message(action, tenantId, nonce));
    }

    function _relay(Action action, bytes32 tenantId, bytes memory signature) private {
        vm.prank(stranger);
        if (action == Action.Grant) {
            registry.grantSigned(tenantId, agent, SEND, _window(), _token(), DEADLINE, signature);
        } else if (action == Action.Extend) {
            registry.extendSigned(tenantId, agent, SEND, LATER, DEADLINE, signature);
        } else if (action == Action.Revoke) {
            registry.revokeSigned(tenantId, agent, SEND, DEADLINE, signature);
        } else {
            registry.revokeAgentSigned(tenantId, agent, DEADLINE, signature);
        }
    }

    function _signedRelay(Action action) private {
        bytes32 digest = _digest(action, aliceId, registry.nonceOf(aliceId));
        _relay(action, aliceId, _sign(ALICE_KEY, digest));
    }

    function _expectEvent(Action action, uint64 index) private {
        vm.expectEmit(address(registry));
        if (action == Action.Grant) {
            emit IMCPAgentRegistry.Granted(aliceId, agent, SEND, _window(), _token(), START, index);
        } else if (action == Action.Extend) {
            emit IMCPAgentRegistry.Extended(aliceId, agent, SEND, LATER, START, index);
        } else if (action == Action.Revoke) {
            emit IMCPAgentRegistry.Revoked(aliceId, agent, SEND, index);
        } else {
            emit IMCPAgentRegistry.AgentRevoked(aliceId, agent, index);
        }
    }

    /// @dev Refused with the error that names the nonce and the digest a good signature would need.
    function _refused(Action action, bytes32 tenantId, uint64 nonce, bytes memory signature)
        private
    {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_BadSignature.selector,
                tenantId,
                nonce,
                _digest(action, tenantId, nonce)
            )
        );
        _relay(action, tenantId, signature);
    }
}
