// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {VmSafe} from "forge-std/Vm.sol";

import {SmartAccountAttacker} from "../invariant/SmartAccountAttacker.sol";

/// @notice Whatever is done with an account, by its own people or by a thief of the owner's key: words are
/// written in the account itself, and elsewhere only where its own id keys them. Another account of the
/// same people, the implementation and the factory stay as they are.
/// @dev 64 runs of 32 actions, each of one call or more. The token is nobody's here.
/// forge-config: default.fuzz.runs = 64
contract SmartAccountSlotsTest is SmartAccountAttacker {
    uint256 private _own;
    uint256 private _elsewhere;

    constructor() SmartAccountAttacker(OWNER_KEY) {}

    function setUp() public override {
        vm.startMappingRecording();
        super.setUp();
        factory.createAccount(_configuration(), bytes32(uint256(1)));
    }

    function testFuzz_EveryWordIsTheAccounts(uint256 seed) public {
        vm.startStateDiffRecording();
        for (uint256 i = 0; i < 32; ++i) {
            _act(seed = uint256(keccak256(abi.encode(seed))));
        }
        VmSafe.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        for (uint256 i = 0; i < accesses.length; ++i) {
            for (uint256 j = 0; j < accesses[i].storageAccesses.length; ++j) {
                VmSafe.StorageAccess memory slot = accesses[i].storageAccesses[j];
                if (slot.isWrite) _check(slot.account, slot.slot);
            }
        }
        assertGt(_own, 0, "the account wrote nothing");
        assertGt(_elsewhere, 0, "nor anybody for it");
        assertGt(succeeded, 0);
    }

    function _act(uint256 seed) private {
        (uint256 a, uint256 b) = (seed >> 8, seed >> 16);
        uint256 action = seed % 14;
        if (action == 0) return _honest(a);
        if (action == 1) return this.operate(a, b, seed >> 32 & 1 == 1);
        if (action == 2) return this.operateDirectly(a, b);
        if (action == 3) return this.propose(seed >> 32 & 1 == 1, a);
        if (action == 4) return this.passGates();
        if (action == 5) return this.changeTogether(a, b, seed >> 32 & 1 == 1);
        if (action == 6) return this.schedule(a);
        // forge-lint: disable-next-line(unsafe-typecast) any number will do
        if (action == 7) return this.applyScheduled(uint64(a));
        if (action == 8) return this.takeOver(a);
        if (action == 9) return this.signForTheAccount(a);
        if (action == 10) return this.takeDirectly(a);
        if (action == 11) return this.callAnything(a);
        this.wait(a);
    }

    /// @dev The agent's own operation, or the agent itself. Whether it may just now is not the question.
    function _honest(uint256 seed) private {
        Terms memory terms = _terms();
        terms.policyVersion = policies.versionOf(tenantId);
        if (seed % 2 == 0) {
            try this.handle(terms) {} catch {}
        } else {
            bytes memory data = _direct(_send(0.1 ether), terms);
            vm.prank(agent);
            (bool ok,) = address(account).call(data);
            if (ok) ++succeeded;
        }
    }

    function handle(Terms memory terms) external {
        _handle(_op(_send(0.1 ether), terms));
    }

    function _check(address where, bytes32 slot) private {
        if (where == address(this) || where == address(token)) return;
        if (where == address(account)) {
            ++_own;
            return;
        }
        ++_elsewhere;
        assertTrue(
            where == address(policies) || where == address(agents) || where == address(auditAnchor)
                || where == address(entryPoint),
            "another contract was written to"
        );
        (bool found, bytes32 key, bytes32 parent) = _origin(where, slot);
        assertTrue(found, "a slot of no mapping");
        // The EntryPoint keys a nonce by account and lane.
        if (where == address(entryPoint) && key != tenantId) {
            (found, key,) = vm.getMappingKeyAndParentOf(where, parent);
        }
        assertEq(key, tenantId, "a slot of somebody else");
    }

    /// @dev Values have up to three words.
    function _origin(address where, bytes32 slot)
        private
        returns (bool found, bytes32 key, bytes32 parent)
    {
        for (uint256 word = 0; word < 3 && !found; ++word) {
            (found, key, parent) = vm.getMappingKeyAndParentOf(where, bytes32(uint256(slot) - word));
        }
    }
}
