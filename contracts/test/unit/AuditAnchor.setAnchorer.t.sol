// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";

/// @notice The authority calls for itself.
contract SetAnchorerTest is AuditAnchorTest {
    function test_SetsAnchorerAndCountsNonces() public {
        address[3] memory anchorers = [anchorer, address(0), anchorer];
        for (uint64 nonce = 0; nonce < 3; ++nonce) {
            assertEq(auditAnchor.nonceOf(aliceId), nonce);
            vm.expectEmit(address(auditAnchor));
            emit IAuditAnchor.AnchorerSet(aliceId, anchorers[nonce], nonce);
            vm.prank(alice);
            auditAnchor.setAnchorer(aliceId, anchorers[nonce]);
            _assertHead(aliceId, anchorers[nonce], 0, 0);
        }
        assertEq(auditAnchor.nonceOf(aliceId), 3);
        assertEq(auditAnchor.nonceOf(bobId), 0, "another tenant's nonce moved");
    }

    function test_KeepsCounters() public {
        _setAnchorer(alice, anchorer);
        _anchorBatches(aliceId, 5);
        IAuditAnchor.Head memory head = _head(aliceId);
        bytes32 root = auditAnchor.historyRoot(aliceId);
        _setAnchorer(alice, stranger);
        _assertHead(aliceId, stranger, head.batches, head.entries);
        assertEq(auditAnchor.historyRoot(aliceId), root);
    }

    function test_I1_RefusesEveryoneElse() public {
        _setAnchorer(alice, anchorer);
        address[4] memory others = [bob, anchorer, stranger, address(auditAnchor)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IAuditAnchor.AuditAnchor_NotAuthority.selector, aliceId, others[i]
                )
            );
            vm.prank(others[i]);
            auditAnchor.setAnchorer(aliceId, others[i]);
        }
        _assertHead(aliceId, anchorer, 0, 0);
        assertEq(auditAnchor.nonceOf(aliceId), 1);
    }

    /// @dev Each of the top 96 bits alone, over the caller's own address.
    function test_RefusesIdsThatAreNoAddress() public {
        for (uint256 bit = 160; bit < 256; ++bit) {
            _refusesId(bytes32(uint256(aliceId) | (uint256(1) << bit)));
        }
        _refusesId(bytes32(0));
    }

    function _refusesId(bytes32 tenantId) private {
        bytes memory refusal =
            abi.encodeWithSelector(IAuditAnchor.AuditAnchor_InvalidTenantId.selector, tenantId);
        vm.expectRevert(refusal);
        vm.prank(alice);
        auditAnchor.setAnchorer(tenantId, anchorer);

        bytes memory signature =
            _sign(ALICE_KEY, _setAnchorerDigest(_domain(), tenantId, anchorer, 0, START));
        vm.expectRevert(refusal);
        auditAnchor.setAnchorerSigned(tenantId, anchorer, START, signature);
    }
}
