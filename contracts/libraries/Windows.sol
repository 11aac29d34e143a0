// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Windows
/// @notice Windows of time, as people state them (`notBefore <= t <= notAfter`) and as ERC-4337 reads
/// them (`validAfter < t <= validUntil`).
library Windows {
    /// @notice Where times end. An EntryPoint v0.9 takes a window with this bit set on both sides for
    /// block numbers, and every EntryPoint takes a window that ends at 0 for one that never ends.
    uint256 internal constant END_OF_TIME = 2 ** 47;

    /// @notice Whether some time is in the window, and none at or past the end of time.
    function isWindow(uint48 notBefore, uint48 notAfter) internal pure returns (bool) {
        return validAfter(notBefore) < notAfter && notAfter < END_OF_TIME;
    }

    /// @notice The last moment before a window that begins with `notBefore`. A window from 0 begins
    /// with 1 in this sense; no block has the timestamp 0.
    function validAfter(uint48 notBefore) internal pure returns (uint48) {
        unchecked {
            return notBefore == 0 ? 0 : notBefore - 1;
        }
    }
}
