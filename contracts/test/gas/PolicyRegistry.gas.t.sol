// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";

/// @notice What the registry itself uses when another contract asks it, with cold storage and without
/// the CALL, and what whole transactions of a tenant cost.
/// @dev See AuditAnchor.gas.t.sol on `isolate`. Numbers go to snapshots/PolicyRegistry.json.
/// forge-config: default.isolate = true
contract PolicyRegistryGasTest is PolicyRegistryTest {
    uint256 private constant CHECK_VERDICT_BUDGET = 12_000;

    function test_Gas_CheckVerdict() public {
        _publish(alice, _policy());
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        uint256 gas = _calleeGas(
            address(registry), abi.encodeCall(registry.checkVerdict, (verdict, signature))
        );
        // Two cold words and ecrecover: no way around these. If isolation were off, it would be less.
        assertGt(gas, 2 * 2_100 + 3_000, "storage was warm");
        assertLe(gas, CHECK_VERDICT_BUDGET, "checkVerdict is over its budget");
        vm.snapshotValue("PolicyRegistry", "check_verdict", gas);
    }

    function test_Gas_VerdictWindow() public {
        _publish(alice, _policy());
        IPolicyRegistry.PolicyVerdict memory verdict = _verdict();
        bytes memory signature = _signVerdict(SIGNER_KEY, verdict);
        uint256 gas = _calleeGas(
            address(registry), abi.encodeCall(registry.verdictWindow, (verdict, signature))
        );
        vm.snapshotValue("PolicyRegistry", "verdict_window", gas);
    }

    /// @dev A tenant's second policy, sent by the tenant.
    function test_Gas_Publish() public {
        _publish(alice, _policy());
        _publish(alice, _policy());
        vm.snapshotValue("PolicyRegistry", "publish", vm.lastCallGas().gasTotalUsed);
    }

    /// @dev A tenant's second policy, sent by a relayer with the signature of a tenant that is an EOA.
    function test_Gas_PublishRelayed() public {
        _publish(alice, _policy());
        bytes32 digest = _publishDigest(_domain(), aliceId, 2, _policy(), DEADLINE);
        bytes memory signature = _sign(ALICE_KEY, digest);
        vm.prank(stranger);
        registry.publish(aliceId, 2, _policy(), DEADLINE, signature);
        vm.snapshotValue("PolicyRegistry", "publish_relayed", vm.lastCallGas().gasTotalUsed);
    }

    function test_Gas_Revoke() public {
        _publish(alice, _policy());
        _revoke(alice);
        vm.snapshotValue("PolicyRegistry", "revoke", vm.lastCallGas().gasTotalUsed);
    }
}
