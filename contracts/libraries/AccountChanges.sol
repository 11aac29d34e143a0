// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IEntryPointStake} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

import {IAuditAnchor} from "../interfaces/IAuditAnchor.sol";
import {IMCPAgentRegistry} from "../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../interfaces/ISmartAccount.sol";
import {AccountLimits} from "./AccountLimits.sol";
import {AccountState} from "./AccountState.sol";

/// @title AccountChanges
/// @notice How a `SmartAccount` is changed: together at once, alone after a delay, narrowing at once.
abstract contract AccountChanges is AccountState {
    /// @dev A scheduled change. Two words.
    struct Scheduling {
        bytes32 changeHash;
        address by;
        uint40 epoch;
        uint48 readyAt;
    }

    mapping(uint64 id => Scheduling scheduling) internal _schedulings;

    /// @dev Hashes that passed the gates, and until when they are good.
    mapping(bytes32 hash => uint48 until) internal _allowedSignatures;

    /// @dev Keys that were granted something through this account, until `revokeAgent`: none of them
    /// becomes a role holder or verdict signer. Grants that two principals signed straight to the
    /// registry (ERC-1271) are not seen here. They make an agent of a role holder at most, after the
    /// delay and the veto, and it still needs the verdict signer: see `PolicyRegistry`.
    mapping(address agent => bool) internal _agents;

    bytes32 private constant CHANGE_TYPEHASH = keccak256(
        "Change(bytes32 tenantId,address target,bytes data,uint64 nonce,uint64 deadline)"
    );

    /// @dev How long a scheduled change can be applied once it is due: nothing old lies in wait.
    uint48 private constant GRACE = 30 days;

    // ------------------------------------------------------------- widening

    /// @inheritdoc ISmartAccount
    function changeTogether(
        address target,
        bytes calldata data,
        uint64 deadline,
        address cosigner,
        bytes calldata signature
    ) external whileNotRunning {
        Role first = _roles[msg.sender].role;
        Role second = _roles[cosigner].role;
        if (first != Role.Owner && !_isGate(first)) {
            revert SmartAccount_WrongRole(msg.sender, first);
        }
        // One of them is the owner, and the other a gate.
        if (first == Role.Owner ? !_isGate(second) : second != Role.Owner) {
            revert SmartAccount_WrongRole(cosigner, second);
        }
        if (block.timestamp > deadline) revert SmartAccount_Expired(deadline, block.timestamp);

        uint64 nonce = _counters.changes++;
        bytes32 digest = _hashTypedData(
            keccak256(
                abi.encode(CHANGE_TYPEHASH, _self(), target, keccak256(data), nonce, deadline)
            )
        );
        if (!_isSignedBy(cosigner, digest, signature)) {
            revert SmartAccount_BadSignature(cosigner, digest);
        }
        emit ChangedTogether(_self(), _nextEvent(), nonce, msg.sender, cosigner, target, data);
        _make(target, data, true);
    }

    /// @inheritdoc ISmartAccount
    function schedule(address target, bytes calldata data)
        external
        whileNotRunning
        returns (uint64 id)
    {
        RoleWord memory word = _roles[msg.sender];
        if (word.role != Role.Owner && !_isGate(word.role)) {
            revert SmartAccount_WrongRole(msg.sender, word.role);
        }
        if (target == POLICY_REGISTRY || target == AGENT_REGISTRY) {
            // Else one stolen key could name every successor of its own an agent, for ever.
            _requireNotFrozen();
            emit Recorded(_self(), _nextEvent(), msg.sender, target, data);
            _make(target, data, false);
            return 0;
        }
        _checkChange(target, data, false);
        id = ++_counters.schedules;
        // Timestamps and counts of role changes stay far below 2^40.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint48 readyAt = uint48(block.timestamp) + _settings.delay;
        _schedulings[id] = Scheduling({
            changeHash: keccak256(abi.encode(target, data)),
            by: msg.sender,
            // forge-lint: disable-next-line(unsafe-typecast)
            epoch: uint40(word.epoch),
            readyAt: readyAt
        });
        emit Scheduled(_self(), _nextEvent(), id, msg.sender, target, data, readyAt);
    }

    /// @inheritdoc ISmartAccount
    function applyScheduled(uint64 id, address target, bytes calldata data)
        external
        whileNotRunning
    {
        Role role = _roles[msg.sender].role;
        if (role != Role.Owner && !_isGate(role)) revert SmartAccount_WrongRole(msg.sender, role);
        Scheduling memory scheduling = _schedulings[id];
        RoleWord memory by = _roles[scheduling.by];
        if (
            scheduling.changeHash != keccak256(abi.encode(target, data))
                || by.epoch != scheduling.epoch
        ) {
            revert SmartAccount_NotScheduled(id);
        }
        if (block.timestamp < scheduling.readyAt || block.timestamp > scheduling.readyAt + GRACE) {
            revert SmartAccount_NotReady(id, scheduling.readyAt);
        }
        delete _schedulings[id];
        emit Applied(_self(), _nextEvent(), id);
        _make(target, data, false);
    }

    /// @inheritdoc ISmartAccount
    function veto(uint64 id) external onlyRole(Role.Guardian) {
        if (_schedulings[id].by == address(0)) revert SmartAccount_NotScheduled(id);
        delete _schedulings[id];
        emit Vetoed(_self(), _nextEvent(), id);
    }

    // -------------------------------------------------------------- changes

    /// @inheritdoc ISmartAccount
    function setLimit(address token, uint104 perCall, uint104 perDay) external onlySelf {
        if (token == address(0)) {
            (_settings.perCall, _settings.perDay) = (perCall, perDay);
        } else {
            if (!_limits[token].listed) {
                if (_tokens.length == MAX_TOKENS || _isOwn(token)) {
                    revert SmartAccount_BadToken(token);
                }
                _tokens.push(token);
                ++_settings.tokens;
            }
            _limits[token] = AccountLimits.Limit(perCall, perDay, true);
        }
        emit LimitSet(_self(), _nextEvent(), token, perCall, perDay);
    }

    /// @inheritdoc ISmartAccount
    function unlistToken(address token) external onlySelf {
        if (!_limits[token].listed) revert SmartAccount_BadToken(token);
        delete _limits[token];
        uint256 last = _tokens.length - 1;
        for (uint256 i = 0; i < last; ++i) {
            if (_tokens[i] == token) _tokens[i] = _tokens[last];
        }
        _tokens.pop();
        --_settings.tokens;
        emit TokenUnlisted(_self(), _nextEvent(), token);
    }

    /// @inheritdoc ISmartAccount
    function setGate(address holder, Role role) external onlySelf {
        Role has = _roles[holder].role;
        if (has == Role.Owner || has == Role.Guardian || (role != Role.None && !_isGate(role))) {
            revert SmartAccount_BadRole(holder, role);
        }
        _checkKey(holder, role);
        _setRole(holder, role);
    }

    /// @inheritdoc ISmartAccount
    function replaceHolder(address holder, address successor) external onlySelf {
        Role role = _roles[holder].role;
        if (role != Role.Owner && !_isGate(role)) revert SmartAccount_BadRole(holder, role);
        _replace(holder, successor, role);
    }

    /// @inheritdoc ISmartAccount
    function replaceGuardian(address guardian, address successor) external onlySelf {
        Role role = _roles[guardian].role;
        if (role != Role.Guardian) revert SmartAccount_BadRole(guardian, role);
        _replace(guardian, successor, role);
    }

    /// @inheritdoc ISmartAccount
    function setDelay(uint24 delay) external onlySelf {
        _setDelay(delay);
    }

    /// @inheritdoc ISmartAccount
    function unfreeze() external onlySelf {
        _setFrozen(false);
    }

    /// @inheritdoc ISmartAccount
    function allowSignature(bytes32 hash, uint48 until) external onlySelf {
        _allowedSignatures[hash] = until;
        emit SignatureAllowed(_self(), _nextEvent(), hash, until);
    }

    // ------------------------------------------------------------ narrowing

    modifier onlyNarrower() {
        Role role = _roles[msg.sender].role;
        if (role != Role.Owner && role != Role.Guardian) {
            revert SmartAccount_WrongRole(msg.sender, role);
        }
        _;
    }

    /// @inheritdoc ISmartAccount
    function freeze() external {
        if (_roles[msg.sender].role == Role.None) {
            revert SmartAccount_WrongRole(msg.sender, Role.None);
        }
        _setFrozen(true);
    }

    /// @inheritdoc ISmartAccount
    function lowerLimit(address token, uint104 perCall, uint104 perDay) external onlyNarrower {
        if (token == address(0)) {
            if (perCall > _settings.perCall || perDay > _settings.perDay) {
                revert SmartAccount_NotNarrower();
            }
            (_settings.perCall, _settings.perDay) = (perCall, perDay);
        } else {
            // A token whose limit is zero stays listed: that it may not fall must still be watched.
            AccountLimits.Limit storage limit = _limits[token];
            if (!limit.listed || perCall > limit.perCall || perDay > limit.perDay) {
                revert SmartAccount_NotNarrower();
            }
            (limit.perCall, limit.perDay) = (perCall, perDay);
        }
        emit LimitSet(_self(), _nextEvent(), token, perCall, perDay);
    }

    /// @inheritdoc ISmartAccount
    function lengthenDelay(uint24 delay) external onlyNarrower {
        if (delay < _settings.delay) revert SmartAccount_NotNarrower();
        _setDelay(delay);
    }

    /// @inheritdoc ISmartAccount
    function disallowSignature(bytes32 hash) external onlyNarrower {
        delete _allowedSignatures[hash];
        emit SignatureAllowed(_self(), _nextEvent(), hash, 0);
    }

    /// @inheritdoc ISmartAccount
    function revokePolicy() external {
        _narrow(POLICY_REGISTRY, abi.encodeCall(IPolicyRegistry.revoke, (_self())));
    }

    /// @inheritdoc ISmartAccount
    function revokeGrant(address agent, bytes32 capability) external {
        _narrow(
            AGENT_REGISTRY, abi.encodeCall(IMCPAgentRegistry.revoke, (_self(), agent, capability))
        );
    }

    /// @inheritdoc ISmartAccount
    function revokeAgent(address agent) external {
        _narrow(AGENT_REGISTRY, abi.encodeCall(IMCPAgentRegistry.revokeAgent, (_self(), agent)));
        // All its grants are dead: it is none any more.
        delete _agents[agent];
    }

    /// @inheritdoc ISmartAccount
    function revokeAnchorer() external {
        _narrow(AUDIT_ANCHOR, abi.encodeCall(IAuditAnchor.setAnchorer, (_self(), address(0))));
    }

    /// @inheritdoc ISmartAccount
    function withdrawDeposit(uint256 amount) external {
        _narrow(
            ENTRY_POINT,
            abi.encodeCall(IEntryPointStake.withdrawTo, (payable(address(this)), amount))
        );
    }

    /// @inheritdoc ISmartAccount
    function renounce() external {
        Role role = _roles[msg.sender].role;
        if (!_isGate(role)) revert SmartAccount_WrongRole(msg.sender, role);
        _setRole(msg.sender, Role.None);
    }

    // ------------------------------------------------------------ internals

    /// @dev Makes a change that was checked for who asked for it, and notes what owner and gate had a
    /// registry record together, which need not wait; whatever one of them records in its place does.
    function _make(address target, bytes calldata data, bool together) private {
        _checkChange(target, data, together);
        if (target == POLICY_REGISTRY) {
            _call(target, data);
            _counters.confirmedPolicy = together ? uint64(bytes8(data[0x3c:0x44])) : 0;
        } else if (target == AGENT_REGISTRY) {
            address agent = _addressAt(data, 0x24);
            bytes32 capability = bytes32(data[0x44:0x64]);
            // An extension names no limits: two who sign one do not confirm those that one of them may
            // just have recorded.
            // forge-lint: disable-start(unsafe-typecast) the selector; and a timestamp
            bool confirmed = together
                && (bytes4(data) == IMCPAgentRegistry.grant.selector || _counts(agent, capability));
            _call(target, data);
            _agents[agent] = true;
            _confirmed[agent][capability] = confirmed ? uint48(block.timestamp) : 0;
            // forge-lint: disable-end(unsafe-typecast)
        } else {
            _call(target, data);
        }
    }

    /// @dev Whether a grant counts by now: two made it, or it is older than the delay. Reverts when
    /// there is none.
    function _counts(address agent, bytes32 capability) internal view returns (bool) {
        uint256 recordedAt =
            IMCPAgentRegistry(AGENT_REGISTRY).scopeOf(_self(), agent, capability).recordedAt;
        return _confirmed[agent][capability] == recordedAt
            || block.timestamp > recordedAt + _settings.delay;
    }

    /// @dev What may be a change. A list: whatever is not on it cannot be reached.
    function _checkChange(address target, bytes calldata data, bool together) private view {
        // forge-lint: disable-next-line(unsafe-typecast) the selector
        bytes4 selector = bytes4(data);
        // slither-disable-next-line uninitialized-local nothing is good unless it is listed
        bool good;
        if (target == address(this)) {
            good = selector == this.setLimit.selector || selector == this.unlistToken.selector
                || selector == this.setGate.selector || selector == this.replaceHolder.selector
                || selector == this.setDelay.selector || selector == this.unfreeze.selector
                || (together && selector == this.replaceGuardian.selector);
        } else if (target == POLICY_REGISTRY) {
            good = selector == IPolicyRegistry.publish.selector
                && bytes32(data[0x04:0x24]) == _self()
                && _roles[_addressAt(data, 0x64)].role == Role.None
                && !_agents[_addressAt(data, 0x64)];
        } else if (target == AGENT_REGISTRY) {
            good =
                (selector == IMCPAgentRegistry.grant.selector
                        || selector == IMCPAgentRegistry.extend.selector)
                    && _roles[_addressAt(data, 0x24)].role == Role.None
                    && _addressAt(data, 0x24) != _verdictSigner();
        } else if (target == AUDIT_ANCHOR) {
            good = selector == IAuditAnchor.setAnchorer.selector;
        }
        if (!good) revert SmartAccount_BadChange(target, selector);
    }

    function _narrow(address target, bytes memory data) private onlyNarrower whileNotRunning {
        emit Narrowed(_self(), _nextEvent(), msg.sender, target, data);
        _call(target, data);
    }

    /// @dev Calls a contract that is trusted, hence its whole reason.
    function _call(address target, bytes memory data) private {
        // slither-disable-next-line reentrancy-no-eth,reentrancy-benign the registries, AuditAnchor or itself
        (bool success, bytes memory reason) = target.call(data);
        if (!success) {
            assembly ("memory-safe") {
                // Assembly: there is no other way to revert with another's reason.
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }

    function _replace(address holder, address successor, Role role) private {
        if (_roles[successor].role != Role.None) revert SmartAccount_BadRole(successor, role);
        _checkKey(successor, role);
        _setRole(holder, Role.None);
        _setRole(successor, role);
    }

    /// @dev No role for an agent, the verdict signer, the zero address or the account.
    function _checkKey(address holder, Role role) internal view {
        if (
            holder == address(0) || holder == address(this)
                || (role != Role.None && (_agents[holder] || holder == _verdictSigner()))
        ) {
            revert SmartAccount_BadRole(holder, role);
        }
    }

    function _setDelay(uint24 delay) internal {
        if (delay < MIN_DELAY || delay > MAX_DELAY) revert SmartAccount_BadDelay(delay);
        _settings.delay = delay;
        emit DelaySet(_self(), _nextEvent(), delay);
    }

    function _setFrozen(bool frozen) private {
        _settings.frozen = frozen;
        emit FrozenSet(_self(), _nextEvent(), frozen);
    }

    /// @dev The verdict signer of the active policy; zero when there is none.
    function _verdictSigner() internal view returns (address) {
        // slither-disable-next-line unused-return the version is not asked for
        (, IPolicyRegistry.Record memory record) =
            IPolicyRegistry(POLICY_REGISTRY).activePolicy(_self());
        return record.verdictSigner;
    }

    /// @dev Where calls of agents and proposals must never go.
    function _isOwn(address target) internal view returns (bool) {
        return target == address(this) || target == ENTRY_POINT || target == POLICY_REGISTRY
            || target == AGENT_REGISTRY || target == AUDIT_ANCHOR || target == FACTORY
            || target == address(0);
    }

    function _addressAt(bytes calldata data, uint256 offset) private pure returns (address) {
        return address(bytes20(data[offset + 12:offset + 32]));
    }
}
