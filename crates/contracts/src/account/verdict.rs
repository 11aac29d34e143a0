//! Verdicts, and the authorisations that are made of them.

use alloy::{
    primitives::{Address, B256, Bytes, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolStruct,
};
use serde::{Deserialize, Serialize};

use crate::signing::{PolicyVerdict, Verifier, domain};

/// The number that a capability's name stands for, such as `payments.send`.
pub fn capability(name: &str) -> B256 {
    keccak256(name)
}

/// A verdict with its signature. In JSON `{"verdict":{"tenantId":"0x…",…},"signature":"0x…"}`, the
/// verdict's members named as in the EIP-712 type `PolicyVerdict`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedVerdict {
    /// What was decided.
    pub verdict: PolicyVerdict,
    /// The verdict signer's signature, of 65 or 64 bytes.
    pub signature: Bytes,
}

impl SignedVerdict {
    /// Signs a verdict for the PolicyRegistry of one chain.
    pub fn sign(
        verdict: PolicyVerdict,
        signer: &PrivateKeySigner,
        chain_id: u64,
        policy_registry: Address,
    ) -> alloy::signers::Result<Self> {
        let domain = domain(Verifier::PolicyRegistry, chain_id, policy_registry);
        let signature = signer.sign_hash_sync(&verdict.eip712_signing_hash(&domain))?;
        Ok(Self { verdict, signature: signature.as_bytes().into() })
    }

    /// The packed authorisation, as an account takes it: `capability[32] ‖ policyVersion u64 ‖ maxFee
    /// u128 ‖ validAfter u48 ‖ validUntil u48 ‖ signature`. The other members follow from the operation.
    ///
    /// A fee of 2^128 wei or more becomes the largest there is room for, with which the signature is
    /// not good: no operation can have such a fee.
    pub fn authorisation(&self) -> Bytes {
        let verdict = &self.verdict;
        let max_fee: u128 = verdict.maxFee.saturating_to();
        let mut packed = verdict.capability.to_vec();
        packed.extend(verdict.policyVersion.to_be_bytes());
        packed.extend(max_fee.to_be_bytes());
        packed.extend(verdict.validAfter.to_be_bytes::<6>());
        packed.extend(verdict.validUntil.to_be_bytes::<6>());
        packed.extend_from_slice(&self.signature);
        packed.into()
    }
}
