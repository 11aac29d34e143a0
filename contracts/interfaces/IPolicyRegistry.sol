// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title IPolicyRegistry
/// @notice Which policy a tenant's agents are under, and whether its verdict signer said yes, for many
/// tenants on one contract that belongs to nobody.
///
/// A tenant is an address, its authority: `tenantId = bytes32(uint256(uint160(authority)))`. The
/// authority publishes a policy as its hash, the key whose verdicts count under it, and a window.
/// Publishing and revoking each consume one version, 1, 2, 3, … The active policy is the one at the
/// last version; where that version is a revocation, or there is none yet, no policy is active and
/// everything is denied.
///
/// @dev Times are seconds. A policy is good at the timestamps `notBefore <= t <= notAfter`. Verdicts,
/// and the windows that views return, use ERC-4337's sense instead, as EntryPoint v0.8 and v0.9 read
/// it: good while `validAfter < t <= validUntil`. So `notBefore` is `validAfter + 1`. No window that
/// this contract takes or returns ends at 0 or at 2^47 or later, because the EntryPoint takes the one
/// for "never ends" and v0.9 may take the other for a block number.
///
/// EIP-712 domain (ERC-5267 `eip712Domain()` returns it): name `Cofferdam PolicyRegistry`, version
/// `1`, the chain's id, this contract. Types:
///
/// - `PublishPolicy(bytes32 tenantId,uint64 version,bytes32 policyHash,address verdictSigner,uint48 notBefore,uint48 notAfter,uint64 deadline)`, by the authority
/// - `RevokePolicy(bytes32 tenantId,uint64 version,uint64 deadline)`, by the authority
/// - `PolicyVerdict(bytes32 tenantId,uint64 policyVersion,address agent,bytes32 capability,bytes32 callsHash,uint8 outcome,uint256 maxFee,uint48 validAfter,uint48 validUntil,uint256 nonce)`, by the verdict signer
///
/// The version is the replay protection: whatever consumes it voids every signature made for it.
///
/// Whoever verifies a verdict here learns that it is authentic, under the active policy, and when it
/// is good. Whether the agent has the capability, whether `callsHash`, `maxFee` and `nonce` are those
/// of the operation at hand, and what to do about `outcome`, is for the caller to check.
interface IPolicyRegistry {
    // ---------------------------------------------------------------- types

    /// @notice What a verdict decides. The numbers are part of the interface and of the signed bytes.
    ///
    /// - 0 `DENY`: these calls may not be made, by any way; a verdict left blank says this
    /// - 1 `ALLOW`: the agent may make these calls
    /// - 2 `ESCALATE`: people have to approve these calls first
    enum Outcome {
        DENY,
        ALLOW,
        ESCALATE
    }

    /// @notice What a tenant publishes.
    /// @param policyHash Hash of the policy's text, as the tenant's policy engine defines it. Taken as
    /// it is.
    /// @param verdictSigner The key whose verdicts count: ECDSA, never ERC-1271. Not zero.
    /// @param notBefore First timestamp at which the policy is good.
    /// @param notAfter Last timestamp at which the policy is good; below 2^47.
    struct Policy {
        bytes32 policyHash;
        address verdictSigner;
        uint48 notBefore;
        uint48 notAfter;
    }

    /// @notice What became of a version.
    /// @param policyHash As published; zero for a revocation.
    /// @param verdictSigner As published; zero for a revocation.
    /// @param notBefore As published; zero for a revocation.
    /// @param notAfter As published; zero for a revocation.
    /// @param recordedAt Timestamp of the block that consumed the version; zero if none has.
    struct Record {
        bytes32 policyHash;
        address verdictSigner;
        uint48 notBefore;
        uint48 notAfter;
        uint48 recordedAt;
    }

    /// @notice What a verdict signer signs.
    /// @param tenantId The tenant.
    /// @param policyVersion The version of the policy it was reached under.
    /// @param agent Whose operation it is about.
    /// @param capability keccak256 of the capability's name, such as `payments.send`.
    /// @param callsHash Hash of the calls, as the account that makes them defines it.
    /// @param outcome The decision.
    /// @param maxFee Most that the operation may cost in fees, in wei.
    /// @param validAfter The verdict is good after this timestamp.
    /// @param validUntil The verdict is good up to and at this timestamp. Zero is not "for ever".
    /// @param nonce Makes it good once; the account that takes it says what it must be.
    struct PolicyVerdict {
        bytes32 tenantId;
        uint64 policyVersion;
        address agent;
        bytes32 capability;
        bytes32 callsHash;
        Outcome outcome;
        uint256 maxFee;
        uint48 validAfter;
        uint48 validUntil;
        uint256 nonce;
    }

    /// @notice When an authentic verdict is good.
    /// @param validAfter It is good after this timestamp: the later of the verdict's `validAfter` and
    /// the policy's `notBefore − 1`.
    /// @param validUntil It is good up to and at this timestamp: the earlier of the verdict's
    /// `validUntil` and the policy's `notAfter`. Above `validAfter`, below 2^47.
    /// @param recordedAt Timestamp of the block in which the active policy was published.
    /// @param policyVersion The active policy's version, which is the verdict's.
    struct VerdictWindow {
        uint48 validAfter;
        uint48 validUntil;
        uint48 recordedAt;
        uint64 policyVersion;
    }

    // --------------------------------------------------------------- events

    /// @notice `tenantId` published a policy, which is now its only active one.
    /// @param tenantId The tenant.
    /// @param version The version this consumed. `PolicyPublished` and `PolicyRevoked` together count
    /// 1, 2, 3, … without gaps for each tenant.
    /// @param policyHash Hash of the policy's text.
    /// @param verdictSigner The key whose verdicts count.
    /// @param notBefore First timestamp at which the policy is good.
    /// @param notAfter Last timestamp at which the policy is good.
    /// @param recordedAt The block's timestamp.
    event PolicyPublished(
        bytes32 indexed tenantId,
        uint64 indexed version,
        bytes32 policyHash,
        address verdictSigner,
        uint48 notBefore,
        uint48 notAfter,
        uint48 recordedAt
    );

    /// @notice `tenantId` has no active policy any more: everything is denied.
    /// @param tenantId The tenant.
    /// @param version The version this consumed, counted as in `PolicyPublished`.
    /// @param recordedAt The block's timestamp.
    event PolicyRevoked(bytes32 indexed tenantId, uint64 indexed version, uint48 recordedAt);

    // --------------------------------------------------------------- errors

    /// @notice `tenantId` is no tenant's id: it is zero, or one of its top 96 bits is set.
    error PolicyRegistry_InvalidTenantId(bytes32 tenantId);

    /// @notice `sender` is not the authority that `tenantId` spells.
    error PolicyRegistry_NotAuthority(bytes32 tenantId, address sender);

    /// @notice The next version of `tenantId` is `expected`, not `version`.
    error PolicyRegistry_WrongVersion(bytes32 tenantId, uint64 expected, uint64 version);

    /// @notice This was good until `deadline`, and the block's timestamp is `timestamp`.
    error PolicyRegistry_Expired(bytes32 tenantId, uint64 deadline, uint256 timestamp);

    /// @notice A policy must name a verdict signer.
    error PolicyRegistry_NoVerdictSigner(bytes32 tenantId);

    /// @notice No timestamp is in this window, or it ends at 2^47 or later.
    error PolicyRegistry_BadWindow(bytes32 tenantId, uint48 notBefore, uint48 notAfter);

    /// @notice The signature is not the authority's for `digest`, which was made for `version`, this
    /// tenant, this chain and this contract.
    error PolicyRegistry_BadSignature(bytes32 tenantId, uint64 version, bytes32 digest);

    /// @notice `tenantId` has no active policy, so everything is denied.
    error PolicyRegistry_NoActivePolicy(bytes32 tenantId);

    /// @notice The active policy of `tenantId` is `active`; the verdict was reached under `named`.
    error PolicyRegistry_WrongPolicyVersion(bytes32 tenantId, uint64 active, uint64 named);

    /// @notice The windows of verdict and policy have no timestamp in common: their intersection would
    /// begin after `validAfter` and end at `validUntil`.
    error PolicyRegistry_EmptyWindow(bytes32 tenantId, uint48 validAfter, uint48 validUntil);

    /// @notice The verdict is good while `validAfter < t <= validUntil`, and the block's timestamp is
    /// `timestamp`.
    error PolicyRegistry_OutsideWindow(
        bytes32 tenantId, uint48 validAfter, uint48 validUntil, uint256 timestamp
    );

    /// @notice The signature is not the active policy's verdict signer's for `digest`, which was made
    /// for this tenant, this chain and this contract; or the signer is the agent, and nobody says ALLOW
    /// to himself.
    error PolicyRegistry_BadVerdict(bytes32 tenantId, bytes32 digest);

    // -------------------------------------------------------------- actions

    /// @notice Publishes the policy that replaces the tenant's active one. Caller: the tenant's
    /// authority, whose `signature` is not looked at and may be empty; or anyone who brings the
    /// authority's EIP-712 `PublishPolicy` signature.
    /// @dev ECDSA is tried first, then ERC-1271 if the authority has code, so that an EOA that
    /// delegates to code (EIP-7702) can always use its own key. No ERC-6492: an account that is not
    /// deployed yet cannot sign here.
    /// Reverts, in this order: `PolicyRegistry_InvalidTenantId`, `PolicyRegistry_WrongVersion`,
    /// `PolicyRegistry_Expired`, `PolicyRegistry_NoVerdictSigner`, `PolicyRegistry_BadWindow`,
    /// `PolicyRegistry_BadSignature`.
    /// @param tenantId The tenant.
    /// @param version The tenant's last version plus one.
    /// @param policy The policy.
    /// @param deadline Last timestamp, in seconds, at which this may be done.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function publish(
        bytes32 tenantId,
        uint64 version,
        Policy calldata policy,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Leaves the tenant without active policy. Caller: the tenant's authority.
    /// @dev Takes no version, so that nobody who posts an older signature first can make it fail. It
    /// consumes a version also when no policy is active: signatures made for that version are void.
    /// Reverts: `PolicyRegistry_InvalidTenantId`, `PolicyRegistry_NotAuthority`.
    /// @param tenantId The tenant.
    function revoke(bytes32 tenantId) external;

    /// @notice The same for anyone who brings the authority's EIP-712 `RevokePolicy` signature.
    /// @dev Signatures as for `publish`.
    /// Reverts, in this order: `PolicyRegistry_InvalidTenantId`, `PolicyRegistry_WrongVersion`,
    /// `PolicyRegistry_Expired`, `PolicyRegistry_BadSignature`.
    /// @param tenantId The tenant.
    /// @param version The tenant's last version plus one.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function revokeSigned(
        bytes32 tenantId,
        uint64 version,
        uint64 deadline,
        bytes calldata signature
    ) external;

    // ---------------------------------------------------------------- views

    /// @notice The last version that the tenant consumed; the next is one more.
    /// @param tenantId The tenant.
    /// @return Zero when it has consumed none.
    function versionOf(bytes32 tenantId) external view returns (uint64);

    /// @notice The tenant's active policy, whatever the clock says about its window.
    /// @param tenantId The tenant.
    /// @return version Its version; zero when no policy is active.
    /// @return record What was published, and when; all zero when no policy is active.
    function activePolicy(bytes32 tenantId)
        external
        view
        returns (uint64 version, Record memory record);

    /// @notice What became of one of the tenant's versions.
    /// @dev Records never change: a version's policy was active from its `recordedAt` to that of the
    /// next version.
    /// @param tenantId The tenant.
    /// @param version The version.
    /// @return All zero but `recordedAt` for a revocation; all zero for a version not consumed yet.
    function policyAt(bytes32 tenantId, uint64 version) external view returns (Record memory);

    /// @notice The decision of a verdict that is authentic and good at this moment.
    /// @dev Looks at the clock, so it is not for ERC-4337 validation code: see `verdictWindow`.
    /// Reverts as `verdictWindow` does, and last of all: `PolicyRegistry_OutsideWindow`.
    /// @param verdict The verdict.
    /// @param signature The verdict signer's, ECDSA of 65 or 64 bytes.
    /// @return The verdict's `outcome`. `DENY` is an authentic answer too: compare it.
    function checkVerdict(PolicyVerdict calldata verdict, bytes calldata signature)
        external
        view
        returns (Outcome);

    /// @notice When a verdict that is authentic is good, for code that may not look at the clock.
    /// @dev Reads nothing but storage associated with the tenant's authority (ERC-7562), neither
    /// clock nor code of anybody, and says nothing of `outcome`: the caller has it in the verdict.
    /// Reverts, in this order: `PolicyRegistry_NoActivePolicy`, `PolicyRegistry_WrongPolicyVersion`,
    /// `PolicyRegistry_EmptyWindow`, `PolicyRegistry_BadVerdict`.
    /// @param verdict The verdict.
    /// @param signature The verdict signer's, ECDSA of 65 or 64 bytes.
    /// @return The window, and when and as which version the policy was recorded.
    function verdictWindow(PolicyVerdict calldata verdict, bytes calldata signature)
        external
        view
        returns (VerdictWindow memory);
}
