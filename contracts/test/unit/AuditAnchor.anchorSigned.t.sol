// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {AnsweringWallet} from "../utils/Wallets.sol";

/// @notice Items that carry their anchorer's signature, always sent by a stranger.
contract AnchorSignedTest is AuditAnchorTest {
    bytes32 private constant ROOT = keccak256("root");
    uint64 private constant DEADLINE = START + 1 hours;
    uint256 private constant OTHER_KEY = uint256(keccak256("other anchorer"));

    function setUp() public override {
        super.setUp();
        _setAnchorer(alice, anchorer);
        _setAnchorer(bob, vm.addr(OTHER_KEY));
    }

    function test_AnchorsForTenantsOfDifferentAnchorers() public {
        IAuditAnchor.SignedItem[] memory items = new IAuditAnchor.SignedItem[](3);
        items[0] = _item(aliceId, 0, 3);
        items[1] = _item(bobId, 0, 5);
        items[2] = _item(aliceId, 3, 4);
        items[0].signature = _sign(ANCHORER_KEY, _anchorDigest(_domain(), items[0]));
        items[1].signature = _sign(OTHER_KEY, _anchorDigest(_domain(), items[1]));
        items[2].signature = _signCompact(ANCHORER_KEY, _anchorDigest(_domain(), items[2]));
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Anchored(aliceId, 0, 0, 3, ROOT, START);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Anchored(bobId, 0, 0, 5, ROOT, START);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Anchored(aliceId, 1, 3, 4, ROOT, START);
        _send(items);
        _assertHead(aliceId, anchorer, 2, 7);
        _assertHead(bobId, vm.addr(OTHER_KEY), 1, 5);
    }

    function test_I2_SkipsReplay() public {
        IAuditAnchor.SignedItem memory item = _signed(ANCHORER_KEY, _item(aliceId, 0, 3));
        _anchors(item);
        _skips(item, IAuditAnchor.SkipReason.WrongFirstSeq);
        _assertHead(aliceId, anchorer, 1, 3);
    }

    function test_TakesSignatureUntilItsDeadline() public {
        IAuditAnchor.SignedItem memory item = _signed(ANCHORER_KEY, _item(aliceId, 0, 3));
        vm.warp(DEADLINE + 1);
        _skips(item, IAuditAnchor.SkipReason.Expired);
        vm.warp(DEADLINE);
        _anchors(item);
    }

    function test_SkipsWrongPositionsAndCounts() public {
        _skips(_signed(ANCHORER_KEY, _item(aliceId, 1, 3)), IAuditAnchor.SkipReason.WrongFirstSeq);
        _skips(_signed(ANCHORER_KEY, _item(aliceId, 0, 0)), IAuditAnchor.SkipReason.BadCount);
        _skips(_signed(ANCHORER_KEY, _item(aliceId, 0, 2 ** 32)), IAuditAnchor.SkipReason.BadCount);
        _storeHead(aliceId, anchorer, 9, 2 ** 56 - 1);
        _skips(
            _signed(ANCHORER_KEY, _item(aliceId, 2 ** 56 - 1, 1)),
            IAuditAnchor.SkipReason.EntriesOverflow
        );
        _storeHead(aliceId, anchorer, 2 ** 40 - 1, 2 ** 41);
        _skips(
            _signed(ANCHORER_KEY, _item(aliceId, 2 ** 41, 1)),
            IAuditAnchor.SkipReason.BatchesOverflow
        );
    }

    function test_I4_SkipsSignaturesForAnythingElse() public {
        IAuditAnchor.SignedItem memory item = _item(aliceId, 0, 3);
        bytes32 here = _domain();
        bytes32[7] memory digests;
        digests[0] = _anchorDigest(_domain(84532, address(auditAnchor)), item);
        digests[1] = _anchorDigest(_domain(block.chainid, alice), item);
        digests[2] = _anchorDigest(here, _with(item, bobId, 0, 3, ROOT, DEADLINE));
        digests[3] = _anchorDigest(here, _with(item, aliceId, 1, 3, ROOT, DEADLINE));
        digests[4] = _anchorDigest(here, _with(item, aliceId, 0, 4, ROOT, DEADLINE));
        digests[5] = _anchorDigest(here, _with(item, aliceId, 0, 3, bytes32(0), DEADLINE));
        digests[6] = _anchorDigest(here, _with(item, aliceId, 0, 3, ROOT, DEADLINE + 1));
        for (uint256 i = 0; i < digests.length; ++i) {
            item.signature = _sign(ANCHORER_KEY, digests[i]);
            _skips(item, IAuditAnchor.SkipReason.BadSignature);
        }
        _anchors(_signed(ANCHORER_KEY, item));
    }

    function test_I1_SkipsSignaturesOfEveryoneElse() public {
        uint256[4] memory others = [ALICE_KEY, BOB_KEY, OTHER_KEY, STRANGER_KEY];
        for (uint256 i = 0; i < others.length; ++i) {
            _skips(_signed(others[i], _item(aliceId, 0, 3)), IAuditAnchor.SkipReason.BadSignature);
        }
        IAuditAnchor.SignedItem memory item = _signed(ANCHORER_KEY, _item(aliceId, 0, 3));
        _setAnchorer(alice, stranger);
        _skips(item, IAuditAnchor.SkipReason.BadSignature);
    }

    function test_SkipsMalformedSignatures() public {
        IAuditAnchor.SignedItem memory item = _signed(ANCHORER_KEY, _item(aliceId, 0, 3));
        bytes memory good = item.signature;
        uint8[6] memory lengths = [0, 1, 63, 64, 66, 255];
        for (uint256 i = 0; i < lengths.length; ++i) {
            item.signature = new bytes(lengths[i]);
            for (uint256 j = 0; j < lengths[i] && j < 65; ++j) {
                item.signature[j] = good[j];
            }
            // Cut to 64 bytes the s of a good signature is read as vs, which is another signature.
            _skips(item, IAuditAnchor.SkipReason.BadSignature);
        }
    }

    /// @dev Failed recovery yields the zero address, which is also the anchorer of a tenant that has
    /// none. The two must never meet.
    function test_I1_FailedRecoveryIsNobody() public {
        _setAnchorer(alice, address(0));
        bytes[3] memory signatures = [bytes(""), new bytes(64), new bytes(65)];
        for (uint256 i = 0; i < signatures.length; ++i) {
            IAuditAnchor.SignedItem memory item = _item(aliceId, 0, 3);
            item.signature = signatures[i];
            _skips(item, IAuditAnchor.SkipReason.NotAnchorer);
            item.tenantId = bytes32(type(uint256).max);
            _skips(item, IAuditAnchor.SkipReason.NotAnchorer);
            item.tenantId = bytes32(0);
            _skips(item, IAuditAnchor.SkipReason.NotAnchorer);
        }
    }

    /// @dev An anchorer is a key: a contract's ERC-1271 word is not asked for.
    function test_DoesNotAskContracts() public {
        address wallet = address(new AnsweringWallet(abi.encode(bytes4(0x1626ba7e)), false));
        _setAnchorer(alice, wallet);
        _skips(_signed(STRANGER_KEY, _item(aliceId, 0, 3)), IAuditAnchor.SkipReason.BadSignature);
    }

    function test_SkippedItemDoesNotHoldUpOthers() public {
        IAuditAnchor.SignedItem[] memory items = new IAuditAnchor.SignedItem[](3);
        items[0] = _signed(ANCHORER_KEY, _item(aliceId, 0, 3));
        items[1] = _signed(STRANGER_KEY, _item(aliceId, 3, 3));
        items[2] = _signed(OTHER_KEY, _item(bobId, 0, 5));
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Skipped(1, aliceId, IAuditAnchor.SkipReason.BadSignature);
        _send(items);
        _assertHead(aliceId, anchorer, 1, 3);
        _assertHead(bobId, vm.addr(OTHER_KEY), 1, 5);
    }

    // ------------------------------------------------------------- helpers

    function _item(bytes32 tenantId, uint64 firstSeq, uint64 count)
        private
        pure
        returns (IAuditAnchor.SignedItem memory)
    {
        return IAuditAnchor.SignedItem(tenantId, firstSeq, count, ROOT, DEADLINE, "");
    }

    function _with(
        IAuditAnchor.SignedItem memory item,
        bytes32 tenantId,
        uint64 firstSeq,
        uint64 count,
        bytes32 root,
        uint64 deadline
    ) private pure returns (IAuditAnchor.SignedItem memory) {
        return IAuditAnchor.SignedItem(tenantId, firstSeq, count, root, deadline, item.signature);
    }

    function _signed(uint256 key, IAuditAnchor.SignedItem memory item)
        private
        view
        returns (IAuditAnchor.SignedItem memory)
    {
        item.signature = _sign(key, _anchorDigest(_domain(), item));
        return item;
    }

    function _anchors(IAuditAnchor.SignedItem memory item) private {
        IAuditAnchor.Head memory head = _head(item.tenantId);
        _sendOne(item);
        _assertHead(item.tenantId, head.anchorer, head.batches + 1, head.entries + item.count);
    }

    function _skips(IAuditAnchor.SignedItem memory item, IAuditAnchor.SkipReason reason) private {
        IAuditAnchor.Head memory head = _head(item.tenantId);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Skipped(0, item.tenantId, reason);
        _sendOne(item);
        _assertHead(item.tenantId, head.anchorer, head.batches, head.entries);
    }

    function _sendOne(IAuditAnchor.SignedItem memory item) private {
        IAuditAnchor.SignedItem[] memory items = new IAuditAnchor.SignedItem[](1);
        items[0] = item;
        _send(items);
    }

    function _send(IAuditAnchor.SignedItem[] memory items) private {
        vm.prank(stranger);
        auditAnchor.anchorSigned(items);
    }
}
