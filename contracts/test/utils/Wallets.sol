// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "solady/utils/ECDSA.sol";

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";

/// @notice A wallet in the manner of Safe: owners, a threshold, concatenated signatures in ascending
/// order of their signers.
contract SafeWallet {
    bytes4 private constant MAGIC = 0x1626ba7e;

    mapping(address owner => bool is_) public isOwner;
    uint256 public threshold;

    constructor(address[] memory owners, uint256 threshold_) {
        for (uint256 i = 0; i < owners.length; ++i) {
            isOwner[owners[i]] = true;
        }
        threshold = threshold_;
    }

    function swapOwner(address from, address to) external {
        isOwner[from] = false;
        isOwner[to] = true;
    }

    function execute(address to, bytes calldata data) external {
        (bool ok, bytes memory result) = to.call(data);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
    }

    function isValidSignature(bytes32 hash, bytes calldata signatures)
        external
        view
        returns (bytes4)
    {
        if (signatures.length != threshold * 65) return 0xffffffff;
        address last = address(0);
        for (uint256 i = 0; i < threshold; ++i) {
            bytes calldata one = signatures[i * 65:(i + 1) * 65];
            address owner = ECDSA.tryRecoverCalldata(hash, one);
            if (owner <= last || !isOwner[owner]) return 0xffffffff;
            last = owner;
        }
        return MAGIC;
    }
}

/// @notice Uses the question for its signature to call AuditAnchor itself, and accepts anything.
contract ReenteringWallet {
    IAuditAnchor private immutable AUDIT_ANCHOR;

    constructor(IAuditAnchor auditAnchor) {
        AUDIT_ANCHOR = auditAnchor;
    }

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        bytes32 tenantId = bytes32(uint256(uint160(address(this))));
        // A forbidden write in a static call burns all the gas it was given.
        try AUDIT_ANCHOR.setAnchorer{gas: 200_000}(tenantId, address(this)) {} catch {}
        return 0x1626ba7e;
    }
}

/// @notice Answers with whatever bytes it was made with.
contract AnsweringWallet {
    bytes private answer;
    bool private reverts;

    constructor(bytes memory answer_, bool reverts_) {
        answer = answer_;
        reverts = reverts_;
    }

    fallback() external {
        bytes memory data = answer;
        bool refuse = reverts;
        assembly ("memory-safe") {
            if refuse { revert(add(data, 0x20), mload(data)) }
            return(add(data, 0x20), mload(data))
        }
    }
}
