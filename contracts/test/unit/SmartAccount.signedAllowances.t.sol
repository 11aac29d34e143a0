// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {NestedSignatures} from "../utils/NestedSignatures.sol";
import {Permit2Like, PermitToken} from "../utils/SignedAllowances.sol";

/// @notice `permit` and Permit2: allowances and transfers that a signature makes. They ask the account,
/// which signs for no single key; and what an agent lets Permit2 have, counts when it does.
contract SmartAccountSignedAllowancesTest is NestedSignatures {
    PermitToken private _permitToken;
    Permit2Like private _permit2 = new Permit2Like();

    function setUp() public override {
        super.setUp();
        _permitToken = new PermitToken();
        token = _permitToken;
        token.mint(address(account), 1_000_000);
        _allowToken(100, 250);
    }

    /// @dev What one key can make of a hash: bare, nested, twice, and with the guardian's or a
    /// stranger's beside it.
    function _byOne(uint256 key, bytes32 app, bytes32 contents, string memory contentsType)
        private
        view
        returns (bytes[5] memory)
    {
        bytes32 nested = _nested(address(account), app, contents, contentsType);
        return [
            _sign(key, _typed(app, contents)),
            _wrap(_sign(key, nested), app, contents, contentsType),
            _signNested(key, key, app, contents, contentsType),
            _signNested(key, GUARDIAN_KEY, app, contents, contentsType),
            _signNested(STRANGER_KEY, key, app, contents, contentsType)
        ];
    }

    function _permit(bytes memory signature) private returns (bool ok) {
        (ok,) = address(token)
            .call(
                abi.encodeCall(_permitToken.permit, (address(account), stranger, 7, 0, signature))
            );
    }

    function test_PermitTakesTwoPrincipals() public {
        bytes32 app = _permitToken.domain();
        bytes32 contents = _permitToken.contentsOf(address(account), stranger, 7, 0);
        string memory permit = _permitToken.PERMIT();
        uint256[7] memory keys = [
            OWNER_KEY,
            APPROVER_KEY,
            AUTHORISER_KEY,
            EXECUTOR_KEY,
            GUARDIAN_KEY,
            AGENT_KEY,
            SIGNER_KEY
        ];
        for (uint256 i = 0; i < keys.length; ++i) {
            bytes[5] memory bad = _byOne(keys[i], app, contents, permit);
            for (uint256 j = 0; j < bad.length; ++j) {
                assertFalse(_permit(bad[j]));
            }
        }
        bytes memory good = _signNested(OWNER_KEY, APPROVER_KEY, app, contents, permit);
        vm.prank(guardian);
        account.freeze();
        assertFalse(_permit(good), "frozen");
        _together(address(account), abi.encodeCall(account.unfreeze, ()));
        assertTrue(_permit(good));
        assertEq(token.allowance(address(account), stranger), 7);
    }

    function _approvePermit2(uint256 amount) private {
        _callAs(
            agent,
            _direct(
                _calls(
                    address(token), 0, abi.encodeCall(IERC20.approve, (address(_permit2), amount))
                ),
                _terms(PAY_TOKEN)
            )
        );
    }

    function _pull(bytes memory signature) private returns (bool ok) {
        (ok,) = address(_permit2)
            .call(
                abi.encodeCall(
                    _permit2.permitTransferFrom,
                    (IERC20(address(token)), 60, address(account), stranger, 0, signature)
                )
            );
    }

    function test_APermit2TransferTakesTwoPrincipals() public {
        _approvePermit2(100);
        bytes32 app = _permit2.domain();
        bytes32 contents = _permit2.contentsOf(IERC20(address(token)), 60, stranger, 0);
        string memory transfer = _permit2.TRANSFER();
        bytes[5] memory bad = _byOne(EXECUTOR_KEY, app, contents, transfer);
        for (uint256 i = 0; i < bad.length; ++i) {
            assertFalse(_pull(bad[i]));
        }
        assertTrue(_pull(_signNested(AUTHORISER_KEY, EXECUTOR_KEY, app, contents, transfer)));
        assertEq(token.balanceOf(stranger), 60);
    }

    /// @dev Whatever is allowed within Permit2, Permit2 itself has no more than was counted.
    function test_APermit2AllowanceIsWorthWhatWasCounted() public {
        _approvePermit2(100);
        bytes4 selector = _permit2.approve.selector;
        _grant(agent, CALL_TARGET, IMCPAgentRegistry.Limits(0, address(_permit2), selector, 0));
        bytes memory data = abi.encodeCall(
            _permit2.approve,
            (IERC20(address(token)), stranger, type(uint160).max, type(uint48).max)
        );
        _callAs(agent, _direct(_calls(address(_permit2), 0, data), _terms(CALL_TARGET)));
        vm.startPrank(stranger);
        _permit2.transferFrom(address(account), stranger, 100, IERC20(address(token)));
        vm.expectRevert();
        _permit2.transferFrom(address(account), stranger, 1, IERC20(address(token)));
        vm.stopPrank();
        assertEq(token.balanceOf(stranger), 100);
        (, uint256 today) = account.spentOf(address(token), START_DAY);
        assertEq(today, 100, "counted when it was allowed");
    }
}
