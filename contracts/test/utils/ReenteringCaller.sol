// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A wallet that uses the question for its signature to make a call of its own, and accepts
/// anything.
contract ReenteringCaller {
    address private _target;
    bytes private _data;

    function plan(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        // A forbidden write in a static call burns all the gas it was given.
        (bool ok,) = _target.call{gas: 300_000}(_data);
        return ok ? bytes4(0xffffffff) : bytes4(0x1626ba7e);
    }
}
