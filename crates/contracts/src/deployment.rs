//! Where the contracts are: CREATE2 gives the same address on every chain.

use alloy::primitives::{Address, B256, Bytes, address};

use crate::AuditAnchor;

/// The deterministic deployment proxy that most chains have, Base, Base Sepolia and Anvil among them.
/// Called with `salt ‖ init code`, it creates the contract.
pub const DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// The salt of every Cofferdam contract.
pub const SALT: B256 = B256::ZERO;

/// The address of AuditAnchor on every chain it was deployed to from these sources.
pub fn audit_anchor() -> Address {
    DEPLOYER.create2_from_code(SALT, &AuditAnchor::BYTECODE)
}

/// The calldata for [`DEPLOYER`] that creates AuditAnchor.
pub fn audit_anchor_calldata() -> Bytes {
    [SALT.as_slice(), &AuditAnchor::BYTECODE].concat().into()
}
