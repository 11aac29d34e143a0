// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {MCPAgentRegistryCalls} from "./MCPAgentRegistryCalls.sol";

/// @notice I5: a scope is there exactly while the grant of its own triple is, in the agent's epoch and in
/// its window; and what was taken back or given up comes back by no signature that was not posted.
// Casts below cut off exactly what belongs to the neighbours in a word.
// forge-lint: disable-start(unsafe-typecast)
contract MCPAgentRegistryScope is MCPAgentRegistryCalls {
    function check_Scope_isScoped(Triple calldata t) public view {
        bool scoped = registry.isScoped(t.tenantId, t.agent, t.capability);
        assert(scoped == _isScoped(_stored(t)));
    }

    /// @dev Of the kinds that `grant` writes: see I5.
    function check_Scope_scopeOf(Triple calldata t) public view {
        Stored memory stored = _stored(t);
        uint256 word = uint256(stored.word);
        uint256 bound = uint256(stored.bound);
        uint256 kind = word >> 248;
        vm.assume(_or(word == 0, _and(kind >= 1, kind <= 3)));
        try registry.scopeOf(t.tenantId, t.agent, t.capability) returns (
            IMCPAgentRegistry.Scope memory scope
        ) {
            assert(_isLive(stored));
            uint256 notBefore = uint48(word);
            unchecked {
                assert(scope.validAfter == _select(notBefore == 0, 0, notBefore - 1));
            }
            assert(
                _and(scope.validUntil == uint48(word >> 48), scope.nativeMax == uint80(word >> 168))
            );
            assert(scope.recordedAt == uint40(word >> 96));
            assert(uint160(scope.target) == _select(kind == 1, 0, uint160(bound)));
            assert(scope.tokenMax == _select(kind == 2, bound >> 160, 0));
            assert(uint32(scope.selector) == _select(kind == 3, uint32(bound >> 160), 0));
        } catch {
            assert(!_isLive(stored));
        }
    }

    function _isScoped(Stored memory stored) private view returns (bool) {
        uint256 notBefore = uint48(uint256(stored.word));
        uint256 notAfter = uint48(uint256(stored.word) >> 48);
        bool inWindow = _and(block.timestamp >= notBefore, block.timestamp <= notAfter);
        return _and(_isLive(stored), inWindow);
    }
}
// forge-lint: disable-end(unsafe-typecast)
