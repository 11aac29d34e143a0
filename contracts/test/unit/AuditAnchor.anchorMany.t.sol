// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";

contract AnchorManyTest is AuditAnchorTest {
    bytes32 private constant ROOT = keccak256("root");

    address private carol = vm.addr(uint256(keccak256("carol")));
    bytes32 private carolId = _id(carol);

    function setUp() public override {
        super.setUp();
        _setAnchorer(alice, anchorer);
        _setAnchorer(bob, anchorer);
        _setAnchorer(carol, stranger);
    }

    function test_AnchorsManyTenants() public {
        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](2);
        items[0] = IAuditAnchor.Item(aliceId, 0, 3, ROOT);
        items[1] = IAuditAnchor.Item(bobId, 0, 5, ROOT);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Anchored(aliceId, 0, 0, 3, ROOT, START);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Anchored(bobId, 0, 0, 5, ROOT, START);
        _send(items);
        _assertHead(aliceId, anchorer, 1, 3);
        _assertHead(bobId, anchorer, 1, 5);
    }

    function test_I3_TakesSeveralBatchesOfOneTenantInOrder() public {
        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](3);
        items[0] = IAuditAnchor.Item(aliceId, 0, 3, ROOT);
        items[1] = IAuditAnchor.Item(aliceId, 3, 4, ROOT);
        items[2] = IAuditAnchor.Item(aliceId, 7, 5, ROOT);
        _send(items);
        _assertHead(aliceId, anchorer, 3, 12);
    }

    function test_NothingIsNotAnError() public {
        _send(new IAuditAnchor.Item[](0));
    }

    function test_I1_SkipsForeignTenantsAndGoesOn() public {
        bytes32[5] memory foreign = [
            carolId,
            _id(_address("unknown", 0)),
            bytes32(0),
            bytes32(uint256(aliceId) | (uint256(1) << 160)),
            bytes32(type(uint256).max)
        ];
        for (uint256 i = 0; i < foreign.length; ++i) {
            IAuditAnchor.SkipReason reason = IAuditAnchor.SkipReason.NotAnchorer;
            _skipsTheMiddle(IAuditAnchor.Item(foreign[i], 0, 1, ROOT), reason);
            _assertHead(foreign[i], i == 0 ? stranger : address(0), 0, 0);
        }
    }

    function test_SkipsStaleAndEarlyItemsAndGoesOn() public {
        IAuditAnchor.SkipReason reason = IAuditAnchor.SkipReason.WrongFirstSeq;
        _skipsTheMiddle(IAuditAnchor.Item(aliceId, 0, 1, ROOT), reason);
        _skipsTheMiddle(IAuditAnchor.Item(aliceId, 99, 1, ROOT), reason);
        _skipsTheMiddle(IAuditAnchor.Item(aliceId, type(uint64).max, 1, ROOT), reason);
    }

    function test_SkipsBadCountsAndGoesOn() public {
        IAuditAnchor.SkipReason reason = IAuditAnchor.SkipReason.BadCount;
        uint64[3] memory counts = [uint64(0), 2 ** 32, type(uint64).max];
        for (uint256 i = 0; i < counts.length; ++i) {
            uint64 entries = _head(aliceId).entries + 3;
            _skipsTheMiddle(IAuditAnchor.Item(aliceId, entries, counts[i], ROOT), reason);
        }
    }

    function test_SkipsOverflowsAndGoesOn() public {
        _storeHead(carolId, anchorer, 9, 2 ** 56 - 2);
        IAuditAnchor.Item memory item = IAuditAnchor.Item(carolId, 2 ** 56 - 2, 2, ROOT);
        _skipsTheMiddle(item, IAuditAnchor.SkipReason.EntriesOverflow);
        _assertHead(carolId, anchorer, 9, 2 ** 56 - 2);

        _storeHead(carolId, anchorer, 2 ** 40 - 1, 2 ** 56 - 3);
        item = IAuditAnchor.Item(carolId, 2 ** 56 - 3, 2, ROOT);
        _skipsTheMiddle(item, IAuditAnchor.SkipReason.BatchesOverflow);
        _assertHead(carolId, anchorer, 2 ** 40 - 1, 2 ** 56 - 3);
    }

    /// @dev The reasons' numbers are part of the interface.
    function test_ReasonsKeepTheirNumbers() public pure {
        assertEq(uint256(IAuditAnchor.SkipReason.NotAnchorer), 0);
        assertEq(uint256(IAuditAnchor.SkipReason.WrongFirstSeq), 1);
        assertEq(uint256(IAuditAnchor.SkipReason.BadCount), 2);
        assertEq(uint256(IAuditAnchor.SkipReason.EntriesOverflow), 3);
        assertEq(uint256(IAuditAnchor.SkipReason.BatchesOverflow), 4);
        assertEq(uint256(IAuditAnchor.SkipReason.Expired), 5);
        assertEq(uint256(IAuditAnchor.SkipReason.BadSignature), 6);
    }

    /// @dev `bad` between a good batch of alice and one of bob: both are anchored, `bad` is reported.
    function _skipsTheMiddle(IAuditAnchor.Item memory bad, IAuditAnchor.SkipReason reason) private {
        IAuditAnchor.Head memory a = _head(aliceId);
        IAuditAnchor.Head memory b = _head(bobId);
        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](3);
        items[0] = IAuditAnchor.Item(aliceId, a.entries, 3, ROOT);
        items[1] = bad;
        items[2] = IAuditAnchor.Item(bobId, b.entries, 5, ROOT);
        vm.expectEmit(address(auditAnchor));
        emit IAuditAnchor.Skipped(1, bad.tenantId, reason);
        _send(items);
        _assertHead(aliceId, anchorer, a.batches + 1, a.entries + 3);
        _assertHead(bobId, anchorer, b.batches + 1, b.entries + 5);
    }

    function _send(IAuditAnchor.Item[] memory items) private {
        vm.prank(anchorer);
        auditAnchor.anchorMany(items);
    }
}
