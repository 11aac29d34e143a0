// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistrySymbolic} from "./PolicyRegistrySymbolic.sol";

/// @notice I4: what is signed differs whenever chain, contract, tenant, version or anything else in it
/// does. That nothing else is accepted is the matter of the checks of `publish`, `revokeSigned` and of
/// the verdicts.
contract PolicyRegistryDigest is PolicyRegistrySymbolic {
    struct Where {
        uint256 chainId;
        address verifyingContract;
    }

    function check_Digest_publish(
        Where calldata atA,
        Publish calldata a,
        Where calldata atB,
        Publish calldata b
    ) public pure {
        vm.assume(keccak256(abi.encode(atA, a)) != keccak256(abi.encode(atB, b)));
        assert(_digest(atA, a) != _digest(atB, b));
    }

    function check_Digest_revoke(
        Where calldata atA,
        Revoke calldata a,
        Where calldata atB,
        Revoke calldata b
    ) public pure {
        vm.assume(keccak256(abi.encode(atA, a)) != keccak256(abi.encode(atB, b)));
        assert(_digest(atA, a) != _digest(atB, b));
    }

    function check_Digest_verdict(
        Where calldata atA,
        IPolicyRegistry.PolicyVerdict calldata a,
        Where calldata atB,
        IPolicyRegistry.PolicyVerdict calldata b
    ) public pure {
        vm.assume(keccak256(abi.encode(atA, a)) != keccak256(abi.encode(atB, b)));
        assert(_digest(atA, a) != _digest(atB, b));
    }

    /// @dev Also the kinds differ, so that none can be passed off as another.
    function check_Digest_kinds(
        Where calldata atA,
        Publish calldata a,
        Where calldata atB,
        Revoke calldata b,
        Where calldata atC,
        IPolicyRegistry.PolicyVerdict calldata c
    ) public pure {
        assert(_digest(atA, a) != _digest(atB, b));
        assert(_digest(atB, b) != _digest(atC, c));
        assert(_digest(atC, c) != _digest(atA, a));
    }

    function _digest(Where calldata w, Publish calldata p) private pure returns (bytes32) {
        return _publishDigest(_domain(w.chainId, w.verifyingContract), p);
    }

    function _digest(Where calldata w, Revoke calldata r) private pure returns (bytes32) {
        return _revokeDigest(_domain(w.chainId, w.verifyingContract), r);
    }

    function _digest(Where calldata w, IPolicyRegistry.PolicyVerdict calldata v)
        private
        pure
        returns (bytes32)
    {
        return _verdictDigest(_domain(w.chainId, w.verifyingContract), v);
    }
}
