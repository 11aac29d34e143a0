// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyRegistrySymbolic} from "./PolicyRegistrySymbolic.sol";

/// @notice Nobody brings to life an id that spells no authority: no call that names it stores anything
/// for it. Calls that name other ids are the matter of I1.
contract PolicyRegistryBirth is PolicyRegistrySymbolic {
    function check_Birth_publish(
        address sender,
        uint64 any,
        Publish calldata p,
        bytes calldata signature
    ) public {
        _assumeUnborn(sender, p.tenantId, any);
        _publish(sender, p, signature);
        _assertUnborn(p.tenantId, any);
    }

    function check_Birth_revoke(address sender, uint64 any, bytes32 id) public {
        _assumeUnborn(sender, id, any);
        _revoke(sender, id);
        _assertUnborn(id, any);
    }

    function check_Birth_revokeSigned(
        address sender,
        uint64 any,
        Revoke calldata r,
        bytes calldata signature
    ) public {
        _assumeUnborn(sender, r.tenantId, any);
        _revokeSigned(sender, r, signature);
        _assertUnborn(r.tenantId, any);
    }

    function _assumeUnborn(address sender, bytes32 id, uint64 any) private view {
        Stored memory nothing;
        vm.assume(sender != address(0));
        vm.assume(_authority(id) == address(0));
        vm.assume(_difference(nothing, _stored(id, any)) == 0);
    }

    function _assertUnborn(bytes32 id, uint64 any) private view {
        Stored memory nothing;
        assert(_difference(nothing, _stored(id, any)) == 0);
    }
}
