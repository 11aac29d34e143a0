// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {LibClone} from "solady/utils/LibClone.sol";

import {SmartAccount} from "./SmartAccount.sol";
import {ISmartAccount} from "./interfaces/ISmartAccount.sol";
import {ISmartAccountFactory} from "./interfaces/ISmartAccountFactory.sol";

/// @title SmartAccountFactory
/// @notice See `ISmartAccountFactory`. No owner, no storage, nothing upgradeable.
/// @dev Accounts are minimal clones of one implementation, which the constructor creates, so that
/// account and factory know each other for good.
contract SmartAccountFactory is ISmartAccountFactory {
    /// @inheritdoc ISmartAccountFactory
    address public immutable IMPLEMENTATION;

    /// @param entryPoint The one EntryPoint of all accounts.
    /// @param auditAnchor The AuditAnchor.
    /// @param policyRegistry The PolicyRegistry.
    /// @param agentRegistry The MCPAgentRegistry.
    constructor(
        address entryPoint,
        address auditAnchor,
        address policyRegistry,
        address agentRegistry
    ) {
        // slither-disable-next-line missing-zero-check the factory's address commits to its arguments
        IMPLEMENTATION =
            address(new SmartAccount(entryPoint, auditAnchor, policyRegistry, agentRegistry));
    }

    /// @inheritdoc ISmartAccountFactory
    function createAccount(ISmartAccount.Configuration calldata, bytes32)
        external
        returns (address account)
    {
        bytes32 bound = keccak256(msg.data[4:]);
        account = LibClone.predictDeterministicAddress(IMPLEMENTATION, bound, address(this));
        if (account.code.length != 0) return account;
        // slither-disable-next-line unused-return it is the address predicted above
        LibClone.cloneDeterministic(IMPLEMENTATION, bound);
        // `initialize` takes the same arguments: nothing is decoded here and encoded again.
        (bool success, bytes memory reason) =
            account.call(bytes.concat(SmartAccount.initialize.selector, msg.data[4:]));
        if (!success) {
            assembly ("memory-safe") {
                // Assembly: there is no other way to revert with another's reason.
                revert(add(reason, 0x20), mload(reason))
            }
        }
    }

    /// @inheritdoc ISmartAccountFactory
    function addressOf(ISmartAccount.Configuration calldata, bytes32)
        external
        view
        returns (address account)
    {
        bytes32 bound = keccak256(msg.data[4:]);
        return LibClone.predictDeterministicAddress(IMPLEMENTATION, bound, address(this));
    }
}
