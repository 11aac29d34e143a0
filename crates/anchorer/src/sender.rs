//! A key: it signs, and for a command it sends one transaction and waits until that is mined.
//!
//! The nonce is read from the chain under a lock for every transaction, never cached: a cached one
//! wedges every later send once a transaction was dropped. The daemon's own transactions go through
//! the ledger instead.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    eips::{BlockId, Encodable2718},
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder, TxSigner},
    primitives::{Address, B256, Bytes, Signature},
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
};
use cofferdam_contracts::Chain;
use cofferdam_store::Attempt;
use tokio::sync::Mutex;
use tracing::{debug, warn};

use crate::{AnchorError, fees::Fees};

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
    address: Address,
    wallet: EthereumWallet,
    /// Held from reading the nonce until the transaction is mined.
    turn: Arc<Mutex<()>>,
}

impl Sender {
    /// A sender that pays with this key: anything that signs transactions, a KMS too.
    pub fn new(chain: Chain, key: impl TxSigner<Signature> + Send + Sync + 'static) -> Self {
        let address = key.address();
        let wallet = EthereumWallet::from(key);
        Self { chain, address, wallet, turn: Arc::default() }
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
        let estimated = self.estimate(to, &calldata).await?;
        let _turn = self.turn.lock().await;
        let provider = self.chain.provider();
        let nonce = provider.get_transaction_count(self.address).block_id(BlockId::latest());
        let nonce = self.chain.ask("cannot read the sender's nonce", nonce.into_future()).await?;
        let mut fees = Fees::of_network(&self.chain).await?;
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
                    fees = fees.bumped(Fees::of_network(&self.chain).await?);
                    warn!(nonce, attempts = sent.len(), "transaction not mined, raising its fee");
                }
                let attempt = self.sign(request.clone(), fees).await?;
                match self.chain.send_raw(&attempt.raw).await {
                    Ok(_) => sent.push(attempt.hash),
                    // An earlier hash may be mined already, or the pool may want still more.
                    Err(error) if !sent.is_empty() => debug!(%error, "replacement refused"),
                    Err(error) => return Err(error.into()),
                }
                due = Instant::now() + PATIENCE;
            }
            for hash in &sent {
                if let Some(receipt) = self.chain.receipt(*hash).await? {
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

    /// Signs a transaction at these fees.
    pub(crate) async fn sign(
        &self,
        request: TransactionRequest,
        fees: Fees,
    ) -> Result<Attempt, AnchorError> {
        let request =
            request.with_max_fee_per_gas(fees.max).with_max_priority_fee_per_gas(fees.tip);
        let signed = request
            .build(&self.wallet)
            .await
            .map_err(|error| AnchorError::Signer(error.to_string()))?;
        Ok(Attempt {
            hash: *signed.tx_hash(),
            raw: signed.encoded_2718().into(),
            max_fee: fees.max,
            tip: fees.tip,
        })
    }
}
