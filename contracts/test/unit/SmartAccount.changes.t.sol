// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";

/// @notice How an account is changed: by owner and gate at once, by one of them after the delay unless
/// vetoed, and narrowed by one at once.
contract SmartAccountChangesTest is SmartAccountTest {
    function _limit(uint104 perCall) private view returns (bytes memory) {
        return abi.encodeCall(account.setLimit, (address(0), perCall, 10 ether));
    }

    function _schedule(address by, address target, bytes memory data) private returns (uint64 id) {
        vm.prank(by);
        return account.schedule(target, data);
    }

    function _wrongRole(address by) private view returns (bytes memory) {
        (ISmartAccount.Role role,) = account.roleOf(by);
        return abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongRole.selector, by, role);
    }

    function _perCall() private view returns (uint256 perCall) {
        (perCall,,) = account.limitOf(address(0));
    }

    // -------------------------------------------------------------- together

    function test_OwnerAndGateChangeAtOnce() public {
        _together(address(account), _limit(5 ether));
        assertEq(_perCall(), 5 ether);
        // The other way round: the gate sends, the owner signs.
        bytes memory data = _limit(6 ether);
        bytes memory signature = _signChange(OWNER_KEY, address(account), data, START);
        vm.prank(executor);
        account.changeTogether(address(account), data, START, owner, signature);
        assertEq(_perCall(), 6 ether);
    }

    /// @dev Every other pair, with good signatures, is refused.
    function test_NoOtherPairChangesAtOnce() public {
        uint256[6] memory keys =
            [OWNER_KEY, APPROVER_KEY, AUTHORISER_KEY, GUARDIAN_KEY, AGENT_KEY, STRANGER_KEY];
        bytes memory data = _limit(5 ether);
        uint256 accepted = 0;
        for (uint256 i = 0; i < keys.length; ++i) {
            for (uint256 j = 0; j < keys.length; ++j) {
                bytes memory signature =
                    _signChange(keys[j], address(account), data, type(uint64).max);
                vm.prank(vm.addr(keys[i]));
                try account.changeTogether(
                    address(account), data, type(uint64).max, vm.addr(keys[j]), signature
                ) {
                    ++accepted;
                    assertTrue((i == 0) != (j == 0), "one is the owner");
                    assertTrue(i + j == 1 || i + j == 2, "the other a gate");
                } catch {}
            }
        }
        assertEq(accepted, 4);
    }

    function test_TheCosignatureIsForThisChange() public {
        bytes memory data = _limit(5 ether);
        bytes memory signature = _signChange(APPROVER_KEY, address(account), data, START);
        bytes memory other = _limit(6 ether);
        (uint64 nonce,) = account.counters();
        vm.startPrank(owner);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadSignature.selector,
                approver,
                _changeDigest(account, address(account), other, nonce, START)
            )
        );
        account.changeTogether(address(account), other, START, approver, signature);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadSignature.selector,
                approver,
                _changeDigest(account, address(account), data, nonce, START + 1)
            )
        );
        account.changeTogether(address(account), data, START + 1, approver, signature);
        // Once, and not again.
        account.changeTogether(address(account), data, START, approver, signature);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadSignature.selector,
                approver,
                _changeDigest(account, address(account), data, nonce + 1, START)
            )
        );
        account.changeTogether(address(account), data, START, approver, signature);
        vm.stopPrank();
        // Not for another account with the same keys.
        ISmartAccount twin = ISmartAccount(factory.createAccount(_configuration(), "twin"));
        bytes memory forOne =
            _sign(APPROVER_KEY, _changeDigest(account, address(twin), data, 0, START));
        vm.prank(owner);
        vm.expectRevert();
        twin.changeTogether(address(twin), data, START, approver, forOne);
    }

    function test_TheCosignatureHasADeadline() public {
        bytes memory data = _limit(5 ether);
        bytes memory signature = _signChange(APPROVER_KEY, address(account), data, START);
        vm.warp(START + 1);
        _expectFail(
            owner,
            abi.encodeCall(
                account.changeTogether, (address(account), data, START, approver, signature)
            ),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_Expired.selector, START, START + 1)
        );
    }

    // ----------------------------------------------------------------- alone

    function test_OneAloneWaits() public {
        address[4] memory all = [owner, approver, authoriser, executor];
        for (uint104 i = 0; i < all.length; ++i) {
            uint256 start = vm.getBlockTimestamp();
            bytes memory data = _limit(2 ether + i);
            uint64 id = _schedule(all[i], address(account), data);
            bytes memory applying =
                abi.encodeCall(account.applyScheduled, (id, address(account), data));
            bytes memory notReady = abi.encodeWithSelector(
                ISmartAccount.SmartAccount_NotReady.selector, id, start + DELAY
            );
            vm.warp(start + DELAY - 1);
            _expectFail(all[i], applying, notReady);
            vm.warp(start + DELAY + 30 days + 1);
            _expectFail(all[i], applying, notReady);
            vm.warp(start + DELAY);
            _callAs(all[i], applying);
            assertEq(_perCall(), 2 ether + i);
            _expectFail(
                all[i],
                applying,
                abi.encodeWithSelector(ISmartAccount.SmartAccount_NotScheduled.selector, id)
            );
        }
    }

    function test_OnlyOwnerAndGatesSchedule() public {
        address[3] memory all = [guardian, agent, stranger];
        for (uint256 i = 0; i < all.length; ++i) {
            _expectFail(
                all[i],
                abi.encodeCall(account.schedule, (address(account), _limit(1))),
                _wrongRole(all[i])
            );
        }
    }

    function test_TheGuardianVetoes() public {
        uint64 id = _schedule(owner, address(account), _limit(5 ether));
        address[5] memory all = [owner, approver, executor, agent, stranger];
        for (uint256 i = 0; i < all.length; ++i) {
            _expectFail(all[i], abi.encodeCall(account.veto, (id)), _wrongRole(all[i]));
        }
        vm.prank(guardian);
        account.veto(id);
        vm.warp(START + DELAY);
        _expectFail(
            owner,
            abi.encodeCall(account.applyScheduled, (id, address(account), _limit(5 ether))),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_NotScheduled.selector, id)
        );
    }

    function test_WhatIsAppliedIsWhatWasScheduled() public {
        uint64 id = _schedule(owner, address(account), _limit(5 ether));
        vm.warp(START + DELAY);
        _expectFail(
            owner,
            abi.encodeCall(account.applyScheduled, (id, address(account), _limit(6 ether))),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_NotScheduled.selector, id)
        );
    }

    /// @dev A key that lost its role leaves nothing behind that could be applied later.
    function test_WhoLostTheRoleHasScheduledNothing() public {
        uint64 id = _schedule(authoriser, address(account), _limit(5 ether));
        _together(
            address(account), abi.encodeCall(account.setGate, (authoriser, ISmartAccount.Role.None))
        );
        vm.warp(START + DELAY);
        _expectFail(
            owner,
            abi.encodeCall(account.applyScheduled, (id, address(account), _limit(5 ether))),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_NotScheduled.selector, id)
        );
    }

    // ---------------------------------------------------- alone, at a registry

    function test_AGrantByOneWaitsFromItsRecording() public {
        _schedule(
            owner,
            address(agents),
            _grantData(agent, "new", IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0))
        );
        Terms memory terms = _terms("new");
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_NeverGood.selector, START + DELAY, terms.validUntil
            )
        );
        vm.warp(START + DELAY);
        _refuseAA(_op(_send(1), _terms("new")), "AA22 expired or not due");
        vm.warp(START + DELAY + 1);
        _handle(_op(_send(1), _terms("new")));
    }

    /// @dev Also in the very block in which two made it, and with a later end for it.
    function test_WhatOneKeyRecordsInPlaceOfTwoWaits() public {
        IMCPAgentRegistry.Limits memory limits = IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0);
        _grant(agent, PAY, limits);
        _handle(_op(_send(1)));
        _schedule(owner, address(agents), _grantData(agent, PAY, limits));
        bytes memory reason = abi.encodeWithSelector(
            ISmartAccount.SmartAccount_NeverGood.selector, START + DELAY, START + 5 minutes
        );
        _refuse(_op(_send(1)), reason);
        _grant(agent, PAY, limits);
        _handle(_op(_send(1)));
        _schedule(
            owner,
            address(agents),
            abi.encodeCall(agents.extend, (tenantId, agent, PAY, START + 4000 days))
        );
        _refuse(_op(_send(1)), reason);
    }

    function test_APolicyByOneWaitsFromItsRecording() public {
        _schedule(
            owner,
            address(policies),
            abi.encodeCall(policies.publish, (tenantId, 2, _policy(), type(uint64).max, ""))
        );
        Terms memory terms = _terms();
        terms.policyVersion = 2;
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_NeverGood.selector, START + DELAY, terms.validUntil
            )
        );
        vm.warp(START + DELAY + 1);
        terms = _terms();
        terms.policyVersion = 2;
        _handle(_op(_send(1), terms));
    }

    function test_TheGuardianVetoesARegistrysChangeByRevoking() public {
        _schedule(
            owner,
            address(agents),
            _grantData(stranger, PAY, IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0))
        );
        vm.prank(guardian);
        account.revokeGrant(stranger, PAY);
        vm.warp(START + DELAY + 1);
        assertFalse(agents.isScoped(tenantId, stranger, PAY));
    }

    // --------------------------------------------------------------- changes

    function test_NobodyCallsAChangeDirectly() public {
        bytes[8] memory changes = [
            _limit(5 ether),
            abi.encodeCall(account.unlistToken, (address(token))),
            abi.encodeCall(account.setGate, (stranger, ISmartAccount.Role.Approver)),
            abi.encodeCall(account.replaceHolder, (owner, stranger)),
            abi.encodeCall(account.replaceGuardian, (guardian, stranger)),
            abi.encodeCall(account.setDelay, (uint24(1 hours))),
            abi.encodeCall(account.unfreeze, ()),
            abi.encodeCall(account.allowSignature, (keccak256("hash"), type(uint48).max))
        ];
        address[4] memory all = [owner, guardian, agent, address(entryPoint)];
        for (uint256 i = 0; i < changes.length; ++i) {
            for (uint256 j = 0; j < all.length; ++j) {
                _expectFail(
                    all[j],
                    changes[i],
                    abi.encodeWithSelector(
                        ISmartAccount.SmartAccount_WrongCaller.selector, address(account), all[j]
                    )
                );
            }
        }
    }

    /// @dev The list of what a change can be has no entry that sends anything.
    function test_OnlyWhatIsListedIsAChange() public {
        bytes[5] memory datas = [
            abi.encodeCall(account.allowSignature, (keccak256("hash"), type(uint48).max)),
            abi.encodeCall(account.withdrawDeposit, (1)),
            abi.encodeCall(
                agents.grantSigned,
                (
                    tenantId,
                    agent,
                    PAY,
                    IMCPAgentRegistry.Window(0, 1),
                    IMCPAgentRegistry.Limits(0, address(0), 0, 0),
                    0,
                    ""
                )
            ),
            abi.encodeCall(auditAnchor.anchor, (tenantId, 0, 1, 0)),
            abi.encodeCall(token.transfer, (payee, 1))
        ];
        address[5] memory targets = [
            address(account),
            address(account),
            address(agents),
            address(auditAnchor),
            address(token)
        ];
        for (uint256 i = 0; i < datas.length; ++i) {
            bytes memory reason = abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadChange.selector, targets[i], bytes4(datas[i])
            );
            bytes memory signature = _signChange(APPROVER_KEY, targets[i], datas[i], START);
            _expectFail(
                owner,
                abi.encodeCall(
                    account.changeTogether, (targets[i], datas[i], START, approver, signature)
                ),
                reason
            );
            _expectFail(owner, abi.encodeCall(account.schedule, (targets[i], datas[i])), reason);
        }
    }

    function test_KeysArePairwiseDifferent() public {
        bytes4 badChange = ISmartAccount.SmartAccount_BadChange.selector;
        // No role holder becomes agent, nor does the verdict signer.
        address[6] memory holders = [owner, approver, authoriser, executor, guardian, signer];
        for (uint256 i = 0; i < holders.length; ++i) {
            bytes memory grant =
                _grantData(holders[i], PAY, IMCPAgentRegistry.Limits(1, address(0), 0, 0));
            _expectFail(
                owner,
                abi.encodeCall(account.schedule, (address(agents), grant)),
                abi.encodeWithSelector(badChange, address(agents), agents.grant.selector)
            );
        }
        // Neither role holder nor agent becomes verdict signer.
        holders[5] = agent;
        for (uint256 i = 0; i < holders.length; ++i) {
            bytes memory publish = abi.encodeWithSelector(
                policies.publish.selector,
                tenantId,
                2,
                keccak256("policy"),
                holders[i],
                START,
                START + 1,
                type(uint64).max,
                uint256(0x100),
                uint256(0)
            );
            _expectFail(
                owner,
                abi.encodeCall(account.schedule, (address(policies), publish)),
                abi.encodeWithSelector(badChange, address(policies), policies.publish.selector)
            );
        }
        // And nobody with a part in it gets a role.
        address[5] memory taken = [agent, signer, guardian, address(0), address(account)];
        for (uint256 i = 0; i < taken.length; ++i) {
            bytes memory data =
                abi.encodeCall(account.setGate, (taken[i], ISmartAccount.Role.Executor));
            bytes memory signature = _signChange(APPROVER_KEY, address(account), data, START);
            _expectFail(
                owner,
                abi.encodeCall(
                    account.changeTogether, (address(account), data, START, approver, signature)
                ),
                abi.encodeWithSelector(
                    ISmartAccount.SmartAccount_BadRole.selector,
                    taken[i],
                    ISmartAccount.Role.Executor
                )
            );
        }
    }

    function test_AHolderIsReplaced() public {
        _together(address(account), abi.encodeCall(account.replaceHolder, (owner, stranger)));
        (ISmartAccount.Role role, uint64 epoch) = account.roleOf(owner);
        assertEq(uint8(role), uint8(ISmartAccount.Role.None));
        assertEq(epoch, 2);
        (role,) = account.roleOf(stranger);
        assertEq(uint8(role), uint8(ISmartAccount.Role.Owner));
    }

    /// @dev By two, at once, and the guardian can do nothing about it; never by one.
    function test_TheGuardianIsReplacedByTwoOnly() public {
        bytes memory data = abi.encodeCall(account.replaceGuardian, (guardian, stranger));
        _expectFail(
            owner,
            abi.encodeCall(account.schedule, (address(account), data)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadChange.selector,
                address(account),
                account.replaceGuardian.selector
            )
        );
        bytes memory around = abi.encodeCall(account.replaceHolder, (guardian, stranger));
        uint64 id = _schedule(owner, address(account), around);
        vm.warp(START + DELAY);
        _expectFail(
            owner,
            abi.encodeCall(account.applyScheduled, (id, address(account), around)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadRole.selector, guardian, ISmartAccount.Role.Guardian
            )
        );
        _together(address(account), data);
        (ISmartAccount.Role role,) = account.roleOf(stranger);
        assertEq(uint8(role), uint8(ISmartAccount.Role.Guardian));
    }

    function test_TheDelayHasBounds() public {
        uint24[2] memory bad = [uint24(1 hours - 1), uint24(30 days + 1)];
        for (uint256 i = 0; i < 2; ++i) {
            _expectFail(
                guardian,
                abi.encodeCall(account.lengthenDelay, (bad[i])),
                i == 0
                    ? abi.encodeWithSelector(ISmartAccount.SmartAccount_NotNarrower.selector)
                    : abi.encodeWithSelector(ISmartAccount.SmartAccount_BadDelay.selector, bad[i])
            );
        }
    }

    // ------------------------------------------------------------- narrowing

    function test_NarrowingIsImmediate() public {
        _allowToken(100, 1000);
        vm.startPrank(owner);
        account.lowerLimit(address(0), 1, 2);
        account.lowerLimit(address(token), 3, 4);
        account.lengthenDelay(2 days);
        vm.stopPrank();
        (uint256 perCall, uint256 perDay,) = account.limitOf(address(0));
        assertEq(perCall + perDay, 3);
        (perCall, perDay,) = account.limitOf(address(token));
        assertEq(perCall + perDay, 7);
        (uint24 delay,) = account.settings();
        assertEq(delay, 2 days);
    }

    function test_NarrowingNeverWidens() public {
        _allowToken(100, 1000);
        bytes memory reason =
            abi.encodeWithSelector(ISmartAccount.SmartAccount_NotNarrower.selector);
        _expectFail(
            owner, abi.encodeCall(account.lowerLimit, (address(0), PER_CALL + 1, PER_DAY)), reason
        );
        _expectFail(
            owner, abi.encodeCall(account.lowerLimit, (address(0), PER_CALL, PER_DAY + 1)), reason
        );
        _expectFail(owner, abi.encodeCall(account.lowerLimit, (address(token), 101, 1000)), reason);
        _expectFail(owner, abi.encodeCall(account.lowerLimit, (address(token), 100, 1001)), reason);
        _expectFail(owner, abi.encodeCall(account.lowerLimit, (payee, 0, 0)), reason);
        _expectFail(owner, abi.encodeCall(account.lengthenDelay, (DELAY - 1)), reason);
    }

    function test_OnlyOwnerAndGuardianNarrow() public {
        bytes[9] memory all = [
            abi.encodeCall(account.lowerLimit, (address(0), 0, 0)),
            abi.encodeCall(account.lengthenDelay, (DELAY)),
            abi.encodeCall(account.disallowSignature, (keccak256("hash"))),
            abi.encodeCall(account.revokePolicy, ()),
            abi.encodeCall(account.revokeGrant, (agent, PAY)),
            abi.encodeCall(account.revokeAgent, (agent)),
            abi.encodeCall(account.revokeAnchorer, ()),
            abi.encodeCall(account.withdrawDeposit, (0)),
            abi.encodeCall(account.freeze, ())
        ];
        address[3] memory callers = [approver, agent, stranger];
        for (uint256 i = 0; i < all.length; ++i) {
            for (uint256 j = 0; j < callers.length; ++j) {
                // Any role holder freezes.
                if (i == 8 && j == 0) continue;
                _expectFail(callers[j], all[i], _wrongRole(callers[j]));
            }
            uint256 snapshot = vm.snapshotState();
            _callAs(owner, all[i]);
            vm.revertToState(snapshot);
            _callAs(guardian, all[i]);
            vm.revertToState(snapshot);
        }
    }

    function test_UnfreezingIsWidening() public {
        vm.prank(executor);
        account.freeze();
        uint64 id = _schedule(owner, address(account), abi.encodeCall(account.unfreeze, ()));
        vm.prank(guardian);
        account.veto(id);
        _together(address(account), abi.encodeCall(account.unfreeze, ()));
        (, bool frozen) = account.settings();
        assertFalse(frozen);
    }

    function test_TheAnchorerIsSetByChange() public {
        bytes memory data = abi.encodeCall(auditAnchor.setAnchorer, (tenantId, stranger));
        _together(address(auditAnchor), data);
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = tenantId;
        assertEq(auditAnchor.heads(ids)[0].anchorer, stranger);
        vm.prank(guardian);
        account.revokeAnchorer();
        assertEq(auditAnchor.heads(ids)[0].anchorer, address(0));
    }

    /// @dev It comes back to the account, and nowhere else.
    function test_TheDepositComesBackToTheAccount() public {
        entryPoint.depositTo{value: 1 ether}(address(account));
        uint256 balance = address(account).balance;
        vm.prank(owner);
        account.withdrawDeposit(1 ether);
        assertEq(address(account).balance, balance + 1 ether);
    }

    /// @dev A token whose limit was lowered to nothing is still watched; only a change unlists it.
    function test_ALoweredTokenStaysListed() public {
        _allowToken(100, 1000);
        vm.prank(owner);
        account.lowerLimit(address(token), 0, 0);
        assertEq(account.limitedTokens().length, 1);
        _together(address(account), abi.encodeCall(account.unlistToken, (address(token))));
        assertEq(account.limitedTokens().length, 0);
    }

    function test_AtMostEightTokens() public {
        for (uint160 i = 1; i <= 8; ++i) {
            _together(address(account), abi.encodeCall(account.setLimit, (address(i), 1, 1)));
        }
        bytes memory data = abi.encodeCall(account.setLimit, (address(9), 1, 1));
        bytes memory signature = _signChange(APPROVER_KEY, address(account), data, START);
        _expectFail(
            owner,
            abi.encodeCall(
                account.changeTogether, (address(account), data, START, approver, signature)
            ),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadToken.selector, address(9))
        );
    }
}
