// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../interfaces/ISmartAccount.sol";

/// @title AccountRegistries
/// @notice What a `SmartAccount` asks the registries about an agent's authorisation.
library AccountRegistries {
    /// @notice What an agent claims, and what the registries make of it.
    /// @param agent The agent.
    /// @param nonce Its EntryPoint nonce.
    /// @param callsHash Hash of the calls it wants to make.
    /// @param outcome What the verdict must say.
    /// @param capability The scope it claims. From here on, filled in by `ask`.
    /// @param policyVersion The policy that the verdict was reached under.
    /// @param maxFee The most that the verdict lets the operation cost in fees, in wei.
    /// @param validAfter Good after this timestamp, as far as the registries are concerned.
    /// @param validUntil Good up to and at this timestamp.
    /// @param policyRecordedAt When the policy was recorded.
    /// @param scopeRecordedAt When the scope was recorded.
    /// @param nativeMax Most that one call may send, in wei.
    /// @param target The one contract that the grant names, or zero.
    /// @param selector Its one function that the grant names, or zero.
    /// @param tokenMax If `target` is a token: most for each call, in its smallest unit.
    struct Claim {
        address agent;
        uint256 nonce;
        bytes32 callsHash;
        IPolicyRegistry.Outcome outcome;
        bytes32 capability;
        uint256 policyVersion;
        uint256 maxFee;
        uint256 validAfter;
        uint256 validUntil;
        uint256 policyRecordedAt;
        uint256 scopeRecordedAt;
        uint256 nativeMax;
        address target;
        bytes4 selector;
        uint256 tokenMax;
    }

    /// @dev The packed authorisation without the verdict's signature.
    uint256 private constant HEAD = 0x44;

    /// @notice Has the registries check what `authorisation` says, and completes `claim`.
    /// @dev Reverts with the registries' own errors, and with `SmartAccount_BadAuthorisation`.
    function ask(
        Claim memory claim,
        address policyRegistry,
        address agentRegistry,
        bytes calldata authorisation
    ) internal view {
        if (authorisation.length < HEAD) {
            revert ISmartAccount.SmartAccount_BadAuthorisation();
        }
        uint256 verdictWindow = uint32(IPolicyRegistry.verdictWindow.selector);
        uint256 scopeOf = uint32(IMCPAgentRegistry.scopeOf.selector);
        assembly ("memory-safe") {
            // Assembly: what the compiler makes of these two calls costs 2,600 gas more.
            function demand(success, size) {
                if iszero(and(success, gt(returndatasize(), sub(size, 1)))) {
                    let m := mload(0x40)
                    returndatacopy(m, 0, returndatasize())
                    revert(m, returndatasize())
                }
            }
            let m := mload(0x40)
            let packed := calldataload(add(authorisation.offset, 0x20))
            let times := calldataload(add(authorisation.offset, 0x24))
            let capability := calldataload(authorisation.offset)
            let version := shr(192, packed)
            let maxFee := and(shr(64, packed), 0xffffffffffffffffffffffffffffffff)
            mstore(add(claim, 0x80), capability)
            mstore(add(claim, 0xa0), version)
            mstore(add(claim, 0xc0), maxFee)

            // verdictWindow((tenantId, policyVersion, agent, capability, callsHash, outcome, maxFee,
            // validAfter, validUntil, nonce), signature)
            let size := sub(authorisation.length, HEAD)
            mstore(m, verdictWindow)
            mstore(add(m, 0x20), address())
            mstore(add(m, 0x40), version)
            mstore(add(m, 0x60), mload(claim))
            mstore(add(m, 0x80), capability)
            mstore(add(m, 0xa0), mload(add(claim, 0x40)))
            mstore(add(m, 0xc0), mload(add(claim, 0x60)))
            mstore(add(m, 0xe0), maxFee)
            mstore(add(m, 0x100), and(shr(48, times), 0xffffffffffff))
            mstore(add(m, 0x120), and(times, 0xffffffffffff))
            mstore(add(m, 0x140), mload(add(claim, 0x20)))
            mstore(add(m, 0x160), 0x160)
            mstore(add(m, 0x180), size)
            calldatacopy(add(m, 0x1a0), add(authorisation.offset, HEAD), size)
            // The signature is padded with zeros to whole words.
            mstore(add(m, add(0x1a0, size)), 0)
            let length := add(0x184, and(add(size, 0x1f), not(0x1f)))
            demand(staticcall(gas(), policyRegistry, add(m, 0x1c), length, m, 0x80), 0x80)
            let validAfter := mload(m)
            let validUntil := mload(add(m, 0x20))
            mstore(add(claim, 0x120), mload(add(m, 0x40)))

            // scopeOf(tenantId, agent, capability)
            mstore(m, scopeOf)
            mstore(add(m, 0x20), address())
            mstore(add(m, 0x40), mload(claim))
            mstore(add(m, 0x60), capability)
            demand(staticcall(gas(), agentRegistry, add(m, 0x1c), 0x64, m, 0xe0), 0xe0)
            let other := mload(m)
            if gt(other, validAfter) { validAfter := other }
            other := mload(add(m, 0x20))
            if lt(other, validUntil) { validUntil := other }
            mstore(add(claim, 0xe0), validAfter)
            mstore(add(claim, 0x100), validUntil)
            // recordedAt, nativeMax, target, selector, tokenMax
            mcopy(add(claim, 0x140), add(m, 0x40), 0xa0)
        }
    }
}
