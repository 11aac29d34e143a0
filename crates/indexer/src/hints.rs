//! New blocks, heard of as they come: a reason to look at once and not at the next poll, and nothing more.
//!
//! What is heard is not believed, and what is not heard is missed by nobody: every block is read as the next poll
//! would have read it. So a subscription may lag, lie, repeat itself or end.

use std::{fmt::Display, sync::Arc, time::Duration};

use alloy::{
    providers::{Provider, RootProvider, WsConnect},
    pubsub::{ConnectionHandle, PubSubConnect, RawSubscription},
    rpc::client::RpcClient,
    transports::{TransportError, TransportErrorKind, TransportResult},
};
use cofferdam_contracts::{ChainError, RpcUrl};
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

/// Blocks are looked for no more often, whatever is heard.
const BREATH: Duration = Duration::from_millis(100);
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who says nothing for so long is connected to again.
const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait before that: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Where to hear of new blocks.
#[derive(Debug, Clone)]
pub struct Hints {
    url: RpcUrl,
    chain_id: u64,
}

impl Hints {
    /// Those of a chain at a WebSocket.
    pub fn new(url: RpcUrl, chain_id: u64) -> Self {
        Self { url, chain_id }
    }

    /// Tries once whether new blocks of this chain would be heard of.
    pub async fn check(&self) -> Result<(), ChainError> {
        self.subscribe().await.map(drop)
    }

    /// Tells of every new block, and of every connection: what came while there was none was not heard of.
    /// Never returns.
    pub(crate) async fn listen(self, heard: Arc<Notify>) {
        let (mut pause, mut was_there) = (PAUSE.0, None);
        loop {
            match self.subscribe().await {
                Ok((_provider, mut blocks)) => {
                    if was_there.replace(true) != Some(true) {
                        info!(endpoint = %self.url, "hearing of new blocks");
                    }
                    pause = PAUSE.0;
                    loop {
                        heard.notify_one();
                        sleep(BREATH).await;
                        match timeout(SILENCE, blocks.recv()).await {
                            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                            Ok(Err(RecvError::Closed)) | Err(_) => break,
                        }
                    }
                }
                Err(error) if was_there.replace(false) != Some(false) => {
                    warn!(%error, "not hearing of new blocks, they are polled for");
                }
                Err(error) => debug!(%error, "still not hearing of new blocks"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// The subscription, which lasts as long as the provider.
    async fn subscribe(&self) -> Result<(RootProvider, RawSubscription), ChainError> {
        let endpoint = self.url.to_string();
        let connecting = async {
            let socket = Once(WsConnect::new(self.url.expose().as_str()).with_max_retries(0));
            let provider: RootProvider =
                RootProvider::new(RpcClient::connect_pubsub(socket).await?);
            let id = provider.get_chain_id().await?;
            let blocks = provider.subscribe_blocks().await?.into_raw();
            Ok::<_, TransportError>((provider, id, blocks))
        };
        let error = |reason: &dyn Display| ChainError::Rpc {
            what: "cannot subscribe to new blocks",
            endpoint: endpoint.clone(),
            reason: self.url.redact(&reason.to_string()),
        };
        let (provider, actual, blocks) = match timeout(PATIENCE, connecting).await {
            Ok(connected) => connected.map_err(|reason| error(&reason))?,
            Err(elapsed) => return Err(error(&elapsed)),
        };
        if actual != self.chain_id {
            return Err(ChainError::WrongChain { endpoint, expected: self.chain_id, actual });
        }
        Ok((provider, blocks))
    }
}

/// A connection that ends when it breaks. One that was mended in silence would have told of nothing meanwhile.
#[derive(Debug)]
struct Once(WsConnect);

impl PubSubConnect for Once {
    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    async fn connect(&self) -> TransportResult<ConnectionHandle> {
        self.0.connect().await
    }

    async fn try_reconnect(&self) -> TransportResult<ConnectionHandle> {
        Err(TransportErrorKind::backend_gone())
    }
}
