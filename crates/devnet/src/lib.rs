//! A local Anvil chain and a local Postgres, for the devnet command and for tests.
