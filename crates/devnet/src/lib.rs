//! A local Anvil chain and a local Postgres, from the binaries that `package.json` pins.
//!
//! Serves the `cofferdam devnet` command and the tests. Every process started here is on a leash: a
//! pipe whose other end only this process holds, so that it stops when its owner does, also after
//! `kill -9` and also on systems without parent-death signals.
//!
//! Nothing here is for production: keys are Anvil's published ones and the database is local.

mod anvil;
mod deploy;
mod error;
mod leash;
mod postgres;
mod test_database;
mod toolchain;

pub use anvil::{Anvil, AnvilOptions};
pub use deploy::{DeployOptions, deploy};
pub use error::DevnetError;
pub use postgres::{Postgres, PostgresOptions};
pub use test_database::{BenchServer, TestDatabase};
pub use toolchain::Toolchain;
