// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "forge-std/Base.sol";
import {StdAssertions} from "forge-std/StdAssertions.sol";

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";

/// @notice What every test here needs: cheatcodes, assertions, and contracts as they are shipped.
/// @dev Not forge-std's `Test`: it pulls in safeconsole.sol, whose hundreds of deprecation warnings
/// make solc drop every warning after the 256th, ours among them, and doubles the time to compile.
/// Contracts are deployed from their artifacts, so that tests run the production bytecode without
/// compiling it once more into each test contract.
abstract contract BaseTest is TestBase, StdAssertions {
    /// @dev Tells forge that this is a test contract.
    bool public constant IS_TEST = true;

    function _deployAuditAnchor() internal returns (IAuditAnchor) {
        return IAuditAnchor(_create(vm.getCode("AuditAnchor.sol:AuditAnchor")));
    }

    function _create(bytes memory initCode) internal returns (address deployed) {
        assembly ("memory-safe") {
            deployed := create(0, add(initCode, 0x20), mload(initCode))
        }
        assertTrue(deployed != address(0), "deployment failed");
    }

    /// @dev A random-looking address: 20 bytes, as incompressible as a real one.
    function _address(string memory kind, uint256 number) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(kind, number)))));
    }

    function _id(address authority) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(authority)));
    }
}
