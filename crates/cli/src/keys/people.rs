//! The keys of those who act for a devnet tenant's account.

use std::{collections::BTreeMap, fs, os::unix::fs::DirBuilderExt, path::PathBuf, thread};

use alloy::{
    primitives::{Address, B256, aliases::U104},
    signers::local::PrivateKeySigner,
};
use cofferdam_contracts::account::{Configuration, Role};
use eyre::{Result, WrapErr, bail};

use super::{KeyRing, load};

/// The roles that an account has here, each held by one key.
const ROLES: [Role; 5] =
    [Role::Owner, Role::Approver, Role::Authoriser, Role::Executor, Role::Guardian];

/// How long one principal's change waits, in seconds: a day.
const DELAY: u32 = 86_400;
/// One ether in wei; a call of an agent may send as much, and two days' calls five times that.
const ETHER: u128 = 1_000_000_000_000_000_000;

/// What an account starts with, and the keys of its roles.
///
/// In a folder named after the account: a keystore for each role, as `owner.json`, and the configuration
/// as `account.json`, which with the keys is what it takes to have the same account on another chain.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) configuration: Configuration,
    keys: BTreeMap<Role, PrivateKeySigner>,
}

impl People {
    /// Makes keys for all roles.
    pub(crate) fn new() -> Self {
        let keys = ROLES.map(|role| (role, PrivateKeySigner::random()));
        let [owner, approver, authoriser, executor, guardian] =
            [0, 1, 2, 3, 4].map(|at| keys[at].1.address());
        let configuration = Configuration {
            owner,
            guardian,
            approvers: vec![approver],
            authorisers: vec![authoriser],
            executors: vec![executor],
            delay: DELAY,
            native_per_call: U104::from(ETHER),
            native_per_day: U104::from(5 * ETHER),
            salt: B256::ZERO,
        };
        Self { configuration, keys: keys.into() }
    }

    /// The keys of owner and approver: two principals, whose signatures are the account's.
    pub(crate) fn signatories(&self) -> Result<[&PrivateKeySigner; 2]> {
        match (self.keys.get(&Role::Owner), self.keys.get(&Role::Approver)) {
            (Some(owner), Some(approver)) => Ok([owner, approver]),
            _ => bail!("the account's folder lacks the key of its owner or of its approver"),
        }
    }
}

impl KeyRing {
    /// The folder of an account.
    pub(crate) fn folder(&self, account: Address) -> PathBuf {
        self.dir.join(format!("{account:#x}"))
    }

    /// Writes down who acts for an account, all of it or nothing.
    pub(crate) fn keep_people(&self, account: Address, people: &People) -> Result<()> {
        let folder = self.folder(account);
        let fresh = folder.with_extension("new");
        let written = || format!("cannot write {}", fresh.display());
        fs::DirBuilder::new().mode(0o700).create(&fresh).wrap_err_with(written)?;
        let configuration = serde_json::to_string_pretty(&people.configuration)?;
        fs::write(fresh.join("account.json"), configuration).wrap_err_with(written)?;
        // Encrypting a key takes some hundredths of a second, by design.
        thread::scope(|scope| {
            let files = people.keys.iter().map(|(role, key)| {
                let file = fresh.join(format!("{role}.json"));
                scope.spawn(move || self.write(key, &file))
            });
            let files: Vec<_> = files.collect();
            files.into_iter().try_for_each(|file| match file.join() {
                Ok(written) => written,
                Err(_) => bail!("a keystore could not be written"),
            })
        })?;
        fs::rename(&fresh, &folder).wrap_err_with(written)
    }

    /// Who acts for an account, if that is here.
    pub(crate) fn people(&self, account: Address) -> Result<Option<People>> {
        let folder = self.folder(account);
        let file = folder.join("account.json");
        if !file.exists() {
            return Ok(None);
        }
        let text = fs::read(&file).wrap_err_with(|| format!("cannot read {}", file.display()))?;
        let configuration = serde_json::from_slice(&text)
            .wrap_err_with(|| format!("{} is no account's configuration", file.display()))?;
        let files = ROLES.map(|role| (role, folder.join(format!("{role}.json"))));
        let keys = files.into_iter().filter(|(_, file)| file.exists());
        let keys = keys.map(|(role, file)| Ok((role, load(&file, &self.password)?)));
        Ok(Some(People { configuration, keys: keys.collect::<Result<_>>()? }))
    }
}
