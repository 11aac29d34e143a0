//! Keys in encrypted files (Web3 Secret Storage, as `cast wallet` writes them).

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread::available_parallelism,
    time::Instant,
};

use alloy::{
    primitives::{Address, hex},
    signers::{
        k256::elliptic_curve::rand_core::{OsRng, RngCore},
        local::PrivateKeySigner,
    },
};
use eyre::{Result, WrapErr, bail};
use futures::{StreamExt, stream};
use tokio::task::spawn_blocking;
use tracing::info;

use crate::output::EVERY;

mod people;

pub(crate) use people::People;

/// Reads a password file: its first line.
pub(crate) fn password(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)
        .wrap_err_with(|| format!("cannot read the password file {}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_string()),
        _ => bail!("the first line of {} is empty; it must be the password", path.display()),
    }
}

/// 128 random bits, in hex.
pub(crate) fn random_password() -> String {
    let mut random = [0; 16];
    OsRng.fill_bytes(&mut random);
    hex::encode(random)
}

/// Decrypts a keystore.
pub(crate) fn load(path: &Path, password: &str) -> Result<PrivateKeySigner> {
    PrivateKeySigner::decrypt_keystore(path, password)
        .wrap_err_with(|| format!("cannot open the keystore {}", path.display()))
}

/// Decrypts every keystore of a folder, all with one password. Hidden files are no keystores.
///
/// Each takes as long as whoever made it wants a guess at the password to take, so they are opened on all
/// cores, aside, and it is told how far that is.
pub(crate) async fn load_all(dir: &Path, password: &str) -> Result<Vec<PrivateKeySigner>> {
    let cannot = || format!("cannot read the folder of keystores {}", dir.display());
    let mut files = vec![];
    for file in fs::read_dir(dir).wrap_err_with(cannot)? {
        let file = file.wrap_err_with(cannot)?;
        let hidden = file.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && file.file_type().wrap_err_with(cannot)?.is_file() {
            files.push(file.path());
        }
    }
    if files.is_empty() {
        bail!("there is no keystore in {}; make them with `cast wallet new`", dir.display());
    }
    files.sort_unstable();
    let of = files.len();
    let opening = files.into_iter().map(|file| {
        let password = password.to_owned();
        async move { spawn_blocking(move || load(&file, &password)).await? }
    });
    let cores = available_parallelism().map_or(1, usize::from);
    let mut opening = stream::iter(opening).buffer_unordered(cores);
    let (mut keys, mut said) = (Vec::with_capacity(of), Instant::now());
    while let Some(key) = opening.next().await {
        keys.push(key?);
        if said.elapsed() >= EVERY {
            info!(opened = keys.len(), of, "opening keystores");
            said = Instant::now();
        }
    }
    Ok(keys)
}

/// A folder of keystores that share one password, each named after its address; and of folders, one for
/// each tenant's account ([`People`]). For the devnet.
#[derive(Debug, Clone)]
pub(crate) struct KeyRing {
    dir: PathBuf,
    password: String,
}

impl KeyRing {
    /// Opens the folder, making it and its password on first use.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .wrap_err_with(|| format!("cannot create {}", dir.display()))?;
        let file = dir.join("password");
        if !file.exists() {
            File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&file)
                .and_then(|mut file| writeln!(file, "{}", random_password()))
                .wrap_err_with(|| format!("cannot write {}", file.display()))?;
        }
        Ok(Self { dir: dir.into(), password: password(&file)? })
    }

    /// The file that holds the password.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    /// The file of an address' key.
    pub(crate) fn file(&self, address: Address) -> PathBuf {
        self.dir.join(format!("{address:#x}.json"))
    }

    /// Writes a key down, unless it is there already.
    pub(crate) fn keep(&self, key: &PrivateKeySigner) -> Result<()> {
        let file = self.file(key.address());
        if file.exists() { Ok(()) } else { self.write(key, &file) }
    }

    fn write(&self, key: &PrivateKeySigner, file: &Path) -> Result<()> {
        let name = file.file_name().and_then(|name| name.to_str());
        let dir = file.parent().unwrap_or(&self.dir);
        PrivateKeySigner::encrypt_keystore(dir, &mut OsRng, key.to_bytes(), &self.password, name)
            .wrap_err_with(|| format!("cannot write {}", file.display()))?;
        Ok(())
    }
}
