// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";

import {TestToken} from "./Tokens.sol";

/// @notice Takes what somebody signed for it, as a key or as a contract.
abstract contract SignedFor {
    mapping(address signer => mapping(uint256 nonce => bool)) public used;

    /// @notice What is signed.
    function digestOf(bytes32 contents) public view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain(), contents));
    }

    function domain() public view returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(uint256 chainId,address verifyingContract)"),
                block.chainid,
                address(this)
            )
        );
    }

    function _take(address signer, uint256 nonce, bytes32 contents, bytes calldata signature)
        internal
    {
        if (used[signer][nonce]) revert();
        used[signer][nonce] = true;
        if (!SignatureCheckerLib.isValidSignatureNowCalldata(signer, digestOf(contents), signature))
        {
            revert();
        }
    }
}

/// @notice ERC-2612 that asks contracts too, as USDC does since its version 2.2.
contract PermitToken is TestToken, SignedFor {
    string public constant PERMIT =
        "Permit(address owner,address spender,uint256 value,uint256 nonce)";

    function contentsOf(address owner, address spender, uint256 value, uint256 nonce)
        public
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(keccak256(bytes(PERMIT)), owner, spender, value, nonce));
    }

    function permit(
        address owner,
        address spender,
        uint256 value,
        uint256 nonce,
        bytes calldata signature
    ) external {
        _take(owner, nonce, contentsOf(owner, spender, value, nonce), signature);
        allowance[owner][spender] = value;
    }
}

/// @notice In the manner of Permit2: one allowance for it, and any number of further ones within, given
/// by a call or by a signature.
contract Permit2Like is SignedFor {
    string public constant TRANSFER =
        "PermitTransferFrom(address token,uint256 amount,address to,uint256 nonce)";

    mapping(address owner => mapping(IERC20 token => mapping(address spender => uint160))) public
        allowed;

    function contentsOf(IERC20 token, uint256 amount, address to, uint256 nonce)
        public
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(keccak256(bytes(TRANSFER)), token, amount, to, nonce));
    }

    function approve(IERC20 token, address spender, uint160 amount, uint48) external {
        allowed[msg.sender][token][spender] = amount;
    }

    function transferFrom(address from, address to, uint160 amount, IERC20 token) external {
        allowed[from][token][msg.sender] -= amount;
        if (!token.transferFrom(from, to, amount)) revert();
    }

    function permitTransferFrom(
        IERC20 token,
        uint256 amount,
        address owner,
        address to,
        uint256 nonce,
        bytes calldata signature
    ) external {
        _take(owner, nonce, contentsOf(token, amount, to, nonce), signature);
        if (!token.transferFrom(owner, to, amount)) revert();
    }
}
