// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice An AuditAnchor in an arbitrary state, at an arbitrary time, and what is stored for a tenant.
/// @custom:covers AuditAnchor 0+0 _heads mapping(bytes32 => {0+0 word HeadWord})
/// @custom:covers AuditAnchor 1+0 _peaks mapping(uint256 => mapping(bytes32 => bytes32))
/// @custom:covers AuditAnchor 2+0 _nonces mapping(bytes32 => uint64)
abstract contract AuditAnchorSymbolic is SymbolicTest {
    /// @dev Everything stored for one tenant. One peak is all of them when its height is arbitrary.
    struct Stored {
        bytes32 head;
        bytes32 nonce;
        bytes32 peak;
    }

    IAuditAnchor internal auditAnchor;

    function setUp() public virtual {
        vm.warp(SVM.createUint256("timestamp"));
        auditAnchor = IAuditAnchor(_deployArbitrary("AuditAnchor.sol:AuditAnchor"));
    }

    function _stored(bytes32 tenantId, uint256 height) internal view returns (Stored memory) {
        return Stored({
            head: _load(_headSlot(tenantId)),
            nonce: _load(_nonceSlot(tenantId)),
            peak: _load(_peakSlot(tenantId, height))
        });
    }

    /// @dev One assertion without branches is one question to the solver.
    function _assertSame(Stored memory a, Stored memory b) internal pure {
        assert((a.head ^ b.head) | (a.nonce ^ b.nonce) | (a.peak ^ b.peak) == 0);
    }

    /// @dev The bound on what an anchor does: at most `most` peaks merge with the batch.
    function _assumeCarries(bytes32 tenantId, uint256 most) internal view {
        uint256 low = (uint256(2) << most) - 1;
        vm.assume(_batches(_load(_headSlot(tenantId))) & low != low);
    }

    // ------------------------------------------------- from the specification

    function _anchorer(bytes32 head) internal pure returns (address) {
        return address(uint160(uint256(head)));
    }

    function _batches(bytes32 head) internal pure returns (uint256) {
        return uint40(uint256(head) >> 160);
    }

    function _entries(bytes32 head) internal pure returns (uint256) {
        return uint256(head) >> 200;
    }

    /// @dev `before` after `item`, of which an anchorer is known to have sent or signed it.
    function _afterItem(bytes32 before, uint64 firstSeq, uint64 count, bool byAnchorer)
        internal
        pure
        returns (bytes32)
    {
        bool fits = _and(byAnchorer, firstSeq == _entries(before));
        fits = _and(fits, _and(count >= 1, count < 2 ** 32));
        fits = _and(fits, _entries(before) + count < 2 ** 56);
        fits = _and(fits, _batches(before) + 1 < 2 ** 40);
        if (!fits) return before;
        return bytes32(
            (_entries(before) + count) << 200 | (_batches(before) + 1) << 160
                | uint160(_anchorer(before))
        );
    }

    function _domain() internal view returns (bytes32) {
        return _domain(block.chainid, address(auditAnchor));
    }

    function _domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return _domain("Cofferdam AuditAnchor", chainId, verifyingContract);
    }

    function _setAnchorerDigest(
        bytes32 domain,
        bytes32 tenantId,
        address anchorer,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "SetAnchorer(bytes32 tenantId,address anchorer,uint64 nonce,uint64 deadline)"
        );
        bytes32 message = keccak256(abi.encode(typeHash, tenantId, anchorer, nonce, deadline));
        return _typedData(domain, message);
    }

    function _anchorDigest(
        bytes32 domain,
        bytes32 tenantId,
        uint64 firstSeq,
        uint64 count,
        bytes32 root,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Anchor(bytes32 tenantId,uint64 firstSeq,uint64 count,bytes32 root,uint64 deadline)"
        );
        bytes32 message = keccak256(abi.encode(typeHash, tenantId, firstSeq, count, root, deadline));
        return _typedData(domain, message);
    }

    function _signerOf(IAuditAnchor.SignedItem calldata item) internal view returns (address) {
        bytes32 digest = _anchorDigest(
            _domain(), item.tenantId, item.firstSeq, item.count, item.root, item.deadline
        );
        return _recover(digest, item.signature);
    }

    function _headSlot(bytes32 tenantId) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(0)));
    }

    function _peakSlot(bytes32 tenantId, uint256 height) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, keccak256(abi.encode(height, uint256(1)))));
    }

    function _nonceSlot(bytes32 tenantId) internal pure returns (bytes32) {
        return keccak256(abi.encode(tenantId, uint256(2)));
    }

    function _load(bytes32 slot) internal view returns (bytes32) {
        return vm.load(address(auditAnchor), slot);
    }
}
