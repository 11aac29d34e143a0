//! The whole of Cofferdam from outside: the program itself, against a real Anvil and a real Postgres.
//!
//! Every test has a chain, a database and a data directory of its own, on free ports, and leaves none
//! of them behind. What is random is printed with its seed; `COFFERDAM_TEST_SEED` repeats it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod account;
mod agent;
mod anchorers;
mod attack;
mod auditor;
mod bad_input;
mod crash;
mod daemon;
mod deploy;
mod devnet;
mod faults;
mod ground;
mod map;
mod mirror;
mod operate;
mod policy;
mod pool;
mod posting;
mod receipts;
mod refusals;
mod reorg;
mod shared;
mod stages;
mod submitted;
mod support;
mod tamper;
mod tenants;
mod together;
mod whole_way;
