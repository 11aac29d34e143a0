// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {IEntryPointHash, SmartAccountTest} from "../utils/SmartAccountTest.sol";
import {NullAccount} from "./NullAccount.sol";

interface ISimpleAccount {
    function execute(address target, uint256 value, bytes calldata data) external;
}

/// @notice What an operation that sends the native currency costs: of the account with everything it
/// checks, of SimpleAccount, which checks one signature, and of an account that checks nothing. Bundles
/// of one, nonce above zero, EntryPoint v0.8 as its authors built it, second operation of the day.
/// @dev Whole transactions, as in AuditAnchor.gas.t.sol.
/// forge-config: default.isolate = true
contract SmartAccountGasTest is SmartAccountTest {
    uint256 private constant USER_OP_BUDGET = 120_000;
    uint256 private constant CREATE_BUDGET = 100_000;
    uint256 private constant HOLDER_BUDGET = 23_000;

    function test_UserOp() public {
        entryPoint.depositTo{value: 1 ether}(address(account));
        // The grant and the policy are older than the delay, as they mostly are.
        vm.warp(START + DELAY + 1 hours);
        _handle(_tight(_op(_send(0.1 ether))));
        _handle(_tight(_op(_send(0.1 ether))));
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("SmartAccount", "userop_policy", gas);
        assertLe(gas, USER_OP_BUDGET, "an operation is over its budget");
    }

    function test_SimpleAccount() public {
        string memory artifacts = "node_modules/@account-abstraction/contracts/artifacts/";
        address implementation = _create(
            abi.encodePacked(
                vm.getCode(string.concat(artifacts, "SimpleAccount.json")), abi.encode(entryPoint)
            )
        );
        // A proxy, as SimpleAccountFactory deploys them.
        ERC1967Proxy proxy =
            new ERC1967Proxy(implementation, abi.encodeWithSignature("initialize(address)", agent));
        _compare(address(proxy), "simple_account");
    }

    function test_NullAccount() public {
        _compare(address(new NullAccount()), "null_account");
    }

    function test_Create() public {
        ISmartAccount.Configuration memory configuration = _configuration();
        vm.prank(bundler);
        factory.createAccount(configuration, bytes32(uint256(1)));
        uint256 gas = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue("SmartAccount", "account_create", gas);
        uint256 budget = CREATE_BUDGET + configuration.holders.length * HOLDER_BUDGET;
        assertLe(gas, budget, "creation is over its budget");
    }

    function _compare(address other, string memory name) private {
        vm.deal(other, 1 ether);
        entryPoint.depositTo{value: 1 ether}(other);
        for (uint256 i = 0; i < 2; ++i) {
            PackedUserOperation memory op;
            op.sender = other;
            op.nonce = entryPoint.getNonce(other, 0);
            op.callData = abi.encodeCall(ISimpleAccount.execute, (payee, 0.1 ether, ""));
            op.accountGasLimits = bytes32((uint256(100_000) << 128) | 50_000);
            op.preVerificationGas = 50_000;
            op.gasFees = bytes32((uint256(1 gwei) << 128) | 1 gwei);
            op.signature = _sign(AGENT_KEY, IEntryPointHash(address(entryPoint)).getUserOpHash(op));
            _handle(op);
        }
        vm.snapshotValue("SmartAccount", name, vm.lastCallGas().gasTotalUsed);
    }

    /// @dev With limits as a wallet would set them.
    function _tight(PackedUserOperation memory op)
        private
        view
        returns (PackedUserOperation memory)
    {
        op.accountGasLimits = bytes32((uint256(100_000) << 128) | 50_000);
        op.preVerificationGas = 50_000;
        _signOp(op, AGENT_KEY, _terms(), _send(0.1 ether));
        return op;
    }
}
