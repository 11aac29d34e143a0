//! The store, in a real Postgres.

mod append;
mod catalog;
mod clock;
mod common;
mod intake;
mod isolation;
mod leaves;
mod migrate;
mod mirror;
mod mirrored;
mod paths;
mod policies;
mod posting;
mod proofs;
mod vitals;
