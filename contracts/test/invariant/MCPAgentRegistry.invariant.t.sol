// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StdInvariant} from "forge-std/StdInvariant.sol";

import {BaseTest} from "../utils/BaseTest.sol";
import {MCPAgentRegistryHandler} from "./MCPAgentRegistryHandler.sol";

/// @notice Invariants of the architecture that are MCPAgentRegistry's, over what the handler does.
/// forge-config: default.invariant.runs = 8
/// forge-config: default.invariant.depth = 96
contract MCPAgentRegistryInvariantTest is BaseTest, StdInvariant {
    uint256 private constant TENANTS = 3;

    MCPAgentRegistryHandler private _handler;

    function setUp() public {
        _handler = new MCPAgentRegistryHandler();
        bytes4[] memory selectors = new bytes4[](15);
        selectors[0] = MCPAgentRegistryHandler.grant.selector;
        selectors[1] = MCPAgentRegistryHandler.grantSigned.selector;
        selectors[2] = MCPAgentRegistryHandler.signGrant.selector;
        selectors[3] = MCPAgentRegistryHandler.postUnposted.selector;
        selectors[4] = MCPAgentRegistryHandler.extend.selector;
        selectors[5] = MCPAgentRegistryHandler.revoke.selector;
        selectors[6] = MCPAgentRegistryHandler.revokeSigned.selector;
        selectors[7] = MCPAgentRegistryHandler.revokeAgent.selector;
        selectors[8] = MCPAgentRegistryHandler.forfeit.selector;
        selectors[9] = MCPAgentRegistryHandler.describe.selector;
        selectors[10] = MCPAgentRegistryHandler.trespass.selector;
        selectors[11] = MCPAgentRegistryHandler.wait.selector;
        selectors[12] = MCPAgentRegistryHandler.extendSigned.selector;
        selectors[13] = MCPAgentRegistryHandler.forfeitSigned.selector;
        selectors[14] = MCPAgentRegistryHandler.describeSigned.selector;
        targetContract(address(_handler));
        targetSelector(FuzzSelector(address(_handler), selectors));
    }

    /// @dev I1: who is neither a tenant's authority nor one of its agents changes nothing of it.
    function invariant_I1_NobodyElseChangesATenant() public view {
        assertFalse(_handler.foreignChange(), "a tenant changed by someone else's hand");
    }

    /// @dev I4: a signature that was not posted in time is void; a refusal is made and has no effect;
    /// events follow each other without gaps.
    function invariant_I4_NothingRefusedHasAnEffect() public view {
        assertFalse(_handler.broken(), "a refusal was not made, or an event left a gap");
    }

    /// @dev I5: a scope is worth exactly what the events say of its (tenant, agent, capability), inside
    /// its window.
    function invariant_I5_ScopeIsExactlyWhatWasGranted() public view {
        for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
            assertTrue(_handler.mirrorAgrees(tenant), "events and views differ");
        }
    }
}
