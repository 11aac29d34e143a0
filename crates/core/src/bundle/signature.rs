//! The exporter's EIP-712 signature of a manifest: `Bundle(bytes32 tenantId,bytes32 manifest)`, where
//! `manifest` is the keccak256 of the manifest's line.

use super::{BundleError, Manifest};
use crate::{TenantId, hex, receipt::wire::strict};
use alloy_primitives::{Address, B256, Bytes, Signature, U256, keccak256};
use serde::{Deserialize, Serialize};

const DOMAIN: &[u8] =
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
const BUNDLE: &[u8] = b"Bundle(bytes32 tenantId,bytes32 manifest)";

/// The second line of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureLine {
    /// 65 bytes: r, s in the lower half, v of 27 or 28.
    #[serde(with = "hex::bytes")]
    pub signature: Bytes,
}

/// What the exporter signs for a manifest with these bytes.
pub fn manifest_digest(chain_id: u64, contract: Address, tenant: TenantId, line: &[u8]) -> B256 {
    let words = |words: &[B256]| keccak256(words.iter().flat_map(|it| it.0).collect::<Vec<_>>());
    let domain = words(&[
        keccak256(DOMAIN),
        keccak256("Cofferdam bundle"),
        keccak256("1"),
        B256::from(U256::from(chain_id)),
        contract.into_word(),
    ]);
    let bundle = words(&[keccak256(BUNDLE), tenant.as_b256(), keccak256(line)]);
    keccak256([&[0x19, 0x01], domain.as_slice(), bundle.as_slice()].concat())
}

/// Succeeds only when the line holds the exporter's signature of the manifest.
pub(super) fn verify(manifest: &Manifest, signed: &[u8], line: &[u8]) -> Result<(), BundleError> {
    let refused = |reason: &str| BundleError::Signature(reason.to_owned());
    let read: Result<SignatureLine, _> = strict(line);
    let line = read.map_err(|error| BundleError::Signature(error.to_string()))?;
    let raw: &[u8; 65] = line.signature[..].try_into().map_err(|_| refused("not 65 bytes"))?;
    if !matches!(raw[64], 27 | 28) {
        return Err(refused("v is neither 27 nor 28"));
    }
    let signature = Signature::from_raw_array(raw).map_err(|_| refused("malformed"))?;
    if signature.normalize_s().is_some() {
        return Err(refused("s is in the upper half"));
    }
    let Manifest { chain_id, contract, tenant_id, exporter, .. } = *manifest;
    let digest = manifest_digest(chain_id, contract, tenant_id, signed);
    match signature.recover_address_from_prehash(&digest) {
        Ok(signer) if signer == exporter => Ok(()),
        Ok(signer) => {
            Err(BundleError::Signature(format!("{signer} signed this manifest, not {exporter}")))
        }
        Err(_) => Err(refused("nobody's")),
    }
}
