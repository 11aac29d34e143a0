// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {HavocWallet} from "./HavocWallet.sol";
import {PolicyRegistrySymbolic} from "./PolicyRegistrySymbolic.sol";

/// @notice I1: a call by anyone who is not a tenant's authority and brings no signature of it changes
/// nothing that is stored for that tenant.
/// @dev The authority that signs may be the wallet: another tenant's, that is, since what an authority's
/// own code answers for it is its consent.
contract PolicyRegistryI1 is PolicyRegistrySymbolic {
    function check_I1_publish(
        address sender,
        bytes32 b,
        uint64 any,
        Publish calldata p,
        bytes calldata signature
    ) public {
        _assumeStranger(sender, b);
        Stored memory before = _stored(b, any);
        bytes32 digest = _publishDigest(_domain(), p);
        vm.assume(_or(p.tenantId != b, _recover(digest, signature) != _authority(b)));
        _publish(sender, p, signature);
        assert(_difference(before, _stored(b, any)) == 0);
    }

    function check_I1_revoke(address sender, bytes32 b, uint64 any, bytes32 tenantId) public {
        _assumeStranger(sender, b);
        Stored memory before = _stored(b, any);
        _revoke(sender, tenantId);
        assert(_difference(before, _stored(b, any)) == 0);
    }

    function check_I1_revokeSigned(
        address sender,
        bytes32 b,
        uint64 any,
        Revoke calldata r,
        bytes calldata signature
    ) public {
        _assumeStranger(sender, b);
        Stored memory before = _stored(b, any);
        bytes32 digest = _revokeDigest(_domain(), r);
        vm.assume(_or(r.tenantId != b, _recover(digest, signature) != _authority(b)));
        _revokeSigned(sender, r, signature);
        assert(_difference(before, _stored(b, any)) == 0);
    }

    /// @dev Nobody can send from the zero address. An id that spells no authority has none.
    function _assumeStranger(address sender, bytes32 b) private {
        bytes32 reentered = bytes32(SVM.createUint256("re-entered tenant"));
        HavocWallet wallet = new HavocWallet(
            SVM, address(registry), abi.encodeCall(IPolicyRegistry.revoke, (reentered))
        );
        vm.assume(sender != address(0));
        vm.assume(sender != _authority(b));
        vm.assume(_authority(b) != address(wallet));
    }
}
