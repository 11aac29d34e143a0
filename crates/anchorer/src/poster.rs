//! The state machine of a key's transactions.
//!
//! All of it is in the ledger and on the chain: an intent is *open* while any of its hashes may still be
//! put in a block, *mined* once one is, *taken* when somebody else's transaction used the nonce up, and
//! *settled* when that is in a final block. A reorg opens it again. What is kept in memory is only when
//! something was last sent, so that a restart takes up where it was by sending at once.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::{BlockId, BlockNumberOrTag, Decodable2718},
    network::TransactionBuilder,
    primitives::{Address, B256, Bytes, U256},
    providers::Provider,
    rpc::types::TransactionRequest,
    sol_types::SolEvent,
};
use cofferdam_contracts::{
    Chain, ChainError, Event, Header, Logged, Paid, PolicyRegistry, deployment::Deployment,
};
use cofferdam_core::{PolicyVersion, TenantId};
use cofferdam_store::{Attempt, Finality, Intent, Item, Mined, Outcome, Sealer};
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use crate::{AnchorError, Posted, Sender, fees::Fees};

/// How transactions are sent.
#[derive(Debug, Clone, Copy)]
pub struct PostPolicy {
    /// How long a transaction waits before its fee is raised.
    pub patience: Duration,
    /// The most it may come to pay a unit of gas, in wei.
    pub max_fee: u128,
    /// Transactions under way at once.
    pub in_flight: usize,
    /// Batches in one of them; a tenant's first one is the dearest, at some 40,000 gas.
    pub max_items: usize,
    /// How long a daemon that has stopped renewing its lease still leads.
    pub lease: Duration,
    /// How long a step may take before it is given up, and the lead with it: an answer may never come,
    /// as on a connection that was lost without a word.
    pub step: Duration,
    /// How many blocks below the newest one is final where the chain does not say so itself; half as
    /// many make it safe. Far more than it takes: an endpoint may only fail to answer for once.
    pub final_depth: u64,
}

impl Default for PostPolicy {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            max_fee: 10_000_000_000,
            in_flight: 4,
            max_items: 300,
            lease: Duration::from_secs(15),
            step: Duration::from_secs(300),
            final_depth: 1_000,
        }
    }
}

/// A key's transactions on one chain.
#[derive(Debug)]
pub(crate) struct Poster {
    pub(crate) sender: Sender,
    pub(crate) policy: PostPolicy,
    /// The PolicyRegistry.
    pub(crate) registry: Address,
    /// Tenants whose waiting policies were looked at since it began with the oldest.
    pub(crate) looked_at: Mutex<Vec<TenantId>>,
    /// When a hash was handed to the node, and what came of that.
    sent: Mutex<HashMap<B256, Sending>>,
    /// Since when an intent's nonce has been used up without a receipt of ours, by the intent's first hash.
    missed: Mutex<HashMap<B256, Instant>>,
}

#[derive(Debug, Clone, Copy)]
struct Sending {
    first: Instant,
    last: Instant,
    pool: Pool,
}

/// What a node's pool said to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    /// It has it, as far as is known.
    Taken,
    /// It wants more for it.
    Underpriced,
    /// The key cannot pay for it.
    Unpaid,
}

/// What following the ledger came to.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Transactions that were found in a block.
    pub(crate) posted: Vec<Posted>,
    /// Nonces of ours that are spoken for.
    nonces: HashSet<u64>,
    /// The first nonce that the chain has not used up.
    next: u64,
    /// Intents of ours that may still be put in a block.
    pub(crate) open: usize,
    /// What stands in the way.
    pub(crate) waiting: Option<String>,
}

impl Followed {
    /// The nonce for the next transaction: the first that nobody uses, so that gaps are filled.
    fn free_nonce(&self) -> u64 {
        (self.next..).find(|nonce| !self.nonces.contains(nonce)).unwrap_or(self.next)
    }

    /// Whether an open transaction waits behind a nonce that nothing uses.
    pub(crate) fn has_gap(&self) -> bool {
        let free = self.free_nonce();
        self.nonces.iter().any(|nonce| *nonce > free)
    }
}

impl Poster {
    pub(crate) fn new(sender: Sender, policy: PostPolicy) -> Self {
        let registry = Deployment::default().policy_registry;
        Self {
            sender,
            policy,
            registry,
            looked_at: Mutex::default(),
            sent: Mutex::default(),
            missed: Mutex::default(),
        }
    }

    /// The same, for another PolicyRegistry.
    pub(crate) fn publishing(self, registry: Address) -> Self {
        Self { registry, ..self }
    }

    pub(crate) fn chain(&self) -> &Chain {
        self.sender.chain()
    }

    /// Finds out how settled the chain is, and writes it down.
    pub(crate) async fn finality(&self, ledger: &Sealer) -> Result<Finality, AnchorError> {
        let head = self.chain().head().await?.number;
        let depth = self.policy.final_depth;
        let tagged = async |tag, depth: u64| {
            let header = self.chain().header(tag).await?;
            // Not a word of this chain: what lies deep enough.
            let number = header.map_or(head.saturating_sub(depth), |header| header.number);
            Ok::<_, ChainError>(number)
        };
        let safe = tagged(BlockNumberOrTag::Safe, depth / 2).await?;
        let last_final = tagged(BlockNumberOrTag::Finalized, depth).await?;
        let at = Finality { head, safe, last_final };
        ledger.set_finality(at).await?;
        Ok(at)
    }

    /// Brings the ledger up to what the chain says, and sends again what needs it.
    pub(crate) async fn follow(
        &self,
        ledger: &Sealer,
        finality: Finality,
    ) -> Result<Followed, AnchorError> {
        let us = self.sender.address();
        let mut intents = ledger.unsettled().await?;
        // A key that was replaced may have left something under way.
        let mut next = HashMap::from([(us, self.next_nonce(us).await?)]);
        for Intent { sender, .. } in &intents {
            if !next.contains_key(sender) {
                next.insert(*sender, self.next_nonce(*sender).await?);
            }
        }
        let mut followed = Followed { next: next[&us], ..Followed::default() };
        self.forget_all_but(&intents).await;
        let stands = self.newest_stands(&intents, finality.head).await?;
        for intent in &mut intents {
            let before = intent.outcome;
            if !(stands && matches!(before, Outcome::Mined { .. })) {
                let used_up = intent.nonce < next[&intent.sender];
                self.look(ledger, intent, used_up, finality.head, &mut followed.posted).await?;
            }
            if let Outcome::Mined { block_number, .. } | Outcome::Taken { block_number } =
                intent.outcome
                && block_number <= finality.last_final
            {
                ledger.settle(intent).await?;
            } else if intent.sender == us {
                followed.nonces.insert(intent.nonce);
            } else if intent.outcome == Outcome::Open {
                // The key was replaced: the contract takes nothing from this one any more.
                ledger.abandon(intent, finality.last_final).await?;
            }
            if intent.outcome == Outcome::Open && intent.sender == us {
                followed.open += 1;
                if before != Outcome::Open {
                    // Its bytes were not read: the next step has them.
                    continue;
                }
                let due = intent.nonce == followed.next;
                if let Err(error) = self.push(ledger, intent, due).await {
                    let AnchorError::Chain(error) = error else { return Err(error) };
                    warn!(nonce = intent.nonce, %error, "transaction not sent, trying again");
                    followed.waiting = Some(error.to_string());
                }
            }
        }
        Ok(followed)
    }

    /// Whether the newest block that a mined transaction is in is still the chain's. Every older one
    /// is then, too, since all were found on one chain. A node that does not have it yet lags.
    async fn newest_stands(&self, intents: &[Intent], head: u64) -> Result<bool, AnchorError> {
        let newest = intents.iter().filter_map(|intent| match intent.outcome {
            Outcome::Mined { block_number, block_hash, .. } => Some((block_number, block_hash)),
            _ => None,
        });
        let Some((number, hash)) = newest.max_by_key(|(number, _)| *number) else {
            return Ok(true);
        };
        let header = self.chain().header(BlockNumberOrTag::Number(number)).await?;
        Ok(header.map_or(head < number, |header| header.hash == hash))
    }

    /// Finds out what became of an intent and writes down what changed.
    async fn look(
        &self,
        ledger: &Sealer,
        intent: &mut Intent,
        used_up: bool,
        head: u64,
        posted: &mut Vec<Posted>,
    ) -> Result<(), AnchorError> {
        for attempt in intent.attempts.iter().rev() {
            let Some(paid) = self.chain().paid(attempt.hash).await? else { continue };
            self.missed.lock().await.remove(&intent.id);
            let (mined, done) = self.read(paid)?;
            let outcome = Outcome::Mined {
                hash: mined.hash,
                block_number: mined.block_number,
                block_hash: mined.block_hash,
            };
            if intent.outcome != outcome {
                ledger.mined(intent, &mined).await?;
                intent.outcome = outcome;
                let Posted { tx, anchored, published, gas_used: gas, .. } = done;
                info!(nonce = intent.nonce, %tx, anchored, published, gas, "transaction mined");
                posted.push(done);
            }
            return Ok(());
        }
        match intent.outcome {
            Outcome::Taken { .. } if used_up => {}
            _ if used_up && !self.is_missed(intent).await => {}
            _ if used_up => {
                warn!(nonce = intent.nonce, "nonce used up by another transaction");
                ledger.taken(intent, head).await?;
                intent.outcome = Outcome::Taken { block_number: head };
            }
            Outcome::Open => {}
            _ => {
                warn!(nonce = intent.nonce, "the chain took a transaction back");
                ledger.reopen(intent).await?;
                intent.outcome = Outcome::Open;
            }
        }
        Ok(())
    }

    /// Whether an intent whose nonce is used up has had no receipt for long enough: behind one URL there may be
    /// several nodes, of which one lags.
    async fn is_missed(&self, intent: &Intent) -> bool {
        let mut missed = self.missed.lock().await;
        let since = missed.entry(intent.id).or_insert_with(Instant::now);
        since.elapsed() >= self.policy.patience / 3
    }

    /// Sends an open intent again where that is needed: at a higher fee once it is next, has waited
    /// long enough and the network asks for more; as it is before, and where no offer would help.
    async fn push(&self, ledger: &Sealer, intent: &Intent, next: bool) -> Result<(), AnchorError> {
        let Some(newest) = intent.attempts.last() else { return Ok(()) };
        let sending = self.sent.lock().await.get(&newest.hash).copied();
        let Some(sending) = sending else { return self.republish(intent).await };
        // A pool that wants more is given more sooner, but never races to the ceiling.
        let underpriced = sending.pool == Pool::Underpriced;
        let patience = self.policy.patience / if underpriced { 3 } else { 1 };
        if next && sending.pool != Pool::Unpaid && sending.first.elapsed() >= patience {
            let network = Fees::of_network(self.chain()).await?;
            let old = Fees { max: newest.max_fee, tip: newest.tip };
            if (underpriced || !old.suffices(network))
                && let Some(fees) = old.bumped_within(network, self.policy.max_fee)
            {
                let attempt = self.again(newest, fees).await?;
                warn!(
                    nonce = intent.nonce,
                    max_fee = fees.max,
                    "transaction not mined, raising its fee"
                );
                ledger.record_attempt(intent, &attempt).await?;
                if let Err(error) = self.publish(&attempt).await {
                    debug!(%error, "replacement refused, sending the one before again");
                    return self.republish(intent).await;
                }
                return Ok(());
            }
        }
        if sending.last.elapsed() >= self.policy.patience / 3 {
            return self.republish(intent).await;
        }
        Ok(())
    }

    /// Hands the dearest attempt that it takes to the node: an empty wallet may pay for one before.
    async fn republish(&self, intent: &Intent) -> Result<(), AnchorError> {
        let mut refused = Ok(());
        for attempt in intent.attempts.iter().rev() {
            match self.publish(attempt).await {
                Err(error) if refused.is_ok() => refused = Err(error),
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
        refused
    }

    /// Hands an attempt to the node. That it has it already, or that the nonce is used up, is no error:
    /// the next look tells.
    async fn publish(&self, attempt: &Attempt) -> Result<(), AnchorError> {
        let now = Instant::now();
        let answer = self.chain().send_raw(&attempt.raw).await;
        let said = answer.as_ref().err().map(|error| error.to_string().to_lowercase());
        let says = |words: &[&str]| {
            said.as_ref().is_some_and(|said| words.iter().any(|word| said.contains(word)))
        };
        let pool = if says(&["underpriced", "less than block base fee", "fee too low"]) {
            Pool::Underpriced
        } else if says(&["insufficient funds", "insufficient balance"]) {
            Pool::Unpaid
        } else {
            Pool::Taken
        };
        let known = ["already known", "already imported", "known transaction", "nonce too low"];
        let has_it = says(&known);
        let mut sent = self.sent.lock().await;
        let sending = sent.entry(attempt.hash).or_insert(Sending { first: now, last: now, pool });
        if sending.pool == Pool::Unpaid {
            // It has waited for funds until now, not for a block.
            sending.first = now;
        }
        (sending.last, sending.pool) = (now, pool);
        match answer {
            Err(error) if !has_it => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Signs the same thing at another fee.
    async fn again(&self, attempt: &Attempt, fees: Fees) -> Result<Attempt, AnchorError> {
        let old = TxEnvelope::decode_2718(&mut attempt.raw.as_ref())
            .map_err(|error| AnchorError::Signer(format!("the ledger's bytes: {error}")))?;
        let request = TransactionRequest::default()
            .with_chain_id(self.chain().chain_id())
            .with_nonce(old.nonce())
            .with_to(old.to().unwrap_or_default())
            .with_input(old.input().clone())
            .with_gas_limit(old.gas_limit());
        self.sender.sign(request, fees).await
    }

    /// Signs a call, writes it down, and sends it. What the node says to that is for the next look.
    pub(crate) async fn post(
        &self,
        ledger: &Sealer,
        followed: &mut Followed,
        call: Call,
        fees: Fees,
        items: &[(TenantId, Item)],
    ) -> Result<(), AnchorError> {
        let nonce = followed.free_nonce();
        let request = TransactionRequest::default()
            .with_chain_id(self.chain().chain_id())
            .with_nonce(nonce)
            .with_to(call.to)
            .with_input(call.calldata)
            .with_gas_limit(call.gas);
        let attempt = self.sender.sign(request, fees).await?;
        if let Some(short) = self.short_of(&attempt, call.gas).await? {
            followed.waiting = Some(short);
            return Ok(());
        }
        ledger.record_intent(self.sender.address(), nonce, &attempt, items).await?;
        info!(nonce, tx = %attempt.hash, items = items.len(), "transaction recorded");
        followed.nonces.insert(nonce);
        followed.open += 1;
        if let Err(error) = self.publish(&attempt).await {
            warn!(nonce, %error, "transaction not sent, trying again");
            followed.waiting = Some(error.to_string());
        }
        Ok(())
    }

    /// What the key lacks to pay for an attempt, in words.
    async fn short_of(&self, attempt: &Attempt, gas: u64) -> Result<Option<String>, AnchorError> {
        let (chain, us) = (self.chain(), self.sender.address());
        let needed = U256::from(gas) * U256::from(attempt.max_fee)
            + chain.surcharge(&attempt.raw, gas).await?;
        let balance = chain.provider().get_balance(us).into_future();
        let balance = chain.ask("cannot read the balance", balance).await?;
        Ok((balance < needed).then(|| {
            format!(
                "{us} has {balance} wei and the next transaction may take {needed}: send it funds"
            )
        }))
    }

    /// The first nonce of a key that the chain has not used up.
    async fn next_nonce(&self, of: Address) -> Result<u64, ChainError> {
        let chain = self.chain();
        let nonce = chain.provider().get_transaction_count(of);
        let nonce = nonce.block_id(BlockId::latest()).into_future();
        chain.ask("cannot read the sender's nonce", nonce).await
    }

    /// Reads from a receipt what became of each batch and policy.
    fn read(&self, paid: Paid) -> Result<(Mined, Posted), AnchorError> {
        let Paid { receipt, l1_fee, operator_fee } = paid;
        let mut posted = Posted {
            tx: receipt.transaction_hash,
            gas_used: receipt.gas_used,
            ..Posted::default()
        };
        let mut done = vec![];
        for log in receipt.inner.logs().iter().filter(|l| l.address() == self.chain().contract()) {
            match Logged::try_from(log)?.event {
                Event::Anchored(batch) => done.push((batch.tenant, Item::Batch(batch.index))),
                Event::Skipped { tenant_id, reason, .. } => {
                    posted.skipped += 1;
                    warn!(tenant = %tenant_id, reason, tx = %posted.tx, "batch skipped");
                }
                Event::AnchorerSet { .. } => {}
            }
        }
        posted.anchored = done.len();
        for log in receipt.inner.logs().iter().filter(|log| log.address() == self.registry) {
            let event = PolicyRegistry::PolicyPublished::decode_log(&log.inner);
            // A revocation is none of ours.
            let Ok(event) = event else { continue };
            let Ok(tenant) = TenantId::try_from(event.tenantId) else { continue };
            done.push((tenant, Item::Policy(PolicyVersion(event.version))));
        }
        posted.published = done.len() - posted.anchored;
        let missing =
            |what| ChainError::Malformed { what: "a receipt", reason: format!("no {what}") };
        let mined = Mined {
            hash: receipt.transaction_hash,
            success: receipt.status(),
            block_number: receipt.block_number.ok_or_else(|| missing("block number"))?,
            block_hash: receipt.block_hash.ok_or_else(|| missing("block hash"))?,
            gas_used: receipt.gas_used,
            effective_gas_price: receipt.effective_gas_price,
            l1_fee,
            operator_fee,
            done,
        };
        Ok((mined, posted))
    }

    /// Forgets when hashes were sent that are not in the ledger any more.
    async fn forget_all_but(&self, intents: &[Intent]) {
        let kept: HashSet<B256> =
            intents.iter().flat_map(|it| &it.attempts).map(|attempt| attempt.hash).collect();
        self.sent.lock().await.retain(|hash, _| kept.contains(hash));
        self.missed.lock().await.retain(|hash, _| kept.contains(hash));
    }
}

/// What a transaction does.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) to: Address,
    pub(crate) calldata: Bytes,
    /// Its gas limit.
    pub(crate) gas: u64,
}

impl Call {
    /// Does nothing but use up a nonce.
    pub(crate) fn nothing(us: Address) -> Self {
        Self { to: us, calldata: Bytes::new(), gas: 21_000 }
    }
}

/// The gas that a transaction may use in a block.
pub(crate) fn gas_limit(head: &Header) -> u64 {
    /// The most that Base takes in one transaction (EIP-7825), in gas.
    const MAX_TRANSACTION_GAS: u64 = 16_777_216;
    head.gas_limit.min(MAX_TRANSACTION_GAS)
}
