// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {RegistryTest} from "./RegistryTest.sol";

/// @notice Cheatcodes that the pinned forge-std is too old to know.
interface IVmTypedData {
    function eip712HashTypedData(string calldata json) external pure returns (bytes32);
}

/// @notice EIP-712 digests of JSON messages, as a wallet is given them, hashed by forge's own
/// implementation, which shares no code with the contracts or with the other tests.
abstract contract TypedData is RegistryTest {
    IVmTypedData internal constant VM_TYPED_DATA = IVmTypedData(VM_ADDRESS);

    /// @dev `definition` is one type as in the interface's documentation, such as
    /// `Revoke(bytes32 tenantId,...)`; `values` are JSON values in the order of its members.
    function _digestOf(
        string memory name,
        address verifyingContract,
        string memory definition,
        string[] memory values
    ) internal view returns (bytes32) {
        (string memory primaryType, string memory types, string memory message) =
            _parse(definition, values);
        string memory domain = string.concat(
            '{"name":"',
            name,
            '","version":"1","chainId":"',
            vm.toString(block.chainid),
            '","verifyingContract":"',
            vm.toString(verifyingContract),
            '"}'
        );
        string memory json = string.concat(
            '{"types":{"EIP712Domain":[{"name":"name","type":"string"},{"name":"version","type":"string"},{"name":"chainId","type":"uint256"},{"name":"verifyingContract","type":"address"}],"',
            primaryType,
            '":[',
            types,
            ']},"primaryType":"'
        );
        json =
            string.concat(json, primaryType, '","domain":', domain, ',"message":{', message, "}}");
        return VM_TYPED_DATA.eip712HashTypedData(json);
    }

    function _parse(string memory definition, string[] memory values)
        private
        pure
        returns (string memory primaryType, string memory types, string memory message)
    {
        string[] memory halves = vm.split(definition, "(");
        primaryType = halves[0];
        string[] memory members = vm.split(vm.split(halves[1], ")")[0], ",");
        assertEq(members.length, values.length, "as many values as members");
        for (uint256 i = 0; i < members.length; ++i) {
            string[] memory member = vm.split(members[i], " ");
            string memory comma = i == 0 ? "" : ",";
            types =
                string.concat(types, comma, '{"name":"', member[1], '","type":"', member[0], '"}');
            message = string.concat(message, comma, '"', member[1], '":"', values[i], '"');
        }
    }
}
