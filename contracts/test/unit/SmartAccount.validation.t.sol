// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccount, PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {VmSafe} from "forge-std/Vm.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IEntryPointHash, SmartAccountTest} from "../utils/SmartAccountTest.sol";

/// @notice What `validateUserOp` touches: nothing that ERC-7562 forbids a bundler to admit. With and
/// without the delay behind it, and for each kind of grant.
contract SmartAccountValidationTest is SmartAccountTest {
    /// @dev Hashes made in the trace of 64 bytes that begin with the tenant's id.
    mapping(bytes32 hash => bool) private _associated;

    function setUp() public override {
        // Before anything is written: what was written can then be asked for its keys.
        vm.startMappingRecording();
        super.setUp();
        // Writes the word that voids all grants of an agent, so that it is known too.
        vm.prank(owner);
        account.revokeAgent(agent);
        _grant(agent, PAY, IMCPAgentRegistry.Limits(PER_CALL_GRANT, address(0), 0, 0));
    }

    function test_ASendOfFreshGrants() public {
        _check(_op(_send(0.1 ether)));
    }

    function test_ASendOfOldGrants() public {
        vm.warp(START + DELAY + 1 hours);
        _check(_op(_send(0.1 ether)));
    }

    function test_AGrantOfOneKey() public {
        vm.prank(owner);
        account.schedule(
            address(policies),
            abi.encodeCall(policies.publish, (tenantId, 2, _policy(), type(uint64).max, ""))
        );
        vm.warp(START + DELAY + 1 hours);
        Terms memory terms = _terms();
        terms.policyVersion = 2;
        _check(_op(_send(0.1 ether), terms));
    }

    function test_ATokenTransfer() public {
        _allowToken(100, 1000);
        _check(_op(_transfer(100), _terms(PAY_TOKEN)));
    }

    function test_AWrongSignature() public {
        PackedUserOperation memory op = _unsigned(_send(1));
        _signOp(op, STRANGER_KEY, _terms(), _send(1));
        _check(op);
        assertEq(_validate(op) & 1, 1, "SIG_VALIDATION_FAILED");
    }

    /// @dev Neither the clock nor anything else that a block or the world has changes the answer.
    function testFuzz_NothingButTheOperationDecides(uint256 seed) public {
        PackedUserOperation memory op = _op(_send(0.1 ether));
        uint256 snapshot = vm.snapshotState();
        uint256 expected = _validate(op);
        vm.revertToState(snapshot);
        vm.warp(seed % 2 ** 40);
        vm.roll(seed % 2 ** 32);
        vm.fee(seed % 2 ** 50);
        vm.prevrandao(bytes32(seed));
        // forge-lint: disable-next-line(unsafe-typecast) any address will do
        vm.coinbase(address(uint160(seed)));
        vm.txGasPrice(seed % 2 ** 60);
        vm.deal(address(account), 1 + seed % 2 ** 90);
        vm.deal(payee, seed % 2 ** 80);
        vm.etch(payee, seed % 2 == 0 ? bytes("") : bytes(hex"00"));
        vm.etch(agent, seed % 3 == 0 ? bytes("") : bytes(hex"00"));
        assertEq(_validate(op), expected);
    }

    /// @dev Step by step: every slot elsewhere is a hash of the tenant's id that was
    /// made on the way, no opcode is a forbidden one, and GAS comes before calls alone.
    /// Needs the verbosity of foundry.toml.
    function test_Trace() public {
        vm.warp(START + DELAY + 1 hours);
        PackedUserOperation memory op = _op(_send(0.1 ether));
        bytes32 hash = IEntryPointHash(address(entryPoint)).getUserOpHash(op);
        vm.startStateDiffRecording();
        vm.startDebugTraceRecording();
        vm.prank(address(entryPoint));
        IAccount(address(account)).validateUserOp(op, hash, 1);
        VmSafe.DebugStep[] memory steps = vm.stopAndReturnDebugTraceRecording();
        VmSafe.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();

        for (uint256 i = 0; i < steps.length; ++i) {
            // The test's own steps around the call are not the account's.
            if (steps[i].contractAddr == address(this)) continue;
            uint8 opcode = steps[i].opcode;
            if (opcode == 0x20 && steps[i].memoryInput.length == 64) {
                if (bytes32(steps[i].memoryInput) == tenantId) {
                    _associated[keccak256(steps[i].memoryInput)] = true;
                }
            }
            assertFalse(_isBanned(opcode), vm.toString(opcode));
            if (opcode == 0x5a) {
                uint8 next = steps[i + 1].opcode;
                assertTrue(next == 0xf1 || next == 0xf4 || next == 0xfa, "GAS not before a call");
            }
        }
        assertGt(steps.length, 1000, "nothing was traced");
        for (uint256 i = 0; i < accesses.length; ++i) {
            for (uint256 j = 0; j < accesses[i].storageAccesses.length; ++j) {
                VmSafe.StorageAccess memory slot = accesses[i].storageAccesses[j];
                if (slot.account == address(account) || slot.account == address(entryPoint)) {
                    continue;
                }
                uint256 word = uint256(slot.slot);
                assertTrue(
                    _associated[bytes32(word)] || _associated[bytes32(word - 1)]
                        || _associated[bytes32(word - 2)],
                    "a slot that was not hashed from the tenant's id"
                );
            }
        }
    }

    function _validate(PackedUserOperation memory op) private returns (uint256) {
        bytes32 hash = IEntryPointHash(address(entryPoint)).getUserOpHash(op);
        vm.prank(address(entryPoint));
        return IAccount(address(account)).validateUserOp(op, hash, 1);
    }

    /// @dev Every slot read is the account's own, or one of a mapping whose last key is the tenant.
    function _check(PackedUserOperation memory op) private {
        bytes32 hash = IEntryPointHash(address(entryPoint)).getUserOpHash(op);
        uint256 snapshot = vm.snapshotState();
        vm.prank(address(entryPoint));
        vm.startStateDiffRecording();
        IAccount(address(account)).validateUserOp(op, hash, 1);
        VmSafe.AccountAccess[] memory accesses = vm.stopAndReturnStateDiff();
        vm.revertToState(snapshot);

        uint256 elsewhere = 0;
        for (uint256 i = 0; i < accesses.length; ++i) {
            VmSafe.AccountAccess memory access = accesses[i];
            // Value goes to the EntryPoint alone; nothing is created, no balance or code looked at.
            if (access.value != 0) assertEq(access.account, address(entryPoint), "value");
            bool isCall = access.kind == VmSafe.AccountAccessKind.Call
                || access.kind == VmSafe.AccountAccessKind.DelegateCall
                || access.kind == VmSafe.AccountAccessKind.StaticCall
                || access.kind == VmSafe.AccountAccessKind.Resume;
            assertTrue(isCall, "looks at an account");
            for (uint256 j = 0; j < access.storageAccesses.length; ++j) {
                VmSafe.StorageAccess memory slot = access.storageAccesses[j];
                // Its own; or the EntryPoint's, where the prefund goes.
                if (slot.account == address(account) || slot.account == address(entryPoint)) {
                    continue;
                }
                ++elsewhere;
                assertFalse(slot.isWrite, "writes elsewhere");
                assertTrue(_isTenants(slot.account, slot.slot), "a slot that is not the tenant's");
            }
        }
        assertGt(elsewhere, 2, "the registries were not read");
    }

    function _isTenants(address target, bytes32 slot) private returns (bool) {
        for (uint256 word = 0; word < 3; ++word) {
            (bool found, bytes32 key,) =
                vm.getMappingKeyAndParentOf(target, bytes32(uint256(slot) - word));
            if (found) return key == tenantId;
        }
        return false;
    }

    /// @dev ERC-7562, OP-011, OP-031, OP-080: what depends on the block or on balances, what creates,
    /// and here also whatever looks at code.
    function _isBanned(uint8 op) private pure returns (bool) {
        return op == 0x31 || op == 0x32 || op == 0x3a || op == 0x3b || op == 0x3c || op == 0x3f
            || (op >= 0x40 && op <= 0x45) || (op >= 0x47 && op <= 0x4a) || op == 0xf0 || op == 0xf2
            || op == 0xf5 || op == 0xfe || op == 0xff;
    }
}
