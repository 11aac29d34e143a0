// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorHandler} from "../invariant/AuditAnchorHandler.sol";
import {SlotProvenance} from "../utils/SlotProvenance.sol";

/// @notice Whatever is called, by whomever, with whatever signatures: every word written is keyed by a
/// tenant that the call acted for, and by nothing else.
/// @dev 128 runs of 20 actions make 2,560 calls at least.
/// forge-config: default.fuzz.runs = 128
contract AuditAnchorSlotsTest is SlotProvenance {
    AuditAnchorHandler private _handler;

    function setUp() public {
        _startRecording();
        _handler = new AuditAnchorHandler();
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
        (uint256 tenant, uint256 a) = (seed >> 8, seed >> 16);
        uint256 action = seed % 6;
        if (action == 0) return _handler.setAnchorer(tenant, a);
        if (action == 1) return _handler.setAnchorerSigned(tenant, a, seed >> 32);
        if (action == 2) {
            // Somebody who can.
            _handler.setAnchorer(tenant, 0);
            // forge-lint: disable-next-line(unsafe-typecast) any count will do
            return _handler.anchor(tenant, uint32(a), bytes32(seed));
        }
        if (action == 3) return _handler.trespass(tenant, a, bytes32(seed));
        uint256[6] memory dice;
        for (uint256 i = 0; i < 6; ++i) {
            dice[i] = uint256(keccak256(abi.encode(seed, i)));
        }
        if (action == 4) return _handler.anchorMany(tenant, dice);
        _handler.anchorSigned([dice[0], dice[1], dice[2], dice[3]]);
    }

    function _mayWrite(bytes memory data, address, bytes32 key, bytes32, uint256 word)
        internal
        pure
        override
        returns (bool)
    {
        if (word != 0) return false;
        // forge-lint: disable-next-line(unsafe-typecast) the selector
        bytes4 selector = bytes4(data);
        bool many = selector == IAuditAnchor.anchorMany.selector;
        if (!many && selector != IAuditAnchor.anchorSigned.selector) {
            return key == _argument(data, 0);
        }
        uint256 length = uint256(_argument(data, 1));
        for (uint256 i = 0; i < length; ++i) {
            // Items of four words in a row, or of any length, each behind its offset.
            uint256 place = many ? 2 + 4 * i : 2 + uint256(_argument(data, 2 + i)) / 0x20;
            if (key == _argument(data, place)) return true;
        }
        return false;
    }
}
