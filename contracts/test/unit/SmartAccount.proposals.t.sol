// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";

/// @notice The three gates: what is escalated needs an agent and three more keys, in this order, and
/// everything it was passed under must still stand when it is executed.
contract SmartAccountProposalsTest is SmartAccountTest {
    ISmartAccount.Proposal private _proposal;

    function _escalation() private view returns (Terms memory terms) {
        terms = _terms();
        terms.outcome = IPolicyRegistry.Outcome.ESCALATE;
        terms.validUntil = uint48(block.timestamp) + 3 days;
    }

    function _proposeData(Execution[] memory calls, Terms memory terms, uint256 nonce)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            account.propose, (calls, nonce, _authorisation(terms, agent, nonce, calls))
        );
    }

    /// @dev Proposes more than any limit allows.
    function _propose(Execution[] memory calls) private returns (bytes32 id) {
        uint256 nonce = _nonceOf(agent, 0);
        Terms memory terms = _escalation();
        id = abi.decode(_callAs(agent, _proposeData(calls, terms, nonce)), (bytes32));
        _proposal =
            ISmartAccount.Proposal(agent, PAY, 1, nonce, terms.validUntil, _hashCalls(calls));
        assertEq(id, account.proposalId(_proposal), "id");
    }

    function _pass(bytes32 id) private {
        vm.prank(approver);
        account.approve(id);
        vm.prank(authoriser);
        account.authorise(id);
    }

    function _execute(address by, Execution[] memory calls) private {
        vm.prank(by);
        account.executeProposal(_proposal, calls);
    }

    function _expectStale(bytes32 id) private {
        vm.expectRevert(abi.encodeWithSelector(ISmartAccount.SmartAccount_Stale.selector, id));
        _execute(executor, _send(10 ether));
    }

    function _expectStage(bytes32 id, ISmartAccount.Stage stage) private {
        vm.expectRevert(
            abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongStage.selector, id, stage)
        );
    }

    function test_FourKeysTogetherPassTheLimits() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        _execute(executor, _send(10 ether));
        assertEq(payee.balance, 10 ether + 1 wei);
        assertEq(uint8(account.stageOf(id)), uint8(ISmartAccount.Stage.Closed));
    }

    function test_AProposalIsExecutedOnce() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        _execute(executor, _send(10 ether));
        _expectStage(id, ISmartAccount.Stage.Closed);
        _execute(executor, _send(10 ether));
        // Nor can the same verdict propose it again.
        uint256 nonce = _proposal.nonce;
        _expectFail(
            agent,
            _proposeData(_send(10 ether), _escalation(), nonce),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongNonce.selector, nonce + 1, nonce)
        );
    }

    function test_OnlyAnEscalationIsProposed() public {
        uint256 nonce = _nonceOf(agent, 0);
        IPolicyRegistry.Outcome[2] memory outcomes =
            [IPolicyRegistry.Outcome.DENY, IPolicyRegistry.Outcome.ALLOW];
        for (uint256 i = 0; i < 2; ++i) {
            Terms memory terms = _escalation();
            bytes32 digest = _verdictDigest(terms, agent, nonce, _hashCalls(_send(1)));
            terms.outcome = outcomes[i];
            _expectFail(
                agent,
                _proposeData(_send(1), terms, nonce),
                abi.encodeWithSelector(
                    IPolicyRegistry.PolicyRegistry_BadVerdict.selector, tenantId, digest
                )
            );
        }
    }

    function test_EveryGateIsNeededInOrder() public {
        bytes32 id = _propose(_send(10 ether));
        vm.prank(authoriser);
        _expectStage(id, ISmartAccount.Stage.Proposed);
        account.authorise(id);
        _expectStage(id, ISmartAccount.Stage.Proposed);
        _execute(executor, _send(10 ether));
        vm.prank(approver);
        account.approve(id);
        _expectStage(id, ISmartAccount.Stage.Approved);
        _execute(executor, _send(10 ether));
        vm.prank(approver);
        _expectStage(id, ISmartAccount.Stage.Approved);
        account.approve(id);
    }

    function test_EveryGateHasItsRole() public {
        bytes32 id = _propose(_send(10 ether));
        address[7] memory all = [owner, approver, authoriser, executor, guardian, agent, stranger];
        for (uint256 i = 0; i < all.length; ++i) {
            (ISmartAccount.Role role,) = account.roleOf(all[i]);
            bytes memory reason =
                abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongRole.selector, all[i], role);
            if (role != ISmartAccount.Role.Approver) {
                _expectFail(all[i], abi.encodeCall(account.approve, (id)), reason);
            }
            if (role != ISmartAccount.Role.Authoriser) {
                _expectFail(all[i], abi.encodeCall(account.authorise, (id)), reason);
            }
            if (role != ISmartAccount.Role.Executor) {
                bytes memory data =
                    abi.encodeCall(account.executeProposal, (_proposal, _send(10 ether)));
                _expectFail(all[i], data, reason);
            }
        }
    }

    function test_ARoleHolderIsNoAgent() public {
        uint256 nonce = _nonceOf(approver, 0);
        bytes memory authorisation = _authorisation(_escalation(), approver, nonce, _send(10 ether));
        _expectFail(
            approver,
            abi.encodeCall(account.propose, (_send(10 ether), nonce, authorisation)),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_WrongRole.selector, approver, ISmartAccount.Role.Approver
            )
        );
    }

    function test_OtherCallsAreNotWhatPassed() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        vm.expectRevert(abi.encodeWithSelector(ISmartAccount.SmartAccount_Stale.selector, id));
        _execute(executor, _send(11 ether));
    }

    function test_AProposalExpires() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        vm.warp(_proposal.expiry + 1);
        _expectStale(id);
        vm.warp(_proposal.expiry);
        _execute(executor, _send(10 ether));
    }

    function test_AnotherPolicyVoidsProposals() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        _together(
            address(policies),
            abi.encodeCall(policies.publish, (tenantId, 2, _policy(), type(uint64).max, ""))
        );
        _expectStale(id);
    }

    function test_ARevokedPolicyVoidsProposals() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        vm.prank(guardian);
        account.revokePolicy();
        _expectStale(id);
    }

    function test_ARevokedScopeVoidsProposals() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        vm.prank(owner);
        account.revokeGrant(agent, PAY);
        _expectStale(id);
    }

    /// @dev Nor does one key bring it back before the delay has passed.
    function test_AScopeThatOneKeyRecordedAgainIsStale() public {
        bytes32 id = _propose(_send(10 ether));
        _pass(id);
        vm.prank(guardian);
        account.revokeGrant(agent, PAY);
        bytes memory grant =
            _grantData(agent, PAY, IMCPAgentRegistry.Limits(PER_CALL_GRANT, address(0), 0, 0));
        vm.prank(owner);
        account.schedule(address(agents), grant);
        assertTrue(agents.isScoped(tenantId, agent, PAY));
        _expectStale(id);
        vm.warp(START + DELAY);
        _expectStale(id);
        vm.warp(START + DELAY + 1);
        _execute(executor, _send(10 ether));
    }

    /// @dev A gate that lost its role takes what it had let pass along, also when it comes back.
    function test_RoleEpochsVoidProposals() public {
        address[2] memory gates = [approver, authoriser];
        ISmartAccount.Role[2] memory roles =
            [ISmartAccount.Role.Approver, ISmartAccount.Role.Authoriser];
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 id = _propose(_send(10 ether));
            _pass(id);
            vm.prank(gates[i]);
            account.renounce();
            _expectStale(id);
            bytes memory data = abi.encodeCall(account.setGate, (gates[i], roles[i]));
            bytes memory signature =
                _signChange(EXECUTOR_KEY, address(account), data, type(uint64).max);
            vm.prank(owner);
            account.changeTogether(address(account), data, type(uint64).max, executor, signature);
            _expectStale(id);
        }
    }

    function test_AnyoneWithARoleRejects() public {
        address[5] memory all = [owner, approver, authoriser, executor, guardian];
        for (uint256 i = 0; i < all.length; ++i) {
            bytes32 id = _propose(_send(10 ether));
            _pass(id);
            vm.prank(all[i]);
            account.reject(id);
            _expectStage(id, ISmartAccount.Stage.Closed);
            _execute(executor, _send(10 ether));
        }
        _expectFail(
            stranger,
            abi.encodeCall(account.reject, (_propose(_send(1)))),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_WrongRole.selector, stranger, ISmartAccount.Role.None
            )
        );
    }

    function test_NothingPassesWhileFrozen() public {
        bytes32 id = _propose(_send(10 ether));
        bytes memory proposing = _proposeData(_send(1), _escalation(), _nonceOf(agent, 0));
        vm.prank(guardian);
        account.freeze();
        bytes memory frozen = abi.encodeWithSelector(ISmartAccount.SmartAccount_Frozen.selector);
        _expectFail(agent, proposing, frozen);
        _expectFail(approver, abi.encodeCall(account.approve, (id)), frozen);
        _expectFail(authoriser, abi.encodeCall(account.authorise, (id)), frozen);
        _expectFail(
            executor, abi.encodeCall(account.executeProposal, (_proposal, _send(10 ether))), frozen
        );
    }

    /// @dev The gates open nothing of the account's own: no policy, no scope, no role, no deposit.
    function test_ForbiddenTargets() public {
        address[6] memory targets = [
            address(account),
            address(entryPoint),
            address(policies),
            address(agents),
            address(auditAnchor),
            address(factory)
        ];
        for (uint256 i = 0; i < targets.length; ++i) {
            Execution[] memory calls = _calls(targets[i], 0, abi.encodeCall(account.unfreeze, ()));
            _pass(_propose(calls));
            vm.expectRevert(
                abi.encodeWithSelector(
                    ISmartAccount.SmartAccount_TargetNotAllowed.selector,
                    0,
                    targets[i],
                    account.unfreeze.selector
                )
            );
            _execute(executor, calls);
        }
    }

    /// @dev Recorded by the owner alone, a policy counts for proposals after the delay, too.
    function test_WhatOneKeyRecordedWaits() public {
        bytes memory data =
            abi.encodeCall(policies.publish, (tenantId, 2, _policy(), type(uint64).max, ""));
        vm.prank(owner);
        account.schedule(address(policies), data);
        Terms memory terms = _escalation();
        terms.policyVersion = 2;
        bytes memory proposing = _proposeData(_send(1), terms, _nonceOf(agent, 0));
        _expectFail(
            agent,
            proposing,
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_OutsideWindow.selector,
                START + DELAY,
                terms.validUntil,
                START
            )
        );
        vm.warp(START + DELAY + 1);
        _callAs(agent, proposing);
    }
}
