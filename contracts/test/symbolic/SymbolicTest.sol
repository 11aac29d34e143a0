// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "forge-std/Base.sol";

/// @notice The cheatcodes of Halmos that the proofs use.
interface ISvm {
    /// @notice Makes every slot of `account` an arbitrary value, also those nobody has written.
    function enableSymbolicStorage(address account) external;

    /// @notice `byteSize` arbitrary bytes.
    function createBytes(uint256 byteSize, string calldata name)
        external
        view
        returns (bytes memory);

    /// @notice A hash of all that is stored in `account`.
    function snapshotStorage(address account) external view returns (uint256);

    /// @notice An arbitrary word.
    function createUint256(string calldata name) external view returns (uint256);
}

/// @notice What every proof needs. Functions named `check_…` are run by Halmos (script/prove), never
/// by forge: a proof holds when no input makes a Solidity `assert` fail.
abstract contract SymbolicTest is TestBase {
    ISvm internal constant SVM = ISvm(address(uint160(uint256(keccak256("svm cheat code")))));

    /// @dev Deploys production bytecode and makes all of its storage arbitrary.
    function _deployArbitrary(string memory artifact) internal returns (address deployed) {
        deployed = _create(vm.getCode(artifact));
        SVM.enableSymbolicStorage(deployed);
    }

    function _create(bytes memory initCode) internal returns (address deployed) {
        assembly ("memory-safe") {
            deployed := create(0, add(initCode, 0x20), mload(initCode))
        }
        assert(deployed != address(0));
    }

    /// @dev Calls `target` as `sender`, whether or not that reverts.
    function _callAs(address sender, address target, bytes memory data) internal returns (bool ok) {
        vm.prank(sender);
        (ok,) = target.call(data);
    }

    /// @dev The same code at another address, in an arbitrary state of its own.
    function _elsewhere(address deployed) internal returns (address elsewhere) {
        elsewhere = address(0xE15E);
        vm.etch(elsewhere, deployed.code);
        SVM.enableSymbolicStorage(elsewhere);
    }

    /// @dev The chain it was deployed on, or any other one. (Halmos takes the hash of an arbitrary word
    /// for another one than the hash of 31337, also where that word is 31337: hence the branch.)
    function _onAnyChain(uint256 chainId) internal {
        if (chainId != block.chainid) vm.chainId(chainId);
    }

    // ------------------------------------------------- from the specification

    /// @dev Zero when the id spells no authority.
    function _authority(bytes32 tenantId) internal pure returns (address) {
        uint256 word = uint256(tenantId);
        // forge-lint: disable-next-line(unsafe-typecast) zero where that would cut something off
        return address(uint160(_select(word >> 160 == 0, word, 0)));
    }

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

    /// @dev What is signed for `message` under EIP-712.
    function _typedData(bytes32 domain, bytes32 message) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    /// @dev Who signed, by either form of an ECDSA signature; zero for bytes that are neither.
    function _recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        if (signature.length == 65) {
            return ecrecover(
                digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64])
            );
        }
        if (signature.length == 64) {
            uint256 vs = uint256(bytes32(signature[32:64]));
            // forge-lint: disable-next-line(unsafe-typecast) one bit and 27
            uint8 v = uint8((vs >> 255) + 27);
            return ecrecover(digest, v, bytes32(signature[:32]), bytes32((vs << 1) >> 1));
        }
        return address(0);
    }

    /// @dev `&&` without a branch, which would double the paths.
    function _and(bool a, bool b) internal pure returns (bool both) {
        assembly ("memory-safe") {
            both := and(a, b)
        }
    }

    /// @dev `||` without a branch.
    function _or(bool a, bool b) internal pure returns (bool either) {
        assembly ("memory-safe") {
            either := or(a, b)
        }
    }

    /// @dev `condition ? yes : no` without a branch.
    function _select(bool condition, uint256 yes, uint256 no)
        internal
        pure
        returns (uint256 chosen)
    {
        assembly ("memory-safe") {
            chosen := xor(no, and(xor(no, yes), sub(0, condition)))
        }
    }

    /// @dev The same for words that are no numbers.
    function _select(bool condition, bytes32 yes, bytes32 no) internal pure returns (bytes32) {
        return bytes32(_select(condition, uint256(yes), uint256(no)));
    }
}
