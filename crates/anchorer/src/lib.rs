//! Seals each tenant's entries into batches and anchors their roots.
//!
//! One daemon leads, by a lease; each write of it is fenced by the lease's epoch. What it does is cut
//! into steps, and a step can be cut off anywhere, since what counts is in the database and on the chain:
//!
//! - Transactions that are under way are *followed*: mined, replaced, dropped, taken back by a reorg.
//!   What is open is sent again, at a higher fee once it has waited long enough.
//! - [`seal_due`]: a tenant's entries since its last batch are hashed again from what is stored, and their
//!   root is written down as the tenant's next batch. What does not hash to what was acknowledged
//!   halts that tenant alone.
//! - Sealed batches that the contract does not have yet are *posted*, many tenants in one transaction:
//!   hashed once more, simulated, written down in the ledger, sent. What the contract says wins: what is
//!   there already is adopted, and what differs halts its tenant.
//!   Where a tenant's anchorer is not the key that pays, its own key signs the batch ([`Anchorers`]).
//! - Policies that tenants signed and handed in are posted in the same way, each when it is the registry's
//!   next. One that something else took the place of, or whose deadline passed, is an incident.
//!
//! Beside its steps a leading daemon *keeps* what the node proves of each tenant's history ([`Keeper`]), since
//! nodes forget the state that a receipt's proof is made of.
//!
//! Nothing here says that a batch is anchored. That is for the indexer to say, from the event.

mod anchorer;
mod anchorers;
mod aside;
mod choose;
mod error;
mod fees;
mod keeper;
mod lead;
mod policies;
mod poster;
mod pulse;
mod recheck;
mod seal;
mod sender;

pub use anchorer::{Anchorer, Posted, RoundReport};
pub use anchorers::Anchorers;
pub use choose::difference;
pub use cofferdam_store::SealPolicy;
pub use error::AnchorError;
pub use keeper::{Keeper, Kept};
pub use poster::PostPolicy;
pub use pulse::Pulse;
pub use recheck::{Fault, fault};
pub use seal::{SealReport, Stint, seal_due};
pub use sender::Sender;
