// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {IERC165} from "@openzeppelin/contracts/interfaces/IERC165.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC1155Receiver} from "@openzeppelin/contracts/interfaces/IERC1155Receiver.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/interfaces/IERC721Receiver.sol";
import {IAccount} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {ERC1271} from "solady/accounts/ERC1271.sol";
import {ECDSA} from "solady/utils/ECDSA.sol";
import {EIP712} from "solady/utils/EIP712.sol";

import {ISmartAccount} from "./interfaces/ISmartAccount.sol";
import {AccountLimits} from "./libraries/AccountLimits.sol";
import {AccountProposals} from "./libraries/AccountProposals.sol";
import {AccountState} from "./libraries/AccountState.sol";

/// @title SmartAccount
/// @notice See `ISmartAccount`. No owner above it, nothing upgradeable.
/// @dev In parts, each on top of the one before:
///
/// - `AccountState`: storage, roles, what all share
/// - `AccountChanges`: widening by two or after the delay, narrowing at once
/// - `AccountAgents`: ERC-4337 validation, limits, execution
/// - `AccountProposals`: the three gates
/// - this: creation, signatures, tokens coming in, views
contract SmartAccount is AccountProposals, ERC1271, IERC721Receiver, IERC1155Receiver {
    using AccountLimits for AccountLimits.Ledger;

    // slither-disable-next-line shadowing-state both are private, and the same
    uint256 private constant SIGNATURE_LENGTH = 65;

    /// @dev Deployed by the factory, which is the only one to call `initialize`.
    constructor(
        address entryPoint_,
        address auditAnchor,
        address policyRegistry,
        address agentRegistry
    ) AccountState(entryPoint_, auditAnchor, policyRegistry, agentRegistry) {}

    /// @notice Takes the native currency from anybody.
    receive() external payable {}

    // -------------------------------------------------------------- actions

    /// @notice Sets the account up. Caller: the factory, in the transaction that creates it.
    /// @param configuration What it starts with.
    function initialize(Configuration calldata configuration, bytes32) external {
        if (msg.sender != FACTORY) revert SmartAccount_WrongCaller(FACTORY, msg.sender);
        uint104 perCall = configuration.nativePerCall;
        uint104 perDay = configuration.nativePerDay;
        uint24 delay = configuration.delay;
        bytes32[] calldata holders = configuration.holders;
        if (delay < MIN_DELAY || delay > MAX_DELAY) revert SmartAccount_BadDelay(delay);
        uint256 word = perCall | (uint256(perDay) << 104) | (uint256(delay) << 208);
        assembly ("memory-safe") {
            // Assembly, here and below: the compiler writes a word once for each member in it.
            sstore(_settings.slot, word)
        }

        // How many holders each role has, 32 bits for each.
        uint256 counts = 0;
        for (uint256 i = 0; i < holders.length; ++i) {
            uint256 role = uint256(holders[i]) >> 160;
            // forge-lint: disable-next-line(unsafe-typecast) the role was cut off
            address holder = address(uint160(uint256(holders[i])));
            RoleWord storage stored = _roles[holder];
            assembly ("memory-safe") {
                word := sload(stored.slot)
                sstore(stored.slot, or(role, 0x100))
            }
            if (
                role == 0 || role > uint256(type(Role).max) || word != 0 || holder == address(0)
                    || holder == address(this)
            ) {
                revert SmartAccount_BadRole(holder, Role.None);
            }
            counts += uint256(1) << (role << 5);
        }
        // forge-lint: disable-start(unsafe-typecast) cuts off the neighbours
        if (uint32(counts >> (uint256(Role.Owner) << 5)) != 1) {
            revert SmartAccount_BadRole(address(0), Role.Owner);
        }
        if (uint32(counts >> (uint256(Role.Guardian) << 5)) != 1) {
            revert SmartAccount_BadRole(address(0), Role.Guardian);
        }
        // Without any gate, a stolen guardian could veto everything for ever.
        if (uint160(counts) >> (uint256(Role.Approver) << 5) == 0) {
            revert SmartAccount_BadRole(address(0), Role.None);
        }
        // forge-lint: disable-end(unsafe-typecast)
        emit Initialized(_self(), 0, perCall, perDay, delay, holders);
    }

    // ------------------------------------------------------------ signatures

    /// @notice Whether the account signed `hash`.
    /// @dev It did if `hash` passed the gates (`allowSignature`), with an empty signature; or if two
    /// different principals, neither of them the guardian, signed it nested as ERC-7739 says:
    /// `signature` begins with their two ECDSA signatures of 65 bytes. While frozen it signs nothing.
    /// @return `0x1626ba7e` if so, `0xffffffff` if not.
    function isValidSignature(bytes32 hash, bytes calldata signature)
        public
        view
        override
        returns (bytes4)
    {
        if (_settings.frozen) return 0xffffffff;
        if (signature.length == 0 && _allowedSignatures[hash] >= block.timestamp) {
            return IERC1271.isValidSignature.selector;
        }
        return super.isValidSignature(hash, signature);
    }

    /// @dev `hash` is the nested one.
    function _erc1271IsValidSignatureNowCalldata(bytes32 hash, bytes calldata signature)
        internal
        view
        override
        returns (bool)
    {
        if (signature.length != 2 * SIGNATURE_LENGTH) return false;
        address first = ECDSA.tryRecoverCalldata(hash, signature[:SIGNATURE_LENGTH]);
        address second = ECDSA.tryRecoverCalldata(hash, signature[SIGNATURE_LENGTH:]);
        return first != second && _signs(first) && _signs(second);
    }

    /// @dev Without nesting, a signature for one account would be good for another with the same keys.
    function _erc1271IsValidSignature(bytes32 hash, bytes calldata signature)
        internal
        view
        override
        returns (bool)
    {
        return _erc1271IsValidSignatureViaNestedEIP712(hash, signature);
    }

    /// @dev No ERC-6492: who asks an account finds it deployed.
    function _erc1271UnwrapSignature(bytes calldata signature)
        internal
        pure
        override
        returns (bytes calldata)
    {
        return signature;
    }

    /// @dev There is no one signer.
    function _erc1271Signer() internal pure override returns (address) {
        return address(0);
    }

    function _signs(address signer) private view returns (bool) {
        Role role = _roles[signer].role;
        return role == Role.Owner || _isGate(role);
    }

    // ------------------------------------------------------- tokens coming in

    /// @inheritdoc IERC721Receiver
    function onERC721Received(address, address, uint256, bytes calldata)
        external
        pure
        returns (bytes4)
    {
        return this.onERC721Received.selector;
    }

    /// @inheritdoc IERC1155Receiver
    function onERC1155Received(address, address, uint256, uint256, bytes calldata)
        external
        pure
        returns (bytes4)
    {
        return this.onERC1155Received.selector;
    }

    /// @inheritdoc IERC1155Receiver
    function onERC1155BatchReceived(
        address,
        address,
        uint256[] calldata,
        uint256[] calldata,
        bytes calldata
    ) external pure returns (bytes4) {
        return this.onERC1155BatchReceived.selector;
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IAccount).interfaceId
            || interfaceId == type(IERC1271).interfaceId
            || interfaceId == type(IERC7821).interfaceId
            || interfaceId == type(IERC721Receiver).interfaceId
            || interfaceId == type(IERC1155Receiver).interfaceId
            || interfaceId == type(ISmartAccount).interfaceId;
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc ISmartAccount
    function entryPoint() external view returns (address) {
        return ENTRY_POINT;
    }

    /// @inheritdoc ISmartAccount
    function roleOf(address holder) external view returns (Role role, uint64 epoch) {
        RoleWord memory word = _roles[holder];
        return (word.role, word.epoch);
    }

    /// @inheritdoc ISmartAccount
    function settings() external view returns (uint24 delay, bool frozen) {
        return (_settings.delay, _settings.frozen);
    }

    /// @inheritdoc ISmartAccount
    function limitOf(address token)
        external
        view
        returns (uint104 perCall, uint104 perDay, bool listed)
    {
        if (token == address(0)) return (_settings.perCall, _settings.perDay, true);
        AccountLimits.Limit memory limit = _limits[token];
        return (limit.perCall, limit.perDay, limit.listed);
    }

    /// @inheritdoc ISmartAccount
    function spentOf(address token, uint256 day)
        external
        view
        returns (uint256 yesterday, uint256 today)
    {
        return (token == address(0) ? _nativeLedger : _ledgers[token]).spentBy(day);
    }

    /// @inheritdoc ISmartAccount
    function limitedTokens() external view returns (address[] memory) {
        return _tokens;
    }

    /// @inheritdoc ISmartAccount
    function counters() external view returns (uint64 nextChange, uint64 nextEvent) {
        return (_counters.changes, _counters.events + 1);
    }

    // ------------------------------------------------------------ internals

    /// @inheritdoc EIP712
    function _domainNameAndVersion()
        internal
        pure
        override(AccountState, EIP712)
        returns (string memory name, string memory version)
    {
        return super._domainNameAndVersion();
    }
}
