// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";

contract RevokeTest is PolicyRegistryTest {
    function test_AuthorityRevokes() public {
        _publish(alice, _policy());
        _publish(bob, _policy());
        vm.warp(START + 9);
        vm.expectEmit(address(registry));
        emit IPolicyRegistry.PolicyRevoked(aliceId, 2, START + 9);
        _revoke(alice);

        _assertNoneActive(aliceId);
        _assertActive(bobId, 1, _policy());
        assertEq(registry.versionOf(aliceId), 2, "a revocation consumes a version");
        IPolicyRegistry.Record memory record = registry.policyAt(aliceId, 2);
        assertEq(record.recordedAt, START + 9);
        record.recordedAt = 0;
        assertEq(abi.encode(record), new bytes(160));
        assertEq(registry.policyAt(aliceId, 1).verdictSigner, signer, "history stays");

        _publish(alice, _policy());
        _assertActive(aliceId, 3, _policy());
    }

    /// @dev Voids what was signed for the next version, also when there is nothing to revoke.
    function test_RevokesNothingAndConsumesAVersionAllTheSame() public {
        bytes32 digest = _publishDigest(_domain(), aliceId, 1, _policy(), DEADLINE);
        _revoke(alice);
        _expectWrongVersion(2, 1);
        registry.publish(aliceId, 1, _policy(), DEADLINE, _sign(ALICE_KEY, digest));
        _revoke(alice);
        assertEq(registry.versionOf(aliceId), 2);
    }

    function test_I1_RefusesEveryoneElse() public {
        _publish(alice, _policy());
        bytes32 before = _state(aliceId);
        address[3] memory senders = [stranger, bob, signer];
        for (uint256 i = 0; i < senders.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IPolicyRegistry.PolicyRegistry_NotAuthority.selector, aliceId, senders[i]
                )
            );
            vm.prank(senders[i]);
            registry.revoke(aliceId);
        }
        assertEq(_state(aliceId), before);
    }

    function test_RefusesIdsOfNobody() public {
        bytes32[2] memory ids = [bytes32(0), aliceId | bytes32(uint256(1) << 255)];
        for (uint256 i = 0; i < ids.length; ++i) {
            bytes memory error_ = abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_InvalidTenantId.selector, ids[i]
            );
            vm.expectRevert(error_);
            vm.prank(alice);
            registry.revoke(ids[i]);
            vm.expectRevert(error_);
            registry.revokeSigned(ids[i], 1, DEADLINE, "");
        }
    }

    function test_Relayed() public {
        _publish(alice, _policy());
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, 2));
        vm.expectEmit(address(registry));
        emit IPolicyRegistry.PolicyRevoked(aliceId, 2, START);
        _relay(2, signature);
        _assertNoneActive(aliceId);
        _expectWrongVersion(3, 2);
        _relay(2, signature);
    }

    function test_TakesSignatureUntilItsDeadline() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, 1));
        vm.warp(DEADLINE + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_Expired.selector, aliceId, DEADLINE, DEADLINE + 1
            )
        );
        _relay(1, signature);
        vm.warp(DEADLINE);
        _relay(1, signature);
        assertEq(registry.versionOf(aliceId), 1);
    }

    function test_I4_RefusesOtherChainContractTenantVersionAndContent() public {
        bytes32 here = _domain();
        bytes32[7] memory digests = [
            _revokeDigest(_domain(NAME, 84532, address(registry)), aliceId, 1, DEADLINE),
            _revokeDigest(_domain(NAME, 8453, alice), aliceId, 1, DEADLINE),
            _revokeDigest(here, bobId, 1, DEADLINE),
            _revokeDigest(here, aliceId, 2, DEADLINE),
            _revokeDigest(here, aliceId, 1, DEADLINE + 1),
            _publishDigest(here, aliceId, 1, _policy(), DEADLINE),
            keccak256("something else")
        ];
        for (uint256 i = 0; i < digests.length; ++i) {
            _refused(_sign(ALICE_KEY, digests[i]));
        }
        _refused(_sign(BOB_KEY, _digest(aliceId, 1)));
        _refused("");
    }

    /// @dev The authority itself needs no signature, but in `revoke`: here it is asked for one.
    function test_SignatureIsWhatCountsWhoeverSends() public {
        vm.prank(alice);
        vm.expectRevert();
        registry.revokeSigned(aliceId, 1, DEADLINE, "");
    }

    function test_TakesSafeWithItsThreshold() public {
        (address safe, uint256[] memory keys) = _safe();
        bytes32 digest = _digest(_id(safe), 1);
        bytes memory both = abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest));
        registry.revokeSigned(_id(safe), 1, DEADLINE, both);
        assertEq(registry.versionOf(_id(safe)), 1);
    }

    function _digest(bytes32 tenantId, uint64 version) private view returns (bytes32) {
        return _revokeDigest(_domain(), tenantId, version, DEADLINE);
    }

    function _relay(uint64 version, bytes memory signature) private {
        vm.prank(stranger);
        registry.revokeSigned(aliceId, version, DEADLINE, signature);
    }

    function _refused(bytes memory signature) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadSignature.selector,
                aliceId,
                uint64(1),
                _digest(aliceId, 1)
            )
        );
        _relay(1, signature);
    }

    function _expectWrongVersion(uint64 expected, uint64 version) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_WrongVersion.selector, aliceId, expected, version
            )
        );
    }
}
