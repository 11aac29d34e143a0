// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice A PolicyRegistry in an arbitrary state, at an arbitrary time, and what is stored for a tenant.
/// @custom:covers PolicyRegistry 0+0 _heads mapping(bytes32 => {0+0 version uint64, 0+8 recordedAt uint48})
/// @custom:covers PolicyRegistry 1+0 _versions mapping(uint64 => mapping(bytes32 => {0+0 verdictSigner address, 0+20 notBefore uint48, 0+26 notAfter uint48, 1+0 policyHash bytes32, 2+0 recordedAt uint48}))
abstract contract PolicyRegistrySymbolic is SymbolicTest {
    /// @dev Everything stored for one tenant. One version is all of them when its number is arbitrary.
    struct Stored {
        bytes32 head;
        Version version;
    }

    /// @dev The three words of one version.
    struct Version {
        bytes32 signer;
        bytes32 policyHash;
        bytes32 recordedAt;
    }

    /// @dev The arguments of `publish` but for the signature.
    struct Publish {
        bytes32 tenantId;
        uint64 version;
        IPolicyRegistry.Policy policy;
        uint64 deadline;
    }

    /// @dev The arguments of `revokeSigned` but for the signature.
    struct Revoke {
        bytes32 tenantId;
        uint64 version;
        uint64 deadline;
    }

    IPolicyRegistry internal registry;

    function setUp() public virtual {
        vm.warp(SVM.createUint256("timestamp"));
        registry = IPolicyRegistry(_deployArbitrary("PolicyRegistry.sol:PolicyRegistry"));
    }

    function _publish(address sender, Publish calldata p, bytes calldata signature)
        internal
        returns (bool ok)
    {
        return _callAs(
            sender,
            address(registry),
            abi.encodeCall(
                IPolicyRegistry.publish, (p.tenantId, p.version, p.policy, p.deadline, signature)
            )
        );
    }

    function _revoke(address sender, bytes32 tenantId) internal returns (bool ok) {
        return
            _callAs(sender, address(registry), abi.encodeCall(IPolicyRegistry.revoke, (tenantId)));
    }

    function _revokeSigned(address sender, Revoke calldata r, bytes calldata signature)
        internal
        returns (bool ok)
    {
        return _callAs(
            sender,
            address(registry),
            abi.encodeCall(
                IPolicyRegistry.revokeSigned, (r.tenantId, r.version, r.deadline, signature)
            )
        );
    }

    function _stored(bytes32 tenantId, uint64 version) internal view returns (Stored memory) {
        return Stored({head: _head(tenantId), version: _version(tenantId, version)});
    }

    function _head(bytes32 tenantId) internal view returns (bytes32) {
        return vm.load(address(registry), keccak256(abi.encode(tenantId, uint256(0))));
    }

    function _version(bytes32 tenantId, uint64 version) internal view returns (Version memory) {
        bytes32 outer = keccak256(abi.encode(version, uint256(1)));
        uint256 slot = uint256(keccak256(abi.encode(tenantId, outer)));
        return Version({
            signer: vm.load(address(registry), bytes32(slot)),
            policyHash: vm.load(address(registry), bytes32(slot + 1)),
            recordedAt: vm.load(address(registry), bytes32(slot + 2))
        });
    }

    /// @dev Zero when they are the same. One assertion without branches is one question to the solver.
    function _difference(Stored memory a, Stored memory b) internal pure returns (bytes32) {
        return (a.head ^ b.head) | _difference(a.version, b.version);
    }

    function _difference(Version memory a, Version memory b) internal pure returns (bytes32) {
        return (a.signer ^ b.signer) | (a.policyHash ^ b.policyHash) | (a.recordedAt ^ b.recordedAt);
    }

    // ------------------------------------------------- from the specification

    /// @dev The last version that a head counts.
    function _last(bytes32 head) internal pure returns (uint64) {
        return uint64(uint256(head));
    }

    function _signer(Version memory version) internal pure returns (address) {
        return address(uint160(uint256(version.signer)));
    }

    function _domain() internal view returns (bytes32) {
        return _domain(block.chainid, address(registry));
    }

    function _domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return _domain("Cofferdam PolicyRegistry", chainId, verifyingContract);
    }

    function _publishDigest(bytes32 domain, Publish calldata p) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "PublishPolicy(bytes32 tenantId,uint64 version,bytes32 policyHash,address verdictSigner,uint48 notBefore,uint48 notAfter,uint64 deadline)"
        );
        bytes32 message = keccak256(
            abi.encode(
                typeHash,
                p.tenantId,
                p.version,
                p.policy.policyHash,
                p.policy.verdictSigner,
                p.policy.notBefore,
                p.policy.notAfter,
                p.deadline
            )
        );
        return _typedData(domain, message);
    }

    function _revokeDigest(bytes32 domain, Revoke calldata r) internal pure returns (bytes32) {
        bytes32 typeHash =
            keccak256("RevokePolicy(bytes32 tenantId,uint64 version,uint64 deadline)");
        bytes32 message = keccak256(abi.encode(typeHash, r.tenantId, r.version, r.deadline));
        return _typedData(domain, message);
    }

    function _verdictDigest(bytes32 domain, IPolicyRegistry.PolicyVerdict calldata v)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "PolicyVerdict(bytes32 tenantId,uint64 policyVersion,address agent,bytes32 capability,bytes32 callsHash,uint8 outcome,uint256 maxFee,uint48 validAfter,uint48 validUntil,uint256 nonce)"
        );
        bytes32 message = keccak256(
            abi.encode(
                typeHash,
                v.tenantId,
                v.policyVersion,
                v.agent,
                v.capability,
                v.callsHash,
                v.outcome,
                v.maxFee,
                v.validAfter,
                v.validUntil,
                v.nonce
            )
        );
        return _typedData(domain, message);
    }
}
