// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";
import {HavocWallet} from "./HavocWallet.sol";

/// @notice I1: a call by anyone who is not a tenant's authority or anchorer, and brings no signature of
/// theirs, changes nothing that is stored for that tenant.
/// @custom:halmos --loop 9
contract AuditAnchorI1 is AuditAnchorSymbolic {
    function check_I1_setAnchorer(
        address sender,
        bytes32 b,
        uint256 height,
        bytes32 tenantId,
        address anchorer
    ) public {
        Stored memory before = _stored(b, height);
        _assumeStranger(sender, b, before);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.setAnchorer, (tenantId, anchorer))
        );
        _assertSame(before, _stored(b, height));
    }

    /// @dev The authority that signs may be the wallet: another tenant's, that is, since what an
    /// authority's own code answers for it is its consent.
    function check_I1_setAnchorerSigned(
        address sender,
        bytes32 b,
        uint256 height,
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) public {
        bytes32 reentered = bytes32(SVM.createUint256("re-entered tenant"));
        HavocWallet wallet = new HavocWallet(
            SVM,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.setAnchorer, (reentered, address(this)))
        );
        Stored memory before = _stored(b, height);
        _assumeStranger(sender, b, before);
        bytes32 digest = _setAnchorerDigest(
            _domain(), tenantId, anchorer, uint64(uint256(before.nonce)), deadline
        );
        vm.assume(_authority(b) != address(wallet));
        vm.assume(_or(tenantId != b, _recover(digest, signature) != _authority(b)));
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(
                IAuditAnchor.setAnchorerSigned, (tenantId, anchorer, deadline, signature)
            )
        );
        _assertSame(before, _stored(b, height));
    }

    function check_I1_anchor(
        address sender,
        bytes32 b,
        uint256 height,
        bytes32 tenantId,
        uint64 firstSeq,
        uint64 count,
        bytes32 root
    ) public {
        Stored memory before = _stored(b, height);
        _assumeStranger(sender, b, before);
        _assumeCarries(tenantId, 3);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.anchor, (tenantId, firstSeq, count, root))
        );
        _assertSame(before, _stored(b, height));
    }

    /// @custom:halmos --array-lengths items={0,1}
    function check_I1_anchorMany(
        address sender,
        bytes32 b,
        uint256 height,
        IAuditAnchor.Item[] calldata items
    ) public {
        _anchorMany(sender, b, height, items);
    }

    /// @custom:halmos --array-lengths items=2
    function check_I1_anchorMany_two(
        address sender,
        bytes32 b,
        uint256 height,
        IAuditAnchor.Item[] calldata items
    ) public {
        _anchorMany(sender, b, height, items);
    }

    /// @custom:halmos --array-lengths items={0,1}
    function check_I1_anchorSigned(
        address sender,
        bytes32 b,
        uint256 height,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        _anchorSigned(sender, b, height, items);
    }

    /// @custom:halmos --array-lengths items=2 --default-bytes-lengths 65
    function check_I1_anchorSigned_two(
        address sender,
        bytes32 b,
        uint256 height,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        _anchorSigned(sender, b, height, items);
    }

    function _anchorMany(
        address sender,
        bytes32 b,
        uint256 height,
        IAuditAnchor.Item[] calldata items
    ) private {
        Stored memory before = _stored(b, height);
        _assumeStranger(sender, b, before);
        for (uint256 i = 0; i < items.length; ++i) {
            _assumeBounds(items[i].tenantId, items[i].count, items.length);
        }
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorMany, (items)));
        _assertSame(before, _stored(b, height));
    }

    function _anchorSigned(
        address sender,
        bytes32 b,
        uint256 height,
        IAuditAnchor.SignedItem[] calldata items
    ) private {
        Stored memory before = _stored(b, height);
        _assumeStranger(sender, b, before);
        for (uint256 i = 0; i < items.length; ++i) {
            vm.assume(_or(items[i].tenantId != b, _signerOf(items[i]) != _anchorer(before.head)));
            _assumeBounds(items[i].tenantId, items[i].count, items.length);
        }
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorSigned, (items)));
        _assertSame(before, _stored(b, height));
    }

    /// @dev With one item, the batch merges with at most one peak. With two, every reason to skip one
    /// would make too many paths: neither is skipped for its count or for want of room, and the first
    /// merges with no peak. It leaves a second batch of the same tenant one to merge with, since bit 1
    /// of `batches` is clear as well.
    function _assumeBounds(bytes32 tenantId, uint64 count, uint256 items) private view {
        if (items < 2) return _assumeCarries(tenantId, 1);
        vm.assume(_and(count >= 1, count < 2 ** 32));
        bytes32 head = _stored(tenantId, 0).head;
        vm.assume(_and(_entries(head) < 2 ** 55, _batches(head) < 2 ** 39));
        vm.assume(_batches(head) & 3 == 0);
    }

    /// @dev Nobody can send from the zero address. An id that spells no authority has none.
    function _assumeStranger(address sender, bytes32 b, Stored memory stored) private pure {
        vm.assume(sender != address(0));
        vm.assume(sender != _authority(b));
        vm.assume(sender != _anchorer(stored.head));
    }
}
