// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Execution} from "@openzeppelin/contracts/interfaces/draft-IERC7579.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {NestedSignatures} from "../utils/NestedSignatures.sol";

/// @notice A signature is value: the account signs what passed the gates, or what two non-guardian
/// principals signed, nested as ERC-7739 says, and nothing while it is frozen.
contract SmartAccountSignaturesTest is NestedSignatures {
    bytes4 private constant YES = 0x1626ba7e;
    bytes4 private constant NO = 0xffffffff;

    /// @dev What an application asks about: its domain and a struct of its own.
    bytes32 private constant APP = keccak256("the application's domain separator");
    string private constant CONTENTS_TYPE = "Order(uint256 amount)";

    function _contents() private pure returns (bytes32) {
        return keccak256(abi.encode(keccak256(bytes(CONTENTS_TYPE)), uint256(1)));
    }

    function _hash() private pure returns (bytes32) {
        return _typed(APP, _contents());
    }

    function _signed(uint256 first, uint256 second, bytes32 nested)
        private
        pure
        returns (bytes memory)
    {
        return _wrap(
            abi.encodePacked(_sign(first, nested), _sign(second, nested)),
            APP,
            _contents(),
            CONTENTS_TYPE
        );
    }

    function _ask(bytes32 hash, bytes memory signature) private view returns (bytes4) {
        return IERC1271(address(account)).isValidSignature(hash, signature);
    }

    function _nestedHere() private view returns (bytes32) {
        return _nested(address(account), APP, _contents(), CONTENTS_TYPE);
    }

    /// @dev Of all pairs of keys, exactly those of two different principals without the guardian.
    function test_TwoNonGuardianPrincipalsSign() public view {
        uint256[8] memory keys = [
            OWNER_KEY,
            APPROVER_KEY,
            AUTHORISER_KEY,
            EXECUTOR_KEY,
            GUARDIAN_KEY,
            AGENT_KEY,
            SIGNER_KEY,
            STRANGER_KEY
        ];
        bytes32 nested = _nestedHere();
        for (uint256 i = 0; i < keys.length; ++i) {
            for (uint256 j = 0; j < keys.length; ++j) {
                bytes4 answer = _ask(_hash(), _signed(keys[i], keys[j], nested));
                assertEq(answer, i < 4 && j < 4 && i != j ? YES : NO);
            }
        }
    }

    function test_OneSignatureIsNone() public view {
        bytes32 nested = _nestedHere();
        bytes memory one = _sign(OWNER_KEY, nested);
        assertEq(_ask(_hash(), _wrap(one, APP, _contents(), CONTENTS_TYPE)), NO);
        assertEq(_ask(_hash(), one), NO);
        assertEq(_ask(_hash(), ""), NO);
    }

    /// @dev Two good signatures of the bare hash, or of another account's nested one, are none.
    function test_OnlyNestedForThisAccount() public {
        assertEq(_ask(_hash(), _signed(OWNER_KEY, APPROVER_KEY, _hash())), NO);
        assertEq(
            _ask(
                _hash(), abi.encodePacked(_sign(OWNER_KEY, _hash()), _sign(APPROVER_KEY, _hash()))
            ),
            NO
        );
        address twin = factory.createAccount(_configuration(), "twin");
        bytes32 other = _nested(twin, APP, _contents(), CONTENTS_TYPE);
        assertEq(_ask(_hash(), _signed(OWNER_KEY, APPROVER_KEY, other)), NO);
        // Nor does a gas price of zero, as in an RPC call, change that.
        vm.txGasPrice(0);
        assertEq(_ask(_hash(), _signed(OWNER_KEY, APPROVER_KEY, _hash())), NO);
    }

    function test_TellsThatItNests() public view {
        bytes32 question = 0x7739773977397739773977397739773977397739773977397739773977397739;
        assertEq(_ask(question, ""), bytes4(0x77390001));
    }

    function test_NothingWhileFrozen() public {
        bytes memory signature = _signed(OWNER_KEY, APPROVER_KEY, _nestedHere());
        assertEq(_ask(_hash(), signature), YES);
        _allow(_hash(), START + 1 days);
        assertEq(_ask(_hash(), ""), YES);
        vm.prank(guardian);
        account.freeze();
        assertEq(_ask(_hash(), signature), NO);
        assertEq(_ask(_hash(), ""), NO);
    }

    function test_WhatPassedTheGatesIsSigned() public {
        assertEq(_ask(_hash(), ""), NO);
        _allow(_hash(), START + 1 days);
        assertEq(_ask(_hash(), ""), YES);
        assertEq(_ask(keccak256("other"), ""), NO);
        vm.warp(START + 1 days);
        assertEq(_ask(_hash(), ""), YES);
        vm.warp(START + 1 days + 1);
        assertEq(_ask(_hash(), ""), NO);
    }

    function test_WhatPassedTheGatesIsTakenBack() public {
        _allow(_hash(), START + 1 days);
        vm.prank(guardian);
        account.disallowSignature(_hash());
        assertEq(_ask(_hash(), ""), NO);
    }

    // -------------------------------------------------------------- arranging

    function _allow(bytes32 hash, uint48 until) private {
        Execution[] memory calls =
            _calls(address(account), 0, abi.encodeCall(account.allowSignature, (hash, until)));
        Terms memory terms = _terms();
        terms.outcome = IPolicyRegistry.Outcome.ESCALATE;
        uint256 nonce = _nonceOf(agent, 0);
        bytes memory authorisation = _authorisation(terms, agent, nonce, calls);
        vm.prank(agent);
        bytes32 id = account.propose(calls, nonce, authorisation);
        vm.prank(approver);
        account.approve(id);
        vm.prank(authoriser);
        account.authorise(id);
        vm.prank(executor);
        account.executeProposal(
            ISmartAccount.Proposal(agent, PAY, 1, nonce, terms.validUntil, _hashCalls(calls)), calls
        );
    }
}
