// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {HeadWord, HeadWordLib} from "../../libraries/HeadWord.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract HeadWordTest is BaseTest {
    function testFuzz_ReadsItsFields(address anchorer, uint40 batches, uint56 entries) public pure {
        HeadWord head = _head(anchorer, batches, entries);
        assertEq(head.anchorer(), anchorer);
        assertEq(head.batches(), batches);
        assertEq(head.entries(), entries);
    }

    function testFuzz_AnchorerChangesAlone(
        address anchorer,
        address next,
        uint40 batches,
        uint56 entries
    ) public pure {
        HeadWord head = _head(anchorer, batches, entries).withAnchorer(next);
        assertEq(HeadWord.unwrap(head), HeadWord.unwrap(_head(next, batches, entries)));
    }

    function testFuzz_CountersAdvanceTogether(
        address anchorer,
        uint40 batches,
        uint56 entries,
        uint32 count
    ) public pure {
        HeadWord head = _head(anchorer, batches, entries);
        bool room = uint256(entries) + count < 2 ** 56;
        assertEq(head.takesEntries(count), room);
        assertEq(head.takesBatch(), batches < 2 ** 40 - 1);
        if (!room || batches == 2 ** 40 - 1) return;
        assertEq(
            HeadWord.unwrap(head.advanced(count)),
            HeadWord.unwrap(_head(anchorer, batches + 1, entries + count))
        );
    }

    function test_LimitsAreTheFieldsWidths() public pure {
        assertEq(HeadWordLib.MAX_BATCHES, 2 ** 40 - 1);
        assertEq(HeadWordLib.MAX_ENTRIES, 2 ** 56 - 1);
        HeadWord full = _head(address(0), 2 ** 40 - 1, 2 ** 56 - 1);
        assertFalse(full.takesBatch());
        assertFalse(full.takesEntries(1));
        assertFalse(full.takesEntries(type(uint64).max));
        HeadWord last = _head(address(0), 2 ** 40 - 2, 2 ** 56 - 2);
        assertTrue(last.takesBatch());
        assertTrue(last.takesEntries(1));
        assertFalse(last.takesEntries(2));
    }

    function _head(address anchorer, uint256 batches, uint256 entries)
        private
        pure
        returns (HeadWord)
    {
        return HeadWord.wrap((entries << 200) | (batches << 160) | uint160(anchorer));
    }
}
