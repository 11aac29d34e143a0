// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MCPAgentRegistrySymbolic} from "./MCPAgentRegistrySymbolic.sol";

/// @notice I4: what is signed differs whenever chain, contract, tenant, nonce or anything else in it does.
/// That nothing else is accepted is the matter of the checks named for the functions.
contract MCPAgentRegistryDigest is MCPAgentRegistrySymbolic {
    struct Frame {
        uint256 chainId;
        address verifyingContract;
        uint64 nonce;
        uint64 deadline;
    }

    function check_Digest_grant(
        Frame calldata f,
        Triple calldata a,
        Terms calldata termsA,
        Frame calldata g,
        Triple calldata b,
        Terms calldata termsB
    ) public pure {
        vm.assume(keccak256(abi.encode(f, a, termsA)) != keccak256(abi.encode(g, b, termsB)));
        assert(
            _grantDigest(_domain(f), a, termsA, f.nonce, f.deadline)
                != _grantDigest(_domain(g), b, termsB, g.nonce, g.deadline)
        );
    }

    function check_Digest_extend(
        Frame calldata f,
        Triple calldata a,
        uint48 notAfterA,
        Frame calldata g,
        Triple calldata b,
        uint48 notAfterB
    ) public pure {
        vm.assume(keccak256(abi.encode(f, a, notAfterA)) != keccak256(abi.encode(g, b, notAfterB)));
        assert(
            _extendDigest(_domain(f), a, notAfterA, f.nonce, f.deadline)
                != _extendDigest(_domain(g), b, notAfterB, g.nonce, g.deadline)
        );
    }

    function check_Digest_revoke(
        Frame calldata f,
        Triple calldata a,
        Frame calldata g,
        Triple calldata b
    ) public pure {
        vm.assume(keccak256(abi.encode(f, a)) != keccak256(abi.encode(g, b)));
        assert(
            _revokeDigest(_domain(f), a, f.nonce, f.deadline)
                != _revokeDigest(_domain(g), b, g.nonce, g.deadline)
        );
    }

    function check_Digest_revokeAgent(
        Frame calldata f,
        Triple calldata a,
        Frame calldata g,
        Triple calldata b
    ) public pure {
        bool same = _and(
            _sameAgentAtTenant(a, b), keccak256(abi.encode(f)) == keccak256(abi.encode(g))
        );
        vm.assume(!same);
        assert(
            _revokeAgentDigest(_domain(f), a, f.nonce, f.deadline)
                != _revokeAgentDigest(_domain(g), b, g.nonce, g.deadline)
        );
    }

    function check_Digest_forfeit(
        Frame calldata f,
        Triple calldata a,
        Frame calldata g,
        Triple calldata b
    ) public pure {
        vm.assume(keccak256(abi.encode(f, a)) != keccak256(abi.encode(g, b)));
        assert(
            _forfeitDigest(_domain(f), a, f.nonce, f.deadline)
                != _forfeitDigest(_domain(g), b, g.nonce, g.deadline)
        );
    }

    /// @custom:halmos --default-bytes-lengths 0,65
    function check_Digest_describe(
        Frame calldata f,
        address a,
        Words calldata wordsA,
        Frame calldata g,
        address b,
        Words calldata wordsB
    ) public pure {
        vm.assume(keccak256(abi.encode(f, a, wordsA)) != keccak256(abi.encode(g, b, wordsB)));
        bytes32 digestA = _describeDigest(_domain(f), a, wordsA, f.nonce, f.deadline);
        bytes32 digestB = _describeDigest(_domain(g), b, wordsB, g.nonce, g.deadline);
        assert(digestA != digestB);
    }

    /// @dev Also the kinds differ, so that none can be passed off as another.
    /// @custom:halmos --default-bytes-lengths 65 --loop 7
    function check_Digest_kinds(
        Frame[6] calldata f,
        Triple[5] calldata t,
        Terms calldata terms,
        uint48 notAfter,
        address agent,
        Words calldata words
    ) public pure {
        bytes32[6] memory digests = [
            _grantDigest(_domain(f[0]), t[0], terms, f[0].nonce, f[0].deadline),
            _extendDigest(_domain(f[1]), t[1], notAfter, f[1].nonce, f[1].deadline),
            _revokeDigest(_domain(f[2]), t[2], f[2].nonce, f[2].deadline),
            _revokeAgentDigest(_domain(f[3]), t[3], f[3].nonce, f[3].deadline),
            _forfeitDigest(_domain(f[4]), t[4], f[4].nonce, f[4].deadline),
            _describeDigest(_domain(f[5]), agent, words, f[5].nonce, f[5].deadline)
        ];
        bool differ = true;
        for (uint256 i = 0; i < 6; ++i) {
            for (uint256 k = i + 1; k < 6; ++k) {
                differ = _and(differ, digests[i] != digests[k]);
            }
        }
        assert(differ);
    }

    function _domain(Frame calldata f) private pure returns (bytes32) {
        return _domain(f.chainId, f.verifyingContract);
    }
}
