// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";

/// @notice Nobody brings to life an id that spells no authority: where nothing is stored for it, no call
/// that names it stores anything. Calls that name other ids are the matter of I1.
/// @custom:halmos --loop 3
contract AuditAnchorBirth is AuditAnchorSymbolic {
    function check_Birth_setAnchorer(address sender, bytes32 id, uint256 height, address anchorer)
        public
    {
        _assumeUnborn(sender, id, height);
        _callAs(
            sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.setAnchorer, (id, anchorer))
        );
        _assertUnborn(id, height);
    }

    function check_Birth_setAnchorerSigned(
        address sender,
        bytes32 id,
        uint256 height,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(sender, id, height);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.setAnchorerSigned, (id, anchorer, deadline, signature))
        );
        _assertUnborn(id, height);
    }

    function check_Birth_anchor(
        address sender,
        bytes32 id,
        uint256 height,
        uint64 firstSeq,
        uint64 count,
        bytes32 root
    ) public {
        _assumeUnborn(sender, id, height);
        _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(IAuditAnchor.anchor, (id, firstSeq, count, root))
        );
        _assertUnborn(id, height);
    }

    /// @custom:halmos --array-lengths items={0,1,2}
    function check_Birth_anchorMany(
        address sender,
        bytes32 id,
        uint256 height,
        IAuditAnchor.Item[] calldata items
    ) public {
        _assumeUnborn(sender, id, height);
        for (uint256 i = 0; i < items.length; ++i) {
            vm.assume(items[i].tenantId == id);
        }
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorMany, (items)));
        _assertUnborn(id, height);
    }

    /// @custom:halmos --array-lengths items={0,1,2}
    function check_Birth_anchorSigned(
        address sender,
        bytes32 id,
        uint256 height,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        _assumeUnborn(sender, id, height);
        for (uint256 i = 0; i < items.length; ++i) {
            vm.assume(items[i].tenantId == id);
        }
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorSigned, (items)));
        _assertUnborn(id, height);
    }

    function _assumeUnborn(address sender, bytes32 id, uint256 height) private view {
        vm.assume(sender != address(0));
        vm.assume(_authority(id) == address(0));
        Stored memory stored = _stored(id, height);
        vm.assume(stored.head | stored.nonce | stored.peak == 0);
    }

    function _assertUnborn(bytes32 id, uint256 height) private view {
        Stored memory stored = _stored(id, height);
        assert(stored.head | stored.nonce | stored.peak == 0);
    }
}
