//! A stack, its daemon, and what others do to its transactions.

use std::time::Duration;

use alloy::{
    primitives::{Address, B256, Bytes, U256, address},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use cofferdam_anchorer::{Anchorer, PostPolicy, SealPolicy, Sender};
use cofferdam_contracts::{AuditAnchor, Chain, Expected};
use cofferdam_store::{Intent, SealedBatch, Sealer};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    daemon::{Daemon, POLL},
    support::{CHAIN_ID, LIMIT, Stack, records},
};

/// Anvil's first account, which anchors on a devnet and is unlocked on every Anvil.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
pub(super) const ANCHORER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const LEASE: Duration = Duration::from_secs(2);

/// A policy that is quick to lose its patience.
pub(crate) fn posting() -> PostPolicy {
    PostPolicy {
        patience: Duration::from_millis(600),
        max_fee: 100_000_000_000,
        lease: LEASE,
        ..PostPolicy::default()
    }
}

/// A stack whose daemon can be watched while things happen to its transactions.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) chain: Chain,
    pub(crate) sealer: Sealer,
}

impl World {
    pub(crate) async fn with(records: &str) -> Self {
        let stack = Stack::with(records).await;
        let chain = stack.chain().await;
        let sealer = Sealer::connect(&stack.runtime_url(), CHAIN_ID).await.unwrap();
        Self { stack, chain, sealer }
    }

    /// What seals at once and posts by `policy`.
    pub(crate) fn anchorer(&self, policy: PostPolicy) -> Anchorer {
        let sender = Sender::new(self.chain.clone(), KEY.parse::<PrivateKeySigner>().unwrap());
        let seal = SealPolicy { max_age: Duration::ZERO, ..SealPolicy::default() };
        Anchorer::new(self.sealer.clone(), sender, seal).posting(policy)
    }

    /// A daemon that is quick to lose its patience, and its mirror.
    pub(super) async fn daemon(&self) -> Daemon {
        self.daemon_of(self.anchorer(posting())).await
    }

    pub(crate) async fn daemon_of(&self, anchorer: Anchorer) -> Daemon {
        Daemon::start(anchorer, &self.chain, &self.stack.runtime_url()).await
    }

    pub(crate) async fn ask(&self, method: &'static str, params: impl serde::Serialize) -> Value {
        let answer = self.chain.provider().raw_request(method.into(), json!(params)).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Asks the node itself, also where `chain` does not.
    pub(crate) async fn ask_node(
        &self,
        method: &'static str,
        params: impl serde::Serialize,
    ) -> Value {
        let url = self.stack.anvil.rpc_url().clone().into();
        let node = Chain::connect(&url, Expected::default()).await.unwrap();
        node.provider().raw_request(method.into(), json!(params)).await.unwrap()
    }

    /// Blocks come by themselves for every transaction, or only when asked for.
    pub(crate) async fn automine(&self, on: bool) {
        self.ask("evm_setAutomine", [on]).await;
    }

    pub(crate) async fn mine(&self) {
        self.ask("evm_mine", [(); 0]).await;
    }

    pub(super) async fn reorg(&self, depth: u64) {
        self.ask("anvil_reorg", (depth, [(); 0])).await;
    }

    pub(super) async fn set_balance(&self, wei: U256) {
        self.ask("anvil_setBalance", (ANCHORER, wei)).await;
    }

    pub(crate) async fn append(&self, tenant: &str, numbers: std::ops::Range<usize>) {
        self.stack.append(&records(tenant, numbers)).await;
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(&self, what: &str, mut now: impl AsyncFnMut() -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = now().await {
                    return found;
                }
                sleep(POLL).await;
            }
        };
        match timeout(LIMIT, waiting).await {
            Ok(found) => found,
            Err(_) => {
                let waiting =
                    self.sealer.leader().await.map(|leader| leader.and_then(|it| it.waiting));
                let unsettled = self.sealer.unsettled().await;
                panic!("never happened: {what}; waiting: {waiting:?}; {unsettled:#?}")
            }
        }
    }

    /// Waits until every entry of the tenants is anchored and mirrored.
    pub(crate) async fn settled(&self, entries: u64) {
        self.until("everything is anchored", async || {
            let stages = self.sealer.stages().await.unwrap();
            let included: u64 = stages.values().map(|stages| stages.included).sum();
            (included == entries).then_some(())
        })
        .await;
    }

    /// Waits for a transaction in the pool, and tells what the ledger knows of it.
    pub(crate) async fn pending(&self) -> Intent {
        self.until("a transaction in the pool", async || {
            let content = self.ask("txpool_content", [(); 0]).await;
            let pending = content["pending"].as_object().unwrap().values();
            let transactions = pending.flat_map(|by_nonce| by_nonce.as_object().unwrap().values());
            let hashes: Vec<B256> =
                transactions.map(|tx| tx["hash"].as_str().unwrap().parse().unwrap()).collect();
            let intents = self.sealer.unsettled().await.unwrap();
            intents
                .into_iter()
                .find(|intent| intent.attempts.iter().any(|attempt| hashes.contains(&attempt.hash)))
        })
        .await
    }

    /// Somebody else who has the key uses a nonce, at a price that nobody beats.
    pub(super) async fn foreign(&self, nonce: Option<u64>, to: Address, calldata: Bytes) {
        let price = U256::from(90_000_000_000_u64);
        let mut request = json!({
            "from": ANCHORER, "to": to, "input": calldata, "gas": U256::from(500_000),
            "maxFeePerGas": price, "maxPriorityFeePerGas": price,
        });
        if let Some(nonce) = nonce {
            request["nonce"] = json!(U256::from(nonce));
        }
        self.ask("eth_sendTransaction", [request]).await;
    }

    /// The same of a batch, with this root.
    pub(super) async fn foreign_anchor(&self, nonce: Option<u64>, batch: &SealedBatch, root: B256) {
        let call = AuditAnchor::anchorCall {
            tenantId: batch.tenant.as_b256(),
            firstSeq: batch.first_seq.get(),
            count: batch.count,
            root,
        };
        self.foreign(nonce, self.chain.contract(), call.abi_encode().into()).await;
    }

    /// The latest batch of a tenant.
    pub(crate) async fn last_batch(&self, tenant: &str) -> SealedBatch {
        let id = self.stack.tenant(tenant).await;
        let mut tx = self.sealer.tenant(id).await.unwrap();
        *tx.batches().await.unwrap().last().unwrap()
    }

    /// Every sealed batch of a tenant is on the chain exactly once, in order, and nothing was halted.
    pub(crate) async fn each_once(&self, tenant: &str) {
        let snapshot = self.stack.snapshot().await;
        assert_eq!(snapshot.incidents, []);
        let log = snapshot.named(tenant);
        let head = self.chain.head().await.unwrap().number;
        let id = self.stack.tenant(tenant).await;
        let events = self.chain.anchored(id, 0, head).await.unwrap();
        let on_chain: Vec<B256> = events
            .into_iter()
            .map(|logged| match logged.event {
                cofferdam_contracts::Event::Anchored(batch) => batch.root.into(),
                other => panic!("{other:?}"),
            })
            .collect();
        let sealed: Vec<B256> = log.batches.iter().map(|batch| batch.root.into()).collect();
        assert_eq!(on_chain, sealed);
    }
}
