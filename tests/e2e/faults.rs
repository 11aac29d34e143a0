//! The daemon under faults: whatever dies, lies or stalls around it, what was acknowledged is never lost,
//! doubled or reordered, and nothing differs in silence (I8, I9).
//!
//! Each test runs the program itself. Between it and the world stand two proxies, one before the node and
//! one before Postgres, which can fail, and hold the program at any request and any commit.

pub(crate) mod costs;
mod database;
mod kills;
pub(crate) mod leaders;
mod many;
mod node;
mod payers;
mod proofs;
mod reorgs;
pub(crate) mod rpc;
pub(crate) mod trap;
mod wire;
pub(crate) mod world;
