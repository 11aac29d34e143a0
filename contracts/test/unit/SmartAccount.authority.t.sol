// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {NestedSignatures} from "../utils/NestedSignatures.sol";

/// @notice The account as a tenant's authority: what two of its principals sign, nested as ERC-7739
/// says, anybody relays to the registries and to AuditAnchor. There it is recorded at once; with the
/// account it counts after the delay.
contract SmartAccountAuthorityTest is NestedSignatures {
    string private constant PUBLISH =
        "PublishPolicy(bytes32 tenantId,uint64 version,bytes32 policyHash,address verdictSigner,uint48 notBefore,uint48 notAfter,uint64 deadline)";
    string private constant REVOKE_POLICY =
        "RevokePolicy(bytes32 tenantId,uint64 version,uint64 deadline)";
    string private constant GRANT =
        "Grant(bytes32 tenantId,address agent,bytes32 capability,uint48 notBefore,uint48 notAfter,uint80 nativeMax,address target,bytes4 selector,uint96 tokenMax,uint64 nonce,uint64 deadline)";
    string private constant EXTEND =
        "Extend(bytes32 tenantId,address agent,bytes32 capability,uint48 notAfter,uint64 nonce,uint64 deadline)";
    string private constant REVOKE =
        "Revoke(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)";
    string private constant REVOKE_AGENT =
        "RevokeAgent(bytes32 tenantId,address agent,uint64 nonce,uint64 deadline)";
    string private constant SET_ANCHORER =
        "SetAnchorer(bytes32 tenantId,address anchorer,uint64 nonce,uint64 deadline)";

    uint48 private constant END = START + 3650 days;

    /// @dev One key and the same key twice are refused, and so are two that sign what is not nested;
    /// two different ones are good, whoever relays them, and only once.
    function _relays(
        address target,
        string memory name,
        string memory contentsType,
        bytes memory fields,
        bytes memory data
    ) private {
        bytes32 app = _domain(name, target);
        bytes32 contents =
            keccak256(bytes.concat(abi.encode(keccak256(bytes(contentsType))), fields));
        bytes32 nested = _nested(address(account), app, contents, contentsType);
        bytes32 bare = _typed(app, contents);
        bytes[4] memory bad = [
            _wrap(_sign(OWNER_KEY, nested), app, contents, contentsType),
            _signNested(OWNER_KEY, OWNER_KEY, app, contents, contentsType),
            _signNested(OWNER_KEY, GUARDIAN_KEY, app, contents, contentsType),
            abi.encodePacked(_sign(OWNER_KEY, bare), _sign(APPROVER_KEY, bare))
        ];
        vm.startPrank(stranger);
        for (uint256 i = 0; i < bad.length; ++i) {
            (bool taken,) = target.call(_with(data, bad[i]));
            assertFalse(taken, "too few signed");
        }
        bytes memory good =
            _with(data, _signNested(AUTHORISER_KEY, EXECUTOR_KEY, app, contents, contentsType));
        (bool ok,) = target.call(good);
        assertTrue(ok, "two signed");
        (ok,) = target.call(good);
        assertFalse(ok, "replayed");
        vm.stopPrank();
    }

    /// @dev `data` was encoded with an empty signature as its last argument: one word, its length.
    function _with(bytes memory data, bytes memory signature) private pure returns (bytes memory) {
        uint256 length = data.length - 0x20;
        bytes memory head = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            head[i] = data[i];
        }
        bytes memory padding = new bytes((32 - signature.length % 32) % 32);
        return bytes.concat(head, abi.encode(signature.length), signature, padding);
    }

    function _atPolicies(string memory contentsType, bytes memory fields, bytes memory data)
        private
    {
        _relays(address(policies), "Cofferdam PolicyRegistry", contentsType, fields, data);
    }

    function _atAgents(string memory contentsType, bytes memory fields, bytes memory data) private {
        _relays(address(agents), "Cofferdam MCPAgentRegistry", contentsType, fields, data);
    }

    function _grantSigned(address to, bytes32 capability) private {
        IMCPAgentRegistry.Window memory window = IMCPAgentRegistry.Window(START - 1, END);
        IMCPAgentRegistry.Limits memory limits =
            IMCPAgentRegistry.Limits(PER_CALL_GRANT, address(0), 0, 0);
        _atAgents(
            GRANT,
            abi.encode(tenantId, to, capability, window, limits, agents.nonceOf(tenantId), START),
            abi.encodeCall(
                agents.grantSigned, (tenantId, to, capability, window, limits, START, "")
            )
        );
    }

    function _refuseUntilDelay(Terms memory terms) private {
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_NeverGood.selector, START + DELAY, terms.validUntil
            )
        );
    }

    // ------------------------------------------------------------ PolicyRegistry

    function test_TwoPublishAPolicy() public {
        IPolicyRegistry.Policy memory policy = _policy();
        _atPolicies(
            PUBLISH,
            abi.encode(tenantId, uint64(2), policy, uint64(START)),
            abi.encodeCall(policies.publish, (tenantId, 2, policy, START, ""))
        );
        assertEq(policies.versionOf(tenantId), 2);
        Terms memory terms = _terms();
        terms.policyVersion = 2;
        _refuseUntilDelay(terms);
    }

    function test_TwoRevokeAPolicy() public {
        _atPolicies(
            REVOKE_POLICY,
            abi.encode(tenantId, uint64(2), uint64(START)),
            abi.encodeCall(policies.revokeSigned, (tenantId, 2, START, ""))
        );
        (uint64 version,) = policies.activePolicy(tenantId);
        assertEq(version, 0);
    }

    // ---------------------------------------------------------- MCPAgentRegistry

    function test_TwoGrant() public {
        _grantSigned(agent, "new");
        assertTrue(agents.isScoped(tenantId, agent, "new"));
        _refuseUntilDelay(_terms("new"));
    }

    /// @dev What two of any role sign does not count as what owner and gate change together.
    function test_TwoExtend() public {
        vm.warp(START + 1);
        _atAgents(
            EXTEND,
            abi.encode(tenantId, agent, PAY, END + 1, agents.nonceOf(tenantId), uint64(START + 1)),
            abi.encodeCall(agents.extendSigned, (tenantId, agent, PAY, END + 1, START + 1, ""))
        );
        assertEq(agents.scopeOf(tenantId, agent, PAY).validUntil, END + 1);
        Terms memory terms = _terms();
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_NeverGood.selector, START + 1 + DELAY, terms.validUntil
            )
        );
    }

    function test_TwoRevoke() public {
        _atAgents(
            REVOKE,
            abi.encode(tenantId, agent, PAY, agents.nonceOf(tenantId), uint64(START)),
            abi.encodeCall(agents.revokeSigned, (tenantId, agent, PAY, START, ""))
        );
        assertFalse(agents.isScoped(tenantId, agent, PAY));
    }

    function test_TwoRevokeAnAgent() public {
        _atAgents(
            REVOKE_AGENT,
            abi.encode(tenantId, agent, agents.nonceOf(tenantId), uint64(START)),
            abi.encodeCall(agents.revokeAgentSigned, (tenantId, agent, START, ""))
        );
        assertFalse(agents.isScoped(tenantId, agent, PAY));
    }

    // ---------------------------------------------------------------- AuditAnchor

    function test_TwoSetTheAnchorer() public {
        _relays(
            address(auditAnchor),
            "Cofferdam AuditAnchor",
            SET_ANCHORER,
            abi.encode(tenantId, stranger, auditAnchor.nonceOf(tenantId), uint64(START)),
            abi.encodeCall(auditAnchor.setAnchorerSigned, (tenantId, stranger, START, ""))
        );
    }

    // ------------------------------------------------------ keys stay different

    /// @dev Straight at the registry two can make the verdict signer an agent. It says ALLOW to others,
    /// and never to itself.
    function test_TheVerdictSignerAllowsItselfNothing() public {
        _grantSigned(signer, PAY);
        vm.warp(START + DELAY + 1);
        Terms memory terms = _terms();
        uint256 nonce = _nonceOf(signer, 0);
        bytes memory opData = _opData(terms, signer, nonce, _send(1));
        _expectFail(
            signer,
            abi.encodeWithSignature(
                "execute(bytes32,bytes)", MODE_OP_DATA, abi.encode(_send(1), opData)
            ),
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
                tenantId,
                _verdictDigest(terms, signer, nonce, _hashCalls(_send(1)))
            )
        );
    }
}
