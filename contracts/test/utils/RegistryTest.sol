// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {StorageLayout} from "./StorageLayout.sol";
import {AnsweringWallet, SafeWallet} from "./Wallets.sol";

/// @notice What the tests of both registries share: two tenants that are EOAs, a stranger, wallets, and
/// EIP-712 made from the specification instead of from the contracts.
abstract contract RegistryTest is StorageLayout {
    uint256 internal constant ALICE_KEY = uint256(keccak256("alice"));
    uint256 internal constant BOB_KEY = uint256(keccak256("bob"));
    uint256 internal constant STRANGER_KEY = uint256(keccak256("stranger"));

    uint48 internal constant START = 1_760_000_000;
    uint64 internal constant DEADLINE = START + 1 hours;

    address internal alice = vm.addr(ALICE_KEY);
    address internal bob = vm.addr(BOB_KEY);
    address internal stranger = vm.addr(STRANGER_KEY);
    bytes32 internal aliceId = _id(alice);
    bytes32 internal bobId = _id(bob);

    // -------------------------------------------------------------- wallets

    /// @dev Two of three; the keys come in ascending order of their addresses.
    function _safe() internal returns (address safe, uint256[] memory keys) {
        keys = new uint256[](3);
        address[] memory owners = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            keys[i] = uint256(keccak256(abi.encode("owner", i)));
            for (uint256 j = i; j > 0 && vm.addr(keys[j]) < vm.addr(keys[j - 1]); --j) {
                (keys[j], keys[j - 1]) = (keys[j - 1], keys[j]);
            }
        }
        for (uint256 i = 0; i < 3; ++i) {
            owners[i] = vm.addr(keys[i]);
        }
        safe = address(new SafeWallet(owners, 2));
    }

    function _answering(bytes memory answer, bool reverts) internal returns (address) {
        return address(new AnsweringWallet(answer, reverts));
    }

    /// @dev The magic word, and what is near it: only the first is a yes.
    function _answers() internal returns (address yes, address[7] memory noes) {
        bytes32 magic = bytes32(bytes4(0x1626ba7e));
        yes = _answering(abi.encode(magic), false);
        noes = [
            _answering(abi.encode(magic), true),
            _answering("", false),
            _answering("", true),
            _answering(abi.encodePacked(bytes4(0x1626ba7e)), false),
            _answering(abi.encode(bytes32(uint256(magic) | 1)), false),
            _answering(abi.encode(uint256(1)), false),
            _answering(new bytes(20_000), false)
        ];
    }

    /// @dev Gives an EOA code, as EIP-7702 does.
    function _delegate(address eoa, address code) internal {
        vm.etch(eoa, abi.encodePacked(hex"ef0100", code));
    }

    // ------------------------------------------------------------- signing

    function _domain(string memory name, uint256 chainId, address verifyingContract)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(name)),
                keccak256("1"),
                chainId,
                verifyingContract
            )
        );
    }

    function _typed(bytes32 domain, bytes memory encoded) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(encoded)));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _signCompact(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        return abi.encodePacked(r, vs);
    }

    // ---------------------------------------------------------------- gas

    /// @dev What a transaction costs before any code runs: its base cost and its calldata.
    function _intrinsic(bytes memory data) internal pure returns (uint256 gas) {
        gas = 21_000;
        for (uint256 i = 0; i < data.length; ++i) {
            gas += data[i] == 0 ? 4 : 16;
        }
    }

    /// @dev Gas that `target` itself uses for `data`, with cold storage and without the CALL: of a
    /// transaction (this needs `isolate`), what is left without its intrinsic cost.
    function _calleeGas(address target, bytes memory data) internal returns (uint256) {
        (bool ok,) = target.call(data);
        assertTrue(ok, "the measured call failed");
        return vm.lastCallGas().gasTotalUsed - _intrinsic(data);
    }
}
