//! Leading: holding the lease of one database while another daemon stands by.

use std::time::Duration;

use cofferdam_store::{Leadership, Sealer, StoreError};
use tokio::{sync::watch, task::JoinHandle};
use tracing::{debug, info, warn};

use crate::AnchorError;

/// The lease, renewed in the background for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lead {
    /// Its writes go through until another daemon has taken over.
    pub(crate) sealer: Sealer,
    deposed: watch::Receiver<bool>,
    renewing: JoinHandle<()>,
}

impl Lead {
    /// Takes the lease; an error says who has it.
    pub(crate) async fn take(
        sealer: &Sealer,
        holder: &str,
        lease: Duration,
    ) -> Result<Self, AnchorError> {
        let sealer = match sealer.lead(holder, lease).await? {
            Leadership::Ours(sealer) => sealer,
            Leadership::Theirs(leader) => return Err(AnchorError::NotLeading { leader }),
        };
        info!(holder, "leading");
        let (tell, deposed) = watch::channel(false);
        let renewing = tokio::spawn(renew(sealer.clone(), lease, tell));
        Ok(Self { sealer, deposed, renewing })
    }

    /// Takes the lease, waiting for one whose holder is gone; a holder that renews it is an error.
    pub(crate) async fn await_free(
        sealer: &Sealer,
        holder: &str,
        lease: Duration,
    ) -> Result<Self, AnchorError> {
        let mut before = None;
        loop {
            match Self::take(sealer, holder, lease).await {
                Err(AnchorError::NotLeading { leader }) => {
                    let renewed = before.as_ref().is_some_and(|(epoch, remaining)| {
                        *epoch != leader.epoch || *remaining < leader.remaining
                    });
                    if renewed {
                        return Err(AnchorError::NotLeading { leader });
                    }
                    debug!(holder = leader.holder, "waiting for the end of a lease");
                    before = Some((leader.epoch, leader.remaining));
                    let pause = leader.remaining.min(Duration::from_millis(500));
                    tokio::time::sleep(pause.max(Duration::from_millis(20))).await;
                }
                taken => return taken,
            }
        }
    }

    /// Whether another daemon has taken over.
    pub(crate) fn is_deposed(&self) -> bool {
        *self.deposed.borrow()
    }

    /// Gives the lease up.
    pub(crate) async fn release(self) {
        self.renewing.abort();
        if let Err(error) = self.sealer.release().await {
            debug!(%error, "lease not given up, it runs out by itself");
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Renews three times a lease until another daemon leads.
async fn renew(sealer: Sealer, lease: Duration, deposed: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(lease / 3).await;
        match sealer.renew(lease).await {
            Ok(()) => {}
            Err(error @ StoreError::Deposed { .. }) => {
                warn!(%error, "no longer leading");
                let _ = deposed.send(true);
                return;
            }
            Err(error) => warn!(%error, "lease not renewed, trying again"),
        }
    }
}
