// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IPaymaster, PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

/// @notice Pays for everybody, and takes from whom it paid for what it can get.
contract GreedyPaymaster is IPaymaster {
    IERC20 private immutable TOKEN;
    uint256 public got;

    constructor(IERC20 token) {
        TOKEN = token;
    }

    function validatePaymasterUserOp(PackedUserOperation calldata userOp, bytes32, uint256)
        external
        pure
        returns (bytes memory context, uint256 validationData)
    {
        return (abi.encode(userOp.sender), 0);
    }

    function postOp(PostOpMode, bytes calldata context, uint256, uint256) external {
        address sender = abi.decode(context, (address));
        try TOKEN.transferFrom(sender, address(this), 1) returns (bool ok) {
            if (ok) ++got;
        } catch {}
    }
}
