//! How the steps of a daemon go.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Told after every step, also when this daemon stands by.
#[derive(Debug)]
pub struct Pulse {
    start: Instant,
    /// Milliseconds after that.
    last: AtomicU64,
    failed: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// A step has ended.
    pub(crate) fn beat(&self, well: bool) {
        self.failed.fetch_add(u64::from(!well), Ordering::Relaxed);
        let now = self.start.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// How long ago the last step ended, or the daemon began.
    pub fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }

    /// Steps that failed or were given up.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
