// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PickyWallet} from "./HavocWallet.sol";
import {SmartAccountSymbolic} from "./SmartAccountSymbolic.sol";

// Casts below cut off the neighbours in a packed word.
// forge-lint: disable-start(unsafe-typecast)

/// @notice I4: a `Change` signature made for one account, chain, nonce or change is worth nothing for
/// another, and nothing after its deadline. In two steps: what is signed differs whenever one of them
/// does, and nothing else is ever accepted.
/// @custom:halmos --loop 20
contract SmartAccountI4 is SmartAccountSymbolic {
    /// @dev All but `data`. The account is the tenant.
    struct Change {
        uint256 chainId;
        address account;
        address target;
        uint64 nonce;
        uint64 deadline;
    }

    /// @custom:halmos --default-bytes-lengths 0,4,68
    function check_I4_digestOfChange(
        Change calldata a,
        Change calldata b,
        bytes calldata dataOfA,
        bytes calldata dataOfB
    ) public pure {
        bool same = keccak256(abi.encode(a)) == keccak256(abi.encode(b));
        vm.assume(!_and(same, keccak256(dataOfA) == keccak256(dataOfB)));
        assert(_digest(a, dataOfA) != _digest(b, dataOfB));
    }

    /// @dev On any chain: an owner and a gate, one of them by signature, in time, for the present nonce,
    /// which is then spent.
    /// @custom:halmos --array-lengths data=4,signature=65
    function check_I4_changeTogether(
        uint256 chainId,
        Together calldata by,
        bytes calldata data,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        vm.assume(by.cosigner.code.length == 0);
        bytes32 digest = _digest(_present(by), data);
        bool signed = _recover(digest, signature) == by.cosigner;
        _assertSigned(by, data, signature, signed);
    }

    /// @dev The cosigner is a contract.
    /// @custom:halmos --array-lengths data=4,signature=0
    function check_I4_changeTogether_wallet(
        uint256 chainId,
        bytes32 accepted,
        Together memory by,
        bytes calldata data,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        by.cosigner = address(new PickyWallet(accepted));
        bytes32 digest = _digest(_present(by), data);
        bool signed = _or(accepted == digest, _recover(digest, signature) == by.cosigner);
        _assertSigned(by, data, signature, signed);
    }

    // ------------------------------------------------------------ internals

    function _assertSigned(
        Together memory by,
        bytes calldata data,
        bytes calldata signature,
        bool signed
    ) private {
        _assumeNoRoleOfNobody();
        uint64 nonce = _nonce();
        bool good = _and(signed, block.timestamp <= by.deadline);
        uint256 first = uint8(_role(by.sender));
        uint256 second = uint8(_role(by.cosigner));
        good = _and(good, _or(_and(first == 1, _isGate(second)), _and(second == 1, _isGate(first))));
        bool ok = _callAs(by.sender, address(account), _changeTogether(by, data, signature));
        // The nonce is spent, so the same digest is not asked for again.
        assert(_or(!ok, _and(good, _nonce() == nonce + 1)));
    }

    function _present(Together memory by) private view returns (Change memory) {
        return Change(block.chainid, address(account), by.target, _nonce(), by.deadline);
    }

    function _digest(Change memory a, bytes memory data) private pure returns (bytes32) {
        return _changeDigest(a.chainId, a.account, a.target, data, a.nonce, a.deadline);
    }

    function _isGate(uint256 role) private pure returns (bool) {
        return _and(role >= 2, role <= 4);
    }
}
// forge-lint: disable-end(unsafe-typecast)
