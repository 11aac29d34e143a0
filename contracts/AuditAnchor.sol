// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";
import {EIP712} from "solady/utils/EIP712.sol";
import {LibBit} from "solady/utils/LibBit.sol";

import {IAuditAnchor} from "./interfaces/IAuditAnchor.sol";
import {Credentials} from "./libraries/Credentials.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {HeadWord} from "./libraries/HeadWord.sol";
import {MerklePath} from "./libraries/MerklePath.sol";
import {TenantIds} from "./libraries/TenantIds.sol";

/// @title AuditAnchor
/// @notice See `IAuditAnchor`. No owner, no constructor arguments, nothing upgradeable.
///
/// @dev Storage is part of the interface, since proofs (`eth_getProof`) and ERC-4337 validation code
/// read it. `tenantId` is the innermost key everywhere, so every slot is `keccak256(tenantId ‖ x)`,
/// which ERC-7562 counts as storage associated with the tenant's authority:
///
/// | slot | variable | where a value is |
/// |---|---|---|
/// | 0 | `_heads` | `keccak256(tenantId ‖ 0)`: a `HeadWord` |
/// | 1 | `_peaks` | `keccak256(tenantId ‖ keccak256(height ‖ 1))`: root of 2^height batches |
/// | 2 | `_nonces` | `keccak256(tenantId ‖ 2)`: low 64 bits |
///
/// The history is kept as its peaks, the perfect trees that its batches fall into, one for each bit
/// set in `batches`. The peak at `height` is live only while that bit is set; a stale one keeps its
/// last value, because clearing it would cost gas and buy nothing.
contract AuditAnchor is IAuditAnchor, EIP712 {
    using TenantIds for bytes32;

    // -------------------------------------------------------------- storage

    /// @dev One word. Solidity has storage pointers to structs only, and with one the slot is hashed
    /// once for the read and the write of an anchor (45 gas less than a bare `HeadWord`).
    struct TenantHead {
        HeadWord word;
    }

    mapping(bytes32 tenantId => TenantHead head) private _heads;

    mapping(uint256 height => mapping(bytes32 tenantId => bytes32 peak)) private _peaks;

    mapping(bytes32 tenantId => uint64 nonce) private _nonces;

    bytes32 private constant SET_ANCHORER_TYPEHASH =
        keccak256("SetAnchorer(bytes32 tenantId,address anchorer,uint64 nonce,uint64 deadline)");

    bytes32 private constant ANCHOR_TYPEHASH = keccak256(
        "Anchor(bytes32 tenantId,uint64 firstSeq,uint64 count,bytes32 root,uint64 deadline)"
    );

    // -------------------------------------------------------------- actions

    /// @inheritdoc IAuditAnchor
    function setAnchorer(bytes32 tenantId, address anchorer) external {
        if (_authorityOf(tenantId) != msg.sender) {
            revert AuditAnchor_NotAuthority(tenantId, msg.sender);
        }
        _setAnchorer(tenantId, anchorer, _nonces[tenantId]);
    }

    /// @inheritdoc IAuditAnchor
    function setAnchorerSigned(
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) external {
        address authority = _authorityOf(tenantId);
        if (block.timestamp > deadline) {
            revert AuditAnchor_Expired(tenantId, deadline, block.timestamp);
        }
        uint64 nonce = _nonces[tenantId];
        bytes32 digest = _hashTypedData(
            keccak256(abi.encode(SET_ANCHORER_TYPEHASH, tenantId, anchorer, nonce, deadline))
        );
        // The authority's code runs in a static call, so the nonce read above still stands after it.
        if (!Credentials.isSignedBy(authority, digest, signature)) {
            revert AuditAnchor_BadSignature(tenantId, nonce, digest);
        }
        _setAnchorer(tenantId, anchorer, nonce);
    }

    /// @inheritdoc IAuditAnchor
    function anchor(bytes32 tenantId, uint64 firstSeq, uint64 count, bytes32 root) external {
        TenantHead storage stored = _heads[tenantId];
        HeadWord head = stored.word;
        // A tenant without anchorer has the zero address there, and no transaction comes from that.
        if (head.anchorer() != msg.sender) {
            revert AuditAnchor_NotAnchorer(tenantId, head.anchorer(), msg.sender);
        }
        if (firstSeq != head.entries()) {
            revert AuditAnchor_WrongFirstSeq(tenantId, head.entries(), firstSeq);
        }
        if (!_isCount(count)) revert AuditAnchor_BadCount(tenantId, count);
        if (!head.takesEntries(count)) {
            revert AuditAnchor_EntriesOverflow(tenantId, head.entries(), count);
        }
        if (!head.takesBatch()) revert AuditAnchor_BatchesOverflow(tenantId);
        _append(stored, head, tenantId, firstSeq, count, root);
    }

    /// @inheritdoc IAuditAnchor
    function anchorMany(Item[] calldata items) external {
        for (uint256 i = 0; i < items.length; ++i) {
            Item calldata item = items[i];
            bytes32 tenantId = item.tenantId;
            TenantHead storage stored = _heads[tenantId];
            HeadWord head = stored.word;
            if (head.anchorer() != msg.sender) {
                emit Skipped(i, tenantId, SkipReason.NotAnchorer);
                continue;
            }
            uint64 firstSeq = item.firstSeq;
            uint64 count = item.count;
            (bool fits, SkipReason reason) = _fits(head, firstSeq, count);
            if (!fits) {
                emit Skipped(i, tenantId, reason);
                continue;
            }
            _append(stored, head, tenantId, firstSeq, count, item.root);
        }
    }

    /// @inheritdoc IAuditAnchor
    function anchorSigned(SignedItem[] calldata items) external {
        for (uint256 i = 0; i < items.length; ++i) {
            SignedItem calldata item = items[i];
            TenantHead storage stored = _heads[item.tenantId];
            HeadWord head = stored.word;
            (bool accepted, SkipReason reason) = _accepts(head, item);
            if (!accepted) {
                emit Skipped(i, item.tenantId, reason);
                continue;
            }
            _append(stored, head, item.tenantId, item.firstSeq, item.count, item.root);
        }
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IAuditAnchor
    function heads(bytes32[] calldata tenantIds) external view returns (Head[] memory result) {
        result = new Head[](tenantIds.length);
        for (uint256 i = 0; i < tenantIds.length; ++i) {
            HeadWord head = _heads[tenantIds[i]].word;
            result[i] = Head(head.anchorer(), head.batches(), head.entries());
        }
    }

    /// @inheritdoc IAuditAnchor
    function nonceOf(bytes32 tenantId) external view returns (uint64) {
        return _nonces[tenantId];
    }

    /// @inheritdoc IAuditAnchor
    function peaks(bytes32 tenantId) external view returns (bytes32[] memory result) {
        uint256 live = _heads[tenantId].word.batches();
        result = new bytes32[](LibBit.popCount(live));
        for (uint256 i = 0; i < result.length; ++i) {
            uint256 height = LibBit.fls(live);
            result[i] = _peaks[height][tenantId];
            live ^= uint256(1) << height;
        }
    }

    /// @inheritdoc IAuditAnchor
    function historyRoot(bytes32 tenantId) external view returns (bytes32 root) {
        uint256 live = _heads[tenantId].word.batches();
        for (bool first = true; live != 0; first = false) {
            uint256 height = LibBit.ffs(live);
            bytes32 peak = _peaks[height][tenantId];
            root = first ? peak : Hashes.node(Hashes.HISTORY_NODE, peak, root);
            live &= live - 1;
        }
    }

    /// @inheritdoc IAuditAnchor
    function verifyBatch(bytes32 tenantId, Batch calldata batch, bytes32[] calldata historyPath)
        external
        view
        returns (bool)
    {
        return _verifyBatch(tenantId, batch, historyPath);
    }

    /// @inheritdoc IAuditAnchor
    function verifyEntry(
        bytes32 tenantId,
        Entry calldata entry,
        Batch calldata batch,
        bytes32[] calldata path,
        bytes32[] calldata historyPath
    ) external view returns (bool) {
        if (entry.seq < batch.firstSeq) return false;
        uint256 index = entry.seq - batch.firstSeq;
        bytes32 leaf = Hashes.entry(tenantId, entry.seq, entry.previous, entry.commitment);
        return MerklePath.verify(Hashes.BATCH_NODE, leaf, index, batch.count, path, batch.root)
            && _verifyBatch(tenantId, batch, historyPath);
    }

    // ------------------------------------------------------------ internals

    /// @dev The authority that `tenantId` spells, never zero.
    function _authorityOf(bytes32 tenantId) private pure returns (address authority) {
        authority = tenantId.authorityOf();
        if (authority == address(0)) revert AuditAnchor_InvalidTenantId(tenantId);
    }

    function _setAnchorer(bytes32 tenantId, address anchorer, uint64 nonce) private {
        _nonces[tenantId] = nonce + 1;
        TenantHead storage stored = _heads[tenantId];
        stored.word = stored.word.withAnchorer(anchorer);
        emit AnchorerSet(tenantId, anchorer, nonce);
    }

    /// @dev Whether `item` may be appended to the tenant of `head`, and if not, why. The signature
    /// comes last because it costs most.
    function _accepts(HeadWord head, SignedItem calldata item)
        private
        view
        returns (bool, SkipReason)
    {
        address anchorer = head.anchorer();
        // Failed recovery gives the zero address too: it must never meet a tenant without anchorer.
        if (anchorer == address(0)) return (false, SkipReason.NotAnchorer);
        if (block.timestamp > item.deadline) return (false, SkipReason.Expired);
        (bool fits, SkipReason reason) = _fits(head, item.firstSeq, item.count);
        if (!fits) return (false, reason);
        bytes32 digest = _hashTypedData(
            keccak256(
                abi.encode(
                    ANCHOR_TYPEHASH,
                    item.tenantId,
                    item.firstSeq,
                    item.count,
                    item.root,
                    item.deadline
                )
            )
        );
        if (ECDSA.tryRecoverCalldata(digest, item.signature) != anchorer) {
            return (false, SkipReason.BadSignature);
        }
        return (true, reason);
    }

    /// @dev Whether a batch follows the last one and keeps the counters in their bits, and if not, why.
    /// `anchor` makes the same checks itself, since sharing this function would cost it 70 gas.
    function _fits(HeadWord head, uint64 firstSeq, uint64 count)
        private
        pure
        returns (bool, SkipReason reason)
    {
        if (firstSeq != head.entries()) return (false, SkipReason.WrongFirstSeq);
        if (!_isCount(count)) return (false, SkipReason.BadCount);
        if (!head.takesEntries(count)) return (false, SkipReason.EntriesOverflow);
        if (!head.takesBatch()) return (false, SkipReason.BatchesOverflow);
        return (true, reason);
    }

    /// @dev Whether `1 <= count < 2^32`: for 0 the difference wraps around.
    function _isCount(uint64 count) private pure returns (bool) {
        unchecked {
            return uint256(count) - 1 < type(uint32).max;
        }
    }

    /// @dev Appends a batch that was checked. Each bit set at the low end of `batches` is a peak that
    /// the new one merges with, like the carry of an addition by one.
    function _append(
        TenantHead storage stored,
        HeadWord head,
        bytes32 tenantId,
        uint64 firstSeq,
        uint64 count,
        bytes32 root
    ) private {
        uint64 batchIndex = head.batches();
        // forge-lint: disable-next-line(unsafe-typecast) good for half a trillion years
        uint64 anchoredAt = uint64(block.timestamp);

        bytes32 node =
            Hashes.batchCommitment(tenantId, batchIndex, firstSeq, count, root, anchoredAt);
        uint256 height = 0;
        mapping(bytes32 tenantId => bytes32 peak) storage level = _peaks[0];
        for (uint256 carry = batchIndex; carry & 1 != 0; carry >>= 1) {
            node = Hashes.node(Hashes.HISTORY_NODE, level[tenantId], node);
            unchecked {
                level = _peaks[++height];
            }
        }
        level[tenantId] = node;
        stored.word = head.advanced(count);
        emit Anchored(tenantId, batchIndex, firstSeq, count, root, anchoredAt);
    }

    function _verifyBatch(bytes32 tenantId, Batch calldata batch, bytes32[] calldata historyPath)
        private
        view
        returns (bool)
    {
        uint256 batches = _heads[tenantId].word.batches();
        uint256 batchIndex = batch.batchIndex;
        if (batchIndex >= batches) return false;
        // Above this bit the two agree, at it `batches` has the larger: the peak there covers it.
        uint256 height = LibBit.fls(batches ^ batchIndex);
        bytes32 peak = _peaks[height][tenantId];
        bytes32 commitment = Hashes.batchCommitment(
            tenantId, batch.batchIndex, batch.firstSeq, batch.count, batch.root, batch.anchoredAt
        );
        uint256 size = uint256(1) << height;
        return MerklePath.verify(
            Hashes.HISTORY_NODE, commitment, batchIndex & (size - 1), size, historyPath, peak
        );
    }

    /// @inheritdoc EIP712
    function _domainNameAndVersion()
        internal
        pure
        override
        returns (string memory name, string memory version)
    {
        return ("Cofferdam AuditAnchor", "1");
    }
}
