// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";

/// @notice I2, constructively: a batch that can be proven stays provable when the next one is anchored,
/// by a path that can be written down from the old path, the old peaks and the new batch.
contract AuditAnchorPath is AuditAnchorSymbolic {
    /// @custom:halmos --array-lengths path={0,1,2} --loop 4
    function check_Path_extended(
        bytes32 tenantId,
        IAuditAnchor.Batch calldata batch,
        bytes32[] calldata path,
        uint64 count,
        bytes32 root
    ) public {
        bytes32 head = _stored(tenantId, 0).head;
        vm.assume(_batches(head) < 8);
        vm.assume(auditAnchor.verifyBatch(tenantId, batch, path));
        bytes32[3] memory peaks;
        for (uint256 height = 0; height < 3; ++height) {
            peaks[height] = _stored(tenantId, height).peak;
        }

        bool ok = _callAs(
            _anchorer(head),
            address(auditAnchor),
            // forge-lint: disable-next-line(unsafe-typecast) they have 56 bits
            abi.encodeCall(IAuditAnchor.anchor, (tenantId, uint64(_entries(head)), count, root))
        );
        vm.assume(ok);

        uint256 n = _batches(head);
        // forge-lint: disable-next-line(unsafe-typecast) they have 40 and 56 bits
        bytes32 node = _commitment(tenantId, uint64(n), uint64(_entries(head)), count, root);
        // The peaks below the batch's own, if all of them are live, merge with the new batch.
        uint256 low = path.length;
        bytes32[] memory extended = path;
        uint256 ones = (uint256(2) << low) - 1;
        if (n & ones == ones) {
            for (uint256 height = 0; height < low; ++height) {
                node = _node(peaks[height], node);
            }
            // Its own peak is the left neighbour of what they became; and so on with the higher ones,
            // to whose right both are.
            uint256 high = low + 1;
            while (n >> high & 1 == 1) ++high;
            extended = new bytes32[](high);
            for (uint256 i = 0; i < low; ++i) {
                extended[i] = path[i];
            }
            extended[low] = node;
            for (uint256 height = low + 1; height < high; ++height) {
                extended[height] = peaks[height];
            }
        }
        assert(auditAnchor.verifyBatch(tenantId, batch, extended));
    }

    function _node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x03), left, right));
    }

    function _commitment(
        bytes32 tenantId,
        uint64 batchIndex,
        uint64 firstSeq,
        uint64 count,
        bytes32 root
    ) private view returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                bytes1(0x02), tenantId, batchIndex, firstSeq, count, root, uint64(block.timestamp)
            )
        );
    }
}
