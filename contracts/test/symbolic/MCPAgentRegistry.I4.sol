// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {PickyWallet} from "./HavocWallet.sol";
import {MCPAgentRegistryCalls} from "./MCPAgentRegistryCalls.sol";

/// @notice I4: whatever goes through was sent by the authority (or the agent) itself, or signed by it
/// for exactly this chain, contract, tenant and present nonce; and the nonce is then spent.
/// @custom:halmos --default-bytes-lengths 65
contract MCPAgentRegistryI4 is MCPAgentRegistryCalls {
    /// @dev Where a signed call is made, and what the wallet says yes to, which may be who signs.
    struct Where {
        uint256 chainId;
        bool elsewhere;
        bytes32 accepted;
    }

    function check_I4_grant(address sender, Triple calldata t, Terms calldata terms) public {
        Stored memory before = _stored(t);
        bool ok = _grant(sender, t, terms);
        assert(_or(!ok, sender == _authority(t.tenantId)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_grantSigned(
        Where calldata where,
        address sender,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        address wallet = _go(where);
        Stored memory before = _stored(t);
        bytes32 digest = _grantDigest(_domain(), t, terms, _nonce(before), deadline);
        bool signed = _isSigned(_authority(t.tenantId), wallet, where.accepted, digest, signature);
        bool ok = _grantSigned(sender, t, terms, deadline, signature);
        assert(_or(!ok, _and(signed, block.timestamp <= deadline)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_extend(address sender, Triple calldata t, uint48 notAfter) public {
        Stored memory before = _stored(t);
        bool ok = _extend(sender, t, notAfter);
        assert(_or(!ok, sender == _authority(t.tenantId)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_extendSigned(
        Where calldata where,
        address sender,
        Triple calldata t,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) public {
        address wallet = _go(where);
        Stored memory before = _stored(t);
        bytes32 digest = _extendDigest(_domain(), t, notAfter, _nonce(before), deadline);
        bool signed = _isSigned(_authority(t.tenantId), wallet, where.accepted, digest, signature);
        bool ok = _extendSigned(sender, t, notAfter, deadline, signature);
        assert(_or(!ok, _and(signed, block.timestamp <= deadline)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_revoke(address sender, Triple calldata t) public {
        Stored memory before = _stored(t);
        bool ok = _revoke(sender, t);
        assert(_or(!ok, sender == _authority(t.tenantId)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_revokeSigned(
        Where calldata where,
        address sender,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        address wallet = _go(where);
        Stored memory before = _stored(t);
        bytes32 digest = _revokeDigest(_domain(), t, _nonce(before), deadline);
        bool signed = _isSigned(_authority(t.tenantId), wallet, where.accepted, digest, signature);
        bool ok = _revokeSigned(sender, t, deadline, signature);
        assert(_or(!ok, _and(signed, block.timestamp <= deadline)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_revokeAgent(address sender, Triple calldata t) public {
        Stored memory before = _stored(t);
        bool ok = _revokeAgent(sender, t);
        assert(_or(!ok, sender == _authority(t.tenantId)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_revokeAgentSigned(
        Where calldata where,
        address sender,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        address wallet = _go(where);
        Stored memory before = _stored(t);
        bytes32 digest = _revokeAgentDigest(_domain(), t, _nonce(before), deadline);
        bool signed = _isSigned(_authority(t.tenantId), wallet, where.accepted, digest, signature);
        bool ok = _revokeAgentSigned(sender, t, deadline, signature);
        assert(_or(!ok, _and(signed, block.timestamp <= deadline)));
        _assertSpent(ok, before.nonce, _stored(t).nonce);
    }

    function check_I4_forfeit(Triple calldata t) public {
        Stored memory before = _stored(t);
        bool ok = _forfeit(t);
        Stored memory later = _stored(t);
        _assertSpent(ok, before.nonce, later.nonce);
        _assertSpent(ok, before.self.nonceAndRegistry, later.self.nonceAndRegistry);
    }

    function check_I4_forfeitSigned(
        Where calldata where,
        address sender,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        address wallet = _go(where);
        Stored memory before = _stored(t);
        bytes32 digest = _forfeitDigest(_domain(), t, _nonce(before.self), deadline);
        bool signed = _isSigned(t.agent, wallet, where.accepted, digest, signature);
        bool ok = _forfeitSigned(sender, t, deadline, signature);
        assert(_or(!ok, _and(signed, block.timestamp <= deadline)));
        Stored memory later = _stored(t);
        _assertSpent(ok, before.nonce, later.nonce);
        _assertSpent(ok, before.self.nonceAndRegistry, later.self.nonceAndRegistry);
    }

    /// @dev Describing oneself spends a nonce too.
    function check_I4_describe(Triple calldata t, Words calldata words) public {
        uint64 before = _nonce(_stored(t).self);
        bool ok = _describe(t.agent, words);
        assert(_or(!ok, _nonce(_stored(t).self) > before));
    }

    function check_I4_describeSigned(
        Where calldata where,
        address sender,
        Triple calldata t,
        Words calldata words,
        uint64 deadline,
        bytes calldata signature
    ) public {
        address wallet = _go(where);
        uint64 before = _nonce(_stored(t).self);
        bytes32 digest = _describeDigest(_domain(), t.agent, words, before, deadline);
        bool signed = _isSigned(t.agent, wallet, where.accepted, digest, signature);
        bool ok = _describeSigned(sender, t.agent, words, deadline, signature);
        assert(_or(!ok, _and(signed, block.timestamp <= deadline)));
        assert(_or(!ok, _nonce(_stored(t).self) > before));
    }

    /// @dev To any chain at the address where it was deployed (whose domain is cached), or elsewhere.
    function _go(Where calldata where) private returns (address wallet) {
        if (where.elsewhere) registry = IMCPAgentRegistry(_elsewhere(address(registry)));
        else _onAnyChain(where.chainId);
        return address(new PickyWallet(where.accepted));
    }

    function _isSigned(
        address signer,
        address wallet,
        bytes32 accepted,
        bytes32 digest,
        bytes calldata signature
    ) private pure returns (bool) {
        bool byKey = _and(signer != address(0), _recover(digest, signature) == signer);
        return _or(byKey, _and(signer == wallet, accepted == digest));
    }

    /// @dev The nonce is one more, and never comes round.
    function _assertSpent(bool ok, bytes32 before, bytes32 later) private pure {
        bool spent = _and(later == _consumed(before), uint64(uint256(later)) != 0);
        assert(_or(!ok, spent));
    }
}
