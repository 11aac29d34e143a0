// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title IMCPAgentRegistry
/// @notice What agents say about themselves, and what many tenants let them do, on one contract that
/// belongs to nobody.
///
/// A tenant is an address, its authority: `tenantId = bytes32(uint256(uint160(authority)))`. An agent
/// is an address too, a key or a contract. A tenant grants an agent a capability, within a window and
/// within limits. A grant is worth exactly its (tenant, agent, capability): it says nothing about any
/// other. This contract records grants; the tenant's account enforces them.
///
/// @dev Times are seconds. A grant is good at the timestamps `notBefore <= t <= notAfter`. `scopeOf`
/// uses ERC-4337's sense instead, as EntryPoint v0.8 and v0.9 read it: good while
/// `validAfter < t <= validUntil`. So `notBefore` is `validAfter + 1`. No window ends at 0 or at 2^47
/// or later, because the EntryPoint takes the one for "never ends" and v0.9 may take the other for a
/// block number.
///
/// EIP-712 domain (ERC-5267 `eip712Domain()` returns it): name `Cofferdam MCPAgentRegistry`, version
/// `1`, the chain's id, this contract. Types:
///
/// - `Grant(bytes32 tenantId,address agent,bytes32 capability,uint48 notBefore,uint48 notAfter,uint80 nativeMax,address target,bytes4 selector,uint96 tokenMax,uint64 nonce,uint64 deadline)`, by the authority
/// - `Extend(bytes32 tenantId,address agent,bytes32 capability,uint48 notAfter,uint64 nonce,uint64 deadline)`, by the authority
/// - `Revoke(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)`, by the authority
/// - `RevokeAgent(bytes32 tenantId,address agent,uint64 nonce,uint64 deadline)`, by the authority
/// - `Forfeit(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)`, by the agent
/// - `Describe(address agent,string endpoint,bytes32 metadataHash,address erc8004Registry,uint256 erc8004Id,uint64 nonce,uint64 deadline)`, by the agent, about no tenant
///
/// A tenant's nonce is bumped by everything that changes the tenant's state, relayed or direct, so a
/// signature that was not posted is void from the next change on and never revives what was revoked.
/// That includes an agent's `forfeit`: an agent can in this way void a tenant's pending signatures,
/// once for each grant it gives up. Direct calls carry no nonce and cannot be stopped so. An agent's
/// own nonce is bumped by everything the agent does here.
interface IMCPAgentRegistry {
    // ---------------------------------------------------------------- types

    /// @notice When a grant is good.
    /// @param notBefore First timestamp at which it is good.
    /// @param notAfter Last timestamp at which it is good; below 2^47.
    struct Window {
        uint48 notBefore;
        uint48 notAfter;
    }

    /// @notice What one call under a grant may do at most. Nothing set is nothing allowed.
    ///
    /// | `target` | `selector` | `tokenMax` | the grant is for |
    /// |---|---|---|---|
    /// | zero | zero | zero | plain sends of the native asset, up to `nativeMax` |
    /// | a token | zero | not zero | `transfer`, `transferFrom`, `approve` of that ERC-20 up to `tokenMax`, and plain sends up to `nativeMax` |
    /// | a contract | not zero | zero | calls of that function of that contract, with up to `nativeMax` of value, and nothing else |
    ///
    /// Any other combination is refused. A function whose selector is zero cannot be granted.
    /// @param nativeMax Most of the native asset for each call, in wei; below 2^80, some 1.2 million
    /// whole coins of 18 decimals.
    /// @param target The token or contract.
    /// @param selector The function.
    /// @param tokenMax Most of the token for each call, in its smallest unit; below 2^96.
    struct Limits {
        uint80 nativeMax;
        address target;
        bytes4 selector;
        uint96 tokenMax;
    }

    /// @notice A grant as validation code needs it.
    /// @param validAfter It is good after this timestamp: `notBefore − 1`, or zero.
    /// @param validUntil It is good up to and at this timestamp. Above `validAfter`, below 2^47.
    /// @param recordedAt Timestamp of the block that granted or last extended it.
    /// @param nativeMax As in `Limits`.
    /// @param target As in `Limits`.
    /// @param selector As in `Limits`.
    /// @param tokenMax As in `Limits`.
    struct Scope {
        uint48 validAfter;
        uint48 validUntil;
        uint48 recordedAt;
        uint80 nativeMax;
        address target;
        bytes4 selector;
        uint96 tokenMax;
    }

    /// @notice What an agent last said about itself. Nobody has checked any of it.
    /// @param endpointHash keccak256 of its MCP endpoint; `Described` has the endpoint itself.
    /// @param metadataHash Hash of whatever describes it further.
    /// @param erc8004Registry The ERC-8004 identity registry that knows it; zero for none.
    /// @param erc8004Id Its id there.
    struct Description {
        bytes32 endpointHash;
        bytes32 metadataHash;
        address erc8004Registry;
        uint256 erc8004Id;
    }

    // --------------------------------------------------------------- events

    /// @notice `tenantId` granted `capability` to `agent`, in place of any such grant before.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param window When it is good.
    /// @param limits What one call may do.
    /// @param recordedAt The block's timestamp.
    /// @param eventIndex The tenant's nonce that this consumed. `Granted`, `Extended`, `Revoked`,
    /// `AgentRevoked` and `Forfeited` together count 0, 1, 2, … without gaps for each tenant.
    event Granted(
        bytes32 indexed tenantId,
        address indexed agent,
        bytes32 indexed capability,
        Window window,
        Limits limits,
        uint48 recordedAt,
        uint64 eventIndex
    );

    /// @notice `tenantId` let a grant end later.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param notAfter Last timestamp at which it is good from now on.
    /// @param recordedAt The block's timestamp.
    /// @param eventIndex The tenant's nonce that this consumed, counted as in `Granted`.
    event Extended(
        bytes32 indexed tenantId,
        address indexed agent,
        bytes32 indexed capability,
        uint48 notAfter,
        uint48 recordedAt,
        uint64 eventIndex
    );

    /// @notice `tenantId` took a grant back, if there was one.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param eventIndex The tenant's nonce that this consumed, counted as in `Granted`.
    event Revoked(
        bytes32 indexed tenantId,
        address indexed agent,
        bytes32 indexed capability,
        uint64 eventIndex
    );

    /// @notice `tenantId` took every grant of `agent` back.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param eventIndex The tenant's nonce that this consumed, counted as in `Granted`.
    event AgentRevoked(bytes32 indexed tenantId, address indexed agent, uint64 eventIndex);

    /// @notice `agent` gave a grant of `tenantId` up.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param eventIndex The tenant's nonce that this consumed, counted as in `Granted`.
    /// @param agentNonce The agent's nonce that this consumed, counted as in `Described`.
    event Forfeited(
        bytes32 indexed tenantId,
        address indexed agent,
        bytes32 indexed capability,
        uint64 eventIndex,
        uint64 agentNonce
    );

    /// @notice `agent` described itself. Nobody has checked any of it.
    /// @param agent The agent.
    /// @param endpoint Its MCP endpoint.
    /// @param metadataHash Hash of whatever describes it further.
    /// @param erc8004Registry The ERC-8004 identity registry that knows it; zero for none.
    /// @param erc8004Id Its id there.
    /// @param agentNonce The agent's nonce that this consumed. `Described` and `Forfeited` together
    /// count 0, 1, 2, … without gaps for each agent.
    event Described(
        address indexed agent,
        string endpoint,
        bytes32 metadataHash,
        address erc8004Registry,
        uint256 erc8004Id,
        uint64 agentNonce
    );

    // --------------------------------------------------------------- errors

    /// @notice `tenantId` is no tenant's id: it is zero, or one of its top 96 bits is set.
    error MCPAgentRegistry_InvalidTenantId(bytes32 tenantId);

    /// @notice `sender` is not the authority that `tenantId` spells.
    error MCPAgentRegistry_NotAuthority(bytes32 tenantId, address sender);

    /// @notice The signature was good until `deadline`, and the block's timestamp is `timestamp`.
    error MCPAgentRegistry_Expired(bytes32 tenantId, uint64 deadline, uint256 timestamp);

    /// @notice The signature is not the authority's for `digest`, which was made with the tenant's
    /// present `nonce`, this chain and this contract.
    error MCPAgentRegistry_BadSignature(bytes32 tenantId, uint64 nonce, bytes32 digest);

    /// @notice The agent's signature was good until `deadline`, and the block's timestamp is
    /// `timestamp`.
    error MCPAgentRegistry_AgentExpired(address agent, uint64 deadline, uint256 timestamp);

    /// @notice The signature is not the agent's for `digest`, which was made with the agent's present
    /// `nonce`, this chain and this contract.
    error MCPAgentRegistry_BadAgentSignature(address agent, uint64 nonce, bytes32 digest);

    /// @notice The zero address is no agent.
    error MCPAgentRegistry_NoAgent(bytes32 tenantId);

    /// @notice No timestamp is in this window, or it ends at 2^47 or later.
    error MCPAgentRegistry_BadWindow(bytes32 tenantId, uint48 notBefore, uint48 notAfter);

    /// @notice These limits are none of the three combinations that `Limits` lists.
    error MCPAgentRegistry_BadLimits(
        bytes32 tenantId, address target, bytes4 selector, uint96 tokenMax
    );

    /// @notice The grant ends at `current`, and `notAfter` is no later.
    error MCPAgentRegistry_NotLater(bytes32 tenantId, uint48 current, uint48 notAfter);

    /// @notice `tenantId` has not granted `capability` to `agent`, or has taken it back.
    error MCPAgentRegistry_NotGranted(bytes32 tenantId, address agent, bytes32 capability);

    // --------------------------------------------------- actions of a tenant

    /// @notice Grants `capability` to `agent`, in place of any such grant. Caller: the authority.
    /// @dev The grant counts as recorded now, whatever there was before.
    /// Reverts, in this order: `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_NotAuthority`,
    /// `MCPAgentRegistry_NoAgent`, `MCPAgentRegistry_BadWindow`, `MCPAgentRegistry_BadLimits`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param window When it is good.
    /// @param limits What one call may do.
    function grant(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        Window calldata window,
        Limits calldata limits
    ) external;

    /// @notice The same for anyone who brings the authority's EIP-712 `Grant` signature.
    /// @dev ECDSA is tried first, then ERC-1271 if the authority has code, so that an EOA that
    /// delegates to code (EIP-7702) can always use its own key. No ERC-6492: an account that is not
    /// deployed yet cannot sign here. Signatures are good for one nonce.
    /// Reverts, in this order: `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_Expired`,
    /// `MCPAgentRegistry_BadSignature`, then as `grant`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param window When it is good.
    /// @param limits What one call may do.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function grantSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        Window calldata window,
        Limits calldata limits,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Lets a grant end later, and counts it as recorded now. Caller: the authority.
    /// @dev Reverts, in this order: `MCPAgentRegistry_InvalidTenantId`,
    /// `MCPAgentRegistry_NotAuthority`, `MCPAgentRegistry_NotGranted`, `MCPAgentRegistry_NotLater`,
    /// `MCPAgentRegistry_BadWindow`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param notAfter Last timestamp at which it is good from now on; later than before.
    function extend(bytes32 tenantId, address agent, bytes32 capability, uint48 notAfter) external;

    /// @notice The same for anyone who brings the authority's EIP-712 `Extend` signature.
    /// @dev Signatures as for `grantSigned`. Reverts, in this order:
    /// `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_Expired`,
    /// `MCPAgentRegistry_BadSignature`, then as `extend`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param notAfter Last timestamp at which it is good from now on; later than before.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function extendSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        uint48 notAfter,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Takes one grant back. Caller: the authority.
    /// @dev Never fails for want of a grant, so that an agent that forfeits first cannot make it fail.
    /// Reverts: `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_NotAuthority`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    function revoke(bytes32 tenantId, address agent, bytes32 capability) external;

    /// @notice The same for anyone who brings the authority's EIP-712 `Revoke` signature.
    /// @dev Signatures as for `grantSigned`. Reverts, in this order:
    /// `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_Expired`,
    /// `MCPAgentRegistry_BadSignature`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function revokeSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Takes every grant of `agent` back, however many there are. Caller: the authority.
    /// @dev Reverts: `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_NotAuthority`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    function revokeAgent(bytes32 tenantId, address agent) external;

    /// @notice The same for anyone who brings the authority's EIP-712 `RevokeAgent` signature.
    /// @dev Signatures as for `grantSigned`. Reverts, in this order:
    /// `MCPAgentRegistry_InvalidTenantId`, `MCPAgentRegistry_Expired`,
    /// `MCPAgentRegistry_BadSignature`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function revokeAgentSigned(
        bytes32 tenantId,
        address agent,
        uint64 deadline,
        bytes calldata signature
    ) external;

    // --------------------------------------------------- actions of an agent

    /// @notice Gives a grant of `tenantId` up, also one whose window has passed. Caller: the agent.
    /// @dev Reverts: `MCPAgentRegistry_NotGranted`.
    /// @param tenantId The tenant.
    /// @param capability keccak256 of the capability's name.
    function forfeit(bytes32 tenantId, bytes32 capability) external;

    /// @notice The same for anyone who brings the agent's EIP-712 `Forfeit` signature.
    /// @dev Signatures as for `grantSigned`, with the agent in place of the authority. Reverts, in
    /// this order: `MCPAgentRegistry_AgentExpired`, `MCPAgentRegistry_BadAgentSignature`,
    /// `MCPAgentRegistry_NotGranted`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the agent's ERC-1271 code takes.
    function forfeitSigned(
        bytes32 tenantId,
        address agent,
        bytes32 capability,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Says who the sender is, in place of whatever it said before. Caller: the agent.
    /// @param endpoint Its MCP endpoint.
    /// @param metadataHash Hash of whatever describes it further.
    /// @param erc8004Registry The ERC-8004 identity registry that knows it; zero for none.
    /// @param erc8004Id Its id there.
    function describe(
        string calldata endpoint,
        bytes32 metadataHash,
        address erc8004Registry,
        uint256 erc8004Id
    ) external;

    /// @notice The same for anyone who brings the agent's EIP-712 `Describe` signature.
    /// @dev Signatures as for `forfeitSigned`. Reverts, in this order:
    /// `MCPAgentRegistry_AgentExpired`, `MCPAgentRegistry_BadAgentSignature`.
    /// @param agent The agent.
    /// @param endpoint Its MCP endpoint.
    /// @param metadataHash Hash of whatever describes it further.
    /// @param erc8004Registry The ERC-8004 identity registry that knows it; zero for none.
    /// @param erc8004Id Its id there.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the agent's ERC-1271 code takes.
    function describeSigned(
        address agent,
        string calldata endpoint,
        bytes32 metadataHash,
        address erc8004Registry,
        uint256 erc8004Id,
        uint64 deadline,
        bytes calldata signature
    ) external;

    // ---------------------------------------------------------------- views

    /// @notice Whether `agent` has `capability` from `tenantId` at this moment.
    /// @dev Looks at the clock, so it is not for ERC-4337 validation code: see `scopeOf`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @return True if there is a grant that was not taken back, and this moment is in its window.
    function isScoped(bytes32 tenantId, address agent, bytes32 capability)
        external
        view
        returns (bool);

    /// @notice The grant of `capability` from `tenantId` to `agent`, for code that may not look at the
    /// clock.
    /// @dev Reads nothing but storage associated with the tenant's authority (ERC-7562): two words,
    /// and a third if the limits name a target.
    /// Reverts: `MCPAgentRegistry_NotGranted`.
    /// @param tenantId The tenant.
    /// @param agent The agent.
    /// @param capability keccak256 of the capability's name.
    /// @return The grant, whatever the clock says about its window.
    function scopeOf(bytes32 tenantId, address agent, bytes32 capability)
        external
        view
        returns (Scope memory);

    /// @notice The nonce that the tenant's next signature must carry, and its next `eventIndex`.
    /// @param tenantId The tenant.
    /// @return The number of changes to the tenant's state.
    function nonceOf(bytes32 tenantId) external view returns (uint64);

    /// @notice The nonce that the agent's next signature must carry.
    /// @param agent The agent.
    /// @return The number of things the agent has done here.
    function agentNonceOf(address agent) external view returns (uint64);

    /// @notice What `agent` last said about itself.
    /// @param agent The agent.
    /// @return All zero if it said nothing.
    function descriptionOf(address agent) external view returns (Description memory);
}
