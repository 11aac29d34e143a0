// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TenantIds} from "../../libraries/TenantIds.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract TenantIdsTest is BaseTest {
    function testFuzz_RoundTrip(address authority) public pure {
        bytes32 tenantId = TenantIds.fromAuthority(authority);
        assertEq(tenantId, bytes32(abi.encode(authority)));
        assertEq(TenantIds.authorityOf(tenantId), authority);
    }

    function testFuzz_NothingElseSpellsAnAuthority(bytes32 tenantId) public pure {
        bool valid = uint256(tenantId) < 2 ** 160;
        address expected = valid ? address(uint160(uint256(tenantId))) : address(0);
        assertEq(TenantIds.authorityOf(tenantId), expected);
    }

    function test_EachOfTheTop96BitsIsRefused() public pure {
        for (uint256 bit = 160; bit < 256; ++bit) {
            bytes32 tenantId = bytes32((uint256(1) << bit) | 0xabcdef);
            assertEq(TenantIds.authorityOf(tenantId), address(0));
        }
        assertEq(
            TenantIds.authorityOf(bytes32(uint256(type(uint160).max))), address(type(uint160).max)
        );
        assertEq(TenantIds.authorityOf(0), address(0));
    }
}
