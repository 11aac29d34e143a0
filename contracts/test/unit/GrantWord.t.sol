// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {GrantKind, GrantWord, GrantWordLib} from "../../libraries/GrantWord.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract GrantWordTest is BaseTest {
    /// @dev Every field reads what was packed, whatever its neighbours hold.
    function testFuzz_ReadsWhatWasPacked(
        uint8 kind,
        uint48 notBefore,
        uint48 notAfter,
        uint40 recordedAt,
        uint32 epoch,
        uint80 nativeMax
    ) public pure {
        GrantKind kind_ = GrantKind(kind % 4);
        GrantWord word = GrantWordLib.pack(kind_, notBefore, notAfter, recordedAt, epoch, nativeMax);
        assertEq(uint8(word.kind()), uint8(kind_));
        assertEq(word.notBefore(), notBefore);
        assertEq(word.notAfter(), notAfter);
        assertEq(word.recordedAt(), recordedAt);
        assertEq(word.epoch(), epoch);
        assertEq(word.nativeMax(), nativeMax);
        // The picture above the type, bit by bit.
        uint256 bits = (uint256(kind % 4) << 248) | (uint256(nativeMax) << 168)
            | (uint256(epoch) << 136) | (uint256(recordedAt) << 96) | (uint256(notAfter) << 48)
            | notBefore;
        assertEq(GrantWord.unwrap(word), bits);
    }

    /// @dev An extension touches the end and the time of record, and no other bit.
    function testFuzz_ExtendedChangesTwoFields(uint256 bits, uint48 notAfter, uint40 recordedAt)
        public
        pure
    {
        bits = (bits << 8) >> 8 | (bits >> 254) << 248;
        GrantWord word = GrantWord.wrap(bits).extended(notAfter, recordedAt);
        assertEq(word.notAfter(), notAfter);
        assertEq(word.recordedAt(), recordedAt);
        uint256 others = ~(uint256(type(uint88).max) << 48);
        assertEq(GrantWord.unwrap(word) & others, bits & others);
    }

    /// @dev Live in its own epoch alone; no grant is live in none.
    function testFuzz_LiveInItsOwnEpochAlone(uint32 epoch, uint32 current) public pure {
        GrantWord word = GrantWordLib.pack(GrantKind.Native, 0, 1, 0, epoch, 0);
        assertTrue(word.isLive(epoch));
        assertEq(word.isLive(current), epoch == current);
        assertFalse(GrantWord.wrap(0).isLive(current));
        assertFalse(GrantWord.wrap(0).isLive(0));
    }
}
