// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

import {SmartAccountTest} from "../utils/SmartAccountTest.sol";
import {GreedyPaymaster} from "../utils/Paymasters.sol";

/// @notice An account's everyday life: its agent pays, with the verdict signer's consent and within the
/// limits; and what must still be there in spite of whoever attacks meanwhile.
/// @dev A part of the invariant tests. Every payment may fail, because the attacker froze the account,
/// say; none may cost more than it said.
abstract contract SmartAccountLife is SmartAccountTest {
    uint104 internal constant TOKEN_PER_CALL = 1000;
    uint104 internal constant TOKEN_PER_DAY = 10_000;

    /// @dev What the operations of honest agents may cost in fees: twice what they do.
    uint256 internal constant MAX_FEE = 0.002 ether;

    /// @notice What was taken; empty as long as the invariant holds.
    string public taken;

    /// @notice How many payments went through.
    uint256 public paid;

    /// @dev What the account has at least, in wei with its deposit, and in tokens.
    uint256 internal _native;
    uint256 internal _tokens;
    GreedyPaymaster internal _paymaster;

    function setUp() public virtual override {
        super.setUp();
        _allowToken(TOKEN_PER_CALL, TOKEN_PER_DAY);
        entryPoint.depositTo{value: 1 ether}(address(account));
        _paymaster = new GreedyPaymaster(IERC20(address(token)));
        entryPoint.depositTo{value: 10 ether}(address(_paymaster));
        _native = _nativeValue();
        _tokens = token.balanceOf(address(account));
    }

    /// @notice The agent pays: itself, or through the EntryPoint, or at a paymaster's expense.
    function pay(uint256 what, uint256 way) external {
        what %= 4;
        way %= 3;
        (Execution[] memory calls, Terms memory terms) = _payment(what);
        uint256 native = _nativeValue();
        uint256 tokens = token.balanceOf(address(account));
        bool ok;
        if (way == 0) {
            bytes memory data = _direct(calls, terms);
            vm.prank(agent);
            (ok,) = address(account).call(data);
        } else {
            PackedUserOperation memory op = _unsigned(calls);
            if (way == 2) op.paymasterAndData = _sponsored(address(_paymaster));
            _signOp(op, AGENT_KEY, terms, calls);
            ok = _tryHandle(op, bundler);
        }
        // Who was allowed something takes it.
        if (ok && what == 2) {
            vm.prank(payee);
            (ok,) = address(token)
                .call(abi.encodeCall(IERC20.transferFrom, (address(account), payee, 10)));
        }
        if (ok) ++paid;
        _declare(
            native,
            ok ? (what == 0 ? 0.01 ether : 0) + (what == 3 ? 0.02 ether : 0) : 0,
            ok && way == 1
        );
        uint256 fell = tokens - token.balanceOf(address(account));
        uint256 most = ok && (what == 1 || what == 2) ? 10 : 0;
        _tokens -= fell < most ? fell : most;
    }

    function _payment(uint256 what)
        internal
        view
        returns (Execution[] memory calls, Terms memory terms)
    {
        terms = _terms(what == 1 || what == 2 ? PAY_TOKEN : PAY);
        terms.policyVersion = policies.versionOf(tenantId);
        terms.maxFee = MAX_FEE;
        if (what == 0) {
            calls = _send(0.01 ether);
        } else if (what == 1) {
            calls = _transfer(10);
        } else if (what == 2) {
            calls = _calls(address(token), 0, abi.encodeCall(IERC20.approve, (payee, 10)));
        } else {
            calls = _and(_send(0.01 ether), _send(0.01 ether));
        }
    }

    /// @dev What an operation costs when `sponsor` pays: fields as the EntryPoint wants them.
    function _sponsored(address sponsor) internal pure returns (bytes memory) {
        return abi.encodePacked(sponsor, uint128(100_000), uint128(100_000));
    }

    function _tryHandle(PackedUserOperation memory op, address by) internal returns (bool ok) {
        PackedUserOperation[] memory ops = new PackedUserOperation[](1);
        ops[0] = op;
        uint256 nonce = op.nonce;
        vm.prank(by, by);
        try entryPoint.handleOps(ops, payable(by == bundler ? beneficiary : by)) {
            // It may have failed in execution, at the cost of its fee.
            // forge-lint: disable-next-line(unsafe-typecast) exactly the key
            ok = entryPoint.getNonce(address(account), uint192(nonce >> 64)) > nonce;
        } catch {}
    }

    /// @dev The account had `native`, and may have lost `most` since, and a fee.
    function _declare(uint256 native, uint256 most, bool fee) internal {
        if (fee) most += MAX_FEE;
        uint256 current = _nativeValue();
        uint256 fell = current < native ? native - current : 0;
        _native -= fell < most ? fell : most;
    }

    function _nativeValue() internal view returns (uint256) {
        return address(account).balance + entryPoint.balanceOf(address(account));
    }
}
