//! Sends transactions of one key and waits until they are mined.
//!
//! The nonce is read from the chain under a lock for every transaction, never cached: a cached one
//! wedges every later send once a transaction was dropped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    eips::{BlockId, Encodable2718},
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{Address, B256, Bytes},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use cofferdam_contracts::{Chain, ChainError};
use cofferdam_store::{Sealer, SentTransaction, TransactionOutcome};
use tokio::sync::Mutex;
use tracing::{debug, warn};

use crate::AnchorError;

/// How long to wait before a receipt is asked for again: doubled from the first to the second.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long a transaction waits before its fee is raised.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it is waited for in all.
const LIMIT: Duration = Duration::from_secs(300);

/// A key that pays for transactions on one chain.
#[derive(Debug, Clone)]
pub struct Sender {
    chain: Chain,
    /// Where every hash is written down before it is sent.
    ledger: Option<Sealer>,
    address: Address,
    wallet: EthereumWallet,
    /// Held from reading the nonce until the transaction is mined.
    turn: Arc<Mutex<()>>,
}

/// The fee fields of a transaction, in wei per gas.
#[derive(Debug, Clone, Copy)]
struct Fees {
    max: u128,
    tip: u128,
}

impl Fees {
    /// What replaces a transaction in the pool: a tenth more and one, or the network's if higher.
    fn bumped(self, network: Self) -> Self {
        let bump = |old: u128| old + old.div_ceil(10) + 1;
        Self { max: bump(self.max).max(network.max), tip: bump(self.tip).max(network.tip) }
    }
}

impl Sender {
    /// A sender that pays with this key.
    pub fn new(chain: Chain, key: PrivateKeySigner) -> Self {
        let address = key.address();
        let wallet = EthereumWallet::from(key);
        Self { chain, ledger: None, address, wallet, turn: Arc::default() }
    }

    /// The same key, with every transaction written down: its hash before it is sent, what became of
    /// it after.
    pub(crate) fn booked(self, ledger: Sealer) -> Self {
        Self { ledger: Some(ledger), ..self }
    }

    /// The key's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The chain it sends to.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The gas the call would use; an error, with the contract's reason, when it would revert.
    pub async fn estimate(&self, to: Address, calldata: &Bytes) -> Result<u64, AnchorError> {
        let call = TransactionRequest::default()
            .with_from(self.address)
            .with_to(to)
            .with_input(calldata.clone());
        Ok(self.chain.estimate(call).await?)
    }

    /// Sends a call and waits until it is mined. Nothing is sent when it would revert; a receipt that
    /// comes back is of a transaction that did not.
    pub async fn send(
        &self,
        to: Address,
        calldata: Bytes,
    ) -> Result<TransactionReceipt, AnchorError> {
        let gas = self.estimate(to, &calldata).await?;
        self.send_with_gas(to, calldata, gas, 1).await
    }

    /// Sends a call of so many items whose gas was estimated before.
    pub(crate) async fn send_with_gas(
        &self,
        to: Address,
        calldata: Bytes,
        estimated: u64,
        items: u32,
    ) -> Result<TransactionReceipt, AnchorError> {
        let _turn = self.turn.lock().await;
        let provider = self.chain.provider();
        let nonce = provider.get_transaction_count(self.address).block_id(BlockId::latest());
        let nonce = self.chain.ask("cannot read the sender's nonce", nonce.into_future()).await?;
        let mut fees = self.network_fees().await?;
        // A fifth more than estimated, since other transactions may come first.
        let gas = estimated + estimated / 5;
        let request = TransactionRequest::default()
            .with_chain_id(self.chain.chain_id())
            .with_nonce(nonce)
            .with_to(to)
            .with_input(calldata)
            .with_gas_limit(gas);

        let start = Instant::now();
        let mut sent: Vec<B256> = vec![];
        let mut due = start;
        let mut pause = POLL.0;
        loop {
            if Instant::now() >= due {
                if !sent.is_empty() {
                    fees = fees.bumped(self.network_fees().await?);
                    warn!(nonce, attempts = sent.len(), "transaction not mined, raising its fee");
                }
                let (hash, raw) = self.sign(request.clone(), fees).await?;
                if let Some(ledger) = &self.ledger {
                    ledger.record_transaction(&SentTransaction { hash, nonce, items }).await?;
                }
                match self.chain.send_raw(&raw).await {
                    Ok(_) => sent.push(hash),
                    // An earlier hash may be mined already, or the pool may want still more.
                    Err(error) if !sent.is_empty() => debug!(%error, "replacement refused"),
                    Err(error) => return Err(error.into()),
                }
                due = Instant::now() + PATIENCE;
            }
            for hash in &sent {
                if let Some(receipt) = self.chain.receipt(*hash).await? {
                    self.finish(&sent, &receipt).await?;
                    if !receipt.status() {
                        return Err(AnchorError::Reverted(*hash));
                    }
                    return Ok(receipt);
                }
            }
            if let (true, Some(tx)) = (start.elapsed() > LIMIT, sent.last()) {
                return Err(AnchorError::NotMined { tx: *tx, after: start.elapsed() });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL.1);
        }
    }

    /// Writes down what became of each hash of a transaction, of which one was mined.
    async fn finish(&self, sent: &[B256], mined: &TransactionReceipt) -> Result<(), AnchorError> {
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let block_number = mined.block_number.unwrap_or_default();
        let (gas_used, effective_gas_price) = (mined.gas_used, mined.effective_gas_price);
        for hash in sent {
            let outcome = if *hash != mined.transaction_hash {
                TransactionOutcome::Dropped
            } else if mined.status() {
                TransactionOutcome::Included { block_number, gas_used, effective_gas_price }
            } else {
                TransactionOutcome::Reverted { block_number, gas_used, effective_gas_price }
            };
            ledger.finish_transaction(*hash, &outcome).await?;
        }
        Ok(())
    }

    async fn sign(
        &self,
        request: TransactionRequest,
        fees: Fees,
    ) -> Result<(B256, Bytes), AnchorError> {
        let request =
            request.with_max_fee_per_gas(fees.max).with_max_priority_fee_per_gas(fees.tip);
        let signed = request
            .build(&self.wallet)
            .await
            .map_err(|error| AnchorError::Signer(error.to_string()))?;
        Ok((*signed.tx_hash(), signed.encoded_2718().into()))
    }

    async fn network_fees(&self) -> Result<Fees, ChainError> {
        let fees = self.chain.provider().estimate_eip1559_fees();
        let fees = self.chain.ask("cannot read the network's fees", fees).await?;
        Ok(Fees { max: fees.max_fee_per_gas, tip: fees.max_priority_fee_per_gas })
    }
}
