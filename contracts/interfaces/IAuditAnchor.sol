// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title IAuditAnchor
/// @notice Append-only anchors of many tenants' audit logs, on one contract that belongs to nobody.
///
/// A tenant is an address, its authority: `tenantId = bytes32(uint256(uint160(authority)))`. The
/// authority names an anchorer, a plain key, and the anchorer posts the Merkle root of each batch of
/// the tenant's log. The contract gives every batch its index, insists that batches follow each other
/// without gap or overlap, and keeps all of a tenant's batches as one Merkle history, so that an
/// entry of any age can be proven against the present state.
///
/// @dev The hashes, all keccak256 over fixed-width big-endian fields:
///
/// - entry hash: `0x00 ‖ tenantId ‖ seq u64 ‖ previous entry hash ‖ commitment`
/// - batch tree: RFC 6962 shape, entry hashes as leaf nodes, inner nodes `0x01 ‖ left ‖ right`
/// - batch commitment: `0x02 ‖ tenantId ‖ batchIndex u64 ‖ firstSeq u64 ‖ count u64 ‖ root ‖ anchoredAt u64`
/// - history tree: RFC 6962 shape, batch commitments as leaf nodes, inner nodes `0x03 ‖ left ‖ right`
///
/// EIP-712 domain (ERC-5267 `eip712Domain()` returns it): name `Cofferdam AuditAnchor`, version `1`,
/// the chain's id, this contract. Types:
///
/// - `SetAnchorer(bytes32 tenantId,address anchorer,uint64 nonce,uint64 deadline)`, by the authority
/// - `Anchor(bytes32 tenantId,uint64 firstSeq,uint64 count,bytes32 root,uint64 deadline)`, by the anchorer
interface IAuditAnchor {
    // ---------------------------------------------------------------- types

    /// @notice What the contract knows of a tenant before its next batch.
    /// @param anchorer The key that may anchor; zero when nobody may.
    /// @param batches Number of batches anchored, which is the index of the next one.
    /// @param entries Number of entries anchored, which is the `firstSeq` of the next batch.
    struct Head {
        address anchorer;
        uint64 batches;
        uint64 entries;
    }

    /// @notice A batch to anchor.
    /// @param tenantId The tenant.
    /// @param firstSeq Sequence number of the batch's first entry; must equal the tenant's `entries`.
    /// @param count Number of entries, 1 to 2^32 − 1.
    /// @param root Root of the batch tree.
    struct Item {
        bytes32 tenantId;
        uint64 firstSeq;
        uint64 count;
        bytes32 root;
    }

    /// @notice A batch to anchor, with the anchorer's EIP-712 `Anchor` signature.
    /// @param tenantId The tenant.
    /// @param firstSeq Sequence number of the batch's first entry; must equal the tenant's `entries`.
    /// @param count Number of entries, 1 to 2^32 − 1.
    /// @param root Root of the batch tree.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA, 65 bytes `r ‖ s ‖ v`, or 64 bytes `r ‖ vs` (ERC-2098).
    struct SignedItem {
        bytes32 tenantId;
        uint64 firstSeq;
        uint64 count;
        bytes32 root;
        uint64 deadline;
        bytes signature;
    }

    /// @notice An anchored batch, as `Anchored` reported it.
    /// @param batchIndex Position in the tenant's history, from 0.
    /// @param firstSeq Sequence number of the first entry.
    /// @param count Number of entries.
    /// @param root Root of the batch tree.
    /// @param anchoredAt Timestamp of the block that holds it, in seconds.
    struct Batch {
        uint64 batchIndex;
        uint64 firstSeq;
        uint64 count;
        bytes32 root;
        uint64 anchoredAt;
    }

    /// @notice An entry of a tenant's log, as far as its hash needs it.
    /// @param seq Sequence number, from 0 without gaps.
    /// @param previous Hash of the entry before it; zero for the first.
    /// @param commitment Commitment to the entry's fields.
    struct Entry {
        uint64 seq;
        bytes32 previous;
        bytes32 commitment;
    }

    /// @notice Why an item was skipped. The numbers are part of the interface.
    ///
    /// - 0 `NotAnchorer`: the sender is not the tenant's anchorer; for a signed item, there is none
    /// - 1 `WrongFirstSeq`: `firstSeq` is not the tenant's `entries`, most often because the batch is
    ///   anchored already
    /// - 2 `BadCount`: `count` is 0 or above 2^32 − 1
    /// - 3 `EntriesOverflow`: `entries + count` would pass 2^56 − 1
    /// - 4 `BatchesOverflow`: the tenant has 2^40 − 1 batches
    /// - 5 `Expired`: the deadline of the signed item has passed
    /// - 6 `BadSignature`: the signature is not the anchorer's for this item, chain and contract
    enum SkipReason {
        NotAnchorer,
        WrongFirstSeq,
        BadCount,
        EntriesOverflow,
        BatchesOverflow,
        Expired,
        BadSignature
    }

    // --------------------------------------------------------------- events

    /// @notice The authority of `tenantId` made `anchorer` the one key that may anchor.
    /// @param tenantId The tenant.
    /// @param anchorer The key; zero when nobody may anchor any more.
    /// @param nonce The nonce this change consumed: 0, 1, 2, … without gaps for each tenant.
    event AnchorerSet(bytes32 indexed tenantId, address indexed anchorer, uint64 nonce);

    /// @notice A batch of `tenantId` was anchored. These are all the inputs of its commitment.
    /// @param tenantId The tenant.
    /// @param batchIndex Position in the tenant's history: 0, 1, 2, … without gaps for each tenant.
    /// @param firstSeq Sequence number of the first entry: the sum of all counts before.
    /// @param count Number of entries.
    /// @param root Root of the batch tree.
    /// @param anchoredAt The block's timestamp, in seconds.
    event Anchored(
        bytes32 indexed tenantId,
        uint64 indexed batchIndex,
        uint64 firstSeq,
        uint64 count,
        bytes32 root,
        uint64 anchoredAt
    );

    /// @notice Item number `item` of this call was left out.
    /// @dev No topic on purpose: any stranger can cause one with any tenant's id, so nobody should
    /// be tempted to follow these as a tenant's events.
    /// @param item Position in the calldata array, from 0.
    /// @param tenantId The id the item named.
    /// @param reason Why.
    event Skipped(uint256 item, bytes32 tenantId, SkipReason reason);

    // --------------------------------------------------------------- errors

    /// @notice `tenantId` is no tenant's id: it is zero, or one of its top 96 bits is set.
    error AuditAnchor_InvalidTenantId(bytes32 tenantId);

    /// @notice `sender` is not the authority that `tenantId` spells.
    error AuditAnchor_NotAuthority(bytes32 tenantId, address sender);

    /// @notice The signature was good until `deadline`, and the block's timestamp is `timestamp`.
    error AuditAnchor_Expired(bytes32 tenantId, uint64 deadline, uint256 timestamp);

    /// @notice The signature is not the authority's for `digest`, which was made with the tenant's
    /// present `nonce`, this chain and this contract.
    error AuditAnchor_BadSignature(bytes32 tenantId, uint64 nonce, bytes32 digest);

    /// @notice `sender` may not anchor for `tenantId`; `anchorer` may (nobody when zero).
    error AuditAnchor_NotAnchorer(bytes32 tenantId, address anchorer, address sender);

    /// @notice The next batch of `tenantId` must start at `expected`, not at `firstSeq`.
    error AuditAnchor_WrongFirstSeq(bytes32 tenantId, uint64 expected, uint64 firstSeq);

    /// @notice A batch has 1 to 2^32 − 1 entries, not `count`.
    error AuditAnchor_BadCount(bytes32 tenantId, uint64 count);

    /// @notice `entries + count` would pass 2^56 − 1.
    error AuditAnchor_EntriesOverflow(bytes32 tenantId, uint64 entries, uint64 count);

    /// @notice `tenantId` has 2^40 − 1 batches, as many as a tenant can have.
    error AuditAnchor_BatchesOverflow(bytes32 tenantId);

    // -------------------------------------------------------------- actions

    /// @notice Makes `anchorer` the one key that may anchor for `tenantId`. Caller: its authority.
    /// @dev Bumps the nonce, so every `SetAnchorer` signature given before is void, also when the
    /// anchorer stays the same. An anchorer is a key: a contract can call `anchor`, but `anchorSigned`
    /// never asks it (no ERC-1271).
    /// Reverts: `AuditAnchor_InvalidTenantId`, `AuditAnchor_NotAuthority`.
    /// @param tenantId The tenant.
    /// @param anchorer The key; zero so that nobody may anchor.
    function setAnchorer(bytes32 tenantId, address anchorer) external;

    /// @notice The same for anyone who brings the authority's EIP-712 `SetAnchorer` signature.
    /// @dev ECDSA is tried first, then ERC-1271 if the authority has code, so that an EOA that
    /// delegates to code (EIP-7702) can always use its own key. No ERC-6492: an account that is not
    /// deployed yet cannot sign here. Signatures are good for one nonce.
    /// Reverts: `AuditAnchor_InvalidTenantId`, `AuditAnchor_Expired`, `AuditAnchor_BadSignature`.
    /// @param tenantId The tenant.
    /// @param anchorer The key; zero so that nobody may anchor.
    /// @param deadline Last timestamp, in seconds, at which the signature is good.
    /// @param signature ECDSA of 65 or 64 bytes, or whatever the authority's ERC-1271 code takes.
    function setAnchorerSigned(
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) external;

    /// @notice Anchors the next batch of `tenantId`. Caller: its anchorer.
    /// @dev Reverts, in this order: `AuditAnchor_NotAnchorer`, `AuditAnchor_WrongFirstSeq`,
    /// `AuditAnchor_BadCount`, `AuditAnchor_EntriesOverflow`, `AuditAnchor_BatchesOverflow`.
    /// @param tenantId The tenant.
    /// @param firstSeq Sequence number of the first entry; must equal the tenant's `entries`.
    /// @param count Number of entries, 1 to 2^32 − 1.
    /// @param root Root of the batch tree. Taken as it is: the contract cannot see the entries.
    function anchor(bytes32 tenantId, uint64 firstSeq, uint64 count, bytes32 root) external;

    /// @notice Anchors batches of many tenants that share one anchorer. Caller: that anchorer.
    /// @dev An item that cannot be anchored is skipped with a `Skipped` event, checked in the order of
    /// `anchor`, and the others go on: a revert would let one tenant hold up another. Items are taken
    /// in order, so several batches of one tenant may follow each other.
    /// @param items The batches.
    function anchorMany(Item[] calldata items) external;

    /// @notice Anchors batches that carry their anchorer's signature, whoever sends them.
    /// @dev Skips like `anchorMany`, checked in this order: `NotAnchorer`, `Expired`,
    /// `WrongFirstSeq`, `BadCount`, `EntriesOverflow`, `BatchesOverflow`, `BadSignature`. A signature
    /// cannot be used twice, since the tenant's `entries` has moved past its `firstSeq`.
    /// @param items The batches.
    function anchorSigned(SignedItem[] calldata items) external;

    // ---------------------------------------------------------------- views

    /// @notice The heads of many tenants; all zero for an id nothing was done with.
    /// @param tenantIds The tenants.
    /// @return Their heads, in the same order.
    function heads(bytes32[] calldata tenantIds) external view returns (Head[] memory);

    /// @notice The nonce that the tenant's next `SetAnchorer` signature must carry.
    /// @param tenantId The tenant.
    /// @return The number of times its anchorer was set.
    function nonceOf(bytes32 tenantId) external view returns (uint64);

    /// @notice The live peaks of the tenant's history, the highest and oldest first.
    /// @param tenantId The tenant.
    /// @return One per bit that is set in the tenant's `batches`.
    function peaks(bytes32 tenantId) external view returns (bytes32[] memory);

    /// @notice The RFC 6962 root over the tenant's batch commitments.
    /// @param tenantId The tenant.
    /// @return The root; zero when nothing was anchored.
    function historyRoot(bytes32 tenantId) external view returns (bytes32);

    /// @notice Whether `batch` is part of the tenant's history.
    /// @dev Never reverts on well-formed calldata: whatever is wrong gives false. A path is good
    /// until the peak it leads to is merged into a higher one, and can then be rebuilt from the
    /// tenant's `Anchored` events.
    /// @param tenantId The tenant.
    /// @param batch The batch.
    /// @param historyPath Siblings from the batch's commitment up to the peak that covers it, lowest
    /// first. That peak has the height of the highest bit in which `batches` and `batchIndex`
    /// differ, and the path must have exactly that many elements.
    /// @return True if it is.
    function verifyBatch(bytes32 tenantId, Batch calldata batch, bytes32[] calldata historyPath)
        external
        view
        returns (bool);

    /// @notice Whether `entry` is in `batch`, and `batch` is part of the tenant's history.
    /// @dev Like `verifyBatch`. The leaf's index is `seq − firstSeq`, never a caller's word.
    /// @param tenantId The tenant.
    /// @param entry The entry.
    /// @param batch The batch that holds it.
    /// @param path RFC 6962 audit path from the entry hash to the batch root, lowest sibling first,
    /// of exactly the length that the index and `count` demand.
    /// @param historyPath As for `verifyBatch`.
    /// @return True if both are so.
    function verifyEntry(
        bytes32 tenantId,
        Entry calldata entry,
        Batch calldata batch,
        bytes32[] calldata path,
        bytes32[] calldata historyPath
    ) external view returns (bool);
}
