// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "solady/utils/EIP712.sol";

import {IMCPAgentRegistry} from "./interfaces/IMCPAgentRegistry.sol";
import {Credentials} from "./libraries/Credentials.sol";
import {GrantKind, GrantWord, GrantWordLib} from "./libraries/GrantWord.sol";
import {TenantIds} from "./libraries/TenantIds.sol";
import {Windows} from "./libraries/Windows.sol";

/// @title MCPAgentRegistry
/// @notice See `IMCPAgentRegistry`. No owner, no constructor arguments, nothing upgradeable.
///
/// @dev Storage is part of the interface, since ERC-4337 validation code reads it. `tenantId` is the
/// innermost key of everything that is a tenant's, so every such slot is `keccak256(tenantId ‖ x) + n`
/// with n below 2, which ERC-7562 counts as storage associated with the tenant's authority. What an
/// agent says about itself is keyed by the agent and by nothing else. With `a = keccak256(agent ‖ 0)`:
///
/// | variable | where a value is |
/// |---|---|
/// | `_agents[agent].grants` | `keccak256(tenantId ‖ keccak256(capability ‖ a))`: a `Grant`, two words |
/// | `_agents[agent].epochs` | `keccak256(tenantId ‖ a + 1)`: low 32 bits |
/// | `_agents[agent]`, the rest | `a + 2` to `a + 5`: what the agent says about itself |
/// | `_nonces` | `keccak256(tenantId ‖ 1)`: low 64 bits |
///
/// A grant is a `GrantWord` and, where its kind has a target, a second word: `bound` (96) above
/// `target` (160). A second word without such a first one is dead; it keeps its last value, because
/// clearing it would cost gas and buy nothing.
///
/// A grant is live only in the epoch it was made in: `revokeAgent` moves the agent's epoch on at that
/// tenant, and all its grants are dead by that one write.
contract MCPAgentRegistry is IMCPAgentRegistry, EIP712 {
    using TenantIds for bytes32;

    // -------------------------------------------------------------- storage

    /// @dev `bound` is the limit of a token grant and the selector of a call grant.
    struct Grant {
        GrantWord word;
        address target;
        uint96 bound;
    }

    /// @dev Both mappings in one struct: a slot of each is found with four hashes instead of five.
    struct Agent {
        mapping(bytes32 capability => mapping(bytes32 tenantId => Grant data)) grants;
        mapping(bytes32 tenantId => uint32 epoch) epochs;
        uint64 nonce;
        address erc8004Registry;
        uint256 erc8004Id;
        bytes32 endpointHash;
        bytes32 metadataHash;
    }

    mapping(address agent => Agent data) private _agents;

    mapping(bytes32 tenantId => uint64 nonce) private _nonces;

    bytes32 private constant GRANT_TYPEHASH = keccak256(
        "Grant(bytes32 tenantId,address agent,bytes32 capability,uint48 notBefore,uint48 notAfter,uint80 nativeMax,address target,bytes4 selector,uint96 tokenMax,uint64 nonce,uint64 deadline)"
    );

    bytes32 private constant EXTEND_TYPEHASH = keccak256(
        "Extend(bytes32 tenantId,address agent,bytes32 capability,uint48 notAfter,uint64 nonce,uint64 deadline)"
    );

    bytes32 private constant REVOKE_TYPEHASH = keccak256(
        "Revoke(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)"
    );

    bytes32 private constant REVOKE_AGENT_TYPEHASH =
        keccak256("RevokeAgent(bytes32 tenantId,address agent,uint64 nonce,uint64 deadline)");

    bytes32 private constant FORFEIT_TYPEHASH = keccak256(
        "Forfeit(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)"
    );

    bytes32 private constant DESCRIBE_TYPEHASH = keccak256(
        "Describe(address agent,string endpoint,bytes32 metadataHash,address erc8004Registry,uint256 erc8004Id,uint64 nonce,uint64 deadline)"
    );

    // --------------------------------------------------- actions of a tenant

    /// @inheritdoc IMCPAgentRegistry
    function grant(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        Window calldata window,
        Limits calldata limits
    ) external {
        _checkSender(tenantId);
        _grant(tenantId, agent, capability, window, limits);
    }

    /// @inheritdoc IMCPAgentRegistry
    function grantSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        Window calldata window,
        Limits calldata limits,
        uint64 deadline,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(
                GRANT_TYPEHASH,
                tenantId,
                agent,
                capability,
                window,
                limits,
                _nonces[tenantId],
                deadline
            )
        );
        _checkSignature(tenantId, structHash, deadline, signature);
        _grant(tenantId, agent, capability, window, limits);
    }

    /// @inheritdoc IMCPAgentRegistry
    function extend(bytes32 tenantId, address agent, bytes32 capability, uint48 notAfter) external {
        _checkSender(tenantId);
        _extend(tenantId, agent, capability, notAfter);
    }

    /// @inheritdoc IMCPAgentRegistry
    function extendSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(
                EXTEND_TYPEHASH, tenantId, agent, capability, notAfter, _nonces[tenantId], deadline
            )
        );
        _checkSignature(tenantId, structHash, deadline, signature);
        _extend(tenantId, agent, capability, notAfter);
    }

    /// @inheritdoc IMCPAgentRegistry
    function revoke(bytes32 tenantId, address agent, bytes32 capability) external {
        _checkSender(tenantId);
        _revoke(tenantId, agent, capability);
    }

    /// @inheritdoc IMCPAgentRegistry
    function revokeSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        uint64 deadline,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(REVOKE_TYPEHASH, tenantId, agent, capability, _nonces[tenantId], deadline)
        );
        _checkSignature(tenantId, structHash, deadline, signature);
        _revoke(tenantId, agent, capability);
    }

    /// @inheritdoc IMCPAgentRegistry
    function revokeAgent(bytes32 tenantId, address agent) external {
        _checkSender(tenantId);
        _revokeAgent(tenantId, agent);
    }

    /// @inheritdoc IMCPAgentRegistry
    function revokeAgentSigned(
        bytes32 tenantId,
        address agent,
        uint64 deadline,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(REVOKE_AGENT_TYPEHASH, tenantId, agent, _nonces[tenantId], deadline)
        );
        _checkSignature(tenantId, structHash, deadline, signature);
        _revokeAgent(tenantId, agent);
    }

    // --------------------------------------------------- actions of an agent

    /// @inheritdoc IMCPAgentRegistry
    function forfeit(bytes32 tenantId, bytes32 capability) external {
        _forfeit(tenantId, msg.sender, capability);
    }

    /// @inheritdoc IMCPAgentRegistry
    function forfeitSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        uint64 deadline,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(
                FORFEIT_TYPEHASH, tenantId, agent, capability, _agents[agent].nonce, deadline
            )
        );
        _checkAgentSignature(agent, structHash, deadline, signature);
        _forfeit(tenantId, agent, capability);
    }

    /// @inheritdoc IMCPAgentRegistry
    function describe(
        string calldata endpoint,
        bytes32 metadataHash,
        address erc8004Registry,
        uint256 erc8004Id
    ) external {
        _describe(msg.sender, endpoint, metadataHash, erc8004Registry, erc8004Id);
    }

    /// @inheritdoc IMCPAgentRegistry
    function describeSigned(
        address agent,
        string calldata endpoint,
        bytes32 metadataHash,
        address erc8004Registry,
        uint256 erc8004Id,
        uint64 deadline,
        bytes calldata signature
    ) external {
        bytes32 structHash = keccak256(
            abi.encode(
                DESCRIBE_TYPEHASH,
                agent,
                keccak256(bytes(endpoint)),
                metadataHash,
                erc8004Registry,
                erc8004Id,
                _agents[agent].nonce,
                deadline
            )
        );
        _checkAgentSignature(agent, structHash, deadline, signature);
        _describe(agent, endpoint, metadataHash, erc8004Registry, erc8004Id);
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IMCPAgentRegistry
    function isScoped(bytes32 tenantId, address agent, bytes32 capability)
        external
        view
        returns (bool)
    {
        Agent storage of_ = _agents[agent];
        GrantWord word = of_.grants[capability][tenantId].word;
        return block.timestamp >= word.notBefore() && block.timestamp <= word.notAfter()
            && word.isLive(of_.epochs[tenantId]);
    }

    /// @inheritdoc IMCPAgentRegistry
    function scopeOf(bytes32 tenantId, address agent, bytes32 capability)
        external
        view
        returns (Scope memory scope)
    {
        (Grant storage stored, GrantWord word) = _liveGrant(tenantId, agent, capability);
        scope.validAfter = Windows.validAfter(word.notBefore());
        scope.validUntil = word.notAfter();
        scope.recordedAt = word.recordedAt();
        scope.nativeMax = word.nativeMax();
        GrantKind kind = word.kind();
        if (kind == GrantKind.Native) return scope;

        (address target, uint96 bound) = (stored.target, stored.bound);
        scope.target = target;
        if (kind == GrantKind.Token) scope.tokenMax = bound;
        // forge-lint: disable-next-line(unsafe-typecast) the bound of a call is a selector
        else scope.selector = bytes4(uint32(bound));
    }

    /// @inheritdoc IMCPAgentRegistry
    function nonceOf(bytes32 tenantId) external view returns (uint64) {
        return _nonces[tenantId];
    }

    /// @inheritdoc IMCPAgentRegistry
    function agentNonceOf(address agent) external view returns (uint64) {
        return _agents[agent].nonce;
    }

    /// @inheritdoc IMCPAgentRegistry
    function descriptionOf(address agent) external view returns (Description memory) {
        Agent storage data = _agents[agent];
        return Description({
            endpointHash: data.endpointHash,
            metadataHash: data.metadataHash,
            erc8004Registry: data.erc8004Registry,
            erc8004Id: data.erc8004Id
        });
    }

    // ------------------------------------------------------------ internals

    /// @dev The authority that `tenantId` spells, never zero.
    function _authorityOf(bytes32 tenantId) private pure returns (address authority) {
        authority = tenantId.authorityOf();
        if (authority == address(0)) revert MCPAgentRegistry_InvalidTenantId(tenantId);
    }

    function _checkSender(bytes32 tenantId) private view {
        if (_authorityOf(tenantId) != msg.sender) {
            revert MCPAgentRegistry_NotAuthority(tenantId, msg.sender);
        }
    }

    /// @dev `structHash` was made with the tenant's present nonce. The change that follows consumes it:
    /// the authority's code runs in a static call, so the nonce is still the same then.
    function _checkSignature(
        bytes32 tenantId,
        bytes32 structHash,
        uint64 deadline,
        bytes calldata signature
    ) private view {
        address authority = _authorityOf(tenantId);
        if (block.timestamp > deadline) {
            revert MCPAgentRegistry_Expired(tenantId, deadline, block.timestamp);
        }
        bytes32 digest = _hashTypedData(structHash);
        if (!Credentials.isSignedBy(authority, digest, signature)) {
            revert MCPAgentRegistry_BadSignature(tenantId, _nonces[tenantId], digest);
        }
    }

    /// @dev The same for an agent, which has a nonce of its own.
    function _checkAgentSignature(
        address agent,
        bytes32 structHash,
        uint64 deadline,
        bytes calldata signature
    ) private view {
        if (block.timestamp > deadline) {
            revert MCPAgentRegistry_AgentExpired(agent, deadline, block.timestamp);
        }
        bytes32 digest = _hashTypedData(structHash);
        if (!Credentials.isSignedBy(agent, digest, signature)) {
            revert MCPAgentRegistry_BadAgentSignature(agent, _agents[agent].nonce, digest);
        }
    }

    function _grant(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        Window calldata window,
        Limits calldata limits
    ) private {
        if (agent == address(0)) revert MCPAgentRegistry_NoAgent(tenantId);
        if (!Windows.isWindow(window.notBefore, window.notAfter)) {
            revert MCPAgentRegistry_BadWindow(tenantId, window.notBefore, window.notAfter);
        }
        GrantKind kind = _kindOf(limits);
        if (kind == GrantKind.None) {
            revert MCPAgentRegistry_BadLimits(
                tenantId, limits.target, limits.selector, limits.tokenMax
            );
        }

        Agent storage to = _agents[agent];
        Grant storage stored = to.grants[capability][tenantId];
        uint40 recordedAt = _now();
        stored.word = GrantWordLib.pack(
            kind,
            window.notBefore,
            window.notAfter,
            recordedAt,
            to.epochs[tenantId],
            limits.nativeMax
        );
        if (kind != GrantKind.Native) {
            stored.target = limits.target;
            stored.bound = kind == GrantKind.Token ? limits.tokenMax : uint32(limits.selector);
        }
        emit Granted(
            tenantId, agent, capability, window, limits, recordedAt, _consumeNonce(tenantId)
        );
    }

    function _extend(bytes32 tenantId, address agent, bytes32 capability, uint48 notAfter) private {
        (Grant storage stored, GrantWord word) = _liveGrant(tenantId, agent, capability);
        if (notAfter <= word.notAfter()) {
            revert MCPAgentRegistry_NotLater(tenantId, word.notAfter(), notAfter);
        }
        if (!Windows.isWindow(word.notBefore(), notAfter)) {
            revert MCPAgentRegistry_BadWindow(tenantId, word.notBefore(), notAfter);
        }
        uint40 recordedAt = _now();
        stored.word = word.extended(notAfter, recordedAt);
        emit Extended(tenantId, agent, capability, notAfter, recordedAt, _consumeNonce(tenantId));
    }

    function _revoke(bytes32 tenantId, address agent, bytes32 capability) private {
        _agents[agent].grants[capability][tenantId].word = GrantWord.wrap(0);
        emit Revoked(tenantId, agent, capability, _consumeNonce(tenantId));
    }

    function _revokeAgent(bytes32 tenantId, address agent) private {
        // Checked on purpose: an epoch that came round again would revive grants.
        ++_agents[agent].epochs[tenantId];
        emit AgentRevoked(tenantId, agent, _consumeNonce(tenantId));
    }

    function _forfeit(bytes32 tenantId, address agent, bytes32 capability) private {
        (Grant storage stored,) = _liveGrant(tenantId, agent, capability);
        stored.word = GrantWord.wrap(0);
        emit Forfeited(
            tenantId, agent, capability, _consumeNonce(tenantId), _consumeAgentNonce(agent)
        );
    }

    function _describe(
        address agent,
        string calldata endpoint,
        bytes32 metadataHash,
        address erc8004Registry,
        uint256 erc8004Id
    ) private {
        Agent storage data = _agents[agent];
        uint64 nonce = _consumeAgentNonce(agent);
        data.erc8004Registry = erc8004Registry;
        data.erc8004Id = erc8004Id;
        data.endpointHash = keccak256(bytes(endpoint));
        data.metadataHash = metadataHash;
        emit Described(agent, endpoint, metadataHash, erc8004Registry, erc8004Id, nonce);
    }

    function _consumeNonce(bytes32 tenantId) private returns (uint64) {
        return _nonces[tenantId]++;
    }

    function _consumeAgentNonce(address agent) private returns (uint64) {
        return _agents[agent].nonce++;
    }

    /// @dev The grant, whatever the clock says; reverts if there is none, or none any more.
    function _liveGrant(bytes32 tenantId, address agent, bytes32 capability)
        private
        view
        returns (Grant storage stored, GrantWord word)
    {
        Agent storage of_ = _agents[agent];
        stored = of_.grants[capability][tenantId];
        word = stored.word;
        if (!word.isLive(of_.epochs[tenantId])) {
            revert MCPAgentRegistry_NotGranted(tenantId, agent, capability);
        }
    }

    /// @dev The row of the table in `Limits`; None for a combination that it does not have.
    function _kindOf(Limits calldata limits) private pure returns (GrantKind) {
        bool target = limits.target != address(0);
        bool selector = limits.selector != bytes4(0);
        bool token = limits.tokenMax != 0;
        if (!target) return selector || token ? GrantKind.None : GrantKind.Native;
        if (selector) return token ? GrantKind.None : GrantKind.Call;
        return token ? GrantKind.Token : GrantKind.None;
    }

    function _now() private view returns (uint40) {
        // forge-lint: disable-next-line(unsafe-typecast) good for thirty thousand years
        return uint40(block.timestamp);
    }

    /// @inheritdoc EIP712
    function _domainNameAndVersion()
        internal
        pure
        override
        returns (string memory name, string memory version)
    {
        return ("Cofferdam MCPAgentRegistry", "1");
    }
}
