// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryHandler} from "../invariant/MCPAgentRegistryHandler.sol";
import {SlotProvenance} from "../utils/SlotProvenance.sol";

/// @notice Whatever is called, by whomever, with whatever signatures: every word written is keyed by the
/// tenant that the call acted for; or it is one of the acting agent's own four.
/// @dev 128 runs of 20 actions make 2,560 calls at least.
/// forge-config: default.fuzz.runs = 128
contract MCPAgentRegistrySlotsTest is SlotProvenance {
    MCPAgentRegistryHandler private _handler;

    function setUp() public {
        _startRecording();
        _handler = new MCPAgentRegistryHandler();
    }

    function testFuzz_EveryWordIsTheActingTenantsOrAgents(uint256 seed) public {
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
        uint256 action = seed % 14;
        if (action == 0) return _handler.grant(tenant, dice);
        if (action == 1) return _handler.grantSigned(tenant, dice);
        if (action == 2) {
            _handler.signGrant(tenant);
            return _handler.grant(tenant, dice);
        }
        if (action == 3) return _handler.postUnposted(tenant);
        if (action == 4) return _handler.extend(tenant, dice);
        if (action == 5) return _handler.extendSigned(tenant, dice);
        if (action == 6) return _handler.revoke(tenant, dice);
        if (action == 7) return _handler.revokeSigned(tenant, dice);
        if (action == 8) return _handler.revokeAgent(tenant, dice);
        if (action == 9) return _handler.forfeit(tenant, dice);
        if (action == 10) return _handler.describe(dice, "https://agent.example/mcp");
        if (action == 11) return _handler.describeSigned(dice);
        if (action == 12) return _handler.forfeitSigned(tenant, dice);
        _handler.trespass(tenant, dice, seed >> 32);
    }

    /// @dev A `Grant` has two words. Of an `Agent`, the two mappings come first.
    function _mayWrite(bytes memory data, address sender, bytes32 key, bytes32 parent, uint256 word)
        internal
        pure
        override
        returns (bool)
    {
        // forge-lint: disable-next-line(unsafe-typecast) the selector
        bytes4 selector = bytes4(data);
        bool describes = selector == IMCPAgentRegistry.describe.selector
            || selector == IMCPAgentRegistry.describeSigned.selector;
        if (!describes && key == _argument(data, 0)) return word < 2;
        bytes32 acting = _id(sender);
        if (selector == IMCPAgentRegistry.describeSigned.selector) acting = _argument(data, 0);
        else if (selector == IMCPAgentRegistry.forfeitSigned.selector) acting = _argument(data, 1);
        else if (!describes && selector != IMCPAgentRegistry.forfeit.selector) return false;
        return key == acting && parent == 0 && word >= 2;
    }
}
