// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IEntryPoint, PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {ISmartAccountFactory} from "../../interfaces/ISmartAccountFactory.sol";
import {BaseTest} from "./BaseTest.sol";
import {TestToken} from "./Tokens.sol";

/// @notice An account with owner, three gates, a guardian and an agent, all contracts as they are
/// shipped, the EntryPoint as its authors built it, and digests made from the specification.
abstract contract SmartAccountTest is BaseTest {
    uint256 internal constant OWNER_KEY = uint256(keccak256("owner"));
    uint256 internal constant APPROVER_KEY = uint256(keccak256("approver"));
    uint256 internal constant AUTHORISER_KEY = uint256(keccak256("authoriser"));
    uint256 internal constant EXECUTOR_KEY = uint256(keccak256("executor"));
    uint256 internal constant GUARDIAN_KEY = uint256(keccak256("guardian"));
    uint256 internal constant AGENT_KEY = uint256(keccak256("agent"));
    uint256 internal constant SIGNER_KEY = uint256(keccak256("verdict signer"));
    uint256 internal constant STRANGER_KEY = uint256(keccak256("stranger"));

    bytes32 internal constant MODE_BATCH =
        0x0100000000000000000000000000000000000000000000000000000000000000;
    bytes32 internal constant MODE_OP_DATA =
        0x0100000000007821000100000000000000000000000000000000000000000000;

    bytes32 internal constant PAY = keccak256("payments.send");
    bytes32 internal constant PAY_TOKEN = keccak256("payments.token");
    bytes32 internal constant CALL_TARGET = keccak256("target.ping");

    /// @dev 08:53:20 UTC.
    uint48 internal constant START = 1_760_000_000;
    uint256 internal constant START_DAY = START / uint256(1 days);
    uint24 internal constant DELAY = 1 days;
    uint104 internal constant PER_CALL = 1 ether;
    uint104 internal constant PER_DAY = 3 ether;

    address internal owner = vm.addr(OWNER_KEY);
    address internal approver = vm.addr(APPROVER_KEY);
    address internal authoriser = vm.addr(AUTHORISER_KEY);
    address internal executor = vm.addr(EXECUTOR_KEY);
    address internal guardian = vm.addr(GUARDIAN_KEY);
    address internal agent = vm.addr(AGENT_KEY);
    address internal signer = vm.addr(SIGNER_KEY);
    address internal stranger = vm.addr(STRANGER_KEY);
    address internal bundler = _address("bundler", 0);
    address internal beneficiary = _address("beneficiary", 0);
    address internal payee = _address("payee", 0);

    IEntryPoint internal entryPoint;
    IAuditAnchor internal auditAnchor;
    IPolicyRegistry internal policies;
    IMCPAgentRegistry internal agents;
    ISmartAccountFactory internal factory;
    ISmartAccount internal account;
    TestToken internal token;
    bytes32 internal tenantId;

    /// @dev What an authorisation says besides the calls.
    struct Terms {
        bytes32 capability;
        uint64 policyVersion;
        IPolicyRegistry.Outcome outcome;
        uint256 maxFee;
        uint48 validAfter;
        uint48 validUntil;
        uint256 verdictKey;
    }

    function setUp() public virtual {
        vm.warp(START);
        vm.chainId(8453);
        _deploy(_entryPointArtifact());
        account = ISmartAccount(factory.createAccount(_configuration(), 0));
        tenantId = _id(address(account));
        vm.deal(address(account), 100 ether);
        vm.deal(bundler, 100 ether);
        vm.deal(beneficiary, 1 wei);
        vm.deal(payee, 1 wei);
        token = new TestToken();
        token.mint(address(account), 1_000_000);
        _together(
            address(policies),
            abi.encodeCall(policies.publish, (tenantId, 1, _policy(), type(uint64).max, ""))
        );
        _grant(agent, PAY, IMCPAgentRegistry.Limits(PER_CALL_GRANT, address(0), 0, 0));
    }

    uint80 internal constant PER_CALL_GRANT = 2 ether;

    function _entryPointArtifact() internal pure virtual returns (string memory) {
        return "node_modules/@account-abstraction/contracts/artifacts/EntryPoint.json";
    }

    function _deploy(string memory entryPointArtifact) internal {
        entryPoint = IEntryPoint(_create(vm.getCode(entryPointArtifact)));
        auditAnchor = _deployAuditAnchor();
        policies = IPolicyRegistry(_create(vm.getCode("PolicyRegistry.sol:PolicyRegistry")));
        agents = IMCPAgentRegistry(_create(vm.getCode("MCPAgentRegistry.sol:MCPAgentRegistry")));
        factory = ISmartAccountFactory(
            _create(
                abi.encodePacked(
                    vm.getCode("SmartAccountFactory.sol:SmartAccountFactory"),
                    abi.encode(entryPoint, auditAnchor, policies, agents)
                )
            )
        );
    }

    // ----------------------------------------------------------- arranging

    function _configuration()
        internal
        view
        returns (ISmartAccount.Configuration memory configuration)
    {
        configuration.nativePerCall = PER_CALL;
        configuration.nativePerDay = PER_DAY;
        configuration.delay = DELAY;
        configuration.holders = new bytes32[](5);
        configuration.holders[0] = _holder(owner, ISmartAccount.Role.Owner);
        configuration.holders[1] = _holder(approver, ISmartAccount.Role.Approver);
        configuration.holders[2] = _holder(authoriser, ISmartAccount.Role.Authoriser);
        configuration.holders[3] = _holder(executor, ISmartAccount.Role.Executor);
        configuration.holders[4] = _holder(guardian, ISmartAccount.Role.Guardian);
    }

    function _holder(address holder, ISmartAccount.Role role) internal pure returns (bytes32) {
        return bytes32((uint256(role) << 160) | uint160(holder));
    }

    function _policy() internal view returns (IPolicyRegistry.Policy memory) {
        return
            IPolicyRegistry.Policy(keccak256("policy"), signer, START - 30 days, START + 3650 days);
    }

    /// @dev A change by owner and approver.
    function _together(address target, bytes memory data) internal {
        bytes memory signature = _signChange(APPROVER_KEY, target, data, type(uint64).max);
        vm.prank(owner);
        account.changeTogether(target, data, type(uint64).max, approver, signature);
    }

    function _signChange(uint256 key, address target, bytes memory data, uint64 deadline)
        internal
        view
        returns (bytes memory)
    {
        (uint64 nonce,) = account.counters();
        return _sign(key, _changeDigest(account, target, data, nonce, deadline));
    }

    function _grantData(address to, bytes32 capability, IMCPAgentRegistry.Limits memory limits)
        internal
        view
        returns (bytes memory)
    {
        IMCPAgentRegistry.Window memory window =
            IMCPAgentRegistry.Window(START - 30 days, START + 3650 days);
        return abi.encodeCall(agents.grant, (tenantId, to, capability, window, limits));
    }

    function _grant(address to, bytes32 capability, IMCPAgentRegistry.Limits memory limits)
        internal
    {
        _together(address(agents), _grantData(to, capability, limits));
    }

    /// @dev A limit for the token, and a grant for it.
    function _allowToken(uint104 perCall, uint104 perDay) internal {
        _together(
            address(account), abi.encodeCall(account.setLimit, (address(token), perCall, perDay))
        );
        _grant(agent, PAY_TOKEN, IMCPAgentRegistry.Limits(0, address(token), 0, type(uint96).max));
    }

    // --------------------------------------------------------------- calls

    function _calls(address target, uint256 value, bytes memory data)
        internal
        pure
        returns (Execution[] memory calls)
    {
        calls = new Execution[](1);
        calls[0] = Execution(target, value, data);
    }

    function _send(uint256 value) internal view returns (Execution[] memory) {
        return _calls(payee, value, "");
    }

    function _transfer(uint256 amount) internal view returns (Execution[] memory) {
        return _calls(address(token), 0, abi.encodeCall(IERC20.transfer, (payee, amount)));
    }

    function _and(Execution[] memory first, Execution[] memory second)
        internal
        pure
        returns (Execution[] memory both)
    {
        both = new Execution[](first.length + second.length);
        for (uint256 i = 0; i < first.length; ++i) {
            both[i] = first[i];
        }
        for (uint256 i = 0; i < second.length; ++i) {
            both[first.length + i] = second[i];
        }
    }

    // ---------------------------------------------------------- authorising

    /// @dev An ALLOW for payments, good for ten minutes around now.
    function _terms() internal view returns (Terms memory) {
        return Terms({
            capability: PAY,
            policyVersion: 1,
            outcome: IPolicyRegistry.Outcome.ALLOW,
            maxFee: 0.1 ether,
            validAfter: uint48(block.timestamp) - 5 minutes,
            validUntil: uint48(block.timestamp) + 5 minutes,
            verdictKey: SIGNER_KEY
        });
    }

    function _terms(bytes32 capability) internal view returns (Terms memory terms) {
        terms = _terms();
        terms.capability = capability;
    }

    function _authorisation(Terms memory terms, address by, uint256 nonce, Execution[] memory calls)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = _verdictDigest(terms, by, nonce, _hashCalls(calls));
        return abi.encodePacked(
            terms.capability,
            terms.policyVersion,
            uint128(terms.maxFee),
            terms.validAfter,
            terms.validUntil,
            _sign(terms.verdictKey, digest)
        );
    }

    function _nonceOf(address by, uint32 lane) internal view returns (uint256) {
        return entryPoint.getNonce(
            address(account), uint192((uint256(uint160(by)) << 32) | uint256(lane))
        );
    }

    // ------------------------------------------------------------ operations

    /// @dev An operation without a signature, good for 1,000,000 gas at 1 gwei.
    function _unsigned(Execution[] memory calls)
        internal
        view
        returns (PackedUserOperation memory op)
    {
        op.sender = address(account);
        op.nonce = _nonceOf(agent, 0);
        op.callData = abi.encodeCall(IERC7821.execute, (MODE_BATCH, abi.encode(calls)));
        op.accountGasLimits = bytes32((uint256(500_000) << 128) | 400_000);
        op.preVerificationGas = 100_000;
        op.gasFees = bytes32((uint256(1 gwei) << 128) | 1 gwei);
    }

    function _signOp(
        PackedUserOperation memory op,
        uint256 key,
        Terms memory terms,
        Execution[] memory calls
    ) internal view {
        bytes memory authorisation = _authorisation(terms, agent, op.nonce, calls);
        bytes32 hash = IEntryPointHash(address(entryPoint)).getUserOpHash(op);
        op.signature = abi.encodePacked(_sign(key, hash), authorisation);
    }

    function _op(Execution[] memory calls, Terms memory terms)
        internal
        view
        returns (PackedUserOperation memory op)
    {
        op = _unsigned(calls);
        _signOp(op, AGENT_KEY, terms, calls);
    }

    function _op(Execution[] memory calls) internal view returns (PackedUserOperation memory) {
        return _op(calls, _terms());
    }

    function _handle(PackedUserOperation memory op) internal {
        PackedUserOperation[] memory ops = new PackedUserOperation[](1);
        ops[0] = op;
        vm.prank(bundler, bundler);
        entryPoint.handleOps(ops, payable(beneficiary));
    }

    /// @dev The operation is refused in validation with the account's own `reason`, and costs nothing.
    function _refuse(PackedUserOperation memory op, bytes memory reason) internal {
        uint256 balance = address(account).balance;
        uint256 deposit = entryPoint.balanceOf(address(account));
        PackedUserOperation[] memory ops = new PackedUserOperation[](1);
        ops[0] = op;
        vm.expectRevert(
            abi.encodeWithSelector(
                IEntryPoint.FailedOpWithRevert.selector, 0, "AA23 reverted", reason
            )
        );
        vm.prank(bundler, bundler);
        entryPoint.handleOps(ops, payable(beneficiary));
        assertEq(address(account).balance, balance, "balance");
        assertEq(entryPoint.balanceOf(address(account)), deposit, "deposit");
    }

    /// @dev The EntryPoint itself refuses it, with its own code.
    function _refuseAA(PackedUserOperation memory op, string memory code) internal {
        PackedUserOperation[] memory ops = new PackedUserOperation[](1);
        ops[0] = op;
        vm.expectRevert(abi.encodeWithSelector(IEntryPoint.FailedOp.selector, 0, code));
        vm.prank(bundler, bundler);
        entryPoint.handleOps(ops, payable(beneficiary));
    }

    // ----------------------------------------------------------- direct way

    function _opData(Terms memory terms, address by, uint256 nonce, Execution[] memory calls)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodePacked(nonce, _authorisation(terms, by, nonce, calls));
    }

    /// @dev The calldata of a direct execution, for a prank or an expectation to come before it.
    function _direct(Execution[] memory calls, Terms memory terms)
        internal
        view
        returns (bytes memory)
    {
        bytes memory opData = _opData(terms, agent, _nonceOf(agent, 0), calls);
        return abi.encodeCall(IERC7821.execute, (MODE_OP_DATA, abi.encode(calls, opData)));
    }

    /// @dev Calls the account, bubbling up what it reverts with.
    function _callAs(address by, bytes memory data) internal returns (bytes memory) {
        vm.prank(by);
        (bool ok, bytes memory result) = address(account).call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }

    /// @dev The call fails with exactly this.
    function _expectFail(address by, bytes memory data, bytes memory reason) internal {
        vm.prank(by);
        (bool ok, bytes memory result) = address(account).call(data);
        assertFalse(ok, "should have failed");
        assertEq(result, reason, "reason");
    }

    // ------------------------------------------------- from the specification

    function _hashCalls(Execution[] memory calls) internal pure returns (bytes32) {
        bytes memory hashes;
        for (uint256 i = 0; i < calls.length; ++i) {
            hashes = abi.encodePacked(
                hashes,
                keccak256(
                    abi.encode(
                        keccak256("Call(address target,uint256 value,bytes callData)"),
                        calls[i].target,
                        calls[i].value,
                        keccak256(calls[i].callData)
                    )
                )
            );
        }
        return keccak256(hashes);
    }

    function _verdictDigest(Terms memory terms, address by, uint256 nonce, bytes32 callsHash)
        internal
        view
        returns (bytes32)
    {
        bytes32 message = keccak256(
            bytes.concat(
                abi.encode(
                    keccak256(
                        "PolicyVerdict(bytes32 tenantId,uint64 policyVersion,address agent,bytes32 capability,bytes32 callsHash,uint8 outcome,uint256 maxFee,uint48 validAfter,uint48 validUntil,uint256 nonce)"
                    ),
                    tenantId,
                    terms.policyVersion,
                    by,
                    terms.capability,
                    callsHash
                ),
                abi.encode(terms.outcome, terms.maxFee, terms.validAfter, terms.validUntil, nonce)
            )
        );
        bytes32 domain = _domain("Cofferdam PolicyRegistry", address(policies));
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function _changeDigest(
        ISmartAccount of_,
        address target,
        bytes memory data,
        uint64 nonce,
        uint64 deadline
    ) internal view returns (bytes32) {
        bytes32 message = keccak256(
            abi.encode(
                keccak256(
                    "Change(bytes32 tenantId,address target,bytes data,uint64 nonce,uint64 deadline)"
                ),
                _id(address(of_)),
                target,
                keccak256(data),
                nonce,
                deadline
            )
        );
        bytes32 domain = _domain("Cofferdam SmartAccount", address(of_));
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function _domain(string memory name, address verifyingContract)
        internal
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifyingContract
            )
        );
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }
}

/// @dev What OpenZeppelin's `IEntryPoint` leaves out.
interface IEntryPointHash {
    function getUserOpHash(PackedUserOperation calldata userOp) external view returns (bytes32);
}
