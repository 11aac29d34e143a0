// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";

/// @notice I3: a batch that is anchored starts at the tenant's `entries`, and moves the counters by
/// exactly one batch and `count` entries; one that is not moves nothing. It is anchored exactly when
/// the anchorer sent or signed it and it fits.
/// @custom:halmos --loop 9
contract AuditAnchorI3 is AuditAnchorSymbolic {
    function check_I3_anchor(
        address sender,
        uint256 height,
        bytes32 tenantId,
        uint64 firstSeq,
        uint64 count,
        bytes32 root
    ) public {
        Stored memory before = _stored(tenantId, height);
        bytes32 head = _afterItem(before.head, firstSeq, count, sender == _anchorer(before.head));
        _assumeCarries(tenantId, 3);
        bool ok = _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.anchor, (tenantId, firstSeq, count, root))
        );
        assert(ok == (head != before.head));
        _assertMoved(before, head, _stored(tenantId, height));
    }

    /// @custom:halmos --array-lengths items={0,1}
    function check_I3_anchorMany(
        address sender,
        bytes32 any,
        uint256 height,
        IAuditAnchor.Item[] calldata items
    ) public {
        Stored memory before = _stored(any, height);
        bytes32 head = before.head;
        for (uint256 i = 0; i < items.length; ++i) {
            IAuditAnchor.Item calldata item = items[i];
            _assumeCarries(item.tenantId, 1);
            bool byAnchorer = _and(item.tenantId == any, sender == _anchorer(head));
            head = _afterItem(head, item.firstSeq, item.count, byAnchorer);
        }
        bool ok =
            _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorMany, (items)));
        assert(ok);
        _assertMoved(before, head, _stored(any, height));
    }

    /// @custom:halmos --array-lengths items={0,1}
    function check_I3_anchorSigned(
        address sender,
        bytes32 any,
        uint256 height,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        Stored memory before = _stored(any, height);
        bytes32 head = before.head;
        for (uint256 i = 0; i < items.length; ++i) {
            IAuditAnchor.SignedItem calldata item = items[i];
            _assumeCarries(item.tenantId, 1);
            address anchorer = _anchorer(head);
            bool byAnchorer = _and(anchorer != address(0), _signerOf(item) == anchorer);
            byAnchorer = _and(byAnchorer, block.timestamp <= item.deadline);
            head =
                _afterItem(head, item.firstSeq, item.count, _and(byAnchorer, item.tenantId == any));
        }
        bool ok = _callAs(
            sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorSigned, (items))
        );
        assert(ok);
        _assertMoved(before, head, _stored(any, height));
    }

    /// @dev The head is the expected one, the nonce is untouched, and so are the peaks of a tenant
    /// whose head did not move.
    function _assertMoved(Stored memory before, bytes32 head, Stored memory later) private pure {
        assert(_and(later.head == head, later.nonce == before.nonce));
        assert(_or(head != before.head, later.peak == before.peak));
    }
}
