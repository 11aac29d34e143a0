//! Tells somebody of every incident.

use std::{
    collections::HashSet,
    fmt,
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::B256,
    transports::http::reqwest::{self, StatusCode},
};
use cofferdam_store::{Incident, Sealer, StoreError};
use eyre::{Result, bail};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};
use url::Url;

use crate::moment::rfc3339;

/// How often to look for incidents.
const EVERY: Duration = Duration::from_secs(1);
/// How long whoever is told may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where incidents are posted to. The URL often holds a secret, so only its origin is printed.
#[derive(Clone)]
pub(crate) struct Webhook {
    url: Url,
    client: reqwest::Client,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl Webhook {
    pub(crate) fn new(url: &str) -> Result<Self> {
        // The parser's own error is dropped: it could quote the URL.
        let url = match url.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => bail!("--webhook is not an http:// or https:// URL"),
        };
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        let client = client.map_err(|_| eyre::eyre!("cannot make an HTTP client"))?;
        Ok(Self { url, client })
    }

    /// Posts every open incident once, again after a restart, and until it is taken; one that is refused
    /// keeps no other waiting. Never returns.
    pub(crate) async fn run(self, sealer: Sealer, chain_id: u64) {
        let mut told = HashSet::new();
        let mut pause = EVERY;
        loop {
            match self.tell(&sealer, chain_id, &mut told).await {
                Ok(()) => pause = EVERY,
                Err(error) => {
                    pause = (pause * 2).min(Duration::from_secs(60));
                    warn!(webhook = ?self, %error, "nobody was told of an incident, trying again");
                }
            }
            sleep(pause).await;
        }
    }

    async fn tell(
        &self,
        sealer: &Sealer,
        chain_id: u64,
        told: &mut HashSet<B256>,
    ) -> Result<(), String> {
        let said = |error: StoreError| error.to_string();
        let open = sealer.open_incidents().await.map_err(said)?;
        // One that was decided on and is found again is told again.
        let still: HashSet<_> = open.iter().collect();
        told.retain(|id| still.contains(id));
        let mut refused = Ok(());
        for id in open {
            if told.contains(&id) {
                continue;
            }
            let Some(incident) = sealer.open_incident(id).await.map_err(said)? else { continue };
            let status = self.post(&incident, chain_id).await?;
            if status.is_success() {
                info!(webhook = ?self, incident = %id, "told of an incident");
                told.insert(id);
                continue;
            }
            let why = format!("it answers {status} to incident {id}");
            // Another incident would fare no better.
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                return Err(why);
            }
            refused = Err(why);
        }
        refused
    }

    async fn post(&self, incident: &Incident, chain_id: u64) -> Result<StatusCode, String> {
        let Incident { id, tenant, kind, detail, at, .. } = incident;
        let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let body = json!({
            "incident": id, "chainId": chain_id, "tenantId": tenant, "kind": kind, "detail": detail,
            "at": rfc3339(at),
        });
        let request = self.client.post(self.url.clone()).body(body.to_string());
        let sent = request.header("content-type", "application/json").send().await;
        let answer = sent.map_err(|error| error.without_url().to_string())?;
        Ok(answer.status())
    }
}
