// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {IAccount, PackedUserOperation} from "@openzeppelin/contracts/interfaces/IERC4337.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {GreedyPaymaster} from "../utils/Paymasters.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";

/// @notice Operations through the EntryPoint: what goes through, and what validation refuses without
/// any cost for the tenant.
contract SmartAccountUserOpTest is SmartAccountTest {
    function _bad(bytes4 selector) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector);
    }

    function test_AgentSendsThroughTheEntryPoint() public {
        _handle(_op(_send(0.5 ether)));
        assertEq(payee.balance, 0.5 ether + 1 wei);
        (, uint256 today) = account.spentOf(address(0), START_DAY);
        assertEq(today, 0.5 ether + 1_000_000 * 1 gwei, "value and the most it could cost");
    }

    function test_ABatchOfCallsRunsInOrder() public {
        _handle(_op(_and(_send(0.5 ether), _calls(bundler, 0.25 ether, ""))));
        assertEq(payee.balance, 0.5 ether + 1 wei);
    }

    function test_OnlyTheEntryPointValidatesAndExecutes() public {
        PackedUserOperation memory op = _op(_send(1));
        bytes memory reason = abi.encodeWithSelector(
            ISmartAccount.SmartAccount_WrongCaller.selector, address(entryPoint), stranger
        );
        _expectFail(stranger, abi.encodeCall(IAccount.validateUserOp, (op, 0, 0)), reason);
        _expectFail(stranger, op.callData, reason);
        reason = abi.encodeWithSelector(
            ISmartAccount.SmartAccount_WrongCaller.selector, address(entryPoint), owner
        );
        _expectFail(owner, op.callData, reason);
    }

    function test_TheAgentsSignatureMustBeTheAgents() public {
        Execution[] memory calls = _send(1);
        PackedUserOperation memory op = _unsigned(calls);
        _signOp(op, STRANGER_KEY, _terms(), calls);
        _refuseAA(op, "AA24 signature error");
        _signOp(op, AGENT_KEY, _terms(), calls);
        op.preVerificationGas += 1;
        _refuseAA(op, "AA24 signature error");
    }

    /// @dev The nonce names the agent, so nobody uses up another agent's nonces.
    function test_TheNonceNamesTheAgent() public {
        Execution[] memory calls = _send(1);
        PackedUserOperation memory op = _unsigned(calls);
        op.nonce = _nonceOf(stranger, 0);
        _signOp(op, AGENT_KEY, _terms(), calls);
        _refuse(
            op,
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
                tenantId,
                _verdictDigest(_terms(), stranger, op.nonce, _hashCalls(calls))
            )
        );
        op.nonce = 0;
        _signOp(op, 0x1234, _terms(), calls);
        assertTrue(_fails(op), "the zero address is no agent");
    }

    function test_AReplayIsRefused() public {
        PackedUserOperation memory op = _op(_send(0.1 ether));
        _handle(op);
        _refuseAA(op, "AA25 invalid account nonce");
    }

    function test_LanesAreIndependent() public {
        Execution[] memory calls = _send(0.1 ether);
        PackedUserOperation memory op = _unsigned(calls);
        op.nonce = _nonceOf(agent, 7);
        _signOp(op, AGENT_KEY, _terms(), calls);
        _handle(op);
        _handle(_op(calls));
        assertEq(payee.balance, 0.2 ether + 1 wei);
    }

    // --------------------------------------------------------------- verdict

    function test_AVerdictForOtherCallsIsRefused() public {
        Execution[] memory calls = _send(0.1 ether);
        PackedUserOperation memory op = _unsigned(calls);
        _signOp(op, AGENT_KEY, _terms(), _send(0.2 ether));
        _refuse(
            op,
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
                tenantId,
                _verdictDigest(_terms(), agent, op.nonce, _hashCalls(calls))
            )
        );
    }

    function test_OnlyAnAllowIsAnAllow() public {
        IPolicyRegistry.Outcome[2] memory outcomes =
            [IPolicyRegistry.Outcome.DENY, IPolicyRegistry.Outcome.ESCALATE];
        for (uint256 i = 0; i < 2; ++i) {
            Terms memory terms = _terms();
            terms.outcome = outcomes[i];
            PackedUserOperation memory op = _op(_send(1), terms);
            _refuse(
                op,
                abi.encodeWithSelector(
                    IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
                    tenantId,
                    _verdictDigest(_terms(), agent, op.nonce, _hashCalls(_send(1)))
                )
            );
        }
    }

    function test_TheAgentIsNoVerdictSigner() public {
        Terms memory terms = _terms();
        terms.verdictKey = AGENT_KEY;
        PackedUserOperation memory op = _op(_send(1), terms);
        _refuse(
            op,
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_BadVerdict.selector,
                tenantId,
                _verdictDigest(terms, agent, op.nonce, _hashCalls(_send(1)))
            )
        );
    }

    function test_WithoutActivePolicyEverythingIsDenied() public {
        vm.prank(owner);
        account.revokePolicy();
        _refuse(
            _op(_send(1)),
            abi.encodeWithSelector(IPolicyRegistry.PolicyRegistry_NoActivePolicy.selector, tenantId)
        );
    }

    function test_AVerdictOfAnOlderPolicyIsRefused() public {
        PackedUserOperation memory op = _op(_send(1));
        _together(
            address(policies),
            abi.encodeCall(policies.publish, (tenantId, 2, _policy(), type(uint64).max, ""))
        );
        _refuse(
            op,
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_WrongPolicyVersion.selector, tenantId, 2, 1
            )
        );
    }

    function test_TheWindowGoesToTheEntryPoint() public {
        PackedUserOperation memory op = _op(_send(1));
        vm.warp(block.timestamp + 5 minutes + 1);
        _refuseAA(op, "AA22 expired or not due");
        vm.warp(block.timestamp - 10 minutes - 1);
        _refuseAA(op, "AA22 expired or not due");
        vm.warp(block.timestamp + 1);
        _handle(op);
    }

    /// @dev Zero would be "for ever" to the EntryPoint.
    function test_AWindowWithoutEndIsRefused() public {
        Terms memory terms = _terms();
        terms.validUntil = 0;
        assertTrue(_fails(_op(_send(1), terms)));
    }

    function test_AWindowLiesWithinOneDay() public {
        Terms memory terms = _terms();
        terms.validUntil = START - START % 1 days + 1 days;
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_WindowSpansDays.selector,
                terms.validAfter,
                terms.validUntil
            )
        );
        terms.validUntil -= 1;
        _handle(_op(_send(1), terms));
        // The first second of a day belongs to it: good is what comes after `validAfter`.
        terms.validAfter = START - START % 1 days - 1;
        _handle(_op(_send(1), terms));
        terms.validAfter -= 1;
        assertTrue(_fails(_op(_send(1), terms)));
    }

    /// @dev An agent with a verdict for a day far off leaves no mark in the ledger, which only moves
    /// forward: neither way goes through before that day.
    function test_AVerdictForALaterDayDoesNotLockTheLedger() public {
        Terms memory terms = _terms();
        (terms.validAfter, terms.validUntil) =
        (terms.validAfter + 300 days, terms.validUntil + 300 days);
        _refuseAA(_op(_send(1), terms), "AA22 expired or not due");
        _expectFail(
            agent,
            _direct(_send(1), terms),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_OutsideWindow.selector,
                terms.validAfter,
                terms.validUntil,
                block.timestamp
            )
        );
        account.spentOf(address(0), 0);
        _handle(_op(_send(1)));
    }

    // ----------------------------------------------------------------- scope

    function test_WithoutScopeAnAgentDoesNothing() public {
        Terms memory terms = _terms(keccak256("other"));
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_NotGranted.selector,
                tenantId,
                agent,
                keccak256("other")
            )
        );
        vm.prank(guardian);
        account.revokeAgent(agent);
        _refuse(
            _op(_send(1)),
            abi.encodeWithSelector(
                IMCPAgentRegistry.MCPAgentRegistry_NotGranted.selector, tenantId, agent, PAY
            )
        );
    }

    function test_TheScopesWindowCounts() public {
        _together(
            address(agents),
            abi.encodeCall(
                agents.grant,
                (
                    tenantId,
                    agent,
                    PAY,
                    IMCPAgentRegistry.Window(START - 1, START + 60),
                    IMCPAgentRegistry.Limits(1 ether, address(0), 0, 0)
                )
            )
        );
        PackedUserOperation memory op = _op(_send(1));
        vm.warp(START + 61);
        _refuseAA(op, "AA22 expired or not due");
        vm.warp(START + 60);
        _handle(op);
    }

    function test_AnotherTenantsAuthorisationIsWorthNothing() public {
        ISmartAccount other = ISmartAccount(factory.createAccount(_configuration(), "other"));
        PackedUserOperation memory op = _op(_send(1));
        op.sender = address(other);
        _refuse(
            op,
            abi.encodeWithSelector(
                IPolicyRegistry.PolicyRegistry_NoActivePolicy.selector, _id(address(other))
            )
        );
    }

    // ------------------------------------------------------------------- fee

    function test_TheFeeIsAtMostTheVerdicts() public {
        Terms memory terms = _terms();
        uint256 fee = 1_000_000 * 1 gwei;
        terms.maxFee = fee - 1;
        _refuse(
            _op(_send(1), terms),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_OverMaxFee.selector, fee - 1, fee)
        );
        terms.maxFee = fee;
        _handle(_op(_send(1), terms));
    }

    function test_EveryGasFieldCountsForTheFee() public {
        Execution[] memory calls = _send(1);
        for (uint256 i = 0; i < 4; ++i) {
            PackedUserOperation memory op = _unsigned(calls);
            if (i == 0) op.accountGasLimits = bytes32(uint256(op.accountGasLimits) + (1 << 128));
            if (i == 1) op.accountGasLimits = bytes32(uint256(op.accountGasLimits) + 1);
            if (i == 2) op.preVerificationGas += 1;
            if (i == 3) {
                op.paymasterAndData = abi.encodePacked(stranger, uint128(1), uint128(2), "data");
            }
            Terms memory terms = _terms();
            terms.maxFee = 1_000_000 * 1 gwei;
            _signOp(op, AGENT_KEY, terms, calls);
            uint256 more = i == 3 ? 3 : 1;
            bytes memory reason = abi.encodeWithSelector(
                ISmartAccount.SmartAccount_OverMaxFee.selector,
                terms.maxFee,
                terms.maxFee + more * 1 gwei
            );
            vm.prank(address(entryPoint));
            (bool ok, bytes memory result) =
                address(account).call(abi.encodeCall(IAccount.validateUserOp, (op, 0, 0)));
            assertFalse(ok);
            assertEq(result, reason);
        }
    }

    /// @dev Another one pays; the fee counts all the same, since it may want it back.
    function test_APaymastersFeeCountsToo() public {
        uint256 before = address(account).balance + entryPoint.balanceOf(address(account));
        _handle(_sponsoredOp(address(_richPaymaster()), ""));
        uint256 later = address(account).balance + entryPoint.balanceOf(address(account));
        assertEq(before - later, 1, "what was sent, and no fee");
        (, uint256 today) = account.spentOf(address(0), START_DAY);
        assertEq(today, 1 + 1_200_000 * 1 gwei);
    }

    /// @dev Its deposit pays for its own operations only, and by no other name.
    function test_TheAccountIsNoPaymaster() public {
        entryPoint.depositTo{value: 1 ether}(address(account));
        assertTrue(_fails(_sponsoredOp(address(account), "")));
        assertEq(entryPoint.balanceOf(address(account)), 1 ether);
    }

    function _richPaymaster() internal returns (GreedyPaymaster paymaster) {
        paymaster = new GreedyPaymaster(IERC20(address(token)));
        entryPoint.depositTo{value: 1 ether}(address(paymaster));
    }

    function _sponsoredOp(address paymaster, bytes memory suffix)
        internal
        view
        returns (PackedUserOperation memory op)
    {
        Execution[] memory calls = _send(1);
        op = _unsigned(calls);
        op.paymasterAndData =
            abi.encodePacked(paymaster, uint128(100_000), uint128(100_000), suffix);
        _signOp(op, AGENT_KEY, _terms(), calls);
    }

    // -------------------------------------------------------------- calldata

    function test_OnlyExecuteWithoutOpDataIsAnOperation() public {
        PackedUserOperation memory op = _op(_send(1));
        op.callData = abi.encodeCall(IERC7821.execute, (MODE_OP_DATA, abi.encode(_send(1))));
        _refuse(
            op, abi.encodeWithSelector(ISmartAccount.SmartAccount_BadMode.selector, MODE_OP_DATA)
        );
        bytes memory bad = _bad(ISmartAccount.SmartAccount_BadCallData.selector);
        op.callData = abi.encodeCall(account.freeze, ());
        _refuse(op, bad);
        op.callData = "";
        _refuse(op, bad);
        op.callData = abi.encodeCall(IERC7821.execute, (MODE_BATCH, abi.encode(new Execution[](0))));
        _refuse(op, bad);
    }

    /// @dev A call that lies outside of the calldata that it seems to be in would be read differently
    /// when it is validated and when it is executed.
    function test_NothingPointsOutsideItsData() public {
        bytes memory data = abi.encode(_send(1));
        bytes memory bad = _bad(ISmartAccount.SmartAccount_BadCallData.selector);
        // Offsets: of the array, its length, of the call, of its data, its data's length.
        uint256[5] memory words = [uint256(0x00), 0x20, 0x40, 0xa0, 0xc0];
        for (uint256 i = 0; i < words.length; ++i) {
            uint256[5] memory values = [
                uint256(0x1000),
                type(uint256).max - 0x1f,
                type(uint256).max - 0xff,
                1 << 255,
                data.length
            ];
            for (uint256 j = 0; j < values.length; ++j) {
                bytes memory wrong = bytes.concat(data);
                uint256 word = words[i];
                uint256 value = values[j];
                assembly ("memory-safe") {
                    mstore(add(add(wrong, 0x20), word), value)
                }
                PackedUserOperation memory op = _op(_send(1));
                op.callData = abi.encodeCall(IERC7821.execute, (MODE_BATCH, wrong));
                _refuse(op, bad);
            }
        }
    }

    function test_AFrozenAccountRefuses() public {
        PackedUserOperation memory op = _op(_send(1));
        vm.prank(guardian);
        account.freeze();
        _refuse(op, _bad(ISmartAccount.SmartAccount_Frozen.selector));
    }

    /// @dev What fails after validation costs the tenant no more than was charged to its limit.
    function test_AFailedCallCostsAtMostTheFee() public {
        uint256 before = address(account).balance + entryPoint.balanceOf(address(account));
        _grant(
            agent,
            CALL_TARGET,
            IMCPAgentRegistry.Limits(1 ether, address(token), token.mint.selector, 0)
        );
        Execution[] memory calls =
            _calls(address(token), 1 ether, abi.encodeCall(token.mint, (stranger, 1)));
        _handle(_op(calls, _terms(CALL_TARGET)));
        uint256 later = address(account).balance + entryPoint.balanceOf(address(account));
        assertLe(before - later, 1_000_000 * 1 gwei);
        (, uint256 today) = account.spentOf(address(0), START_DAY);
        assertEq(today, 1 ether + 1_000_000 * 1 gwei, "what was reserved is not refunded");
    }

    function _fails(PackedUserOperation memory op) private returns (bool) {
        PackedUserOperation[] memory ops = new PackedUserOperation[](1);
        ops[0] = op;
        vm.prank(bundler, bundler);
        try entryPoint.handleOps(ops, payable(beneficiary)) {
            return false;
        } catch {
            return true;
        }
    }
}

/// @notice The same at EntryPoint v0.9.
contract SmartAccountUserOpV09Test is SmartAccountUserOpTest {
    function _entryPointArtifact() internal pure override returns (string memory) {
        return "node_modules/account-abstraction-v09/artifacts/EntryPoint.json";
    }

    /// @dev v0.9 lets a paymaster sign after the agent did. That changes neither what the agent signed
    /// nor what the operation can cost.
    function test_APaymasterSignsLater() public {
        bytes8 magic = bytes8(keccak256("PaymasterSignature"));
        address paymaster = address(_richPaymaster());
        PackedUserOperation memory op =
            _sponsoredOp(paymaster, abi.encodePacked(hex"00", uint16(1), magic));
        op.paymasterAndData = abi.encodePacked(
            paymaster,
            uint128(100_000),
            uint128(100_000),
            _sign(STRANGER_KEY, keccak256("paid")),
            uint16(65),
            magic
        );
        _handle(op);
        (, uint256 today) = account.spentOf(address(0), START_DAY);
        assertEq(today, 1 + 1_200_000 * 1 gwei);
    }
}
