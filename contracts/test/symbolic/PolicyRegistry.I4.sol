// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PickyWallet} from "./HavocWallet.sol";
import {PolicyRegistrySymbolic} from "./PolicyRegistrySymbolic.sol";

/// @notice I4: a tenant's versions are 1, 2, 3, …, each written once, and only by the authority or with
/// its signature for exactly that version, tenant, chain and contract. The last one alone can be active.
/// @custom:halmos --default-bytes-lengths 0,65
contract PolicyRegistryI4 is PolicyRegistrySymbolic {
    /// @dev On any chain, at the address where it was deployed (whose domain is cached).
    function check_I4_publish(
        uint256 chainId,
        address sender,
        uint64 any,
        Publish calldata p,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        _assertPublish(sender, any, p, signature);
    }

    /// @dev The same code elsewhere: its domain must be the one of its own address.
    function check_I4_publish_elsewhere(
        address sender,
        uint64 any,
        Publish calldata p,
        bytes calldata signature
    ) public {
        registry = IPolicyRegistry(_elsewhere(address(registry)));
        _assertPublish(sender, any, p, signature);
    }

    /// @dev The authority is a wallet, which accepts one digest.
    function check_I4_publish_wallet(
        uint256 chainId,
        address sender,
        bytes32 accepted,
        Publish calldata p,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        address wallet = address(new PickyWallet(accepted));
        vm.assume(_and(_authority(p.tenantId) == wallet, sender != wallet));
        bytes32 digest = _publishDigest(_domain(), p);
        bool ok = _publish(sender, p, signature);
        assert(_or(!ok, _or(accepted == digest, _recover(digest, signature) == wallet)));
    }

    /// @dev `version` is the one after the last.
    function check_I4_revoke(address sender, uint64 any, bytes32 tenantId, uint64 version) public {
        vm.assume(sender != address(0));
        _setNext(tenantId, version);
        Stored memory before = _assumeNothingAhead(tenantId, version, any);
        bool ok = _revoke(sender, tenantId);
        assert(ok == (sender == _authority(tenantId)));
        _assertRevoked(ok, tenantId, version, any, before);
    }

    function check_I4_revokeSigned(
        uint256 chainId,
        address sender,
        uint64 any,
        Revoke calldata r,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        _assertRevokeSigned(sender, any, r, signature);
    }

    function check_I4_revokeSigned_elsewhere(
        address sender,
        uint64 any,
        Revoke calldata r,
        bytes calldata signature
    ) public {
        registry = IPolicyRegistry(_elsewhere(address(registry)));
        _assertRevokeSigned(sender, any, r, signature);
    }

    function check_I4_revokeSigned_wallet(
        uint256 chainId,
        address sender,
        bytes32 accepted,
        Revoke calldata r,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        address wallet = address(new PickyWallet(accepted));
        vm.assume(_authority(r.tenantId) == wallet);
        bytes32 digest = _revokeDigest(_domain(), r);
        bool ok = _revokeSigned(sender, r, signature);
        assert(_or(!ok, _or(accepted == digest, _recover(digest, signature) == wallet)));
    }

    /// @dev What the views call active is the last version, if that has a verdict signer; else nothing.
    function check_I4_activePolicy(bytes32 tenantId) public view {
        uint64 last = _last(_head(tenantId));
        Version memory written = _version(tenantId, last);
        (uint64 active, IPolicyRegistry.Record memory record) = registry.activePolicy(tenantId);
        assert(active == _select(_signer(written) == address(0), 0, last));
        assert(
            _and(record.verdictSigner == _signer(written), record.policyHash == written.policyHash)
        );
        assert(registry.versionOf(tenantId) == last);
    }

    function _assertPublish(
        address sender,
        uint64 any,
        Publish calldata p,
        bytes calldata signature
    ) private {
        vm.assume(sender != address(0));
        Stored memory before = _assumeNothingAhead(p.tenantId, p.version, any);
        bytes32 digest = _publishDigest(_domain(), p);
        bool allowed = _and(_isAllowed(p), p.version == _next(p.tenantId));
        bool ok = _publish(sender, p, signature);
        address authority = _authority(p.tenantId);
        bool itself = _or(sender == authority, _recover(digest, signature) == authority);
        assert(ok == _and(allowed, _and(itself, authority != address(0))));
        _assertWritten(ok, p.tenantId, p.version, any, before, _asStored(p.policy));
    }

    function _isAllowed(Publish calldata p) private view returns (bool) {
        IPolicyRegistry.Policy calldata policy = p.policy;
        bool window = _and(policy.notBefore <= policy.notAfter, policy.notAfter != 0);
        window = _and(window, policy.notAfter < 2 ** 47);
        return _and(_and(window, policy.verdictSigner != address(0)), _inTime(p.deadline));
    }

    function _asStored(IPolicyRegistry.Policy calldata policy)
        private
        view
        returns (Version memory)
    {
        uint256 signer = uint256(policy.notAfter) << 208 | uint256(policy.notBefore) << 160
            | uint160(policy.verdictSigner);
        return Version(bytes32(signer), policy.policyHash, _now());
    }

    function _assertRevokeSigned(
        address sender,
        uint64 any,
        Revoke calldata r,
        bytes calldata signature
    ) private {
        Stored memory before = _assumeNothingAhead(r.tenantId, r.version, any);
        uint64 next = _next(r.tenantId);
        bytes32 digest = _revokeDigest(_domain(), r);
        bool ok = _revokeSigned(sender, r, signature);
        address authority = _authority(r.tenantId);
        bool allowed = _and(authority != address(0), _recover(digest, signature) == authority);
        assert(ok == _and(allowed, _and(r.version == next, _inTime(r.deadline))));
        _assertRevoked(ok, r.tenantId, r.version, any, before);
    }

    function _assertRevoked(
        bool ok,
        bytes32 tenantId,
        uint64 version,
        uint64 any,
        Stored memory before
    ) private view {
        _assertWritten(ok, tenantId, version, any, before, Version(0, 0, _now()));
    }

    /// @dev `version`, the one after the last, was written, and any other is as it was. Since nothing
    /// was stored ahead of the last version, nothing is.
    function _assertWritten(
        bool ok,
        bytes32 tenantId,
        uint64 version,
        uint64 any,
        Stored memory before,
        Version memory written
    ) private view {
        Stored memory expected = before;
        if (ok) {
            // The bits above are nobody's.
            bytes32 head = ((before.head >> 112) << 112) | (_now() << 64);
            expected.head = head | bytes32(uint256(version));
            bool same = any == version;
            Version memory other = before.version;
            expected.version = Version({
                signer: _select(same, written.signer, other.signer),
                policyHash: _select(same, written.policyHash, other.policyHash),
                recordedAt: _select(same, written.recordedAt, other.recordedAt)
            });
        }
        assert(_difference(expected, _stored(tenantId, any)) == 0);
    }

    /// @dev Where nothing is stored for the versions to come, as is so at first, there still is not
    /// after any call: `_assertWritten`. Assumed of the version that is written.
    function _assumeNothingAhead(bytes32 tenantId, uint64 version, uint64 any)
        private
        view
        returns (Stored memory)
    {
        Version memory nothing;
        vm.assume(_difference(nothing, _version(tenantId, version)) == 0);
        return _stored(tenantId, any);
    }

    /// @dev The last version that there can be is not reached.
    function _next(bytes32 tenantId) private view returns (uint64) {
        uint64 last = _last(_head(tenantId));
        vm.assume(last != type(uint64).max);
        unchecked {
            return last + 1;
        }
    }

    /// @dev Names the version after the last, and leaves the head as arbitrary as it was. (Yices 2.6.4
    /// finds models, which are none, where an array's index is a sum with something stored.)
    function _setNext(bytes32 tenantId, uint64 version) private {
        vm.assume(version != 0);
        bytes32 head = (_head(tenantId) >> 64) << 64;
        bytes32 slot = keccak256(abi.encode(tenantId, uint256(0)));
        vm.store(address(registry), slot, head | bytes32(uint256(version - 1)));
    }

    function _now() private view returns (bytes32) {
        return bytes32(block.timestamp & type(uint48).max);
    }

    function _inTime(uint64 deadline) private view returns (bool) {
        return block.timestamp <= deadline;
    }
}
