// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISmartAccount} from "./ISmartAccount.sol";

/// @title ISmartAccountFactory
/// @notice Creates accounts whose address commits to their initial configuration.
/// @dev Anyone may create any account: what comes out is the account that its address stands for, or
/// nothing. There is no initializer to be called by someone else first. The keys of the initial
/// configuration control the same address on every chain where the account is not deployed yet, also
/// after they were replaced elsewhere: deploy there before a key is retired, or never use the address
/// there.
///
/// The address is that of a CREATE2 clone (`LibClone.cloneDeterministic`) whose salt is `keccak256` of the
/// ABI-encoded arguments, `abi.encode(configuration, salt)`. The account's `Initialized` tells that it
/// was created.
interface ISmartAccountFactory {
    /// @notice The code behind every account.
    // forge-lint: disable-next-line(mixed-case-function)
    function IMPLEMENTATION() external view returns (address);

    /// @notice Creates the account of `configuration` and `salt`, unless it is there already.
    /// @dev Reverts with the account's errors if the configuration is none.
    /// @param configuration What it starts with.
    /// @param salt Tells accounts of the same configuration apart.
    /// @return account Its address.
    function createAccount(ISmartAccount.Configuration calldata configuration, bytes32 salt)
        external
        returns (address account);

    /// @notice The address of that account, created or not.
    function addressOf(ISmartAccount.Configuration calldata configuration, bytes32 salt)
        external
        view
        returns (address account);
}
