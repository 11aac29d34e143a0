// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title TenantIds
/// @notice A tenant's id is the address of its authority, padded with zeros on the left.
library TenantIds {
    /// @notice The id of the tenant whose authority is `authority`.
    function fromAuthority(address authority) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(authority)));
    }

    /// @notice The authority that `tenantId` spells.
    /// @return Zero when it spells none: any of the top 96 bits is set, or the id is zero.
    function authorityOf(bytes32 tenantId) internal pure returns (address) {
        uint256 word = uint256(tenantId);
        if (word >> 160 != 0) return address(0);
        // forge-lint: disable-next-line(unsafe-typecast) the line above refuses what would be cut off
        return address(uint160(word));
    }
}
