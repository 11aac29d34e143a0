// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";
import {EIP712} from "solady/utils/EIP712.sol";

import {IPolicyRegistry} from "./interfaces/IPolicyRegistry.sol";
import {Credentials} from "./libraries/Credentials.sol";
import {TenantIds} from "./libraries/TenantIds.sol";
import {Windows} from "./libraries/Windows.sol";

/// @title PolicyRegistry
/// @notice See `IPolicyRegistry`. No owner, no constructor arguments, nothing upgradeable.
///
/// @dev Storage is part of the interface, since ERC-4337 validation code reads it. `tenantId` is the
/// innermost key everywhere, so every slot is `keccak256(tenantId ‖ x) + n` with n below 3, which
/// ERC-7562 counts as storage associated with the tenant's authority:
///
/// | slot | variable | where a value is |
/// |---|---|---|
/// | 0 | `_heads` | `keccak256(tenantId ‖ 0)`: a `Head` |
/// | 1 | `_versions` | `keccak256(tenantId ‖ keccak256(version ‖ 1))`: a `Version`, three words |
///
/// The active policy is not marked anywhere: it is the version that the head names, if that version
/// has a verdict signer. There can be no second one. A version, once written, is never written again.
///
/// ```text
///           bit 255         208 207         160 159                       112 111       64 63         0
///              ┌───────────────┬───────────────┬────────────────────────────┬────────────┬────────────┐
///  Head        │ 0             │ 0             │ 0                          │recordedAt48│ version 64 │
///              ├───────────────┼───────────────┼────────────────────────────┴────────────┴────────────┤
///  Version + 0 │ notAfter 48   │ notBefore 48  │ verdictSigner 160                                    │
///              ├───────────────┴───────────────┴──────────────────────────────────────────────────────┤
///          + 1 │ policyHash 256                                                                       │
///              ├──────────────────────────────────────────────────────────────────────┬───────────────┤
///          + 2 │ 0                                                                    │ recordedAt 48 │
///              └──────────────────────────────────────────────────────────────────────┴───────────────┘
/// ```
contract PolicyRegistry is IPolicyRegistry, EIP712 {
    using TenantIds for bytes32;

    // -------------------------------------------------------------- storage

    /// @dev What was done last. `recordedAt` is the version's too: a verdict is then checked with two
    /// words of storage instead of three.
    struct Head {
        uint64 version;
        uint48 recordedAt;
    }

    /// @dev What a version consumed: a policy, or a revocation, which is all zero but `recordedAt`.
    struct Version {
        address verdictSigner;
        uint48 notBefore;
        uint48 notAfter;
        bytes32 policyHash;
        uint48 recordedAt;
    }

    mapping(bytes32 tenantId => Head head) private _heads;

    mapping(uint64 version => mapping(bytes32 tenantId => Version data)) private _versions;

    bytes32 private constant PUBLISH_TYPEHASH = keccak256(
        "PublishPolicy(bytes32 tenantId,uint64 version,bytes32 policyHash,address verdictSigner,uint48 notBefore,uint48 notAfter,uint64 deadline)"
    );

    bytes32 private constant REVOKE_TYPEHASH =
        keccak256("RevokePolicy(bytes32 tenantId,uint64 version,uint64 deadline)");

    bytes32 private constant VERDICT_TYPEHASH = keccak256(
        "PolicyVerdict(bytes32 tenantId,uint64 policyVersion,address agent,bytes32 capability,bytes32 callsHash,uint8 outcome,uint256 maxFee,uint48 validAfter,uint48 validUntil,uint256 nonce)"
    );

    // -------------------------------------------------------------- actions

    /// @inheritdoc IPolicyRegistry
    function publish(
        bytes32 tenantId,
        uint64 version,
        Policy calldata policy,
        uint64 deadline,
        bytes calldata signature
    ) external {
        address authority = _authorityOf(tenantId);
        _checkVersion(tenantId, version);
        _checkDeadline(tenantId, deadline);
        if (policy.verdictSigner == address(0)) revert PolicyRegistry_NoVerdictSigner(tenantId);
        if (!Windows.isWindow(policy.notBefore, policy.notAfter)) {
            revert PolicyRegistry_BadWindow(tenantId, policy.notBefore, policy.notAfter);
        }
        if (msg.sender != authority) {
            bytes32 structHash =
                keccak256(abi.encode(PUBLISH_TYPEHASH, tenantId, version, policy, deadline));
            _checkSignature(authority, tenantId, version, structHash, signature);
        }

        uint48 recordedAt = _consume(tenantId, version);
        _versions[version][tenantId] = Version({
            verdictSigner: policy.verdictSigner,
            notBefore: policy.notBefore,
            notAfter: policy.notAfter,
            policyHash: policy.policyHash,
            recordedAt: recordedAt
        });
        emit PolicyPublished(
            tenantId,
            version,
            policy.policyHash,
            policy.verdictSigner,
            policy.notBefore,
            policy.notAfter,
            recordedAt
        );
    }

    /// @inheritdoc IPolicyRegistry
    function revoke(bytes32 tenantId) external {
        if (_authorityOf(tenantId) != msg.sender) {
            revert PolicyRegistry_NotAuthority(tenantId, msg.sender);
        }
        _revoke(tenantId, _heads[tenantId].version + 1);
    }

    /// @inheritdoc IPolicyRegistry
    function revokeSigned(
        bytes32 tenantId,
        uint64 version,
        uint64 deadline,
        bytes calldata signature
    ) external {
        address authority = _authorityOf(tenantId);
        _checkVersion(tenantId, version);
        _checkDeadline(tenantId, deadline);
        bytes32 structHash = keccak256(abi.encode(REVOKE_TYPEHASH, tenantId, version, deadline));
        _checkSignature(authority, tenantId, version, structHash, signature);
        _revoke(tenantId, version);
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IPolicyRegistry
    function versionOf(bytes32 tenantId) external view returns (uint64) {
        return _heads[tenantId].version;
    }

    /// @inheritdoc IPolicyRegistry
    function activePolicy(bytes32 tenantId)
        external
        view
        returns (uint64 version, Record memory record)
    {
        version = _heads[tenantId].version;
        record = _record(tenantId, version);
        if (record.verdictSigner == address(0)) {
            version = 0;
            record.recordedAt = 0;
        }
    }

    /// @inheritdoc IPolicyRegistry
    function policyAt(bytes32 tenantId, uint64 version) external view returns (Record memory) {
        return _record(tenantId, version);
    }

    /// @inheritdoc IPolicyRegistry
    function checkVerdict(PolicyVerdict calldata verdict, bytes calldata signature)
        external
        view
        returns (Outcome)
    {
        (uint48 validAfter, uint48 validUntil,) = _verdictWindow(verdict, signature);
        if (block.timestamp <= validAfter || block.timestamp > validUntil) {
            revert PolicyRegistry_OutsideWindow(
                verdict.tenantId, validAfter, validUntil, block.timestamp
            );
        }
        return verdict.outcome;
    }

    /// @inheritdoc IPolicyRegistry
    function verdictWindow(PolicyVerdict calldata verdict, bytes calldata signature)
        external
        view
        returns (VerdictWindow memory window)
    {
        (window.validAfter, window.validUntil, window.recordedAt) =
            _verdictWindow(verdict, signature);
        window.policyVersion = verdict.policyVersion;
    }

    // ------------------------------------------------------------ internals

    /// @dev The authority that `tenantId` spells, never zero.
    function _authorityOf(bytes32 tenantId) private pure returns (address authority) {
        authority = tenantId.authorityOf();
        if (authority == address(0)) revert PolicyRegistry_InvalidTenantId(tenantId);
    }

    function _checkVersion(bytes32 tenantId, uint64 version) private view {
        uint64 expected = _heads[tenantId].version + 1;
        if (version != expected) {
            revert PolicyRegistry_WrongVersion(tenantId, expected, version);
        }
    }

    function _checkDeadline(bytes32 tenantId, uint64 deadline) private view {
        if (block.timestamp > deadline) {
            revert PolicyRegistry_Expired(tenantId, deadline, block.timestamp);
        }
    }

    function _checkSignature(
        address authority,
        bytes32 tenantId,
        uint64 version,
        bytes32 structHash,
        bytes calldata signature
    ) private view {
        bytes32 digest = _hashTypedData(structHash);
        if (!Credentials.isSignedBy(authority, digest, signature)) {
            revert PolicyRegistry_BadSignature(tenantId, version, digest);
        }
    }

    /// @dev Makes `version` the last one, as of this block.
    function _consume(bytes32 tenantId, uint64 version) private returns (uint48 recordedAt) {
        // forge-lint: disable-next-line(unsafe-typecast) good for nine million years
        recordedAt = uint48(block.timestamp);
        _heads[tenantId] = Head(version, recordedAt);
    }

    function _revoke(bytes32 tenantId, uint64 version) private {
        uint48 recordedAt = _consume(tenantId, version);
        _versions[version][tenantId].recordedAt = recordedAt;
        emit PolicyRevoked(tenantId, version, recordedAt);
    }

    function _record(bytes32 tenantId, uint64 version) private view returns (Record memory) {
        Version storage data = _versions[version][tenantId];
        return Record({
            policyHash: data.policyHash,
            verdictSigner: data.verdictSigner,
            notBefore: data.notBefore,
            notAfter: data.notAfter,
            recordedAt: data.recordedAt
        });
    }

    /// @dev The window of an authentic verdict. The signature comes last because it costs most.
    function _verdictWindow(PolicyVerdict calldata verdict, bytes calldata signature)
        private
        view
        returns (uint48 validAfter, uint48 validUntil, uint48 recordedAt)
    {
        bytes32 tenantId = verdict.tenantId;
        (uint64 version, uint48 publishedAt) =
            (_heads[tenantId].version, _heads[tenantId].recordedAt);
        Version storage data = _versions[version][tenantId];
        (address signer, uint48 notBefore, uint48 notAfter) =
            (data.verdictSigner, data.notBefore, data.notAfter);
        // Failed recovery gives the zero address too: it must never meet a tenant without policy.
        if (signer == address(0)) revert PolicyRegistry_NoActivePolicy(tenantId);
        if (verdict.policyVersion != version) {
            revert PolicyRegistry_WrongPolicyVersion(tenantId, version, verdict.policyVersion);
        }

        (validAfter, validUntil) = (Windows.validAfter(notBefore), notAfter);
        if (verdict.validAfter > validAfter) validAfter = verdict.validAfter;
        if (verdict.validUntil < validUntil) validUntil = verdict.validUntil;
        if (validAfter >= validUntil) {
            revert PolicyRegistry_EmptyWindow(tenantId, validAfter, validUntil);
        }

        bytes32 digest = _hashTypedData(keccak256(abi.encode(VERDICT_TYPEHASH, verdict)));
        // Nobody says ALLOW to himself.
        if (ECDSA.tryRecoverCalldata(digest, signature) != signer || verdict.agent == signer) {
            revert PolicyRegistry_BadVerdict(tenantId, digest);
        }
        recordedAt = publishedAt;
    }

    /// @inheritdoc EIP712
    function _domainNameAndVersion()
        internal
        pure
        override
        returns (string memory name, string memory version)
    {
        return ("Cofferdam PolicyRegistry", "1");
    }
}
