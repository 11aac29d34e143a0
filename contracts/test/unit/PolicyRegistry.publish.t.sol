// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";
import {ReenteringCaller} from "../utils/ReenteringCaller.sol";
import {SafeWallet} from "../utils/Wallets.sol";

contract PublishTest is PolicyRegistryTest {
    uint48 private constant END_OF_TIME = 2 ** 47;

    // --------------------------------------------------------------- direct

    function test_AuthorityPublishesWithoutSignature() public {
        IPolicyRegistry.Policy memory policy = _policy();
        vm.expectEmit(address(registry));
        emit IPolicyRegistry.PolicyPublished(
            aliceId, 1, policy.policyHash, signer, policy.notBefore, policy.notAfter, START
        );
        vm.prank(alice);
        registry.publish(aliceId, 1, policy, START, "");
        _assertActive(aliceId, 1, policy);
        assertEq(registry.versionOf(aliceId), 1);
        assertEq(registry.policyAt(aliceId, 1).recordedAt, START);
        _assertNoneActive(bobId);
    }

    function test_I4_OnePolicyIsActiveAndItIsTheLast() public {
        IPolicyRegistry.Policy memory first = _policy();
        IPolicyRegistry.Policy memory second = _policy();
        second.policyHash = keccak256("second");
        second.verdictSigner = otherSigner;
        _publish(alice, first);
        vm.warp(START + 5);
        _publish(alice, second);
        _assertActive(aliceId, 2, second);
        (, IPolicyRegistry.Record memory active) = registry.activePolicy(aliceId);
        assertEq(active.recordedAt, START + 5);
        // History stays as it was.
        IPolicyRegistry.Record memory record = registry.policyAt(aliceId, 1);
        assertEq(record.policyHash, first.policyHash);
        assertEq(record.verdictSigner, signer);
        assertEq(record.notBefore, first.notBefore);
        assertEq(record.notAfter, first.notAfter);
        assertEq(record.recordedAt, START);
        // What never was is blank.
        assertEq(abi.encode(registry.policyAt(aliceId, 0)), new bytes(160));
        assertEq(abi.encode(registry.policyAt(aliceId, 3)), new bytes(160));
        assertEq(abi.encode(registry.policyAt(bobId, 1)), new bytes(160));
    }

    function test_RefusesIdsOfNobody() public {
        bytes32[3] memory ids =
            [bytes32(0), aliceId | bytes32(uint256(1) << 160), bytes32(~uint256(0))];
        for (uint256 i = 0; i < ids.length; ++i) {
            _expect(abi.encodeWithSelector(_invalidTenantId(), ids[i]));
            vm.prank(alice);
            registry.publish(ids[i], 1, _policy(), DEADLINE, "");
        }
    }

    function test_RefusesEveryVersionButTheNext() public {
        _publish(alice, _policy());
        uint64[4] memory versions = [uint64(0), 1, 3, type(uint64).max];
        for (uint256 i = 0; i < versions.length; ++i) {
            _expectWrongVersion(aliceId, 2, versions[i]);
            vm.prank(alice);
            registry.publish(aliceId, versions[i], _policy(), DEADLINE, "");
        }
        vm.prank(alice);
        registry.publish(aliceId, 2, _policy(), DEADLINE, "");
        // Another tenant counts for itself.
        _publish(bob, _policy());
        assertEq(registry.versionOf(bobId), 1);
    }

    function test_RefusesAfterTheDeadlineAlsoFromTheAuthority() public {
        vm.warp(DEADLINE + 1);
        _expectExpired(aliceId, DEADLINE);
        vm.prank(alice);
        registry.publish(aliceId, 1, _policy(), DEADLINE, "");
        vm.warp(DEADLINE);
        vm.prank(alice);
        registry.publish(aliceId, 1, _policy(), DEADLINE, "");
    }

    function test_RefusesPolicyWithoutVerdictSigner() public {
        IPolicyRegistry.Policy memory policy = _policy();
        policy.verdictSigner = address(0);
        _expect(
            abi.encodeWithSelector(IPolicyRegistry.PolicyRegistry_NoVerdictSigner.selector, aliceId)
        );
        vm.prank(alice);
        registry.publish(aliceId, 1, policy, DEADLINE, "");
    }

    function test_RefusesWindowsThatAreEmptyOrTooLate() public {
        _refusedWindow(0, 0);
        _refusedWindow(2, 1);
        _refusedWindow(START, START - 1);
        _refusedWindow(0, END_OF_TIME);
        _refusedWindow(0, type(uint48).max);
        _refusedWindow(type(uint48).max, type(uint48).max);
        // One moment is a window; so is all time.
        _publishWindow(1, 1);
        _publishWindow(0, 1);
        _publishWindow(START, START);
        _publishWindow(0, END_OF_TIME - 1);
        _publishWindow(END_OF_TIME - 1, END_OF_TIME - 1);
    }

    // -------------------------------------------------------------- relayed

    function test_TakesEcdsaOf65And64Bytes() public {
        IPolicyRegistry.Policy memory policy = _policy();
        vm.expectEmit(address(registry));
        emit IPolicyRegistry.PolicyPublished(
            aliceId, 1, policy.policyHash, signer, policy.notBefore, policy.notAfter, START
        );
        _relay(aliceId, 1, _sign(ALICE_KEY, _digest(aliceId, 1)));
        _assertActive(aliceId, 1, policy);
        _relay(aliceId, 2, _signCompact(ALICE_KEY, _digest(aliceId, 2)));
        _assertActive(aliceId, 2, policy);
    }

    function test_TakesSignatureUntilItsDeadline() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, 1));
        vm.warp(DEADLINE + 1);
        _expectExpired(aliceId, DEADLINE);
        _relay(aliceId, 1, signature);
        vm.warp(DEADLINE);
        _relay(aliceId, 1, signature);
        assertEq(registry.versionOf(aliceId), 1);
    }

    function test_I4_RefusesReplay() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, 1));
        _relay(aliceId, 1, signature);
        _expectWrongVersion(aliceId, 2, 1);
        _relay(aliceId, 1, signature);
        _refused(aliceId, 2, signature);
    }

    /// @dev A revocation consumes the version, so what was signed for it never comes to life.
    function test_I4_RevocationVoidsSignaturesGivenBefore() public {
        _publish(alice, _policy());
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, 2));
        _revoke(alice);
        _expectWrongVersion(aliceId, 3, 2);
        _relay(aliceId, 2, signature);
        _refused(aliceId, 3, signature);
        _assertNoneActive(aliceId);
    }

    function test_I4_RefusesOtherChainContractTenantVersionAndContent() public {
        bytes32 here = _domain();
        IPolicyRegistry.Policy memory policy = _policy();
        bytes32[9] memory digests = [
            _publishDigest(_domain(NAME, 84532, address(registry)), aliceId, 1, policy, DEADLINE),
            _publishDigest(_domain(NAME, 8453, alice), aliceId, 1, policy, DEADLINE),
            _publishDigest(
                _domain("Cofferdam MCPAgentRegistry", 8453, address(registry)),
                aliceId,
                1,
                policy,
                DEADLINE
            ),
            _publishDigest(here, bobId, 1, policy, DEADLINE),
            _publishDigest(here, aliceId, 2, policy, DEADLINE),
            _publishDigest(here, aliceId, 1, policy, DEADLINE + 1),
            _revokeDigest(here, aliceId, 1, DEADLINE),
            keccak256("something else"),
            0
        ];
        policy.verdictSigner = otherSigner;
        digests[8] = _publishDigest(here, aliceId, 1, policy, DEADLINE);
        for (uint256 i = 0; i < digests.length; ++i) {
            _refused(aliceId, 1, _sign(ALICE_KEY, digests[i]));
        }
        _refused(aliceId, 1, _sign(BOB_KEY, _digest(aliceId, 1)));
        _refused(aliceId, 1, _sign(SIGNER_KEY, _digest(aliceId, 1)));
    }

    /// @dev A chain that splits gets another id, and the contract follows it.
    function test_I4_FollowsTheChainIdAcrossFork() public {
        bytes memory before = _sign(ALICE_KEY, _digest(aliceId, 1));
        vm.chainId(84_530);
        _refused(aliceId, 1, before);
        _relay(aliceId, 1, _sign(ALICE_KEY, _digest(aliceId, 1)));
    }

    /// @dev I1: who is not the authority needs its signature; an empty one is none.
    function test_I1_RefusesStrangersAndOtherTenants() public {
        _publish(bob, _policy());
        bytes32 before = _state(aliceId);
        address[4] memory senders = [stranger, bob, signer, address(registry)];
        for (uint256 i = 0; i < senders.length; ++i) {
            _expectBadSignature(aliceId, 1);
            vm.prank(senders[i]);
            registry.publish(aliceId, 1, _policy(), DEADLINE, "");
        }
        assertEq(_state(aliceId), before);
    }

    function test_RefusesMalformedSignatures() public {
        bytes memory good = _sign(ALICE_KEY, _digest(aliceId, 1));
        _refused(aliceId, 1, new bytes(65));
        _refused(aliceId, 1, abi.encodePacked(good, uint8(0)));
        good[64] = 0x1d;
        _refused(aliceId, 1, good);
    }

    // ------------------------------------------------------------- ERC-1271

    function test_TakesSafeWithItsThreshold() public {
        (address safe, uint256[] memory keys) = _safe();
        bytes32 digest = _digest(_id(safe), 1);
        bytes memory both = abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest));
        _refused(_id(safe), 1, _sign(keys[0], digest));
        _relay(_id(safe), 1, both);
        _assertActive(_id(safe), 1, _policy());
        _refused(_id(safe), 2, both);
    }

    function test_SafeMayAlsoCallItself() public {
        (address safe,) = _safe();
        bytes memory data =
            abi.encodeCall(registry.publish, (_id(safe), 1, _policy(), DEADLINE, ""));
        SafeWallet(safe).execute(address(registry), data);
        _assertActive(_id(safe), 1, _policy());
        SafeWallet(safe).execute(address(registry), abi.encodeCall(registry.revoke, (_id(safe))));
        _assertNoneActive(_id(safe));
    }

    function test_RefusesOwnerThatSafeReplaced() public {
        (address safe, uint256[] memory keys) = _safe();
        bytes32 digest = _digest(_id(safe), 1);
        SafeWallet(safe).swapOwner(vm.addr(keys[0]), stranger);
        _refused(_id(safe), 1, abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest)));
    }

    /// @dev Two wallets with the same owners are two tenants all the same.
    function test_I4_SignatureForOneSafeIsNothingToItsTwin() public {
        (address safe, uint256[] memory keys) = _safe();
        (address twin,) = _safe();
        bytes32 digest = _digest(_id(safe), 1);
        _refused(_id(twin), 1, abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest)));
    }

    /// @dev The question is a static call: whatever the wallet tries, the one change is the signed one.
    function test_ReentryChangesNothing() public {
        ReenteringCaller wallet = new ReenteringCaller();
        bytes32 id = _id(address(wallet));
        wallet.plan(address(registry), abi.encodeCall(registry.revoke, (id)));
        _relay(id, 1, "anything");
        assertEq(registry.versionOf(id), 1);
        _assertActive(id, 1, _policy());
    }

    function test_RefusesEveryAnswerButTheMagicWord() public {
        (address yes, address[7] memory noes) = _answers();
        _relay(_id(yes), 1, "");
        for (uint256 i = 0; i < noes.length; ++i) {
            _refused(_id(noes[i]), 1, "");
        }
    }

    /// @dev Precompiles answer any call and have no code; nor has an account not deployed yet.
    function test_RefusesAuthoritiesWithoutCodeOrKey() public {
        for (uint160 i = 1; i <= 10; ++i) {
            _refused(_id(address(i)), 1, abi.encode(bytes4(0x1626ba7e)));
        }
        _refused(_id(_address("undeployed", 0)), 1, abi.encode(bytes4(0x1626ba7e)));
    }

    // ------------------------------------------------------------- EIP-7702

    /// @dev The key of an EOA keeps its word when the EOA has code that would refuse...
    /// forge-config: default.evm_version = "prague"
    function test_KeyOfDelegatedEoaComesBeforeItsCode() public {
        _delegate(alice, _answering(abi.encode(uint256(0)), false));
        _relay(aliceId, 1, _sign(ALICE_KEY, _digest(aliceId, 1)));
        _refused(aliceId, 2, _sign(BOB_KEY, _digest(aliceId, 2)));
    }

    /// @dev ...and its code may accept what is not the key's.
    /// forge-config: default.evm_version = "prague"
    function test_CodeOfDelegatedEoaIsAskedToo() public {
        (address safe, uint256[] memory keys) = _safe();
        _delegate(alice, safe);
        vm.store(alice, bytes32(uint256(1)), bytes32(uint256(1)));
        bytes32 owner = keccak256(abi.encode(vm.addr(keys[0]), uint256(0)));
        vm.store(alice, owner, bytes32(uint256(1)));
        _relay(aliceId, 1, _sign(keys[0], _digest(aliceId, 1)));
        _assertActive(aliceId, 1, _policy());
    }

    // -------------------------------------------------------------- helpers

    function _digest(bytes32 tenantId, uint64 version) private view returns (bytes32) {
        return _publishDigest(_domain(), tenantId, version, _policy(), DEADLINE);
    }

    function _relay(bytes32 tenantId, uint64 version, bytes memory signature) private {
        IPolicyRegistry.Policy memory policy = _policy();
        vm.prank(stranger);
        registry.publish(tenantId, version, policy, DEADLINE, signature);
    }

    function _refused(bytes32 tenantId, uint64 version, bytes memory signature) private {
        _expectBadSignature(tenantId, version);
        _relay(tenantId, version, signature);
    }

    function _publishWindow(uint48 notBefore, uint48 notAfter) private {
        _publish(alice, IPolicyRegistry.Policy(0, signer, notBefore, notAfter));
    }

    function _refusedWindow(uint48 notBefore, uint48 notAfter) private {
        _expect(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadWindow.selector, aliceId, notBefore, notAfter
            )
        );
        vm.prank(alice);
        registry.publish(
            aliceId, 1, IPolicyRegistry.Policy(0, signer, notBefore, notAfter), DEADLINE, ""
        );
    }

    function _expect(bytes memory error_) private {
        vm.expectRevert(error_);
    }

    function _invalidTenantId() private pure returns (bytes4) {
        return IPolicyRegistry.PolicyRegistry_InvalidTenantId.selector;
    }

    function _expectWrongVersion(bytes32 tenantId, uint64 expected, uint64 version) private {
        _expect(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_WrongVersion.selector, tenantId, expected, version
            )
        );
    }

    function _expectExpired(bytes32 tenantId, uint64 deadline) private {
        _expect(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_Expired.selector, tenantId, deadline, block.timestamp
            )
        );
    }

    function _expectBadSignature(bytes32 tenantId, uint64 version) private {
        _expect(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadSignature.selector,
                tenantId,
                version,
                _digest(tenantId, version)
            )
        );
    }
}
