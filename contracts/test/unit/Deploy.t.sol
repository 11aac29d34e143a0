// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Deploy} from "../../../script/Deploy.s.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";

contract DeployTest is AuditAnchorTest {
    /// @dev The address follows from the code alone; a second run finds it and sends nothing.
    function test_DeploysOnceAtAnAddressThatFollowsFromTheCode() public {
        bytes32 codeHash = keccak256(vm.getCode("AuditAnchor.sol:AuditAnchor"));
        bytes memory preimage = abi.encodePacked(hex"ff", CREATE2_FACTORY, bytes32(0), codeHash);
        address expected = address(uint160(uint256(keccak256(preimage))));
        assertEq(expected.code.length, 0);

        Deploy script = new Deploy();
        assertEq(script.run(), expected);
        bytes32 deployed = expected.codehash;
        assertGt(expected.code.length, 0);
        assertEq(script.run(), expected);
        assertEq(expected.codehash, deployed);
    }

    function test_SaysWhenTheChainHasNoDeployer() public {
        Deploy script = new Deploy();
        vm.etch(CREATE2_FACTORY, "");
        vm.expectRevert(
            abi.encodeWithSelector(
                Deploy.Deploy_NoDeployer.selector, CREATE2_FACTORY, block.chainid
            )
        );
        script.run();
    }
}
