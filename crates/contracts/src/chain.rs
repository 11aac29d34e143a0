//! A checked connection to AuditAnchor on one chain.

use std::{fmt, str::FromStr, time::Duration};

use alloy::{
    contract::{CallBuilder, CallDecoder},
    eips::BlockNumberOrTag,
    primitives::{Address, B256, Bytes, KECCAK256_EMPTY, keccak256},
    providers::{Provider, RootProvider},
    rpc::{
        client::RpcClient,
        types::{Filter, Log, TransactionReceipt, TransactionRequest},
    },
    transports::{
        RpcError, TransportErrorKind,
        http::{Http, reqwest},
    },
};
use cofferdam_core::{Batch, Commitment, EntryHash, Seq, TenantId};
use url::Url;

use crate::{AuditAnchor, ChainError, IAuditAnchor, Logged, Revert};

/// How long an endpoint may take to answer, unless said otherwise: an answer that never comes must not
/// stop a daemon.
const PATIENCE: Duration = Duration::from_secs(30);

/// An RPC URL. It often holds a key, so it is printed without path, query and credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct RpcUrl(Url);

impl RpcUrl {
    /// The URL itself, for the transport.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The URL of a WebSocket, `ws://` or `wss://`.
    pub fn web_socket(text: &str) -> Result<Self, ChainError> {
        Self::parse(text, ["ws", "wss"])
    }

    fn parse(text: &str, schemes: [&'static str; 2]) -> Result<Self, ChainError> {
        let url = Url::parse(text)
            .map_err(|error| ChainError::BadUrl { reason: error.to_string(), schemes })?;
        match url.scheme() {
            scheme if schemes.contains(&scheme) && url.has_host() => Ok(Self(url)),
            scheme => {
                Err(ChainError::BadUrl { reason: format!("its scheme is {scheme}://"), schemes })
            }
        }
    }

    /// `scheme://host:port`.
    fn endpoint(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Takes what this URL could give away out of somebody else's words.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.replace(self.0.as_str(), &self.endpoint());
        let path = self.0[url::Position::BeforePath..].trim_matches('/');
        for secret in [path, self.0.username(), self.0.password().unwrap_or_default()] {
            if !secret.is_empty() {
                text = text.replace(secret, "…");
            }
        }
        text
    }
}

impl FromStr for RpcUrl {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        Self::parse(text, ["http", "https"])
    }
}

impl From<Url> for RpcUrl {
    fn from(url: Url) -> Self {
        Self(url)
    }
}

impl fmt::Display for RpcUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint())
    }
}

impl fmt::Debug for RpcUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.endpoint())
    }
}

/// What the caller knows of the chain and its endpoint beforehand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// The chain's id; any when `None`.
    pub chain_id: Option<u64>,
    /// AuditAnchor's address; where CREATE2 puts it when `None`.
    pub contract: Option<Address>,
    /// How long the endpoint may take to answer; half a minute when `None`.
    pub patience: Option<Duration>,
}

/// What of a block's header is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The block's number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent: B256,
    /// Its time, in seconds.
    pub timestamp: u64,
    /// How much gas its transactions may use together.
    pub gas_limit: u64,
}

/// A connection to AuditAnchor on the chain it was checked to be on.
#[derive(Debug, Clone)]
pub struct Chain {
    provider: RootProvider,
    url: RpcUrl,
    chain_id: u64,
    contract: Address,
    code_hash: B256,
    /// A block before which the contract has no events, where that is known.
    since: Option<u64>,
    patience: Duration,
}

impl Chain {
    /// Connects, and refuses another chain than the expected one and an address without code.
    pub async fn connect(url: &RpcUrl, expected: Expected) -> Result<Self, ChainError> {
        Self::connect_undeployed(url, expected).await?.demand_code()
    }

    /// Connects like [`Chain::connect`], but takes an address where nothing is deployed yet.
    pub async fn connect_undeployed(url: &RpcUrl, expected: Expected) -> Result<Self, ChainError> {
        let patience = expected.patience.unwrap_or(PATIENCE);
        let client = reqwest::Client::builder().timeout(patience).build();
        let client = client.map_err(|error| ChainError::Rpc {
            what: "cannot make an HTTP client",
            endpoint: url.endpoint(),
            reason: url.redact(&error.to_string()),
        })?;
        let http = Http::with_client(client, url.0.clone());
        let local = http.guess_local();
        let mut chain = Self::of(RootProvider::new(RpcClient::new(http, local)), url.clone());
        chain.contract = expected.contract.unwrap_or(chain.contract);
        chain.patience = patience;
        (chain.chain_id, chain.code_hash) = chain.identity().await?;
        if let Some(id) = expected.chain_id.filter(|id| *id != chain.chain_id) {
            let (endpoint, actual) = (chain.url.endpoint(), chain.chain_id);
            return Err(ChainError::WrongChain { endpoint, expected: id, actual });
        }
        Ok(chain)
    }

    /// What the endpoint says now: the chain's id, and the hash of the code at AuditAnchor's address.
    pub async fn identity(&self) -> Result<(u64, B256), ChainError> {
        let id = self.ask("cannot read the chain id", self.provider.get_chain_id()).await?;
        let code = self.provider.get_code_at(self.contract).into_future();
        let code = self.ask("cannot read the contract's code", code).await?;
        Ok((id, keccak256(code)))
    }

    /// A connection that nothing is known of yet.
    pub(crate) fn of(provider: RootProvider, url: RpcUrl) -> Self {
        let contract = crate::deployment::audit_anchor();
        let (code_hash, since, patience) = (B256::ZERO, None, PATIENCE);
        Self { provider, url, chain_id: 0, contract, code_hash, since, patience }
    }

    /// Refuses an address without code.
    pub fn demand_code(self) -> Result<Self, ChainError> {
        if self.code_hash == KECCAK256_EMPTY {
            let (contract, chain_id) = (self.contract, self.chain_id);
            return Err(ChainError::NoCode { contract, chain_id });
        }
        Ok(self)
    }

    /// The same, knowing a block before which the contract has no events.
    pub fn since(self, block: Option<u64>) -> Self {
        Self { since: block, ..self }
    }

    /// How long the endpoint may take to answer.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// The chain's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// AuditAnchor's address.
    pub fn contract(&self) -> Address {
        self.contract
    }

    /// The hash of AuditAnchor's code on this chain.
    pub fn code_hash(&self) -> B256 {
        self.code_hash
    }

    /// The endpoint.
    pub fn url(&self) -> &RpcUrl {
        &self.url
    }

    /// The provider, for what this type does not wrap. Its errors may print the URL: pass them
    /// through [`Chain::error`].
    pub fn provider(&self) -> &RootProvider {
        &self.provider
    }

    /// Makes an error that says what was asked and leaves the URL's secrets out.
    pub fn error(&self, what: &'static str, error: &dyn std::error::Error) -> ChainError {
        ChainError::Rpc { what, endpoint: self.url.endpoint(), reason: self.reason(error) }
    }

    fn reason(&self, error: &dyn std::error::Error) -> String {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !reason.contains(&inner_text) {
                reason = format!("{reason}: {inner_text}");
            }
            source = inner.source();
        }
        self.url.redact(&reason)
    }

    /// Awaits an answer and gives its error a meaning: a contract's refusal is told by its name.
    pub async fn ask<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, RpcError<TransportErrorKind>>>,
    ) -> Result<T, ChainError> {
        answer.await.map_err(|error| self.refusal(what, &error))
    }

    /// Asks a contract's view through its binding, and gives its error a meaning.
    pub async fn view<P: Provider, D: CallDecoder>(
        &self,
        what: &'static str,
        call: &CallBuilder<P, D>,
    ) -> Result<D::CallOutput, ChainError> {
        call.call().await.map_err(|error| match &error {
            alloy::contract::Error::TransportError(error) => self.refusal(what, error),
            error => self.error(what, error),
        })
    }

    fn refusal(&self, what: &'static str, error: &RpcError<TransportErrorKind>) -> ChainError {
        if let Some(data) = error.as_error_resp().and_then(|answer| answer.as_revert_data()) {
            return ChainError::Reverted { what, revert: Box::new(Revert::decode(data)) };
        }
        let http = error.as_transport_err().and_then(TransportErrorKind::as_http_error);
        match http.map(|http| http.status) {
            Some(401 | 403 | 404) => ChainError::Denied {
                what,
                endpoint: self.url.endpoint(),
                reason: self.reason(error),
            },
            _ => self.error(what, error),
        }
    }

    /// The header at a height or tag; `None` when the chain has no such block (yet).
    pub async fn header(&self, at: BlockNumberOrTag) -> Result<Option<Header>, ChainError> {
        /// What a node calls a tag that it does not know, or a block that it does not have: invalid
        /// parameters, no such resource, unknown block.
        const UNKNOWN: [i64; 3] = [-32_602, -32_001, -39_001];
        let block = match self.provider.get_block_by_number(at).await {
            Err(error) if error.as_error_resp().is_some_and(|it| UNKNOWN.contains(&it.code)) => {
                return Ok(None);
            }
            answer => answer.map_err(|error| self.refusal("cannot read a block", &error))?,
        };
        Ok(block.map(|block| Header {
            number: block.header.number,
            hash: block.header.hash,
            parent: block.header.parent_hash,
            timestamp: block.header.timestamp,
            gas_limit: block.header.gas_limit,
        }))
    }

    /// The newest block's header.
    pub async fn head(&self) -> Result<Header, ChainError> {
        self.header(BlockNumberOrTag::Latest).await?.ok_or(ChainError::Malformed {
            what: "no newest block",
            reason: "a chain always has one".into(),
        })
    }

    /// All events of AuditAnchor in a range of blocks, both ends included, in the chain's order.
    pub async fn events(&self, from: u64, to: u64) -> Result<Vec<Logged>, ChainError> {
        let filter = Filter::new().address(self.contract).from_block(from).to_block(to);
        let logs = self.ask("cannot read logs", self.provider.get_logs(&filter)).await?;
        logs.iter().map(Logged::try_from).collect()
    }

    /// Logs in a range of blocks, both ends included, in the chain's order. Where the endpoint refuses
    /// so long a range, it is asked for shorter ones.
    pub async fn logs(&self, filter: Filter, from: u64, to: u64) -> Result<Vec<Log>, ChainError> {
        const SHORTEST: u64 = 500;
        let (mut logs, mut next, mut span) = (vec![], from, to.saturating_sub(from) + 1);
        while next <= to {
            let last = to.min(next.saturating_add(span - 1));
            let part = filter.clone().from_block(next).to_block(last);
            match self.ask("cannot read logs", self.provider.get_logs(&part)).await {
                Ok(part) => {
                    logs.extend(part);
                    next = last + 1;
                }
                Err(error) if span <= SHORTEST => return Err(error),
                Err(_) => span = span.div_ceil(2),
            }
        }
        Ok(logs)
    }

    /// Whether there is a contract at an address.
    pub async fn has_code(&self, address: Address) -> Result<bool, ChainError> {
        let code = self.provider.get_code_at(address).into_future();
        Ok(!self.ask("cannot read code", code).await?.is_empty())
    }

    /// The `Anchored` events of one tenant in a range of blocks, both ends included.
    pub async fn anchored(
        &self,
        tenant: TenantId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Logged>, ChainError> {
        use alloy::sol_types::SolEvent;
        let filter = Filter::new()
            .address(self.contract)
            .event_signature(AuditAnchor::Anchored::SIGNATURE_HASH)
            .topic1(tenant.as_b256());
        self.logs(filter, from, to).await?.iter().map(Logged::try_from).collect()
    }

    /// The contract's heads of many tenants, in the same order.
    pub async fn heads(&self, tenants: &[TenantId]) -> Result<Vec<IAuditAnchor::Head>, ChainError> {
        let mut heads = Vec::with_capacity(tenants.len());
        // Nodes bound the gas of a call; a cold head costs about 3,000.
        for tenants in tenants.chunks(2_000) {
            let ids = tenants.iter().map(TenantId::as_b256).collect();
            let binding = self.binding();
            heads.extend(self.view("cannot read heads", &binding.heads(ids)).await?);
        }
        Ok(heads)
    }

    /// The nonce of the tenant's next `SetAnchorer` signature.
    pub async fn nonce_of(&self, tenant: TenantId) -> Result<u64, ChainError> {
        let binding = self.binding();
        self.view("cannot read the tenant's nonce", &binding.nonceOf(tenant.as_b256())).await
    }

    /// Asks the contract's own view whether an entry is in an anchored batch.
    pub async fn verify_entry(
        &self,
        tenant: TenantId,
        entry: (Seq, EntryHash, Commitment),
        batch: &Batch,
        path: &[B256],
        history_path: &[B256],
    ) -> Result<bool, ChainError> {
        let (seq, previous, commitment) = entry;
        let binding = self.binding();
        let call = binding.verifyEntry(
            tenant.as_b256(),
            IAuditAnchor::Entry {
                seq: seq.get(),
                previous: previous.into(),
                commitment: commitment.into(),
            },
            IAuditAnchor::Batch {
                batchIndex: batch.index.get(),
                firstSeq: batch.first_seq.get(),
                count: batch.count,
                root: batch.root.into(),
                anchoredAt: batch.anchored_at,
            },
            path.to_vec(),
            history_path.to_vec(),
        );
        self.view("cannot call verifyEntry", &call).await
    }

    /// The transaction's receipt; `None` while it is not mined.
    pub async fn receipt(&self, tx: B256) -> Result<Option<TransactionReceipt>, ChainError> {
        self.ask("cannot read a receipt", self.provider.get_transaction_receipt(tx)).await
    }

    /// The gas that a call would use now; an error, with the contract's reason, when it would revert.
    pub async fn estimate(&self, request: TransactionRequest) -> Result<u64, ChainError> {
        let call = self.provider.estimate_gas(request).into_future();
        self.ask("the transaction would fail", call).await
    }

    /// Hands a signed transaction to the node.
    pub async fn send_raw(&self, raw: &Bytes) -> Result<B256, ChainError> {
        let sent = self.provider.send_raw_transaction(raw);
        Ok(*self.ask("cannot send a transaction", sent).await?.tx_hash())
    }

    /// The block that created AuditAnchor, or one before; `None` where the node has no old state and
    /// nobody else knows.
    pub async fn deployed_in(&self) -> Result<Option<u64>, ChainError> {
        Ok(self.created_in(self.contract).await?.or(self.since))
    }

    /// The block that created the contract at an address, found by bisection over the chain's state;
    /// `None` where the node has no old state.
    pub async fn created_in(&self, contract: Address) -> Result<Option<u64>, ChainError> {
        let (mut low, mut high) = (0, self.head().await?.number);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = self.provider.get_code_at(contract).number(middle);
            let Ok(code) = at.await else { return Ok(None) };
            if code.is_empty() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Some(low))
    }

    /// The generated binding at this chain's contract.
    pub fn binding(&self) -> AuditAnchor::AuditAnchorInstance<&RootProvider> {
        AuditAnchor::new(self.contract, &self.provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_an_rpc_url_that_can_hold_a_key_is_printed() {
        let url: RpcUrl =
            "https://user:hunter2@rpc.example/v2/s3cret-key?token=t0ken".parse().expect("a URL");
        let said = "error sending request for url (https://user:hunter2@rpc.example/v2/s3cret-key?token=t0ken): \
                    no route to v2/s3cret-key?token=t0ken as user";
        let printed = format!("{url} {url:?} {}", url.redact(said));
        for secret in ["hunter2", "s3cret-key", "t0ken"] {
            assert!(!printed.contains(secret), "{secret} in: {printed}");
        }
        assert!(printed.contains("https://rpc.example"), "{printed}");
    }

    #[test]
    fn only_http_urls_are_taken() {
        for text in ["ws://localhost:8545", "localhost:8545", "", "file:///etc/passwd"] {
            assert!(text.parse::<RpcUrl>().is_err(), "{text}");
        }
    }
}
