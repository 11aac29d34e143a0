// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "forge-std/Base.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISvm} from "./SymbolicTest.sol";

/// @notice A contract around the account that does its worst: refuses or answers anything. But times
/// are times: those of a verdict and a scope are below 2^47, as the registries promise.
contract HavocWorld is TestBase {
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
        bytes memory answer = SVM.createBytes(256, "answer");
        // forge-lint: disable-next-line(unsafe-typecast) the selector
        bytes4 asked = bytes4(question);
        if (
            asked == IPolicyRegistry.verdictWindow.selector
                || asked == IMCPAgentRegistry.scopeOf.selector
        ) {
            (uint256 validAfter, uint256 validUntil, uint256 recordedAt) =
                abi.decode(answer, (uint256, uint256, uint256));
            vm.assume((validAfter | validUntil | recordedAt) < 2 ** 47);
        }
        return answer;
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
