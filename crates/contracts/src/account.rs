//! What one needs off-chain to act for a tenant's SmartAccount.
//!
//! - [`Role`] and [`Stage`]: who may do what, and how far a proposal is.

mod role;

pub use role::{Role, Stage, Unknown};
