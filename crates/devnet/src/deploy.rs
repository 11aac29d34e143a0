//! Deploys the contracts with the script that deploys them everywhere.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Stdio},
};

use tokio::process::Command;
use url::Url;

use crate::{DevnetError, Toolchain, postgres::tail};

/// The deployment script, in the project's folder.
pub(crate) const SCRIPT: &str = "script/Deploy.s.sol";

/// What is deployed where, and who pays.
#[derive(Debug, Clone)]
pub struct DeployOptions<'a> {
    /// The chain.
    pub rpc_url: &'a Url,
    /// The keystore of the key that pays.
    pub keystore: &'a Path,
    /// The file with its password.
    pub password_file: &'a Path,
    /// What forge has compiled of these sources already; it is only read.
    pub forge_out: &'a Path,
    /// Its cache; it is only read.
    pub forge_cache: &'a Path,
    /// Where the log, and what forge writes down of its transactions, are kept.
    pub data_dir: &'a Path,
}

/// Runs the deployment script, which leaves alone what is there already, and writes the deployment file
/// to `to`. A second or so when nothing has to be compiled.
pub async fn deploy(
    toolchain: &Toolchain,
    options: &DeployOptions<'_>,
    to: &Path,
) -> Result<(), DevnetError> {
    let (forge, project) = (toolchain.foundry("forge")?, toolchain.project()?);
    let own = options.data_dir.join("forge");
    // forge rewrites its cache in place, also when nothing has changed: several must not share one.
    let cache = own.join("cache");
    fs::create_dir_all(&cache).map_err(DevnetError::io("cannot create", &cache))?;
    let compiled = options.forge_cache.join("solidity-files-cache.json");
    if compiled.is_file() {
        let copy = cache.join("solidity-files-cache.json");
        fs::copy(&compiled, &copy).map_err(DevnetError::io("cannot write", &copy))?;
    }
    let log = own.join("deploy.log");
    let said = File::create(&log).map_err(DevnetError::io("cannot write", &log))?;
    let complained = said.try_clone().map_err(DevnetError::io("cannot write", &log))?;
    // The one folder that the project lets scripts write to, whatever the environment says.
    let written = PathBuf::from(format!("target/deployments/devnet-{}.json", process::id()));

    let mut command = Command::new(&forge);
    for (name, _) in env::vars_os() {
        // The user's own settings are for the user's own projects.
        if ["FOUNDRY_", "DAPP_", "ETH_"].iter().any(|it| name.to_string_lossy().starts_with(it)) {
            command.env_remove(name);
        }
    }
    command
        .current_dir(&project)
        .args(["script", SCRIPT, "--broadcast", "--non-interactive", "--color", "never"])
        .args(["--skip", "contracts/test/**", "--rpc-url", "anvil", "--keystore"])
        .arg(options.keystore)
        .arg("--password-file")
        .arg(options.password_file)
        // Not as an argument: an RPC URL may hold a key.
        .env("FOUNDRY_RPC_ENDPOINTS", format!("{{anvil=\"{}\"}}", options.rpc_url))
        .env("FOUNDRY_OUT", options.forge_out)
        .env("FOUNDRY_CACHE_PATH", &cache)
        .env("FOUNDRY_BROADCAST", own.join("broadcast"))
        .env("COFFERDAM_DEPLOYMENT", &written)
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(complained)
        .kill_on_drop(true);
    let ended = command.status().await.map_err(DevnetError::io("cannot run", &forge))?;
    let written = project.join(written);
    if !ended.success() || !written.is_file() {
        return Err(DevnetError::NotDeployed { tail: tail(&log), log });
    }
    fs::copy(&written, to).map_err(DevnetError::io("cannot write", to))?;
    fs::remove_file(&written).map_err(DevnetError::io("cannot remove", &written))
}
