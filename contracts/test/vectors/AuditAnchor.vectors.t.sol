// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {Hashes} from "../../libraries/Hashes.sol";

/// @notice The golden vectors of tests/vectors, which share no code with this contract or with Rust.
/// @dev Structs hold their members in the order of the JSON keys, which is alphabetical.
contract VectorsTest is AuditAnchorTest {
    string private constant FOLDER = "tests/vectors/";

    struct EntryCase {
        bytes32 commitment;
        bytes32[] digests;
        bytes32 entryHash;
        bytes32 previous;
        bytes32[] salts;
        bytes32 seed;
        uint256 seq;
        bytes32 tenantId;
        string[] values;
    }

    struct Erased {
        bytes32 commitment;
        bytes32 entryHash;
        bytes32 previous;
        uint256 seq;
        bytes32 tenantId;
    }

    struct TreeProof {
        uint256 index;
        bytes32[] path;
        uint256 size;
    }

    struct BatchCase {
        uint256 anchoredAt;
        bytes32 commitment;
        uint256 count;
        uint256 firstSeq;
        uint256 index;
        bytes32 root;
    }

    struct State {
        uint256 batches;
        bytes32[] livePeaks;
        bytes32 root;
        bytes32[] storedPeaks;
    }

    struct HistoryProof {
        uint256 first;
        uint256 height;
        uint256 index;
        bytes32[] pathToPeak;
        bytes32[] pathToRoot;
        uint256 size;
    }

    struct HeadCase {
        address anchorer;
        uint256 batches;
        uint256 entries;
        bytes32 slot;
        bytes32 tenantId;
        bytes32 word;
    }

    struct PeakCase {
        uint256 height;
        bytes32 slot;
        bytes32 tenantId;
    }

    struct NonceCase {
        bytes32 slot;
        bytes32 tenantId;
    }

    // -------------------------------------------------------------- entries

    /// @dev Salts, digests and commitment are made off-chain only; the test repeats them so that all
    /// of the format is pinned from this side too.
    function test_EntriesFromSeedToHash() public view {
        string memory json = _read("entry.json");
        string[] memory names = vm.parseJsonStringArray(json, ".names");
        EntryCase[] memory cases = abi.decode(
            vm.parseJsonTypeArray(
                json,
                ".cases",
                "C(bytes32 commitment,bytes32[] digests,bytes32 entryHash,bytes32 previous,bytes32[] salts,bytes32 seed,uint256 seq,bytes32 tenantId,string[] values)"
            ),
            (EntryCase[])
        );
        assertGt(cases.length, 9, "cases are missing");
        for (uint256 i = 0; i < cases.length; ++i) {
            EntryCase memory one = cases[i];
            for (uint256 j = 0; j < 10; ++j) {
                bytes memory name = bytes(names[j]);
                assertEq(one.salts[j], keccak256(abi.encodePacked(hex"06", one.seed, name)));
                bytes32 digest = keccak256(
                    abi.encodePacked(
                        hex"04", one.salts[j], uint16(name.length), name, bytes(one.values[j])
                    )
                );
                assertEq(digest, one.digests[j], "digest");
            }
            assertEq(one.commitment, keccak256(abi.encodePacked(hex"05", one.digests)));
            _assertEntryOnChain(
                Erased(one.commitment, one.entryHash, one.previous, one.seq, one.tenantId)
            );
        }
    }

    function test_ErasedEntryKeepsItsHash() public view {
        string memory types =
            "E(bytes32 commitment,bytes32 entryHash,bytes32 previous,uint256 seq,bytes32 tenantId)";
        string memory json = _read("entry.json");
        _assertEntryOnChain(abi.decode(vm.parseJsonType(json, ".erased", types), (Erased)));
        _assertEntryOnChain(abi.decode(vm.parseJsonType(json, ".erasedField", types), (Erased)));
    }

    function _assertEntryOnChain(Erased memory entry) private pure {
        bytes32 hash =
            Hashes.entry(entry.tenantId, uint64(entry.seq), entry.previous, entry.commitment);
        assertEq(hash, entry.entryHash, "entry hash");
    }

    // -------------------------------------------------------- batch tree

    /// @dev Every size from 1 to 33 is a batch of the vectors' tenant, and every index is proven in it.
    /// The vectors' batches all start at seq 0, so each size has a contract of its own.
    function test_BatchTreeEverySizeAtEveryIndex() public {
        string memory json = _read("batch_tree.json");
        bytes32 tenantId = vm.parseJsonBytes32(json, ".tenantId");
        bytes32[] memory leaves = vm.parseJsonBytes32Array(json, ".leaves");
        bytes32[] memory roots = vm.parseJsonBytes32Array(json, ".roots");
        bytes32[] memory commitments = vm.parseJsonBytes32Array(json, ".commitments");
        TreeProof[] memory proofs = abi.decode(
            vm.parseJsonTypeArray(json, ".proofs", "P(uint256 index,bytes32[] path,uint256 size)"),
            (TreeProof[])
        );
        assertEq(proofs.length, 33 * 34 / 2);
        IAuditAnchor.Batch[] memory batches = new IAuditAnchor.Batch[](33);
        IAuditAnchor[] memory contracts = new IAuditAnchor[](33);
        address authority = address(uint160(uint256(tenantId)));
        for (uint64 size = 1; size <= 33; ++size) {
            auditAnchor = contracts[size - 1] = _deployAuditAnchor();
            _setAnchorer(authority, anchorer);
            vm.prank(anchorer);
            auditAnchor.anchor(tenantId, 0, size, roots[size - 1]);
            batches[size - 1] =
                IAuditAnchor.Batch(0, 0, size, roots[size - 1], uint64(block.timestamp));
        }
        for (uint256 i = 0; i < proofs.length; ++i) {
            TreeProof memory proof = proofs[i];
            IAuditAnchor.Entry memory entry = IAuditAnchor.Entry(
                uint64(proof.index),
                proof.index == 0 ? bytes32(0) : leaves[proof.index - 1],
                commitments[proof.index]
            );
            auditAnchor = contracts[proof.size - 1];
            IAuditAnchor.Batch memory batch = batches[proof.size - 1];
            assertTrue(_verify(tenantId, entry, batch, proof.path), "verifyEntry");
            entry.seq ^= 1;
            assertFalse(_verify(tenantId, entry, batch, proof.path), "another index");
        }
    }

    function _verify(
        bytes32 tenantId,
        IAuditAnchor.Entry memory entry,
        IAuditAnchor.Batch memory batch,
        bytes32[] memory path
    ) private view returns (bool) {
        return auditAnchor.verifyEntry(tenantId, entry, batch, path, new bytes32[](0));
    }

    // ----------------------------------------------------------- history

    /// @dev The 17 batches are anchored at the vectors' times; after each, the state and the path of
    /// every batch so far are the vectors'.
    function test_HistoryOf17BatchesWithStalePeaks() public {
        string memory json = _read("history.json");
        bytes32 tenantId = vm.parseJsonBytes32(json, ".tenantId");
        BatchCase[] memory batches = _batches(json, ".batches");
        State[] memory states = abi.decode(
            vm.parseJsonTypeArray(
                json,
                ".states",
                "S(uint256 batches,bytes32[] livePeaks,bytes32 root,bytes32[] storedPeaks)"
            ),
            (State[])
        );
        HistoryProof[] memory proofs = abi.decode(
            vm.parseJsonTypeArray(
                json,
                ".proofs",
                "P(uint256 first,uint256 height,uint256 index,bytes32[] pathToPeak,bytes32[] pathToRoot,uint256 size)"
            ),
            (HistoryProof[])
        );
        assertEq(states.length, 17);
        assertEq(proofs.length, 17 * 18 / 2);
        _setAnchorer(address(uint160(uint256(tenantId))), anchorer);
        uint256 proven = 0;
        for (uint256 i = 0; i < 17; ++i) {
            BatchCase memory one = batches[i];
            vm.warp(one.anchoredAt);
            vm.prank(anchorer);
            auditAnchor.anchor(tenantId, uint64(one.firstSeq), uint64(one.count), one.root);
            _assertState(tenantId, states[i]);
            for (uint256 j = 0; j < proofs.length; ++j) {
                if (proofs[j].size != i + 1) continue;
                _assertHistoryProof(tenantId, batches[proofs[j].index], proofs[j]);
                ++proven;
            }
        }
        assertEq(proven, proofs.length);
    }

    function test_BatchCommitmentsAtTheEndsOfTheIntegers() public view {
        string memory json = _read("history.json");
        bytes32 tenantId = vm.parseJsonBytes32(json, ".tenantId");
        BatchCase[] memory extremes = _batches(json, ".extremes");
        assertGt(extremes.length, 0);
        for (uint256 i = 0; i < extremes.length; ++i) {
            BatchCase memory one = extremes[i];
            bytes32 commitment = Hashes.batchCommitment(
                tenantId,
                uint64(one.index),
                uint64(one.firstSeq),
                uint64(one.count),
                one.root,
                uint64(one.anchoredAt)
            );
            assertEq(commitment, one.commitment);
        }
    }

    function _assertState(bytes32 tenantId, State memory state) private view {
        assertEq(_head(tenantId).batches, state.batches);
        assertEq(auditAnchor.historyRoot(tenantId), state.root, "history root");
        assertEq(auditAnchor.peaks(tenantId), state.livePeaks, "live peaks");
        for (uint256 height = 0; height < state.storedPeaks.length; ++height) {
            bytes32 stored = vm.load(address(auditAnchor), _peakSlot(tenantId, height));
            assertEq(stored, state.storedPeaks[height], "stored peak");
        }
    }

    function _assertHistoryProof(bytes32 tenantId, BatchCase memory one, HistoryProof memory proof)
        private
        view
    {
        assertEq(proof.pathToPeak.length, proof.height);
        IAuditAnchor.Batch memory batch = _batch(one);
        assertEq(_commitment(tenantId, batch), one.commitment);
        assertTrue(auditAnchor.verifyBatch(tenantId, batch, proof.pathToPeak));
        batch.root ^= bytes32(uint256(1));
        assertFalse(auditAnchor.verifyBatch(tenantId, batch, proof.pathToPeak));
    }

    function _batch(BatchCase memory one) private pure returns (IAuditAnchor.Batch memory) {
        return IAuditAnchor.Batch(
            uint64(one.index),
            uint64(one.firstSeq),
            uint64(one.count),
            one.root,
            uint64(one.anchoredAt)
        );
    }

    function _batches(string memory json, string memory key)
        private
        pure
        returns (BatchCase[] memory)
    {
        return abi.decode(
            vm.parseJsonTypeArray(
                json,
                key,
                "B(uint256 anchoredAt,bytes32 commitment,uint256 count,uint256 firstSeq,uint256 index,bytes32 root)"
            ),
            (BatchCase[])
        );
    }

    // ----------------------------------------------------------- storage

    function test_StorageSlotsAndHeadWords() public {
        string memory json = _read("storage.json");
        HeadCase[] memory heads = abi.decode(
            vm.parseJsonTypeArray(
                json,
                ".heads",
                "H(address anchorer,uint256 batches,uint256 entries,bytes32 slot,bytes32 tenantId,bytes32 word)"
            ),
            (HeadCase[])
        );
        assertGt(heads.length, 0);
        for (uint256 i = 0; i < heads.length; ++i) {
            HeadCase memory one = heads[i];
            assertEq(_headSlot(one.tenantId), one.slot);
            vm.store(address(auditAnchor), one.slot, one.word);
            _assertHead(one.tenantId, one.anchorer, one.batches, one.entries);
        }
    }

    /// @dev The slots are where the contract looks, not only where the test's own formula points.
    function test_StoragePeaksAndNonces() public {
        string memory json = _read("storage.json");
        PeakCase[] memory peaks = abi.decode(
            vm.parseJsonTypeArray(
                json, ".peaks", "P(uint256 height,bytes32 slot,bytes32 tenantId)"
            ),
            (PeakCase[])
        );
        assertGt(peaks.length, 0);
        for (uint256 i = 0; i < peaks.length; ++i) {
            PeakCase memory one = peaks[i];
            assertEq(_peakSlot(one.tenantId, one.height), one.slot);
            if (one.height >= 40) continue; // no tenant can have that many batches
            _storeHead(one.tenantId, anchorer, uint256(1) << one.height, 0);
            bytes32 peak = keccak256(abi.encode(i));
            vm.store(address(auditAnchor), one.slot, peak);
            assertEq(auditAnchor.historyRoot(one.tenantId), peak);
        }
        NonceCase[] memory nonces = abi.decode(
            vm.parseJsonTypeArray(json, ".nonces", "N(bytes32 slot,bytes32 tenantId)"),
            (NonceCase[])
        );
        assertGt(nonces.length, 0);
        for (uint256 i = 0; i < nonces.length; ++i) {
            vm.store(address(auditAnchor), nonces[i].slot, bytes32(i + 7));
            assertEq(auditAnchor.nonceOf(nonces[i].tenantId), i + 7);
        }
    }

    function _read(string memory file) private view returns (string memory) {
        return vm.readFile(string.concat(FOLDER, file));
    }
}
