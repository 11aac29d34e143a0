// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC7821} from "@openzeppelin/contracts/interfaces/draft-IERC7821.sol";
import {
    IAccount,
    IEntryPointNonces,
    PackedUserOperation
} from "@openzeppelin/contracts/interfaces/IERC4337.sol";
import {ECDSA} from "solady/utils/ECDSA.sol";

import {IPolicyRegistry} from "../interfaces/IPolicyRegistry.sol";
import {AccountCalls} from "./AccountCalls.sol";
import {AccountChanges} from "./AccountChanges.sol";
import {AccountLimits} from "./AccountLimits.sol";
import {AccountRegistries} from "./AccountRegistries.sol";

/// @dev `IEntryPoint.incrementNonce`, which OpenZeppelin's interface leaves out.
interface INonceIncrement {
    function incrementNonce(uint192 key) external;
}

/// @title AccountAgents
/// @notice What agents may do with a `SmartAccount`: spend within limits, and propose.
///
/// @dev Everything is decided in `validateUserOp`, which reads nothing but the account's own storage
/// and registry storage associated with it, and neither clock nor balance nor code (ERC-7562). Times
/// go back to the EntryPoint as a window; the day that limits need is the one UTC day in which the
/// window lies. The direct way makes the same checks and looks at the clock itself.
///
/// What is counted is what ERC-20 calls say, and what limited assets fell by when the calls had run. A
/// grant that names another function by which a target gives allowances (an ERC-777's
/// `authorizeOperator`, Permit2's `approve`) gives away whatever that function can.
// Casts below cut off neighbours in a packed word, what was found to be zero, or nothing: times are
// below 2^47, and selectors are the first four bytes.
// forge-lint: disable-start(unsafe-typecast)
abstract contract AccountAgents is AccountChanges, IAccount, IERC7821 {
    using AccountLimits for AccountLimits.Ledger;
    using AccountRegistries for AccountRegistries.Claim;

    uint256 private constant SIGNATURE_LENGTH = 65;

    uint256 private constant SIG_VALIDATION_FAILED = 1;

    // -------------------------------------------------------------- ERC-4337

    /// @notice Whether an agent's operation may be executed. Caller: the EntryPoint.
    /// @dev Checks scope, verdict, targets, fee and limits, and reserves what the operation may cost.
    /// An agent signature that is wrong returns `SIG_VALIDATION_FAILED`; everything else reverts.
    /// @param userOp Calls `execute` in the mode without `opData`.
    /// @param userOpHash What the agent signed.
    /// @param missingFunds What the EntryPoint wants to be paid now, in wei.
    /// @return validationData `validUntil u48 ‖ validAfter u48 ‖ 0 or 1 u160`.
    function validateUserOp(
        PackedUserOperation calldata userOp,
        bytes32 userOpHash,
        uint256 missingFunds
    ) external returns (uint256 validationData) {
        if (msg.sender != ENTRY_POINT) {
            revert SmartAccount_WrongCaller(ENTRY_POINT, msg.sender);
        }
        bytes calldata signature = userOp.signature;
        if (signature.length < SIGNATURE_LENGTH) revert SmartAccount_BadAuthorisation();
        address agent = address(uint160(userOp.nonce >> 96));

        // Recovery that fails gives the zero address.
        bool failed = agent == address(0)
            || ECDSA.tryRecoverCalldata(userOpHash, signature[:SIGNATURE_LENGTH]) != agent;
        uint256 fee = _maxFeeOf(userOp);
        (uint256 validAfter, uint256 validUntil) = _reserve(
            agent, userOp.nonce, _callsOf(userOp.callData), fee, signature[SIGNATURE_LENGTH:]
        );

        if (missingFunds != 0) {
            assembly ("memory-safe") {
                // Assembly: the EntryPoint checks what it got, and a high-level call copies its answer.
                pop(call(gas(), caller(), missingFunds, 0, 0, 0, 0))
            }
        }
        return (validAfter << 208) | (validUntil << 160) | (failed ? SIG_VALIDATION_FAILED : 0);
    }

    /// @inheritdoc IERC7821
    /// @dev Callers: the EntryPoint with an operation it validated, in the mode without `opData`; or an
    /// agent, with `opData` = `nonce[32] ‖ authorisation`, which passes the same checks here.
    /// Reverts as a whole. Reverts when a limited asset fell by more than the calls declared.
    function execute(bytes32 mode, bytes calldata executionData) external payable whileNotRunning {
        if (mode == AccountCalls.MODE_BATCH) {
            if (msg.sender != ENTRY_POINT) {
                revert SmartAccount_WrongCaller(ENTRY_POINT, msg.sender);
            }
            _runWatched(AccountCalls.decodeChecked(executionData));
        } else if (mode == AccountCalls.MODE_OP_DATA) {
            Execution[] calldata calls = AccountCalls.decode(executionData);
            _takeDirect(calls, AccountCalls.bytesAt(executionData, 0x20));
            _runWatched(calls);
        } else {
            revert SmartAccount_BadMode(mode);
        }
    }

    /// @inheritdoc IERC7821
    function supportsExecutionMode(bytes32 mode) external pure returns (bool) {
        return mode == AccountCalls.MODE_BATCH || mode == AccountCalls.MODE_OP_DATA;
    }

    // ------------------------------------------------------------ internals

    /// @dev The direct way: sender instead of signature, clock instead of window, no fee.
    function _takeDirect(Execution[] calldata calls, bytes calldata opData) private {
        if (opData.length < 0x20) revert SmartAccount_BadAuthorisation();
        uint256 nonce = uint256(bytes32(opData));
        _useNonce(msg.sender, nonce);
        (uint256 validAfter, uint256 validUntil) =
            _reserve(msg.sender, nonce, calls, 0, opData[0x20:]);
        _requireNow(validAfter, validUntil);
        emit ExecutedDirectly(_self(), _nextEvent(), msg.sender, nonce, AccountCalls.hash(calls));
    }

    /// @dev Consumes the agent's nonce at the EntryPoint, so that a verdict is good for one way only.
    function _useNonce(address agent, uint256 nonce) internal {
        if (nonce >> 96 != uint160(agent)) revert SmartAccount_ForeignNonce(nonce, agent);
        uint192 key = uint192(nonce >> 64);
        uint256 expected = IEntryPointNonces(ENTRY_POINT).getNonce(address(this), key);
        if (nonce != expected) revert SmartAccount_WrongNonce(expected, nonce);
        // slither-disable-next-line reentrancy-benign,reentrancy-events the EntryPoint calls nobody here
        INonceIncrement(ENTRY_POINT).incrementNonce(key);
    }

    function _requireNow(uint256 validAfter, uint256 validUntil) internal view {
        if (block.timestamp <= validAfter || block.timestamp > validUntil) {
            revert SmartAccount_OutsideWindow(
                uint48(validAfter), uint48(validUntil), block.timestamp
            );
        }
    }

    /// @dev Checks that `agent` may make `calls` and reserves what they and `fee` cost.
    function _reserve(
        address agent,
        uint256 nonce,
        Execution[] calldata calls,
        uint256 fee,
        bytes calldata authorisation
    ) private returns (uint256, uint256) {
        uint256 settings_ = _settingsWord();
        if (settings_ >> 240 != 0) revert SmartAccount_Frozen();
        // slither-disable-next-line uninitialized-local its members are set below, or by `_check`
        AccountRegistries.Claim memory claim;
        claim.agent = agent;
        claim.nonce = nonce;
        claim.callsHash = AccountCalls.hash(calls);
        claim.outcome = IPolicyRegistry.Outcome.ALLOW;
        _check(claim, authorisation, uint24(settings_ >> 208));

        if (fee > claim.maxFee) revert SmartAccount_OverMaxFee(claim.maxFee, fee);
        // Timestamps, a fee below 2^128, and values below 2^104 each: nothing overflows.
        unchecked {
            uint256 day = claim.validUntil / 1 days;
            // Good are the seconds after `validAfter`.
            if ((claim.validAfter + 1) / 1 days != day) {
                revert SmartAccount_WindowSpansDays(
                    uint48(claim.validAfter), uint48(claim.validUntil)
                );
            }
            fee += _reserveCalls(calls, uint104(settings_), claim, day);
            _nativeLedger.reserve(address(0), fee, uint104(settings_ >> 104), day);
        }
        return (claim.validAfter, claim.validUntil);
    }

    /// @dev Checks every call and reserves its tokens.
    /// @return value What the calls send together, in wei.
    function _reserveCalls(
        Execution[] calldata calls,
        uint256 perCall,
        AccountRegistries.Claim memory claim,
        uint256 day
    ) private returns (uint256 value) {
        if (claim.nativeMax < perCall) perCall = claim.nativeMax;
        for (uint256 i = 0; i < calls.length; ++i) {
            Execution calldata call = calls[i];
            address target = call.target;
            bytes calldata data = call.callData;
            if (call.value > perCall) {
                revert SmartAccount_OverCallLimit(address(0), perCall, call.value);
            }
            // Each is below 2^104.
            unchecked {
                value += call.value;
            }
            if (_isOwn(target)) revert SmartAccount_TargetNotAllowed(i, target, bytes4(data));
            if (data.length == 0) {
                // A plain send, which a grant for one function does not include.
                if (claim.selector == 0) continue;
                revert SmartAccount_TargetNotAllowed(i, target, 0);
            }
            bytes4 selector = bytes4(data);
            (bool isErc20, uint256 amount) = AccountCalls.erc20Amount(data);
            // Whatever the grant says, these are a token's: no limit set is no spending.
            bool good = claim.target == target && data.length > 3
                && (claim.selector == 0
                        ? isErc20 && selector != AccountCalls.INCREASE_ALLOWANCE
                        : claim.selector == selector);
            if (!good) revert SmartAccount_TargetNotAllowed(i, target, selector);
            if (isErc20) {
                uint256 most = claim.selector == 0 ? claim.tokenMax : type(uint256).max;
                _reserveToken(target, amount, most, day);
            }
        }
    }

    function _reserveToken(address token, uint256 amount, uint256 most, uint256 day) private {
        AccountLimits.Limit memory limit = _limits[token];
        if (limit.perCall < most) most = limit.perCall;
        if (!limit.listed || amount > most) {
            revert SmartAccount_OverCallLimit(token, most, amount);
        }
        _ledgers[token].reserve(token, amount, limit.perDay, day);
    }

    /// @dev Has the registries say whether the agent has the capability and the verdict, and when. What
    /// one principal had them record counts only once it is older than the account's delay; the proof
    /// that two did is looked up only where the window begins before that.
    function _check(
        AccountRegistries.Claim memory claim,
        bytes calldata authorisation,
        uint256 delay
    ) internal view {
        claim.ask(POLICY_REGISTRY, AGENT_REGISTRY, authorisation);
        // Timestamps, and a delay of 24 bits.
        unchecked {
            uint256 counts = claim.policyRecordedAt + delay;
            if (claim.validAfter < counts && _counters.confirmedPolicy != claim.policyVersion) {
                claim.validAfter = counts;
            }
            counts = claim.scopeRecordedAt + delay;
            if (
                claim.validAfter < counts
                    && _confirmed[claim.agent][claim.capability] != claim.scopeRecordedAt
            ) {
                claim.validAfter = counts;
            }
        }
        if (claim.validAfter >= claim.validUntil) {
            revert SmartAccount_NeverGood(uint48(claim.validAfter), uint48(claim.validUntil));
        }
    }

    /// @dev Makes calls and then compares what every limited asset fell by with what the calls said.
    function _runWatched(Execution[] calldata calls) private {
        // Neither frozen nor with limited tokens, as mostly.
        if (_settingsWord() >> 232 == 0) {
            _runWatchingNative(calls);
            return;
        }
        _requireNotFrozen();
        address[] memory tokens = _tokens;
        uint256[] memory before = new uint256[](tokens.length);
        for (uint256 i = 0; i < tokens.length; ++i) {
            before[i] = AccountCalls.balanceOf(tokens[i]);
        }
        _runWatchingNative(calls);
        for (uint256 i = 0; i < tokens.length; ++i) {
            uint256 declared = 0;
            for (uint256 j = 0; j < calls.length; ++j) {
                if (calls[j].target != tokens[i]) continue;
                // slither-disable-next-line unused-return what is no ERC-20 call declares zero
                (, uint256 amount) = AccountCalls.erc20Amount(calls[j].callData);
                declared += amount;
            }
            _requireFell(tokens[i], before[i], AccountCalls.balanceOf(tokens[i]), declared);
        }
    }

    function _runWatchingNative(Execution[] calldata calls) private {
        uint256 before = address(this).balance;
        uint256 declared = 0;
        for (uint256 i = 0; i < calls.length; ++i) {
            Execution calldata call = calls[i];
            // Each was held against a limit below 2^104.
            unchecked {
                declared += call.value;
            }
            AccountCalls.run(i, call.target, call.value, call.callData);
        }
        _requireFell(address(0), before, address(this).balance, declared);
    }

    function _requireFell(address asset, uint256 before, uint256 current, uint256 declared)
        private
        pure
    {
        if (current < before && before - current > declared) {
            revert SmartAccount_FellTooFar(asset, declared, before - current);
        }
    }

    /// @dev The most that an operation can cost in fees: what the EntryPoint takes in advance. A
    /// paymaster's gas is counted too, since a paymaster may want it back from the account.
    function _maxFeeOf(PackedUserOperation calldata userOp) private pure returns (uint256) {
        uint256 gasLimits = uint256(userOp.accountGasLimits);
        // The EntryPoint has checked that each is below 2^120.
        unchecked {
            uint256 gasLimit = (gasLimits >> 128) + uint128(gasLimits) + userOp.preVerificationGas;
            bytes calldata paymaster = userOp.paymasterAndData;
            if (paymaster.length != 0) {
                gasLimit += uint256(uint128(bytes16(paymaster[0x14:0x24])))
                + uint128(bytes16(paymaster[0x24:0x34]));
            }
            return gasLimit * uint128(uint256(userOp.gasFees));
        }
    }

    /// @dev The calls of an operation, which must call `execute` in the mode without `opData`. What is
    /// read here lies where `execute` will read it: the offset of `executionData` is fixed.
    function _callsOf(bytes calldata callData) private pure returns (Execution[] calldata calls) {
        if (
            callData.length < 0x64 || bytes4(callData) != this.execute.selector
                || AccountCalls.word(callData, 0x24) != 0x40
        ) {
            revert SmartAccount_BadCallData();
        }
        bytes32 mode = bytes32(AccountCalls.word(callData, 0x04));
        if (mode != AccountCalls.MODE_BATCH) revert SmartAccount_BadMode(mode);
        uint256 length = AccountCalls.word(callData, 0x44);
        if (length > callData.length - 0x64) revert SmartAccount_BadCallData();
        return AccountCalls.decode(callData[0x64:0x64 + length]);
    }
}
// forge-lint: disable-end(unsafe-typecast)
