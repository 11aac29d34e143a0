//! What a running indexer tells of itself.

use std::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering},
};

macro_rules! metrics {
    ($($name:ident $kind:literal $help:literal;)+) => {
        /// Counters and gauges of an indexer, since it started.
        #[derive(Debug, Default)]
        pub struct IndexMetrics {
            $(#[doc = $help] pub $name: AtomicU64,)+
        }

        impl IndexMetrics {
            /// All of them in Prometheus' text format.
            pub fn render(&self) -> String {
                let mut text = String::new();
                $(
                    let name = concat!("cofferdam_index_", stringify!($name));
                    let value = self.$name.load(Ordering::Relaxed);
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}\n{name} {value}", $help, $kind);
                )+
                text
            }
        }
    };
}

metrics! {
    head "gauge" "The chain's newest block.";
    safe "gauge" "The block that the chain calls safe.";
    last_final "gauge" "The block that the chain calls finalized.";
    mirrored "gauge" "The block that the mirror is complete up to.";
    lag "gauge" "How many blocks the mirror is behind the chain.";
    logs "counter" "Events mirrored.";
    logs_per_second "gauge" "Events mirrored a second, in the last pass that mirrored any.";
    refetches "counter" "Ranges read again because something was missing.";
    reorgs "counter" "Times that the mirror was rolled back and replayed.";
    holes "counter" "Gaps found in what an endpoint sent.";
    incidents "counter" "Incidents written.";
    unread "counter" "Checks against the contracts' state that the node could not answer.";
}

impl IndexMetrics {
    /// The chain's newest block.
    pub(crate) fn chain_is_at(&self, head: u64) {
        Self::set(&self.head, head);
        self.fall_behind();
    }

    /// The block that the mirror is complete up to.
    pub(crate) fn stands_at(&self, block: u64) {
        Self::set(&self.mirrored, block);
        self.fall_behind();
    }

    /// Whatever becomes of a pass, the lag is what chain and mirror are apart.
    fn fall_behind(&self) {
        let [head, mirrored] = [&self.head, &self.mirrored].map(|it| it.load(Ordering::Relaxed));
        Self::set(&self.lag, head.saturating_sub(mirrored));
    }

    pub(crate) fn set(of: &AtomicU64, value: u64) {
        of.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(of: &AtomicU64, value: u64) {
        of.fetch_add(value, Ordering::Relaxed);
    }
}
