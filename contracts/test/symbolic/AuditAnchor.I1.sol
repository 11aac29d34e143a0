// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";

/// @notice I1: a call by anyone who is not a tenant's authority or anchorer changes nothing that is
/// stored for that tenant.
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
        _assumeCarries(tenantId, 8);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.anchor, (tenantId, firstSeq, count, root))
        );
        _assertSame(before, _stored(b, height));
    }

    /// @dev Nobody can send from the zero address.
    function _assumeStranger(address sender, bytes32 b, Stored memory stored) private pure {
        vm.assume(sender != address(0));
        vm.assume(sender != _authority(b));
        vm.assume(sender != _anchorer(stored.head));
    }
}
