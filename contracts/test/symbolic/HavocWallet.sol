// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {ISvm} from "./SymbolicTest.sol";

/// @notice An ERC-1271 wallet that does its worst: when asked, it calls back once for any tenant, and
/// then answers anything.
contract HavocWallet {
    ISvm private immutable SVM;
    IAuditAnchor private immutable AUDIT_ANCHOR;

    constructor(ISvm svm, IAuditAnchor auditAnchor) {
        SVM = svm;
        AUDIT_ANCHOR = auditAnchor;
    }

    fallback(bytes calldata) external returns (bytes memory) {
        bytes32 tenantId = bytes32(SVM.createUint256("re-entered tenant"));
        (bool ok,) = address(AUDIT_ANCHOR)
            .call(abi.encodeCall(IAuditAnchor.setAnchorer, (tenantId, address(this))));
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
