// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Windows} from "../../libraries/Windows.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract WindowsTest is BaseTest {
    /// @dev Both senses hold the same moments, at every time a block can have.
    function testFuzz_BothSensesHoldTheSameMoments(uint48 notBefore, uint48 notAfter, uint48 time)
        public
        pure
    {
        if (time == 0) time = 1;
        bool stated = notBefore <= time && time <= notAfter;
        bool read = Windows.validAfter(notBefore) < time && time <= notAfter;
        assertEq(read, stated);
    }

    /// @dev What is taken for a window holds some moment, and an EntryPoint misreads neither side: not
    /// the end for "never", nor both for block numbers.
    function testFuzz_WindowsAreNotEmptyAndNotMisread(uint48 notBefore, uint48 notAfter)
        public
        pure
    {
        if (notBefore % 2 == 0) notAfter %= 2 ** 47;
        if (Windows.isWindow(notBefore, notAfter)) {
            assertLt(Windows.validAfter(notBefore), notAfter);
            assertGt(notAfter, 0);
            assertEq(notAfter >> 47, 0);
        } else {
            assertTrue(notAfter >> 47 != 0 || notAfter == 0 || notBefore > notAfter);
        }
    }
}
