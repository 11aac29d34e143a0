// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Deploy} from "../../../script/Deploy.s.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract DeployTest is BaseTest {
    /// @dev Where ERC-4337 has the EntryPoint v0.8 on every chain.
    address private constant ENTRY_POINT = 0x4337084D9E255Ff0702461CF8895CE9E3b5Ff108;

    Deploy private script;

    function setUp() public {
        script = new Deploy();
    }

    /// @dev The addresses follow from the code alone; a second run finds it all and sends nothing.
    function test_DeploysOnceAtAddressesThatFollowFromTheCode() public {
        Deploy.Deployment memory deployment = script.run();
        assertEq(deployment.entryPoint, ENTRY_POINT);
        assertGt(ENTRY_POINT.code.length, 0);
        _assertAtItsAddress(deployment.auditAnchor, "AuditAnchor", "");
        _assertAtItsAddress(deployment.policyRegistry, "PolicyRegistry", "");
        _assertAtItsAddress(deployment.mcpAgentRegistry, "MCPAgentRegistry", "");
        bytes memory arguments = abi.encode(
            ENTRY_POINT,
            deployment.auditAnchor,
            deployment.policyRegistry,
            deployment.mcpAgentRegistry
        );
        _assertAtItsAddress(deployment.smartAccountFactory, "SmartAccountFactory", arguments);

        string memory description = script.describe(deployment, 0);
        assertEq(abi.encode(script.run()), abi.encode(deployment));
        assertEq(script.describe(deployment, 0), description);
    }

    /// @dev The same addresses on another chain, though the code knows where it is.
    function test_DeploysToTheSameAddressesOnEveryChain() public {
        uint256 before = vm.snapshotState();
        Deploy.Deployment memory here = script.run();
        bytes32 codeHash = here.auditAnchor.codehash;
        vm.revertToState(before);
        vm.chainId(8453);
        assertEq(abi.encode(script.run()), abi.encode(here));
        assertNotEq(here.auditAnchor.codehash, codeHash);
    }

    /// @dev One that is there already does not keep the others from being deployed.
    function test_DeploysWhatIsMissing() public {
        uint256 before = vm.snapshotState();
        Deploy.Deployment memory deployment = script.run();
        vm.revertToState(before);
        bytes memory initCode = vm.getCode("PolicyRegistry.sol:PolicyRegistry");
        (bool ok,) = CREATE2_FACTORY.call(bytes.concat(bytes32(0), initCode));
        assertTrue(ok);
        assertGt(deployment.policyRegistry.code.length, 0);
        assertEq(deployment.auditAnchor.code.length, 0);
        assertEq(abi.encode(script.run()), abi.encode(deployment));
        assertGt(deployment.entryPoint.code.length, 0);
        assertGt(deployment.auditAnchor.code.length, 0);
        assertGt(deployment.mcpAgentRegistry.code.length, 0);
        assertGt(deployment.smartAccountFactory.code.length, 0);
    }

    function test_SaysWhenTheChainHasNoDeployer() public {
        vm.etch(CREATE2_FACTORY, "");
        vm.expectRevert(
            abi.encodeWithSelector(
                Deploy.Deploy_NoDeployer.selector, CREATE2_FACTORY, block.chainid
            )
        );
        script.run();
    }

    /// @dev What the Rust side reads; it has tests of its own that read such a file.
    function test_DescribesWhatIsWhere() public {
        Deploy.Deployment memory deployment = script.run();
        string memory json = script.describe(deployment, 7);
        assertEq(vm.parseJsonUint(json, ".chainId"), block.chainid);
        assertEq(vm.parseJsonUint(json, ".fromBlock"), 7);
        _assertDescribed(json, ".entryPoint", deployment.entryPoint);
        _assertDescribed(json, ".auditAnchor", deployment.auditAnchor);
        _assertDescribed(json, ".policyRegistry", deployment.policyRegistry);
        _assertDescribed(json, ".mcpAgentRegistry", deployment.mcpAgentRegistry);
        _assertDescribed(json, ".smartAccountFactory", deployment.smartAccountFactory);
    }

    function _assertDescribed(string memory json, string memory key, address target) private view {
        assertEq(vm.parseJsonAddress(json, string.concat(key, ".address")), target, key);
        bytes32 codeHash = vm.parseJsonBytes32(json, string.concat(key, ".codeHash"));
        assertEq(codeHash, target.codehash, key);
    }

    function _assertAtItsAddress(address deployed, string memory name, bytes memory arguments)
        private
        view
    {
        bytes memory code = vm.getCode(string.concat(name, ".sol:", name));
        bytes32 codeHash = keccak256(bytes.concat(code, arguments));
        bytes memory preimage = abi.encodePacked(hex"ff", CREATE2_FACTORY, bytes32(0), codeHash);
        assertEq(deployed, address(uint160(uint256(keccak256(preimage)))), name);
        assertGt(deployed.code.length, 0, name);
    }
}
