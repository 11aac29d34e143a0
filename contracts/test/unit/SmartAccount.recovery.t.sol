// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IMCPAgentRegistry} from "../../interfaces/IMCPAgentRegistry.sol";
import {IPolicyRegistry} from "../../interfaces/IPolicyRegistry.sol";
import {ISmartAccount} from "../../interfaces/ISmartAccount.sol";
import {SmartAccountTest} from "../utils/SmartAccountTest.sol";
import {SafeWallet} from "../utils/Wallets.sol";

/// @notice No single stolen key ends an account: the others replace it, whatever it does meanwhile.
/// Nor does one key use what two others sign for something else.
contract SmartAccountRecoveryTest is SmartAccountTest {
    address private _successor = _address("successor", 0);

    function _roleIs(address holder, ISmartAccount.Role expected) private view {
        (ISmartAccount.Role role,) = account.roleOf(holder);
        assertEq(uint8(role), uint8(expected));
    }

    function _frozen() private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISmartAccount.SmartAccount_Frozen.selector);
    }

    // --------------------------------------------------------------- one stolen

    /// @dev The thief sees who shall succeed him, and has an agent and a verdict signer made of him.
    function test_AStolenOwnerCannotKeepItsSuccessorOut() public {
        bytes memory change = abi.encodeCall(account.replaceHolder, (owner, _successor));
        vm.prank(approver);
        uint64 id = account.schedule(address(account), change);
        bytes memory grant = abi.encodeCall(
            account.schedule,
            (
                address(agents),
                _grantData(_successor, PAY, IMCPAgentRegistry.Limits(1, address(0), 0, 0))
            )
        );
        IPolicyRegistry.Policy memory policy = _policy();
        policy.verdictSigner = _address("successor", 1);
        bytes memory publish = abi.encodeCall(
            account.schedule,
            (
                address(policies),
                abi.encodeCall(policies.publish, (tenantId, 2, policy, type(uint64).max, ""))
            )
        );
        _callAs(owner, publish);
        _callAs(owner, grant);
        vm.startPrank(guardian);
        account.freeze();
        account.revokeAgent(_successor);
        account.revokePolicy();
        vm.stopPrank();
        _expectFail(owner, grant, _frozen());
        _expectFail(owner, publish, _frozen());
        vm.warp(START + DELAY);
        _callAs(approver, abi.encodeCall(account.applyScheduled, (id, address(account), change)));
        _roleIs(_successor, ISmartAccount.Role.Owner);
        _roleIs(owner, ISmartAccount.Role.None);
    }

    /// @dev An agent has no role before its grants are dead.
    function test_AnAgentGetsARoleOnlyOnceItIsNone() public {
        bytes memory change = abi.encodeCall(account.setGate, (agent, ISmartAccount.Role.Executor));
        bytes memory signature = _signChange(APPROVER_KEY, address(account), change, START);
        bytes memory data = abi.encodeCall(
            account.changeTogether, (address(account), change, START, approver, signature)
        );
        bytes memory reason = abi.encodeWithSelector(
            ISmartAccount.SmartAccount_BadRole.selector, agent, ISmartAccount.Role.Executor
        );
        _expectFail(owner, data, reason);
        // One of its grants is not all of them.
        vm.prank(guardian);
        account.revokeGrant(agent, PAY);
        _expectFail(owner, data, reason);
        vm.prank(guardian);
        account.revokeAgent(agent);
        _callAs(owner, data);
        _roleIs(agent, ISmartAccount.Role.Executor);
        assertFalse(agents.isScoped(tenantId, agent, PAY));
    }

    function test_AStolenGuardianIsReplacedAtOnce() public {
        vm.startPrank(guardian);
        account.freeze();
        account.lengthenDelay(30 days);
        account.revokePolicy();
        account.lowerLimit(address(0), 0, 0);
        vm.stopPrank();
        _together(address(account), abi.encodeCall(account.replaceGuardian, (guardian, _successor)));
        _roleIs(guardian, ISmartAccount.Role.None);
        _expectFail(
            guardian,
            abi.encodeCall(account.freeze, ()),
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_WrongRole.selector, guardian, ISmartAccount.Role.None
            )
        );
        _together(address(account), abi.encodeCall(account.unfreeze, ()));
    }

    /// @dev Also the only one, which nobody else can sign together with.
    function test_AStolenGateIsRemoved() public {
        bytes memory change = abi.encodeCall(account.setGate, (executor, ISmartAccount.Role.None));
        _together(address(account), change);
        _roleIs(executor, ISmartAccount.Role.None);

        ISmartAccount.Configuration memory configuration = _configuration();
        configuration.holders = new bytes32[](3);
        configuration.holders[0] = _holder(owner, ISmartAccount.Role.Owner);
        configuration.holders[1] = _holder(guardian, ISmartAccount.Role.Guardian);
        configuration.holders[2] = _holder(executor, ISmartAccount.Role.Executor);
        account = ISmartAccount(factory.createAccount(configuration, 0));
        vm.prank(owner);
        uint64 id = account.schedule(address(account), change);
        vm.prank(executor);
        account.freeze();
        vm.warp(START + DELAY);
        vm.prank(owner);
        account.applyScheduled(id, address(account), change);
        _roleIs(executor, ISmartAccount.Role.None);
    }

    /// @dev Then nobody could ever outvote a stolen guardian.
    function test_NoAccountStartsWithoutAGate() public {
        ISmartAccount.Configuration memory configuration = _configuration();
        configuration.holders = new bytes32[](2);
        configuration.holders[0] = _holder(owner, ISmartAccount.Role.Owner);
        configuration.holders[1] = _holder(guardian, ISmartAccount.Role.Guardian);
        vm.expectRevert(
            abi.encodeWithSelector(
                ISmartAccount.SmartAccount_BadRole.selector, address(0), ISmartAccount.Role.None
            )
        );
        factory.createAccount(configuration, 0);
        ISmartAccount.Role[3] memory gates = [
            ISmartAccount.Role.Approver, ISmartAccount.Role.Authoriser, ISmartAccount.Role.Executor
        ];
        for (uint256 i = 0; i < 3; ++i) {
            configuration.holders = new bytes32[](3);
            configuration.holders[0] = _holder(owner, ISmartAccount.Role.Owner);
            configuration.holders[1] = _holder(guardian, ISmartAccount.Role.Guardian);
            configuration.holders[2] = _holder(stranger, gates[i]);
            assertGt(factory.createAccount(configuration, 0).code.length, 0);
        }
    }

    /// @dev Nobody but itself takes a gate's role at once.
    function test_AGateRenouncesOnlyItsOwnRole() public {
        address[4] memory all = [owner, guardian, agent, stranger];
        for (uint256 i = 0; i < all.length; ++i) {
            (ISmartAccount.Role role,) = account.roleOf(all[i]);
            _expectFail(
                all[i],
                abi.encodeCall(account.renounce, ()),
                abi.encodeWithSelector(ISmartAccount.SmartAccount_WrongRole.selector, all[i], role)
            );
        }
        vm.prank(approver);
        account.renounce();
        _roleIs(approver, ISmartAccount.Role.None);
        _roleIs(authoriser, ISmartAccount.Role.Authoriser);
        _roleIs(executor, ISmartAccount.Role.Executor);
    }

    // ------------------------------------------------------ what two have signed

    /// @dev Two extend a grant; what one of them has put in its place just before is not confirmed.
    function test_AnExtensionConfirmsNoLimitsOfOneKey() public {
        _callAs(agent, _direct(_send(1), _terms()));
        vm.prank(owner);
        account.schedule(
            address(agents),
            _grantData(agent, PAY, IMCPAgentRegistry.Limits(type(uint80).max, address(0), 0, 0))
        );
        _together(
            address(agents),
            abi.encodeCall(agents.extend, (tenantId, agent, PAY, START + 4000 days))
        );
        Terms memory terms = _terms();
        bytes memory reason = abi.encodeWithSelector(
            ISmartAccount.SmartAccount_NeverGood.selector, START + DELAY, terms.validUntil
        );
        _expectFail(agent, _direct(_send(1), terms), reason);
        // Later in the delay it is no better.
        vm.warp(START + DELAY);
        _together(
            address(agents),
            abi.encodeCall(agents.extend, (tenantId, agent, PAY, START + 5000 days))
        );
        terms = _terms();
        reason = abi.encodeWithSelector(
            ISmartAccount.SmartAccount_NeverGood.selector, START + 2 * DELAY, terms.validUntil
        );
        _expectFail(agent, _direct(_send(1), terms), reason);
        // A second after it, it counts, and two may extend it at once.
        vm.warp(START + 2 * DELAY + 1);
        _together(
            address(agents),
            abi.encodeCall(agents.extend, (tenantId, agent, PAY, START + 6000 days))
        );
        _callAs(agent, _direct(_send(1), _terms()));
    }

    function test_TwoExtendWhatTwoGranted() public {
        _together(
            address(agents),
            abi.encodeCall(agents.extend, (tenantId, agent, PAY, START + 4000 days))
        );
        _callAs(agent, _direct(_send(1), _terms()));
    }

    /// @dev A wallet of contract code may hold a role, and sign with as many keys as it wants.
    function test_ASafeHoldsARole() public {
        address[] memory owners = new address[](2);
        (uint256 low, uint256 high) = (STRANGER_KEY, EXECUTOR_KEY);
        if (vm.addr(low) > vm.addr(high)) (low, high) = (high, low);
        (owners[0], owners[1]) = (vm.addr(low), vm.addr(high));
        address safe = address(new SafeWallet(owners, 2));
        _together(
            address(account), abi.encodeCall(account.setGate, (safe, ISmartAccount.Role.Approver))
        );
        bytes memory change = abi.encodeCall(account.setLimit, (address(0), 5 ether, 5 ether));
        (uint64 nonce,) = account.counters();
        bytes32 digest = _changeDigest(account, address(account), change, nonce, START);
        bytes memory one = _sign(low, digest);
        _expectFail(
            owner,
            abi.encodeCall(account.changeTogether, (address(account), change, START, safe, one)),
            abi.encodeWithSelector(ISmartAccount.SmartAccount_BadSignature.selector, safe, digest)
        );
        bytes memory both = abi.encodePacked(one, _sign(high, digest));
        vm.prank(owner);
        account.changeTogether(address(account), change, START, safe, both);
        (uint104 perCall,,) = account.limitOf(address(0));
        assertEq(perCall, 5 ether);
    }
}
