// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISmartAccount} from "../interfaces/ISmartAccount.sol";

/// @title AccountLimits
/// @notice What an account may spend of one asset: per call, and per rolling day.
///
/// @dev A rolling day is two UTC days: what was spent yesterday and today, together with what comes
/// now, stays within the limit. So no 24 hours ever see more than the limit, and validation needs to
/// know only the day, which the verdict's window gives it, and not the clock. What is reserved is
/// never refunded, also when the calls fail.
library AccountLimits {
    /// @notice A limit; both zero for an asset that may not be spent.
    /// @dev One word. 104 bits hold 2 × 10^31 base units.
    /// @param perCall Most that one call may spend, in base units.
    /// @param perDay Most that two neighbouring UTC days may spend together, in base units.
    struct Limit {
        uint104 perCall;
        uint104 perDay;
        bool listed;
    }

    /// @notice What was spent, in base units:
    ///
    /// ```text
    ///  bit 255       240 239             136 135              32 31                  0
    ///     ┌─────────────┬───────────────────┬───────────────────┬─────────────────────┐
    ///     │ unused (16) │ today (104)       │ yesterday (104)   │ day (32)            │
    ///     └─────────────┴───────────────────┴───────────────────┴─────────────────────┘
    /// ```
    ///
    /// - `day`: the UTC day of the last reservation, Unix time / 86,400
    /// - `yesterday`: reserved on the day before `day`
    /// - `today`: reserved on `day`
    struct Ledger {
        uint256 word;
    }

    uint256 private constant TODAY_OFFSET = 136;
    uint256 private constant YESTERDAY_OFFSET = 32;

    /// @notice Reserves `amount` on `day`.
    /// @dev Reverts: `SmartAccount_OverDailyLimit`, `SmartAccount_DayPast`.
    /// @param ledger Where the asset's spending is kept.
    /// @param asset The token, or zero for the native currency; for the error.
    /// @param amount In base units.
    /// @param perDay The limit, in base units.
    /// @param day The UTC day in which the calls will run.
    function reserve(
        Ledger storage ledger,
        address asset,
        uint256 amount,
        uint104 perDay,
        uint256 day
    ) internal {
        (uint256 yesterday, uint256 today) = spentBy(ledger, day);
        // Both have 104 bits; an amount so large that the sum could overflow is past any limit too.
        if (amount > type(uint128).max || yesterday + today + amount > perDay) {
            revert ISmartAccount.SmartAccount_OverDailyLimit(
                asset, perDay, yesterday + today, amount
            );
        }
        // The sums stay within `perDay`, hence 104 bits; a day of a timestamp below 2^47 within 32.
        ledger.word = ((today + amount) << TODAY_OFFSET) | (yesterday << YESTERDAY_OFFSET) | day;
    }

    /// @notice What was reserved on the day before `day`, and on `day`.
    /// @dev Reverts: `SmartAccount_DayPast`.
    function spentBy(Ledger storage ledger, uint256 day)
        internal
        view
        returns (uint256 yesterday, uint256 today)
    {
        uint256 word = ledger.word;
        // Casts cut off exactly the bits of the neighbours.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 last = uint32(word);
        if (day < last) revert ISmartAccount.SmartAccount_DayPast(day, last);
        today = word >> TODAY_OFFSET;
        // forge-lint: disable-next-line(unsafe-typecast)
        if (day == last) return (uint104(word >> YESTERDAY_OFFSET), today);
        if (day == last + 1) return (today, 0);
        return (0, 0);
    }
}
