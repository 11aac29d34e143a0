//! The file of a signed policy: what is signed, where it counts, and the signatures so far.

use std::{fmt, fs, path::Path};

use alloy::{
    primitives::{Address, B256, Bytes, Signature},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{Eip712Domain, SolStruct},
};
use cofferdam_contracts::signing::{Nested, PublishPolicy, Verifier, domain, typed_data};
use cofferdam_core::TenantId;
use eyre::{Result, WrapErr, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::moment::rfc3339;

const FORMAT: &str = "cofferdam-signed-policy";
const VERSION: u64 = 1;

/// A policy with the signatures of its tenant's authority.
///
/// The authority is a key, which signs the message itself; or it is a SmartAccount, and two of its
/// principals sign the message nested for that account (ERC-7739).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignedPolicy {
    format: String,
    version: u64,
    /// The chain on which it counts.
    chain_id: u64,
    /// The PolicyRegistry.
    contract: Address,
    /// What the authority says.
    pub(super) message: PublishPolicy,
    /// What was signed, as `eth_signTypedData_v4` takes it.
    typed_data: Value,
    signatures: Vec<Signed>,
    /// What the registry takes; there once there are enough signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Bytes>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    signer: Address,
    signature: Bytes,
}

impl SignedPolicy {
    /// What nobody has signed yet: for the authority's own key, or else for its account.
    pub(super) fn new(
        chain_id: u64,
        contract: Address,
        message: PublishPolicy,
        by_account: bool,
    ) -> Self {
        let registry = domain(Verifier::PolicyRegistry, chain_id, contract);
        let typed_data = if by_account {
            nested(chain_id, &message, &registry).typed_data().clone()
        } else {
            typed_data(&registry, &message)
        };
        Self {
            format: FORMAT.into(),
            version: VERSION,
            chain_id,
            contract,
            message,
            typed_data,
            signatures: vec![],
            signature: None,
        }
    }

    /// Reads a file, and checks that everything in it belongs together.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .wrap_err_with(|| format!("cannot read the signed policy {}", path.display()))?;
        let read = || -> Result<Self> {
            let this: Self = serde_json::from_str(&text)?;
            this.check()?;
            Ok(this)
        };
        read().wrap_err_with(|| {
            format!("{} is no signed policy; make one with `cofferdam policy sign`", path.display())
        })
    }

    fn check(&self) -> Result<()> {
        if (self.format.as_str(), self.version) != (FORMAT, VERSION) {
            bail!("its format is {:?} version {}", self.format, self.version);
        }
        TenantId::try_from(self.message.tenantId)?;
        let message = self.message.clone();
        let fresh = Self::new(self.chain_id, self.contract, message, self.is_by_account());
        if fresh.typed_data != self.typed_data {
            bail!("its typed data is not of its message");
        }
        let digest = self.digest();
        for Signed { signer, signature } in &self.signatures {
            let found = Signature::try_from(&signature[..])?.recover_address_from_prehash(&digest);
            if found.ok() != Some(*signer) {
                bail!("the signature under {signer} is not that key's for this message");
            }
        }
        if self.signature != self.complete()? {
            bail!("its signature is not made of its signatures");
        }
        Ok(())
    }

    /// Whether a SmartAccount's principals sign it.
    pub(super) fn is_by_account(&self) -> bool {
        self.typed_data["primaryType"] == "TypedDataSign"
    }

    /// The chain on which it counts.
    pub(super) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Demands that it is for this chain's registry.
    pub(super) fn demand(&self, chain_id: u64, registry: Address) -> Result<()> {
        if (self.chain_id, self.contract) != (chain_id, registry) {
            bail!(
                "the signed policy is for {} on chain {}, not for {registry} on chain {chain_id}; check \
                 --rpc-url and --chain-id, or have it signed for this one",
                self.contract,
                self.chain_id
            );
        }
        Ok(())
    }

    /// The address of the tenant's authority.
    pub(super) fn authority(&self) -> Address {
        Address::from_word(self.message.tenantId)
    }

    /// Who has signed.
    pub(super) fn signers(&self) -> impl Iterator<Item = Address> {
        self.signatures.iter().map(|signed| signed.signer)
    }

    /// What the registry takes, once there are enough signatures.
    pub(super) fn signature(&self) -> Option<&Bytes> {
        self.signature.as_ref()
    }

    /// Signs it.
    pub(super) fn sign(&mut self, key: &PrivateKeySigner) -> Result<()> {
        let (signer, authority) = (key.address(), self.authority());
        if self.is_by_account() == (signer == authority) {
            bail!(
                "{signer} cannot sign this: it is to be signed by {} {authority}",
                if self.is_by_account() { "principals of account" } else { "the key" }
            );
        }
        if self.signers().any(|known| known == signer) {
            bail!("{signer} has signed this already; another principal has to");
        }
        if self.signature.is_some() {
            bail!("this has all its signatures already; publish it");
        }
        let signature = key.sign_hash_sync(&self.digest())?.as_bytes().into();
        self.signatures.push(Signed { signer, signature });
        self.signature = self.complete()?;
        Ok(())
    }

    fn registry(&self) -> Eip712Domain {
        domain(Verifier::PolicyRegistry, self.chain_id, self.contract)
    }

    fn digest(&self) -> B256 {
        let registry = self.registry();
        if self.is_by_account() {
            nested(self.chain_id, &self.message, &registry).digest()
        } else {
            self.message.eip712_signing_hash(&registry)
        }
    }

    fn complete(&self) -> Result<Option<Bytes>> {
        Ok(match (self.is_by_account(), &self.signatures[..]) {
            (false, [own]) => Some(own.signature.clone()),
            (true, [first, second]) => {
                let first = Signature::try_from(&first.signature[..])?;
                let second = Signature::try_from(&second.signature[..])?;
                Some(nested(self.chain_id, &self.message, &self.registry()).wrap([first, second]))
            }
            (_, more) if more.len() > 1 => bail!("it has too many signatures"),
            _ => None,
        })
    }
}

impl fmt::Display for SignedPolicy {
    /// What is signed, for the one who signs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PublishPolicy { version, policyHash, verdictSigner, deadline, .. } = &self.message;
        let (from, until) = (self.message.notBefore.to(), self.message.notAfter.to());
        write!(
            f,
            "policy version {version} of {} on chain {}\n  document {policyHash}\n  verdict signer \
             {verdictSigner}\n  good from {} until {}, if published until {}",
            self.message.tenantId,
            self.chain_id,
            rfc3339(from),
            rfc3339(until),
            rfc3339(*deadline),
        )
    }
}

/// The message as the principals of the tenant's account sign it.
fn nested(chain_id: u64, message: &PublishPolicy, registry: &Eip712Domain) -> Nested {
    let account = Address::from_word(message.tenantId);
    Nested::new(message, registry, &domain(Verifier::SmartAccount, chain_id, account))
}
