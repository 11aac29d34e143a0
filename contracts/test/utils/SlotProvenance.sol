// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {VmSafe} from "forge-std/Vm.sol";

import {BaseTest} from "./BaseTest.sol";

/// @notice Whose every written word is: forge records each hash of a mapping's key as it is made, so that
/// a slot can be asked for the innermost key that led to it.
abstract contract SlotProvenance is BaseTest {
    /// @dev The most words of a struct in a mapping (`Version`, and `Agent` with its two mappings).
    uint256 private constant WORDS = 6;

    /// @notice State-changing calls looked at, and words they wrote.
    uint256 internal calls;
    uint256 internal writes;

    /// @dev Before anything is written: what is hashed earlier cannot be asked for.
    function _startRecording() internal {
        vm.startMappingRecording();
    }

    function _open() internal {
        vm.startStateDiffRecording();
    }

    /// @dev Looks at every word that was written in `target` since `_open`, together with the call that
    /// wrote it. (A call that called somebody goes on as an access of its own, without calldata.)
    function _close(address target) internal {
        VmSafe.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        bytes memory data;
        address sender;
        for (uint256 i = 0; i < accesses.length; ++i) {
            VmSafe.AccountAccess memory access = accesses[i];
            if (access.kind == VmSafe.AccountAccessKind.Call && access.account == target) {
                (data, sender) = (access.data, access.accessor);
                ++calls;
            }
            for (uint256 j = 0; j < access.storageAccesses.length; ++j) {
                VmSafe.StorageAccess memory slot = access.storageAccesses[j];
                if (slot.account != target || !slot.isWrite) continue;
                ++writes;
                (bool found, bytes32 key, bytes32 parent, uint256 word) = _origin(target, slot.slot);
                assertTrue(found, "a slot of no mapping");
                assertTrue(_mayWrite(data, sender, key, parent, word), "a slot of somebody else");
            }
        }
    }

    /// @dev The innermost key of a slot, the slot it was hashed with, and which word of the value it is.
    function _origin(address target, bytes32 slot)
        internal
        returns (bool found, bytes32 key, bytes32 parent, uint256 word)
    {
        for (; word < WORDS; ++word) {
            (found, key, parent) =
                vm.getMappingKeyAndParentOf(target, bytes32(uint256(slot) - word));
            if (found) break;
        }
    }

    /// @dev Whether a call with `data` by `sender` may write a word with this origin.
    function _mayWrite(bytes memory data, address sender, bytes32 key, bytes32 parent, uint256 word)
        internal
        virtual
        returns (bool);

    /// @dev Word number `index` of the arguments.
    function _argument(bytes memory data, uint256 index) internal pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := mload(add(data, add(0x24, mul(0x20, index))))
        }
    }
}
