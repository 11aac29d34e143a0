// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {TestToken} from "./Tokens.sol";

/// @notice Burns twice what it is told to move.
contract FeeToken is TestToken {
    function _move(address from, address to, uint256 amount) internal override {
        super._move(from, to, amount);
        balanceOf[from] -= amount;
    }
}

/// @notice Calls somebody back, with whatever it was told.
abstract contract Callback {
    address public target;
    bytes public data;
    bool public succeeded;
    bytes public result;

    function arm(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function _callBack() internal {
        if (target != address(0)) (succeeded, result) = target.call(data);
    }
}

/// @notice Calls back whenever it moves.
contract CallbackToken is TestToken, Callback {
    function _move(address from, address to, uint256 amount) internal override {
        super._move(from, to, amount);
        _callBack();
    }
}

/// @notice Calls back whenever it is paid.
contract CallbackReceiver is Callback {
    receive() external payable {
        _callBack();
    }
}

/// @notice Hands over, as often as it was told, what it shall only allow.
contract EagerToken is TestToken {
    uint256 private _times;

    function takeTimes(uint256 times) external {
        _times = times;
    }

    function increaseAllowance(address spender, uint256 amount) external override returns (bool) {
        _move(msg.sender, spender, amount * _times);
        return true;
    }
}

/// @notice Answers and reverts with a megabyte; takes from who calls it what it is allowed to.
contract Bomb {
    function explode() external pure {
        assembly ("memory-safe") {
            return(0x80, 1000000)
        }
    }

    function fail() external pure {
        assembly ("memory-safe") {
            revert(0x80, 1000000)
        }
    }

    function take(IERC20 token, uint256 amount) external {
        if (!token.transferFrom(msg.sender, address(this), amount)) revert();
    }
}
