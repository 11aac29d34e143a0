// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistrySymbolic} from "./MCPAgentRegistrySymbolic.sol";

/// @notice The calls of an MCPAgentRegistry. Each returns whether it went through.
abstract contract MCPAgentRegistryCalls is MCPAgentRegistrySymbolic {
    function _grant(address sender, Triple calldata t, Terms calldata terms)
        internal
        returns (bool)
    {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.grant,
                (t.tenantId, t.agent, t.capability, terms.window, terms.limits)
            )
        );
    }

    function _grantSigned(
        address sender,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.grantSigned,
                (t.tenantId, t.agent, t.capability, terms.window, terms.limits, deadline, signature)
            )
        );
    }

    function _extend(address sender, Triple calldata t, uint48 notAfter) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(IMCPAgentRegistry.extend, (t.tenantId, t.agent, t.capability, notAfter))
        );
    }

    function _extendSigned(
        address sender,
        Triple calldata t,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.extendSigned,
                (t.tenantId, t.agent, t.capability, notAfter, deadline, signature)
            )
        );
    }

    function _revoke(address sender, Triple calldata t) internal returns (bool) {
        return _call(
            sender, abi.encodeCall(IMCPAgentRegistry.revoke, (t.tenantId, t.agent, t.capability))
        );
    }

    function _revokeSigned(
        address sender,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.revokeSigned,
                (t.tenantId, t.agent, t.capability, deadline, signature)
            )
        );
    }

    function _revokeAgent(address sender, Triple calldata t) internal returns (bool) {
        return _call(sender, abi.encodeCall(IMCPAgentRegistry.revokeAgent, (t.tenantId, t.agent)));
    }

    function _revokeAgentSigned(
        address sender,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.revokeAgentSigned, (t.tenantId, t.agent, deadline, signature)
            )
        );
    }

    function _forfeit(Triple calldata t) internal returns (bool) {
        return _call(t.agent, abi.encodeCall(IMCPAgentRegistry.forfeit, (t.tenantId, t.capability)));
    }

    function _forfeitSigned(
        address sender,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.forfeitSigned,
                (t.tenantId, t.agent, t.capability, deadline, signature)
            )
        );
    }

    function _describe(address agent, Words calldata w) internal returns (bool) {
        return _call(
            agent,
            abi.encodeCall(
                IMCPAgentRegistry.describe,
                (w.endpoint, w.metadataHash, w.erc8004Registry, w.erc8004Id)
            )
        );
    }

    function _describeSigned(
        address sender,
        address agent,
        Words calldata w,
        uint64 deadline,
        bytes calldata signature
    ) internal returns (bool) {
        return _call(
            sender,
            abi.encodeCall(
                IMCPAgentRegistry.describeSigned,
                (
                    agent,
                    w.endpoint,
                    w.metadataHash,
                    w.erc8004Registry,
                    w.erc8004Id,
                    deadline,
                    signature
                )
            )
        );
    }

    /// @dev Nobody can send from the zero address.
    function _call(address sender, bytes memory data) private returns (bool) {
        vm.assume(sender != address(0));
        return _callAs(sender, address(registry), data);
    }
}
