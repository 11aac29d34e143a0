// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

/// @notice An MCPAgentRegistry, two tenants and two agents, with digests and slots made from the
/// specification.
abstract contract MCPAgentRegistryTest is RegistryTest {
    uint256 internal constant AGENT_KEY = uint256(keccak256("agent"));
    uint256 internal constant OTHER_AGENT_KEY = uint256(keccak256("other agent"));

    string internal constant NAME = "Cofferdam MCPAgentRegistry";

    bytes32 internal constant SEND = keccak256("payments.send");
    bytes32 internal constant SWAP = keccak256("payments.swap");

    IMCPAgentRegistry internal registry;

    address internal agent = vm.addr(AGENT_KEY);
    address internal otherAgent = vm.addr(OTHER_AGENT_KEY);

    function setUp() public virtual {
        vm.warp(START);
        vm.chainId(8453);
        registry = _deployRegistry();
    }

    function _deployRegistry() internal returns (IMCPAgentRegistry) {
        return IMCPAgentRegistry(_create(vm.getCode("MCPAgentRegistry.sol:MCPAgentRegistry")));
    }

    // ----------------------------------------------------------- arranging

    /// @dev From an hour ago to a day ahead.
    function _window() internal pure returns (IMCPAgentRegistry.Window memory) {
        return IMCPAgentRegistry.Window(START - 1 hours, START + 1 days);
    }

    function _native() internal pure returns (IMCPAgentRegistry.Limits memory) {
        return IMCPAgentRegistry.Limits(1 ether, address(0), bytes4(0), 0);
    }

    function _token() internal pure returns (IMCPAgentRegistry.Limits memory) {
        return IMCPAgentRegistry.Limits(2 ether, _address("token", 0), bytes4(0), 100e6);
    }

    function _call() internal pure returns (IMCPAgentRegistry.Limits memory) {
        return IMCPAgentRegistry.Limits(3 ether, _address("router", 0), bytes4(0xa1b2c3d4), 0);
    }

    function _grant(address authority, address to, bytes32 capability) internal {
        vm.prank(authority);
        registry.grant(_id(authority), to, capability, _window(), _native());
    }

    // ------------------------------------------------------------- reading

    /// @dev All that is stored for a tenant about both agents and both capabilities, in one word.
    function _state(bytes32 tenantId) internal view returns (bytes32 state) {
        address target = address(registry);
        state = vm.load(target, _nonceSlot(tenantId));
        address[3] memory agents = [agent, otherAgent, stranger];
        bytes32[2] memory capabilities = [SEND, SWAP];
        for (uint256 i = 0; i < 3; ++i) {
            state = keccak256(abi.encode(state, vm.load(target, _epochSlot(tenantId, agents[i]))));
            for (uint256 j = 0; j < 2; ++j) {
                bytes32 slot = _grantSlot(tenantId, agents[i], capabilities[j]);
                bytes32 second = bytes32(uint256(slot) + 1);
                state = keccak256(abi.encode(state, vm.load(target, slot), vm.load(target, second)));
            }
        }
    }

    /// @dev All that is stored for an agent, in one word.
    function _agentState(address of_) internal view returns (bytes32 state) {
        for (uint256 word = 2; word < 6; ++word) {
            bytes32 slot = bytes32(uint256(_agentSlot(of_)) + word);
            state = keccak256(abi.encode(state, vm.load(address(registry), slot)));
        }
    }

    function _assertNotGranted(bytes32 tenantId, address to, bytes32 capability) internal {
        assertFalse(registry.isScoped(tenantId, to, capability), "is scoped");
        _expectNotGranted(tenantId, to, capability);
        registry.scopeOf(tenantId, to, capability);
    }

    function _expectNotGranted(bytes32 tenantId, address to, bytes32 capability) internal {
        vm.expectRevert(
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_NotGranted.selector, tenantId, to, capability
            )
        );
    }

    // ------------------------------------------------- from the specification

    function _grantSlot(bytes32 tenantId, address to, bytes32 capability)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(tenantId, keccak256(abi.encode(capability, _agentSlot(to)))));
    }

    function _epochSlot(bytes32 tenantId, address to) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(_agentSlot(to)) + 1));
    }

    function _nonceSlot(bytes32 tenantId) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(1)));
    }

    function _agentSlot(address of_) internal pure returns (bytes32) {
        return keccak256(abi.encode(of_, uint256(0)));
    }

    function _domain() internal view returns (bytes32) {
        return _domain(NAME, block.chainid, address(registry));
    }

    function _grantMessage(
        bytes32 tenantId,
        address to,
        bytes32 capability,
        IMCPAgentRegistry.Window memory window,
        IMCPAgentRegistry.Limits memory limits,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes memory) {
        bytes memory first = abi.encode(
            keccak256(
                "Grant(bytes32 tenantId,address agent,bytes32 capability,uint48 notBefore,uint48 notAfter,uint80 nativeMax,address target,bytes4 selector,uint96 tokenMax,uint64 nonce,uint64 deadline)"
            ),
            tenantId,
            to,
            capability,
            window.notBefore,
            window.notAfter
        );
        bytes memory second = abi.encode(
            limits.nativeMax, limits.target, limits.selector, limits.tokenMax, nonce, deadline
        );
        return abi.encodePacked(first, second);
    }

    function _extendMessage(
        bytes32 tenantId,
        address to,
        bytes32 capability,
        uint48 notAfter,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Extend(bytes32 tenantId,address agent,bytes32 capability,uint48 notAfter,uint64 nonce,uint64 deadline)"
        );
        return abi.encode(typeHash, tenantId, to, capability, notAfter, nonce, deadline);
    }

    function _revokeMessage(
        bytes32 tenantId,
        address to,
        bytes32 capability,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Revoke(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)"
        );
        return abi.encode(typeHash, tenantId, to, capability, nonce, deadline);
    }

    function _revokeAgentMessage(bytes32 tenantId, address to, uint64 nonce, uint64 deadline)
        internal
        pure
        returns (bytes memory)
    {
        bytes32 typeHash =
            keccak256("RevokeAgent(bytes32 tenantId,address agent,uint64 nonce,uint64 deadline)");
        return abi.encode(typeHash, tenantId, to, nonce, deadline);
    }

    function _forfeitMessage(
        bytes32 tenantId,
        address to,
        bytes32 capability,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes memory) {
        bytes32 typeHash = keccak256(
            "Forfeit(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)"
        );
        return abi.encode(typeHash, tenantId, to, capability, nonce, deadline);
    }

    function _describeMessage(
        address of_,
        string memory endpoint,
        IMCPAgentRegistry.Description memory description,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes memory) {
        return abi.encode(
            keccak256(
                "Describe(address agent,string endpoint,bytes32 metadataHash,address erc8004Registry,uint256 erc8004Id,uint64 nonce,uint64 deadline)"
            ),
            of_,
            keccak256(bytes(endpoint)),
            description.metadataHash,
            description.erc8004Registry,
            description.erc8004Id,
            nonce,
            deadline
        );
    }
}
