// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice An MCPAgentRegistry in an arbitrary state, at an arbitrary time, and what is stored for a
/// tenant and for an agent.
/// @custom:covers MCPAgentRegistry 0+0 _agents mapping(address => {0+0 grants mapping(bytes32 => mapping(bytes32 => {0+0 word GrantWord, 1+0 target address, 1+20 bound uint96})), 1+0 epochs mapping(bytes32 => uint32), 2+0 nonce uint64, 2+8 erc8004Registry address, 3+0 erc8004Id uint256, 4+0 endpointHash bytes32, 5+0 metadataHash bytes32})
/// @custom:covers MCPAgentRegistry 1+0 _nonces mapping(bytes32 => uint64)
// Casts below cut off exactly what belongs to the neighbours in a word.
// forge-lint: disable-start(unsafe-typecast)
abstract contract MCPAgentRegistrySymbolic is SymbolicTest {
    /// @dev What one grant is worth, and all that it is for.
    struct Triple {
        bytes32 tenantId;
        address agent;
        bytes32 capability;
    }

    /// @dev Everything stored for the tenant of a triple, and for its agent: one triple is all of them
    /// when it is arbitrary.
    struct Stored {
        bytes32 word;
        bytes32 bound;
        bytes32 epoch;
        bytes32 nonce;
        Self self;
    }

    /// @dev What the agent says about itself, with its nonce: no tenant's.
    struct Self {
        bytes32 nonceAndRegistry;
        bytes32 erc8004Id;
        bytes32 endpointHash;
        bytes32 metadataHash;
    }

    /// @dev What `grant` takes beside the triple.
    struct Terms {
        IMCPAgentRegistry.Window window;
        IMCPAgentRegistry.Limits limits;
    }

    /// @dev What `describe` takes.
    struct Words {
        string endpoint;
        bytes32 metadataHash;
        address erc8004Registry;
        uint256 erc8004Id;
    }

    IMCPAgentRegistry internal registry;

    function setUp() public virtual {
        vm.warp(SVM.createUint256("timestamp"));
        registry = IMCPAgentRegistry(_deployArbitrary("MCPAgentRegistry.sol:MCPAgentRegistry"));
    }

    // ---------------------------------------------------------------- storage

    function _stored(Triple calldata t) internal view returns (Stored memory stored) {
        uint256 agent = uint256(keccak256(abi.encode(t.agent, uint256(0))));
        uint256 grant = uint256(
            keccak256(abi.encode(t.tenantId, keccak256(abi.encode(t.capability, bytes32(agent)))))
        );
        stored.word = _load(grant);
        stored.bound = _load(grant + 1);
        stored.epoch = _load(uint256(keccak256(abi.encode(t.tenantId, bytes32(agent + 1)))));
        stored.nonce = _load(uint256(keccak256(abi.encode(t.tenantId, uint256(1)))));
        stored.self = Self(_load(agent + 2), _load(agent + 3), _load(agent + 4), _load(agent + 5));
    }

    function _load(uint256 slot) internal view returns (bytes32) {
        return vm.load(address(registry), bytes32(slot));
    }

    /// @dev Zero when the same is stored for the tenant. One assertion without branches is one question
    /// to the solver.
    function _difference(Stored memory a, Stored memory b) internal pure returns (bytes32) {
        return (a.word ^ b.word) | (a.bound ^ b.bound) | (a.epoch ^ b.epoch) | (a.nonce ^ b.nonce);
    }

    /// @dev Zero when the same is stored for the agent.
    function _difference(Self memory a, Self memory b) internal pure returns (bytes32) {
        return (a.nonceAndRegistry ^ b.nonceAndRegistry) | (a.erc8004Id ^ b.erc8004Id)
            | (a.endpointHash ^ b.endpointHash) | (a.metadataHash ^ b.metadataHash);
    }

    // ------------------------------------------------- from the specification

    function _isLive(Stored memory stored) internal pure returns (bool) {
        uint256 word = uint256(stored.word);
        return _and(word != 0, uint32(word >> 136) == uint32(uint256(stored.epoch)));
    }

    function _nonce(Stored memory stored) internal pure returns (uint64) {
        return uint64(uint256(stored.nonce));
    }

    function _nonce(Self memory self) internal pure returns (uint64) {
        return uint64(uint256(self.nonceAndRegistry));
    }

    /// @dev A word whose low 64 bits are a nonce, after something that consumed it.
    function _consumed(bytes32 word) internal pure returns (bytes32) {
        unchecked {
            uint256 nonce = uint64(uint256(word) + 1);
            return ((word >> 64) << 64) | bytes32(nonce);
        }
    }

    function _sameGrant(Triple calldata a, Triple calldata b) internal pure returns (bool) {
        return _and(_sameAgentAtTenant(a, b), a.capability == b.capability);
    }

    function _sameAgentAtTenant(Triple calldata a, Triple calldata b) internal pure returns (bool) {
        return _and(a.tenantId == b.tenantId, a.agent == b.agent);
    }

    function _domain() internal view returns (bytes32) {
        return _domain(block.chainid, address(registry));
    }

    function _domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return _domain("Cofferdam MCPAgentRegistry", chainId, verifyingContract);
    }

    function _grantDigest(
        bytes32 domain,
        Triple calldata t,
        Terms calldata terms,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Grant(bytes32 tenantId,address agent,bytes32 capability,uint48 notBefore,uint48 notAfter,uint80 nativeMax,address target,bytes4 selector,uint96 tokenMax,uint64 nonce,uint64 deadline)"
        );
        return _typedData(domain, keccak256(abi.encode(typeHash, t, terms, nonce, deadline)));
    }

    function _extendDigest(
        bytes32 domain,
        Triple calldata t,
        uint48 notAfter,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Extend(bytes32 tenantId,address agent,bytes32 capability,uint48 notAfter,uint64 nonce,uint64 deadline)"
        );
        return _typedData(domain, keccak256(abi.encode(typeHash, t, notAfter, nonce, deadline)));
    }

    function _revokeDigest(bytes32 domain, Triple calldata t, uint64 nonce, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "Revoke(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)"
        );
        return _typedData(domain, keccak256(abi.encode(typeHash, t, nonce, deadline)));
    }

    function _revokeAgentDigest(bytes32 domain, Triple calldata t, uint64 nonce, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash =
            keccak256("RevokeAgent(bytes32 tenantId,address agent,uint64 nonce,uint64 deadline)");
        bytes32 message = keccak256(abi.encode(typeHash, t.tenantId, t.agent, nonce, deadline));
        return _typedData(domain, message);
    }

    function _forfeitDigest(bytes32 domain, Triple calldata t, uint64 nonce, uint64 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "Forfeit(bytes32 tenantId,address agent,bytes32 capability,uint64 nonce,uint64 deadline)"
        );
        return _typedData(domain, keccak256(abi.encode(typeHash, t, nonce, deadline)));
    }

    function _describeDigest(
        bytes32 domain,
        address agent,
        Words calldata words,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Describe(address agent,string endpoint,bytes32 metadataHash,address erc8004Registry,uint256 erc8004Id,uint64 nonce,uint64 deadline)"
        );
        bytes32 message = keccak256(
            abi.encode(
                typeHash,
                agent,
                keccak256(bytes(words.endpoint)),
                words.metadataHash,
                words.erc8004Registry,
                words.erc8004Id,
                nonce,
                deadline
            )
        );
        return _typedData(domain, message);
    }
}
// forge-lint: disable-end(unsafe-typecast)
