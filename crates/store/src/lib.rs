//! Cofferdam's Postgres: migrations, split roles, tenant-scoped transactions.
