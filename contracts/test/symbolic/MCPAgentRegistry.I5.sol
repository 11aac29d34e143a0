// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryCalls} from "./MCPAgentRegistryCalls.sol";

/// @notice I5: what each call does, to the bit, to any triple `b` when it names the triple `t`: nothing
/// unless they are the same (or, for a whole agent, the same agent at the same tenant).
/// @custom:halmos --default-bytes-lengths 65
// Casts below cut off exactly what belongs to the neighbours in a word.
// forge-lint: disable-start(unsafe-typecast)
contract MCPAgentRegistryI5 is MCPAgentRegistryCalls {
    function check_I5_grant(
        address sender,
        Triple calldata b,
        Triple calldata t,
        Terms calldata terms
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _grant(sender, t, terms);
        _expectTerms(_and(ok, _sameGrant(b, t)), expected, terms);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_grantSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _grantSigned(sender, t, terms, deadline, signature);
        _expectTerms(_and(ok, _sameGrant(b, t)), expected, terms);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_extend(address sender, Triple calldata b, Triple calldata t, uint48 notAfter)
        public
    {
        Stored memory expected = _stored(b);
        bool ok = _extend(sender, t, notAfter);
        _expectLater(_and(ok, _sameGrant(b, t)), expected, notAfter);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_extendSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _extendSigned(sender, t, notAfter, deadline, signature);
        _expectLater(_and(ok, _sameGrant(b, t)), expected, notAfter);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_revoke(address sender, Triple calldata b, Triple calldata t) public {
        Stored memory expected = _stored(b);
        bool ok = _revoke(sender, t);
        expected.word = _select(_and(ok, _sameGrant(b, t)), bytes32(0), expected.word);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_revokeSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _revokeSigned(sender, t, deadline, signature);
        expected.word = _select(_and(ok, _sameGrant(b, t)), bytes32(0), expected.word);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_revokeAgent(address sender, Triple calldata b, Triple calldata t) public {
        Stored memory expected = _stored(b);
        bool ok = _revokeAgent(sender, t);
        _expectNextEpoch(_and(ok, _sameAgentAtTenant(b, t)), expected);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_revokeAgentSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _revokeAgentSigned(sender, t, deadline, signature);
        _expectNextEpoch(_and(ok, _sameAgentAtTenant(b, t)), expected);
        _assertTenants(ok, b, t, expected);
    }

    function check_I5_forfeit(Triple calldata b, Triple calldata t) public {
        Stored memory expected = _stored(b);
        bool ok = _forfeit(t);
        _assertForfeited(ok, b, t, expected);
    }

    function check_I5_forfeitSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _forfeitSigned(sender, t, deadline, signature);
        _assertForfeited(ok, b, t, expected);
    }

    function check_I5_describe(Triple calldata b, address agent, Words calldata words) public {
        Stored memory expected = _stored(b);
        bool ok = _describe(agent, words);
        _assertDescribed(ok, b, agent, words, expected);
    }

    function check_I5_describeSigned(
        address sender,
        Triple calldata b,
        address agent,
        Words calldata words,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory expected = _stored(b);
        bool ok = _describeSigned(sender, agent, words, deadline, signature);
        _assertDescribed(ok, b, agent, words, expected);
    }

    /// @dev Agents can only narrow: what they give up was theirs and live, and is gone.
    function _assertForfeited(bool ok, Triple calldata b, Triple calldata t, Stored memory expected)
        private
        view
    {
        bool same = _and(ok, _sameGrant(b, t));
        assert(_or(!same, _isLive(expected)));
        expected.word = _select(same, bytes32(0), expected.word);
        bytes32 nonce = expected.self.nonceAndRegistry;
        same = _and(ok, b.agent == t.agent);
        expected.self.nonceAndRegistry = _select(same, _consumed(nonce), nonce);
        _assertTenants(ok, b, t, expected);
    }

    function _assertDescribed(
        bool ok,
        Triple calldata b,
        address agent,
        Words calldata words,
        Stored memory expected
    ) private view {
        bool same = _and(ok, b.agent == agent);
        Self memory old = expected.self;
        uint256 word = uint256(_consumed(old.nonceAndRegistry));
        word = (word >> 224) << 224 | uint256(uint160(words.erc8004Registry)) << 64 | uint64(word);
        bytes32 endpointHash = keccak256(bytes(words.endpoint));
        expected.self = Self({
            nonceAndRegistry: _select(same, bytes32(word), old.nonceAndRegistry),
            erc8004Id: _select(same, bytes32(words.erc8004Id), old.erc8004Id),
            endpointHash: _select(same, endpointHash, old.endpointHash),
            metadataHash: _select(same, words.metadataHash, old.metadataHash)
        });
        _assertExpected(b, expected);
    }

    /// @dev Whatever goes through spends a nonce of its tenant.
    function _assertTenants(bool ok, Triple calldata b, Triple calldata t, Stored memory expected)
        private
        view
    {
        bool same = _and(ok, b.tenantId == t.tenantId);
        expected.nonce = _select(same, _consumed(expected.nonce), expected.nonce);
        _assertExpected(b, expected);
    }

    function _assertExpected(Triple calldata b, Stored memory expected) private view {
        Stored memory later = _stored(b);
        assert(_difference(expected, later) | _difference(expected.self, later.self) == 0);
    }

    /// @dev The table of `IMCPAgentRegistry.Limits`, and what is left in the second word of a grant that
    /// has no target.
    function _expectTerms(bool same, Stored memory stored, Terms calldata terms) private view {
        IMCPAgentRegistry.Window calldata window = terms.window;
        IMCPAgentRegistry.Limits calldata limits = terms.limits;
        bool isWindow = _and(window.notBefore <= window.notAfter, window.notAfter != 0);
        assert(_or(!same, _and(isWindow, window.notAfter < 2 ** 47)));
        bool native = limits.target == address(0);
        bool call = limits.selector != 0;
        bool token = limits.tokenMax != 0;
        bool listed = _or(_and(native, !_or(call, token)), _and(!native, call != token));
        assert(_or(!same, listed));
        uint256 bound = _select(call, uint32(limits.selector), limits.tokenMax);
        bound = bound << 160 | uint160(limits.target);
        stored.bound = _select(_and(same, !native), bytes32(bound), stored.bound);
        uint256 word = _select(native, 1, _select(call, 3, 2)) << 248;
        word |= uint256(limits.nativeMax) << 168 | uint256(uint32(uint256(stored.epoch))) << 136;
        word |= _now() << 96 | uint256(window.notAfter) << 48 | window.notBefore;
        stored.word = _select(same, bytes32(word), stored.word);
    }

    function _expectLater(bool same, Stored memory stored, uint48 notAfter) private view {
        uint256 word = uint256(stored.word);
        assert(_or(!same, _and(_isLive(stored), notAfter > uint48(word >> 48))));
        uint256 times = uint256(notAfter) << 48 | uint48(word);
        bytes32 extended = bytes32((word >> 136) << 136 | _now() << 96 | times);
        stored.word = _select(same, extended, stored.word);
    }

    function _expectNextEpoch(bool same, Stored memory stored) private pure {
        uint256 epoch = uint256(stored.epoch);
        assert(_or(!same, uint32(epoch) != type(uint32).max));
        unchecked {
            stored.epoch = _select(same, bytes32(epoch + 1), stored.epoch);
        }
    }

    function _now() private view returns (uint256) {
        return block.timestamp & type(uint40).max;
    }
}
// forge-lint: disable-end(unsafe-typecast)
