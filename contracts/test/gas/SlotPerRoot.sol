// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {HeadWord} from "../../libraries/HeadWord.sol";

/// @notice What AuditAnchor is measured against: the same authorisation, checks and event, but every
/// root in a slot of its own. Any history is provable by one storage read, and every batch pays for a
/// fresh slot.
contract SlotPerRoot {
    mapping(bytes32 tenantId => HeadWord head) private _heads;

    mapping(bytes32 tenantId => mapping(uint256 batchIndex => bytes32 root)) public roots;

    event Anchored(
        bytes32 indexed tenantId,
        uint64 indexed batchIndex,
        uint64 firstSeq,
        uint64 count,
        bytes32 root,
        uint64 anchoredAt
    );

    error Refused(uint256 item);

    function setAnchorer(bytes32 tenantId, address anchorer) external {
        if (tenantId != bytes32(uint256(uint160(msg.sender)))) revert Refused(0);
        _heads[tenantId] = _heads[tenantId].withAnchorer(anchorer);
    }

    function anchor(bytes32 tenantId, uint64 firstSeq, uint64 count, bytes32 root) external {
        if (!_anchor(tenantId, firstSeq, count, root)) revert Refused(0);
    }

    function anchorMany(IAuditAnchor.Item[] calldata items) external {
        for (uint256 i = 0; i < items.length; ++i) {
            IAuditAnchor.Item calldata item = items[i];
            if (!_anchor(item.tenantId, item.firstSeq, item.count, item.root)) revert Refused(i);
        }
    }

    function _anchor(bytes32 tenantId, uint64 firstSeq, uint64 count, bytes32 root)
        private
        returns (bool)
    {
        HeadWord head = _heads[tenantId];
        if (head.anchorer() != msg.sender) return false;
        if (firstSeq != head.entries() || count == 0 || count > type(uint32).max) return false;
        uint64 batchIndex = head.batches();
        roots[tenantId][batchIndex] = root;
        _heads[tenantId] = head.advanced(count);
        emit Anchored(tenantId, batchIndex, firstSeq, count, root, uint64(block.timestamp));
        return true;
    }
}
