// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistrySymbolic} from "./PolicyRegistrySymbolic.sol";

/// @notice A verdict is accepted exactly when the active policy's verdict signer signed it for that very
/// version, tenant, chain and contract, and it has time in common with the policy.
contract PolicyRegistryVerdict is PolicyRegistrySymbolic {
    /// @dev On any chain, at the address where it was deployed (whose domain is cached).
    function check_Verdict_verdictWindow(
        uint256 chainId,
        IPolicyRegistry.PolicyVerdict calldata v,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        _assertVerdictWindow(v, signature);
    }

    /// @dev The same code elsewhere: its domain must be the one of its own address.
    function check_Verdict_verdictWindow_elsewhere(
        IPolicyRegistry.PolicyVerdict calldata v,
        bytes calldata signature
    ) public {
        registry = IPolicyRegistry(_elsewhere(address(registry)));
        _assertVerdictWindow(v, signature);
    }

    /// @dev The same, and by the clock.
    function check_Verdict_checkVerdict(
        uint256 chainId,
        IPolicyRegistry.PolicyVerdict calldata v,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        (bool good, uint256 validAfter, uint256 validUntil) = _expected(v, signature);
        good = _and(good, _and(block.timestamp > validAfter, block.timestamp <= validUntil));
        try registry.checkVerdict(v, signature) returns (IPolicyRegistry.Outcome outcome) {
            assert(_and(good, outcome == v.outcome));
        } catch {
            assert(!good);
        }
    }

    function _assertVerdictWindow(
        IPolicyRegistry.PolicyVerdict calldata v,
        bytes calldata signature
    ) private view {
        (bool good, uint256 validAfter, uint256 validUntil) = _expected(v, signature);
        bytes32 head = _head(v.tenantId);
        try registry.verdictWindow(v, signature) returns (
            IPolicyRegistry.VerdictWindow memory window
        ) {
            assert(good);
            assert(_and(window.validAfter == validAfter, window.validUntil == validUntil));
            // forge-lint: disable-next-line(unsafe-typecast) the head's upper field
            assert(window.recordedAt == uint48(uint256(head) >> 64));
            assert(window.policyVersion == _last(head));
        } catch {
            assert(!good);
        }
    }

    /// @dev The window is the intersection of the policy's and the verdict's.
    function _expected(IPolicyRegistry.PolicyVerdict calldata v, bytes calldata signature)
        private
        view
        returns (bool good, uint256 validAfter, uint256 validUntil)
    {
        uint64 last = _last(_head(v.tenantId));
        Version memory active = _version(v.tenantId, last);
        // forge-lint: disable-next-line(unsafe-typecast) the word's middle field
        validAfter = uint48(uint256(active.signer) >> 160);
        unchecked {
            validAfter = _select(validAfter == 0, 0, validAfter - 1);
        }
        validAfter = _select(v.validAfter > validAfter, v.validAfter, validAfter);
        validUntil = uint256(active.signer) >> 208;
        validUntil = _select(v.validUntil < validUntil, v.validUntil, validUntil);
        address signer = _recover(_verdictDigest(_domain(), v), signature);
        good = _and(_signer(active) != address(0), signer == _signer(active));
        good = _and(good, v.agent != signer);
        good = _and(good, _and(v.policyVersion == last, validAfter < validUntil));
    }
}
