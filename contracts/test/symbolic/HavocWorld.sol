// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISvm} from "./SymbolicTest.sol";

/// @notice A contract around the account that does its worst: refuses or answers anything.
contract HavocWorld {
    ISvm private immutable SVM;

    address private _refused;
    uint256 private _offset;

    constructor(ISvm svm) {
        SVM = svm;
    }

    /// @notice Takes money or refuses it.
    receive() external payable {
        _mayRefuse();
    }

    /// @notice From now on a question about `who`, whose address stands at `offset`, is not answered.
    function refuse(address who, uint256 offset) external {
        (_refused, _offset) = (who, offset);
    }

    fallback(bytes calldata question) external payable returns (bytes memory) {
        uint256 offset = _offset;
        if (offset != 0 && question.length >= offset + 32) {
            if (uint256(bytes32(question[offset:])) == uint160(_refused)) revert();
        }
        _mayRefuse();
        return SVM.createBytes(256, "answer");
    }

    function _mayRefuse() private view {
        if (SVM.createUint256("refuses") == 0) revert();
    }
}

/// @notice Stands where an account stands for the moment in which it sets the account's `_running`.
contract RunningFlag {
    uint256 private transient _running;

    function set(uint256 running) external {
        _running = running;
    }
}
