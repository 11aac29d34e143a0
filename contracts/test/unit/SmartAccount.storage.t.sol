// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";
import {StorageLayout} from "../utils/StorageLayout.sol";

/// @notice The account's storage is where its documentation says: clones share one layout for good.
contract SmartAccountStorageTest is SmartAccountTest, StorageLayout {
    string private constant ARTIFACT = "target/forge/out/SmartAccount.sol/SmartAccount.json";

    /// @dev What the compiler says is what the documentation says.
    function test_CompilerLayoutIsTheDocumentedOne() public view {
        string memory json = vm.readFile(ARTIFACT);
        _assertVariable(json, 0, "_settings", "struct AccountState.Settings");
        _assertVariable(json, 1, "_nativeLedger", "struct AccountLimits.Ledger");
        _assertVariable(json, 2, "_counters", "struct AccountState.Counters");
        _assertVariable(json, 3, "_tokens", "address[]");
        _assertVariable(json, 4, "_roles", "mapping(address => struct AccountState.RoleWord)");
        _assertVariable(json, 5, "_limits", "mapping(address => struct AccountLimits.Limit)");
        _assertVariable(json, 6, "_ledgers", "mapping(address => struct AccountLimits.Ledger)");
        _assertVariable(json, 7, "_confirmed", "mapping(address => mapping(bytes32 => uint48))");
        _assertVariable(
            json, 8, "_schedulings", "mapping(uint64 => struct AccountChanges.Scheduling)"
        );
        _assertVariable(json, 9, "_allowedSignatures", "mapping(bytes32 => uint48)");
        _assertVariable(json, 10, "_agents", "mapping(address => bool)");
        _assertVariable(json, 11, "_gates", "mapping(bytes32 => struct AccountProposals.Gates)");
        assertFalse(vm.keyExistsJson(json, ".storageLayout.storage[12]"), "a variable too many");
    }

    function test_CompilerLayoutOfTheStructsIsTheDocumentedOne() public view {
        string memory json = vm.readFile(ARTIFACT);
        string memory settings = _typeOf(json, 0);
        _assertMember(json, settings, 0, "perCall", 0, 0, 13);
        _assertMember(json, settings, 1, "perDay", 0, 104, 13);
        _assertMember(json, settings, 2, "delay", 0, 208, 3);
        _assertMember(json, settings, 3, "tokens", 0, 232, 1);
        _assertMember(json, settings, 4, "frozen", 0, 240, 1);
        _assertMembers(json, settings, 5);
        string memory counters = _typeOf(json, 2);
        _assertMember(json, counters, 0, "events", 0, 0, 8);
        _assertMember(json, counters, 1, "changes", 0, 64, 8);
        _assertMember(json, counters, 2, "schedules", 0, 128, 8);
        _assertMember(json, counters, 3, "confirmedPolicy", 0, 192, 8);
        _assertMembers(json, counters, 4);
        string memory role = _valueOf(json, _typeOf(json, 4));
        _assertMember(json, role, 0, "role", 0, 0, 1);
        _assertMember(json, role, 1, "epoch", 0, 8, 8);
        _assertMembers(json, role, 2);
        string memory limit = _valueOf(json, _typeOf(json, 5));
        _assertMember(json, limit, 0, "perCall", 0, 0, 13);
        _assertMember(json, limit, 1, "perDay", 0, 104, 13);
        _assertMember(json, limit, 2, "listed", 0, 208, 1);
        _assertMembers(json, limit, 3);
        string memory ledger = _valueOf(json, _typeOf(json, 6));
        _assertMember(json, ledger, 0, "word", 0, 0, 32);
        _assertMembers(json, ledger, 1);
        string memory scheduling = _valueOf(json, _typeOf(json, 8));
        _assertMember(json, scheduling, 0, "changeHash", 0, 0, 32);
        _assertMember(json, scheduling, 1, "by", 1, 0, 20);
        _assertMember(json, scheduling, 2, "epoch", 1, 160, 5);
        _assertMember(json, scheduling, 3, "readyAt", 1, 200, 6);
        _assertMembers(json, scheduling, 4);
        string memory gates = _valueOf(json, _typeOf(json, 11));
        _assertMember(json, gates, 0, "stage", 0, 0, 1);
        _assertMember(json, gates, 1, "approverEpoch", 0, 8, 5);
        _assertMember(json, gates, 2, "authoriserEpoch", 0, 48, 5);
        _assertMember(json, gates, 3, "approver", 0, 88, 20);
        _assertMember(json, gates, 4, "authoriser", 1, 0, 20);
        _assertMembers(json, gates, 5);
    }

    /// @dev What is in the slots is what was done.
    function test_SettingsLimitsAndCounters() public {
        _allowToken(100, 1000);
        _callAs(agent, _direct(_transfer(30), _terms(PAY_TOKEN)));
        _callAs(agent, _direct(_send(0.1 ether), _terms()));
        vm.prank(guardian);
        account.freeze();

        uint256 settings = (uint256(1) << 240) | (1 << 232) | (uint256(DELAY) << 208)
            | (uint256(PER_DAY) << 104) | PER_CALL;
        assertEq(_load(0), settings, "settings");
        assertEq(_load(1), (0.1 ether << 136) | START_DAY, "native ledger");
        (uint64 changes, uint64 nextEvent) = account.counters();
        assertEq(
            _load(2), (uint256(1) << 192) | (uint256(changes) << 64) | (nextEvent - 1), "counters"
        );
        assertEq(_load(3), 1, "tokens");
        assertEq(_load(uint256(keccak256(abi.encode(3)))), uint160(address(token)), "token");
        assertEq(_load(_slot(owner, 4)), (1 << 8) | uint256(ISmartAccount.Role.Owner), "role");
        assertEq(_load(_slot(address(token), 5)), (1 << 208) | (1000 << 104) | 100, "limit");
        assertEq(_load(_slot(address(token), 6)), (30 << 136) | START_DAY, "ledger");
        bytes32 inner = bytes32(_slot(agent, 7));
        assertEq(_load(uint256(keccak256(abi.encode(PAY, inner)))), START, "confirmed");
        assertEq(_load(_slot(agent, 10)), 1, "agent");
    }

    function test_ScheduledChanges() public {
        bytes memory data = abi.encodeCall(account.setDelay, (uint24(1 hours)));
        vm.prank(owner);
        uint64 id = account.schedule(address(account), data);
        uint256 slot = uint256(keccak256(abi.encode(id, 8)));
        assertTrue(_load(slot) != 0, "change hash");
        assertEq(
            _load(slot + 1),
            (uint256(START + DELAY) << 200) | (1 << 160) | uint160(owner),
            "by, epoch and readyAt"
        );
        assertEq(uint64(_load(2) >> 128), id, "ids given");
    }

    function test_GatesOfAProposal() public {
        Terms memory terms = _terms();
        terms.outcome = IPolicyRegistry.Outcome.ESCALATE;
        uint256 nonce = _nonceOf(agent, 0);
        bytes memory authorisation = _authorisation(terms, agent, nonce, _send(1));
        vm.prank(agent);
        bytes32 id = account.propose(_send(1), nonce, authorisation);
        vm.prank(approver);
        account.approve(id);
        vm.prank(authoriser);
        account.authorise(id);
        uint256 slot = uint256(keccak256(abi.encode(id, 11)));
        assertEq(
            _load(slot),
            (uint256(uint160(approver)) << 88) | (1 << 48) | (1 << 8)
                | uint256(ISmartAccount.Stage.Authorised),
            "stage, epochs and approver"
        );
        assertEq(_load(slot + 1), uint160(authoriser), "authoriser");
    }

    function test_AllowedSignatures() public {
        bytes32 hash = keccak256("order");
        bytes32 slot = keccak256(abi.encode(hash, 9));
        IERC1271 signing = IERC1271(address(account));
        assertTrue(signing.isValidSignature(hash, "") != IERC1271.isValidSignature.selector);
        vm.store(address(account), slot, bytes32(uint256(START)));
        assertTrue(signing.isValidSignature(hash, "") == IERC1271.isValidSignature.selector);
    }

    function _slot(address key, uint256 variable) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(key, variable)));
    }

    function _load(uint256 slot) private view returns (uint256) {
        return uint256(vm.load(address(account), bytes32(slot)));
    }
}
