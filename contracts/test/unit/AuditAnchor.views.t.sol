// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "solady/utils/EIP712.sol";

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";
import {ReferenceTree} from "../utils/ReferenceTree.sol";

contract ViewsTest is AuditAnchorTest {
    function test_HeadsOfManyTenantsInOrder() public {
        _setAnchorer(alice, anchorer);
        _setAnchorer(bob, stranger);
        _anchorBatches(aliceId, 3);
        bytes32[] memory ids = new bytes32[](4);
        (ids[0], ids[1], ids[2], ids[3]) = (bobId, aliceId, bytes32(0), bobId);
        IAuditAnchor.Head[] memory heads = auditAnchor.heads(ids);
        assertEq(heads.length, 4);
        assertEq(abi.encode(heads[0]), abi.encode(IAuditAnchor.Head(stranger, 0, 0)));
        assertEq(abi.encode(heads[1]), abi.encode(_head(aliceId)));
        assertEq(heads[1].batches, 3);
        assertEq(abi.encode(heads[2]), abi.encode(IAuditAnchor.Head(address(0), 0, 0)));
        assertEq(abi.encode(heads[3]), abi.encode(heads[0]));
        assertEq(auditAnchor.heads(new bytes32[](0)).length, 0);
    }

    function test_HeadsReadEveryBitOfTheirFields() public {
        address all = address(type(uint160).max);
        _storeHead(aliceId, all, 0, 0);
        _assertHead(aliceId, all, 0, 0);
        _storeHead(aliceId, address(0), 2 ** 40 - 1, 0);
        _assertHead(aliceId, address(0), 2 ** 40 - 1, 0);
        _storeHead(aliceId, address(0), 0, 2 ** 56 - 1);
        _assertHead(aliceId, address(0), 0, 2 ** 56 - 1);
    }

    function test_PeaksAndRootOfEveryHistoryUpTo40Batches() public {
        _setAnchorer(alice, anchorer);
        assertEq(auditAnchor.historyRoot(aliceId), bytes32(0));
        assertEq(auditAnchor.peaks(aliceId).length, 0);
        for (uint256 batches = 1; batches <= 40; ++batches) {
            _anchorBatches(aliceId, 1);
            bytes32[] memory leaves = history[aliceId];
            bytes32 root = ReferenceTree.root(HISTORY_NODE, leaves);
            assertEq(auditAnchor.historyRoot(aliceId), root, "history root");

            bytes32[] memory peaks = auditAnchor.peaks(aliceId);
            uint256 live = 0;
            for (uint256 above = 6; above > 0; --above) {
                uint256 height = above - 1;
                if ((batches >> height) & 1 == 1) {
                    bytes32 slot = _peakSlot(aliceId, height);
                    assertEq(peaks[live++], vm.load(address(auditAnchor), slot), "peak");
                }
            }
            assertEq(peaks.length, live, "number of peaks");
        }
        assertEq(auditAnchor.historyRoot(bobId), bytes32(0), "another tenant's history");
    }

    function test_Eip712Domain() public view {
        (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        ) = EIP712(address(auditAnchor)).eip712Domain();
        assertEq(fields, bytes1(0x0f));
        assertEq(name, "Cofferdam AuditAnchor");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(verifyingContract, address(auditAnchor));
        assertEq(salt, bytes32(0));
        assertEq(extensions.length, 0);
    }
}
