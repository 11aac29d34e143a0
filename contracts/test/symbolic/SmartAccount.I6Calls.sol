// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountAlone} from "./SmartAccountAlone.sol";
import {IInitialize} from "./SmartAccountSymbolic.sol";

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice I6, as far as storage goes, for the functions that create an account or take calls, but for
/// `execute` and `validateUserOp`. What calls move is no matter of storage.
/// @custom:halmos --loop 20
contract SmartAccountI6Calls is SmartAccountAlone {
    function check_I6_initialize(
        address sender,
        Keys calldata keys,
        ISmartAccount.Configuration calldata configuration,
        bytes32 salt
    ) public {
        bytes memory data = abi.encodeCall(IInitialize.initialize, (configuration, salt));
        _alone(sender, keys, data, NOBODY, NOTHING);
    }

    /// @custom:halmos --array-lengths data=68,authorisation=133
    function check_I6_propose(
        address sender,
        Keys calldata keys,
        Call calldata call,
        bytes calldata data,
        uint256 nonce,
        bytes calldata authorisation
    ) public {
        bytes memory proposed = abi.encodeCall(
            ISmartAccount.propose, (_calls(call, data), nonce, authorisation)
        );
        _changes(sender, keys, proposed, AGENT, GATES);
    }

    /// @dev Only what an approver and an authoriser let pass who still are, and even that reaches nothing
    /// of the account but its signatures. Then it is spent.
    /// @custom:halmos --array-lengths data=68
    function check_I6_executeProposal(
        address sender,
        Keys calldata keys,
        ISmartAccount.Proposal calldata proposal,
        Call calldata call,
        bytes calldata data
    ) public {
        _assumeSomebody(sender);
        _assumeElsewhere(call.target);
        bytes32 id = keccak256(abi.encode(address(account), proposal));
        bool passed = _and(_hasPassed(id), uint8(_role(sender)) == 4);
        Stored memory before = _stored(keys);
        bytes memory executed =
            abi.encodeCall(ISmartAccount.executeProposal, (proposal, _calls(call, data)));
        _callAs(sender, address(account), executed);
        Stored memory later = _stored(keys);
        uint256 changed = _changed(before, later);
        bool good = changed & ~(GATES | ALLOWED | COUNTERS) == 0;
        good = _and(good, _or(changed == 0, _and(passed, uint8(_gates(id)) == 4)));
        later.allowed = before.allowed;
        assert(_and(good, _isNarrower(before, later)));
    }

    // ------------------------------------------------------------ internals

    /// @dev No other account, where this one may do what a role that it has there may do: see the other
    /// checks. And not the proof itself.
    function _assumeElsewhere(address target) private view {
        vm.assume(_and(target != address(neighbour), target != factory.IMPLEMENTATION()));
        vm.assume(target != address(this));
    }

    /// @dev Whether it is authorised, and approver and authoriser hold their roles since then.
    function _hasPassed(bytes32 id) private view returns (bool passed) {
        uint256 gates = _gates(id);
        uint256 approver = _role(address(uint160(gates >> 88)));
        uint256 authoriser = _role(address(uint160(_authoriser(id))));
        passed = _and(uint8(gates) == 3, uint8(approver) == 2);
        passed = _and(passed, uint8(authoriser) == 3);
        passed = _and(passed, uint64(approver >> 8) == uint40(gates >> 8));
        passed = _and(passed, uint64(authoriser >> 8) == uint40(gates >> 48));
    }
}
// forge-lint: disable-end(unsafe-typecast)
