// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {LibClone} from "solady/utils/LibClone.sol";

import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {ISmartAccountFactory} from "../../interfaces/ISmartAccountFactory.sol";
import {HavocWorld, RunningFlag} from "./HavocWorld.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice The function that only the factory calls, and so no interface has.
interface IInitialize {
    function initialize(ISmartAccount.Configuration calldata configuration, bytes32 salt) external;
}

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice Two SmartAccounts of one factory in arbitrary states, at an arbitrary time, among contracts
/// that answer anything; and what is stored in each.
/// @custom:covers SmartAccount 0+0 _settings {0+0 perCall uint104, 0+13 perDay uint104, 0+26 delay uint24, 0+29 tokens uint8, 0+30 frozen bool}
/// @custom:covers SmartAccount 1+0 _nativeLedger {0+0 word uint256}
/// @custom:covers SmartAccount 2+0 _counters {0+0 events uint64, 0+8 changes uint64, 0+16 schedules uint64, 0+24 confirmedPolicy uint64}
/// @custom:covers SmartAccount 3+0 _tokens address[] of address
/// @custom:covers SmartAccount 4+0 _roles mapping(address => {0+0 role Role, 0+1 epoch uint64})
/// @custom:covers SmartAccount 5+0 _limits mapping(address => {0+0 perCall uint104, 0+13 perDay uint104, 0+26 listed bool})
/// @custom:covers SmartAccount 6+0 _ledgers mapping(address => {0+0 word uint256})
/// @custom:covers SmartAccount 7+0 _confirmed mapping(address => mapping(bytes32 => uint48))
/// @custom:covers SmartAccount 8+0 _schedulings mapping(uint64 => {0+0 changeHash bytes32, 1+0 by address, 1+20 epoch uint40, 1+25 readyAt uint48})
/// @custom:covers SmartAccount 9+0 _allowedSignatures mapping(bytes32 => uint48)
/// @custom:covers SmartAccount 10+0 _agents mapping(address => bool)
/// @custom:covers SmartAccount 11+0 _gates mapping(bytes32 => {0+0 stage Stage, 0+1 approverEpoch uint40, 0+6 authoriserEpoch uint40, 0+11 approver address, 1+0 authoriser address})
abstract contract SmartAccountSymbolic is SymbolicTest {
    /// @dev Where to look in the mappings. Arbitrary keys stand for all of them.
    struct Keys {
        uint256 index;
        address holder;
        address token;
        address agent;
        bytes32 capability;
        uint64 id;
        bytes32 hash;
        bytes32 proposal;
    }

    /// @dev A word for each variable in the compiler's layout, two for those of two words.
    struct Stored {
        uint256 settings;
        uint256 nativeLedger;
        uint256 counters;
        uint256 tokens;
        uint256 token;
        uint256 role;
        uint256 limit;
        uint256 ledger;
        uint256 confirmed;
        uint256 changeHash;
        uint256 scheduling;
        uint256 allowed;
        uint256 agent;
        uint256 gates;
        uint256 authoriser;
    }

    /// @dev Who asks for a change together, and who is said to have signed it.
    struct Together {
        address sender;
        address cosigner;
        address target;
        uint64 deadline;
    }

    /// @dev One call, without its data.
    struct Call {
        address target;
        uint256 value;
    }

    /// @dev An operation, without what is of variable length.
    struct Operation {
        uint256 nonce;
        bytes32 accountGasLimits;
        uint256 preVerificationGas;
        bytes32 gasFees;
        bytes32 mode;
    }

    /// @dev Sets of the words above, a bit for each.
    uint256 internal constant NOTHING = 0;
    uint256 internal constant SETTINGS = 1 << 0;
    uint256 internal constant NATIVE_LEDGER = 1 << 1;
    uint256 internal constant COUNTERS = 1 << 2;
    uint256 internal constant TOKENS = 3 << 3;
    uint256 internal constant ROLES = 1 << 5;
    uint256 internal constant LIMITS = 1 << 6;
    uint256 internal constant LEDGERS = 1 << 7;
    uint256 internal constant CONFIRMED = 1 << 8;
    uint256 internal constant SCHEDULINGS = 3 << 9;
    uint256 internal constant ALLOWED = 1 << 11;
    uint256 internal constant AGENTS = 1 << 12;
    uint256 internal constant GATES = 3 << 13;

    HavocWorld internal entryPoint;
    HavocWorld internal auditAnchor;
    HavocWorld internal policies;
    HavocWorld internal agents;
    ISmartAccountFactory internal factory;
    ISmartAccount internal account;
    ISmartAccount internal neighbour;

    function setUp() public virtual {
        vm.warp(SVM.createUint256("timestamp"));
        // A time of 48 bits: the account casts it.
        vm.assume(block.timestamp < 2 ** 40);
        entryPoint = new HavocWorld(SVM);
        auditAnchor = new HavocWorld(SVM);
        policies = new HavocWorld(SVM);
        agents = new HavocWorld(SVM);
        factory = ISmartAccountFactory(
            _create(
                abi.encodePacked(
                    vm.getCode("SmartAccountFactory.sol:SmartAccountFactory"),
                    abi.encode(entryPoint, auditAnchor, policies, agents)
                )
            )
        );
        account = _arbitraryAccount();
        neighbour = _arbitraryAccount();
    }

    /// @dev The factory's accounts are these clones, but for their addresses.
    function _arbitraryAccount() private returns (ISmartAccount created) {
        created = ISmartAccount(LibClone.clone(factory.IMPLEMENTATION()));
        SVM.enableSymbolicStorage(address(created));
    }

    /// @dev Whether calls of the account are running. Transient, so it ends with the transaction and
    /// cannot be set up before.
    function _setRunning(uint256 running) internal {
        bytes memory code = address(account).code;
        vm.etch(address(account), type(RunningFlag).runtimeCode);
        RunningFlag(address(account)).set(running);
        vm.etch(address(account), code);
    }

    // ---------------------------------------------------------------- storage

    function _stored(Keys calldata keys) internal view returns (Stored memory stored) {
        stored.settings = _load(0);
        stored.nativeLedger = _load(1);
        stored.counters = _load(2);
        stored.tokens = _load(3);
        stored.token = _load(uint256(keccak256(abi.encode(uint256(3)))) + keys.index);
        stored.role = _role(keys.holder);
        stored.limit = _load(_slot(_word(keys.token), 5));
        stored.ledger = _load(_slot(_word(keys.token), 6));
        stored.confirmed = _load(_slot(keys.capability, _slot(_word(keys.agent), 7)));
        stored.changeHash = uint256(_changeHash(keys.id));
        stored.scheduling = _scheduling(keys.id);
        stored.allowed = _load(_slot(keys.hash, 9));
        stored.agent = _load(_slot(_word(keys.agent), 10));
        stored.gates = _gates(keys.proposal);
        stored.authoriser = _authoriser(keys.proposal);
    }

    /// @dev Which words differ. Without branches, so that it is one question to the solver.
    function _changed(Stored memory a, Stored memory b) internal pure returns (uint256 set) {
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, 15) { i := add(i, 1) } {
                let x := mload(add(a, shl(5, i)))
                let y := mload(add(b, shl(5, i)))
                set := or(set, shl(i, iszero(eq(x, y))))
            }
        }
    }

    /// @dev Events, changes and schedules; the count of a key's roles; the days of the ledgers.
    function _isNoLess(Stored memory a, Stored memory b) internal pure returns (bool good) {
        good = uint64(b.counters) >= uint64(a.counters);
        good = _and(good, uint64(b.counters >> 64) >= uint64(a.counters >> 64));
        good = _and(good, uint64(b.counters >> 128) >= uint64(a.counters >> 128));
        good = _and(good, uint64(b.role >> 8) >= uint64(a.role >> 8));
        good = _and(good, uint32(b.nativeLedger) >= uint32(a.nativeLedger));
        good = _and(good, uint32(b.ledger) >= uint32(a.ledger));
    }

    function _role(address holder) internal view returns (uint256) {
        return _load(_slot(_word(holder), 4));
    }

    /// @dev The nonce of the next change together.
    function _nonce() internal view returns (uint64) {
        return uint64(_load(2) >> 64);
    }

    function _changeHash(uint64 id) internal view returns (bytes32) {
        return bytes32(_load(_slot(bytes32(uint256(id)), 8)));
    }

    function _scheduling(uint64 id) internal view returns (uint256) {
        return _load(_slot(bytes32(uint256(id)), 8) + 1);
    }

    function _gates(bytes32 id) internal view returns (uint256) {
        return _load(_slot(id, 11));
    }

    function _authoriser(bytes32 id) internal view returns (uint256) {
        return _load(_slot(id, 11) + 1);
    }

    function _load(uint256 slot) private view returns (uint256) {
        return uint256(vm.load(address(account), bytes32(slot)));
    }

    function _slot(bytes32 key, uint256 mappingSlot) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(key, mappingSlot)));
    }

    function _word(address of_) private pure returns (bytes32) {
        return bytes32(uint256(uint160(of_)));
    }

    // ------------------------------------------------------------- internals

    /// @dev The zero address has no role; else a signature that is none would be its. So it is when an
    /// account is created, and so it stays: no one can give a role alone, and what can is checked.
    function _assumeNoRoleOfNobody() internal view {
        vm.assume(uint8(_role(address(0))) == 0);
    }

    /// @dev A mark of all that is stored, whatever the compiler lays out there. It stays the same as
    /// long as nothing is written, and nothing read for the first time but in a call that reverts.
    function _snapshot(ISmartAccount which) internal view returns (bytes32) {
        return bytes32(SVM.snapshotStorage(address(which)));
    }

    function _calls(Call calldata call, bytes calldata data)
        internal
        pure
        returns (Execution[] memory calls)
    {
        calls = new Execution[](1);
        calls[0] = Execution(call.target, call.value, data);
    }

    function _operation(
        Operation calldata operation,
        Execution[] memory calls,
        bytes calldata paymasterAndData,
        bytes calldata signature
    ) internal pure returns (PackedUserOperation memory op) {
        op.nonce = operation.nonce;
        op.callData = abi.encodeCall(IERC7821.execute, (operation.mode, abi.encode(calls)));
        op.accountGasLimits = operation.accountGasLimits;
        op.preVerificationGas = operation.preVerificationGas;
        op.gasFees = operation.gasFees;
        op.paymasterAndData = paymasterAndData;
        op.signature = signature;
    }

    function _changeTogether(Together memory by, bytes calldata data, bytes calldata signature)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(
            ISmartAccount.changeTogether, (by.target, data, by.deadline, by.cosigner, signature)
        );
    }

    // ------------------------------------------------- from the specification

    function _changeDigest(
        uint256 chainId,
        address verifyingContract,
        address target,
        bytes memory data,
        uint64 nonce,
        uint64 deadline
    ) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256(
            "Change(bytes32 tenantId,address target,bytes data,uint64 nonce,uint64 deadline)"
        );
        // The tenant's id is the address of its account.
        bytes32 message = keccak256(
            abi.encode(typeHash, verifyingContract, target, keccak256(data), nonce, deadline)
        );
        return _typedData(_domain("Cofferdam SmartAccount", chainId, verifyingContract), message);
    }
}
// forge-lint: disable-end(unsafe-typecast)
