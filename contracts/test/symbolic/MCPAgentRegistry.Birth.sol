// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MCPAgentRegistryCalls} from "./MCPAgentRegistryCalls.sol";

/// @notice Nobody brings to life an id that spells no authority: where nothing is stored for it, no call
/// that names it stores anything. Calls that name other ids are the matter of I1. `any` is any triple of
/// the id that the call names.
contract MCPAgentRegistryBirth is MCPAgentRegistryCalls {
    function check_Birth_grant(
        address sender,
        Triple calldata any,
        Triple calldata t,
        Terms calldata terms
    ) public {
        _assumeUnborn(any, t);
        _grant(sender, t, terms);
        _assertUnborn(any);
    }

    function check_Birth_grantSigned(
        address sender,
        Triple calldata any,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(any, t);
        _grantSigned(sender, t, terms, deadline, signature);
        _assertUnborn(any);
    }

    function check_Birth_extend(
        address sender,
        Triple calldata any,
        Triple calldata t,
        uint48 notAfter
    ) public {
        _assumeUnborn(any, t);
        _extend(sender, t, notAfter);
        _assertUnborn(any);
    }

    function check_Birth_extendSigned(
        address sender,
        Triple calldata any,
        Triple calldata t,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(any, t);
        _extendSigned(sender, t, notAfter, deadline, signature);
        _assertUnborn(any);
    }

    function check_Birth_revoke(address sender, Triple calldata any, Triple calldata t) public {
        _assumeUnborn(any, t);
        _revoke(sender, t);
        _assertUnborn(any);
    }

    function check_Birth_revokeSigned(
        address sender,
        Triple calldata any,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(any, t);
        _revokeSigned(sender, t, deadline, signature);
        _assertUnborn(any);
    }

    function check_Birth_revokeAgent(address sender, Triple calldata any, Triple calldata t)
        public
    {
        _assumeUnborn(any, t);
        _revokeAgent(sender, t);
        _assertUnborn(any);
    }

    function check_Birth_revokeAgentSigned(
        address sender,
        Triple calldata any,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(any, t);
        _revokeAgentSigned(sender, t, deadline, signature);
        _assertUnborn(any);
    }

    function check_Birth_forfeit(Triple calldata any, Triple calldata t) public {
        _assumeUnborn(any, t);
        _forfeit(t);
        _assertUnborn(any);
    }

    function check_Birth_forfeitSigned(
        address sender,
        Triple calldata any,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(any, t);
        _forfeitSigned(sender, t, deadline, signature);
        _assertUnborn(any);
    }

    /// @dev It names no tenant.
    function check_Birth_describe(Triple calldata any, address agent, Words calldata words) public {
        _assumeUnborn(any, any);
        _describe(agent, words);
        _assertUnborn(any);
    }

    /// @dev It names no tenant.
    /// @custom:halmos --array-lengths words.endpoint={0,65}
    function check_Birth_describeSigned(
        address sender,
        Triple calldata any,
        address agent,
        Words calldata words,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _assumeUnborn(any, any);
        _describeSigned(sender, agent, words, deadline, signature);
        _assertUnborn(any);
    }

    function _assumeUnborn(Triple calldata any, Triple calldata t) private view {
        Stored memory nothing;
        vm.assume(any.tenantId == t.tenantId);
        vm.assume(_authority(t.tenantId) == address(0));
        vm.assume(_difference(nothing, _stored(any)) | _difference(nothing, _stored(t)) == 0);
    }

    function _assertUnborn(Triple calldata any) private view {
        Stored memory nothing;
        assert(_difference(nothing, _stored(any)) == 0);
    }
}
