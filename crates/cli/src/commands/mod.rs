//! The commands, one a file.

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod append;
pub(crate) mod audit;
pub(crate) mod bundle;
pub(crate) mod config;
pub(crate) mod costs;
pub(crate) mod devnet;
pub(crate) mod incident;
pub(crate) mod index;
pub(crate) mod intake;
pub(crate) mod migrate;
pub(crate) mod policy;
pub(crate) mod receipt;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod tenant;
pub(crate) mod verify;
