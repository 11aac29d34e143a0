//! Mirrors the contracts' events into Postgres and reconciles them with what was sealed.
//!
//! Blocks are read by range and polled, never subscribed to: a subscription loses events in silence.
//! The rows of a range, what they say about our own batches, and the checkpoint behind them are
//! written in one transaction, so that a crash can neither double nor lose an event. When the block
//! at the checkpoint is no longer the chain's, the mirror is rolled back to the newest block that
//! still is.
//!
//! ```text
//! checkpoint ──► is its block still on the chain? ──no──► rewind to the common ancestor ─┐
//!      ▲                     │ yes                                                       │
//!      │                     ▼                                                           │
//!      └── one transaction ◄── events of the next range, read between two equal headers ◄┘
//! ```

mod error;
mod indexer;

pub use error::IndexError;
pub use indexer::{Indexer, Progress};
