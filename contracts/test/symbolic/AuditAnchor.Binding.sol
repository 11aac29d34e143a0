// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";

/// @notice A position holds one leaf: what verifies at the same place of the same tree is the same.
contract AuditAnchorBinding is AuditAnchorSymbolic {
    /// @dev Every position in trees of up to four leaves.
    /// @custom:halmos --array-lengths pathA={0,1,2},pathB={0,1,2} --loop 9
    function check_Binding_verifyEntry(
        bytes32 tenantId,
        IAuditAnchor.Entry calldata a,
        IAuditAnchor.Entry calldata b,
        IAuditAnchor.Batch calldata batch,
        bytes32[] calldata pathA,
        bytes32[] calldata pathB
    ) public view {
        vm.assume(batch.count <= 4);
        _assertOneEntry(tenantId, a, b, batch, pathA, pathB);
    }

    /// @dev Every position in trees of up to four batches.
    /// @custom:halmos --array-lengths pathA={0,1,2},pathB={0,1,2} --loop 9
    function check_Binding_verifyBatch(
        bytes32 tenantId,
        IAuditAnchor.Batch calldata a,
        IAuditAnchor.Batch calldata b,
        bytes32[] calldata pathA,
        bytes32[] calldata pathB
    ) public view {
        vm.assume(a.batchIndex == b.batchIndex);
        vm.assume(auditAnchor.verifyBatch(tenantId, a, pathA));
        vm.assume(auditAnchor.verifyBatch(tenantId, b, pathB));
        assert(_and(a.root == b.root, a.anchoredAt == b.anchoredAt));
        assert(_and(a.firstSeq == b.firstSeq, a.count == b.count));
    }

    /// @dev Paths of length 8: leaves 85 and 254 of 256, where all kinds of turns occur.
    /// @custom:halmos --array-lengths pathA=8,pathB=8 --loop 9
    function check_Binding_verifyEntry_long(
        bytes32 tenantId,
        IAuditAnchor.Entry calldata a,
        IAuditAnchor.Entry calldata b,
        IAuditAnchor.Batch calldata batch,
        bytes32[] calldata pathA,
        bytes32[] calldata pathB
    ) public view {
        vm.assume(a.seq >= batch.firstSeq);
        uint64 index = a.seq - batch.firstSeq;
        vm.assume(_and(batch.count == 256, _or(index == 85, index == 254)));
        _assertOneEntry(tenantId, a, b, batch, pathA, pathB);
    }

    /// @dev The batch is the tenant's last and alone under its peak; `check_Binding_verifyBatch` is for
    /// the others.
    function _assertOneEntry(
        bytes32 tenantId,
        IAuditAnchor.Entry calldata a,
        IAuditAnchor.Entry calldata b,
        IAuditAnchor.Batch calldata batch,
        bytes32[] calldata pathA,
        bytes32[] calldata pathB
    ) private view {
        vm.assume(a.seq == b.seq);
        bytes32[] memory none = new bytes32[](0);
        vm.assume(auditAnchor.verifyEntry(tenantId, a, batch, pathA, none));
        vm.assume(auditAnchor.verifyEntry(tenantId, b, batch, pathB, none));
        assert(_and(a.previous == b.previous, a.commitment == b.commitment));
    }
}
