// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {IAccount, PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {IInitialize, SmartAccountSymbolic} from "./SmartAccountSymbolic.sol";

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice I1: a call by an outsider changes nothing that an account stores and takes nothing from its
/// balance, and changes nothing of another account; also from inside of the account's own calls, at
/// any depth: what is stored, and whether calls are running, is arbitrary.
/// @custom:halmos --loop 20
contract SmartAccountI1 is SmartAccountSymbolic {
    // ---------------------------------------- what takes arrays or bytes

    function check_I1_receive(address sender, uint256 running, uint256 value) public {
        _send(sender, running, value, "");
    }

    function check_I1_initialize(
        address sender,
        uint256 running,
        ISmartAccount.Configuration calldata configuration,
        bytes32 salt
    ) public {
        _outsider(sender, running, abi.encodeCall(IInitialize.initialize, (configuration, salt)));
    }

    /// @custom:halmos --array-lengths data=68,paymasterAndData=0,signature=198
    function check_I1_validateUserOp(
        address sender,
        uint256 running,
        Operation calldata operation,
        Call calldata call,
        bytes calldata data,
        bytes calldata paymasterAndData,
        bytes calldata signature
    ) public {
        PackedUserOperation memory op = _operation(
            operation, _calls(call, data), paymasterAndData, signature
        );
        bytes memory validated = abi.encodeCall(IAccount.validateUserOp, (op, bytes32(0), 0));
        _outsider(sender, running, validated);
    }

    /// @custom:halmos --array-lengths calls={0,1},opData={0,32,165} --default-bytes-lengths 0,4,68
    function check_I1_execute(
        address sender,
        uint256 running,
        bool scopeless,
        uint256 value,
        bytes32 mode,
        Execution[] calldata calls,
        bytes calldata opData
    ) public {
        _assumeNoAgent(sender, scopeless);
        bytes memory data = abi.encode(calls, opData);
        _send(sender, running, value, abi.encodeCall(IERC7821.execute, (mode, data)));
    }

    /// @custom:halmos --array-lengths calls=2,opData=165 --default-bytes-lengths 68
    function check_I1_execute_two(
        address sender,
        uint256 running,
        bool scopeless,
        bytes32 mode,
        Execution[] calldata calls,
        bytes calldata opData
    ) public {
        _assumeNoAgent(sender, scopeless);
        bytes memory data = abi.encode(calls, opData);
        _outsider(sender, running, abi.encodeCall(IERC7821.execute, (mode, data)));
    }

    /// @custom:halmos --array-lengths calls={0,1},authorisation={0,68,133} --default-bytes-lengths 0,4,68
    function check_I1_propose(
        address sender,
        uint256 running,
        bool scopeless,
        Execution[] calldata calls,
        uint256 nonce,
        bytes calldata authorisation
    ) public {
        _assumeNoAgent(sender, scopeless);
        bytes memory data = abi.encodeCall(ISmartAccount.propose, (calls, nonce, authorisation));
        _outsider(sender, running, data);
    }

    /// @custom:halmos --array-lengths calls=2,authorisation=133 --default-bytes-lengths 68
    function check_I1_propose_two(
        address sender,
        uint256 running,
        bool scopeless,
        Execution[] calldata calls,
        uint256 nonce,
        bytes calldata authorisation
    ) public {
        _assumeNoAgent(sender, scopeless);
        bytes memory data = abi.encodeCall(ISmartAccount.propose, (calls, nonce, authorisation));
        _outsider(sender, running, data);
    }

    /// @custom:halmos --array-lengths calls={0,1,2} --default-bytes-lengths 0,68
    function check_I1_executeProposal(
        address sender,
        uint256 running,
        ISmartAccount.Proposal calldata proposal,
        Execution[] calldata calls
    ) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.executeProposal, (proposal, calls)));
    }

    /// @custom:halmos --array-lengths data={0,4,68},signature={0,65,128}
    function check_I1_changeTogether(
        address sender,
        uint256 running,
        address target,
        bytes calldata data,
        uint64 deadline,
        address cosigner,
        bytes calldata signature
    ) public {
        bytes memory call = abi.encodeCall(
            ISmartAccount.changeTogether, (target, data, deadline, cosigner, signature)
        );
        _outsider(sender, running, call);
    }

    /// @custom:halmos --array-lengths data={0,4,68}
    function check_I1_schedule(address sender, uint256 running, address target, bytes calldata data)
        public
    {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.schedule, (target, data)));
    }

    /// @custom:halmos --array-lengths data={0,4,68}
    function check_I1_applyScheduled(
        address sender,
        uint256 running,
        uint64 id,
        address target,
        bytes calldata data
    ) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.applyScheduled, (id, target, data)));
    }

    // ---------------------------------------------------------- the others

    function check_I1_approve(address sender, uint256 running, bytes32 id) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.approve, (id)));
    }

    function check_I1_authorise(address sender, uint256 running, bytes32 id) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.authorise, (id)));
    }

    function check_I1_reject(address sender, uint256 running, bytes32 id) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.reject, (id)));
    }

    function check_I1_veto(address sender, uint256 running, uint64 id) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.veto, (id)));
    }

    function check_I1_setLimit(
        address sender,
        uint256 running,
        address token,
        uint104 perCall,
        uint104 perDay
    ) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.setLimit, (token, perCall, perDay)));
    }

    function check_I1_unlistToken(address sender, uint256 running, address token) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.unlistToken, (token)));
    }

    function check_I1_setGate(
        address sender,
        uint256 running,
        address holder,
        ISmartAccount.Role role
    ) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.setGate, (holder, role)));
    }

    function check_I1_replaceHolder(
        address sender,
        uint256 running,
        address holder,
        address successor
    ) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.replaceHolder, (holder, successor)));
    }

    function check_I1_replaceGuardian(
        address sender,
        uint256 running,
        address guardian,
        address successor
    ) public {
        _outsider(
            sender, running, abi.encodeCall(ISmartAccount.replaceGuardian, (guardian, successor))
        );
    }

    function check_I1_setDelay(address sender, uint256 running, uint24 delay) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.setDelay, (delay)));
    }

    function check_I1_unfreeze(address sender, uint256 running) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.unfreeze, ()));
    }

    function check_I1_allowSignature(address sender, uint256 running, bytes32 hash, uint48 until)
        public
    {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.allowSignature, (hash, until)));
    }

    function check_I1_freeze(address sender, uint256 running) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.freeze, ()));
    }

    function check_I1_lowerLimit(
        address sender,
        uint256 running,
        address token,
        uint104 perCall,
        uint104 perDay
    ) public {
        _outsider(
            sender, running, abi.encodeCall(ISmartAccount.lowerLimit, (token, perCall, perDay))
        );
    }

    function check_I1_lengthenDelay(address sender, uint256 running, uint24 delay) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.lengthenDelay, (delay)));
    }

    function check_I1_disallowSignature(address sender, uint256 running, bytes32 hash) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.disallowSignature, (hash)));
    }

    function check_I1_revokePolicy(address sender, uint256 running) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.revokePolicy, ()));
    }

    function check_I1_revokeGrant(
        address sender,
        uint256 running,
        address agent,
        bytes32 capability
    ) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.revokeGrant, (agent, capability)));
    }

    function check_I1_revokeAgent(address sender, uint256 running, address agent) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.revokeAgent, (agent)));
    }

    function check_I1_revokeAnchorer(address sender, uint256 running) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.revokeAnchorer, ()));
    }

    function check_I1_withdrawDeposit(address sender, uint256 running, uint256 amount) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.withdrawDeposit, (amount)));
    }

    function check_I1_renounce(address sender, uint256 running) public {
        _outsider(sender, running, abi.encodeCall(ISmartAccount.renounce, ()));
    }

    // ------------------------------------------------------------ internals

    function _outsider(address sender, uint256 running, bytes memory data) private {
        _send(sender, running, 0, data);
    }

    function _send(address sender, uint256 running, uint256 value, bytes memory data) private {
        vm.assume(_and(sender != address(0), sender != address(account)));
        vm.assume(_and(sender != address(entryPoint), sender != address(factory)));
        vm.assume(uint8(_role(sender)) == 0);
        _setRunning(running);
        bytes32 stored = _snapshot(account);
        bytes32 besides = _snapshot(neighbour);
        uint256 balance = address(account).balance;
        vm.prank(sender);
        (bool ok,) = address(account).call{value: value}(data);
        assert(_snapshot(account) == stored);
        assert(_snapshot(neighbour) == besides);
        // Failed calls bring nothing.
        assert(address(account).balance == (ok ? balance + value : balance));
    }

    /// @dev One of the registries does not vouch for the sender.
    function _assumeNoAgent(address sender, bool scopeless) private {
        if (scopeless) agents.refuse(sender, 0x24);
        else policies.refuse(sender, 0x44);
    }
}
// forge-lint: disable-end(unsafe-typecast)
