// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

/// @notice A PolicyRegistry, two tenants and two verdict signers, with digests and slots made from the
/// specification.
abstract contract PolicyRegistryTest is RegistryTest {
    uint256 internal constant SIGNER_KEY = uint256(keccak256("verdict signer"));
    uint256 internal constant OTHER_SIGNER_KEY = uint256(keccak256("other verdict signer"));

    string internal constant NAME = "Cofferdam PolicyRegistry";

    IPolicyRegistry internal registry;

    address internal signer = vm.addr(SIGNER_KEY);
    address internal otherSigner = vm.addr(OTHER_SIGNER_KEY);

    function setUp() public virtual {
        vm.warp(START);
        vm.chainId(8453);
        registry = _deployPolicyRegistry();
    }

    function _deployPolicyRegistry() internal returns (IPolicyRegistry) {
        return IPolicyRegistry(_create(vm.getCode("PolicyRegistry.sol:PolicyRegistry")));
    }

    // ----------------------------------------------------------- arranging

    /// @dev A policy from an hour ago to a day ahead.
    function _policy() internal view returns (IPolicyRegistry.Policy memory) {
        return IPolicyRegistry.Policy(keccak256("policy"), signer, START - 1 hours, START + 1 days);
    }

    function _publish(address authority, IPolicyRegistry.Policy memory policy) internal {
        uint64 version = registry.versionOf(_id(authority)) + 1;
        vm.prank(authority);
        registry.publish(_id(authority), version, policy, uint64(block.timestamp), "");
    }

    function _revoke(address authority) internal {
        vm.prank(authority);
        registry.revoke(_id(authority));
    }

    /// @dev An ALLOW under the first policy of alice, from ten minutes ago to ten minutes ahead.
    function _verdict() internal view returns (IPolicyRegistry.PolicyVerdict memory) {
        return IPolicyRegistry.PolicyVerdict({
            tenantId: aliceId,
            policyVersion: 1,
            agent: _address("agent", 0),
            capability: keccak256("payments.send"),
            callsHash: keccak256("calls"),
            outcome: IPolicyRegistry.Outcome.ALLOW,
            maxFee: 1e15,
            validAfter: START - 10 minutes,
            validUntil: START + 10 minutes,
            nonce: 7
        });
    }

    // ------------------------------------------------------------- reading

    /// @dev What is stored for a tenant, in one word: the head, the version to come and the last three.
    function _state(bytes32 tenantId) internal view returns (bytes32 state) {
        state = vm.load(address(registry), _headSlot(tenantId));
        uint64 last = uint64(uint256(state));
        for (uint64 version = last < 2 ? 0 : last - 2; version <= last + 1; ++version) {
            for (uint256 word = 0; word < 3; ++word) {
                bytes32 slot = bytes32(uint256(_versionSlot(tenantId, version)) + word);
                state = keccak256(abi.encode(state, vm.load(address(registry), slot)));
            }
        }
    }

    function _assertActive(bytes32 tenantId, uint64 version, IPolicyRegistry.Policy memory policy)
        internal
        view
    {
        (uint64 active, IPolicyRegistry.Record memory record) = registry.activePolicy(tenantId);
        assertEq(active, version, "active version");
        assertEq(record.policyHash, policy.policyHash, "policyHash");
        assertEq(record.verdictSigner, policy.verdictSigner, "verdictSigner");
        assertEq(record.notBefore, policy.notBefore, "notBefore");
        assertEq(record.notAfter, policy.notAfter, "notAfter");
    }

    function _assertNoneActive(bytes32 tenantId) internal view {
        (uint64 version, IPolicyRegistry.Record memory record) = registry.activePolicy(tenantId);
        assertEq(version, 0, "a policy is active");
        assertEq(abi.encode(record), new bytes(5 * 32), "and it is not blank");
    }

    // ------------------------------------------------- from the specification

    function _headSlot(bytes32 tenantId) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(0)));
    }

    function _versionSlot(bytes32 tenantId, uint64 version) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, keccak256(abi.encode(version, uint256(1)))));
    }

    function _domain() internal view returns (bytes32) {
        return _domain(NAME, block.chainid, address(registry));
    }

    function _publishDigest(
        bytes32 domain,
        bytes32 tenantId,
        uint64 version,
        IPolicyRegistry.Policy memory policy,
        uint64 deadline
    ) internal pure returns (bytes32) {
        return _typed(
            domain,
            abi.encode(
                keccak256(
                    "PublishPolicy(bytes32 tenantId,uint64 version,bytes32 policyHash,address verdictSigner,uint48 notBefore,uint48 notAfter,uint64 deadline)"
                ),
                tenantId,
                version,
                policy.policyHash,
                policy.verdictSigner,
                policy.notBefore,
                policy.notAfter,
                deadline
            )
        );
    }

    function _revokeDigest(bytes32 domain, bytes32 tenantId, uint64 version, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash =
            keccak256("RevokePolicy(bytes32 tenantId,uint64 version,uint64 deadline)");
        return _typed(domain, abi.encode(typeHash, tenantId, version, deadline));
    }

    function _verdictDigest(bytes32 domain, IPolicyRegistry.PolicyVerdict memory verdict)
        internal
        pure
        returns (bytes32)
    {
        bytes memory first = abi.encode(
            keccak256(
                "PolicyVerdict(bytes32 tenantId,uint64 policyVersion,address agent,bytes32 capability,bytes32 callsHash,uint8 outcome,uint256 maxFee,uint48 validAfter,uint48 validUntil,uint256 nonce)"
            ),
            verdict.tenantId,
            verdict.policyVersion,
            verdict.agent,
            verdict.capability,
            verdict.callsHash
        );
        bytes memory second = abi.encode(
            uint256(uint8(verdict.outcome)),
            verdict.maxFee,
            verdict.validAfter,
            verdict.validUntil,
            verdict.nonce
        );
        return _typed(domain, abi.encodePacked(first, second));
    }

    function _signVerdict(uint256 key, IPolicyRegistry.PolicyVerdict memory verdict)
        internal
        view
        returns (bytes memory)
    {
        return _sign(key, _verdictDigest(_domain(), verdict));
    }
}
