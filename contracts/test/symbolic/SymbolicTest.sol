// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "forge-std/Base.sol";

/// @notice The cheatcodes of Halmos that the proofs use.
interface ISvm {
    /// @notice Makes every slot of `account` an arbitrary value, also those nobody has written.
    function enableSymbolicStorage(address account) external;

    /// @notice `byteSize` arbitrary bytes.
    function createBytes(uint256 byteSize, string calldata name)
        external
        view
        returns (bytes memory);

    /// @notice An arbitrary word.
    function createUint256(string calldata name) external view returns (uint256);
}

/// @notice What every proof needs. Functions named `check_…` are run by Halmos (script/prove), never
/// by forge: a proof holds when no input makes a Solidity `assert` fail.
abstract contract SymbolicTest is TestBase {
    ISvm internal constant SVM = ISvm(address(uint160(uint256(keccak256("svm cheat code")))));

    /// @dev Deploys production bytecode and makes all of its storage arbitrary.
    function _deployArbitrary(string memory artifact) internal returns (address deployed) {
        bytes memory initCode = vm.getCode(artifact);
        assembly ("memory-safe") {
            deployed := create(0, add(initCode, 0x20), mload(initCode))
        }
        assert(deployed != address(0));
        SVM.enableSymbolicStorage(deployed);
    }

    /// @dev Calls `target` as `sender`, whether or not that reverts.
    function _callAs(address sender, address target, bytes memory data) internal returns (bool ok) {
        vm.prank(sender);
        (ok,) = target.call(data);
    }
}
