//! One database a test, on one server a process.

use std::{
    env, process,
    sync::atomic::{AtomicU32, Ordering},
};

use rand::{Rng, distr::Alphanumeric};
use tokio::sync::OnceCell;
use url::Url;

use crate::{DevnetError, Postgres, PostgresOptions, Toolchain};

/// The server of this process; its leash ends it when the process does.
static SERVER: OnceCell<Postgres> = OnceCell::const_new();
/// Makes database names unique within this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URLs of a database that only one test uses. It is created by the first migration.
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
        let mut admin_url = match env::var("DATABASE_URL").ok().and_then(|url| url.parse().ok()) {
            Some(url) => url,
            None => SERVER.get_or_try_init(start).await?.admin_url().clone(),
        };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let random: String =
            rand::rng().sample_iter(Alphanumeric).take(6).map(char::from).collect();
        let name = format!("test_{}_{number}_{}", process::id(), random.to_lowercase());
        admin_url.set_path(&name);
        let mut runtime_url = admin_url.clone();
        runtime_url.set_username(&name).expect("a URL with a host takes a user");
        runtime_url.set_password(Some(&random)).expect("a URL with a host takes a password");
        Ok(Self { admin_url, runtime_url })
    }
}

async fn start() -> Result<Postgres, DevnetError> {
    let data_dir = tempfile::Builder::new()
        .prefix("cofferdam-test-")
        .tempdir()
        .map_err(DevnetError::io("cannot create a directory in", env::temp_dir()))?
        .keep();
    // The server runs as another user, who must be able to pass through.
    std::fs::set_permissions(&data_dir, std::os::unix::fs::PermissionsExt::from_mode(0o711))
        .map_err(DevnetError::io("cannot set permissions of", &data_dir))?;
    let options = PostgresOptions { data_dir, port: None, ephemeral: true };
    Postgres::start(&Toolchain::find(), &options).await
}
