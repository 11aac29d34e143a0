// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MCPAgentRegistryCalls} from "./MCPAgentRegistryCalls.sol";

/// @notice I5: what was taken back or given up is revived by no signature that was made before and not
/// posted: that is one for a nonce up to the one that was spent.
contract MCPAgentRegistryRevival is MCPAgentRegistryCalls {
    function check_Revival_revoke(
        address sender,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        uint64 next = _nonceAfter(t);
        vm.assume(_revoke(_authority(t.tenantId), t));
        _assertDead(sender, t, terms, deadline, signature, next);
    }

    /// @dev The grant is of no epoch that is yet to come: see I5.
    function check_Revival_revokeAgent(
        address sender,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _stored(t);
        bytes32 epoch = (before.word << 88) >> 224;
        vm.assume(epoch <= (before.epoch << 224) >> 224);
        uint64 next = _nonceAfter(t);
        vm.assume(_revokeAgent(_authority(t.tenantId), t));
        _assertDead(sender, t, terms, deadline, signature, next);
    }

    function check_Revival_forfeit(
        address sender,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        uint64 next = _nonceAfter(t);
        vm.assume(_forfeit(t));
        _assertDead(sender, t, terms, deadline, signature, next);
    }

    function _nonceAfter(Triple calldata t) private view returns (uint64) {
        return _nonce(_stored(t)) + 1;
    }

    /// @dev `signature` is for no nonce from `next` on. Only `grant` makes a dead grant live: I5.
    function _assertDead(
        address sender,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature,
        uint64 next
    ) private {
        bytes32 digest = _grantDigest(_domain(), t, terms, next, deadline);
        vm.assume(_recover(digest, signature) != _authority(t.tenantId));
        assert(!_isLive(_stored(t)));
        _grantSigned(sender, t, terms, deadline, signature);
        assert(!_isLive(_stored(t)));
    }
}
