// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a grant is for, by the table of `IMCPAgentRegistry.Limits`. `None`: there is no grant.
enum GrantKind {
    None,
    Native,
    Token,
    Call
}

/// @notice Whether a grant is good, and what it allows of the native asset, in one storage word:
///
/// ```text
///  bit 255    248 247          168 167       136 135        96 95          48 47           0
///     ┌──────────┬────────────────┬─────────────┬─────────────┬──────────────┬──────────────┐
///     │ kind (8) │ nativeMax (80) │ epoch (32)  │ recorded(40)│ notAfter (48)│notBefore (48)│
///     └──────────┴────────────────┴─────────────┴─────────────┴──────────────┴──────────────┘
/// ```
///
/// - `notBefore`, `notAfter`: first and last timestamp at which it is good
/// - `recordedAt`: timestamp of the block that granted or last extended it
/// - `epoch`: the agent's epoch at that tenant when it was granted; in any other, the grant is dead
/// - `nativeMax`: most of the native asset for each call, in wei
/// - `kind`: what it is for; the whole word is zero when there is no grant
type GrantWord is uint256;

using GrantWordLib for GrantWord global;

/// @title GrantWordLib
/// @notice Makes, reads and extends a grant's word.
/// @dev A struct with the same bits costs `isScoped` over 200 gas more, whether it is read from storage
/// field by field or copied to memory: the compiler does not see that all its reads are one.
// Casts below cut off exactly the bits that the picture above gives to the neighbours.
// forge-lint: disable-start(unsafe-typecast)
library GrantWordLib {
    uint256 private constant NOT_AFTER_OFFSET = 48;
    uint256 private constant RECORDED_AT_OFFSET = 96;
    uint256 private constant EPOCH_OFFSET = 136;
    uint256 private constant NATIVE_MAX_OFFSET = 168;
    uint256 private constant KIND_OFFSET = 248;

    /// @notice A new grant.
    function pack(
        GrantKind kind_,
        uint48 notBefore_,
        uint48 notAfter_,
        uint40 recordedAt_,
        uint32 epoch_,
        uint80 nativeMax_
    ) internal pure returns (GrantWord) {
        return GrantWord.wrap(
            (uint256(kind_) << KIND_OFFSET) | (uint256(nativeMax_) << NATIVE_MAX_OFFSET)
                | (uint256(epoch_) << EPOCH_OFFSET) | (uint256(recordedAt_) << RECORDED_AT_OFFSET)
                | (uint256(notAfter_) << NOT_AFTER_OFFSET) | notBefore_
        );
    }

    /// @notice First timestamp at which it is good.
    function notBefore(GrantWord word) internal pure returns (uint48) {
        return uint48(GrantWord.unwrap(word));
    }

    /// @notice Last timestamp at which it is good.
    function notAfter(GrantWord word) internal pure returns (uint48) {
        return uint48(GrantWord.unwrap(word) >> NOT_AFTER_OFFSET);
    }

    /// @notice Timestamp of the block that granted or last extended it.
    function recordedAt(GrantWord word) internal pure returns (uint40) {
        return uint40(GrantWord.unwrap(word) >> RECORDED_AT_OFFSET);
    }

    /// @notice The agent's epoch at that tenant when it was granted.
    function epoch(GrantWord word) internal pure returns (uint32) {
        return uint32(GrantWord.unwrap(word) >> EPOCH_OFFSET);
    }

    /// @notice Most of the native asset for each call, in wei.
    function nativeMax(GrantWord word) internal pure returns (uint80) {
        return uint80(GrantWord.unwrap(word) >> NATIVE_MAX_OFFSET);
    }

    /// @notice What it is for.
    function kind(GrantWord word) internal pure returns (GrantKind) {
        return GrantKind(GrantWord.unwrap(word) >> KIND_OFFSET);
    }

    /// @notice Whether there is a grant in the epoch `current`, whatever the clock says.
    function isLive(GrantWord word, uint32 current) internal pure returns (bool) {
        return GrantWord.unwrap(word) != 0 && word.epoch() == current;
    }

    /// @notice The same grant with a later end, recorded at `newRecordedAt`.
    function extended(GrantWord word, uint48 newNotAfter, uint40 newRecordedAt)
        internal
        pure
        returns (GrantWord)
    {
        return pack(
            word.kind(),
            word.notBefore(),
            newNotAfter,
            newRecordedAt,
            word.epoch(),
            word.nativeMax()
        );
    }
}
// forge-lint: disable-end(unsafe-typecast)
