// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StdInvariant} from "forge-std/StdInvariant.sol";

import {BaseTest} from "../utils/BaseTest.sol";
import {PolicyRegistryHandler} from "./PolicyRegistryHandler.sol";

/// @notice Invariants of the architecture that are PolicyRegistry's, over what the handler does.
/// forge-config: default.invariant.runs = 8
/// forge-config: default.invariant.depth = 96
contract PolicyRegistryInvariantTest is BaseTest, StdInvariant {
    uint256 private constant TENANTS = 3;

    PolicyRegistryHandler private _handler;

    function setUp() public {
        _handler = new PolicyRegistryHandler();
        bytes4[] memory selectors = new bytes4[](7);
        selectors[0] = PolicyRegistryHandler.publish.selector;
        selectors[1] = PolicyRegistryHandler.publishRelayed.selector;
        selectors[2] = PolicyRegistryHandler.revoke.selector;
        selectors[3] = PolicyRegistryHandler.revokeRelayed.selector;
        selectors[4] = PolicyRegistryHandler.postUnposted.selector;
        selectors[5] = PolicyRegistryHandler.trespass.selector;
        selectors[6] = PolicyRegistryHandler.wait.selector;
        targetContract(address(_handler));
        targetSelector(FuzzSelector(address(_handler), selectors));
    }

    /// @dev I1: who is not a tenant's authority changes nothing of it.
    function invariant_I1_NobodyElseChangesATenant() public view {
        assertFalse(_handler.foreignChange(), "a tenant changed by someone else's hand");
        assertFalse(_handler.broken(), "a refusal was not made, or an event left a gap");
    }

    /// @dev I4: one active policy, which is the last version's or none; history is as the events told it;
    /// verdicts count under the active policy, by its signer, and under no other.
    function invariant_I4_OneActivePolicy() public view {
        for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
            uint64 last = _handler.lastOf(tenant);
            uint64 first = last < 2 ? 0 : last - 2;
            assertTrue(_handler.mirrorAgrees(tenant, first), "events and views differ");
            assertTrue(
                _handler.verdictsAgree(tenant), "a verdict under a policy that is not active"
            );
        }
    }

    /// @dev Every version there ever was, once at the end.
    function afterInvariant() public view {
        for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
            assertTrue(_handler.mirrorAgrees(tenant, 0), "history changed");
        }
    }
}
