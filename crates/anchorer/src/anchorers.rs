//! Keys that anchor for tenants and pay nothing: they sign what goes out, and our own key posts it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use alloy::{
    primitives::{Address, Bytes},
    signers::Signer,
    sol_types::{SolCall, SolStruct},
};
use cofferdam_contracts::{
    AuditAnchor, Chain, IAuditAnchor,
    signing::{Anchor, Verifier, domain},
};
use cofferdam_store::SealedBatch;

use crate::AnchorError;

/// Anchorers' keys, by their addresses. Which tenant's each is says the contract, where the tenant's
/// authority named it; anything that signs a hash will do, a KMS too.
#[derive(Clone, Default)]
pub struct Anchorers(Arc<BTreeMap<Address, Arc<dyn Signer + Send + Sync>>>);

impl Anchorers {
    /// Of these keys.
    pub fn new<S: Signer + Send + Sync + 'static>(keys: impl IntoIterator<Item = S>) -> Self {
        let named = |key: S| (key.address(), Arc::new(key) as Arc<dyn Signer + Send + Sync>);
        Self(Arc::new(keys.into_iter().map(named).collect()))
    }

    /// Whether one of them is at this address.
    pub fn has(&self, anchorer: Address) -> bool {
        self.0.contains_key(&anchorer)
    }

    /// Signs a batch. The position has one root, which is on disk, so that there is one message that this
    /// can ever be, and it may be good for ever.
    pub(crate) async fn sign(
        &self,
        chain: &Chain,
        anchorer: Address,
        batch: &SealedBatch,
    ) -> Result<IAuditAnchor::SignedItem, AnchorError> {
        let message = Anchor {
            tenantId: batch.tenant.as_b256(),
            firstSeq: batch.first_seq.get(),
            count: batch.count,
            root: batch.root.into(),
            deadline: u64::MAX,
        };
        let domain = domain(Verifier::AuditAnchor, chain.chain_id(), chain.contract());
        let digest = message.eip712_signing_hash(&domain);
        let failed = |why: String| AnchorError::Anchorer { tenant: batch.tenant, anchorer, why };
        let key = self.0.get(&anchorer).ok_or_else(|| failed("there is no such key".into()))?;
        let signature = key.sign_hash(&digest).await.map_err(|error| failed(error.to_string()))?;
        let Anchor { tenantId, firstSeq, count, root, deadline } = message;
        let signature = signature.as_bytes().into();
        Ok(IAuditAnchor::SignedItem { tenantId, firstSeq, count, root, deadline, signature })
    }
}

impl fmt::Debug for Anchorers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A batch that is ready to go out.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    pub(crate) batch: SealedBatch,
    /// With its anchorer's signature, where our own key is not the anchorer.
    pub(crate) signed: Option<IAuditAnchor::SignedItem>,
}

/// The call that anchors batches of which all are signed, or none.
pub(crate) fn anchoring(ready: &[Ready]) -> Bytes {
    let items: Vec<_> = ready.iter().filter_map(|ready| ready.signed.clone()).collect();
    if !items.is_empty() {
        return AuditAnchor::anchorSignedCall { items }.abi_encode().into();
    }
    let items = ready.iter().map(|Ready { batch, .. }| IAuditAnchor::Item {
        tenantId: batch.tenant.as_b256(),
        firstSeq: batch.first_seq.get(),
        count: batch.count,
        root: batch.root.into(),
    });
    AuditAnchor::anchorManyCall { items: items.collect() }.abi_encode().into()
}
