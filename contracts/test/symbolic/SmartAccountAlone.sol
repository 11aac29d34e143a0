// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SmartAccountSymbolic} from "./SmartAccountSymbolic.sol";

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice What one key may do to an account alone: narrow it, and no more.
abstract contract SmartAccountAlone is SmartAccountSymbolic {
    /// @dev Sets of roles, a bit for each number of `Role`; an agent has role 0.
    uint256 internal constant NOBODY = 0;
    uint256 internal constant AGENT = 1 << 0;
    uint256 internal constant OWNER = 1 << 1;
    uint256 internal constant APPROVER = 1 << 2;
    uint256 internal constant AUTHORISER = 1 << 3;
    uint256 internal constant EXECUTOR = 1 << 4;
    uint256 internal constant GUARDIAN = 1 << 5;
    uint256 internal constant GATE = APPROVER | AUTHORISER | EXECUTOR;
    uint256 internal constant ANY_ROLE = OWNER | GATE | GUARDIAN;
    uint256 internal constant ANYBODY = ANY_ROLE | AGENT;

    /// @dev Anyone calls, at any time. Only those with a role in `who` change anything, and only words
    /// in `may` and the counters; nothing becomes wider; no other account changes.
    function _changes(
        address sender,
        Keys calldata keys,
        bytes memory data,
        uint256 who,
        uint256 may
    ) internal returns (bool ok) {
        _assumeSomebody(sender);
        Stored memory before = _stored(keys);
        bytes32 besides = _snapshot(neighbour);
        uint256 role = uint8(_role(sender));
        ok = _callAs(sender, address(account), data);
        Stored memory later = _stored(keys);
        uint256 changed = _changed(before, later);
        bool good = _or(changed == 0, (who >> role) & 1 == 1);
        good = _and(good, changed & ~(may | COUNTERS) == 0);
        assert(_and(good, _isNarrower(before, later)));
        assert(_snapshot(neighbour) == besides);
    }

    /// @dev The same, and nothing leaves.
    function _alone(address sender, Keys calldata keys, bytes memory data, uint256 who, uint256 may)
        internal
    {
        uint256 balance = address(account).balance;
        _changes(sender, keys, data, who, may);
        assert(address(account).balance >= balance);
    }

    /// @dev Anyone but the account itself, whose calls of itself are part of the calls of others, and
    /// the factory, which calls once, when it creates the account. Every stored role is one.
    function _assumeSomebody(address sender) internal view {
        vm.assume(_and(sender != address(0), sender != address(account)));
        vm.assume(sender != address(factory));
        vm.assume(uint8(_role(sender)) <= 5);
    }

    /// @dev No limit and no list is wider, the delay not shorter, nobody has a role that it had not,
    /// nothing counts as confirmed or signed that did not, what was frozen is; and no counter fell.
    function _isNarrower(Stored memory a, Stored memory b) internal pure returns (bool good) {
        // Limits: perCall and perDay. The rest is the same, but for delay and frozen in the settings.
        good = _and(_limitsFell(a.settings, b.settings), _limitsFell(a.limit, b.limit));
        good = _and(good, uint24(b.settings >> 208) >= uint24(a.settings >> 208));
        good = _and(good, uint8(b.settings >> 232) == uint8(a.settings >> 232));
        good = _and(good, _or(uint8(a.settings >> 240) == 0, uint8(b.settings >> 240) != 0));
        good = _and(good, b.settings >> 248 == a.settings >> 248);
        good = _and(good, b.limit >> 208 == a.limit >> 208);
        good = _and(good, _or(uint8(b.role) == uint8(a.role), uint8(b.role) == 0));
        good = _and(good, _or(b.confirmed == a.confirmed, uint48(b.confirmed) == 0));
        good = _and(good, _or(b.allowed == a.allowed, uint48(b.allowed) == 0));
        uint256 confirmed = b.counters >> 192;
        good = _and(good, _or(confirmed == a.counters >> 192, confirmed == 0));
        good = _and(good, _isNoLess(a, b));
    }

    function _limitsFell(uint256 a, uint256 b) private pure returns (bool) {
        return _and(uint104(b) <= uint104(a), uint104(b >> 104) <= uint104(a >> 104));
    }
}
// forge-lint: disable-end(unsafe-typecast)
