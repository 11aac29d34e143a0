//! The EIP-712 messages of AuditAnchor.

use alloy::{
    primitives::{Address, B256},
    sol,
    sol_types::{Eip712Domain, SolStruct, eip712_domain},
};
use cofferdam_core::TenantId;

sol! {
    struct SetAnchorer {
        bytes32 tenantId;
        address anchorer;
        uint64 nonce;
        uint64 deadline;
    }
}

/// The domain of AuditAnchor on one chain (ERC-5267 `eip712Domain()` returns it).
pub fn domain(chain_id: u64, contract: Address) -> Eip712Domain {
    eip712_domain! {
        name: "Cofferdam AuditAnchor",
        version: "1",
        chain_id: chain_id,
        verifying_contract: contract,
    }
}

/// The digest that a tenant's authority signs to make `anchorer` the one key that may anchor for it.
/// `nonce` is the contract's `nonceOf`, `deadline` the last good timestamp in seconds.
pub fn set_anchorer_digest(
    domain: &Eip712Domain,
    tenant: TenantId,
    anchorer: Address,
    nonce: u64,
    deadline: u64,
) -> B256 {
    SetAnchorer { tenantId: tenant.as_b256(), anchorer, nonce, deadline }
        .eip712_signing_hash(domain)
}

/// The same message as JSON (`eth_signTypedData_v4`), for a wallet that is not at hand here.
pub fn set_anchorer_typed_data(
    chain_id: u64,
    contract: Address,
    tenant: TenantId,
    anchorer: Address,
    nonce: u64,
    deadline: u64,
) -> serde_json::Value {
    serde_json::json!({
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "SetAnchorer": [
                {"name": "tenantId", "type": "bytes32"},
                {"name": "anchorer", "type": "address"},
                {"name": "nonce", "type": "uint64"},
                {"name": "deadline", "type": "uint64"},
            ],
        },
        "primaryType": "SetAnchorer",
        "domain": {
            "name": "Cofferdam AuditAnchor",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        "message": {
            "tenantId": tenant.as_b256(),
            "anchorer": anchorer,
            "nonce": nonce,
            "deadline": deadline,
        },
    })
}
