//! Makes tenants known: in the operator's table, and to the contract by the tenant's own signature.

use std::time::Duration;

use alloy::{
    primitives::{Address, Bytes},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolStruct},
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::{
    AuditAnchor, Chain,
    signing::{SetAnchorer, Verifier, domain, typed_data},
};
use cofferdam_core::TenantId;
use cofferdam_devnet::Anvil;
use cofferdam_store::{AddTenant, Sequencer, Tenant};
use eyre::{Result, bail};

use crate::keys::KeyRing;

/// How long a signature made here is good.
const VALID: Duration = Duration::from_secs(3_600);

/// Registers tenants on the devnet, where their keys are ours to make.
#[derive(Debug, Clone)]
pub(crate) struct Registrar {
    sequencer: Sequencer,
    sender: Sender,
    keys: KeyRing,
}

impl Registrar {
    /// Refuses every chain but the devnet's: elsewhere a tenant's key is the tenant's alone.
    pub(crate) fn new(sequencer: Sequencer, sender: Sender, keys: KeyRing) -> Result<Self> {
        let chain_id = sender.chain().chain_id();
        if chain_id != Anvil::CHAIN_ID {
            bail!(
                "tenants' keys are made on chain {} only, this is chain {chain_id}; register each \
                 tenant with `cofferdam tenant add NAME --authority ADDRESS`",
                Anvil::CHAIN_ID
            );
        }
        Ok(Self { sequencer, sender, keys })
    }

    /// Makes sure that a tenant of this name exists and that the contract takes our anchorer for it.
    pub(crate) async fn ensure(&self, name: &str) -> Result<(Tenant, AddTenant)> {
        if let Some(tenant) = self.sequencer.tenant_by_name(name).await? {
            self.authorise(&tenant, None).await?;
            return Ok((tenant, AddTenant::AlreadyThere));
        }
        let key = self.keys.create()?;
        let tenant = Tenant { id: TenantId::from_authority(key.address())?, name: name.into() };
        let added = self.sequencer.add_tenant(name, tenant.id).await?;
        self.authorise(&tenant, Some(key)).await?;
        Ok((tenant, added))
    }

    /// Signs with the tenant's key, which is looked for in the folder when it is not at hand.
    async fn authorise(&self, tenant: &Tenant, key: Option<PrivateKeySigner>) -> Result<()> {
        let (chain, anchorer) = (self.sender.chain(), self.sender.address());
        let head = chain.heads(&[tenant.id]).await?.pop();
        if head.is_some_and(|head| head.anchorer == anchorer) {
            return Ok(());
        }
        let key = match key {
            Some(key) => key,
            None => self.keys.get(tenant.id.authority())?.ok_or_else(|| {
                eyre::eyre!(
                    "the key of tenant {:?} is not in {}",
                    tenant.name,
                    self.keys.password_file().with_file_name("").display()
                )
            })?,
        };
        let nonce = chain.nonce_of(tenant.id).await?;
        let deadline = chain.head().await?.timestamp + VALID.as_secs();
        let domain = domain(Verifier::AuditAnchor, chain.chain_id(), chain.contract());
        let message = SetAnchorer { tenantId: tenant.id.as_b256(), anchorer, nonce, deadline };
        let signature = key.sign_hash_sync(&message.eip712_signing_hash(&domain))?.as_bytes();
        let calldata = set_anchorer_signed(tenant.id, anchorer, deadline, signature.into());
        self.sender.send(chain.contract(), calldata).await?;
        Ok(())
    }
}

/// What the tenant must give so that `anchorer` may anchor for it, in the two ways there are.
pub(crate) async fn authorisation(
    chain: &Chain,
    tenant: TenantId,
    anchorer: Address,
) -> Result<Authorisation> {
    let nonce = chain.nonce_of(tenant).await?;
    let deadline = chain.head().await?.timestamp + 7 * 24 * VALID.as_secs();
    let call = AuditAnchor::setAnchorerCall { tenantId: tenant.as_b256(), anchorer };
    Ok(Authorisation {
        to: chain.contract(),
        calldata: call.abi_encode().into(),
        typed_data: typed_data(
            &domain(Verifier::AuditAnchor, chain.chain_id(), chain.contract()),
            &SetAnchorer { tenantId: tenant.as_b256(), anchorer, nonce, deadline },
        ),
        deadline,
    })
}

/// A transaction that the tenant sends and pays, or a message that it signs and the operator relays.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Authorisation {
    /// Where the transaction goes.
    pub(crate) to: Address,
    /// What it carries.
    pub(crate) calldata: Bytes,
    /// The message, as `eth_signTypedData_v4` and `cast wallet sign --data` take it.
    pub(crate) typed_data: serde_json::Value,
    /// Until when, in seconds, a signature of the message is good.
    pub(crate) deadline: u64,
}

/// The calldata that relays a tenant's signature.
pub(crate) fn set_anchorer_signed(
    tenant: TenantId,
    anchorer: Address,
    deadline: u64,
    signature: Bytes,
) -> Bytes {
    let tenant_id = tenant.as_b256();
    AuditAnchor::setAnchorerSignedCall { tenantId: tenant_id, anchorer, deadline, signature }
        .abi_encode()
        .into()
}
