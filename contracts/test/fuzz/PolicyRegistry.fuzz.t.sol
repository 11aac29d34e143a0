// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";

contract PolicyRegistryFuzzTest is PolicyRegistryTest {
    /// @dev I1: a sender who is not the authority and has not its signature leaves no trace.
    function testFuzz_I1_StrangersChangeNothing(
        address sender,
        uint64 version,
        IPolicyRegistry.Policy memory policy,
        bytes memory signature
    ) public {
        _publish(alice, _policy());
        if (sender == alice || sender == address(0)) return;
        bytes32 before = _state(aliceId);
        uint64[2] memory versions = [version, 2];
        vm.startPrank(sender);
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert();
            registry.publish(aliceId, versions[i], policy, type(uint64).max, signature);
            vm.expectRevert();
            registry.revokeSigned(aliceId, versions[i], type(uint64).max, signature);
        }
        // The sender's own affairs are nobody else's.
        registry.publish(_id(sender), 1, _policy(), type(uint64).max, "");
        registry.revoke(_id(sender));
        vm.expectRevert();
        registry.revoke(aliceId);
        vm.stopPrank();
        assertEq(_state(aliceId), before);
    }

    /// @dev I1: whoever calls with an id that is not their own, or nobody's, gets nowhere.
    function testFuzz_I1_NobodyBringsAForeignIdToLife(address sender, bytes32 id) public {
        if (sender == address(0) || id == _id(sender)) return;
        vm.startPrank(sender);
        vm.expectRevert();
        registry.publish(id, 1, _policy(), type(uint64).max, "");
        vm.expectRevert();
        registry.revoke(id);
        vm.stopPrank();
        assertEq(registry.versionOf(id), 0);
    }

    /// @dev A policy is taken exactly when it has a signer and a window.
    function testFuzz_Publish(IPolicyRegistry.Policy memory policy, uint48 time) public {
        vm.warp(time);
        bool fits = policy.verdictSigner != address(0) && policy.notAfter < 2 ** 47
            && policy.notBefore <= policy.notAfter && policy.notAfter != 0;
        vm.prank(alice);
        if (!fits) vm.expectRevert();
        registry.publish(aliceId, 1, policy, time, "");
        if (!fits) {
            assertEq(registry.versionOf(aliceId), 0);
            return;
        }
        _assertActive(aliceId, 1, policy);
        assertEq(registry.policyAt(aliceId, 1).recordedAt, time);
    }

    function testFuzz_PublishRelayed(
        uint256 key,
        IPolicyRegistry.Policy memory policy,
        uint64 deadline,
        uint64 time
    ) public {
        key = 1 + key % (SECP256K1_ORDER - 1);
        bytes32 id = _id(vm.addr(key));
        policy.verdictSigner = signer;
        policy.notAfter = 1 + policy.notAfter % (2 ** 47 - 1);
        policy.notBefore %= policy.notAfter;
        bytes32 digest = _publishDigest(_domain(), id, 1, policy, deadline);
        vm.warp(time);
        if (time > deadline) vm.expectRevert();
        registry.publish(id, 1, policy, deadline, _sign(key, digest));
        if (time > deadline) _assertNoneActive(id);
        else _assertActive(id, 1, policy);
    }

    /// @dev The two readings agree at every moment: what `checkVerdict` takes is what an EntryPoint
    /// makes of the window of `verdictWindow`, and that is what policy and verdict say.
    function testFuzz_TwoReadingsAgree(
        uint48 notBefore,
        uint48 notAfter,
        uint48 validAfter,
        uint48 validUntil,
        uint48 time
    ) public {
        notAfter = 1 + notAfter % (2 ** 47 - 1);
        notBefore %= notAfter + 1;
        _publish(alice, IPolicyRegistry.Policy(0, signer, notBefore, notAfter));
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        (verdict.validAfter, verdict.validUntil) = (validAfter, validUntil);
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        if (time == 0) time = 1;
        vm.warp(time);

        bool good = notBefore <= time && time <= notAfter && validAfter < time && time <= validUntil;
        bool checked = false;
        try registry.checkVerdict(verdict, signature) {
            checked = true;
        } catch {}
        assertEq(checked, good, "checkVerdict");

        bool inWindow = false;
        try registry.verdictWindow(verdict, signature) returns (
            IPolicyRegistry.VerdictWindow memory window
        ) {
            assertLt(window.validAfter, window.validUntil, "an empty window");
            assertLt(window.validUntil, 2 ** 47, "a window past the end of time");
            inWindow = window.validAfter < time && time <= window.validUntil;
        } catch {}
        assertEq(inWindow, good, "verdictWindow");
    }

    /// @dev Any one bit of verdict or signature changed, and it is refused.
    function testFuzz_I4_NoBitOfAVerdictIsSpare(uint256 bit) public {
        _publish(alice, _policy());
        _publish(bob, _policy());
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory data =
            abi.encodeCall(registry.verdictWindow, (verdict, _signVerdict(SIGNER_KEY, verdict)));
        // The ten words of the verdict, or the 65 bytes of the signature after offset and length.
        uint256 place = bit % (10 * 256 + 65 * 8);
        uint256 position = 4 + place / 8 + (place < 2_560 ? 0 : 64);
        data[position] ^= bytes1(0x01) << (place % 8);
        (bool ok,) = address(registry).staticcall(data);
        assertFalse(ok, "a damaged verdict was taken");
        data[position] ^= bytes1(0x01) << (place % 8);
        (ok,) = address(registry).staticcall(data);
        assertTrue(ok);
    }

    /// @dev I4: digests for different tenants, chains, contracts or versions never meet: the authority's
    /// signature for one is refused for the other.
    function testFuzz_I4_SignatureIsForItsOwnPlaceAlone(
        uint64 chainId,
        address verifyingContract,
        bytes32 tenantId,
        uint64 version,
        uint8 keep
    ) public {
        if (keep & 1 != 0) chainId = uint64(block.chainid);
        if (keep & 2 != 0) verifyingContract = address(registry);
        if (keep & 4 != 0) tenantId = aliceId;
        if (keep & 8 != 0) version = 1;
        bool same = chainId == block.chainid && verifyingContract == address(registry)
            && tenantId == aliceId && version == 1;
        bytes32 digest = _publishDigest(
            _domain(NAME, chainId, verifyingContract), tenantId, version, _policy(), DEADLINE
        );
        IPolicyRegistry.Policy memory policy = _policy();
        if (!same) vm.expectRevert();
        registry.publish(aliceId, 1, policy, DEADLINE, _sign(ALICE_KEY, digest));
        assertEq(registry.versionOf(aliceId), same ? 1 : 0);
    }
}
