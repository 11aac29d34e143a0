// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {HavocWallet} from "./HavocWallet.sol";
import {MCPAgentRegistryCalls} from "./MCPAgentRegistryCalls.sol";

/// @notice I1: a call by anyone who is neither a tenant's authority nor one of its agents, and brings no
/// signature of theirs, changes nothing that is stored for that tenant; and what an agent says about
/// itself changes only by that agent or its signature. `b` is any triple of the tenant and the agent
/// that are looked at, `t` the one that the call names.
/// @dev Who signs may be the wallet: another tenant's authority or another agent, that is, since what
/// their own code answers is their consent.
/// @custom:halmos --default-bytes-lengths 0,65,128
contract MCPAgentRegistryI1 is MCPAgentRegistryCalls {
    address private wallet;

    function setUp() public override {
        super.setUp();
        bytes32 tenant = bytes32(SVM.createUint256("re-entered tenant"));
        // forge-lint: disable-next-line(unsafe-typecast) any address
        address agent = address(uint160(SVM.createUint256("re-entered agent")));
        bytes memory reentry = abi.encodeCall(IMCPAgentRegistry.revokeAgent, (tenant, agent));
        wallet = address(new HavocWallet(SVM, address(registry), reentry));
    }

    function check_I1_grant(
        address sender,
        Triple calldata b,
        Triple calldata t,
        Terms calldata terms
    ) public {
        Stored memory before = _assumeStranger(sender, b);
        _grant(sender, t, terms);
        _assertSame(before, _stored(b));
    }

    function check_I1_grantSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        Terms calldata terms,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _assumeStranger(sender, b);
        bytes32 digest = _grantDigest(_domain(), t, terms, _nonce(_stored(t)), deadline);
        _assumeUnsigned(b, t, digest, signature);
        _grantSigned(sender, t, terms, deadline, signature);
        _assertSame(before, _stored(b));
    }

    function check_I1_extend(address sender, Triple calldata b, Triple calldata t, uint48 notAfter)
        public
    {
        Stored memory before = _assumeStranger(sender, b);
        _extend(sender, t, notAfter);
        _assertSame(before, _stored(b));
    }

    function check_I1_extendSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _assumeStranger(sender, b);
        bytes32 digest = _extendDigest(_domain(), t, notAfter, _nonce(_stored(t)), deadline);
        _assumeUnsigned(b, t, digest, signature);
        _extendSigned(sender, t, notAfter, deadline, signature);
        _assertSame(before, _stored(b));
    }

    function check_I1_revoke(address sender, Triple calldata b, Triple calldata t) public {
        Stored memory before = _assumeStranger(sender, b);
        _revoke(sender, t);
        _assertSame(before, _stored(b));
    }

    function check_I1_revokeSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _assumeStranger(sender, b);
        bytes32 digest = _revokeDigest(_domain(), t, _nonce(_stored(t)), deadline);
        _assumeUnsigned(b, t, digest, signature);
        _revokeSigned(sender, t, deadline, signature);
        _assertSame(before, _stored(b));
    }

    function check_I1_revokeAgent(address sender, Triple calldata b, Triple calldata t) public {
        Stored memory before = _assumeStranger(sender, b);
        _revokeAgent(sender, t);
        _assertSame(before, _stored(b));
    }

    function check_I1_revokeAgentSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _assumeStranger(sender, b);
        bytes32 digest = _revokeAgentDigest(_domain(), t, _nonce(_stored(t)), deadline);
        _assumeUnsigned(b, t, digest, signature);
        _revokeAgentSigned(sender, t, deadline, signature);
        _assertSame(before, _stored(b));
    }

    /// @dev Who has no live grant of the tenant is not its agent. (What one who has can do: I5.)
    function check_I1_forfeit(Triple calldata b, Triple calldata t) public {
        Stored memory before = _stored(b);
        vm.assume(_or(t.tenantId != b.tenantId, !_isLive(_stored(t))));
        _forfeit(t);
        Stored memory later = _stored(b);
        assert(_difference(before, later) == 0);
        assert(_or(t.agent == b.agent, _difference(before.self, later.self) == 0));
    }

    function check_I1_forfeitSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _stored(b);
        bytes32 digest = _forfeitDigest(_domain(), t, _nonce(_stored(t).self), deadline);
        bool signed = _or(_recover(digest, signature) == t.agent, t.agent == wallet);
        vm.assume(_or(t.tenantId != b.tenantId, !_and(signed, _isLive(_stored(t)))));
        _forfeitSigned(sender, t, deadline, signature);
        Stored memory later = _stored(b);
        assert(_difference(before, later) == 0);
        signed = _and(signed, t.agent == b.agent);
        assert(_or(signed, _difference(before.self, later.self) == 0));
    }

    /// @dev No tenant has a say in this, and none is touched, whoever calls.
    /// @custom:halmos --default-bytes-lengths 0,65,128
    function check_I1_describe(Triple calldata b, address agent, Words calldata words) public {
        Stored memory before = _stored(b);
        _describe(agent, words);
        Stored memory later = _stored(b);
        assert(_difference(before, later) == 0);
        assert(_or(agent == b.agent, _difference(before.self, later.self) == 0));
    }

    /// @custom:halmos --array-lengths words.endpoint={0,65}
    function check_I1_describeSigned(
        address sender,
        Triple calldata b,
        Triple calldata t,
        Words calldata words,
        uint64 deadline,
        bytes calldata signature
    ) public {
        Stored memory before = _stored(b);
        uint64 nonce = _nonce(_stored(t).self);
        bytes32 digest = _describeDigest(_domain(), t.agent, words, nonce, deadline);
        bool signed = _or(_recover(digest, signature) == t.agent, t.agent == wallet);
        _describeSigned(sender, t.agent, words, deadline, signature);
        Stored memory later = _stored(b);
        assert(_difference(before, later) == 0);
        signed = _and(signed, t.agent == b.agent);
        assert(_or(signed, _difference(before.self, later.self) == 0));
    }

    /// @dev An id that spells no authority has none.
    function _assumeStranger(address sender, Triple calldata b)
        private
        view
        returns (Stored memory)
    {
        vm.assume(sender != _authority(b.tenantId));
        vm.assume(_authority(b.tenantId) != wallet);
        return _stored(b);
    }

    function _assumeUnsigned(
        Triple calldata b,
        Triple calldata t,
        bytes32 digest,
        bytes calldata signature
    ) private pure {
        address authority = _authority(b.tenantId);
        vm.assume(_or(t.tenantId != b.tenantId, _recover(digest, signature) != authority));
    }

    function _assertSame(Stored memory a, Stored memory b) private pure {
        assert(_difference(a, b) | _difference(a.self, b.self) == 0);
    }
}
