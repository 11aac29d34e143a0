// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PolicyRegistryHandler} from "../invariant/PolicyRegistryHandler.sol";
import {SlotProvenance} from "../utils/SlotProvenance.sol";

/// @notice Whatever is called, by whomever, with whatever signatures: every word written is keyed by the
/// tenant that the call acted for, and by nothing else.
/// @dev 128 runs of 20 actions make 2,560 calls at least.
/// forge-config: default.fuzz.runs = 128
contract PolicyRegistrySlotsTest is SlotProvenance {
    PolicyRegistryHandler private _handler;

    function setUp() public {
        _startRecording();
        _handler = new PolicyRegistryHandler();
    }

    function testFuzz_EveryWordIsTheActingTenants(uint256 seed) public {
        _open();
        for (uint256 i = 0; i < 20; ++i) {
            _act(seed = uint256(keccak256(abi.encode(seed))));
        }
        _close(_handler.target());
        assertGe(calls, 20, "too few calls");
        assertGt(writes, 0, "nothing was written");
        assertFalse(_handler.broken());
    }

    function _act(uint256 seed) private {
        (uint256 tenant, uint256 dice) = (seed >> 8, seed >> 16);
        uint256 action = seed % 6;
        if (action == 0) return _handler.publish(tenant, dice);
        if (action == 1) return _handler.publishRelayed(tenant, dice);
        if (action == 2) return _handler.revoke(tenant);
        if (action == 3) return _handler.revokeRelayed(tenant);
        // forge-lint: disable-next-line(unsafe-typecast) any number will do
        if (action == 4) return _handler.postUnposted(tenant, uint64(dice));
        _handler.trespass(tenant, dice, seed >> 32);
    }

    /// @dev A `Version` has three words.
    function _mayWrite(bytes memory data, address, bytes32 key, bytes32, uint256 word)
        internal
        pure
        override
        returns (bool)
    {
        return word < 3 && key == _argument(data, 0);
    }
}
