// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";

/// @notice What the registry itself uses when another contract asks it, with cold storage and without
/// the CALL, and what whole transactions of a tenant cost.
/// @dev See AuditAnchor.gas.t.sol on `isolate`. Numbers go to snapshots/MCPAgentRegistry.json.
/// forge-config: default.isolate = true
contract MCPAgentRegistryGasTest is MCPAgentRegistryTest {
    uint256 private constant IS_SCOPED_BUDGET = 5_500;

    /// @dev The grant and the epoch are a cold word each: 4,200 of the budget are gone before anything
    /// is decided. The agent was revoked once, so that the epoch is not zero.
    function test_Gas_IsScoped() public {
        _revokeAndGrant(_native());
        uint256 gas = _calleeGas(
            address(registry), abi.encodeCall(registry.isScoped, (aliceId, agent, SEND))
        );
        assertGt(gas, 2 * 2_100, "storage was warm");
        assertLe(gas, IS_SCOPED_BUDGET, "isScoped is over its budget");
        vm.snapshotValue("MCPAgentRegistry", "is_scoped", gas);
    }

    function test_Gas_ScopeOfNative() public {
        _revokeAndGrant(_native());
        vm.snapshotValue("MCPAgentRegistry", "scope_of_native", _scopeOfGas());
    }

    function test_Gas_ScopeOfToken() public {
        _revokeAndGrant(_token());
        vm.snapshotValue("MCPAgentRegistry", "scope_of_token", _scopeOfGas());
    }

    function test_Gas_ScopeOfCall() public {
        _revokeAndGrant(_call());
        vm.snapshotValue("MCPAgentRegistry", "scope_of_call", _scopeOfGas());
    }

    /// @dev Sent by the tenant, which has done something here before.
    function test_Gas_Grant() public {
        _revokeAndGrant(_token());
        vm.snapshotValue("MCPAgentRegistry", "grant", vm.lastCallGas().gasTotalUsed);
    }

    /// @dev The same, sent by a relayer with the signature of a tenant that is an EOA.
    function test_Gas_GrantRelayed() public {
        vm.prank(alice);
        registry.revokeAgent(aliceId, agent);
        bytes memory message = _grantMessage(aliceId, agent, SEND, _window(), _token(), 1, DEADLINE);
        bytes memory signature = _sign(ALICE_KEY, _typed(_domain(), message));
        vm.prank(stranger);
        registry.grantSigned(aliceId, agent, SEND, _window(), _token(), DEADLINE, signature);
        vm.snapshotValue("MCPAgentRegistry", "grant_relayed", vm.lastCallGas().gasTotalUsed);
    }

    /// @dev One write whatever the number of grants.
    function test_Gas_RevokeAgent() public {
        _revokeAndGrant(_native());
        vm.prank(alice);
        registry.revokeAgent(aliceId, agent);
        vm.snapshotValue("MCPAgentRegistry", "revoke_agent", vm.lastCallGas().gasTotalUsed);
    }

    function _revokeAndGrant(IMCPAgentRegistry.Limits memory limits) private {
        vm.prank(alice);
        registry.revokeAgent(aliceId, agent);
        vm.prank(alice);
        registry.grant(aliceId, agent, SEND, _window(), limits);
    }

    function _scopeOfGas() private returns (uint256) {
        return
            _calleeGas(address(registry), abi.encodeCall(registry.scopeOf, (aliceId, agent, SEND)));
    }
}
