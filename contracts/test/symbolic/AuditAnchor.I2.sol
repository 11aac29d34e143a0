// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";

/// @notice I2: no call by anyone lets a counter of any tenant fall.
/// @custom:halmos --loop 9
contract AuditAnchorI2 is AuditAnchorSymbolic {
    function check_I2_setAnchorer(address sender, bytes32 any, bytes32 tenantId, address anchorer)
        public
    {
        Stored memory before = _stored(any, 0);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.setAnchorer, (tenantId, anchorer))
        );
        _assertNoLess(before, _stored(any, 0));
    }

    function check_I2_setAnchorerSigned(
        address sender,
        bytes32 any,
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _stored(any, 0);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(
                IAuditAnchor.setAnchorerSigned, (tenantId, anchorer, deadline, signature)
            )
        );
        _assertNoLess(before, _stored(any, 0));
    }

    function check_I2_anchor(
        address sender,
        bytes32 any,
        bytes32 tenantId,
        uint64 firstSeq,
        uint64 count,
        bytes32 root
    ) public {
        Stored memory before = _stored(any, 0);
        _assumeCarries(tenantId, 3);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.anchor, (tenantId, firstSeq, count, root))
        );
        _assertNoLess(before, _stored(any, 0));
    }

    /// @custom:halmos --array-lengths items={0,1}
    function check_I2_anchorMany(address sender, bytes32 any, IAuditAnchor.Item[] calldata items)
        public
    {
        Stored memory before = _stored(any, 0);
        for (uint256 i = 0; i < items.length; ++i) {
            _assumeCarries(items[i].tenantId, 1);
        }
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorMany, (items)));
        _assertNoLess(before, _stored(any, 0));
    }

    /// @custom:halmos --array-lengths items={0,1}
    function check_I2_anchorSigned(
        address sender,
        bytes32 any,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        Stored memory before = _stored(any, 0);
        for (uint256 i = 0; i < items.length; ++i) {
            _assumeCarries(items[i].tenantId, 1);
        }
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorSigned, (items)));
        _assertNoLess(before, _stored(any, 0));
    }

    function _assertNoLess(Stored memory before, Stored memory later) private pure {
        bool noLess = _and(
            _batches(later.head) >= _batches(before.head),
            _entries(later.head) >= _entries(before.head)
        );
        assert(_and(noLess, later.nonce >= before.nonce));
    }
}
