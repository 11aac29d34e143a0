// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BaseTest} from "./BaseTest.sol";

/// @notice What the compiler says of a contract's storage, in the JSON of its artifact.
abstract contract StorageLayout is BaseTest {
    function _assertVariable(
        string memory json,
        uint256 slot,
        string memory label,
        string memory typeLabel
    ) internal pure {
        string memory path = string.concat(".storageLayout.storage[", vm.toString(slot), "]");
        assertEq(vm.parseJsonString(json, string.concat(path, ".label")), label);
        assertEq(vm.parseJsonString(json, string.concat(path, ".slot")), vm.toString(slot));
        assertEq(vm.parseJsonUint(json, string.concat(path, ".offset")), 0);
        assertEq(vm.parseJsonString(json, _ofType(_typeOf(json, slot), "label")), typeLabel);
    }

    function _typeOf(string memory json, uint256 slot) internal pure returns (string memory) {
        string memory path = string.concat(".storageLayout.storage[", vm.toString(slot), "].type");
        return vm.parseJsonString(json, path);
    }

    /// @dev The type of a mapping's values.
    function _valueOf(string memory json, string memory type_)
        internal
        pure
        returns (string memory)
    {
        return vm.parseJsonString(json, _ofType(type_, "value"));
    }

    /// @dev Member number `index` of a struct: name, word, first bit, and bytes.
    function _assertMember(
        string memory json,
        string memory type_,
        uint256 index,
        string memory label,
        uint256 word,
        uint256 bit,
        uint256 numberOfBytes
    ) internal pure {
        string memory member = string.concat("members[", vm.toString(index), "].");
        string memory path = _ofType(type_, member);
        assertEq(vm.parseJsonString(json, string.concat(path, "label")), label);
        assertEq(vm.parseJsonString(json, string.concat(path, "slot")), vm.toString(word), label);
        assertEq(vm.parseJsonUint(json, string.concat(path, "offset")) * 8, bit, label);
        string memory memberType = vm.parseJsonString(json, string.concat(path, "type"));
        assertEq(vm.parseJsonUint(json, _ofType(memberType, "numberOfBytes")), numberOfBytes, label);
    }

    function _assertMembers(string memory json, string memory type_, uint256 count) internal view {
        string memory next = string.concat("members[", vm.toString(count), "]");
        assertFalse(vm.keyExistsJson(json, _ofType(type_, next)), "one more member");
    }

    function _ofType(string memory type_, string memory key) internal pure returns (string memory) {
        return string.concat(".storageLayout.types['", type_, "'].", key);
    }
}
