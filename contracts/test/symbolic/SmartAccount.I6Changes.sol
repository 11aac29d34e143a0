// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountAlone} from "./SmartAccountAlone.sol";

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice I6, as far as storage goes, for the functions that widen: together nothing without the
/// other's signature; alone nothing but what was scheduled, is due, and was not vetoed.
/// @custom:halmos --loop 20
contract SmartAccountI6Changes is SmartAccountAlone {
    /// @dev Who applies which change, to what.
    struct Applied {
        address sender;
        uint64 id;
        address target;
    }

    /// @dev A cosigner with code that answers anything has signed: see `check_I4_changeTogether_wallet`.
    /// @custom:halmos --array-lengths data=4,signature={64,65,128}
    function check_I6_changeTogether(
        Together calldata by,
        Keys calldata keys,
        bytes calldata data,
        bytes calldata signature
    ) public {
        vm.assume(by.cosigner.code.length == 0);
        bytes32 digest =
            _changeDigest(block.chainid, address(account), by.target, data, _nonce(), by.deadline);
        vm.assume(_recover(digest, signature) != by.cosigner);
        _alone(by.sender, keys, _changeTogether(by, data, signature), NOBODY, NOTHING);
    }

    /// @dev What waits does so for the whole delay, and strikes nothing else out.
    /// @custom:halmos --array-lengths data=4
    function check_I6_schedule(
        address sender,
        Keys calldata keys,
        address target,
        bytes calldata data
    ) public {
        _schedule(sender, keys, target, data);
    }

    /// @dev As long as `publish` without a signature, and `grant`.
    /// @custom:halmos --array-lengths data=292
    function check_I6_schedule_registries(
        address sender,
        Keys calldata keys,
        address target,
        bytes calldata data
    ) public {
        vm.assume(_or(target == address(policies), target == address(agents)));
        _schedule(sender, keys, target, data);
    }

    /// @dev The guardian's role is nothing that can be scheduled, nor is a signature.
    /// @custom:halmos --array-lengths data={0,4}
    function check_I6_applyScheduled(Applied calldata by, Keys calldata keys, bytes calldata data)
        public
    {
        _assumeSomebody(by.sender);
        bool due = _isDue(by, data);
        Stored memory before = _stored(keys);
        bytes memory call = abi.encodeCall(ISmartAccount.applyScheduled, (by.id, by.target, data));
        _callAs(by.sender, address(account), call);
        Stored memory later = _stored(keys);
        uint256 changed = _changed(before, later);
        bool good = _or(changed == 0, _and(due, _scheduling(by.id) == 0));
        good = _and(good, changed & (ALLOWED | GATES | LEDGERS | NATIVE_LEDGER | CONFIRMED) == 0);
        good = _and(good, (uint8(before.role) == 5) == (uint8(later.role) == 5));
        assert(_and(good, _isNoLess(before, later)));
    }

    // ------------------------------------------------------------ internals

    function _schedule(address sender, Keys calldata keys, address target, bytes calldata data)
        private
    {
        Stored memory before = _stored(keys);
        uint256 by = uint160(sender) | (uint256(uint40(_role(sender) >> 8)) << 160);
        bytes memory call = abi.encodeCall(ISmartAccount.schedule, (target, data));
        _changes(sender, keys, call, OWNER | GATE, SCHEDULINGS | CONFIRMED | AGENTS);
        Stored memory later = _stored(keys);
        bool waits = later.changeHash == uint256(keccak256(abi.encode(target, data)));
        uint256 readyAt = block.timestamp + uint24(before.settings >> 208);
        // The highest byte of the word is not used.
        waits = _and(waits, later.scheduling << 8 == (by | (readyAt << 200)) << 8);
        waits = _and(waits, keys.id == uint64(before.counters >> 128) + 1);
        bool good = _or(waits, _changed(before, later) & SCHEDULINGS == 0);
        assert(_and(good, _or(uint8(before.agent) == 0, uint8(later.agent) != 0)));
    }

    /// @dev The sender may apply it; it was scheduled by one who has held the role since then, was not
    /// vetoed, and has been ready for 30 days at most.
    function _isDue(Applied calldata by, bytes calldata data) private view returns (bool due) {
        uint256 scheduling = _scheduling(by.id);
        uint256 scheduler = _role(address(uint160(scheduling)));
        due = ((OWNER | GATE) >> uint8(_role(by.sender))) & 1 == 1;
        due = _and(due, _changeHash(by.id) == keccak256(abi.encode(by.target, data)));
        due = _and(due, uint64(scheduler >> 8) == uint40(scheduling >> 160));
        uint256 readyAt = uint48(scheduling >> 200);
        due = _and(due, block.timestamp >= readyAt);
        due = _and(due, block.timestamp <= readyAt + 30 days);
    }
}
// forge-lint: disable-end(unsafe-typecast)
