// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountAlone} from "./SmartAccountAlone.sol";

/// @notice I6, as far as storage goes: what a single key can change with one call of a function that
/// takes neither arrays nor bytes. By whom and where it changes anything, is in the last two arguments.
/// @custom:halmos --loop 20
contract SmartAccountI6 is SmartAccountAlone {
    function check_I6_receive(address sender, Keys calldata keys) public {
        _alone(sender, keys, "", NOBODY, NOTHING);
    }

    function check_I6_setLimit(
        address sender,
        Keys calldata keys,
        address token,
        uint104 perCall,
        uint104 perDay
    ) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.setLimit, (token, perCall, perDay)),
            NOBODY,
            NOTHING
        );
    }

    function check_I6_unlistToken(address sender, Keys calldata keys, address token) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.unlistToken, (token)), NOBODY, NOTHING);
    }

    function check_I6_setGate(
        address sender,
        Keys calldata keys,
        address holder,
        ISmartAccount.Role role
    ) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.setGate, (holder, role)), NOBODY, NOTHING);
    }

    function check_I6_replaceHolder(
        address sender,
        Keys calldata keys,
        address holder,
        address successor
    ) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.replaceHolder, (holder, successor)),
            NOBODY,
            NOTHING
        );
    }

    function check_I6_replaceGuardian(
        address sender,
        Keys calldata keys,
        address guardian,
        address successor
    ) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.replaceGuardian, (guardian, successor)),
            NOBODY,
            NOTHING
        );
    }

    function check_I6_setDelay(address sender, Keys calldata keys, uint24 delay) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.setDelay, (delay)), NOBODY, NOTHING);
    }

    function check_I6_unfreeze(address sender, Keys calldata keys) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.unfreeze, ()), NOBODY, NOTHING);
    }

    function check_I6_allowSignature(address sender, Keys calldata keys, bytes32 hash, uint48 until)
        public
    {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.allowSignature, (hash, until)),
            NOBODY,
            NOTHING
        );
    }

    function check_I6_freeze(address sender, Keys calldata keys) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.freeze, ()), ANY_ROLE, SETTINGS);
    }

    function check_I6_lowerLimit(
        address sender,
        Keys calldata keys,
        address token,
        uint104 perCall,
        uint104 perDay
    ) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.lowerLimit, (token, perCall, perDay)),
            OWNER | GUARDIAN,
            SETTINGS | LIMITS
        );
    }

    function check_I6_lengthenDelay(address sender, Keys calldata keys, uint24 delay) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.lengthenDelay, (delay)),
            OWNER | GUARDIAN,
            SETTINGS
        );
    }

    function check_I6_disallowSignature(address sender, Keys calldata keys, bytes32 hash) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.disallowSignature, (hash)),
            OWNER | GUARDIAN,
            ALLOWED
        );
    }

    function check_I6_revokePolicy(address sender, Keys calldata keys) public {
        _alone(
            sender, keys, abi.encodeCall(ISmartAccount.revokePolicy, ()), OWNER | GUARDIAN, NOTHING
        );
    }

    function check_I6_revokeGrant(
        address sender,
        Keys calldata keys,
        address agent,
        bytes32 capability
    ) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.revokeGrant, (agent, capability)),
            OWNER | GUARDIAN,
            NOTHING
        );
    }

    /// @dev The one function after which an agent is none.
    function check_I6_revokeAgent(address sender, Keys calldata keys, address agent) public {
        uint256 before = _stored(keys).agent;
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.revokeAgent, (agent)),
            OWNER | GUARDIAN,
            AGENTS
        );
        uint256 later = _stored(keys).agent;
        assert(_or(later == before, _and(keys.agent == agent, later == before & ~uint256(0xff))));
    }

    function check_I6_revokeAnchorer(address sender, Keys calldata keys) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.revokeAnchorer, ()),
            OWNER | GUARDIAN,
            NOTHING
        );
    }

    function check_I6_withdrawDeposit(address sender, Keys calldata keys, uint256 amount) public {
        _alone(
            sender,
            keys,
            abi.encodeCall(ISmartAccount.withdrawDeposit, (amount)),
            OWNER | GUARDIAN,
            NOTHING
        );
    }

    function check_I6_renounce(address sender, Keys calldata keys) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.renounce, ()), GATE, ROLES);
    }

    function check_I6_approve(address sender, Keys calldata keys, bytes32 id) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.approve, (id)), APPROVER, GATES);
    }

    function check_I6_authorise(address sender, Keys calldata keys, bytes32 id) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.authorise, (id)), AUTHORISER, GATES);
    }

    function check_I6_reject(address sender, Keys calldata keys, bytes32 id) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.reject, (id)), ANY_ROLE, GATES);
    }

    function check_I6_veto(address sender, Keys calldata keys, uint64 id) public {
        _alone(sender, keys, abi.encodeCall(ISmartAccount.veto, (id)), GUARDIAN, SCHEDULINGS);
    }
}
