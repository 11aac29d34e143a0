// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {AnsweringWallet, ReenteringWallet, SafeWallet} from "../utils/Wallets.sol";

/// @notice Somebody brings the authority's signature.
contract SetAnchorerSignedTest is AuditAnchorTest {
    uint64 private constant DEADLINE = START + 1 hours;

    // ---------------------------------------------------------------- EOA

    function test_TakesEcdsaOf65And64Bytes() public {
        bytes32 digest = _digest(aliceId, anchorer, 0);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.AnchorerSet(aliceId, anchorer, 0);
        _relay(aliceId, anchorer, _sign(ALICE_KEY, digest));
        _assertHead(aliceId, anchorer, 0, 0);

        _relay(aliceId, stranger, _signCompact(ALICE_KEY, _digest(aliceId, stranger, 1)));
        _assertHead(aliceId, stranger, 0, 0);
        assertEq(auditAnchor.nonceOf(aliceId), 2);
    }

    function test_TakesSignatureUntilItsDeadline() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, anchorer, 0));
        vm.warp(DEADLINE + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditAnchor.AuditAnchor_Expired.selector, aliceId, DEADLINE, DEADLINE + 1
            )
        );
        _relay(aliceId, anchorer, signature);
        vm.warp(DEADLINE);
        _relay(aliceId, anchorer, signature);
        _assertHead(aliceId, anchorer, 0, 0);
    }

    function test_I4_RefusesReplay() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, anchorer, 0));
        _relay(aliceId, anchorer, signature);
        _setAnchorer(alice, address(0));
        _refused(aliceId, anchorer, 2, signature);
    }

    function test_I4_DirectChangeVoidsSignaturesGivenBefore() public {
        bytes memory signature = _sign(ALICE_KEY, _digest(aliceId, anchorer, 0));
        _setAnchorer(alice, stranger);
        _refused(aliceId, anchorer, 1, signature);
        _assertHead(aliceId, stranger, 0, 0);
    }

    function test_I4_RefusesOtherChainContractTenantAndContent() public {
        bytes32 here = _domain();
        address self = address(auditAnchor);
        bytes32[7] memory digests = [
            _setAnchorerDigest(_domain(84532, self), aliceId, anchorer, 0, DEADLINE),
            _setAnchorerDigest(_domain(block.chainid, alice), aliceId, anchorer, 0, DEADLINE),
            _setAnchorerDigest(here, bobId, anchorer, 0, DEADLINE),
            _setAnchorerDigest(here, aliceId, stranger, 0, DEADLINE),
            _setAnchorerDigest(here, aliceId, anchorer, 1, DEADLINE),
            _setAnchorerDigest(here, aliceId, anchorer, 0, DEADLINE + 1),
            keccak256("something else")
        ];
        for (uint256 i = 0; i < digests.length; ++i) {
            _refused(aliceId, anchorer, 0, _sign(ALICE_KEY, digests[i]));
        }
        _refused(aliceId, anchorer, 0, _sign(BOB_KEY, _digest(aliceId, anchorer, 0)));
    }

    /// @dev A chain that splits gets another id, and the contract follows it.
    function test_I4_FollowsTheChainIdAcrossFork() public {
        bytes memory before = _sign(ALICE_KEY, _digest(aliceId, anchorer, 0));
        vm.chainId(84_530);
        _refused(aliceId, anchorer, 0, before);
        _relay(aliceId, anchorer, _sign(ALICE_KEY, _digest(aliceId, anchorer, 0)));
        _assertHead(aliceId, anchorer, 0, 0);
    }

    function test_RefusesMalformedSignatures() public {
        bytes memory good = _sign(ALICE_KEY, _digest(aliceId, anchorer, 0));
        _refused(aliceId, anchorer, 0, "");
        _refused(aliceId, anchorer, 0, new bytes(65));
        _refused(aliceId, anchorer, 0, abi.encodePacked(good, uint8(0)));
        good[64] = 0x1d;
        _refused(aliceId, anchorer, 0, good);
    }

    // ------------------------------------------------------------ ERC-1271

    function test_TakesSafeWithItsThreshold() public {
        (address safe, uint256[] memory keys) = _safe();
        bytes32 digest = _digest(_id(safe), anchorer, 0);
        bytes memory both = abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest));
        _refused(_id(safe), anchorer, 0, _sign(keys[0], digest));
        _relay(_id(safe), anchorer, both);
        _assertHead(_id(safe), anchorer, 0, 0);
        _refused(_id(safe), anchorer, 1, both);
    }

    function test_SafeMayAlsoCallItself() public {
        (address safe,) = _safe();
        SafeWallet(safe)
            .execute(
                address(auditAnchor), abi.encodeCall(auditAnchor.setAnchorer, (_id(safe), anchorer))
            );
        _assertHead(_id(safe), anchorer, 0, 0);
    }

    function test_RefusesOwnerThatSafeReplaced() public {
        (address safe, uint256[] memory keys) = _safe();
        bytes32 digest = _digest(_id(safe), anchorer, 0);
        SafeWallet(safe).swapOwner(vm.addr(keys[0]), stranger);
        _refused(
            _id(safe), anchorer, 0, abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest))
        );
    }

    /// @dev Two wallets with the same owners are two tenants all the same.
    function test_I4_SignatureForOneSafeIsNothingToItsTwin() public {
        (address safe, uint256[] memory keys) = _safe();
        (address twin,) = _safe();
        bytes32 digest = _digest(_id(safe), anchorer, 0);
        bytes memory both = abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest));
        _refused(_id(twin), anchorer, 0, both);
    }

    /// @dev The question is a static call: whatever the wallet tries, the one change is the signed one.
    function test_ReentryChangesNothing() public {
        address wallet = address(new ReenteringWallet(auditAnchor));
        _relay(_id(wallet), anchorer, "anything");
        _assertHead(_id(wallet), anchorer, 0, 0);
        assertEq(auditAnchor.nonceOf(_id(wallet)), 1);
    }

    function test_RefusesEveryAnswerButTheMagicWord() public {
        bytes32 magic = bytes32(bytes4(0x1626ba7e));
        _relay(_id(_answering(abi.encode(magic), false)), anchorer, "");

        address[7] memory wallets = [
            _answering(abi.encode(magic), true),
            _answering("", false),
            _answering("", true),
            _answering(abi.encodePacked(bytes4(0x1626ba7e)), false),
            _answering(abi.encode(bytes32(uint256(magic) | 1)), false),
            _answering(abi.encode(uint256(1)), false),
            _answering(new bytes(20_000), false)
        ];
        for (uint256 i = 0; i < wallets.length; ++i) {
            _refused(_id(wallets[i]), anchorer, 0, "");
        }
    }

    /// @dev Precompiles answer any call and have no code; nor has an account not deployed yet.
    function test_RefusesAuthoritiesWithoutCodeOrKey() public {
        for (uint160 i = 1; i <= 10; ++i) {
            _refused(_id(address(i)), anchorer, 0, abi.encode(bytes4(0x1626ba7e)));
        }
        _refused(_id(_address("undeployed", 0)), anchorer, 0, abi.encode(bytes4(0x1626ba7e)));
    }

    // ------------------------------------------------------------ EIP-7702

    /// @dev The key of an EOA keeps its word when the EOA has code that would refuse...
    /// forge-config: default.evm_version = "prague"
    function test_KeyOfDelegatedEoaComesBeforeItsCode() public {
        _delegate(alice, _answering(abi.encode(uint256(0)), false));
        _relay(aliceId, anchorer, _sign(ALICE_KEY, _digest(aliceId, anchorer, 0)));
        _assertHead(aliceId, anchorer, 0, 0);
        _refused(aliceId, anchorer, 1, _sign(BOB_KEY, _digest(aliceId, anchorer, 1)));
    }

    /// @dev ...and its code may accept what is not the key's.
    /// forge-config: default.evm_version = "prague"
    function test_CodeOfDelegatedEoaIsAskedToo() public {
        (address safe, uint256[] memory keys) = _safe();
        _delegate(alice, safe);
        vm.store(alice, bytes32(uint256(1)), bytes32(uint256(1)));
        bytes32 owner = keccak256(abi.encode(vm.addr(keys[0]), uint256(0)));
        vm.store(alice, owner, bytes32(uint256(1)));
        _relay(aliceId, anchorer, _sign(keys[0], _digest(aliceId, anchorer, 0)));
        _assertHead(aliceId, anchorer, 0, 0);
    }

    // ------------------------------------------------------------- helpers

    function _digest(bytes32 tenantId, address newAnchorer, uint64 nonce)
        private
        view
        returns (bytes32)
    {
        return _setAnchorerDigest(_domain(), tenantId, newAnchorer, nonce, DEADLINE);
    }

    function _relay(bytes32 tenantId, address newAnchorer, bytes memory signature) private {
        vm.prank(stranger);
        auditAnchor.setAnchorerSigned(tenantId, newAnchorer, DEADLINE, signature);
    }

    /// @dev Refused with the error that names the nonce and the digest a good signature would need.
    function _refused(bytes32 tenantId, address newAnchorer, uint64 nonce, bytes memory signature)
        private
    {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditAnchor.AuditAnchor_BadSignature.selector,
                tenantId,
                nonce,
                _digest(tenantId, newAnchorer, nonce)
            )
        );
        _relay(tenantId, newAnchorer, signature);
    }

    /// @dev Two of three; the keys come in ascending order of their addresses.
    function _safe() private returns (address safe, uint256[] memory keys) {
        keys = new uint256[](3);
        address[] memory owners = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            keys[i] = uint256(keccak256(abi.encode("owner", i)));
            for (uint256 j = i; j > 0 && vm.addr(keys[j]) < vm.addr(keys[j - 1]); --j) {
                (keys[j], keys[j - 1]) = (keys[j - 1], keys[j]);
            }
        }
        for (uint256 i = 0; i < 3; ++i) {
            owners[i] = vm.addr(keys[i]);
        }
        safe = address(new SafeWallet(owners, 2));
    }

    function _answering(bytes memory answer, bool reverts) private returns (address) {
        return address(new AnsweringWallet(answer, reverts));
    }

    function _delegate(address eoa, address code) private {
        vm.etch(eoa, abi.encodePacked(hex"ef0100", code));
    }
}
