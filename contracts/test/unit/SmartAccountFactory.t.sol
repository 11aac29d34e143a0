// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Receiver} from "@openzeppelin/contracts/interfaces/IERC1155Receiver.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/interfaces/IERC721Receiver.sol";
import {IAccount} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";

interface IInitialize {
    function initialize(ISmartAccount.Configuration calldata configuration, bytes32 salt) external;
}

/// @notice How accounts come into being, and what they are from the start.
contract SmartAccountFactoryTest is SmartAccountTest {
    function test_TheAddressCommitsToTheConfiguration() public {
        ISmartAccount.Configuration memory configuration = _configuration();
        address expected = factory.addressOf(configuration, "a");
        assertEq(expected.code.length, 0);
        vm.prank(stranger);
        assertEq(factory.createAccount(configuration, "a"), expected);
        assertGt(expected.code.length, 0);
        // Anything else in it is another account.
        assertTrue(factory.addressOf(configuration, "b") != expected);
        configuration.nativePerCall += 1;
        assertTrue(factory.addressOf(configuration, "a") != expected);
        configuration = _configuration();
        configuration.nativePerDay += 1;
        assertTrue(factory.addressOf(configuration, "a") != expected);
        configuration = _configuration();
        configuration.delay += 1;
        assertTrue(factory.addressOf(configuration, "a") != expected);
        configuration = _configuration();
        configuration.holders[4] = _holder(stranger, ISmartAccount.Role.Guardian);
        assertTrue(factory.addressOf(configuration, "a") != expected);
    }

    function test_CreatingTwiceChangesNothing() public {
        vm.prank(owner);
        account.lengthenDelay(DELAY + 1);
        assertEq(factory.createAccount(_configuration(), 0), address(account));
        (uint24 delay,) = account.settings();
        assertEq(delay, DELAY + 1);
    }

    function test_OnlyTheFactoryInitialises() public {
        address[3] memory targets = [
            address(account),
            factory.IMPLEMENTATION(),
            factory.addressOf(_configuration(), "not there yet")
        ];
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(owner);
            vm.expectRevert(
                abi.encodeWithSelector(
                    ISmartAccount.SmartAccount_WrongCaller.selector, address(factory), owner
                )
            );
            IInitialize(targets[i]).initialize(_configuration(), 0);
        }
    }

    function test_OneOwnerOneGuardianOneRoleEach() public {
        for (uint256 i = 0; i < 8; ++i) {
            ISmartAccount.Configuration memory bad = _configuration();
            bytes memory reason;
            if (i == 0) bad.holders[0] = _holder(stranger, ISmartAccount.Role.Approver);
            if (i == 1) bad.holders[4] = _holder(stranger, ISmartAccount.Role.Approver);
            if (i == 2) bad.holders[1] = _holder(stranger, ISmartAccount.Role.Owner);
            if (i == 3) bad.holders[1] = _holder(stranger, ISmartAccount.Role.Guardian);
            if (i == 4) bad.holders[1] = _holder(owner, ISmartAccount.Role.Approver);
            if (i == 5) bad.holders[1] = _holder(stranger, ISmartAccount.Role.None);
            if (i == 6) bad.holders[1] = _holder(address(0), ISmartAccount.Role.Approver);
            if (i == 7) bad.holders[1] = bytes32((uint256(6) << 160) | uint160(stranger));
            if (i == 0 || i == 2) {
                reason = abi.encodeWithSelector(
                    ISmartAccount.SmartAccount_BadRole.selector,
                    address(0),
                    ISmartAccount.Role.Owner
                );
            } else if (i == 1 || i == 3) {
                reason = abi.encodeWithSelector(
                    ISmartAccount.SmartAccount_BadRole.selector,
                    address(0),
                    ISmartAccount.Role.Guardian
                );
            } else {
                reason = abi.encodeWithSelector(
                    ISmartAccount.SmartAccount_BadRole.selector,
                    address(uint160(uint256(bad.holders[1]))),
                    ISmartAccount.Role.None
                );
            }
            vm.expectRevert(reason);
            factory.createAccount(bad, "bad");
        }
    }

    function test_TheDelayHasBounds() public {
        uint24[2] memory delays = [uint24(1 hours - 1), uint24(30 days + 1)];
        for (uint256 i = 0; i < 2; ++i) {
            ISmartAccount.Configuration memory bad = _configuration();
            bad.delay = delays[i];
            vm.expectRevert(
                abi.encodeWithSelector(ISmartAccount.SmartAccount_BadDelay.selector, delays[i])
            );
            factory.createAccount(bad, "bad");
        }
    }

    /// @dev The EntryPoint creates an account for its first operation; without policy that operation
    /// is refused, so an account that is not there has nothing to lose.
    function test_WhatAnAccountStartsWith() public view {
        (ISmartAccount.Role role, uint64 epoch) = account.roleOf(owner);
        assertEq(uint8(role), uint8(ISmartAccount.Role.Owner));
        assertEq(epoch, 1);
        (uint104 perCall, uint104 perDay, bool listed) = account.limitOf(address(0));
        assertEq(perCall, PER_CALL);
        assertEq(perDay, PER_DAY);
        assertTrue(listed);
        (uint24 delay, bool frozen) = account.settings();
        assertEq(delay, DELAY);
        assertFalse(frozen);
        assertEq(account.entryPoint(), address(entryPoint));
        assertTrue(IERC7821(address(account)).supportsExecutionMode(MODE_BATCH));
        assertTrue(IERC7821(address(account)).supportsExecutionMode(MODE_OP_DATA));
        assertFalse(IERC7821(address(account)).supportsExecutionMode(0));
    }

    function test_Interfaces() public view {
        IERC165 asked = IERC165(address(account));
        assertTrue(asked.supportsInterface(type(IERC165).interfaceId));
        assertTrue(asked.supportsInterface(type(IAccount).interfaceId));
        assertTrue(asked.supportsInterface(type(IERC1271).interfaceId));
        assertTrue(asked.supportsInterface(type(IERC7821).interfaceId));
        assertTrue(asked.supportsInterface(type(IERC721Receiver).interfaceId));
        assertTrue(asked.supportsInterface(type(IERC1155Receiver).interfaceId));
        assertTrue(asked.supportsInterface(type(ISmartAccount).interfaceId));
        assertFalse(asked.supportsInterface(0xffffffff));
    }

    function test_TokensComeIn() public {
        assertEq(
            IERC721Receiver(address(account)).onERC721Received(owner, owner, 1, ""),
            IERC721Receiver.onERC721Received.selector
        );
        assertEq(
            IERC1155Receiver(address(account)).onERC1155Received(owner, owner, 1, 1, ""),
            IERC1155Receiver.onERC1155Received.selector
        );
        assertEq(
            IERC1155Receiver(address(account))
                .onERC1155BatchReceived(owner, owner, new uint256[](1), new uint256[](1), ""),
            IERC1155Receiver.onERC1155BatchReceived.selector
        );
        uint256 balance = address(account).balance;
        vm.prank(bundler);
        payable(address(account)).transfer(1);
        assertEq(address(account).balance, balance + 1);
    }

    /// @dev Events count without gaps from `Initialized`, which is event 0.
    function test_EventsCountWithoutGaps() public {
        ISmartAccount.Configuration memory configuration = _configuration();
        address expected = factory.addressOf(configuration, "counted");
        vm.expectEmit(expected);
        emit ISmartAccount.Initialized(
            _id(expected), 0, PER_CALL, PER_DAY, DELAY, configuration.holders
        );
        ISmartAccount counted = ISmartAccount(factory.createAccount(configuration, "counted"));
        vm.startPrank(owner);
        vm.expectEmit(expected);
        emit ISmartAccount.DelaySet(_id(expected), 1, DELAY + 1);
        counted.lengthenDelay(DELAY + 1);
        vm.expectEmit(expected);
        emit ISmartAccount.FrozenSet(_id(expected), 2, true);
        counted.freeze();
        vm.stopPrank();
        (, uint64 next) = counted.counters();
        assertEq(next, 3);
    }

    /// @dev EIP-170, and EIP-3860 for the factory, whose creation code holds the account's.
    function test_CodeFits() public view {
        assertLe(factory.IMPLEMENTATION().code.length, 24_576);
        assertLe(vm.getCode("SmartAccountFactory.sol:SmartAccountFactory").length, 49_152);
    }
}
