// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice All that a tenant's next batch depends on, in one storage word:
///
/// ```text
///  bit 255              200 199            160 159                                      0
///     ┌─────────────────────┬─────────────────┬───────────────────────────────────────────┐
///     │ entries (56)        │ batches (40)    │ anchorer (160)                            │
///     └─────────────────────┴─────────────────┴───────────────────────────────────────────┘
/// ```
///
/// - `anchorer`: the key that may anchor; zero when nobody may
/// - `batches`: number of batches anchored, which is the index of the next
/// - `entries`: number of entries anchored, which is the sequence number of the next
type HeadWord is uint256;

using HeadWordLib for HeadWord global;

/// @title HeadWordLib
/// @notice Reads and advances a head.
// Casts below cut off exactly the bits that the picture above gives to the neighbours.
// forge-lint: disable-start(unsafe-typecast)
library HeadWordLib {
    /// @notice Most batches a tenant can have.
    uint256 internal constant MAX_BATCHES = type(uint40).max;

    /// @notice Most entries a tenant can have.
    uint256 internal constant MAX_ENTRIES = type(uint56).max;

    uint256 private constant BATCHES_OFFSET = 160;
    uint256 private constant ENTRIES_OFFSET = 200;
    uint256 private constant ONE_BATCH = 2 ** BATCHES_OFFSET;

    /// @notice The key that may anchor.
    function anchorer(HeadWord head) internal pure returns (address) {
        return address(uint160(HeadWord.unwrap(head)));
    }

    /// @notice Number of batches anchored.
    function batches(HeadWord head) internal pure returns (uint64) {
        return uint40(HeadWord.unwrap(head) >> BATCHES_OFFSET);
    }

    /// @notice Number of entries anchored.
    function entries(HeadWord head) internal pure returns (uint64) {
        return uint64(HeadWord.unwrap(head) >> ENTRIES_OFFSET);
    }

    /// @notice Whether `count` more entries can be counted.
    function takesEntries(HeadWord head, uint64 count) internal pure returns (bool) {
        unchecked {
            return uint256(head.entries()) + count <= MAX_ENTRIES;
        }
    }

    /// @notice Whether one more batch can be counted.
    function takesBatch(HeadWord head) internal pure returns (bool) {
        return head.batches() != MAX_BATCHES;
    }

    /// @notice The same counters with another anchorer.
    function withAnchorer(HeadWord head, address newAnchorer) internal pure returns (HeadWord) {
        uint256 counters = (HeadWord.unwrap(head) >> BATCHES_OFFSET) << BATCHES_OFFSET;
        return HeadWord.wrap(counters | uint160(newAnchorer));
    }

    /// @notice The head after one more batch of `count` entries.
    /// @dev The caller has checked `takesEntries` and `takesBatch`; otherwise a counter would run into
    /// its neighbour.
    function advanced(HeadWord head, uint64 count) internal pure returns (HeadWord) {
        unchecked {
            uint256 word = HeadWord.unwrap(head);
            return HeadWord.wrap(word + (uint256(count) << ENTRIES_OFFSET) + ONE_BATCH);
        }
    }
}
// forge-lint: disable-end(unsafe-typecast)
