//! Makes tenants known: in the operator's table, and to AuditAnchor by the tenant's own signature.

use std::time::Duration;

use alloy::{
    primitives::{Address, Bytes, U256},
    providers::Provider,
    signers::SignerSync,
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::{
    Chain,
    account::Account,
    deployment::Deployment,
    signing::{Nested, SetAnchorer, Verifier, domain},
};
use cofferdam_core::TenantId;
use cofferdam_devnet::Anvil;
use cofferdam_store::{AddTenant, SealSettings, Sequencer, Tenant};
use eyre::{Result, bail, eyre};

use crate::{
    authority::Act,
    keys::{KeyRing, People},
};

/// What each of a new tenant's people starts with: 10 ether.
const ENDOWMENT: U256 = U256::from_limbs([10_000_000_000_000_000_000, 0, 0, 0]);

/// How long a signature made here is good.
const VALID: Duration = Duration::from_secs(3_600);

/// Registers tenants on the devnet, where their accounts and all keys of them are ours to make.
#[derive(Debug, Clone)]
pub(crate) struct Registrar {
    sequencer: Sequencer,
    sender: Sender,
    deployment: Deployment,
    keys: KeyRing,
}

impl Registrar {
    /// Refuses every chain but the devnet's: elsewhere a tenant's keys are the tenant's alone.
    pub(crate) fn new(
        sequencer: Sequencer,
        sender: Sender,
        deployment: Deployment,
        keys: KeyRing,
    ) -> Result<Self> {
        let chain_id = sender.chain().chain_id();
        if chain_id != Anvil::CHAIN_ID {
            bail!(
                "tenants' keys are made on chain {} only, this is chain {chain_id}; register each \
                 tenant with `cofferdam tenant add NAME --authority ADDRESS`",
                Anvil::CHAIN_ID
            );
        }
        Ok(Self { sequencer, sender, deployment, keys })
    }

    /// Makes sure that a tenant of this name exists, with an account, and that AuditAnchor takes our
    /// anchorer for it.
    pub(crate) async fn ensure(&self, name: &str) -> Result<(Tenant, AddTenant)> {
        if let Some(tenant) = self.sequencer.tenant_by_name(name).await? {
            self.authorise(&tenant, None).await?;
            return Ok((tenant, AddTenant::AlreadyThere));
        }
        let (chain, people) = (self.sender.chain(), People::new());
        let account = Account::address_of(chain, &self.deployment, &people.configuration).await?;
        // The keys first: what is cut off after this is taken up by the next run.
        self.keys.keep_people(account, &people)?;
        let (id, seal) = (TenantId::from_authority(account)?, SealSettings::default());
        let tenant = Tenant { id, name: name.into(), seal };
        let added = self.sequencer.add_tenant(name, tenant.id).await?;
        self.authorise(&tenant, Some(people)).await?;
        Ok((tenant, added))
    }

    /// Gives a tenant's people what their transactions cost, as only Anvil can. Elsewhere they stay poor,
    /// which nothing here depends on.
    async fn endow(&self, people: &People) {
        for (holder, role) in people.configuration.holders() {
            let request = self
                .sender
                .chain()
                .provider()
                .raw_request::<_, ()>("anvil_setBalance".into(), (holder, ENDOWMENT));
            if request.await.is_err() {
                tracing::debug!(%role, "the node does not give {holder} a balance");
            }
        }
    }

    /// Creates the account where it is not there yet, and lets two of its people, who are looked for in
    /// the folder when they are not at hand, sign for it that our anchorer may anchor.
    async fn authorise(&self, tenant: &Tenant, people: Option<People>) -> Result<()> {
        let (chain, anchorer) = (self.sender.chain(), self.sender.address());
        let account = tenant.id.authority();
        let head = chain.heads(&[tenant.id]).await?.pop();
        if head.is_some_and(|head| head.anchorer == anchorer) {
            return Ok(());
        }
        let people = match people {
            Some(people) => people,
            None => self.keys.people(account)?.ok_or_else(|| self.no_people(tenant))?,
        };
        if !chain.has_code(account).await? {
            let create = people.configuration.create_calldata()?;
            self.sender.send(self.deployment.smart_account_factory, create).await?;
            self.endow(&people).await;
        }
        let nonce = chain.nonce_of(tenant.id).await?;
        let deadline = chain.head().await?.timestamp + VALID.as_secs();
        let message = SetAnchorer { tenantId: tenant.id.as_b256(), anchorer, nonce, deadline };
        let domain_of = |verifier, contract| domain(verifier, chain.chain_id(), contract);
        let nested = Nested::new(
            &message,
            &domain_of(Verifier::AuditAnchor, chain.contract()),
            &domain_of(Verifier::SmartAccount, account),
        );
        let [owner, approver] = people.signatories()?;
        let signatures =
            [owner.sign_hash_sync(&nested.digest())?, approver.sign_hash_sync(&nested.digest())?];
        let calldata = Act::SetAnchorer(message).relayed(nested.wrap(signatures));
        self.sender.send(chain.contract(), calldata).await?;
        Ok(())
    }

    fn no_people(&self, tenant: &Tenant) -> eyre::Report {
        let authority = tenant.id.authority();
        eyre!(
            "{} may not anchor for tenant {:?} yet, and the keys that could allow it are not in {}; if \
             the tenant's authority {authority} is a key, as in data directories of earlier versions, \
             let it sign what `cofferdam tenant add {:?} --authority {authority}` prints, or start \
             afresh with another --data-dir",
            self.sender.address(),
            tenant.name,
            self.keys.folder(authority).display(),
            tenant.name,
        )
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
    let act =
        Act::SetAnchorer(SetAnchorer { tenantId: tenant.as_b256(), anchorer, nonce, deadline });
    Ok(Authorisation {
        to: chain.contract(),
        calldata: act.direct(),
        typed_data: act.typed_data(chain.chain_id(), chain.contract()),
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
