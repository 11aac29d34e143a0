//! Cofferdam's Postgres: migrations, split roles, tenant-scoped transactions.
//!
//! Only this crate depends on sqlx, and nothing public here hands out a connection: pools are private, and
//! every statement that may be run is a method. [`enqueue`] takes the application's transaction. Each handle runs as one role of its own:
//!
//! | handle | role | may |
//! |---|---|---|
//! | [`Sequencer`], [`Appender`] | `cofferdam_sequencer` | register tenants, append entries, chain the intake, keep signed policies |
//! | [`Sealer`] | `cofferdam_sealer` | read entries tenant by tenant, write batches, keep the transactions' book |
//! | [`Mirror`] | `cofferdam_indexer` | insert mirrored events blind, reconcile batches and policies, rewind through a narrow door |
//! | [`Reader`] | `cofferdam_reader` | read one tenant |
//! | [`enqueue`] | the application's own | put entries into the intake, by one function, in its own transaction |
//!
//! # Isolation
//!
//! Tenant data is reached only through a [`TenantTx`], the one place that sets the scope: bound as a
//! parameter, for one transaction, so that it cannot outlive it in the pool. (The function behind
//! [`enqueue`] sets it for itself, and gives it back.) The database itself holds
//! the line: row security is enabled and forced on every table and partition, each policy compares the
//! row's tenant and chain with the scope, and without a scope nothing is returned. Keys lead with the
//! tenant, grants are by column and exclude system columns, partitions carry no grant, and no column
//! keeps statistics that `EXPLAIN` could read out.
//!
//! What this does not guard against: row security stops our bugs, not a stolen daemon credential, since
//! that login may take any of the four roles and any tenant's scope. And volumes are public by design:
//! the size of a table, or the rows that a deliberately unindexed `EXPLAIN ANALYZE` skips, say how much
//! all tenants wrote together.

mod append;
mod appender;
mod clock;
mod deployment;
mod enqueue;
mod entry;
mod error;
mod incidents;
mod intake;
mod lease;
mod leaves;
mod ledger;
mod migrate;
mod mirror;
mod paths;
mod policies;
mod pool;
mod progress;
mod proofs;
mod reader;
mod roles;
mod row;
mod rules;
mod scram;
mod seal_queue;
mod sealer;
mod sequencer;
mod tamper;
mod tenant_tx;
mod types;
mod url;
mod vitals;

pub use appender::Appender;
pub use cofferdam_core::mirror::LogPosition;
pub use enqueue::enqueue;
pub use entry::{Appended, EntryFault, NewEntry, NewEntryError, StoredEntry};
pub use error::{AppendError, DatabaseError, Result, StoreError};
pub use incidents::{Incident, Standing};
pub use intake::{BadIntakePosition, Drained, Intake, IntakePosition, StoppedIntake};
pub use lease::{Leader, Leadership};
pub use leaves::{LeafFault, Leaves};
pub use ledger::{Attempt, Intent, Item, Mined, Outcome};
pub use migrate::{MigrateReport, allow_enqueue, check_admin, migrate};
pub use mirror::{
    Applied, Asset, Counted, Counters, DAY, Hole, Mirror, MirrorHead, MirrorState, Spending,
};
pub use policies::{PolicyStage, PolicyTerms, Submission, SubmitPolicy, WaitingPolicy};
pub use progress::{Cost, Finality, Stages};
pub use reader::Reader;
pub use rules::Rules;
pub use sealer::{Sealer, Totals};
pub use sequencer::{AddTenant, Sequencer};
pub use tamper::{Harm, Kept, SpendingHarm, flip_kept, flip_one_bit, harm_mirrored, harm_spending};
pub use tenant_tx::TenantTx;
pub use types::{
    AnchoredAt, AnchoredEvent, Checkpoint, Deployment, Head, SealPolicy, SealSettings, SealedBatch,
    Tenant,
};
pub use url::DatabaseUrl;
pub use vitals::Vitals;
