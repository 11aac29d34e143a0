// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";

import {IMCPAgentRegistry} from "../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../interfaces/ISmartAccount.sol";
import {AccountAgents} from "./AccountAgents.sol";
import {AccountCalls} from "./AccountCalls.sol";
import {AccountRegistries} from "./AccountRegistries.sol";

/// @title AccountProposals
/// @notice The three gates of a `SmartAccount`: what a verdict escalates is proposed by an agent, and
/// then approved, authorised and executed by three keys, each of another role.
abstract contract AccountProposals is AccountAgents {
    /// @dev Who let a proposal pass, and in which term of the role. Two words.
    struct Gates {
        Stage stage;
        uint40 approverEpoch;
        uint40 authoriserEpoch;
        address approver;
        address authoriser;
    }

    mapping(bytes32 id => Gates gates) internal _gates;

    // -------------------------------------------------------------- actions

    /// @inheritdoc ISmartAccount
    function propose(Execution[] calldata calls, uint256 nonce, bytes calldata authorisation)
        external
        whileNotRunning
        returns (bytes32 id)
    {
        Settings memory current = _settings;
        if (current.frozen) revert SmartAccount_Frozen();
        _requireNoRole(msg.sender);
        _useNonce(msg.sender, nonce);
        // slither-disable-next-line uninitialized-local its members are set below, or by `_check`
        AccountRegistries.Claim memory claim;
        claim.agent = msg.sender;
        claim.nonce = nonce;
        claim.callsHash = AccountCalls.hash(calls);
        claim.outcome = IPolicyRegistry.Outcome.ESCALATE;
        _check(claim, authorisation, current.delay);
        _requireNow(claim.validAfter, claim.validUntil);
        // What the registries gave back fits: a version of 64 bits, a time below 2^47.
        // forge-lint: disable-start(unsafe-typecast)
        Proposal memory proposal = Proposal({
            agent: msg.sender,
            capability: claim.capability,
            policyVersion: uint64(claim.policyVersion),
            nonce: nonce,
            expiry: uint48(claim.validUntil),
            callsHash: claim.callsHash
        });
        // forge-lint: disable-end(unsafe-typecast)
        id = _idOf(proposal);
        _gates[id].stage = Stage.Proposed;
        emit Proposed(_self(), _nextEvent(), id, proposal);
    }

    /// @inheritdoc ISmartAccount
    function approve(bytes32 id) external onlyRole(Role.Approver) {
        _requireNotFrozen();
        Gates storage gates = _requireStage(id, Stage.Proposed);
        gates.approver = msg.sender;
        gates.approverEpoch = _epochOf(msg.sender);
        _reach(id, gates, Stage.Approved);
    }

    /// @inheritdoc ISmartAccount
    function authorise(bytes32 id) external onlyRole(Role.Authoriser) {
        _requireNotFrozen();
        Gates storage gates = _requireStage(id, Stage.Approved);
        gates.authoriser = msg.sender;
        gates.authoriserEpoch = _epochOf(msg.sender);
        _reach(id, gates, Stage.Authorised);
    }

    /// @inheritdoc ISmartAccount
    function reject(bytes32 id) external {
        if (_roles[msg.sender].role == Role.None) {
            revert SmartAccount_WrongRole(msg.sender, Role.None);
        }
        Gates storage gates = _gates[id];
        if (gates.stage == Stage.Unknown || gates.stage == Stage.Closed) {
            revert SmartAccount_WrongStage(id, gates.stage);
        }
        _reach(id, gates, Stage.Closed);
    }

    /// @inheritdoc ISmartAccount
    function executeProposal(Proposal calldata proposal, Execution[] calldata calls)
        external
        onlyRole(Role.Executor)
        whileNotRunning
    {
        _requireNotFrozen();
        bytes32 id = _idOf(proposal);
        Gates storage gates = _requireStage(id, Stage.Authorised);
        if (!_isFresh(proposal, gates) || AccountCalls.hash(calls) != proposal.callsHash) {
            revert SmartAccount_Stale(id);
        }
        // Spent before anything runs.
        _reach(id, gates, Stage.Closed);
        for (uint256 i = 0; i < calls.length; ++i) {
            Execution calldata call = calls[i];
            bytes4 selector = bytes4(call.callData);
            if (
                _isOwn(call.target)
                    && !(call.target == address(this) && selector == this.allowSignature.selector)
            ) {
                revert SmartAccount_TargetNotAllowed(i, call.target, selector);
            }
            AccountCalls.run(i, call.target, call.value, call.callData);
        }
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc ISmartAccount
    function stageOf(bytes32 id) external view returns (Stage) {
        return _gates[id].stage;
    }

    /// @inheritdoc ISmartAccount
    function proposalId(Proposal calldata proposal) external view returns (bytes32) {
        return _idOf(proposal);
    }

    // ------------------------------------------------------------ internals

    /// @dev Whether everything that the proposal was made and passed under still stands.
    function _isFresh(Proposal calldata proposal, Gates storage gates) private view returns (bool) {
        if (block.timestamp > proposal.expiry) return false;
        // Three gates and an agent: four different keys, since a key has one role at most.
        _requireNoRole(proposal.agent);
        if (
            !_holds(gates.approver, Role.Approver, gates.approverEpoch)
                || !_holds(gates.authoriser, Role.Authoriser, gates.authoriserEpoch)
        ) return false;
        // slither-disable-next-line unused-return the record is not asked for
        (uint64 version,) = IPolicyRegistry(POLICY_REGISTRY).activePolicy(_self());
        if (version != proposal.policyVersion) return false;
        // A grant that was revoked, and that one key recorded again since, does not count yet.
        return IMCPAgentRegistry(AGENT_REGISTRY)
                .isScoped(_self(), proposal.agent, proposal.capability)
            && _counts(proposal.agent, proposal.capability);
    }

    function _holds(address holder, Role role, uint40 epoch) private view returns (bool) {
        return _roles[holder].role == role && _roles[holder].epoch == epoch;
    }

    /// @dev An agent is none of the account's principals.
    function _requireNoRole(address agent) private view {
        Role role = _roles[agent].role;
        if (role != Role.None) revert SmartAccount_WrongRole(agent, role);
        if (agent == _verdictSigner()) revert SmartAccount_WrongRole(agent, role);
    }

    function _requireStage(bytes32 id, Stage stage) private view returns (Gates storage gates) {
        gates = _gates[id];
        if (gates.stage != stage) revert SmartAccount_WrongStage(id, gates.stage);
    }

    function _reach(bytes32 id, Gates storage gates, Stage stage) private {
        gates.stage = stage;
        emit StageReached(_self(), _nextEvent(), id, stage, msg.sender);
    }

    /// @dev Counts of role changes stay far below 2^40.
    function _epochOf(address holder) private view returns (uint40) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint40(_roles[holder].epoch);
    }

    function _idOf(Proposal memory proposal) private view returns (bytes32) {
        return keccak256(abi.encode(_self(), proposal));
    }
}
