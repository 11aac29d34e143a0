//! The `cofferdam` command.
//!
//! - [`ingest`]: reads audit logs into entries, and knows nothing of database or chain.
//! - the commands, one a file, each of which returns what it found; printing it as text or JSON and
//!   choosing the exit code is done in one place.

mod amount;
mod app;
mod authority;
mod check;
mod claims;
mod commands;
mod connect;
pub mod ingest;
mod keys;
mod metrics;
mod moment;
mod output;
mod proof;
mod register;
mod verifier;

pub use app::main;
