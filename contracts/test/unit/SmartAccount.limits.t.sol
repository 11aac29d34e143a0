// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";

/// @notice What agents may call, and how much they may spend. The direct way makes the same checks as
/// validation, in the same code, and shows their errors without the EntryPoint around them.
contract SmartAccountLimitsTest is SmartAccountTest {
    function _refuseDirect(Execution[] memory calls, Terms memory terms, bytes memory reason)
        private
    {
        _expectFail(agent, _direct(calls, terms), reason);
    }

    function _overCall(address asset, uint256 limit, uint256 amount)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            ISmartAccount.SmartAccount_OverCallLimit.selector, asset, limit, amount
        );
    }

    function _overDay(address asset, uint256 limit, uint256 spent, uint256 amount)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            ISmartAccount.SmartAccount_OverDailyLimit.selector, asset, limit, spent, amount
        );
    }

    function _notAllowed(address target, bytes4 selector) private pure returns (bytes memory) {
        return abi.encodeWithSelector(
            ISmartAccount.SmartAccount_TargetNotAllowed.selector, 0, target, selector
        );
    }

    // ---------------------------------------------------------------- native

    function test_NativePerCall() public {
        _refuseDirect(_send(PER_CALL + 1), _terms(), _overCall(address(0), PER_CALL, PER_CALL + 1));
        _refuse(_op(_send(PER_CALL + 1)), _overCall(address(0), PER_CALL, PER_CALL + 1));
        _callAs(agent, _direct(_send(PER_CALL), _terms()));
    }

    function test_NativePerCallOfTheGrant() public {
        _grant(agent, PAY, IMCPAgentRegistry.Limits(0.5 ether, address(0), 0, 0));
        _refuseDirect(
            _send(0.5 ether + 1), _terms(), _overCall(address(0), 0.5 ether, 0.5 ether + 1)
        );
        _callAs(agent, _direct(_send(0.5 ether), _terms()));
    }

    function test_NativePerDayRolls() public {
        for (uint256 i = 0; i < 2; ++i) {
            _callAs(agent, _direct(_send(PER_CALL), _terms()));
        }
        // Two of three are spent; tomorrow they still count.
        vm.warp(START + 1 days);
        _callAs(agent, _direct(_send(PER_CALL), _terms()));
        _refuseDirect(_send(1), _terms(), _overDay(address(0), PER_DAY, PER_DAY, 1));
        // The day after, only yesterday's one does.
        vm.warp(START + 2 days);
        _callAs(agent, _direct(_send(PER_CALL), _terms()));
        _callAs(agent, _direct(_send(PER_CALL), _terms()));
        _refuseDirect(_send(1), _terms(), _overDay(address(0), PER_DAY, PER_DAY, 1));
        // After a day of rest nothing does.
        vm.warp(START + 4 days);
        (uint256 yesterday, uint256 today) = account.spentOf(address(0), START_DAY + 4);
        assertEq(yesterday + today, 0);
        _callAs(agent, _direct(_send(PER_CALL), _terms()));
    }

    function test_ValuesOfABatchAddUp() public {
        Execution[] memory calls = _and(_send(PER_CALL), _and(_send(PER_CALL), _send(PER_CALL)));
        calls = _and(calls, _send(1));
        _refuseDirect(calls, _terms(), _overDay(address(0), PER_DAY, 0, PER_DAY + 1));
    }

    /// @dev Gas is value: fees alone run into the limit.
    function test_FeesCountForTheDay() public {
        _together(address(account), abi.encodeCall(account.setLimit, (address(0), 0, 0.0015 ether)));
        _handle(_op(_calls(payee, 0, "")));
        uint256 fee = 1_000_000 * 1 gwei;
        _refuse(_op(_calls(payee, 0, "")), _overDay(address(0), 0.0015 ether, fee, fee));
    }

    function test_AWindowOfAPastDayIsRefused() public {
        Terms memory terms = _terms();
        vm.warp(START + 1 days);
        _callAs(agent, _direct(_send(1), _terms()));
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_DayPast.selector, START_DAY, START_DAY + 1
            )
        );
    }

    // ---------------------------------------------------------------- tokens

    function test_NoLimitIsNoSpending() public {
        _grant(agent, PAY_TOKEN, IMCPAgentRegistry.Limits(0, address(token), 0, 1000));
        _refuseDirect(_transfer(0), _terms(PAY_TOKEN), _overCall(address(token), 0, 0));
        _refuseDirect(_transfer(1), _terms(PAY_TOKEN), _overCall(address(token), 0, 1));
    }

    function test_TokenPerCall() public {
        _allowToken(100, 1000);
        _refuseDirect(_transfer(101), _terms(PAY_TOKEN), _overCall(address(token), 100, 101));
        _handle(_op(_transfer(100), _terms(PAY_TOKEN)));
        assertEq(token.balanceOf(payee), 100);
    }

    function test_TokenPerCallOfTheGrant() public {
        _allowToken(100, 1000);
        _grant(agent, PAY_TOKEN, IMCPAgentRegistry.Limits(0, address(token), 0, 50));
        _refuseDirect(_transfer(51), _terms(PAY_TOKEN), _overCall(address(token), 50, 51));
        _callAs(agent, _direct(_transfer(50), _terms(PAY_TOKEN)));
    }

    function test_TransferFromAndApproveCount() public {
        _allowToken(100, 250);
        Execution[] memory approve =
            _calls(address(token), 0, abi.encodeCall(IERC20.approve, (payee, 100)));
        Execution[] memory from = _calls(
            address(token), 0, abi.encodeCall(IERC20.transferFrom, (address(account), payee, 100))
        );
        Execution[] memory calls = _and(approve, from);
        _callAs(agent, _direct(calls, _terms(PAY_TOKEN)));
        assertEq(token.balanceOf(payee), 100);
        assertEq(token.allowance(address(account), payee), 100);
        _refuseDirect(_transfer(51), _terms(PAY_TOKEN), _overDay(address(token), 250, 200, 51));
        approve[0].callData = abi.encodeCall(IERC20.approve, (payee, type(uint256).max));
        _refuseDirect(approve, _terms(PAY_TOKEN), _overCall(address(token), 100, type(uint256).max));
    }

    /// @dev Many tokens have it beside `approve`; a grant that names it is held to the same limits.
    function test_IncreaseAllowanceCountsLikeApprove() public {
        _allowToken(100, 250);
        bytes4 selector = token.increaseAllowance.selector;
        _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, address(token), selector, 0));
        _refuseDirect(_increase(101), _terms(CALL_TARGET), _overCall(address(token), 100, 101));
        _callAs(agent, _direct(_increase(100), _terms(CALL_TARGET)));
        _callAs(agent, _direct(_increase(100), _terms(CALL_TARGET)));
        assertEq(token.allowance(address(account), payee), 200);
        _refuseDirect(_increase(51), _terms(CALL_TARGET), _overDay(address(token), 250, 200, 51));
        _refuseDirect(_transfer(51), _terms(PAY_TOKEN), _overDay(address(token), 250, 200, 51));
        _callAs(agent, _direct(_increase(50), _terms(CALL_TARGET)));
        Execution[] memory calls = _increase(1);
        calls[0].callData = abi.encodePacked(calls[0].callData, "x");
        _refuseDirect(
            calls,
            _terms(CALL_TARGET),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadCallData.selector)
        );
    }

    /// @dev A grant for a token is one for ERC-20's three functions, and not for this one.
    function test_ATokenGrantDoesNotIncreaseAllowances() public {
        _allowToken(100, 250);
        _refuseDirect(
            _increase(1),
            _terms(PAY_TOKEN),
            _notAllowed(address(token), token.increaseAllowance.selector)
        );
    }

    function _increase(uint256 amount) private view returns (Execution[] memory) {
        return _calls(address(token), 0, abi.encodeCall(token.increaseAllowance, (payee, amount)));
    }

    function test_TokenPerDayRolls() public {
        _allowToken(100, 150);
        _callAs(agent, _direct(_transfer(100), _terms(PAY_TOKEN)));
        vm.warp(START + 1 days);
        _refuseDirect(_transfer(51), _terms(PAY_TOKEN), _overDay(address(token), 150, 100, 51));
        _callAs(agent, _direct(_transfer(50), _terms(PAY_TOKEN)));
        vm.warp(START + 2 days);
        _callAs(agent, _direct(_transfer(100), _terms(PAY_TOKEN)));
    }

    function test_NothingMayFollowTheArguments() public {
        _allowToken(100, 1000);
        bytes memory data = abi.encodePacked(abi.encodeCall(IERC20.transfer, (payee, 1)), "x");
        _refuseDirect(
            _calls(address(token), 0, data),
            _terms(PAY_TOKEN),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadCallData.selector)
        );
    }

    // --------------------------------------------------------------- targets

    function test_ForbiddenTargets() public {
        address[7] memory targets = [
            address(account),
            address(entryPoint),
            address(policies),
            address(agents),
            address(auditAnchor),
            address(factory),
            address(0)
        ];
        bytes4 selector = bytes4(keccak256("anything()"));
        for (uint256 i = 0; i < targets.length; ++i) {
            _refuseDirect(_calls(targets[i], 0, ""), _terms(), _notAllowed(targets[i], 0));
            if (targets[i] == address(0)) continue;
            // Not even a grant for it opens one of them.
            _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, targets[i], selector, 0));
            _refuseDirect(
                _calls(targets[i], 0, abi.encodePacked(selector)),
                _terms(CALL_TARGET),
                _notAllowed(targets[i], selector)
            );
        }
    }

    function test_OnlyTheGrantsFunctionOfTheGrantsTarget() public {
        bytes4 mint = token.mint.selector;
        _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, address(token), mint, 0));
        bytes memory data = abi.encodeCall(token.mint, (payee, 7));
        _callAs(agent, _direct(_calls(address(token), 0, data), _terms(CALL_TARGET)));
        assertEq(token.balanceOf(payee), 7);
        _refuseDirect(_calls(stranger, 0, data), _terms(CALL_TARGET), _notAllowed(stranger, mint));
        _refuseDirect(
            _calls(address(token), 0, abi.encodeCall(token.balanceOf, (payee))),
            _terms(CALL_TARGET),
            _notAllowed(address(token), token.balanceOf.selector)
        );
        // A grant for one function is not one for sends, and one for sends not one for functions.
        _refuseDirect(_calls(payee, 0, ""), _terms(CALL_TARGET), _notAllowed(payee, 0));
        _refuseDirect(_calls(address(token), 0, data), _terms(), _notAllowed(address(token), mint));
        _refuseDirect(_calls(payee, 0, hex"00"), _terms(), _notAllowed(payee, 0));
    }

    /// @dev A grant for a function of a token does not go round the token's limit.
    function test_AFunctionGrantDoesNotLiftALimit() public {
        bytes4 transfer = IERC20.transfer.selector;
        _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, address(token), transfer, 0));
        _refuseDirect(_transfer(1), _terms(CALL_TARGET), _overCall(address(token), 0, 1));
    }

    // ------------------------------------------------------------ direct way

    function test_DirectlyTheAgentPaysTheGas() public {
        _callAs(agent, _direct(_send(0.5 ether), _terms()));
        assertEq(payee.balance, 0.5 ether + 1 wei);
        (, uint256 today) = account.spentOf(address(0), START_DAY);
        assertEq(today, 0.5 ether, "no fee");
    }

    /// @dev One verdict, one execution: whichever way comes first uses the nonce up.
    function test_BothWaysShareTheNonce() public {
        bytes memory direct = _direct(_send(1), _terms());
        uint256 nonce = _nonceOf(agent, 0);
        _handle(_op(_send(1)));
        _expectFail(
            agent,
            direct,
            abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongNonce.selector, nonce + 1, nonce)
        );
        _callAs(agent, _direct(_send(1), _terms()));
        assertEq(_nonceOf(agent, 0), nonce + 2);
    }

    function test_DirectlyTheSenderIsTheAgent() public {
        uint256 nonce = _nonceOf(agent, 0);
        _expectFail(
            stranger,
            _direct(_send(1), _terms()),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_ForeignNonce.selector, nonce, stranger
            )
        );
    }

    function test_DirectlyTheClockIsLookedAt() public {
        bytes memory data = _direct(_send(1), _terms());
        uint48 from = START - 5 minutes;
        uint48 until = START + 5 minutes;
        bytes4 selector = ISmartAccount.SmartAccount_OutsideWindow.selector;
        vm.warp(until + 1);
        _expectFail(agent, data, abi.encodeWithSelector(selector, from, until, until + 1));
        vm.warp(from);
        _expectFail(agent, data, abi.encodeWithSelector(selector, from, until, from));
        vm.warp(until);
        _callAs(agent, data);
    }

    function test_DirectlyNothingWhileFrozen() public {
        bytes memory data = _direct(_send(1), _terms());
        vm.prank(owner);
        account.freeze();
        _expectFail(agent, data, abi.encodeWithSelector(ISmartAccount.SmartAccount_Frozen.selector));
    }
}
