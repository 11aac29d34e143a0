// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {IAccount, PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {IEntryPointHash} from "../utils/SmartAccountTest.sol";
import {SmartAccountLife} from "./SmartAccountLife.sol";

/// @notice Somebody who has one key of an account, and as many keys of his own as he likes: here one
/// for an agent and one for a verdict signer. He calls whatever can be called and signs whatever can
/// be signed. All others are honest: the guardian strikes out in time what he began, and owner and
/// approver then set up again what that took away.
/// @dev A part of the invariant tests, not a contract of its own, whose code would be too large.
/// Every action may fail; none may take anything. `taken` says what the first one took.
abstract contract SmartAccountAttacker is SmartAccountLife {
    uint256 private constant EVIL_AGENT_KEY = uint256(keccak256("evil agent"));
    uint256 private constant EVIL_SIGNER_KEY = uint256(keccak256("evil verdict signer"));
    uint256 private constant ANCHORER_KEY = uint256(keccak256("anchorer"));

    address private immutable EVIL_AGENT = vm.addr(EVIL_AGENT_KEY);
    address private immutable EVIL_SIGNER = vm.addr(EVIL_SIGNER_KEY);

    /// @notice How many of the attacker's calls went through: without any, nothing was tried.
    uint256 public succeeded;

    /// @dev The stolen key, and its address.
    uint256 private immutable KEY;
    address private immutable ME;
    uint64 private _lastSchedule;

    /// @dev What waits under an id.
    mapping(uint64 id => address target) private _waitingTarget;
    mapping(uint64 id => bytes data) private _waitingData;
    ISmartAccount.Proposal private _proposal;
    Execution[] private _proposed;

    constructor(uint256 key) {
        KEY = key;
        ME = vm.addr(key);
    }

    function setUp() public virtual override {
        super.setUp();
        _together(
            address(auditAnchor),
            abi.encodeCall(auditAnchor.setAnchorer, (tenantId, vm.addr(ANCHORER_KEY)))
        );
        vm.deal(ME, 10 ether);
    }

    // ---------------------------------------------------------------- agents

    /// @notice Operations with every agent and verdict signer that he can put his name to.
    function operate(uint256 seed, uint256 what, bool dearly) external {
        (uint256 agentKey, address as_) = _someAgent(seed);
        (Execution[] memory calls, bytes32 capability) = _someCalls(what);
        PackedUserOperation memory op = _unsigned(calls);
        // forge-lint: disable-next-line(unsafe-typecast) below three
        op.nonce = _nonceOf(as_, uint32(seed % 3));
        if (dearly) op.gasFees = bytes32((uint256(90 gwei) << 128) | 90 gwei);
        if (seed % 5 == 0) op.paymasterAndData = _sponsored(address(_paymaster));
        if (seed % 5 == 1) op.paymasterAndData = _sponsored(address(account));
        Terms memory terms = _someTerms(seed, capability);
        bytes memory authorisation = _authorisation(terms, as_, op.nonce, calls);
        bytes32 hash = IEntryPointHash(address(entryPoint)).getUserOpHash(op);
        op.signature = abi.encodePacked(_sign(agentKey, hash), authorisation);
        if (_tryHandle(op, ME)) _went();
        _look("an operation");
    }

    /// @notice An operation of the honest agent and the honest verdict signer, seen on its way: he
    /// changes what he can sign for and bundles it himself. It costs what the two have agreed to at
    /// most, and that only once.
    function interfere(uint256 what, bool withVerdict) external {
        (Execution[] memory calls, Terms memory terms) = _payment(0);
        PackedUserOperation memory op = _unsigned(calls);
        uint256 nonce = op.nonce;
        bytes memory verdict = _authorisation(terms, agent, nonce, calls);
        uint256 key = AGENT_KEY;
        what %= 8;
        if (what == 1) {
            calls = _calls(ME, 0.01 ether, "");
            op.callData = abi.encodeCall(IERC7821.execute, (MODE_BATCH, abi.encode(calls)));
        }
        // As dear as the verdict lets it be, and far dearer.
        if (what == 2) op.gasFees = bytes32((uint256(2 gwei) << 128) | 2 gwei);
        if (what == 3) op.gasFees = bytes32((uint256(30 gwei) << 128) | 30 gwei);
        // Too little gas for its calls.
        if (what == 4) op.accountGasLimits = bytes32((uint256(500_000) << 128) | 5000);
        if (what == 5) op.paymasterAndData = _sponsored(address(_paymaster));
        if (what == 6) op.paymasterAndData = _sponsored(address(account));
        if (what == 7) op.nonce = _nonceOf(agent, 1);
        // The agent has signed what it was, and not what he has made of it.
        if (what != 0) key = KEY;
        if (withVerdict) {
            (terms.verdictKey, terms.maxFee) = (KEY, type(uint128).max);
            verdict = _authorisation(terms, agent, op.nonce, calls);
        }
        bytes32 hash = IEntryPointHash(address(entryPoint)).getUserOpHash(op);
        op.signature = abi.encodePacked(_sign(key, hash), verdict);
        uint256 native = _nativeValue();
        uint256 paidOut = payee.balance;
        bool used = _tryHandle(op, ME);
        if (used) _went();
        _declare(native, used && op.nonce == nonce ? 0.01 ether : 0, used);
        if (payee.balance > paidOut + 0.01 ether) taken = "a payment, twice";
        if (_tryHandle(op, ME)) taken = "a replay";
        _look("an operation of others");
    }

    /// @notice The same without the EntryPoint, as himself or as the agent that is his.
    function operateDirectly(uint256 seed, uint256 what) external {
        (Execution[] memory calls, bytes32 capability) = _someCalls(what);
        address as_ = seed % 2 == 0 ? ME : EVIL_AGENT;
        bytes memory opData = _opData(_someTerms(seed, capability), as_, _nonceOf(as_, 0), calls);
        _try(as_, abi.encodeCall(IERC7821.execute, (MODE_OP_DATA, abi.encode(calls, opData))));
        _try(ME, abi.encodeCall(IERC7821.execute, (MODE_BATCH, abi.encode(calls))));
        _look("a direct execution");
    }

    // ----------------------------------------------------------------- gates

    /// @notice An honest agent, with an honest verdict, proposes what would be dear; or he does.
    function propose(bool honestly, uint256 seed) external {
        Execution[] memory calls = _calls(ME, 10 ether, "");
        address as_ = honestly ? agent : seed % 2 == 0 ? ME : EVIL_AGENT;
        uint256 nonce = _nonceOf(as_, 0);
        Terms memory terms = honestly ? _terms() : _someTerms(seed, PAY);
        terms.policyVersion = policies.versionOf(tenantId);
        terms.outcome = IPolicyRegistry.Outcome.ESCALATE;
        terms.validUntil = uint48(block.timestamp) + 3 days;
        bytes memory authorisation = _authorisation(terms, as_, nonce, calls);
        vm.prank(as_);
        try account.propose(calls, nonce, authorisation) {
            _proposal = ISmartAccount.Proposal(
                as_, PAY, terms.policyVersion, nonce, terms.validUntil, _hashCalls(calls)
            );
            delete _proposed;
            _proposed.push(calls[0]);
        } catch {}
        _look("a proposal");
    }

    /// @notice All the gates that his key opens.
    function passGates() external {
        bytes32 id = account.proposalId(_proposal);
        _try(ME, abi.encodeCall(account.approve, (id)));
        _try(ME, abi.encodeCall(account.authorise, (id)));
        _try(ME, abi.encodeCall(account.executeProposal, (_proposal, _proposed)));
        _look("the gates");
    }

    // --------------------------------------------------------------- changes

    /// @notice A change of his, cosigned by nobody but himself.
    function changeTogether(uint256 what, uint256 who, bool asCosigner) external {
        (address target, bytes memory data) = _someChange(what);
        address[6] memory all = [owner, approver, authoriser, executor, guardian, ME];
        address cosigner = asCosigner ? ME : all[who % 6];
        bytes memory signature = _signChange(KEY, target, data, type(uint64).max);
        _try(
            ME,
            abi.encodeCall(
                account.changeTogether, (target, data, type(uint64).max, cosigner, signature)
            )
        );
        _look("a change together");
    }

    /// @notice A change of his that begins to wait.
    function schedule(uint256 what) external {
        (address target, bytes memory data) = _someChange(what);
        vm.prank(ME);
        try account.schedule(target, data) returns (uint64 id) {
            _went();
            if (id != 0) {
                _lastSchedule = id;
                (_waitingTarget[id], _waitingData[id]) = (target, data);
            }
        } catch {}
        _look("a scheduled change");
    }

    /// @notice He tries to apply what waits.
    function applyScheduled(uint64 back) external {
        if (_lastSchedule == 0) return;
        uint64 id = _lastSchedule - (back % 4) % _lastSchedule;
        _try(ME, abi.encodeCall(account.applyScheduled, (id, _waitingTarget[id], _waitingData[id])));
        _look("an applied change");
    }

    /// @notice His policy and his agent, recorded, and used at once.
    function takeOver(uint256 what) external {
        for (uint256 i = 0; i < 2; ++i) {
            (address target, bytes memory data) = _someChange(i);
            vm.prank(ME);
            try account.schedule(target, data) {
                _went();
            } catch {}
        }
        (Execution[] memory calls,) = _someCalls(what % 2);
        Terms memory terms = _terms();
        terms.policyVersion = policies.versionOf(tenantId);
        terms.verdictKey = EVIL_SIGNER_KEY;
        bytes memory opData = _opData(terms, EVIL_AGENT, _nonceOf(EVIL_AGENT, 0), calls);
        _try(
            EVIL_AGENT, abi.encodeCall(IERC7821.execute, (MODE_OP_DATA, abi.encode(calls, opData)))
        );
        _look("a takeover");
    }

    /// @notice What is called on no other way: the account's own functions, and narrowing ones.
    function callAnything(uint256 what) external {
        (address target, bytes memory data) = _someChange(what);
        if (target == address(account)) _try(ME, data);
        // Renouncing would end the attack.
        bytes[14] memory all = [
            abi.encodeCall(account.freeze, ()),
            abi.encodeCall(account.lowerLimit, (address(0), 0, 0)),
            abi.encodeCall(account.lowerLimit, (address(token), 0, 0)),
            abi.encodeCall(account.revokePolicy, ()),
            abi.encodeCall(account.revokeGrant, (agent, PAY)),
            abi.encodeCall(account.revokeAgent, (agent)),
            abi.encodeCall(account.lengthenDelay, (2 * DELAY)),
            abi.encodeCall(account.lengthenDelay, (DELAY)),
            abi.encodeCall(account.allowSignature, (keccak256("order"), type(uint48).max)),
            abi.encodeCall(account.replaceGuardian, (guardian, EVIL_AGENT)),
            abi.encodeCall(account.withdrawDeposit, (0.1 ether)),
            abi.encodeCall(account.revokeAnchorer, ()),
            abi.encodeCall(account.disallowSignature, (keccak256("order"))),
            abi.encodeCall(IAccount.validateUserOp, (_unsigned(_send(1)), 0, 1 ether))
        ];
        _try(ME, all[what % 14]);
        _look("a call");
    }

    // ------------------------------------------------------ round the account

    /// @notice The registries and AuditAnchor, with signatures for the account that only he gave.
    function signForTheAccount(uint256 seed) external {
        // As ERC-7739 nests what is signed as a message.
        bytes32 message =
            keccak256(abi.encode(keccak256("PersonalSign(bytes prefixed)"), keccak256("order")));
        bytes32 nested = keccak256(
            abi.encodePacked(
                hex"1901", _domain("Cofferdam SmartAccount", address(account)), message
            )
        );
        bytes memory one = _sign(KEY, nested);
        bytes[3] memory signatures =
            [one, abi.encodePacked(one, one), abi.encodePacked(one, _sign(EVIL_AGENT_KEY, nested))];
        for (uint256 i = 0; i < 3; ++i) {
            bytes4 answer =
                IERC1271(address(account)).isValidSignature(keccak256("order"), signatures[i]);
            if (answer == 0x1626ba7e) taken = "a signature";
        }
        bytes memory signature = signatures[seed % 3];
        IPolicyRegistry.Policy memory policy = _policy();
        policy.verdictSigner = EVIL_SIGNER;
        uint64 version = policies.versionOf(tenantId) + 1;
        vm.startPrank(ME);
        try policies.publish(tenantId, version, policy, type(uint64).max, signature) {
            taken = "a policy";
        } catch {}
        IMCPAgentRegistry.Window memory window = IMCPAgentRegistry.Window(0, START * 2);
        IMCPAgentRegistry.Limits memory limits = IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0);
        try agents.grantSigned(
            tenantId, EVIL_AGENT, PAY, window, limits, type(uint64).max, signature
        ) {
            taken = "a scope";
        } catch {}
        try auditAnchor.setAnchorerSigned(tenantId, EVIL_AGENT, type(uint64).max, signature) {
            taken = "the anchorer";
        } catch {}
        vm.stopPrank();
        _look("a signature");
    }

    /// @notice Tokens and deposits, taken without asking the account.
    function takeDirectly(uint256 amount) external {
        amount = 1 + amount % 1000;
        vm.startPrank(ME);
        try token.transferFrom(address(account), ME, amount) {
            taken = "an allowance";
        } catch {}
        try entryPoint.withdrawTo(payable(ME), amount) {} catch {}
        try auditAnchor.anchor(tenantId, 0, 1, keccak256("root")) {} catch {}
        vm.stopPrank();
        _look("a withdrawal");
    }

    // --------------------------------------------------------------- the rest

    /// @notice Time passes. Before it does, the guardian strikes out what the attacker began, and the
    /// others put their own policy and agent back.
    function wait(uint256 time) external {
        if (KEY != GUARDIAN_KEY) {
            vm.startPrank(guardian);
            for (uint64 id = 1; id <= _lastSchedule; ++id) {
                try account.veto(id) {} catch {}
            }
            account.revokePolicy();
            account.revokeAgent(EVIL_AGENT);
            account.revokeAgent(ME);
            vm.stopPrank();
        }
        _together(address(account), abi.encodeCall(account.unfreeze, ()));
        _together(address(account), abi.encodeCall(account.setDelay, (DELAY)));
        _together(
            address(account), abi.encodeCall(account.setLimit, (address(0), PER_CALL, PER_DAY))
        );
        uint64 version = policies.versionOf(tenantId) + 1;
        _together(
            address(policies),
            abi.encodeCall(policies.publish, (tenantId, version, _policy(), type(uint64).max, ""))
        );
        _grant(agent, PAY, IMCPAgentRegistry.Limits(PER_CALL_GRANT, address(0), 0, 0));
        _allowToken(TOKEN_PER_CALL, TOKEN_PER_DAY);
        vm.warp(block.timestamp + time % 3 days);
        _look("waiting");
    }

    // ------------------------------------------------------------- internals

    function _try(address by, bytes memory data) private {
        vm.prank(by);
        (bool ok,) = address(account).call(data);
        if (ok) _went();
    }

    function _went() private {
        ++succeeded;
    }

    /// @dev Whether everything is still there. `by` is what was just done.
    function _look(string memory by) private {
        if (bytes(taken).length != 0) return;
        (uint104 perCall, uint104 perDay,) = account.limitOf(address(0));
        (uint24 delay,) = account.settings();
        (ISmartAccount.Role first,) = account.roleOf(EVIL_AGENT);
        (ISmartAccount.Role second,) = account.roleOf(EVIL_SIGNER);
        bool less = _nativeValue() < _native || token.balanceOf(address(account)) < _tokens
            || token.allowance(address(account), ME) != 0
            || token.allowance(address(account), EVIL_AGENT) != 0
            || token.allowance(address(account), address(_paymaster)) != 0 || _paymaster.got() != 0;
        bool wider = perCall > PER_CALL || perDay > PER_DAY || delay < DELAY
            || first != ISmartAccount.Role.None || second != ISmartAccount.Role.None;
        if (less) taken = string.concat("value, by ", by);
        if (wider) taken = string.concat("power, by ", by);
    }

    /// @dev Agents he can sign for: his own one and the stolen key; and the true one, badly.
    function _someAgent(uint256 seed) private view returns (uint256 key, address as_) {
        if (seed % 4 == 0) return (EVIL_AGENT_KEY, EVIL_AGENT);
        if (seed % 4 == 1) return (KEY, agent);
        return (KEY, ME);
    }

    function _someTerms(uint256 seed, bytes32 capability)
        private
        view
        returns (Terms memory terms)
    {
        terms = _terms(capability);
        terms.policyVersion = policies.versionOf(tenantId);
        terms.maxFee = type(uint128).max;
        terms.verdictKey = (seed >> 8) % 2 == 0 ? KEY : EVIL_SIGNER_KEY;
    }

    function _someCalls(uint256 what)
        private
        view
        returns (Execution[] memory calls, bytes32 capability)
    {
        what %= 5;
        if (what == 0) return (_calls(ME, PER_CALL, ""), PAY);
        if (what == 1) return (_calls(ME, 1, ""), PAY);
        if (what == 2) {
            return
                (_calls(address(token), 0, abi.encodeCall(IERC20.transfer, (ME, 1000))), PAY_TOKEN);
        }
        if (what == 3) {
            return
                (_calls(address(token), 0, abi.encodeCall(IERC20.approve, (ME, 1000))), PAY_TOKEN);
        }
        return (_calls(address(account), 0, abi.encodeCall(account.unfreeze, ())), PAY);
    }

    function _someChange(uint256 what) private view returns (address target, bytes memory data) {
        what %= 10;
        target = address(account);
        if (what == 0) {
            IPolicyRegistry.Policy memory policy = _policy();
            policy.verdictSigner = EVIL_SIGNER;
            uint64 version = policies.versionOf(tenantId) + 1;
            return (
                address(policies),
                abi.encodeCall(policies.publish, (tenantId, version, policy, type(uint64).max, ""))
            );
        }
        if (what == 1) {
            return (
                address(agents),
                _grantData(
                    EVIL_AGENT, PAY, IMCPAgentRegistry.Limits(PER_CALL_GRANT, address(0), 0, 0)
                )
            );
        }
        if (what == 2) {
            return (target, abi.encodeCall(account.setLimit, (address(0), 9 ether, 9 ether)));
        }
        if (what == 3) {
            return
                (target, abi.encodeCall(account.setGate, (EVIL_AGENT, ISmartAccount.Role.Approver)));
        }
        if (what == 4) return (target, abi.encodeCall(account.replaceHolder, (owner, EVIL_AGENT)));
        if (what == 5) return (target, abi.encodeCall(account.setDelay, (uint24(1 hours))));
        if (what == 6) return (target, abi.encodeCall(account.unfreeze, ()));
        if (what == 7) {
            return (target, abi.encodeCall(account.replaceGuardian, (guardian, EVIL_AGENT)));
        }
        if (what == 8) {
            return (
                address(agents),
                abi.encodeCall(agents.extend, (tenantId, agent, PAY, START + 9000 days))
            );
        }
        return (target, abi.encodeCall(account.unlistToken, (address(token))));
    }
}
