// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAuditAnchor} from "../../interfaces/IAuditAnchor.sol";
import {AuditAnchorSymbolic} from "./AuditAnchorSymbolic.sol";
import {PickyWallet} from "./HavocWallet.sol";

/// @notice I4: a signature made for one tenant, chain, contract or position is worth nothing at another.
/// In two steps: what is signed differs whenever one of them does, and nothing else is ever accepted.
contract AuditAnchorI4 is AuditAnchorSymbolic {
    struct SetAnchorer {
        uint256 chainId;
        address verifyingContract;
        bytes32 tenantId;
        address anchorer;
        uint64 nonce;
        uint64 deadline;
    }

    struct Anchor {
        uint256 chainId;
        address verifyingContract;
        bytes32 tenantId;
        uint64 firstSeq;
        uint64 count;
        bytes32 root;
        uint64 deadline;
    }

    function check_I4_digestOfSetAnchorer(SetAnchorer calldata a, SetAnchorer calldata b)
        public
        pure
    {
        vm.assume(keccak256(abi.encode(a)) != keccak256(abi.encode(b)));
        assert(_digest(a) != _digest(b));
    }

    function check_I4_digestOfAnchor(Anchor calldata a, Anchor calldata b) public pure {
        vm.assume(keccak256(abi.encode(a)) != keccak256(abi.encode(b)));
        assert(_digest(a) != _digest(b));
    }

    /// @dev Also the two kinds differ, so that neither can be passed off as the other.
    function check_I4_digestsOfTwoKinds(SetAnchorer calldata a, Anchor calldata b) public pure {
        assert(_digest(a) != _digest(b));
    }

    /// @dev On any chain, at the address where it was deployed (whose domain is cached).
    function check_I4_setAnchorerSigned(
        uint256 chainId,
        address sender,
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        _setAnchorerSigned(sender, tenantId, anchorer, deadline, signature);
    }

    /// @dev The same code elsewhere: its domain must be the one of its own address.
    /// @custom:halmos
    function check_I4_setAnchorerSigned_elsewhere(
        address sender,
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) public {
        auditAnchor = IAuditAnchor(_elsewhere(address(auditAnchor)));
        _setAnchorerSigned(sender, tenantId, anchorer, deadline, signature);
    }

    /// @custom:halmos
    function check_I4_setAnchorerSigned_wallet(
        uint256 chainId,
        address sender,
        bytes32 accepted,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) public {
        _onAnyChain(chainId);
        bytes32 tenantId = bytes32(uint256(uint160(address(new PickyWallet(accepted)))));
        uint64 nonce = uint64(uint256(_stored(tenantId, 0).nonce));
        bytes32 digest = _setAnchorerDigest(_domain(), tenantId, anchorer, nonce, deadline);
        bool ok = _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(
                IAuditAnchor.setAnchorerSigned, (tenantId, anchorer, deadline, signature)
            )
        );
        bool byWallet = accepted == digest;
        bool byKey = _recover(digest, signature) == _authority(tenantId);
        assert(_or(!ok, _or(byWallet, byKey)));
    }

    /// @custom:halmos --array-lengths items=1 --loop 2
    function check_I4_anchorSigned(
        uint256 chainId,
        address sender,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        _onAnyChain(chainId);
        _anchorSigned(sender, items);
    }

    /// @custom:halmos --array-lengths items=1 --loop 2
    function check_I4_anchorSigned_elsewhere(
        address sender,
        IAuditAnchor.SignedItem[] calldata items
    ) public {
        auditAnchor = IAuditAnchor(_elsewhere(address(auditAnchor)));
        _anchorSigned(sender, items);
    }

    function _setAnchorerSigned(
        address sender,
        bytes32 tenantId,
        address anchorer,
        uint64 deadline,
        bytes calldata signature
    ) private {
        uint64 nonce = uint64(uint256(_stored(tenantId, 0).nonce));
        bytes32 digest = _setAnchorerDigest(_domain(), tenantId, anchorer, nonce, deadline);
        bool ok = _callAs(
            sender,
            address(auditAnchor),
            abi.encodeCall(
                IAuditAnchor.setAnchorerSigned, (tenantId, anchorer, deadline, signature)
            )
        );
        address authority = _authority(tenantId);
        bool signed = _and(authority != address(0), _recover(digest, signature) == authority);
        assert(_or(!ok, signed));
        // The nonce is spent, so the same digest is not asked for again.
        uint64 next = uint64(uint256(_stored(tenantId, 0).nonce));
        assert(_or(!ok, next != nonce));
    }

    function _anchorSigned(address sender, IAuditAnchor.SignedItem[] calldata items) private {
        IAuditAnchor.SignedItem calldata item = items[0];
        _assumeCarries(item.tenantId, 0);
        bytes32 before = _stored(item.tenantId, 0).head;
        _callAs(sender, address(auditAnchor), abi.encodeCall(IAuditAnchor.anchorSigned, (items)));
        bytes32 later = _stored(item.tenantId, 0).head;
        bool signed = _and(_anchorer(before) != address(0), _signerOf(item) == _anchorer(before));
        signed = _and(signed, item.firstSeq == _entries(before));
        assert(_or(later == before, signed));
        // The position is spent, so the same signature does not fit again.
        assert(_or(later == before, item.firstSeq != _entries(later)));
    }

    function _digest(SetAnchorer calldata a) private pure returns (bytes32) {
        return _setAnchorerDigest(
            _domain(a.chainId, a.verifyingContract), a.tenantId, a.anchorer, a.nonce, a.deadline
        );
    }

    function _digest(Anchor calldata a) private pure returns (bytes32) {
        return _anchorDigest(
            _domain(a.chainId, a.verifyingContract),
            a.tenantId,
            a.firstSeq,
            a.count,
            a.root,
            a.deadline
        );
    }
}
