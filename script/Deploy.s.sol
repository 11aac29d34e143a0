// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ScriptBase} from "forge-std/Base.sol";
import {VmSafe} from "forge-std/Vm.sol";
import {console} from "forge-std/console.sol";

/// @title Deploy
/// @notice Deploys the contracts by CREATE2 through the deployer that is at the same address on every
/// chain: each is at the same address wherever the same source was compiled. Run it as often as you
/// like; what is there already is left alone.
///
/// ```sh
/// forge script script/Deploy.s.sol --rpc-url base_sepolia --broadcast --keystore <file>
/// ```
///
/// `anvil`, `base_sepolia` and `base` are named in foundry.toml. With `--broadcast` it writes what is
/// where into `target/deployments/<chain id>.json`, or the file that `COFFERDAM_DEPLOYMENT` names.
///
/// @dev The runtime code holds the chain id and address as immutables (EIP-712), so its hash differs
/// from chain to chain while the address does not.
contract Deploy is ScriptBase {
    /// @dev Tells forge that this is a script.
    bool public constant IS_SCRIPT = true;

    /// @notice Where everything is.
    struct Deployment {
        address entryPoint;
        address auditAnchor;
        address policyRegistry;
        address mcpAgentRegistry;
        address smartAccountFactory;
    }

    bytes32 private constant SALT = 0;

    /// @dev The EntryPoint v0.8 as its authors built it, the salt with which they deployed it through
    /// the same deployer, and where it is therefore. Only a local chain lacks it.
    string private constant ENTRY_POINT_ARTIFACT =
        "node_modules/@account-abstraction/contracts/artifacts/EntryPoint.json";
    bytes32 private constant ENTRY_POINT_SALT =
        0x0a59dbff790c23c976a548690c27297883cc66b4c67024f9117b0238995e35e9;
    address private constant ENTRY_POINT = 0x4337084D9E255Ff0702461CF8895CE9E3b5Ff108;

    /// @dev Whether something was there before.
    bool private _found;

    /// @notice The chain has no CREATE2 deployer at its usual address.
    error Deploy_NoDeployer(address deployer, uint256 chainId);

    /// @notice The deployer did not put the contract where it belongs.
    error Deploy_Failed(address expected);

    /// @notice The code gives another address than the one it must have.
    error Deploy_WrongAddress(address expected, address actual);

    /// @notice Deploys what is missing.
    /// @return deployment Where everything is.
    function run() external returns (Deployment memory deployment) {
        if (CREATE2_FACTORY.code.length == 0) {
            revert Deploy_NoDeployer(CREATE2_FACTORY, block.chainid);
        }
        deployment.entryPoint =
            _deploy("EntryPoint", ENTRY_POINT_SALT, vmSafe.getCode(ENTRY_POINT_ARTIFACT));
        if (deployment.entryPoint != ENTRY_POINT) {
            revert Deploy_WrongAddress(ENTRY_POINT, deployment.entryPoint);
        }
        deployment.auditAnchor = _deploy("AuditAnchor", SALT, _code("AuditAnchor"));
        deployment.policyRegistry = _deploy("PolicyRegistry", SALT, _code("PolicyRegistry"));
        deployment.mcpAgentRegistry = _deploy("MCPAgentRegistry", SALT, _code("MCPAgentRegistry"));
        bytes memory arguments = abi.encode(
            deployment.entryPoint,
            deployment.auditAnchor,
            deployment.policyRegistry,
            deployment.mcpAgentRegistry
        );
        deployment.smartAccountFactory = _deploy(
            "SmartAccountFactory", SALT, bytes.concat(_code("SmartAccountFactory"), arguments)
        );
        if (vmSafe.isContext(VmSafe.ForgeContext.ScriptBroadcast)) _write(deployment);
    }

    /// @notice What the deployment file says.
    /// @param deployment Where everything is.
    /// @param fromBlock No event of the contracts is in an earlier block.
    /// @return What the Rust side reads.
    function describe(Deployment memory deployment, uint256 fromBlock)
        public
        view
        returns (string memory)
    {
        return string.concat(
            "{\n  \"chainId\": ",
            vmSafe.toString(block.chainid),
            ",\n  \"fromBlock\": ",
            vmSafe.toString(fromBlock),
            _describe("entryPoint", deployment.entryPoint),
            _describe("auditAnchor", deployment.auditAnchor),
            _describe("policyRegistry", deployment.policyRegistry),
            _describe("mcpAgentRegistry", deployment.mcpAgentRegistry),
            _describe("smartAccountFactory", deployment.smartAccountFactory),
            "\n}\n"
        );
    }

    function _describe(string memory name, address target) private view returns (string memory) {
        return string.concat(
            ",\n  \"",
            name,
            "\": { \"address\": \"",
            vmSafe.toString(target),
            "\", \"codeHash\": \"",
            vmSafe.toString(target.codehash),
            "\" }"
        );
    }

    /// @dev What was deployed now is mined after this block. Since when the rest is there only an
    /// earlier run knows, if its file still tells the same.
    function _write(Deployment memory deployment) private {
        string memory path = vmSafe.envOr(
            "COFFERDAM_DEPLOYMENT",
            string.concat("target/deployments/", vmSafe.toString(block.chainid), ".json")
        );
        uint256 fromBlock = _found ? 0 : block.number;
        if (_found && vmSafe.exists(path)) {
            string memory before = vmSafe.readFile(path);
            uint256 told = vmSafe.parseJsonUint(before, ".fromBlock");
            if (keccak256(bytes(before)) == keccak256(bytes(describe(deployment, told)))) return;
        }
        vmSafe.createDir("target/deployments", true);
        vmSafe.writeFile(path, describe(deployment, fromBlock));
        console.log("chain %d: wrote %s", block.chainid, path);
    }

    function _code(string memory name) private view returns (bytes memory) {
        return vmSafe.getCode(string.concat(name, ".sol:", name));
    }

    function _deploy(string memory name, bytes32 salt, bytes memory initCode)
        private
        returns (address target)
    {
        target = vmSafe.computeCreate2Address(salt, keccak256(initCode), CREATE2_FACTORY);
        bool already = target.code.length != 0;
        if (already) {
            _found = true;
        } else {
            vmSafe.broadcast();
            (bool ok,) = CREATE2_FACTORY.call(bytes.concat(salt, initCode));
            if (!ok || target.code.length == 0) revert Deploy_Failed(target);
        }
        console.log("%s %s %s", name, already ? "is already at" : "deployed at", target);
        console.log("  code hash %s", vmSafe.toString(target.codehash));
    }
}
