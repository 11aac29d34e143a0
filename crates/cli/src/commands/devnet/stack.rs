//! The parts that a devnet runs on.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Mutex,
    time::Duration,
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use cofferdam_contracts::{
    Chain, Expected, RpcUrl,
    deployment::{Deployment, DeploymentFile, FORGE_CACHE, FORGE_OUT},
};
use cofferdam_devnet::{
    Anvil, AnvilOptions, DeployOptions, Postgres, PostgresOptions, Toolchain, deploy,
};
use cofferdam_store::{DatabaseUrl, check_admin, migrate};
use eyre::{Result, WrapErr, bail};
use url::Url;

use super::{Job, report::Report};
use crate::{
    keys::{self, KeyRing},
    output::Output,
    verifier::VerifierPolicy,
};

/// The key of Anvil's first account. It is published and rich on every Anvil, and worthless elsewhere.
const DEV_KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// What the deployment script wrote, in the data directory.
const DEPLOYMENT: &str = "deployment.json";

/// Marks in `env` that say that the chain, or the database, was started here and is gone by now.
const OWN_CHAIN: &str = "# The chain was started by the devnet.";
const OWN_DATABASE: &str = "# The database was started by the devnet.";

/// Chain, database and keys, ready to be used.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) chain: Chain,
    pub(super) runtime_url: DatabaseUrl,
    pub(super) key: PrivateKeySigner,
    pub(super) keys: KeyRing,
    data_dir: PathBuf,
    /// Behind a lock so that the parts can be watched while they are used.
    anvil: Mutex<Option<Anvil>>,
    postgres: Mutex<Option<Postgres>>,
}

impl Stack {
    pub(super) async fn start(args: &Job, output: &Output) -> Result<Self> {
        let data_dir = &args.data_dir;
        fs::create_dir_all(data_dir)
            .wrap_err_with(|| format!("cannot create {}", data_dir.display()))?;
        let data_dir = data_dir.canonicalize()?;
        let tools = Toolchain::find();

        // A shell that has sourced an earlier run's `env` does not mean to name another chain.
        let earlier = fs::read_to_string(data_dir.join("env")).unwrap_or_default();
        let other = |url: &Option<String>, mark: &str| {
            url.clone().filter(|url| !(earlier.contains(mark) && earlier.contains(&quoted(url))))
        };
        let rpc_url = other(&args.rpc_url, OWN_CHAIN);
        let database_url = other(&args.database_url, OWN_DATABASE);
        let (anvil, postgres) = tokio::join!(
            start_anvil(args, rpc_url, &tools, &data_dir),
            start_postgres(args, database_url, &tools, &data_dir)
        );
        let ((anvil, rpc_url), (postgres, database_url)) = (anvil?, postgres?);
        output.say(format_args!("chain     {rpc_url}"));

        let (admin, runtime) = logins(&database_url, &data_dir).await?;
        if let Some(admin) = &admin {
            migrate(&admin.as_str().parse()?, &runtime.as_str().parse()?).await?;
            // For `devnet tamper`, which does what no login of ours may.
            write_private(&data_dir.join("admin-url"), admin.as_str())?;
        }
        let runtime_url = DatabaseUrl::from_str(runtime.as_str())?;
        output.say(format_args!("database  {runtime_url}"));

        let key: PrivateKeySigner = DEV_KEY.parse()?;
        let keys = KeyRing::open(&data_dir.join("keys"))?;
        keys.keep(&key)?;
        let chain = deployed(&rpc_url, &tools, &keys, key.address(), &data_dir).await?;
        output.say(format_args!("contract  {}", chain.contract()));

        let own = [anvil.as_ref().map(|_| OWN_CHAIN), postgres.as_ref().map(|_| OWN_DATABASE)];
        let env = Environment {
            data_dir: &data_dir,
            chain: &chain,
            runtime: &runtime,
            keys: &keys,
            own: own.into_iter().flatten().collect(),
        };
        env.write(key.address(), chain.deployed_in().await?)?;
        let (anvil, postgres) = (Mutex::new(anvil), Mutex::new(postgres));
        Ok(Self { chain, runtime_url, key, keys, data_dir, anvil, postgres })
    }

    /// Returns the name of the first part that ends by itself.
    pub(super) async fn watch(&self) -> &'static str {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let dead = |part: bool, name| part.then_some(name);
            let anvil = locked(&self.anvil, |it| it.as_mut().is_some_and(Anvil::has_ended));
            let postgres =
                locked(&self.postgres, |it| it.as_mut().is_some_and(Postgres::has_ended));
            if let Some(name) = dead(anvil, "Anvil").or(dead(postgres, "Postgres")) {
                return name;
            }
        }
    }

    /// The data directory, as it is shown.
    pub(super) fn dir(&self) -> String {
        shown(&self.data_dir)
    }

    /// Stops what was started, the database last.
    pub(super) async fn stop(&self) {
        if let Some(anvil) = locked(&self.anvil, Option::take) {
            anvil.stop().await;
        }
        if let Some(postgres) = locked(&self.postgres, Option::take) {
            postgres.stop().await;
        }
    }

    /// Commands to go on with.
    pub(super) fn what_next(&self, report: &Report) -> String {
        let dir = self.dir();
        let (tenant, account) = report.first_tenant();
        let tenant = if tenant.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
        {
            format!("'{}'", tenant.replace('\'', r"'\''"))
        } else {
            tenant.to_string()
        };
        format!(
            "
This stays up, anchoring what comes in. In another terminal, from this directory:

  source {dir}/env
  cofferdam status

A receipt, and its verification by an auditor who has nothing but the RPC endpoint:

  cofferdam receipt --tenant {tenant} --seq 0 --out /tmp/receipt.json
  cofferdam verify /tmp/receipt.json --policy {dir}/verifier.json

Change one byte in the database, as only an administrator can, and see it found; the second tamper
changes it back:

  cofferdam devnet tamper --tenant {tenant} --seq 0
  cofferdam verify
  cofferdam devnet tamper --tenant {tenant} --seq 0

A tenant is a smart account. The keys of its owner, gates and guardian, and what it started with, are in
{dir}/keys/{account:#x}:

  cofferdam account show --account {account}

They have ether on this chain: give the tenant a policy, and an agent a capability, as the examples of
`cofferdam policy publish --help` and `cofferdam agent grant --help` do.

Append records of your own (CloudTrail JSON or NDJSON, see cofferdam append --help):

  cofferdam append --register PATH

Ctrl-C here stops everything."
        )
    }
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn locked<T, R>(mutex: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
    act(&mut mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// A path as short as it can be written here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

async fn start_anvil(
    args: &Job,
    rpc_url: Option<String>,
    tools: &Toolchain,
    data_dir: &Path,
) -> Result<(Option<Anvil>, RpcUrl)> {
    if let Some(url) = rpc_url {
        return Ok((None, url.parse()?));
    }
    let options = AnvilOptions {
        data_dir: data_dir.into(),
        port: Some(args.anvil_port),
        keep: true,
        args: vec![],
    };
    let anvil = Anvil::start(tools, &options).await?;
    let url = anvil.rpc_url().clone().into();
    Ok((Some(anvil), url))
}

async fn start_postgres(
    args: &Job,
    database_url: Option<String>,
    tools: &Toolchain,
    data_dir: &Path,
) -> Result<(Option<Postgres>, Url)> {
    if let Some(url) = database_url {
        // The parser's own error could quote the password.
        let url = url.parse().map_err(|_| eyre::eyre!("--database-url is not a URL"))?;
        return Ok((None, url));
    }
    let options =
        PostgresOptions { data_dir: data_dir.into(), port: args.postgres_port, ephemeral: false };
    let postgres = Postgres::start(tools, &options).await?;
    let mut url = postgres.admin_url().clone();
    url.set_path("cofferdam");
    Ok((Some(postgres), url))
}

/// The administrator's and the daemon's login of a database. One that cannot migrate is taken as the
/// daemon's, of a database that was migrated before.
async fn logins(given: &Url, data_dir: &Path) -> Result<(Option<Url>, Url)> {
    let url = DatabaseUrl::from_str(given.as_str())?;
    let admin = check_admin(&url).await.wrap_err_with(|| format!("cannot use {url}"))?;
    if !admin {
        return Ok((None, given.clone()));
    }
    let name: String = url
        .database()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .take(40)
        .collect();
    let file = data_dir.join("daemon-password");
    if !file.exists() {
        write_private(&file, &keys::random_password())?;
    }
    let password = fs::read_to_string(&file)?;
    let mut runtime = given.clone();
    let set = runtime
        .set_username(&format!("{name}_daemon"))
        .and_then(|()| runtime.set_password(Some(password.trim())));
    if set.is_err() {
        bail!("--database-url has no host");
    }
    Ok((Some(given.clone()), runtime))
}

/// Connects to the contracts, deploying first what is not there.
async fn deployed(
    url: &RpcUrl,
    tools: &Toolchain,
    keys: &KeyRing,
    payer: Address,
    data_dir: &Path,
) -> Result<Chain> {
    let chain = Chain::connect_undeployed(url, Expected::default()).await?;
    if chain.chain_id() != Anvil::CHAIN_ID {
        bail!(
            "the RPC endpoint {url} serves chain {}; devnet is for chain {} only, see the README for \
             other chains",
            chain.chain_id(),
            Anvil::CHAIN_ID
        );
    }
    let file = data_dir.join(DEPLOYMENT);
    if stand(&file, &chain).await.is_err() {
        let options = DeployOptions {
            rpc_url: url.expose(),
            keystore: &keys.file(payer),
            password_file: &keys.password_file(),
            forge_out: Path::new(FORGE_OUT),
            forge_cache: Path::new(FORGE_CACHE),
            data_dir,
        };
        deploy(tools, &options, &file).await?;
        stand(&file, &chain).await?;
    }
    Ok(Chain::connect(url, Expected::default()).await?)
}

/// Whether all contracts are where a deployment file, and this program, have them.
async fn stand(file: &Path, chain: &Chain) -> Result<()> {
    let deployment = DeploymentFile::read(file)?;
    if deployment.addresses() != Deployment::default() {
        bail!(
            "{} has other addresses than this program was built with: the contracts' sources have \
             changed since, build it again",
            file.display()
        );
    }
    Ok(deployment.check(chain).await?)
}

/// What the other commands need to know of a running devnet.
struct Environment<'a> {
    data_dir: &'a Path,
    chain: &'a Chain,
    runtime: &'a Url,
    keys: &'a KeyRing,
    /// What was started here, as marks in `env`.
    own: Vec<&'static str>,
}

impl Environment<'_> {
    /// Writes `env`, for a shell to source, and `verifier.json`, for an auditor to trust.
    fn write(&self, anchorer: Address, from_block: Option<u64>) -> Result<()> {
        let program = std::env::current_exe().unwrap_or_default();
        let programs = program.parent().unwrap_or(Path::new(""));
        let mut text =
            String::from("# Written by `cofferdam devnet`; holds the database's password.\n");
        for mark in &self.own {
            text += &format!("{mark}\n");
        }
        for (name, value) in [
            ("RPC_URL", self.chain.url().expose().to_string()),
            ("CHAIN_ID", self.chain.chain_id().to_string()),
            ("DATABASE_URL", self.runtime.to_string()),
            ("COFFERDAM_DEPLOYMENT", self.data_dir.join(DEPLOYMENT).display().to_string()),
            ("COFFERDAM_DATA", self.data_dir.display().to_string()),
            ("COFFERDAM_KEYS", self.data_dir.join("keys").display().to_string()),
            ("COFFERDAM_KEYSTORE", self.keys.file(anchorer).display().to_string()),
            ("COFFERDAM_PASSWORD_FILE", self.keys.password_file().display().to_string()),
        ] {
            text += &format!("export {name}={}\n", quoted(&value));
        }
        text += &format!("PATH={}:$PATH\n", quoted(&programs.display().to_string()));
        write_private(&self.data_dir.join("env"), &text)?;

        let policy = VerifierPolicy {
            chain_id: self.chain.chain_id(),
            contract: self.chain.contract(),
            code_hash: Some(self.chain.code_hash()),
            block_hashes: vec![],
            from_block,
            rpc_url: Some(self.chain.url().expose().to_string()),
        };
        let path = self.data_dir.join("verifier.json");
        fs::write(&path, serde_json::to_string_pretty(&policy)?)
            .wrap_err_with(|| format!("cannot write {}", path.display()))
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&fresh, path))
        .wrap_err_with(|| format!("cannot write {}", path.display()))
}
