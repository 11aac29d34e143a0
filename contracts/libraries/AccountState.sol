// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";
import {EIP712} from "solady/utils/EIP712.sol";
import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";

import {ISmartAccount} from "../interfaces/ISmartAccount.sol";
import {AccountLimits} from "./AccountLimits.sol";
import {TenantIds} from "./TenantIds.sol";

/// @title AccountState
/// @notice What a `SmartAccount` stores, who is who in it, and what its parts share.
///
/// @dev Storage of the whole account; all of it is its own, so validation may read any:
///
/// | slot | variable | where a value is |
/// |---|---|---|
/// | 0 | `_settings` | 0: a `Settings` |
/// | 1 | `_nativeLedger` | 1: a `Ledger` |
/// | 2 | `_counters` | 2: a `Counters` |
/// | 3 | `_tokens` | 3: how many; `keccak256(3) + i`: a limited token |
/// | 4 | `_roles` | `keccak256(holder ‖ 4)`: a `RoleWord` |
/// | 5 | `_limits` | `keccak256(token ‖ 5)`: a `Limit` |
/// | 6 | `_ledgers` | `keccak256(token ‖ 6)`: a `Ledger` |
/// | 7 | `_confirmed` | `keccak256(capability ‖ keccak256(agent ‖ 7))`: low 48 bits |
/// | 8 | `_schedulings` | `keccak256(id ‖ 8)`: a `Scheduling`, two words |
/// | 9 | `_allowedSignatures` | `keccak256(hash ‖ 9)`: low 48 bits |
/// | 10 | `_agents` | `keccak256(agent ‖ 10)`: 1 or 0 |
/// | 11 | `_gates` | `keccak256(id ‖ 11)`: a `Gates`, two words |
abstract contract AccountState is ISmartAccount, EIP712 {
    // -------------------------------------------------------------- storage

    /// @dev All that validation needs to know of the account itself, in one word. The first two are
    /// the limit of the native currency.
    ///
    /// ```text
    ///  bit 255      248 247      240 239      232 231     208 207           104 103             0
    ///     ┌────────────┬────────────┬────────────┬───────────┬─────────────────┬────────────────┐
    ///     │ unused (8) │ frozen (8) │ tokens (8) │ delay (24)│ perDay (104)    │ perCall (104)  │
    ///     └────────────┴────────────┴────────────┴───────────┴─────────────────┴────────────────┘
    /// ```
    struct Settings {
        uint104 perCall;
        uint104 perDay;
        uint24 delay;
        uint8 tokens;
        bool frozen;
    }

    /// @dev `events` and `changes` count what was emitted and changed together; `schedules` are ids
    /// given; `confirmedPolicy` is the last policy version that owner and gate published together.
    /// Event 0 is not counted, so that creating an account does not write this word.
    struct Counters {
        uint64 events;
        uint64 changes;
        uint64 schedules;
        uint64 confirmedPolicy;
    }

    /// @dev `epoch` counts the changes of the key's role, so that what a key did before it lost a role
    /// does not come back to life when it is given one again.
    struct RoleWord {
        Role role;
        uint64 epoch;
    }

    Settings internal _settings;
    AccountLimits.Ledger internal _nativeLedger;
    Counters internal _counters;
    address[] internal _tokens;
    mapping(address holder => RoleWord word) internal _roles;
    mapping(address token => AccountLimits.Limit limit) internal _limits;
    mapping(address token => AccountLimits.Ledger ledger) internal _ledgers;

    /// @dev When the registry recorded the grant that owner and gate made together last. What two
    /// principals signed straight to the registry (ERC-1271) in that very block counts with it, which is
    /// harmless: it took two as well, and neither is the guardian.
    mapping(address agent => mapping(bytes32 capability => uint48 recordedAt)) internal _confirmed;

    /// @dev One while the account's calls are running. A whole word, because writing a part of one reads
    /// it first.
    uint256 private transient _running;

    // ----------------------------------------------------------- immutables

    address internal immutable ENTRY_POINT;
    address internal immutable AUDIT_ANCHOR;
    address internal immutable POLICY_REGISTRY;
    address internal immutable AGENT_REGISTRY;

    /// @dev It creates the implementation, and then every account.
    address internal immutable FACTORY;

    uint24 internal constant MIN_DELAY = 1 hours;
    uint24 internal constant MAX_DELAY = 30 days;
    uint256 internal constant MAX_TOKENS = 8;

    constructor(
        address entryPoint_,
        address auditAnchor,
        address policyRegistry,
        address agentRegistry
    ) {
        ENTRY_POINT = entryPoint_;
        AUDIT_ANCHOR = auditAnchor;
        POLICY_REGISTRY = policyRegistry;
        AGENT_REGISTRY = agentRegistry;
        FACTORY = msg.sender;
    }

    // ------------------------------------------------------------ modifiers

    /// @dev Neither calls nor changes run inside of calls.
    modifier whileNotRunning() {
        _enter();
        _;
        _running = 0;
    }

    modifier onlySelf() {
        if (msg.sender != address(this)) {
            revert SmartAccount_WrongCaller(address(this), msg.sender);
        }
        _;
    }

    modifier onlyRole(Role role) {
        Role has = _roles[msg.sender].role;
        if (has != role) revert SmartAccount_WrongRole(msg.sender, has);
        _;
    }

    // ------------------------------------------------------------ internals

    function _enter() private {
        if (_running != 0) revert SmartAccount_Reentered();
        _running = 1;
    }

    /// @dev All settings, as the picture above has them.
    function _settingsWord() internal view returns (uint256 word) {
        assembly ("memory-safe") {
            // Assembly: an operation costs 400 gas less than with a copy of the struct in memory.
            word := sload(_settings.slot)
        }
    }

    function _self() internal view returns (bytes32) {
        return TenantIds.fromAuthority(address(this));
    }

    /// @dev The index of the event about to be emitted. `Initialized` was event 0.
    function _nextEvent() internal returns (uint64) {
        return ++_counters.events;
    }

    function _requireNotFrozen() internal view {
        if (_settings.frozen) revert SmartAccount_Frozen();
    }

    /// @dev Approver, authoriser or executor.
    function _isGate(Role role) internal pure returns (bool) {
        return role == Role.Approver || role == Role.Authoriser || role == Role.Executor;
    }

    function _setRole(address holder, Role role) internal {
        RoleWord storage word = _roles[holder];
        word.role = role;
        ++word.epoch;
        emit RoleSet(_self(), _nextEvent(), holder, role);
    }

    /// @dev Whether `signer` signed `digest`: its own key first, whatever code it has (EIP-7702), then
    /// its code.
    function _isSignedBy(address signer, bytes32 digest, bytes calldata signature)
        internal
        view
        returns (bool)
    {
        if (ECDSA.tryRecoverCalldata(digest, signature) == signer) return true;
        if (signer.code.length == 0) return false;
        return SignatureCheckerLib.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }

    /// @inheritdoc EIP712
    function _domainNameAndVersion()
        internal
        pure
        virtual
        override
        returns (string memory name, string memory version)
    {
        return ("Cofferdam SmartAccount", "1");
    }
}
