//! Seals each tenant's entries into batches and anchors their roots.
//!
//! A round has two halves that know of each other only through the database and the chain:
//!
//! - [`seal_due`]: a tenant's entries since its last batch are hashed again from what is stored, and their
//!   root is written down as the tenant's next batch. What does not hash to what was acknowledged
//!   halts that tenant alone.
//! - [`Anchorer::post`]: sealed batches that the contract does not have yet go out, many tenants in one
//!   transaction.
//!
//! Nothing here says that a batch is anchored. That is for the indexer to say, from the event; the
//! contract's own counters are what keeps a batch from being anchored twice, so that a round can be
//! cut off anywhere and simply be run again.

mod anchorer;
mod error;
mod seal;
mod sender;

pub use anchorer::{Anchorer, Posted, RoundReport};
pub use cofferdam_store::SealPolicy;
pub use error::AnchorError;
pub use seal::{SealReport, seal_due};
pub use sender::Sender;
