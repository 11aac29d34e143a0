// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";

/// @notice Both readings of a verdict: `checkVerdict` with the clock, `verdictWindow` without.
contract VerdictTest is PolicyRegistryTest {
    function setUp() public override {
        super.setUp();
        _publish(alice, _policy());
    }

    function test_EveryOutcomeIsReportedAsItIs() public view {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        for (uint8 i = 0; i < 3; ++i) {
            verdict.outcome = IPolicyRegistry.Outcome(i);
            assertEq(uint8(_check(verdict)), i);
        }
        assertEq(uint8(IPolicyRegistry.Outcome.DENY), 0);
        assertEq(uint8(IPolicyRegistry.Outcome.ALLOW), 1);
        assertEq(uint8(IPolicyRegistry.Outcome.ESCALATE), 2);
    }

    function test_RefusesOutcomeThatIsNone() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory data =
            abi.encodeCall(registry.checkVerdict, (verdict, _signVerdict(SIGNER_KEY, verdict)));
        (bool ok,) = address(registry).call(data);
        assertTrue(ok);
        data[4 + 5 * 32 + 31] = 0x03;
        (ok,) = address(registry).call(data);
        assertFalse(ok);
    }

    function test_Takes64Bytes() public view {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signCompact(SIGNER_KEY, _verdictDigest(_domain(), verdict));
        assertEq(
            uint8(registry.checkVerdict(verdict, signature)), uint8(IPolicyRegistry.Outcome.ALLOW)
        );
        registry.verdictWindow(verdict, signature);
    }

    /// @dev Whoever signs verdicts is no agent under them: one key would be both.
    function test_RefusesVerdictOfTheAgentItself() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        verdict.agent = vm.addr(SIGNER_KEY);
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        bytes memory reason = abi.encodeWithSelector(
            IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
            aliceId,
            _verdictDigest(_domain(), verdict)
        );
        vm.expectRevert(reason);
        registry.verdictWindow(verdict, signature);
        vm.expectRevert(reason);
        registry.checkVerdict(verdict, signature);
    }

    // --------------------------------------------------------------- window

    /// @dev The intersection, in ERC-4337's sense.
    function test_WindowIsWhatPolicyAndVerdictShare() public view {
        (uint48 policyAfter, uint48 policyUntil) = (START - 1 hours - 1, START + 1 days);
        // Verdict inside, around, and across either end of the policy's window.
        _assertWindow(START - 5, START + 5, START - 5, START + 5);
        _assertWindow(0, type(uint48).max, policyAfter, policyUntil);
        _assertWindow(0, START, policyAfter, START);
        _assertWindow(START, type(uint48).max, START, policyUntil);
        _assertWindow(policyAfter, policyUntil, policyAfter, policyUntil);
        _assertWindow(policyUntil - 1, policyUntil + 1, policyUntil - 1, policyUntil);
        _assertWindow(policyAfter - 1, policyAfter + 1, policyAfter, policyAfter + 1);
    }

    function test_WindowOfPolicyFromTheBeginningOfTime() public {
        IPolicyRegistry.Policy memory policy = _policy();
        (policy.notBefore, policy.notAfter) = (0, 2 ** 47 - 1);
        _publish(alice, policy);
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        verdict.policyVersion = 2;
        (verdict.validAfter, verdict.validUntil) = (0, type(uint48).max);
        IPolicyRegistry.VerdictWindow memory window = _window(verdict);
        assertEq(window.validAfter, 0);
        assertEq(window.validUntil, 2 ** 47 - 1);
    }

    /// @dev An EntryPoint reads an end of zero as "never": it must not come out of here.
    function test_RefusesEmptyWindows() public {
        (uint48 policyAfter, uint48 policyUntil) = (START - 1 hours - 1, START + 1 days);
        _refusedWindow(0, 0, policyAfter, 0);
        _refusedWindow(START, START, START, START);
        _refusedWindow(START, START - 1, START, START - 1);
        _refusedWindow(policyUntil, policyUntil + 1, policyUntil, policyUntil);
        _refusedWindow(0, policyAfter, policyAfter, policyAfter);

        IPolicyRegistry.Policy memory policy = _policy();
        policy.notBefore = 0;
        _publish(alice, policy);
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        (verdict.policyVersion, verdict.validAfter, verdict.validUntil) = (2, 0, 0);
        _expectEmptyWindow(0, 0);
        registry.verdictWindow(verdict, _signVerdict(SIGNER_KEY, verdict));
    }

    function test_CheckVerdictAgreesWithTheWindowToTheSecond() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        (uint48 after_, uint48 until) = (verdict.validAfter, verdict.validUntil);
        uint48[4] memory times = [after_, after_ + 1, until, until + 1];
        for (uint256 i = 0; i < 4; ++i) {
            vm.warp(times[i]);
            bool inside = i == 1 || i == 2;
            if (!inside) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        IPolicyRegistry.PolicyRegistry_OutsideWindow.selector,
                        aliceId,
                        after_,
                        until,
                        times[i]
                    )
                );
            }
            registry.checkVerdict(verdict, signature);
            // The other reading does not know what time it is.
            assertEq(registry.verdictWindow(verdict, signature).validUntil, until);
        }
    }

    /// @dev A policy is good at its first and its last second.
    function test_PolicyIsGoodFromNotBeforeToNotAfter() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        (verdict.validAfter, verdict.validUntil) = (0, type(uint48).max);
        IPolicyRegistry.Policy memory policy = _policy();
        vm.warp(policy.notBefore);
        _check(verdict);
        vm.warp(policy.notAfter);
        _check(verdict);
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        vm.warp(policy.notBefore - 1);
        vm.expectRevert();
        registry.checkVerdict(verdict, signature);
        vm.warp(policy.notAfter + 1);
        vm.expectRevert();
        registry.checkVerdict(verdict, signature);
    }

    function test_SaysWhenThePolicyWasRecorded() public {
        vm.warp(START + 77);
        _publish(alice, _policy());
        vm.warp(START + 99);
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        verdict.policyVersion = 2;
        IPolicyRegistry.VerdictWindow memory window = _window(verdict);
        assertEq(window.recordedAt, START + 77);
        assertEq(window.policyVersion, 2);
    }

    // ------------------------------------------------------------- refusals

    function test_WithoutActivePolicyEverythingIsDenied() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        _revoke(alice);
        _refusedWithoutPolicy(verdict, _signVerdict(SIGNER_KEY, verdict));
        // The revocation's own version is no policy either, nor is a signature that recovers to zero
        // the word of its signer, who is nobody.
        verdict.policyVersion = 2;
        _refusedWithoutPolicy(verdict, _signVerdict(SIGNER_KEY, verdict));
        _refusedWithoutPolicy(verdict, new bytes(65));
        _refusedWithoutPolicy(verdict, "");
        // A tenant that never published.
        (verdict.tenantId, verdict.policyVersion) = (bobId, 0);
        _refusedWithoutPolicy(verdict, new bytes(65));
        verdict.tenantId = 0;
        _refusedWithoutPolicy(verdict, new bytes(65));
    }

    function test_RefusesVerdictsUnderAnotherVersion() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        _check(verdict);
        // Same policy, same signer, published again: verdicts of before are void.
        _publish(alice, _policy());
        _expectWrongPolicyVersion(2, 1);
        registry.checkVerdict(verdict, signature);
        _expectWrongPolicyVersion(2, 1);
        registry.verdictWindow(verdict, signature);
        verdict.policyVersion = 3;
        signature = _signVerdict(SIGNER_KEY, verdict);
        _expectWrongPolicyVersion(2, 3);
        registry.checkVerdict(verdict, signature);
    }

    function test_I4_VerdictOfOneTenantIsNothingToAnother() public {
        // The worst case: both tenants name the same signer.
        _publish(bob, _policy());
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        verdict.tenantId = bobId;
        _refused(verdict, signature);
    }

    function test_I4_RefusesOtherChainAndContract() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        address self = address(registry);
        bytes32[3] memory domains = [
            _domain(NAME, 84532, self),
            _domain(NAME, 8453, address(_deployPolicyRegistry())),
            _domain("Cofferdam AuditAnchor", 8453, self)
        ];
        for (uint256 i = 0; i < domains.length; ++i) {
            _refused(verdict, _sign(SIGNER_KEY, _verdictDigest(domains[i], verdict)));
        }
        bytes memory before = _signVerdict(SIGNER_KEY, verdict);
        vm.chainId(84_530);
        _refused(verdict, before);
    }

    function test_RefusesEveryFieldThatWasNotSigned() public {
        bytes memory signature = _signVerdict(SIGNER_KEY, _verdict());
        for (uint256 field = 0; field < 8; ++field) {
            IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
            if (field == 0) verdict.agent = _address("agent", 1);
            if (field == 1) verdict.capability = keccak256("payments.swap");
            if (field == 2) verdict.callsHash = keccak256("other calls");
            if (field == 3) verdict.outcome = IPolicyRegistry.Outcome.ESCALATE;
            if (field == 4) verdict.maxFee += 1;
            if (field == 5) verdict.validAfter -= 1;
            if (field == 6) verdict.validUntil += 1;
            if (field == 7) verdict.nonce += 1;
            _refused(verdict, signature);
        }
    }

    /// @dev Not even the authority, nor the signer of the version before.
    function test_RefusesEveryOtherSigner() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        _refused(verdict, _signVerdict(ALICE_KEY, verdict));
        _refused(verdict, _signVerdict(OTHER_SIGNER_KEY, verdict));
        IPolicyRegistry.Policy memory policy = _policy();
        policy.verdictSigner = otherSigner;
        _publish(alice, policy);
        verdict.policyVersion = 2;
        _refused(verdict, _signVerdict(SIGNER_KEY, verdict));
        _check(verdict, OTHER_SIGNER_KEY);
    }

    function test_RefusesMalformedSignatures() public {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory good = _signVerdict(SIGNER_KEY, verdict);
        _refused(verdict, "");
        _refused(verdict, new bytes(65));
        _refused(verdict, abi.encodePacked(good, uint8(0)));
        good[64] = 0x1d;
        _refused(verdict, good);
    }

    /// @dev A verdict signer is a key: code at its address is not asked.
    function test_NeverAsksTheCodeOfAVerdictSigner() public {
        (address yes,) = _answers();
        IPolicyRegistry.Policy memory policy = _policy();
        policy.verdictSigner = yes;
        _publish(alice, policy);
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        verdict.policyVersion = 2;
        _refused(verdict, "");
    }

    // -------------------------------------------------------------- helpers

    function _check(IPolicyRegistry.PolicyVerdict memory verdict)
        private
        view
        returns (IPolicyRegistry.Outcome)
    {
        return _check(verdict, SIGNER_KEY);
    }

    function _check(IPolicyRegistry.PolicyVerdict memory verdict, uint256 key)
        private
        view
        returns (IPolicyRegistry.Outcome)
    {
        return registry.checkVerdict(verdict, _signVerdict(key, verdict));
    }

    function _window(IPolicyRegistry.PolicyVerdict memory verdict)
        private
        view
        returns (IPolicyRegistry.VerdictWindow memory)
    {
        return registry.verdictWindow(verdict, _signVerdict(SIGNER_KEY, verdict));
    }

    function _assertWindow(uint48 after_, uint48 until, uint48 expectedAfter, uint48 expectedUntil)
        private
        view
    {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        (verdict.validAfter, verdict.validUntil) = (after_, until);
        IPolicyRegistry.VerdictWindow memory window = _window(verdict);
        assertEq(window.validAfter, expectedAfter, "validAfter");
        assertEq(window.validUntil, expectedUntil, "validUntil");
        assertEq(window.recordedAt, START, "recordedAt");
        assertEq(window.policyVersion, 1, "policyVersion");
    }

    function _refusedWindow(uint48 after_, uint48 until, uint48 sharedAfter, uint48 sharedUntil)
        private
    {
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        (verdict.validAfter, verdict.validUntil) = (after_, until);
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        _expectEmptyWindow(sharedAfter, sharedUntil);
        registry.verdictWindow(verdict, signature);
        _expectEmptyWindow(sharedAfter, sharedUntil);
        registry.checkVerdict(verdict, signature);
    }

    function _refused(IPolicyRegistry.PolicyVerdict memory verdict, bytes memory signature)
        private
    {
        bytes memory error_ = abi.encodeWithSelector(
            IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
            verdict.tenantId,
            _verdictDigest(_domain(), verdict)
        );
        vm.expectRevert(error_);
        registry.checkVerdict(verdict, signature);
        vm.expectRevert(error_);
        registry.verdictWindow(verdict, signature);
    }

    function _refusedWithoutPolicy(
        IPolicyRegistry.PolicyVerdict memory verdict,
        bytes memory signature
    ) private {
        bytes memory error_ = abi.encodeWithSelector(
            IPolicyRegistry.PolicyRegistry_NoActivePolicy.selector, verdict.tenantId
        );
        vm.expectRevert(error_);
        registry.checkVerdict(verdict, signature);
        vm.expectRevert(error_);
        registry.verdictWindow(verdict, signature);
    }

    function _expectWrongPolicyVersion(uint64 active, uint64 named) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_WrongPolicyVersion.selector, aliceId, active, named
            )
        );
    }

    function _expectEmptyWindow(uint48 after_, uint48 until) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_EmptyWindow.selector, aliceId, after_, until
            )
        );
    }
}
