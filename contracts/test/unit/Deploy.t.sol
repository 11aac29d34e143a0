// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Deploy} from "../../../script/Deploy.s.sol";
import {AuditAnchorTest} from "../utils/AuditAnchorTest.sol";

contract DeployTest is AuditAnchorTest {
    /// @dev The addresses follow from the code alone; a second run finds it all and sends nothing.
    function test_DeploysOnceAtAddressesThatFollowFromTheCode() public {
        Deploy script = new Deploy();
        Deploy.Deployment memory deployment = script.run();
        bytes32 auditAnchor = _assertAtItsAddress(deployment.auditAnchor, "AuditAnchor");
        bytes32 policyRegistry = _assertAtItsAddress(deployment.policyRegistry, "PolicyRegistry");
        bytes32 agents = _assertAtItsAddress(deployment.mcpAgentRegistry, "MCPAgentRegistry");

        assertEq(abi.encode(script.run()), abi.encode(deployment));
        assertEq(deployment.auditAnchor.codehash, auditAnchor);
        assertEq(deployment.policyRegistry.codehash, policyRegistry);
        assertEq(deployment.mcpAgentRegistry.codehash, agents);
    }

    /// @dev One that is there already does not keep the others from being deployed.
    function test_DeploysWhatIsMissing() public {
        Deploy script = new Deploy();
        uint256 before = vm.snapshotState();
        Deploy.Deployment memory deployment = script.run();
        vm.revertToState(before);
        bytes memory initCode = vm.getCode("PolicyRegistry.sol:PolicyRegistry");
        (bool ok,) = CREATE2_FACTORY.call(bytes.concat(bytes32(0), initCode));
        assertTrue(ok);
        assertGt(deployment.policyRegistry.code.length, 0);
        assertEq(deployment.auditAnchor.code.length, 0);
        assertEq(abi.encode(script.run()), abi.encode(deployment));
        assertGt(deployment.auditAnchor.code.length, 0);
        assertGt(deployment.mcpAgentRegistry.code.length, 0);
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

    function _assertAtItsAddress(address deployed, string memory name)
        private
        view
        returns (bytes32)
    {
        bytes32 codeHash = keccak256(vm.getCode(string.concat(name, ".sol:", name)));
        bytes memory preimage = abi.encodePacked(hex"ff", CREATE2_FACTORY, bytes32(0), codeHash);
        assertEq(deployed, address(uint160(uint256(keccak256(preimage)))), name);
        assertGt(deployed.code.length, 0, name);
        return deployed.codehash;
    }
}
