// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {BaseTest} from "./BaseTest.sol";
import {ReferenceTree} from "./ReferenceTree.sol";

/// @notice An AuditAnchor with two tenants that are EOAs and one anchorer, and what tests build from
/// the specification instead of from the contract: digests, hashes, slots.
abstract contract AuditAnchorTest is BaseTest {
    bytes1 internal constant BATCH_NODE = 0x01;
    bytes1 internal constant HISTORY_NODE = 0x03;

    uint256 internal constant ALICE_KEY = uint256(keccak256("alice"));
    uint256 internal constant BOB_KEY = uint256(keccak256("bob"));
    uint256 internal constant ANCHORER_KEY = uint256(keccak256("anchorer"));
    uint256 internal constant STRANGER_KEY = uint256(keccak256("stranger"));

    uint64 internal constant START = 1_760_000_000;

    IAuditAnchor internal auditAnchor;

    address internal alice = vm.addr(ALICE_KEY);
    address internal bob = vm.addr(BOB_KEY);
    address internal anchorer = vm.addr(ANCHORER_KEY);
    address internal stranger = vm.addr(STRANGER_KEY);
    bytes32 internal aliceId = _id(alice);
    bytes32 internal bobId = _id(bob);

    /// @dev Commitments of the batches that `_anchorBatches` made, as the leaves of the history.
    mapping(bytes32 tenantId => bytes32[] commitments) internal history;
    mapping(bytes32 tenantId => IAuditAnchor.Batch[] batches) internal anchored;

    function setUp() public virtual {
        vm.warp(START);
        vm.chainId(8453);
        auditAnchor = _deployAuditAnchor();
    }

    // ----------------------------------------------------------- arranging

    function _setAnchorer(address authority, address newAnchorer) internal {
        vm.prank(authority);
        auditAnchor.setAnchorer(_id(authority), newAnchorer);
    }

    /// @dev Anchors one batch as the anchorer, a random second later, and remembers it.
    function _anchorBatch(bytes32 tenantId, uint64 count, bytes32 root)
        internal
        returns (IAuditAnchor.Batch memory batch)
    {
        IAuditAnchor.Head memory head = _head(tenantId);
        vm.warp(block.timestamp + 1 + uint256(root) % 100);
        vm.prank(head.anchorer);
        auditAnchor.anchor(tenantId, head.entries, count, root);
        batch = IAuditAnchor.Batch(head.batches, head.entries, count, root, uint64(block.timestamp));
        anchored[tenantId].push(batch);
        history[tenantId].push(_commitment(tenantId, batch));
    }

    /// @dev Anchors `count` batches with random roots.
    function _anchorBatches(bytes32 tenantId, uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            bytes32 root = keccak256(abi.encode(tenantId, anchored[tenantId].length));
            _anchorBatch(tenantId, uint64(1 + uint256(root) % 50), root);
        }
    }

    /// @dev Overwrites a tenant's head, to reach states that would take a lifetime.
    function _storeHead(bytes32 tenantId, address newAnchorer, uint256 batches, uint256 entries)
        internal
    {
        uint256 word = (entries << 200) | (batches << 160) | uint160(newAnchorer);
        vm.store(address(auditAnchor), _headSlot(tenantId), bytes32(word));
    }

    // ------------------------------------------------------------- reading

    function _head(bytes32 tenantId) internal view returns (IAuditAnchor.Head memory) {
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = tenantId;
        return auditAnchor.heads(ids)[0];
    }

    function _assertHead(
        bytes32 tenantId,
        address expectedAnchorer,
        uint256 batches,
        uint256 entries
    ) internal view {
        IAuditAnchor.Head memory head = _head(tenantId);
        assertEq(head.anchorer, expectedAnchorer, "anchorer");
        assertEq(head.batches, batches, "batches");
        assertEq(head.entries, entries, "entries");
    }

    /// @dev All that is stored for a tenant, in one word.
    function _state(bytes32 tenantId) internal view returns (bytes32 state) {
        address target = address(auditAnchor);
        state = keccak256(
            abi.encode(vm.load(target, _headSlot(tenantId)), vm.load(target, _nonceSlot(tenantId)))
        );
        for (uint256 height = 0; height < 8; ++height) {
            state = keccak256(abi.encode(state, vm.load(target, _peakSlot(tenantId, height))));
        }
    }

    function _pathToPeak(bytes32 tenantId, uint256 index) internal view returns (bytes32[] memory) {
        return ReferenceTree.pathToPeak(HISTORY_NODE, history[tenantId], index);
    }

    // ------------------------------------------------- from the specification

    function _headSlot(bytes32 tenantId) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(0)));
    }

    function _peakSlot(bytes32 tenantId, uint256 height) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, keccak256(abi.encode(height, uint256(1)))));
    }

    function _nonceSlot(bytes32 tenantId) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(2)));
    }

    function _entryHash(bytes32 tenantId, IAuditAnchor.Entry memory entry)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(bytes1(0x00), tenantId, entry.seq, entry.previous, entry.commitment)
        );
    }

    function _commitment(bytes32 tenantId, IAuditAnchor.Batch memory batch)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodePacked(
                bytes1(0x02),
                tenantId,
                batch.batchIndex,
                batch.firstSeq,
                batch.count,
                batch.root,
                batch.anchoredAt
            )
        );
    }

    function _domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Cofferdam AuditAnchor"),
                keccak256("1"),
                chainId,
                verifyingContract
            )
        );
    }

    function _domain() internal view returns (bytes32) {
        return _domain(block.chainid, address(auditAnchor));
    }

    function _setAnchorerDigest(
        bytes32 domain,
        bytes32 tenantId,
        address newAnchorer,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "SetAnchorer(bytes32 tenantId,address anchorer,uint64 nonce,uint64 deadline)"
        );
        bytes32 message = keccak256(abi.encode(typeHash, tenantId, newAnchorer, nonce, deadline));
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function _anchorDigest(bytes32 domain, IAuditAnchor.SignedItem memory item)
        internal
        pure
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "Anchor(bytes32 tenantId,uint64 firstSeq,uint64 count,bytes32 root,uint64 deadline)"
        );
        bytes32 message = keccak256(
            abi.encode(typeHash, item.tenantId, item.firstSeq, item.count, item.root, item.deadline)
        );
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _signCompact(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        return abi.encodePacked(r, vs);
    }
}
