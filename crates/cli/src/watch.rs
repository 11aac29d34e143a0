//! What a running daemon tells of itself to whoever watches it.

use std::{
    fmt::{Display, Write},
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use alloy::{
    primitives::{Address, U256},
    providers::Provider,
};
use cofferdam_anchorer::Pulse;
use cofferdam_contracts::{Chain, ChainError};
use cofferdam_indexer::IndexMetrics;
use cofferdam_store::{Sealer, StoreError};
use eyre::Result;
use tokio::{sync::Mutex, time::timeout};

use crate::metrics::{self, Answer};

/// How long database and chain may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long numbers that were read are given out again.
const FRESH: Duration = Duration::from_secs(2);
/// How long ago the last step may have ended in a daemon that is ready.
const STALE: Duration = Duration::from_secs(120);

/// What is asked when somebody asks.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) chain: Chain,
    pub(crate) sealer: Sealer,
    /// Who pays.
    pub(crate) payer: Address,
    pub(crate) mirror: Arc<IndexMetrics>,
    pub(crate) pulse: Arc<Pulse>,
}

/// Answers `/healthz`, `/readyz` and `/metrics`, also while there is nothing to watch yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    watched: Arc<OnceLock<Watched>>,
    /// The last numbers, and when they were read.
    last: Arc<Mutex<Option<(Instant, String)>>>,
}

impl Watch {
    /// Listens at this address.
    pub(crate) async fn listen(&self, at: SocketAddr) -> Result<SocketAddr> {
        let watch = self.clone();
        metrics::serve(at, move |path| {
            let watch = watch.clone();
            async move { watch.answer(&path).await }
        })
        .await
    }

    /// What there is to watch from now on.
    pub(crate) fn begin(&self, watched: Watched) {
        let _ = self.watched.set(watched);
    }

    async fn answer(&self, path: &str) -> Answer {
        match (path, self.watched.get()) {
            ("/healthz", _) => Answer::new(200, "alive\n"),
            ("/readyz", None) => Answer::new(503, "waiting for the chain and the database\n"),
            ("/readyz", Some(watched)) => watched.ready().await,
            ("/metrics", None) => Answer::new(200, up(false, false)),
            ("/metrics", Some(watched)) => {
                // Read by one at a time, and new enough for everybody else.
                let mut last = self.last.lock().await;
                match &*last {
                    Some((at, text)) if at.elapsed() < FRESH => Answer::new(200, text),
                    _ => {
                        let text = watched.numbers().await;
                        *last = Some((Instant::now(), text.clone()));
                        Answer::new(200, text)
                    }
                }
            }
            _ => Answer::new(404, "there are /healthz, /readyz and /metrics\n"),
        }
    }
}

impl Watched {
    /// 200 when this daemon leads or stands by, and what it needs is there; else 503 and why not.
    async fn ready(&self) -> Answer {
        let database = async {
            if let Some(reason) = self.sealer.all_halted().await? {
                return Ok(Some(format!("everything is halted: {reason}")));
            }
            let leader = self.sealer.leader().await?.filter(|it| !it.remaining.is_zero());
            let Some(leader) = leader else { return Ok(Some("no daemon leads".into())) };
            Ok(leader.waiting.map(|what| format!("the leading daemon waits: {what}")))
        };
        let (database, chain) = tokio::join!(
            within::<_, StoreError>("the database", database),
            within::<_, ChainError>("the chain", self.chain.head()),
        );
        let mut against: Vec<String> = vec![];
        match database {
            Ok(said) => against.extend(said),
            Err(error) => against.push(error),
        }
        against.extend(chain.err());
        let age = self.pulse.age();
        if age > STALE {
            against.push(format!("no step of this daemon has ended for {} s", age.as_secs()));
        }
        match &*against {
            [] => Answer::new(200, "ready\n"),
            against => Answer::new(503, against.join("\n") + "\n"),
        }
    }

    /// Numbers in Prometheus' text format; of a part that does not answer only that it does not.
    async fn numbers(&self) -> String {
        let database = async {
            let (vitals, at) = (self.sealer.vitals().await?, self.sealer.finality().await?);
            Ok((vitals, at, self.sealer.checkpoint().await?, self.sealer.all_halted().await?))
        };
        let chain = async {
            let balance = self.chain.provider().get_balance(self.payer).into_future();
            let balance = self.chain.ask("cannot read the balance", balance).await?;
            Ok((self.chain.head().await?.number, balance))
        };
        let (database, chain) = tokio::join!(
            within::<_, StoreError>("the database", database),
            within::<_, ChainError>("the chain", chain),
        );
        let mut text = up(database.is_ok(), chain.is_ok());
        let blocks = "Block numbers: the chain's newest, and what was known when the ledger was last followed.";
        let mut heights = vec![];
        if let Ok((head, balance)) = chain {
            heights.push((r#"{is="head"}"#, head));
            let payer = format!(r#"{{address="{}"}}"#, self.payer);
            let help = "What the key has that pays, in wei.";
            family(&mut text, "balance_wei", "gauge", help, &[(&*payer, balance)]);
        }
        if let Ok((vitals, finality, checkpoint, all_halted)) = database {
            heights.extend(checkpoint.map(|it| (r#"{is="mirrored"}"#, it.number)));
            heights.extend(finality.map(|it| (r#"{is="safe"}"#, it.safe)));
            heights.extend(finality.map(|it| (r#"{is="final"}"#, it.last_final)));
            let help = "Entries that have come so far, or further; from `included` on, compared with the chain.";
            let stages = [
                (r#"{stage="appended"}"#, vitals.appended),
                (r#"{stage="sealed"}"#, vitals.sealed),
                (r#"{stage="posted"}"#, vitals.posted),
                (r#"{stage="included"}"#, vitals.included),
                (r#"{stage="safe"}"#, vitals.safe),
                (r#"{stage="final"}"#, vitals.last_final),
            ];
            family(&mut text, "entries", "gauge", help, &stages);
            let help = "How long the oldest has waited: an entry for its batch, a sealed batch and a policy for their events.";
            let ages = [
                (r#"{for="seal"}"#, vitals.unsealed_for.as_secs_f64()),
                (r#"{for="anchor"}"#, vitals.unanchored_for.as_secs_f64()),
                (r#"{for="publish"}"#, vitals.unpublished_for.as_secs_f64()),
            ];
            family(&mut text, "waiting_seconds", "gauge", help, &ages);
            let policies = [("", vitals.waiting_policies)];
            let help = "Policies that were handed in and are not on the chain yet.";
            family(&mut text, "policies_waiting", "gauge", help, &policies);
            let tenants =
                [(r#"{is="registered"}"#, vitals.tenants), (r#"{is="halted"}"#, vitals.halted)];
            family(&mut text, "tenants", "gauge", "Tenants.", &tenants);
            let halted = [("", u8::from(all_halted.is_some()))];
            family(&mut text, "all_halted", "gauge", "Whether everything is halted.", &halted);
            let kinds =
                vitals.incidents.iter().map(|(kind, n)| (format!(r#"{{kind="{kind}"}}"#), *n));
            let kinds: Vec<_> = kinds.collect();
            let kinds: Vec<_> = kinds.iter().map(|(kind, n)| (&**kind, *n)).collect();
            family(
                &mut text,
                "incidents",
                "gauge",
                "Incidents that nobody has decided on.",
                &kinds,
            );
            let open = [("", vitals.open_transactions)];
            let help = "Transactions that may still be put in a block.";
            family(&mut text, "transactions_open", "gauge", help, &open);
            let help = "Gas of all transactions in a block.";
            family(&mut text, "gas_used_total", "counter", help, &[("", vitals.gas_used)]);
            let help = "What all transactions in a block cost, in wei.";
            family(
                &mut text,
                "fee_wei_total",
                "counter",
                help,
                &[("", U256::from(vitals.fee_wei))],
            );
        }
        family(&mut text, "block", "gauge", blocks, &heights);
        let help = "How long ago this daemon's last step ended, leading or not.";
        let age = [("", self.pulse.age().as_secs_f64())];
        family(&mut text, "step_age_seconds", "gauge", help, &age);
        let help = "Steps that failed or were given up.";
        family(&mut text, "steps_failed_total", "counter", help, &[("", self.pulse.failed())]);
        text + &self.mirror.render()
    }
}

/// Which parts answer.
fn up(database: bool, chain: bool) -> String {
    let mut text = String::new();
    let parts =
        [(r#"{part="database"}"#, u8::from(database)), (r#"{part="chain"}"#, u8::from(chain))];
    family(&mut text, "up", "gauge", "Whether a part that is needed answers.", &parts);
    text
}

/// Writes one metric with all its labels.
fn family(text: &mut String, name: &str, kind: &str, help: &str, values: &[(&str, impl Display)]) {
    if values.is_empty() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP cofferdam_{name} {help}\n# TYPE cofferdam_{name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(text, "cofferdam_{name}{labels} {value}");
    }
}

/// Awaits an answer, and says in words why there is none.
async fn within<T, E: Display>(
    of: &str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{of}: {error}")),
        Err(_) => Err(format!("{of}: no answer within {} s", PATIENCE.as_secs())),
    }
}
