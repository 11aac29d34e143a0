// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryTest} from "../utils/MCPAgentRegistryTest.sol";

/// @notice What an agent does: describe itself, and give up what it was granted.
contract AgentTest is MCPAgentRegistryTest {
    string private constant ENDPOINT = "https://agent.example/mcp";

    // -------------------------------------------------------------- forfeit

    function test_Forfeit() public {
        _grant(alice, agent, SEND);
        _grant(alice, agent, SWAP);
        _grant(alice, otherAgent, SEND);
        _grant(bob, agent, SEND);
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.Forfeited(aliceId, agent, SEND, 3, 0);
        vm.prank(agent);
        registry.forfeit(aliceId, SEND);
        _assertNotGranted(aliceId, agent, SEND);
        assertTrue(registry.isScoped(aliceId, agent, SWAP));
        assertTrue(registry.isScoped(aliceId, otherAgent, SEND));
        assertTrue(registry.isScoped(bobId, agent, SEND));
        assertEq(registry.nonceOf(aliceId), 4);
        assertEq(registry.nonceOf(bobId), 1);
        assertEq(registry.agentNonceOf(agent), 1);
    }

    function test_ForfeitsOutsideTheWindowToo() public {
        _grant(alice, agent, SEND);
        vm.warp(START + 7 days);
        vm.prank(agent);
        registry.forfeit(aliceId, SEND);
        _assertNotGranted(aliceId, agent, SEND);
    }

    /// @dev I1: who has no grant of a tenant, or no more, leaves no trace in it: not even a nonce.
    function test_I1_NobodyForfeitsWhatIsNotTheirs() public {
        _grant(alice, agent, SEND);
        bytes32 before = _state(aliceId);
        address[4] memory senders = [stranger, otherAgent, alice, bob];
        for (uint256 i = 0; i < senders.length; ++i) {
            _refusedForfeit(senders[i], aliceId, SEND);
        }
        _refusedForfeit(agent, aliceId, SWAP);
        _refusedForfeit(agent, bobId, SEND);
        assertEq(_state(aliceId), before);
        assertEq(_state(bobId), _state(_id(_address("nobody", 0))));

        vm.prank(alice);
        registry.revokeAgent(aliceId, agent);
        _refusedForfeit(agent, aliceId, SEND);
        _grant(alice, agent, SEND);
        vm.prank(agent);
        registry.forfeit(aliceId, SEND);
        _refusedForfeit(agent, aliceId, SEND);
    }

    function test_ForfeitRelayed() public {
        _grant(alice, agent, SEND);
        bytes memory signature = _signForfeit(AGENT_KEY, aliceId, SEND, 0);
        _relayForfeit(aliceId, SEND, signature);
        _assertNotGranted(aliceId, agent, SEND);
        // It is good once: a grant made after it stands.
        _grant(alice, agent, SEND);
        _refusedRelay(aliceId, SEND, 1, signature);
        assertTrue(registry.isScoped(aliceId, agent, SEND));
        // Whatever the agent does voids what it has signed.
        signature = _signForfeit(AGENT_KEY, aliceId, SEND, 1);
        vm.prank(agent);
        registry.describe("", 0, address(0), 0);
        _refusedRelay(aliceId, SEND, 2, signature);
    }

    function test_I4_RelayedForfeitIsOfItsAgentTenantAndCapabilityAlone() public {
        _grant(alice, agent, SEND);
        _grant(alice, agent, SWAP);
        _grant(bob, agent, SEND);
        bytes memory message = _forfeitMessage(aliceId, agent, SEND, 0, DEADLINE);
        bytes32 elsewhere = _typed(_domain(NAME, 84532, address(registry)), message);
        _refusedRelay(aliceId, SEND, 0, _sign(AGENT_KEY, elsewhere));
        elsewhere = _typed(_domain(NAME, 8453, alice), message);
        _refusedRelay(aliceId, SEND, 0, _sign(AGENT_KEY, elsewhere));
        // The same fields as a revocation, which is the authority's to sign.
        message = _revokeMessage(aliceId, agent, SEND, 0, DEADLINE);
        _refusedRelay(aliceId, SEND, 0, _sign(AGENT_KEY, _typed(_domain(), message)));
        _refusedRelay(aliceId, SEND, 0, _signForfeit(AGENT_KEY, bobId, SEND, 0));
        _refusedRelay(aliceId, SEND, 0, _signForfeit(AGENT_KEY, aliceId, SWAP, 0));
        _refusedRelay(aliceId, SEND, 0, _signForfeit(AGENT_KEY, aliceId, SEND, 1));
        _refusedRelay(aliceId, SEND, 0, _signForfeit(ALICE_KEY, aliceId, SEND, 0));
        _refusedRelay(aliceId, SEND, 0, _signForfeit(OTHER_AGENT_KEY, aliceId, SEND, 0));
        _refusedRelay(aliceId, SEND, 0, "");
        _refusedRelay(aliceId, SEND, 0, new bytes(65));
    }

    function test_RelayedForfeitUntilItsDeadlineAndOnlyOfAGrant() public {
        bytes memory signature = _signForfeit(AGENT_KEY, aliceId, SEND, 0);
        _expectNotGranted(aliceId, agent, SEND);
        _relayForfeit(aliceId, SEND, signature);
        _grant(alice, agent, SEND);
        vm.warp(DEADLINE + 1);
        _expectAgentExpired();
        _relayForfeit(aliceId, SEND, signature);
        vm.warp(DEADLINE);
        _relayForfeit(aliceId, SEND, signature);
    }

    function test_AgentMayBeAContract() public {
        (address safe, uint256[] memory keys) = _safe();
        _grant(alice, safe, SEND);
        bytes32 digest = _typed(_domain(), _forfeitMessage(aliceId, safe, SEND, 0, DEADLINE));
        bytes memory both = abi.encodePacked(_sign(keys[0], digest), _sign(keys[1], digest));
        vm.expectRevert();
        registry.forfeitSigned(aliceId, safe, SEND, DEADLINE, _sign(keys[0], digest));
        registry.forfeitSigned(aliceId, safe, SEND, DEADLINE, both);
        _assertNotGranted(aliceId, safe, SEND);
    }

    // ------------------------------------------------------------- describe

    function test_Describe() public {
        assertEq(abi.encode(registry.descriptionOf(agent)), new bytes(128));
        IMCPAgentRegistry.Description memory description = _description();
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.Described(
            agent,
            ENDPOINT,
            description.metadataHash,
            description.erc8004Registry,
            description.erc8004Id,
            0
        );
        _describe(agent, description);
        assertEq(abi.encode(registry.descriptionOf(agent)), abi.encode(description));
        assertEq(abi.encode(registry.descriptionOf(otherAgent)), new bytes(128));
        assertEq(registry.agentNonceOf(agent), 1);

        // The next one replaces all of it.
        vm.prank(agent);
        registry.describe("", 0, address(0), 0);
        description = IMCPAgentRegistry.Description(keccak256(""), 0, address(0), 0);
        assertEq(abi.encode(registry.descriptionOf(agent)), abi.encode(description));
        assertEq(registry.agentNonceOf(agent), 2);
    }

    /// @dev Words about oneself open no door and touch no tenant.
    function test_I1_DescribingChangesNoTenant() public {
        _grant(alice, agent, SEND);
        bytes32 before = _state(aliceId);
        _describe(agent, _description());
        _describe(stranger, _description());
        assertEq(_state(aliceId), before);
        _assertNotGranted(aliceId, stranger, SEND);
    }

    function test_DescribeRelayed() public {
        IMCPAgentRegistry.Description memory description = _description();
        bytes memory signature = _signDescription(AGENT_KEY, agent, description, 0);
        vm.expectEmit(address(registry));
        emit IMCPAgentRegistry.Described(
            agent,
            ENDPOINT,
            description.metadataHash,
            description.erc8004Registry,
            description.erc8004Id,
            0
        );
        _relayDescription(agent, description, signature);
        assertEq(abi.encode(registry.descriptionOf(agent)), abi.encode(description));
        _refusedDescription(agent, description, 1, signature);
    }

    function test_DescribeRelayedUntilItsDeadline() public {
        bytes memory signature = _signDescription(AGENT_KEY, agent, _description(), 0);
        vm.warp(DEADLINE + 1);
        _expectAgentExpired();
        _relayDescription(agent, _description(), signature);
        vm.warp(DEADLINE);
        _relayDescription(agent, _description(), signature);
    }

    function test_I4_RefusesDescriptionsThatTheAgentDidNotSign() public {
        IMCPAgentRegistry.Description memory description = _description();
        bytes memory message = _describeMessage(agent, ENDPOINT, description, 0, DEADLINE);
        bytes32[5] memory digests = [
            _typed(_domain(NAME, 84532, address(registry)), message),
            _typed(_domain(NAME, 8453, alice), message),
            _typed(_domain(), _describeMessage(agent, "elsewhere", description, 0, DEADLINE)),
            _typed(_domain(), _describeMessage(agent, ENDPOINT, description, 1, DEADLINE)),
            _typed(_domain(), _describeMessage(otherAgent, ENDPOINT, description, 0, DEADLINE))
        ];
        for (uint256 i = 0; i < digests.length; ++i) {
            _refusedDescription(agent, description, 0, _sign(AGENT_KEY, digests[i]));
        }
        _refusedDescription(
            agent, description, 0, _signDescription(OTHER_AGENT_KEY, agent, description, 0)
        );
        bytes memory signature = _signDescription(AGENT_KEY, agent, description, 0);
        description.metadataHash = keccak256("other");
        _refusedDescription(agent, description, 0, signature);
        description = _description();
        description.erc8004Registry = address(0);
        _refusedDescription(agent, description, 0, signature);
        description = _description();
        description.erc8004Id -= 1;
        _refusedDescription(agent, description, 0, signature);
    }

    /// @dev A signature that recovers to zero is not the word of the zero address.
    function test_NobodySpeaksForTheZeroAddress() public {
        _refusedDescription(address(0), _description(), 0, new bytes(65));
        _refusedDescription(address(0), _description(), 0, "");
    }

    // -------------------------------------------------------------- helpers

    function _description() private pure returns (IMCPAgentRegistry.Description memory) {
        return IMCPAgentRegistry.Description(
            keccak256(bytes(ENDPOINT)),
            keccak256("metadata"),
            _address("erc8004", 0),
            type(uint256).max
        );
    }

    function _describe(address sender, IMCPAgentRegistry.Description memory description) private {
        vm.prank(sender);
        registry.describe(
            ENDPOINT, description.metadataHash, description.erc8004Registry, description.erc8004Id
        );
    }

    function _signDescription(
        uint256 key,
        address of_,
        IMCPAgentRegistry.Description memory description,
        uint64 nonce
    ) private view returns (bytes memory) {
        bytes memory message = _describeMessage(of_, ENDPOINT, description, nonce, DEADLINE);
        return _sign(key, _typed(_domain(), message));
    }

    function _relayDescription(
        address of_,
        IMCPAgentRegistry.Description memory description,
        bytes memory signature
    ) private {
        vm.prank(stranger);
        registry.describeSigned(
            of_,
            ENDPOINT,
            description.metadataHash,
            description.erc8004Registry,
            description.erc8004Id,
            DEADLINE,
            signature
        );
    }

    function _refusedDescription(
        address of_,
        IMCPAgentRegistry.Description memory description,
        uint64 nonce,
        bytes memory signature
    ) private {
        bytes memory message = _describeMessage(of_, ENDPOINT, description, nonce, DEADLINE);
        _expectBadAgentSignature(of_, nonce, message);
        _relayDescription(of_, description, signature);
    }

    function _signForfeit(uint256 key, bytes32 tenantId, bytes32 capability, uint64 nonce)
        private
        view
        returns (bytes memory)
    {
        bytes memory message = _forfeitMessage(tenantId, agent, capability, nonce, DEADLINE);
        return _sign(key, _typed(_domain(), message));
    }

    function _relayForfeit(bytes32 tenantId, bytes32 capability, bytes memory signature) private {
        vm.prank(stranger);
        registry.forfeitSigned(tenantId, agent, capability, DEADLINE, signature);
    }

    function _refusedRelay(
        bytes32 tenantId,
        bytes32 capability,
        uint64 nonce,
        bytes memory signature
    ) private {
        bytes memory message = _forfeitMessage(tenantId, agent, capability, nonce, DEADLINE);
        _expectBadAgentSignature(agent, nonce, message);
        _relayForfeit(tenantId, capability, signature);
    }

    function _refusedForfeit(address sender, bytes32 tenantId, bytes32 capability) private {
        _expectNotGranted(tenantId, sender, capability);
        vm.prank(sender);
        registry.forfeit(tenantId, capability);
    }

    function _expectBadAgentSignature(address of_, uint64 nonce, bytes memory message) private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_BadAgentSignature.selector,
                of_,
                nonce,
                _typed(_domain(), message)
            )
        );
    }

    function _expectAgentExpired() private {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_AgentExpired.selector,
                agent,
                DEADLINE,
                DEADLINE + 1
            )
        );
    }
}
