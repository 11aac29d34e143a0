// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SmartAccountTest} from "./SmartAccountTest.sol";

/// @notice Signatures for the account as ERC-7739 nests them, made from the specification.
abstract contract NestedSignatures is SmartAccountTest {
    /// @dev ERC-7739 `TypedDataSign` of `of_`.
    function _nested(address of_, bytes32 app, bytes32 contents, string memory contentsType)
        internal
        view
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            abi.encodePacked(
                "TypedDataSign(",
                _nameOf(contentsType),
                " contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)",
                contentsType
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                typeHash,
                contents,
                keccak256("Cofferdam SmartAccount"),
                keccak256("1"),
                block.chainid,
                of_,
                bytes32(0)
            )
        );
        return _typed(app, message);
    }

    /// @dev What two keys sign for the account: a struct of an application's.
    function _signNested(
        uint256 first,
        uint256 second,
        bytes32 app,
        bytes32 contents,
        string memory contentsType
    ) internal view returns (bytes memory) {
        bytes32 nested = _nested(address(account), app, contents, contentsType);
        return _wrap(
            abi.encodePacked(_sign(first, nested), _sign(second, nested)),
            app,
            contents,
            contentsType
        );
    }

    /// @dev Signatures with what ERC-7739 wants after them.
    function _wrap(
        bytes memory signatures,
        bytes32 app,
        bytes32 contents,
        string memory contentsType
    ) internal pure returns (bytes memory) {
        return abi.encodePacked(
            signatures, app, contents, contentsType, uint16(bytes(contentsType).length)
        );
    }

    function _typed(bytes32 domain, bytes32 message) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, message));
    }

    function _nameOf(string memory contentsType) private pure returns (bytes memory name) {
        bytes memory all = bytes(contentsType);
        for (uint256 i = 0; all[i] != "("; ++i) {
            name = abi.encodePacked(name, all[i]);
        }
    }
}
