//! What can go wrong, in words an operator can act on. None of it carries a password or a field value.

use std::{fmt, sync::Arc};

use alloy_primitives::{Address, B256};
use cofferdam_core::{BatchIndex, FieldName, PolicyVersion, Seq, TenantId};

use crate::{Checkpoint, Hole};

/// The result of everything here.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why the store refused or failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such entry to demonstrate tampering on.
    #[error("tenant {tenant} has no entry {seq} whose action begins with a letter")]
    NothingToTamper {
        /// The tenant.
        tenant: TenantId,
        /// The entry.
        seq: Seq,
    },
    /// Not a database URL. The text is not repeated, since it may hold a password.
    #[error("not a Postgres URL: expected postgres://user:password@host:port/database")]
    BadUrl,
    /// The login's password cannot be turned into a verifier.
    #[error("the runtime login's password must be printable ASCII and not empty")]
    BadPassword,
    /// The chain id does not fit a bigint, or is zero.
    #[error("chain id {0} is out of range: expected 1 to 2^63 − 1")]
    ChainId(u64),
    /// The server is too old.
    #[error("Postgres {found} is too old: 16 or newer is needed")]
    ServerVersion {
        /// What the server says it is.
        found: String,
    },
    /// The database does not store UTF-8.
    #[error("database {database:?} is encoded in {encoding}: create it with ENCODING 'UTF8'")]
    Encoding {
        /// The database.
        database: String,
        /// Its encoding.
        encoding: String,
    },
    /// Both URLs name one login.
    #[error(
        "the runtime login {login:?} is the administrator: give the runtime URL a login of its own"
    )]
    SameLogin {
        /// The login.
        login: String,
    },
    /// The login that migrates lacks a right.
    #[error(
        "the administrator {login:?} cannot {what}: use a superuser, or a role with CREATEROLE \
             that owns the database"
    )]
    Admin {
        /// The login.
        login: String,
        /// What it was not allowed to do.
        what: String,
    },
    /// A login or role could reach around row security.
    #[error("refusing to run as {role:?}: it {why}; {remedy}")]
    UnsafeRole {
        /// The login or role.
        role: String,
        /// What makes it unsafe.
        why: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The database lacks our roles or tables, or the login lacks a role.
    #[error(
        "database {database:?} is not set up for {login:?}: run `cofferdam migrate` first ({reason})"
    )]
    NotMigrated {
        /// The database.
        database: String,
        /// The login.
        login: String,
        /// What the server said.
        reason: String,
    },
    /// The migrations that were applied are not this program's.
    #[error("cannot migrate: {0}")]
    Migration(DatabaseError),
    /// Another contract is registered for the chain.
    #[error(
        "chain {chain_id} is registered with contract {registered} (code hash {code_hash}, from block {from_block}), not {given}: \
             use that one, or another database"
    )]
    OtherDeployment {
        /// The chain.
        chain_id: u64,
        /// What is registered.
        registered: Address,
        /// Its code hash.
        code_hash: B256,
        /// Its block.
        from_block: u64,
        /// What was given.
        given: Address,
    },
    /// The name is not usable.
    #[error("a tenant's name has 1 to 256 bytes and no U+0000; this one has {0} bytes")]
    TenantName(usize),
    /// The name belongs to another tenant.
    #[error("the name {name:?} belongs to tenant {holder} already, not to {given}")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        holder: TenantId,
        /// Who was to get it.
        given: TenantId,
    },
    /// The tenant has another name.
    #[error("tenant {tenant} is registered as {holder:?} already, not as {given:?}")]
    TenantTaken {
        /// The tenant.
        tenant: TenantId,
        /// Its name.
        holder: String,
        /// The name it was to get.
        given: String,
    },
    /// Nobody registered this tenant.
    #[error(
        "tenant {tenant} is not registered on chain {chain_id}: `cofferdam tenant add` registers it"
    )]
    UnknownTenant {
        /// The tenant.
        tenant: TenantId,
        /// The chain.
        chain_id: u64,
    },
    /// The application's role may not use the enqueue door, or the database has none.
    #[error(
        "this session may not enqueue ({0}): `cofferdam migrate --application ROLE` lets its role do so"
    )]
    MayNotEnqueue(DatabaseError),
    /// The transaction has another tenant's or another chain's scope.
    #[error(
        "this transaction has the scope of another tenant or chain, so it cannot enqueue for tenant \
             {tenant} on chain {chain_id}"
    )]
    OtherScope {
        /// Whom it was to enqueue for.
        tenant: TenantId,
        /// The chain.
        chain_id: u64,
    },
    /// A tenant's entries would exceed what the contract can count.
    #[error("tenant {tenant} has reached seq {next}: the contract counts 2^56 − 1 entries")]
    Full {
        /// The tenant.
        tenant: TenantId,
        /// Its next seq.
        next: Seq,
    },
    /// The batch does not continue what is sealed.
    #[error(
        "tenant {tenant}: a batch of {count} entries from seq {first_seq} does not fit: sealed up to {sealed}, appended up to {next}"
    )]
    BatchGap {
        /// The tenant.
        tenant: TenantId,
        /// Where the batch starts.
        first_seq: Seq,
        /// How many entries it has.
        count: u64,
        /// The first unsealed entry.
        sealed: Seq,
        /// The next entry to be appended.
        next: Seq,
    },
    /// What is stored does not lead to what was anchored, so that nothing can be proven by it.
    #[error("tenant {tenant}, batch {batch}: {what}")]
    Unproven {
        /// The tenant.
        tenant: TenantId,
        /// The batch.
        batch: BatchIndex,
        /// What does not, and what to do.
        what: String,
    },
    /// The tenant is halted, so nothing more is sealed.
    #[error("tenant {tenant} is halted: {reason}")]
    Halted {
        /// The tenant.
        tenant: TenantId,
        /// Why.
        reason: String,
    },
    /// What an operator decided on is not all any more.
    #[error(
        "more was found about {} while it was checked, so nothing was lifted: see `cofferdam incident list`",
        tenant.map_or("everything".to_owned(), |tenant| format!("tenant {tenant}"))
    )]
    Meanwhile {
        /// The tenant; none where it concerns everything.
        tenant: Option<TenantId>,
    },
    /// Another indexer moved the checkpoint.
    #[error("the mirror stands at {}, not at {}: another indexer moved it; read it again", Position(*found), Position(*expected))]
    CheckpointMoved {
        /// What the caller built on.
        expected: Option<Checkpoint>,
        /// What is stored.
        found: Option<Checkpoint>,
    },
    /// A block is mirrored with another hash.
    #[error("block {number} is mirrored as {stored}, not {given}: rewind below it first")]
    OtherBlock {
        /// The block.
        number: u64,
        /// The hash that is stored.
        stored: B256,
        /// The hash that was given.
        given: B256,
    },
    /// An event is missing, or there twice.
    #[error(
        "tenant {}: in block {}, {} has {} where {} should be next: the RPC endpoint left events out or sent some twice",
        .0.tenant, .0.block_number, .0.table.name(), .0.found, .0.expected
    )]
    Hole(Hole),
    /// A range of blocks or a rewind that makes no sense.
    #[error("cannot move the mirror from block {from} to block {to}: {why}")]
    BadMove {
        /// Where it stands.
        from: u64,
        /// Where it was to go.
        to: u64,
        /// Why not.
        why: &'static str,
    },
    /// The transaction is not in the ledger.
    #[error("transaction {0} was never recorded")]
    UnknownTransaction(B256),
    /// Another daemon took over; what this one still had in hand is refused.
    #[error("another daemon leads since epoch {epoch} of this one ended; nothing was written")]
    Deposed {
        /// The epoch that ended.
        epoch: i64,
    },
    /// Another policy was handed in for the version, and waits or was published.
    #[error(
        "tenant {tenant} handed in version {version} of its policy before, with document {policy_hash}: what was \
             handed in is published, or fails first; see `cofferdam status`"
    )]
    PolicyTaken {
        /// The tenant.
        tenant: TenantId,
        /// The version.
        version: PolicyVersion,
        /// The document that was handed in.
        policy_hash: B256,
    },
    /// Everything of the chain is halted.
    #[error("everything is halted: {reason}; see `cofferdam incident list`")]
    AllHalted {
        /// Why.
        reason: String,
    },
    /// A value that cannot be stored or was stored by someone else.
    #[error("{what} is out of range")]
    OutOfRange {
        /// What.
        what: &'static str,
    },
    /// A row does not read as what it should be.
    #[error("the database holds an unreadable {column}: restore it from a backup")]
    Corrupt {
        /// Which column.
        column: &'static str,
    },
    /// The database failed or cannot be reached.
    #[error("cannot {doing}: {source}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        source: DatabaseError,
    },
    /// The appender's task ended, as in a shutdown.
    #[error("tenant {tenant}: appending was interrupted; append again, repeats are recognised")]
    Interrupted {
        /// The tenant.
        tenant: TenantId,
    },
}

impl StoreError {
    /// Whether the same call may succeed later: the database was away, busy or restarting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => source.is_transient(),
            Self::Interrupted { .. } | Self::CheckpointMoved { .. } => true,
            _ => false,
        }
    }

    /// Whether a row with the same key is there already.
    pub(crate) fn is_taken_key(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.code().as_deref() == Some("23505"))
    }

    /// Whether what is stored cannot be read, however often it is tried.
    pub(crate) fn is_corruption(&self) -> bool {
        match self {
            // Data exceptions and internal errors, such as a block or a text that is broken.
            Self::Database { source, .. } => {
                source.code().is_some_and(|code| code.starts_with("22") || code.starts_with("XX"))
            }
            Self::Corrupt { .. } => true,
            _ => false,
        }
    }

    /// Wraps what sqlx reports, unless it carries one of ours (from a connection's checks).
    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |error| match error {
            sqlx::Error::Configuration(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(inner) => Self::Database {
                    doing,
                    source: DatabaseError(Arc::new(sqlx::Error::Configuration(inner))),
                },
            },
            error => Self::Database { doing, source: DatabaseError(Arc::new(error)) },
        }
    }
}

/// What the driver or the server reported, without URLs, statements, parameters or row contents.
#[derive(Clone)]
pub struct DatabaseError(Arc<sqlx::Error>);

impl DatabaseError {
    pub(crate) fn new(error: sqlx::Error) -> Self {
        Self(Arc::new(error))
    }

    /// The server's SQLSTATE, if it was the server.
    pub fn code(&self) -> Option<String> {
        self.0.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
    }

    fn is_transient(&self) -> bool {
        match &*self.0 {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
            // Connection, rollback (deadlock, serialisation), resources, operator intervention.
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
            }),
            _ => false,
        }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            // The primary message only: DETAIL quotes rows and CONTEXT quotes statements.
            sqlx::Error::Database(error) => match error.code() {
                Some(code) => write!(f, "{} (SQLSTATE {code})", error.message()),
                None => f.write_str(error.message()),
            },
            sqlx::Error::Io(error) => write!(f, "connection failed: {error}"),
            sqlx::Error::PoolTimedOut => {
                f.write_str("no connection became free or could be made in time")
            }
            sqlx::Error::Tls(_) => f.write_str("TLS failed: check sslmode and the certificates"),
            sqlx::Error::Configuration(_) => {
                f.write_str("the connection's settings are not usable")
            }
            error => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseError({self})")
    }
}

impl std::error::Error for DatabaseError {}

/// Why one entry was not appended; its neighbours were.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The source reused an id for something else.
    #[error(
        "tenant {tenant}: external_id {external_id:?} is entry {seq} already, with another {field}; \
             an entry is never changed, append the correction under its own id"
    )]
    Conflict {
        /// The tenant.
        tenant: TenantId,
        /// The id.
        external_id: String,
        /// The entry that has it.
        seq: Seq,
        /// The first field that differs.
        field: FieldName,
    },
}

/// A checkpoint that may not be there.
struct Position(Option<Checkpoint>);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "block {} ({})", at.number, at.hash),
            None => f.write_str("its start"),
        }
    }
}

/// A batch that was mirrored but is not ours, in words.
pub(crate) fn batch_words(index: BatchIndex, first_seq: Seq, count: u64, root: B256) -> String {
    format!("batch {index} (first seq {first_seq}, {count} entries, root {root})")
}
