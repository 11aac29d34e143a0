// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StdInvariant} from "forge-std/StdInvariant.sol";

import {BaseTest} from "../utils/BaseTest.sol";
import {ReferenceTree} from "../utils/ReferenceTree.sol";
import {AuditAnchorHandler} from "./AuditAnchorHandler.sol";

/// @notice Invariants of the architecture that are AuditAnchor's, over what the handler does.
/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 64
contract AuditAnchorInvariantTest is BaseTest, StdInvariant {
    uint256 private constant TENANTS = 3;

    AuditAnchorHandler private _handler;

    mapping(uint256 tenant => uint256 batches) private _seen;

    function setUp() public {
        _handler = new AuditAnchorHandler();
        bytes4[] memory selectors = new bytes4[](8);
        selectors[0] = AuditAnchorHandler.setAnchorer.selector;
        selectors[1] = AuditAnchorHandler.setAnchorerSigned.selector;
        selectors[2] = AuditAnchorHandler.anchor.selector;
        selectors[3] = AuditAnchorHandler.anchorMany.selector;
        selectors[4] = AuditAnchorHandler.anchorSigned.selector;
        selectors[5] = AuditAnchorHandler.trespass.selector;
        selectors[6] = AuditAnchorHandler.wait.selector;
        selectors[7] = AuditAnchorHandler.anchorMany.selector;
        targetContract(address(_handler));
        targetSelector(FuzzSelector(address(_handler), selectors));
    }

    /// @dev I1: who is neither a tenant's authority nor its anchorer changes nothing of it.
    function invariant_I1_NobodyElseChangesATenant() public view {
        assertFalse(_handler.foreignChange(), "a tenant changed by someone else's hand");
        assertFalse(_handler.broken(), "a refusal was not made, or an event left a gap");
    }

    /// @dev I2: history is append-only. Counters never fall; a batch once provable stays provable: one
    /// batch of each tenant after every call, all of them at the end.
    function invariant_I2_HistoryIsAppendOnly() public {
        for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
            uint256 batches = _handler.batchesOf(tenant);
            assertGe(batches, _seen[tenant], "batches fell");
            _seen[tenant] = batches;
            assertTrue(_handler.provable(tenant, batches * 7), "a batch is lost");
        }
    }

    /// @dev I3: batches follow each other in index and in entries, so that the events alone give the
    /// head. (A gap between two events sets `broken`.)
    function invariant_I3_BatchesAreContiguous() public view {
        assertFalse(_handler.broken());
        for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
            assertTrue(_handler.mirrorAgrees(tenant), "events and head differ");
        }
    }

    function afterInvariant() public view {
        for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
            for (uint256 i = 0; i < _handler.batchesOf(tenant); ++i) {
                assertTrue(_handler.provable(tenant, i), "a batch is lost");
            }
            (bytes32[] memory leaves, bytes32 root) = _handler.historyOf(tenant);
            assertEq(root, ReferenceTree.root(0x03, leaves), "history root");
        }
    }
}
