// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountSymbolic} from "./SmartAccountSymbolic.sol";

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice What each change changes once it is made, which is when the account calls itself: only the
/// words in the last argument and the counters. None gives the zero address a role, and none but the
/// replacement of the guardian touches a guardian. The delay stays in its bounds.
/// @custom:halmos --loop 20
contract SmartAccountChange is SmartAccountSymbolic {
    function check_Change_setLimit(
        Keys calldata keys,
        address token,
        uint104 perCall,
        uint104 perDay
    ) public {
        _change(
            keys,
            abi.encodeCall(ISmartAccount.setLimit, (token, perCall, perDay)),
            SETTINGS | LIMITS | TOKENS
        );
    }

    function check_Change_unlistToken(Keys calldata keys, address token) public {
        vm.assume(_stored(keys).tokens <= 2);
        _change(
            keys, abi.encodeCall(ISmartAccount.unlistToken, (token)), SETTINGS | LIMITS | TOKENS
        );
    }

    function check_Change_setGate(Keys calldata keys, address holder, ISmartAccount.Role role)
        public
    {
        _change(keys, abi.encodeCall(ISmartAccount.setGate, (holder, role)), ROLES);
    }

    function check_Change_replaceHolder(Keys calldata keys, address holder, address successor)
        public
    {
        _change(keys, abi.encodeCall(ISmartAccount.replaceHolder, (holder, successor)), ROLES);
    }

    function check_Change_replaceGuardian(Keys calldata keys, address guardian, address successor)
        public
    {
        _changeOfGuardian(
            keys, abi.encodeCall(ISmartAccount.replaceGuardian, (guardian, successor)), ROLES
        );
    }

    function check_Change_setDelay(Keys calldata keys, uint24 delay) public {
        _change(keys, abi.encodeCall(ISmartAccount.setDelay, (delay)), SETTINGS);
    }

    function check_Change_unfreeze(Keys calldata keys) public {
        _change(keys, abi.encodeCall(ISmartAccount.unfreeze, ()), SETTINGS);
    }

    function check_Change_allowSignature(Keys calldata keys, bytes32 hash, uint48 until) public {
        _change(keys, abi.encodeCall(ISmartAccount.allowSignature, (hash, until)), ALLOWED);
    }

    // ------------------------------------------------------------ internals

    function _change(Keys calldata keys, bytes memory data, uint256 may) private {
        uint256 before = _role(keys.holder);
        _changeOfGuardian(keys, data, may);
        assert((uint8(before) == 5) == (uint8(_role(keys.holder)) == 5));
    }

    function _changeOfGuardian(Keys calldata keys, bytes memory data, uint256 may) private {
        _assumeNoRoleOfNobody();
        Stored memory before = _stored(keys);
        bool ok = _callAs(address(account), address(account), data);
        Stored memory later = _stored(keys);
        bool good = _changed(before, later) & ~(may | COUNTERS) == 0;
        good = _and(good, uint8(_role(address(0))) == 0);
        uint256 delay = uint24(later.settings >> 208);
        bool same = delay == uint24(before.settings >> 208);
        good = _and(good, _or(same, _and(delay >= 1 hours, delay <= 30 days)));
        assert(_and(good, _isNoLess(before, later)));
        assert(_or(ok, _changed(before, later) == NOTHING));
    }
}
// forge-lint: disable-end(unsafe-typecast)
