// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";
import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";

/// @title Credentials
/// @notice Who signed a digest, for an address that may be a key, a contract, or both.
library Credentials {
    /// @notice Whether `signer` signed `digest`: its own key first, whatever code it has (EIP-7702),
    /// then its code by ERC-1271. False for the zero address, which has neither.
    /// @dev Solady's checker in one piece would ask an EOA that has code only for ERC-1271. The code is
    /// asked in a static call, so storage read before this is still as it was after it.
    function isSignedBy(address signer, bytes32 digest, bytes calldata signature)
        internal
        view
        returns (bool)
    {
        // Failed recovery gives the zero address too, so zero must not get as far as that.
        if (signer == address(0)) return false;
        if (ECDSA.tryRecoverCalldata(digest, signature) == signer) return true;
        if (signer.code.length == 0) return false;
        return SignatureCheckerLib.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }
}
