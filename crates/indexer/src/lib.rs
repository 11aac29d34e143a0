//! Mirrors the contracts' events into Postgres, proves that it has missed none, and reconciles them with
//! what was sealed.
//!
//! Blocks are read by range and polled, never subscribed to: a subscription loses events in silence. One may
//! say when to poll ([`Hints`]), and nothing more.
//! The rows of a range, what they say about our own batches, the counters and the checkpoint behind them
//! are written in one transaction, so that a crash can neither double nor lose an event. When the block
//! at the checkpoint is no longer the chain's, the mirror is rolled back to the newest block that still
//! is and what came instead is replayed, in one transaction too.
//!
//! ```text
//! checkpoint ──► is its block still on the chain? ──no──► common ancestor ──► roll back, replay ─┐
//!      ▲                     │ yes                                    (one transaction)          │
//!      │                     ▼                                                                   │
//!      │     ranges read ahead, several at once ──► counters contiguous? ──no──► read again      │
//!      │                                                  │ yes                                  │
//!      └── one transaction each ◄─────────────────────────┘ ◄────────────────────────────────────┘
//!
//! caught up ──► counters and history peaks equal the contracts' at that very block? ──no──► read again
//!     │
//!     └───────► a UTC day is over, by final blocks? ──► what each account spent on it, beside all this
//! ```
//!
//! # What an endpoint is believed
//!
//! Only what holds together: blocks that are not final are tied by their parents' hashes, and every log
//! to its block; counters must go on where they were; and once the mirror has caught up, what follows
//! from the rows must be what the contracts have in storage. An endpoint that answers 200 with logs missing
//! fails the last two. What none of several endpoints has is an incident, never passed over.
//!
//! Of final blocks, the hash, transaction and log index of a row are believed as long as the logs of a block
//! agree with each other: the contracts do not store them. [`Indexer::verify`] in full reads the headers too.

mod audit;
mod blocks;
mod endpoint;
mod endpoints;
mod error;
mod follow;
mod hints;
mod indexer;
mod metrics;
mod packed;
mod refusal;
mod repair;
mod source;
mod span;
mod spending;
mod state;
mod verify;

pub use endpoints::Endpoints;
pub use error::IndexError;
pub use hints::Hints;
pub use indexer::{Indexer, Progress};
pub use metrics::IndexMetrics;
pub use refusal::{EndpointError, Refusal};
pub use verify::{Difference, Unread, UnreadDays, Verdict};
