//! One database a test, on one server a process; and a server of its own for a bench.

use std::{
    env,
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use rand::{Rng, distr::Alphanumeric};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

use crate::{DevnetError, Postgres, PostgresOptions, Toolchain};

/// The server of this process; its leash ends it when the process does.
static SERVER: OnceCell<Postgres> = OnceCell::const_new();
/// Makes database names unique within this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URLs of a database that only one test or bench uses. It is created by the first migration.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// The administrator, who migrates.
    pub admin_url: Url,
    /// The login that the daemon's pools use, created by the migration.
    pub runtime_url: Url,
}

impl TestDatabase {
    /// Names a fresh database: on the server of `DATABASE_URL` when that is set, else on an embedded
    /// one that this process starts once and that vanishes with it.
    pub async fn new() -> Result<Self, DevnetError> {
        let server = match env::var("DATABASE_URL").ok().and_then(|url| url.parse().ok()) {
            Some(url) => url,
            None => SERVER.get_or_try_init(start).await?.admin_url().clone(),
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let random: String =
            rand::rng().sample_iter(Alphanumeric).take(6).map(char::from).collect();
        let name = format!("test_{}_{number}_{}", process::id(), random.to_lowercase());
        Ok(Self::named(server, &name, &random))
    }

    fn named(server: Url, name: &str, password: &str) -> Self {
        let mut admin_url = server;
        admin_url.set_path(name);
        let mut runtime_url = admin_url.clone();
        runtime_url.set_username(name).expect("a URL with a host takes a user");
        runtime_url.set_password(Some(password)).expect("a URL with a host takes a password");
        Self { admin_url, runtime_url }
    }
}

/// A server that only one bench uses: what is committed is on disk, and goes when this is dropped.
#[derive(Debug)]
pub struct BenchServer {
    postgres: Postgres,
    dir: TempDir,
}

impl BenchServer {
    /// Starts it in a folder of its own.
    pub async fn start() -> Result<Self, DevnetError> {
        let dir = folder("cofferdam-bench-")?;
        let options =
            PostgresOptions { data_dir: dir.path().join("db"), port: None, ephemeral: false };
        let postgres = Postgres::start(&Toolchain::find(), &options).await?;
        Ok(Self { postgres, dir })
    }

    /// Names a database on it.
    pub fn database(&self, name: &str) -> TestDatabase {
        TestDatabase::named(self.postgres.admin_url().clone(), name, name)
    }

    /// The folder, which has room for what else the bench writes.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Stops it before its folder goes.
    pub async fn stop(self) {
        self.postgres.stop().await;
    }
}

async fn start() -> Result<Postgres, DevnetError> {
    let data_dir = folder("cofferdam-test-")?.keep();
    let options = PostgresOptions { data_dir, port: None, ephemeral: true };
    Postgres::start(&Toolchain::find(), &options).await
}

/// A new folder for a server, which runs as another user, who must be able to pass through.
fn folder(prefix: &str) -> Result<TempDir, DevnetError> {
    let dir = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .map_err(DevnetError::io("cannot create a directory in", env::temp_dir()))?;
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .map_err(DevnetError::io("cannot set permissions of", dir.path()))?;
    Ok(dir)
}
