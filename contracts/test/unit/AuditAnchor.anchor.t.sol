// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";

contract AnchorTest is AuditAnchorTest {
    bytes32 private constant ROOT = keccak256("root");
    uint64 private constant MAX_BATCHES = 2 ** 40 - 1;
    uint64 private constant MAX_ENTRIES = 2 ** 56 - 1;

    function setUp() public override {
        super.setUp();
        _setAnchorer(alice, anchorer);
    }

    function test_I3_AnchorsBatchesOneAfterTheOther() public {
        uint64 entries = 0;
        for (uint64 index = 0; index < 20; ++index) {
            bytes32 root = keccak256(abi.encode(index));
            vm.warp(START + index);
            vm.expectEmit(address(auditAnchor));
            emit IAuditAnchor.Anchored(aliceId, index, entries, index + 1, root, START + index);
            vm.prank(anchorer);
            auditAnchor.anchor(aliceId, entries, index + 1, root);
            entries += index + 1;
            _assertHead(aliceId, anchorer, index + 1, entries);
        }
        _assertHead(bobId, address(0), 0, 0);
    }

    function test_I1_RefusesEveryoneButTheAnchorer() public {
        _setAnchorer(bob, stranger);
        address[4] memory others = [alice, bob, stranger, address(auditAnchor)];
        for (uint256 i = 0; i < others.length; ++i) {
            _refused(
                others[i],
                aliceId,
                abi.encodeWithSelector(
                    IAuditAnchor.AuditAnchor_NotAnchorer.selector, aliceId, anchorer, others[i]
                )
            );
        }
        _setAnchorer(alice, address(0));
        _refused(
            anchorer,
            aliceId,
            abi.encodeWithSelector(
                IAuditAnchor.AuditAnchor_NotAnchorer.selector, aliceId, address(0), anchorer
            )
        );
        _assertHead(aliceId, address(0), 0, 0);
    }

    /// @dev Two ids that share their low 160 bits are still two ids, and one of them is nobody's.
    function test_RefusesIdsThatAreNoAddress() public {
        for (uint256 bit = 160; bit < 256; ++bit) {
            bytes32 tenantId = bytes32(uint256(aliceId) | (uint256(1) << bit));
            _refused(
                anchorer,
                tenantId,
                abi.encodeWithSelector(
                    IAuditAnchor.AuditAnchor_NotAnchorer.selector, tenantId, address(0), anchorer
                )
            );
        }
    }

    function test_I3_RefusesGapOverlapAndReplay() public {
        vm.startPrank(anchorer);
        auditAnchor.anchor(aliceId, 0, 10, ROOT);
        uint64[4] memory wrong = [uint64(0), 9, 11, type(uint64).max];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IAuditAnchor.AuditAnchor_WrongFirstSeq.selector, aliceId, 10, wrong[i]
                )
            );
            auditAnchor.anchor(aliceId, wrong[i], 1, ROOT);
        }
    }

    function test_RefusesCountsOutOfRange() public {
        uint64[3] memory wrong = [uint64(0), 2 ** 32, type(uint64).max];
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IAuditAnchor.AuditAnchor_BadCount.selector, aliceId, wrong[i]
                )
            );
            vm.prank(anchorer);
            auditAnchor.anchor(aliceId, 0, wrong[i], ROOT);
        }
        vm.prank(anchorer);
        auditAnchor.anchor(aliceId, 0, 2 ** 32 - 1, ROOT);
        _assertHead(aliceId, anchorer, 1, 2 ** 32 - 1);
    }

    function test_RefusesMoreEntriesThanItsCounterHolds() public {
        uint64 entries = MAX_ENTRIES - 5;
        _storeHead(aliceId, anchorer, 7, entries);
        vm.startPrank(anchorer);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditAnchor.AuditAnchor_EntriesOverflow.selector, aliceId, entries, 6
            )
        );
        auditAnchor.anchor(aliceId, entries, 6, ROOT);
        auditAnchor.anchor(aliceId, entries, 5, ROOT);
        _assertHead(aliceId, anchorer, 8, MAX_ENTRIES);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditAnchor.AuditAnchor_EntriesOverflow.selector, aliceId, MAX_ENTRIES, 1
            )
        );
        auditAnchor.anchor(aliceId, MAX_ENTRIES, 1, ROOT);
    }

    function test_RefusesMoreBatchesThanItsCounterHolds() public {
        _storeHead(aliceId, anchorer, MAX_BATCHES - 1, 100);
        vm.startPrank(anchorer);
        auditAnchor.anchor(aliceId, 100, 1, ROOT);
        _assertHead(aliceId, anchorer, MAX_BATCHES, 101);
        vm.expectRevert(
            abi.encodeWithSelector(IAuditAnchor.AuditAnchor_BatchesOverflow.selector, aliceId)
        );
        auditAnchor.anchor(aliceId, 101, 1, ROOT);
        _assertHead(aliceId, anchorer, MAX_BATCHES, 101);
    }

    /// @dev The last batch but one of a full history merges 39 peaks.
    function test_MergesEveryPeakItCanHave() public {
        _storeHead(aliceId, anchorer, 2 ** 39 - 1, 100);
        vm.prank(anchorer);
        auditAnchor.anchor(aliceId, 100, 1, ROOT);
        _assertHead(aliceId, anchorer, 2 ** 39, 101);
        assertEq(auditAnchor.peaks(aliceId).length, 1);
    }

    function _refused(address sender, bytes32 tenantId, bytes memory refusal) private {
        vm.expectRevert(refusal);
        vm.prank(sender);
        auditAnchor.anchor(tenantId, 0, 1, ROOT);
    }
}
