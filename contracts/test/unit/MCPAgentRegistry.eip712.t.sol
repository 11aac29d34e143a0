// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "solady/utils/EIP712.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";
import {TypedData} from "../utils/TypedData.sol";

/// @notice What a wallet hashes from JSON is what the registry checks.
contract MCPAgentRegistryEip712Test is MCPAgentRegistryTest, TypedData {
    string private constant GRANT =
        "Grant(bytes32 tenantId,address agent,bytes32 capability,uint48 notBefore,uint48 notAfter,uint80 nativeMax,address target,bytes4 selector,uint96 tokenMax,uint64 nonce,uint64 deadline)";
    string private constant EXTEND =
        "Extend(bytes32 tenantId,address agent,bytes32 capability,uint48 notAfter,uint64 nonce,uint64 deadline)";
    string private constant REVOKE =
        "Revoke(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)";
    string private constant REVOKE_AGENT =
        "RevokeAgent(bytes32 tenantId,address agent,uint64 nonce,uint64 deadline)";
    string private constant FORFEIT =
        "Forfeit(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)";
    string private constant DESCRIBE =
        "Describe(address agent,string endpoint,bytes32 metadataHash,address erc8004Registry,uint256 erc8004Id,uint64 nonce,uint64 deadline)";

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
        assertEq(name, "Cofferdam MCPAgentRegistry");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(verifyingContract, address(registry));
        assertEq(salt, bytes32(0));
        assertEq(extensions.length, 0);
    }

    /// @dev The token and the call form between them use every member.
    function test_Grant() public {
        IMCPAgentRegistry.Limits[2] memory kinds = [_token(), _call()];
        for (uint256 i = 0; i < 2; ++i) {
            IMCPAgentRegistry.Limits memory limits = kinds[i];
            string[] memory values = new string[](11);
            values[0] = vm.toString(aliceId);
            values[1] = vm.toString(agent);
            values[2] = vm.toString(SEND);
            values[3] = vm.toString(_window().notBefore);
            values[4] = vm.toString(_window().notAfter);
            values[5] = vm.toString(limits.nativeMax);
            values[6] = vm.toString(limits.target);
            values[7] = i == 0 ? "0x00000000" : "0xa1b2c3d4";
            values[8] = vm.toString(limits.tokenMax);
            values[9] = vm.toString(i);
            values[10] = vm.toString(DEADLINE);
            bytes memory signature = _signJson(ALICE_KEY, GRANT, values);
            registry.grantSigned(aliceId, agent, SEND, _window(), limits, DEADLINE, signature);
            assertEq(registry.scopeOf(aliceId, agent, SEND).target, limits.target);
        }
    }

    function test_Extend() public {
        _grant(alice, agent, SEND);
        string[] memory values = new string[](6);
        values[0] = vm.toString(aliceId);
        values[1] = vm.toString(agent);
        values[2] = vm.toString(SEND);
        values[3] = vm.toString(START + 2 days);
        values[4] = "1";
        values[5] = vm.toString(DEADLINE);
        bytes memory signature = _signJson(ALICE_KEY, EXTEND, values);
        registry.extendSigned(aliceId, agent, SEND, START + 2 days, DEADLINE, signature);
        assertEq(registry.scopeOf(aliceId, agent, SEND).validUntil, START + 2 days);
    }

    function test_Revoke() public {
        _grant(alice, agent, SEND);
        string[] memory values = new string[](5);
        values[0] = vm.toString(aliceId);
        values[1] = vm.toString(agent);
        values[2] = vm.toString(SEND);
        values[3] = "1";
        values[4] = vm.toString(DEADLINE);
        bytes memory signature = _signJson(ALICE_KEY, REVOKE, values);
        registry.revokeSigned(aliceId, agent, SEND, DEADLINE, signature);
        _assertNotGranted(aliceId, agent, SEND);
    }

    function test_RevokeAgent() public {
        _grant(alice, agent, SEND);
        string[] memory values = new string[](4);
        values[0] = vm.toString(aliceId);
        values[1] = vm.toString(agent);
        values[2] = "1";
        values[3] = vm.toString(DEADLINE);
        bytes memory signature = _signJson(ALICE_KEY, REVOKE_AGENT, values);
        registry.revokeAgentSigned(aliceId, agent, DEADLINE, signature);
        _assertNotGranted(aliceId, agent, SEND);
    }

    function test_Forfeit() public {
        _grant(alice, agent, SEND);
        string[] memory values = new string[](5);
        values[0] = vm.toString(aliceId);
        values[1] = vm.toString(agent);
        values[2] = vm.toString(SEND);
        values[3] = "0";
        values[4] = vm.toString(DEADLINE);
        bytes memory signature = _signJson(AGENT_KEY, FORFEIT, values);
        registry.forfeitSigned(aliceId, agent, SEND, DEADLINE, signature);
        _assertNotGranted(aliceId, agent, SEND);
    }

    function test_Describe() public {
        string[] memory values = new string[](7);
        values[0] = vm.toString(agent);
        values[1] = "https://agent.example/mcp?q=1";
        values[2] = vm.toString(keccak256("metadata"));
        values[3] = vm.toString(alice);
        values[4] = vm.toString(type(uint256).max);
        values[5] = "0";
        values[6] = vm.toString(DEADLINE);
        bytes memory signature = _signJson(AGENT_KEY, DESCRIBE, values);
        registry.describeSigned(
            agent, values[1], keccak256("metadata"), alice, type(uint256).max, DEADLINE, signature
        );
        assertEq(registry.descriptionOf(agent).endpointHash, keccak256(bytes(values[1])));
    }

    function _signJson(uint256 key, string memory definition, string[] memory values)
        private
        view
        returns (bytes memory)
    {
        return _sign(key, _digestOf(NAME, address(registry), definition, values));
    }
}
