// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ScriptBase} from "forge-std/Base.sol";
import {console} from "forge-std/console.sol";

/// @title Deploy
/// @notice Deploys the contracts by CREATE2, salt zero, through the deployer that is at the same address
/// on every chain: each is at the same address wherever the same source was compiled. Run it as often
/// as you like; what is there already is left alone.
///
/// ```sh
/// forge script script/Deploy.s.sol --rpc-url "$RPC_URL" --broadcast --account <keystore account>
/// ```
///
/// @dev The runtime code holds the chain id and address as immutables (EIP-712), so its hash differs
/// from chain to chain while the address does not.
contract Deploy is ScriptBase {
    /// @dev Tells forge that this is a script.
    bool public constant IS_SCRIPT = true;

    /// @notice Where everything is.
    struct Deployment {
        address auditAnchor;
        address policyRegistry;
        address mcpAgentRegistry;
    }

    bytes32 private constant SALT = 0;

    /// @notice The chain has no CREATE2 deployer at its usual address.
    error Deploy_NoDeployer(address deployer, uint256 chainId);

    /// @notice The deployer did not put the contract where it belongs.
    error Deploy_Failed(address expected);

    /// @notice Deploys what is missing.
    /// @return deployment Where everything is.
    function run() external returns (Deployment memory deployment) {
        deployment.auditAnchor = _deploy("AuditAnchor");
        deployment.policyRegistry = _deploy("PolicyRegistry");
        deployment.mcpAgentRegistry = _deploy("MCPAgentRegistry");
        // A new one is mined after this block, so an indexer can start here.
        console.log("chain %d, seen from block %d", block.chainid, block.number);
    }

    function _deploy(string memory name) private returns (address target) {
        bytes memory initCode = vmSafe.getCode(string.concat(name, ".sol:", name));
        if (CREATE2_FACTORY.code.length == 0) {
            revert Deploy_NoDeployer(CREATE2_FACTORY, block.chainid);
        }
        target = vmSafe.computeCreate2Address(SALT, keccak256(initCode), CREATE2_FACTORY);
        bool already = target.code.length != 0;
        if (!already) {
            vmSafe.broadcast();
            (bool ok,) = CREATE2_FACTORY.call(bytes.concat(SALT, initCode));
            if (!ok || target.code.length == 0) revert Deploy_Failed(target);
        }
        console.log("%s %s %s", name, already ? "is already at" : "deployed at", target);
        console.log("  code hash %s", vmSafe.toString(target.codehash));
    }
}
