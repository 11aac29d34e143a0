// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "solady/utils/EIP712.sol";

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {PolicyRegistryTest} from "../utils/PolicyRegistryTest.sol";
import {TypedData} from "../utils/TypedData.sol";

/// @notice What a wallet hashes from JSON is what the registry checks.
contract PolicyRegistryEip712Test is PolicyRegistryTest, TypedData {
    string private constant PUBLISH =
        "PublishPolicy(bytes32 tenantId,uint64 version,bytes32 policyHash,address verdictSigner,uint48 notBefore,uint48 notAfter,uint64 deadline)";
    string private constant REVOKE =
        "RevokePolicy(bytes32 tenantId,uint64 version,uint64 deadline)";
    string private constant VERDICT =
        "PolicyVerdict(bytes32 tenantId,uint64 policyVersion,address agent,bytes32 capability,bytes32 callsHash,uint8 outcome,uint256 maxFee,uint48 validAfter,uint48 validUntil,uint256 nonce)";

    function test_Domain() public view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        ) = EIP712(address(registry)).eip712Domain();
        assertEq(fields, bytes1(0x0f));
        assertEq(name, "Cofferdam PolicyRegistry");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(verifyingContract, address(registry));
        assertEq(salt, bytes32(0));
        assertEq(extensions.length, 0);
    }

    function test_Publish() public {
        IPolicyRegistry.Policy memory policy = _policy();
        string[] memory values = new string[](7);
        values[0] = vm.toString(aliceId);
        values[1] = "1";
        values[2] = vm.toString(policy.policyHash);
        values[3] = vm.toString(policy.verdictSigner);
        values[4] = vm.toString(policy.notBefore);
        values[5] = vm.toString(policy.notAfter);
        values[6] = vm.toString(DEADLINE);
        bytes32 digest = _digestOf(NAME, address(registry), PUBLISH, values);
        registry.publish(aliceId, 1, policy, DEADLINE, _sign(ALICE_KEY, digest));
        _assertActive(aliceId, 1, policy);
    }

    function test_Revoke() public {
        string[] memory values = new string[](3);
        values[0] = vm.toString(aliceId);
        values[1] = "1";
        values[2] = vm.toString(DEADLINE);
        bytes32 digest = _digestOf(NAME, address(registry), REVOKE, values);
        registry.revokeSigned(aliceId, 1, DEADLINE, _sign(ALICE_KEY, digest));
        assertEq(registry.versionOf(aliceId), 1);
    }

    function testFuzz_Verdict(bytes32 seed, uint8 outcome, uint48 validAfter, uint48 length)
        public
    {
        IPolicyRegistry.Policy memory policy = _policy();
        (policy.notBefore, policy.notAfter) = (0, 2 ** 47 - 1);
        _publish(alice, policy);
        IPolicyRegistry.PolicyVerdict memory verdict = IPolicyRegistry.PolicyVerdict({
            tenantId: aliceId,
            policyVersion: 1,
            agent: _address("agent", uint256(seed)),
            capability: keccak256(abi.encode("capability", seed)),
            callsHash: keccak256(abi.encode("calls", seed)),
            outcome: IPolicyRegistry.Outcome(outcome % 3),
            maxFee: uint256(keccak256(abi.encode("fee", seed))),
            validAfter: validAfter % 2 ** 46,
            validUntil: validAfter % 2 ** 46 + 1 + length % 2 ** 46,
            nonce: uint256(keccak256(abi.encode("nonce", seed)))
        });
        string[] memory values = new string[](10);
        values[0] = vm.toString(verdict.tenantId);
        values[1] = "1";
        values[2] = vm.toString(verdict.agent);
        values[3] = vm.toString(verdict.capability);
        values[4] = vm.toString(verdict.callsHash);
        values[5] = vm.toString(uint256(uint8(verdict.outcome)));
        values[6] = vm.toString(verdict.maxFee);
        values[7] = vm.toString(verdict.validAfter);
        values[8] = vm.toString(verdict.validUntil);
        values[9] = vm.toString(verdict.nonce);
        bytes32 digest = _digestOf(NAME, address(registry), VERDICT, values);
        assertEq(
            registry.verdictWindow(verdict, _sign(SIGNER_KEY, digest)).validUntil,
            verdict.validUntil
        );
    }
}
