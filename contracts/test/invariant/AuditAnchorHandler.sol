// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {SafeWallet} from "../utils/Wallets.sol";

/// @notice Acts as three tenants (two EOAs and a wallet), three anchorers and a stranger, rightly and
/// wrongly, and keeps a mirror of each tenant made from nothing but the contract's events.
/// @dev Every action says which tenants it may change; all others must come out of it bit by bit as
/// they went in. No action reverts: what must be refused is expected to be.
contract AuditAnchorHandler is AuditAnchorTest {
    /// @notice What the events say of a tenant.
    struct Mirror {
        address anchorer;
        uint64 nonces;
        uint64 entries;
    }

    uint256 private constant TENANTS = 3;
    uint256 private constant OWNER_KEY = uint256(keccak256("owner of the wallet"));

    /// @notice Set when a tenant changed that nobody with a say over it had called for.
    bool public foreignChange;

    /// @notice Set when an event left a gap, or a refusal had an effect or was not made.
    bool public broken;

    mapping(uint256 tenant => Mirror mirror) private _mirrors;

    bytes32[TENANTS] private _tenantIds;
    uint256[3] private _anchorerKeys;
    address private _wallet;

    constructor() {
        setUp();
        address[] memory owners = new address[](1);
        owners[0] = vm.addr(OWNER_KEY);
        _wallet = address(new SafeWallet(owners, 1));
        _tenantIds = [aliceId, bobId, _id(_wallet)];
        _anchorerKeys = [ANCHORER_KEY, uint256(keccak256("second")), uint256(keccak256("third"))];
        for (uint256 i = 0; i < TENANTS; ++i) {
            _setAnchorer(address(uint160(uint256(_tenantIds[i]))), anchorer);
            _mirrors[i] = Mirror(anchorer, 1, 0);
        }
    }

    // --------------------------------------------------------------- actions

    /// @notice The authority sets an anchorer, or nobody.
    function setAnchorer(uint256 tenant, uint256 key) external {
        tenant %= TENANTS;
        bytes32[] memory before = _open();
        vm.prank(_authority(tenant));
        auditAnchor.setAnchorer(_tenantIds[tenant], _someAnchorer(key));
        _close(before, _only(tenant));
    }

    /// @notice The same through a relayer; now and then with the key of another tenant.
    function setAnchorerSigned(uint256 tenant, uint256 key, uint256 signer) external {
        tenant %= TENANTS;
        signer = signer % 4 == 0 ? (tenant + 1) % TENANTS : tenant;
        bytes32 tenantId = _tenantIds[tenant];
        address newAnchorer = _someAnchorer(key);
        uint64 deadline = uint64(block.timestamp);
        bytes32 digest = _setAnchorerDigest(
            _domain(), tenantId, newAnchorer, auditAnchor.nonceOf(tenantId), deadline
        );
        bytes memory signature = _sign(_authorityKey(signer), digest);
        bytes32[] memory before = _open();
        vm.prank(stranger);
        try auditAnchor.setAnchorerSigned(tenantId, newAnchorer, deadline, signature) {
            if (signer != tenant) broken = true;
        } catch {
            if (signer == tenant) broken = true;
        }
        _close(before, signer == tenant ? _only(tenant) : 0);
    }

    /// @notice The anchorer anchors the next batch.
    function anchor(uint256 tenant, uint32 count, bytes32 root) external {
        tenant %= TENANTS;
        IAuditAnchor.Head memory head = _head(_tenantIds[tenant]);
        if (head.anchorer == address(0)) return;
        if (count == 0) count = 1;
        bytes32[] memory before = _open();
        vm.prank(head.anchorer);
        auditAnchor.anchor(_tenantIds[tenant], head.entries, count, root);
        _close(before, _only(tenant));
    }

    /// @notice One anchorer sends items for all tenants, good ones, stale ones and foreign ones.
    function anchorMany(uint256 key, uint256[6] calldata dice) external {
        address sender = vm.addr(_anchorerKeys[key % 3]);
        uint256 mayChange = 0;
        for (uint256 i = 0; i < TENANTS; ++i) {
            if (_mirrors[i].anchorer == sender) mayChange |= _only(i);
        }
        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](dice.length);
        for (uint256 i = 0; i < dice.length; ++i) {
            items[i] = _item(dice[i]);
        }
        bytes32[] memory before = _open();
        vm.prank(sender);
        auditAnchor.anchorMany(items);
        _close(before, mayChange);
    }

    /// @notice A stranger brings signed items, some signed by the wrong anchorer.
    function anchorSigned(uint256[4] calldata dice) external {
        uint256 mayChange = 0;
        IAuditAnchor.SignedItem[] memory items = new IAuditAnchor.SignedItem[](dice.length);
        for (uint256 i = 0; i < dice.length; ++i) {
            IAuditAnchor.Item memory item = _item(dice[i]);
            uint256 key = _anchorerKeys[(dice[i] >> 64) % 3];
            items[i] = IAuditAnchor.SignedItem(
                item.tenantId, item.firstSeq, item.count, item.root, uint64(block.timestamp), ""
            );
            items[i].signature = _sign(key, _anchorDigest(_domain(), items[i]));
            for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
                bool itsOwn = _tenantIds[tenant] == item.tenantId
                    && _mirrors[tenant].anchorer == vm.addr(key);
                if (itsOwn) mayChange |= _only(tenant);
            }
        }
        bytes32[] memory before = _open();
        vm.prank(stranger);
        auditAnchor.anchorSigned(items);
        _close(before, mayChange);
    }

    /// @notice Everyone without a say over a tenant tries everything on it.
    function trespass(uint256 tenant, uint256 who, bytes32 root) external {
        tenant %= TENANTS;
        bytes32 tenantId = _tenantIds[tenant];
        address sender = _authority((tenant + 1 + who % (TENANTS - 1)) % TENANTS);
        if (who % 3 == 0) sender = stranger;
        if (sender == _mirrors[tenant].anchorer) return;
        uint64 next = _head(tenantId).entries;
        IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](1);
        items[0] = IAuditAnchor.Item(tenantId, next, 1, root);

        bytes32[] memory before = _open();
        vm.startPrank(sender);
        try auditAnchor.setAnchorer(tenantId, sender) {
            broken = true;
        } catch {}
        try auditAnchor.anchor(tenantId, next, 1, root) {
            broken = true;
        } catch {}
        auditAnchor.anchorMany(items);
        vm.stopPrank();
        _close(before, 0);
    }

    /// @notice Time passes.
    function wait(uint256 time) external {
        vm.warp(block.timestamp + time % 1 days);
    }

    // ------------------------------------------------------------------ views

    /// @notice The contract that is acted on.
    function target() external view returns (address) {
        return address(auditAnchor);
    }

    /// @notice The tenant's events agree with the tenant's head.
    function mirrorAgrees(uint256 tenant) external view returns (bool) {
        IAuditAnchor.Head memory head = _head(_tenantIds[tenant]);
        Mirror memory mirror = _mirrors[tenant];
        return head.anchorer == mirror.anchorer && head.entries == mirror.entries
            && head.batches == anchored[_tenantIds[tenant]].length
            && auditAnchor.nonceOf(_tenantIds[tenant]) == mirror.nonces;
    }

    /// @notice The tenant's batch number `index` (any number) is provable, if it has one.
    function provable(uint256 tenant, uint256 index) external view returns (bool) {
        bytes32 tenantId = _tenantIds[tenant];
        uint256 batches = anchored[tenantId].length;
        if (batches == 0) return true;
        index %= batches;
        return
            auditAnchor.verifyBatch(
                tenantId, anchored[tenantId][index], _pathToPeak(tenantId, index)
            );
    }

    /// @notice How many batches the tenant has, by its events.
    function batchesOf(uint256 tenant) external view returns (uint256) {
        return anchored[_tenantIds[tenant]].length;
    }

    /// @notice The tenant's leaves and its history root on-chain.
    function historyOf(uint256 tenant) external view returns (bytes32[] memory, bytes32) {
        return (history[_tenantIds[tenant]], auditAnchor.historyRoot(_tenantIds[tenant]));
    }

    // -------------------------------------------------------------- internals

    function _open() private returns (bytes32[] memory before) {
        before = new bytes32[](TENANTS);
        for (uint256 i = 0; i < TENANTS; ++i) {
            before[i] = _state(_tenantIds[i]);
        }
        vm.recordLogs();
    }

    /// @dev Compares every tenant that may not have changed, then mirrors the events.
    function _close(bytes32[] memory before, uint256 mayChange) private {
        for (uint256 i = 0; i < TENANTS; ++i) {
            bool changed = before[i] != _state(_tenantIds[i]);
            if (changed && (mayChange >> i) & 1 == 0) foreignChange = true;
        }
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IAuditAnchor.Skipped.selector) continue;
            uint256 tenant = 0;
            while (_tenantIds[tenant] != logs[i].topics[1]) ++tenant;
            if (logs[i].topics[0] == IAuditAnchor.Anchored.selector) _mirrorBatch(tenant, logs[i]);
            else _mirrorAnchorer(tenant, logs[i]);
        }
    }

    function _mirrorAnchorer(uint256 tenant, Vm.Log memory log) private {
        uint64 nonce = abi.decode(log.data, (uint64));
        if (nonce != _mirrors[tenant].nonces) broken = true;
        _mirrors[tenant].nonces = nonce + 1;
        _mirrors[tenant].anchorer = address(uint160(uint256(log.topics[2])));
    }

    function _mirrorBatch(uint256 tenant, Vm.Log memory log) private {
        bytes32 tenantId = _tenantIds[tenant];
        IAuditAnchor.Batch memory batch;
        batch.batchIndex = uint64(uint256(log.topics[2]));
        (batch.firstSeq, batch.count, batch.root, batch.anchoredAt) =
            abi.decode(log.data, (uint64, uint64, bytes32, uint64));
        if (batch.batchIndex != anchored[tenantId].length) broken = true;
        if (batch.firstSeq != _mirrors[tenant].entries || batch.count == 0) broken = true;
        _mirrors[tenant].entries += batch.count;
        anchored[tenantId].push(batch);
        history[tenantId].push(_commitment(tenantId, batch));
    }

    /// @dev Mostly the tenant's next batch, sometimes one that does not fit, or an id of nobody.
    function _item(uint256 dice) private view returns (IAuditAnchor.Item memory item) {
        item.tenantId = _tenantIds[dice % TENANTS];
        item.firstSeq = _head(item.tenantId).entries;
        item.count = uint64(1 + (dice >> 32) % 2 ** 31);
        item.root = keccak256(abi.encode(dice));
        uint256 flaw = (dice >> 128) % 12;
        if (flaw == 0) item.firstSeq += 1;
        if (flaw == 1) item.firstSeq = 0;
        if (flaw == 2) item.count = 0;
        if (flaw == 3) item.count = type(uint64).max;
        if (flaw == 4) item.tenantId |= bytes32(uint256(1) << 160);
    }

    /// @dev A set of tenants with just this one, as a bit mask.
    function _only(uint256 tenant) private pure returns (uint256) {
        return uint256(1) << tenant;
    }

    function _authority(uint256 tenant) private view returns (address) {
        return address(uint160(uint256(_tenantIds[tenant])));
    }

    function _authorityKey(uint256 tenant) private pure returns (uint256) {
        if (tenant == 0) return ALICE_KEY;
        return tenant == 1 ? BOB_KEY : OWNER_KEY;
    }

    function _someAnchorer(uint256 key) private view returns (address) {
        return key % 8 == 7 ? address(0) : vm.addr(_anchorerKeys[key % 3]);
    }
}
