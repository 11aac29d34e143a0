// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {
    Bomb,
    CallbackReceiver,
    CallbackToken,
    EagerToken,
    FeeToken
} from "../utils/HostileContracts.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";
import {TestToken} from "../utils/Tokens.sol";

/// @notice Tokens and targets that do not do what they were called for.
contract SmartAccountHostileTest is SmartAccountTest {
    Bomb private _bomb = new Bomb();

    function _fellTooFar(address asset, uint256 declared, uint256 fallen)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(
            ISmartAccount.SmartAccount_FellTooFar.selector, asset, declared, fallen
        );
    }

    function _replaceToken(TestToken hostile) private {
        token = hostile;
        token.mint(address(account), 1_000_000);
        _allowToken(100, 1000);
    }

    function _grantBomb(bytes4 selector) private {
        _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, address(_bomb), selector, 0));
    }

    /// @dev The token takes twice the amount: more than was declared, so everything is undone.
    function test_ATokenThatTakesMoreThanDeclared() public {
        _replaceToken(new FeeToken());
        _expectFail(
            agent, _direct(_transfer(100), _terms(PAY_TOKEN)), _fellTooFar(address(token), 100, 200)
        );
        assertEq(token.balanceOf(address(account)), 1_000_000);
    }

    /// @dev A target spends an allowance of another limited asset that no call of this batch named.
    function test_ATargetThatSpendsAnAllowance() public {
        _allowToken(100, 1000);
        _grantBomb(_bomb.take.selector);
        _callAs(
            agent,
            _direct(
                _calls(address(token), 0, abi.encodeCall(IERC20.approve, (address(_bomb), 100))),
                _terms(PAY_TOKEN)
            )
        );
        Execution[] memory calls =
            _calls(address(_bomb), 0, abi.encodeCall(_bomb.take, (IERC20(address(token)), 60)));
        _expectFail(agent, _direct(calls, _terms(CALL_TARGET)), _fellTooFar(address(token), 0, 60));
    }

    /// @dev Also when the limit was lowered to zero since.
    function test_ATokenWithoutLimitLeftIsWatched() public {
        _allowToken(100, 1000);
        vm.prank(address(account));
        token.approve(address(_bomb), 100);
        vm.prank(owner);
        account.lowerLimit(address(token), 0, 0);
        _grantBomb(_bomb.take.selector);
        Execution[] memory calls =
            _calls(address(_bomb), 0, abi.encodeCall(_bomb.take, (IERC20(address(token)), 1)));
        _expectFail(agent, _direct(calls, _terms(CALL_TARGET)), _fellTooFar(address(token), 0, 1));
    }

    /// @dev Whatever a callback tries with the account, it finds it running.
    function test_ReenteringTokens() public {
        CallbackToken hostile = new CallbackToken();
        _replaceToken(hostile);
        // An authorisation of a second agent, the token itself, for a call of its own.
        _grant(address(hostile), PAY, IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0));
        uint256 nonce = _nonceOf(address(hostile), 0);
        bytes memory opData = _opData(_terms(), address(hostile), nonce, _send(1 ether));
        bytes[3] memory tries = [
            abi.encodeWithSignature(
                "execute(bytes32,bytes)", MODE_OP_DATA, abi.encode(_send(1 ether), opData)
            ),
            abi.encodeCall(
                account.propose,
                (
                    _send(1 ether),
                    nonce,
                    _authorisation(_terms(), address(hostile), nonce, _send(1 ether))
                )
            ),
            abi.encodeCall(account.schedule, (address(account), ""))
        ];
        for (uint256 i = 0; i < tries.length; ++i) {
            hostile.arm(address(account), tries[i]);
            _callAs(agent, _direct(_transfer(1), _terms(PAY_TOKEN)));
            assertFalse(hostile.succeeded());
            assertEq(
                hostile.result(),
                abi.encodeWithSelector(ISmartAccount.SmartAccount_Reentered.selector)
            );
        }
        // Not running, the first of them goes through: it was the guard that stopped it.
        hostile.arm(address(account), tries[0]);
        assertTrue(hostile.transfer(address(1), 0));
        assertTrue(hostile.succeeded());
    }

    /// @dev A callback sends the account's own money back in: what counts is what it fell by.
    function test_MoneyComingBackIsNoTheft() public {
        CallbackToken hostile = new CallbackToken();
        _replaceToken(hostile);
        hostile.arm(address(hostile), abi.encodeCall(TestToken.mint, (address(account), 5)));
        _callAs(agent, _direct(_transfer(1), _terms(PAY_TOKEN)));
        assertEq(token.balanceOf(address(account)), 1_000_000 + 4);
    }

    function test_ReturndataBombsCostLittle() public {
        _grantBomb(_bomb.explode.selector);
        bytes memory data = _direct(
            _calls(address(_bomb), 0, abi.encodeCall(_bomb.explode, ())), _terms(CALL_TARGET)
        );
        uint256 before = gasleft();
        _callAs(agent, data);
        uint256 used = before - gasleft();
        _grantBomb(_bomb.fail.selector);
        data =
            _direct(_calls(address(_bomb), 0, abi.encodeCall(_bomb.fail, ())), _terms(CALL_TARGET));
        vm.prank(agent);
        before = gasleft();
        (bool ok, bytes memory result) = address(account).call(data);
        used += before - gasleft();
        assertFalse(ok);
        assertEq(
            result,
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_CallFailed.selector, 0, new bytes(256)
            )
        );
        // A megabyte of memory costs 2 million gas to whoever makes it: once for each, not twice.
        assertLt(used, 5_000_000);
    }

    function test_AFailureTellsItsReason() public {
        _allowToken(type(uint104).max, type(uint104).max);
        _expectFail(
            agent,
            _direct(_transfer(2_000_000), _terms(PAY_TOKEN)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_CallFailed.selector,
                0,
                abi.encodeWithSignature("Panic(uint256)", 0x11)
            )
        );
    }

    /// @dev An asset that does not tell its balance cannot be watched, so nothing runs.
    function test_ATokenWithoutBalance() public {
        _together(address(account), abi.encodeCall(account.setLimit, (address(_bomb), 1, 1)));
        _expectFail(
            agent,
            _direct(_send(1), _terms()),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_NoBalance.selector, address(_bomb))
        );
    }

    /// @dev A token that hands over at once what it is told to allow, and as much again: what an
    /// allowance declares counts in the re-check, and no more than that.
    function test_AnAllowanceIsDeclared() public {
        EagerToken hostile = new EagerToken();
        _replaceToken(hostile);
        bytes4 selector = hostile.increaseAllowance.selector;
        _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, address(token), selector, 0));
        Execution[] memory calls =
            _calls(address(token), 0, abi.encodeCall(hostile.increaseAllowance, (payee, 60)));
        hostile.takeTimes(2);
        _expectFail(
            agent, _direct(calls, _terms(CALL_TARGET)), _fellTooFar(address(token), 60, 120)
        );
        hostile.takeTimes(1);
        _callAs(agent, _direct(calls, _terms(CALL_TARGET)));
        assertEq(token.balanceOf(payee), 60);
    }

    /// @dev Who is paid calls back, with what would be good if nothing were running.
    function test_ReenteringPayees() public {
        CallbackReceiver hostile = new CallbackReceiver();
        _grant(address(hostile), PAY, IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0));
        bytes memory opData =
            _opData(_terms(), address(hostile), _nonceOf(address(hostile), 0), _send(1 ether));
        bytes memory again = abi.encodeWithSignature(
            "execute(bytes32,bytes)", MODE_OP_DATA, abi.encode(_send(1 ether), opData)
        );
        hostile.arm(address(account), again);
        _callAs(agent, _direct(_calls(address(hostile), 1, ""), _terms()));
        assertFalse(hostile.succeeded());
        assertEq(
            hostile.result(), abi.encodeWithSelector(ISmartAccount.SmartAccount_Reentered.selector)
        );
        _callAs(address(hostile), again);
        assertEq(payee.balance, 1 ether + 1 wei);
    }
}
