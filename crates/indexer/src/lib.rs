//! Mirrors the contracts' events into Postgres and reconciles them with what was sealed.
