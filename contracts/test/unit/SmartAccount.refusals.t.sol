// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";
import {TestToken} from "../utils/Tokens.sol";
import {SafeWallet} from "../utils/Wallets.sol";

/// @notice Refusals that no story of the other tests runs into, and what is done only rarely.
contract SmartAccountRefusalsTest is SmartAccountTest {
    function test_AnAuthorisationThatIsTooShort() public {
        PackedUserOperation memory op = _op(_send(1));
        bytes memory bad =
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadAuthorisation.selector);
        op.signature = new bytes(64);
        _refuse(op, bad);
        op.signature = new bytes(66);
        _refuse(op, bad);
        bytes memory direct =
            abi.encodeCall(IERC7821.execute, (MODE_OP_DATA, abi.encode(_send(1), new bytes(31))));
        _expectFail(agent, direct, bad);
    }

    function test_AModeThatIsNone() public {
        _expectFail(
            agent,
            abi.encodeCall(IERC7821.execute, (bytes32(uint256(1)), abi.encode(_send(1)))),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadMode.selector, bytes32(uint256(1)))
        );
    }

    /// @dev Who applies is as much a principal as who scheduled.
    function test_OnlyPrincipalsApply() public {
        bytes memory data = abi.encodeCall(account.setDelay, (uint24(2 days)));
        vm.prank(owner);
        uint64 id = account.schedule(address(account), data);
        vm.warp(START + DELAY + 1);
        bytes memory apply_ = abi.encodeCall(account.applyScheduled, (id, address(account), data));
        _expectFail(guardian, apply_, _wrongRole(guardian, ISmartAccount.Role.Guardian));
        _expectFail(stranger, apply_, _wrongRole(stranger, ISmartAccount.Role.None));
        _callAs(approver, apply_);
        (uint24 delay,) = account.settings();
        assertEq(delay, 2 days);
    }

    function test_TheGuardianDoesNotRenounce() public {
        bytes memory data = abi.encodeCall(account.renounce, ());
        _expectFail(guardian, data, _wrongRole(guardian, ISmartAccount.Role.Guardian));
        _expectFail(stranger, data, _wrongRole(stranger, ISmartAccount.Role.None));
    }

    function test_OnlyAGuardianIsReplacedAsOne() public {
        _expectChangeFail(
            abi.encodeCall(account.replaceGuardian, (approver, stranger)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadRole.selector, approver, ISmartAccount.Role.Approver
            )
        );
    }

    /// @dev One key, one role.
    function test_NobodySucceedsWhoHasARole() public {
        _expectChangeFail(
            abi.encodeCall(account.replaceHolder, (owner, executor)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadRole.selector, executor, ISmartAccount.Role.Owner
            )
        );
    }

    /// @dev The last token takes the place of the one that leaves.
    function test_TokensLeaveInAnyOrder() public {
        TestToken[3] memory tokens = [token, new TestToken(), new TestToken()];
        for (uint256 i = 0; i < 3; ++i) {
            _together(
                address(account), abi.encodeCall(account.setLimit, (address(tokens[i]), 1, 1))
            );
        }
        _together(address(account), abi.encodeCall(account.unlistToken, (address(tokens[0]))));
        address[] memory left = account.limitedTokens();
        assertEq(left.length, 2);
        assertEq(left[0], address(tokens[2]));
        assertEq(left[1], address(tokens[1]));
        _expectChangeFail(
            abi.encodeCall(account.unlistToken, (address(tokens[0]))),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadToken.selector, address(tokens[0]))
        );
    }

    function test_WhatWasNeverProposedIsNotRejected() public {
        bytes32 id = keccak256("nothing");
        _expectFail(
            guardian,
            abi.encodeCall(account.reject, (id)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_WrongStage.selector, id, ISmartAccount.Stage.Unknown
            )
        );
    }

    /// @dev A gate may be a wallet: its code is asked by ERC-1271.
    function test_AWalletCosigns() public {
        address[] memory owners = new address[](1);
        owners[0] = vm.addr(STRANGER_KEY);
        address wallet = address(new SafeWallet(owners, 1));
        _together(
            address(account), abi.encodeCall(account.setGate, (wallet, ISmartAccount.Role.Approver))
        );
        bytes memory data = abi.encodeCall(account.setDelay, (uint24(2 days)));
        uint64 deadline = type(uint64).max;
        bytes memory signature = _signChange(STRANGER_KEY, address(account), data, deadline);
        vm.prank(owner);
        account.changeTogether(address(account), data, deadline, wallet, signature);
        (uint24 delay,) = account.settings();
        assertEq(delay, 2 days);
    }

    function _wrongRole(address who, ISmartAccount.Role role) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongRole.selector, who, role);
    }

    /// @dev Owner and approver agree, and it still fails, with exactly this.
    function _expectChangeFail(bytes memory data, bytes memory reason) private {
        uint64 deadline = type(uint64).max;
        bytes memory signature = _signChange(APPROVER_KEY, address(account), data, deadline);
        _expectFail(
            owner,
            abi.encodeCall(
                account.changeTogether, (address(account), data, deadline, approver, signature)
            ),
            reason
        );
    }
}
