// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

/// @notice An account that checks nothing: what an operation costs before any account does its work.
contract NullAccount {
    receive() external payable {}

    function validateUserOp(PackedUserOperation calldata, bytes32, uint256)
        external
        pure
        returns (uint256)
    {
        return 0;
    }

    function execute(address target, uint256 value, bytes calldata data) external {
        (bool ok,) = target.call{value: value}(data);
        if (!ok) revert();
    }
}
