// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISvm} from "./SymbolicTest.sol";

/// @notice An ERC-1271 wallet that does its worst: when asked, it calls back once, and then answers
/// anything.
contract HavocWallet {
    ISvm private immutable SVM;
    address private immutable TARGET;
    bytes private _reentry;

    /// @param svm The cheatcodes of Halmos.
    /// @param target Where it calls back.
    /// @param reentry What it calls there; something that writes.
    constructor(ISvm svm, address target, bytes memory reentry) {
        SVM = svm;
        TARGET = target;
        _reentry = reentry;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        (bool ok,) = TARGET.call(_reentry);
        // It is asked in a static call, so whatever it calls can change nothing.
        assert(!ok);
        return SVM.createBytes(32, "answer");
    }
}

/// @notice An ERC-1271 wallet that accepts one digest.
contract PickyWallet {
    bytes32 private immutable ACCEPTED;

    constructor(bytes32 accepted) {
        ACCEPTED = accepted;
    }

    /// @notice ERC-1271.
    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return digest == ACCEPTED ? this.isValidSignature.selector : bytes4(0);
    }
}
