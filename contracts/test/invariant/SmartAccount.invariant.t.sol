// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StdInvariant} from "forge-std/StdInvariant.sol";

import {SmartAccountAttacker} from "./SmartAccountAttacker.sol";

/// @notice I6, once for every key: whoever has it alone takes nothing while the guardian vetoes in time
/// and the account's honest life goes on.
abstract contract OneStolenKey is SmartAccountAttacker, StdInvariant {
    function setUp() public override {
        super.setUp();
        bytes4[] memory selectors = new bytes4[](16);
        selectors[0] = this.operate.selector;
        selectors[1] = this.operateDirectly.selector;
        selectors[2] = this.propose.selector;
        selectors[3] = this.passGates.selector;
        selectors[4] = this.changeTogether.selector;
        selectors[5] = this.schedule.selector;
        selectors[6] = this.applyScheduled.selector;
        selectors[7] = this.takeOver.selector;
        selectors[8] = this.callAnything.selector;
        selectors[9] = this.signForTheAccount.selector;
        selectors[10] = this.takeDirectly.selector;
        selectors[11] = this.wait.selector;
        selectors[12] = this.passGates.selector;
        selectors[13] = this.pay.selector;
        selectors[14] = this.pay.selector;
        selectors[15] = this.interfere.selector;
        targetContract(address(this));
        targetSelector(FuzzSelector(address(this), selectors));
    }

    /// @dev The honest part goes on beside the attack: every payment in every way.
    function test_LifeGoesOn() public {
        for (uint256 i = 0; i < 12; ++i) {
            this.pay(i % 4, i / 4);
            this.interfere(0, false);
        }
        assertEq(paid, 12);
        assertEq(taken, "");
        assertLt(_native, 101 ether - 0.2 ether);
        assertEq(_tokens, 1_000_000 - 60);
    }

    function invariant_I6_NoSingleKeyMovesValue() public view {
        assertEq(taken, "", "taken");
    }
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenOwnerInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("owner"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenAgentInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("agent"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenVerdictSignerInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("verdict signer"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenApproverInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("approver"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenAuthoriserInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("authoriser"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenExecutorInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("executor"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenGuardianInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("guardian"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenGasWalletInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("gas wallet"))) {}
}

/// forge-config: default.invariant.runs = 16
/// forge-config: default.invariant.depth = 56
contract StolenAnchorerInvariantTest is OneStolenKey {
    constructor() SmartAccountAttacker(uint256(keccak256("anchorer"))) {}
}
