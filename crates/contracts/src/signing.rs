//! The EIP-712 messages of the contracts.
//!
//! A message is signed under the [`domain`] of the contract that takes it:
//! `message.eip712_signing_hash(&domain)` is the digest, and [`typed_data`] is the same as JSON, for a wallet
//! that is not at hand here. Where the tenant's authority is a SmartAccount, two of its principals sign the
//! message [`Nested`] in one for that account. Times are timestamps in seconds, amounts are in the smallest unit.

use alloy::{
    dyn_abi::TypedData,
    primitives::{Address, Bytes},
    sol,
    sol_types::{Eip712Domain, SolStruct},
};
use serde::Serialize;

use crate::{IPolicyRegistry, PolicyRegistry};

mod nested;
pub use nested::Nested;

// What each field means is documented where the contract takes it, in contracts/interfaces.
#[allow(missing_docs, reason = "documented in Solidity")]
mod messages {
    use super::sol;

    sol! {
        #![sol(all_derives, extra_derives(serde::Serialize, serde::Deserialize))]

        /// AuditAnchor: makes `anchorer` the one key that may anchor for the tenant.
        struct SetAnchorer {
            bytes32 tenantId;
            address anchorer;
            uint64 nonce;
            uint64 deadline;
        }

        /// AuditAnchor: anchors one batch, by whoever posts it.
        struct Anchor {
            bytes32 tenantId;
            uint64 firstSeq;
            uint64 count;
            bytes32 root;
            uint64 deadline;
        }

        /// PolicyRegistry: makes this the tenant's active policy.
        struct PublishPolicy {
            bytes32 tenantId;
            uint64 version;
            bytes32 policyHash;
            address verdictSigner;
            uint48 notBefore;
            uint48 notAfter;
            uint64 deadline;
        }

        /// PolicyRegistry: leaves the tenant without active policy.
        struct RevokePolicy {
            bytes32 tenantId;
            uint64 version;
            uint64 deadline;
        }

        /// PolicyRegistry: what the policy says to one agent's calls. Signed by the verdict signer.
        struct PolicyVerdict {
            bytes32 tenantId;
            uint64 policyVersion;
            address agent;
            bytes32 capability;
            bytes32 callsHash;
            uint8 outcome;
            uint256 maxFee;
            uint48 validAfter;
            uint48 validUntil;
            uint256 nonce;
        }

        /// MCPAgentRegistry: grants a capability to an agent.
        struct Grant {
            bytes32 tenantId;
            address agent;
            bytes32 capability;
            uint48 notBefore;
            uint48 notAfter;
            uint80 nativeMax;
            address target;
            bytes4 selector;
            uint96 tokenMax;
            uint64 nonce;
            uint64 deadline;
        }

        /// MCPAgentRegistry: lets a grant last longer.
        struct Extend {
            bytes32 tenantId;
            address agent;
            bytes32 capability;
            uint48 notAfter;
            uint64 nonce;
            uint64 deadline;
        }

        /// MCPAgentRegistry: takes one grant back.
        struct Revoke {
            bytes32 tenantId;
            address agent;
            bytes32 capability;
            uint64 nonce;
            uint64 deadline;
        }

        /// MCPAgentRegistry: takes every grant of an agent back.
        struct RevokeAgent {
            bytes32 tenantId;
            address agent;
            uint64 nonce;
            uint64 deadline;
        }

        /// MCPAgentRegistry: an agent gives up a grant.
        struct Forfeit {
            bytes32 tenantId;
            address agent;
            bytes32 capability;
            uint64 nonce;
            uint64 deadline;
        }

        /// MCPAgentRegistry: an agent describes itself.
        struct Describe {
            address agent;
            string endpoint;
            bytes32 metadataHash;
            address erc8004Registry;
            uint256 erc8004Id;
            uint64 nonce;
            uint64 deadline;
        }

        /// SmartAccount: owner or gate agrees to a change that the other one sends.
        struct Change {
            bytes32 tenantId;
            address target;
            bytes data;
            uint64 nonce;
            uint64 deadline;
        }
    }
}

pub use messages::*;

/// A contract that takes signed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verifier {
    /// AuditAnchor.
    AuditAnchor,
    /// PolicyRegistry.
    PolicyRegistry,
    /// MCPAgentRegistry.
    MCPAgentRegistry,
    /// One tenant's SmartAccount.
    SmartAccount,
}

impl Verifier {
    fn name(self) -> &'static str {
        match self {
            Self::AuditAnchor => "Cofferdam AuditAnchor",
            Self::PolicyRegistry => "Cofferdam PolicyRegistry",
            Self::MCPAgentRegistry => "Cofferdam MCPAgentRegistry",
            Self::SmartAccount => "Cofferdam SmartAccount",
        }
    }
}

/// The domain of a contract at `contract` (ERC-5267 `eip712Domain()` returns it).
pub fn domain(verifier: Verifier, chain_id: u64, contract: Address) -> Eip712Domain {
    Eip712Domain::new(
        Some(verifier.name().into()),
        Some("1".into()),
        Some(alloy::primitives::U256::from(chain_id)),
        Some(contract),
        None,
    )
}

/// The registry's function that publishes a policy with the authority's signature of it, for whoever pays.
pub fn publication(message: &PublishPolicy, signature: Bytes) -> PolicyRegistry::publishCall {
    PolicyRegistry::publishCall {
        tenantId: message.tenantId,
        version: message.version,
        policy: IPolicyRegistry::Policy {
            policyHash: message.policyHash,
            verdictSigner: message.verdictSigner,
            notBefore: message.notBefore,
            notAfter: message.notAfter,
        },
        deadline: message.deadline,
        signature,
    }
}

/// A message as JSON, as `eth_signTypedData_v4` and `cast wallet sign --data` take it.
pub fn typed_data<M: SolStruct + Serialize>(
    domain: &Eip712Domain,
    message: &M,
) -> serde_json::Value {
    serde_json::json!(TypedData::from_struct(message, Some(domain.clone())))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{U256, address, b256};

    use super::*;

    #[test]
    fn typed_data_has_the_digest_of_its_message() {
        let domain = domain(Verifier::PolicyRegistry, 8453, Address::repeat_byte(7));
        let message = PolicyVerdict {
            tenantId: Address::repeat_byte(1).into_word(),
            policyVersion: u64::MAX,
            agent: address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
            capability: b256!("0x8000000000000000000000000000000000000000000000000000000000000001"),
            callsHash: Default::default(),
            outcome: 1,
            maxFee: U256::MAX,
            validAfter: alloy::primitives::Uint::MAX,
            validUntil: alloy::primitives::Uint::MAX,
            nonce: U256::from(5),
        };
        let json = typed_data(&domain, &message).to_string();
        let read: TypedData = serde_json::from_str(&json).expect("typed data");
        assert_eq!(
            read.eip712_signing_hash().expect("a digest"),
            message.eip712_signing_hash(&domain)
        );
        assert!(json.contains(r#""EIP712Domain":[{"#), "{json}");
    }
}
