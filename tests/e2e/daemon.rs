//! A daemon in this process: an anchorer and its mirror.

use std::time::Duration;

use cofferdam_anchorer::Anchorer;
use cofferdam_contracts::{Chain, deployment::Deployment};
use cofferdam_indexer::{Endpoints, Indexer};
use cofferdam_store::{DatabaseUrl, Mirror, Reader};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::support::{CHAIN_ID, LIMIT};

pub(crate) const POLL: Duration = Duration::from_millis(50);

/// A running daemon.
pub(crate) struct Daemon {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it, over the database in which the deployment is known.
    pub(crate) async fn start(anchorer: Anchorer, chain: &Chain, url: &DatabaseUrl) -> Self {
        let mirror = Mirror::connect(url, CHAIN_ID).await.unwrap();
        let reader = Reader::connect(url, CHAIN_ID).await.unwrap();
        let endpoints = Endpoints::new(chain, vec![]).unwrap();
        let from = mirror.deployment().await.unwrap().unwrap().from_block;
        let indexer = Indexer::new(mirror, reader, endpoints, Deployment::default(), from);
        let (stop, stopped) = watch::channel(false);
        let also = stopped.clone();
        let tasks = vec![
            tokio::spawn(async move { anchorer.run(POLL, stopped).await }),
            tokio::spawn(async move { indexer.run(POLL, also).await }),
        ];
        Self { stop, tasks }
    }

    /// Ends it as it should be ended.
    pub(crate) async fn end(self) {
        self.stop.send(true).unwrap();
        for task in self.tasks {
            timeout(LIMIT, task).await.expect("it stops").unwrap();
        }
    }

    /// Ends it without a word: its lease stays.
    pub(crate) fn vanish(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
