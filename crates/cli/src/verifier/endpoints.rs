//! The endpoints that an auditor asks. One that disagrees with another decides nothing.

use std::{
    collections::HashMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::eips::BlockNumberOrTag;
use cofferdam_contracts::{Chain, Expected};
use cofferdam_core::{BlockHeader, Level, Policy, ProofError, TenantId};
use eyre::bail;
use tokio::sync::OnceCell;

use super::{AnchoredBatch, Reached, Refusal, Trust, VerifierPolicy};

const NOBODY: &str = "no RPC endpoint given: pass --rpc-url or set RPC_URL";

/// Connected when first needed: what is refused by itself needs nobody.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(crate) trust: Trust,
    connected: OnceCell<Vec<Endpoint>>,
}

/// One of them, and what it was asked before.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) chain: Chain,
    from: OnceCell<u64>,
    histories: Mutex<HashMap<TenantId, Arc<Vec<AnchoredBatch>>>>,
}

/// What a file claims that agrees with itself.
pub(crate) trait Claim: Sync {
    /// What to say where there is neither a pin nor anybody to ask.
    fn alone(&self) -> &'static str;

    /// The block under which it is proven, by these pins.
    fn prove(&self, pins: &Policy) -> Result<BlockHeader, ProofError>;

    /// What one endpoint says of it. The outer error is "could not tell".
    fn confirm(
        &self,
        endpoint: &Endpoint,
        pins: &Policy,
    ) -> impl Future<Output = eyre::Result<Result<Reached, Refusal>>> + Send;
}

impl Endpoints {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, connected: OnceCell::new() }
    }

    /// What is trusted without asking anybody.
    pub(crate) fn policy(&self) -> &VerifierPolicy {
        &self.trust.policy
    }

    /// Whether there is anybody to ask.
    pub(crate) fn any(&self) -> bool {
        !self.trust.urls.is_empty()
    }

    /// All of them, each serving the trusted chain with the trusted code.
    pub(crate) async fn all(&self) -> eyre::Result<&[Endpoint]> {
        if !self.any() {
            bail!(NOBODY);
        }
        Ok(self.connected.get_or_try_init(|| self.connect()).await?)
    }

    async fn connect(&self) -> eyre::Result<Vec<Endpoint>> {
        let policy = self.policy();
        let (chain_id, contract) = (policy.chain_id, policy.contract);
        let expected =
            Expected { chain_id: Some(chain_id), contract: Some(contract), ..Expected::default() };
        let mut connected = vec![];
        for url in &self.trust.urls {
            let chain = Chain::connect(url, expected).await?;
            if policy.code_hash.is_some_and(|hash| hash != chain.code_hash()) {
                bail!(
                    "the code at {contract} on chain {chain_id} has hash {}, not what the policy names; \
                     it cannot be trusted",
                    chain.code_hash()
                );
            }
            let from = OnceCell::new_with(policy.from_block);
            connected.push(Endpoint { chain, from, histories: Mutex::default() });
        }
        Ok(connected)
    }

    /// Demands that all answered alike; they are in the order of the URLs.
    pub(crate) fn same<T: PartialEq>(
        &self,
        what: impl Display,
        answers: Vec<T>,
    ) -> eyre::Result<T> {
        let mut answers = answers.into_iter().zip(&self.trust.urls);
        let Some((first, url)) = answers.next() else { bail!(NOBODY) };
        if let Some((_, other)) = answers.find(|(answer, _)| *answer != first) {
            bail!("the endpoints {url} and {other} disagree on {what}; one of them is wrong");
        }
        Ok(first)
    }

    /// How far a claim can be verified: by pinned hashes, and by what all endpoints confirm. The outer
    /// error is "could not tell".
    pub(crate) async fn reached(
        &self,
        claim: &impl Claim,
    ) -> eyre::Result<Result<Reached, Refusal>> {
        let pins = self.policy().pins();
        let proven = match claim.prove(&pins) {
            Ok(block) => Some(Reached::header_proved(block)),
            Err(error) if error.is_undecided() => None,
            Err(error) => return Ok(Err(error.into())),
        };
        if self.any() {
            let mut answers = vec![];
            for endpoint in self.all().await? {
                answers.push(claim.confirm(endpoint, &pins).await?);
            }
            return self.agreed(answers);
        }
        proven.map(Ok).ok_or_else(|| eyre::eyre!(claim.alone()))
    }

    /// What all say together. They may know different blocks to be final, and have caches of different
    /// age; on whether it is true they must agree.
    fn agreed(
        &self,
        answers: Vec<Result<Reached, Refusal>>,
    ) -> eyre::Result<Result<Reached, Refusal>> {
        self.same("whether it is true", answers.iter().map(Result::is_ok).collect())?;
        let mut reached: Option<Reached> = None;
        for answer in answers {
            match answer {
                Ok(more) => {
                    let so_far = reached.get_or_insert(more);
                    so_far.level = so_far.level.min(more.level);
                    so_far.refreshed |= more.refreshed;
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        reached.map(Ok).ok_or_else(|| eyre::eyre!(NOBODY))
    }
}

impl Endpoint {
    /// The block of a raw header under which a claim is proven, which this chain must have at that height.
    pub(crate) async fn prove(
        &self,
        claim: &impl Claim,
        header: &[u8],
        pins: &Policy,
    ) -> eyre::Result<Result<BlockHeader, Refusal>> {
        let header = match BlockHeader::decode(header).map_err(ProofError::from) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.into())),
        };
        let canonical = self.chain.header(header.number.into()).await?;
        if canonical.is_none_or(|it| it.hash != header.hash) {
            let reason = format!("block {} {} is not the chain's", header.number, header.hash);
            return Ok(Err(Refusal::new("proof", reason)));
        }
        let code_hash = Some(self.chain.code_hash());
        let pins = Policy { code_hash, block_hashes: vec![header.hash], ..pins.clone() };
        Ok(claim.prove(&pins).map_err(Refusal::from))
    }

    /// What this endpoint's word for something in a block is worth.
    pub(crate) async fn level(&self, block: u64) -> Level {
        let finalized = self.chain.header(BlockNumberOrTag::Finalized).await.ok().flatten();
        match finalized.is_some_and(|it| block <= it.number) {
            true => Level::Final,
            false => Level::ChainConfirmed,
        }
    }

    /// The tenant's batches, from its events alone: at least so many of them, from the cache if it has
    /// them.
    pub(crate) async fn history(
        &self,
        tenant: TenantId,
        least: u64,
    ) -> eyre::Result<Arc<Vec<AnchoredBatch>>> {
        let known = self.histories().get(&tenant).cloned();
        if let Some(known) = known.filter(|it| it.len() as u64 >= least) {
            return Ok(known);
        }
        let head = self.chain.head().await?;
        let read =
            Arc::new(super::history(&self.chain, tenant, self.from().await?, head.number).await?);
        if (read.len() as u64) < least {
            bail!(
                "the endpoint {} has events of {} batches only, the contract counts {least}; try \
                 another endpoint, or an earlier --from-block",
                self.chain.url(),
                read.len()
            );
        }
        self.histories().insert(tenant, Arc::clone(&read));
        Ok(read)
    }

    fn histories(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Vec<AnchoredBatch>>>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first block that can have an event.
    pub(crate) async fn from(&self) -> eyre::Result<u64> {
        let found =
            async || Ok::<_, eyre::Report>(self.chain.deployed_in().await?.unwrap_or_default());
        Ok(*self.from.get_or_try_init(found).await?)
    }
}
