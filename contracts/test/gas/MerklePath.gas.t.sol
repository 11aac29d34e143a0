// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {MerkleProofLib} from "solady/utils/MerkleProofLib.sol";

import {MerklePath} from "../../libraries/MerklePath.sol";
import {BaseTest} from "../utils/BaseTest.sol";

/// @notice What it costs to check a path of 16 siblings in calldata, as code that has the library
/// inside pays it: no call, no decoding. Beside the libraries of others, whose trees are of sorted pairs
/// and so say nothing of the position.
/// @dev Numbers go to snapshots/MerklePath.json. Each library is measured in a contract of its own, all
/// compiled as AuditAnchor is. (solc's legacy generator makes 2,043 of Solady's and 4,030 of
/// OpenZeppelin's.)
contract MerklePathGasTest is BaseTest {
    uint256 private constant DEPTH = 16;
    uint256 private constant BUDGET = 2_900;

    bytes32 private constant LEAF = keccak256("leaf");

    /// @dev The dearest of: always left, always right, turning at every level, turning once, on the edge.
    function test_Gas_Proof() public {
        MeasuredPath path = new MeasuredPath();
        uint256[5] memory indices = [uint256(0), 0xffff, 0x5555, 0xaaaa, 0x00ff];
        uint256 most = 0;
        for (uint256 i = 0; i < indices.length; ++i) {
            most = _larger(most, _measure(path, indices[i], 2 ** DEPTH));
        }
        // On the right edge, where 16 of 21 levels have a sibling.
        most = _larger(most, _measure(path, 0x1ffdf0, 0x1ffdf1));
        vm.snapshotValue("MerklePath", "proof_depth16", most);
        assertLe(most, BUDGET, "a proof is over its budget");
    }

    function test_Gas_SortedPairs() public {
        bytes32[] memory siblings = _siblings();
        bytes32 root = LEAF;
        for (uint256 i = 0; i < DEPTH; ++i) {
            root = _sorted(root, siblings[i]);
        }
        (uint256 gas, bool ok) = new MeasuredSolady().verify(siblings, root, LEAF);
        assertTrue(ok);
        vm.snapshotValue("MerklePath", "proof_depth16_solady", gas);
        (gas, ok) = new MeasuredOpenZeppelin().verify(siblings, root, LEAF);
        assertTrue(ok);
        vm.snapshotValue("MerklePath", "proof_depth16_openzeppelin", gas);
    }

    function _measure(MeasuredPath path, uint256 index, uint256 size)
        private
        view
        returns (uint256 gas)
    {
        bytes32[] memory siblings = _siblings();
        bytes32 root = LEAF;
        uint256 level = 0;
        uint256 last = size - 1;
        for (uint256 i = 0; i < DEPTH; ++level) {
            bool right = (index >> level) & 1 == 1;
            // The last node of a level has no sibling if it is a left child.
            if (!right && index >> level == last >> level) continue;
            root = right
                ? keccak256(abi.encodePacked(bytes1(0x01), siblings[i], root))
                : keccak256(abi.encodePacked(bytes1(0x01), root, siblings[i]));
            ++i;
        }
        bool ok;
        (gas, ok) = path.verify(LEAF, index, size, siblings, root);
        assertTrue(ok, "the measured proof is no proof");
    }

    function _siblings() private pure returns (bytes32[] memory siblings) {
        siblings = new bytes32[](DEPTH);
        for (uint256 i = 0; i < DEPTH; ++i) {
            siblings[i] = keccak256(abi.encode(i));
        }
    }

    function _sorted(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    function _larger(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}

contract MeasuredPath {
    function verify(
        bytes32 leaf,
        uint256 index,
        uint256 size,
        bytes32[] calldata path,
        bytes32 root
    ) external view returns (uint256 gas, bool ok) {
        gas = gasleft();
        ok = MerklePath.verify(0x01, leaf, index, size, path, root);
        gas -= gasleft();
    }
}

contract MeasuredSolady {
    function verify(bytes32[] calldata proof, bytes32 root, bytes32 leaf)
        external
        view
        returns (uint256 gas, bool ok)
    {
        gas = gasleft();
        ok = MerkleProofLib.verifyCalldata(proof, root, leaf);
        gas -= gasleft();
    }
}

contract MeasuredOpenZeppelin {
    function verify(bytes32[] calldata proof, bytes32 root, bytes32 leaf)
        external
        view
        returns (uint256 gas, bool ok)
    {
        gas = gasleft();
        ok = MerkleProof.verifyCalldata(proof, root, leaf);
        gas -= gasleft();
    }
}
