// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {SlotPerRoot} from "./SlotPerRoot.sol";

interface IEAS {
    function multiTimestamp(bytes32[] calldata data) external returns (uint64);
}

/// @notice What a batch costs, as averages over a tenant's batches 32 to 95, beside what the same
/// roots would cost elsewhere.
/// @dev `isolate` makes forge run every call from a test as a transaction of its own, with cold
/// storage; the gas it then reports is the transaction's, base cost (21,000) and calldata included,
/// and equals the receipt's `gasUsed`. `test_MeasuresWholeTransactions` holds it to that. Numbers go to
/// snapshots/AuditAnchor.json; FORGE_SNAPSHOT_CHECK=true makes a difference an error.
/// forge-config: default.isolate = true
contract AuditAnchorGasTest is BaseTest {
    uint256 private constant TENANTS = 100;
    uint256 private constant FIRST = 32;
    uint256 private constant LAST = 95;
    uint256 private constant MEASURED = LAST - FIRST + 1;

    uint256 private constant ANCHOR_BUDGET = 38_500;
    uint256 private constant ANCHOR_MANY_BUDGET = 17_900;

    address private immutable ANCHORER = _address("anchorer", 0);

    function setUp() public {
        vm.warp(1_760_000_000);
    }

    /// @dev If isolation were off, the call would cost less than any transaction's base cost.
    function test_MeasuresWholeTransactions() public {
        IAuditAnchor anchor = _auditAnchor(1);
        IAuditAnchor.Item memory item = _item(0, 0, 0);
        bytes memory data =
            abi.encodeCall(anchor.anchor, (item.tenantId, item.firstSeq, item.count, item.root));
        uint256 intrinsic = 21_000;
        for (uint256 i = 0; i < data.length; ++i) {
            intrinsic += data[i] == 0 ? 4 : 16;
        }
        vm.prank(ANCHORER);
        (bool ok,) = address(anchor).call(data);
        assertTrue(ok);
        uint256 total = vm.lastCallGas().gasTotalUsed;
        // Two fresh slots (head's is not: it holds the anchorer) and one log: nothing else is dear.
        uint256 storageAndLog = 2_100 + 2_900 + 22_100 + 375 * 4 + 8 * 128;
        assertGt(total, intrinsic + storageAndLog, "base cost or calldata missing");
        assertLt(total, intrinsic + storageAndLog + 2_000, "counts something twice");
    }

    function test_Anchor() public {
        IAuditAnchor anchor = _auditAnchor(1);
        uint256 average = _averageSingle(address(anchor));
        vm.snapshotValue("AuditAnchor", "anchor_avg", average);
        assertLe(average, ANCHOR_BUDGET, "anchor is over its budget");
    }

    function test_AnchorMany() public {
        IAuditAnchor anchor = _auditAnchor(TENANTS);
        uint256 average = _averageMany(address(anchor));
        vm.snapshotValue("AuditAnchor", "anchor_many_avg", average);
        assertLe(average, ANCHOR_MANY_BUDGET, "anchorMany is over its budget");
    }

    function test_SlotPerRoot() public {
        vm.snapshotValue("AuditAnchor", "slot_per_root", _averageSingle(address(_slotPerRoot(1))));
    }

    function test_SlotPerRootMany() public {
        uint256 average = _averageMany(address(_slotPerRoot(TENANTS)));
        vm.snapshotValue("AuditAnchor", "slot_per_root_many", average);
    }

    /// @dev EAS keeps a timestamp per root and knows no tenant, no order and no authorisation.
    function test_EasMultiTimestamp() public {
        string memory artifacts =
            "node_modules/@ethereum-attestation-service/eas-contracts/artifacts/contracts/";
        address schemas =
            _create(vm.getCode(string.concat(artifacts, "SchemaRegistry.sol/SchemaRegistry.json")));
        bytes memory code = vm.getCode(string.concat(artifacts, "EAS.sol/EAS.json"));
        IEAS eas = IEAS(_create(abi.encodePacked(code, abi.encode(schemas))));

        uint256 sum = 0;
        for (uint256 batch = FIRST; batch <= LAST; ++batch) {
            bytes32[] memory roots = new bytes32[](TENANTS);
            for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
                roots[tenant] = _item(tenant, batch, 0).root;
            }
            vm.prank(ANCHORER);
            eas.multiTimestamp(roots);
            sum += vm.lastCallGas().gasTotalUsed;
        }
        uint256 average = sum / MEASURED / TENANTS;
        vm.snapshotValue("AuditAnchor", "eas_multi_timestamp", average);
    }

    /// @dev Gas of one transaction with one batch, averaged.
    function _averageSingle(address anchor) private returns (uint256) {
        uint256 sum = 0;
        uint64 firstSeq = 0;
        for (uint256 batch = 0; batch <= LAST; ++batch) {
            IAuditAnchor.Item memory item = _item(0, batch, firstSeq);
            vm.prank(ANCHORER);
            IAuditAnchor(anchor).anchor(item.tenantId, item.firstSeq, item.count, item.root);
            if (batch >= FIRST) sum += vm.lastCallGas().gasTotalUsed;
            firstSeq += item.count;
        }
        return sum / MEASURED;
    }

    /// @dev Gas of one transaction with a batch of each of 100 tenants, averaged, for each tenant.
    function _averageMany(address anchor) private returns (uint256) {
        uint256 sum = 0;
        uint64[] memory firstSeqs = new uint64[](TENANTS);
        for (uint256 batch = 0; batch <= LAST; ++batch) {
            IAuditAnchor.Item[] memory items = new IAuditAnchor.Item[](TENANTS);
            for (uint256 tenant = 0; tenant < TENANTS; ++tenant) {
                items[tenant] = _item(tenant, batch, firstSeqs[tenant]);
                firstSeqs[tenant] += items[tenant].count;
            }
            vm.prank(ANCHORER);
            IAuditAnchor(anchor).anchorMany(items);
            if (batch >= FIRST) sum += vm.lastCallGas().gasTotalUsed;
        }
        return sum / MEASURED / TENANTS;
    }

    function _auditAnchor(uint256 tenants) private returns (IAuditAnchor anchor) {
        anchor = _deployAuditAnchor();
        _setAnchorers(address(anchor), tenants);
    }

    function _slotPerRoot(uint256 tenants) private returns (SlotPerRoot anchor) {
        anchor = new SlotPerRoot();
        _setAnchorers(address(anchor), tenants);
    }

    function _setAnchorers(address anchor, uint256 tenants) private {
        for (uint256 tenant = 0; tenant < tenants; ++tenant) {
            address authority = _address("tenant", tenant);
            vm.prank(authority);
            IAuditAnchor(anchor).setAnchorer(_id(authority), ANCHORER);
        }
    }

    /// @dev Batches of 1 to 1,000 entries with random roots.
    function _item(uint256 tenant, uint256 batch, uint64 firstSeq)
        private
        pure
        returns (IAuditAnchor.Item memory)
    {
        bytes32 root = keccak256(abi.encode("root", tenant, batch));
        uint64 count = uint64(1 + uint256(root) % 1000);
        return IAuditAnchor.Item(_id(_address("tenant", tenant)), firstSeq, count, root);
    }
}
