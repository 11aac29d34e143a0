//! All endpoints of a chain: one after another, each left alone for a while after it refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use cofferdam_contracts::{Chain, ChainError, Expected, RpcUrl};

use crate::{
    IndexError, Refusal,
    endpoint::{Endpoint, LONGEST_REST, SHORTEST_REST},
    refusal::EndpointError,
};

/// How often all endpoints are tried before an error is told.
pub(crate) const ROUNDS: u32 = 5;

/// All endpoints, of which one is asked first until it refuses.
#[derive(Debug, Clone)]
pub struct Endpoints {
    all: Arc<[Arc<Endpoint>]>,
    first: Arc<AtomicUsize>,
    chain_id: u64,
}

impl Endpoints {
    /// These endpoints of the chain that `chain` was checked to be on. The first must be there. All may take as
    /// long to answer as that one.
    pub fn new(chain: &Chain, others: Vec<RpcUrl>) -> Result<Self, ChainError> {
        let expected = Expected {
            chain_id: Some(chain.chain_id()),
            contract: Some(chain.contract()),
            patience: Some(chain.patience()),
        };
        let first = Endpoint::of(chain, expected)?;
        let others = others.into_iter().map(|url| Endpoint::new(url, expected));
        let all = std::iter::once(Ok(first)).chain(others);
        let all = all.map(|endpoint| endpoint.map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { all, first: Arc::default(), chain_id: chain.chain_id() })
    }

    /// Whose blocks they have.
    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Asks another one first from now on.
    pub(crate) fn rotate(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks another one first from now on, if it is this one: waiting for it each time that it has rested would
    /// hold up what the others answer.
    fn leave(&self, endpoint: usize) {
        let next = endpoint.wrapping_add(1);
        let _ = self.first.compare_exchange(endpoint, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks one after another until one answers. A range that is too long is told at once: another
    /// endpoint's limit is no other one.
    pub(crate) async fn ask<T, F>(
        &self,
        question: impl Fn(Arc<Endpoint>) -> F,
    ) -> Result<T, IndexError>
    where
        F: Future<Output = Result<T, IndexError>>,
    {
        let mut round = 0;
        loop {
            let first = self.first.load(Ordering::Relaxed);
            let (mut wait, mut last) = (LONGEST_REST, None);
            for n in 0..self.all.len() {
                let endpoint = &self.all[(first + n) % self.all.len()];
                if let Some(until) = endpoint.rest().until
                    && let Some(left) = until.checked_duration_since(Instant::now())
                {
                    wait = wait.min(left);
                    continue;
                }
                let error = match question(endpoint.clone()).await {
                    Ok(answer) => {
                        endpoint.answered();
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                let after = match &error {
                    IndexError::Endpoint(EndpointError { refusal, .. }) => match refusal {
                        Refusal::TooLong => return Err(error),
                        // Another may keep it. Who has forgotten it does not remember later.
                        Refusal::Forgotten => {
                            last.get_or_insert(error);
                            continue;
                        }
                        Refusal::TooMany(after) => *after,
                        Refusal::Away => {
                            self.leave(first + n);
                            None
                        }
                        _ => None,
                    },
                    IndexError::Chain(_) => {
                        self.leave(first + n);
                        None
                    }
                    // The chain moved: that is nobody's refusal.
                    IndexError::Moving { .. } => {
                        last = Some(error);
                        continue;
                    }
                    _ => return Err(error),
                };
                tracing::debug!(%error, "an endpoint refused");
                endpoint.refuse(after);
                wait = wait.min(endpoint.rest().until.map_or(SHORTEST_REST, |until| {
                    until.saturating_duration_since(Instant::now())
                }));
                last = Some(error);
            }
            round += 1;
            let is_final = |error: &IndexError| {
                round >= ROUNDS
                    || error.is_forgotten()
                    || matches!(error, IndexError::Moving { .. })
            };
            if let Some(error) = last.filter(is_final) {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks each that does not rest, so many times, until one answers: for what can wait. None but those that say
    /// so is left alone for it. That a state is forgotten is told only if all say so.
    pub(crate) async fn ask_everybody<T, F>(
        &self,
        rounds: u32,
        question: impl Fn(Arc<Endpoint>) -> F,
    ) -> Result<T, IndexError>
    where
        F: Future<Output = Result<T, IndexError>>,
    {
        let what = "ask now";
        let mut round = 0;
        loop {
            let first = self.first.load(Ordering::Relaxed);
            let mut last = self.all[0].error(what, Refusal::Forgotten, "nobody was asked");
            for n in 0..self.all.len() {
                let endpoint = &self.all[(first + n) % self.all.len()];
                let error = if endpoint.rest().until.is_some_and(|until| until > Instant::now()) {
                    endpoint.error(what, Refusal::Away, "it refused, and is left alone for a while")
                } else {
                    match question(endpoint.clone()).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => error,
                    }
                };
                if let IndexError::Endpoint(EndpointError {
                    refusal: Refusal::TooMany(after),
                    ..
                }) = error
                {
                    endpoint.refuse(after);
                }
                if last.is_forgotten() {
                    last = error;
                }
            }
            round += 1;
            if round >= rounds || last.is_forgotten() {
                return Err(last);
            }
            tokio::time::sleep(SHORTEST_REST * (1 << round.min(6))).await;
        }
    }
}
