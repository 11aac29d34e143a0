//! Options that say where the chain and the database are and which key pays.
//!
//! URLs are taken as plain strings and parsed here: a parse error that clap prints would quote them,
//! password and all.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use cofferdam_contracts::{
    Chain, ChainError, Expected, RpcUrl,
    deployment::{self, DeploymentFile},
};
use cofferdam_core::TenantId;
use cofferdam_devnet::Anvil;
use cofferdam_store::{DatabaseUrl, Deployment, Sequencer, StoreError, Tenant};
use eyre::{Result, WrapErr, bail};
use tracing::warn;

use crate::keys;

/// Where the database is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct DatabaseArgs {
    /// The database, as postgres://USER:PASSWORD@HOST:PORT/NAME, with the login that `migrate` made
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
}

impl DatabaseArgs {
    pub(crate) fn url(&self) -> Result<DatabaseUrl> {
        match &self.database_url {
            Some(url) => Ok(url.parse()?),
            None => bail!("no database given; pass --database-url or set DATABASE_URL"),
        }
    }
}

/// Where the chain is and which contract is meant.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Chain")]
pub(crate) struct ChainArgs {
    /// An RPC endpoint of the chain, http:// or https://
    #[arg(long, value_name = "URL", env = "RPC_URL", hide_env_values = true)]
    pub(crate) rpc_url: Option<String>,

    /// What `forge script script/Deploy.s.sol` wrote on this chain; by default the contracts are where
    /// it puts them on every chain
    #[arg(long, value_name = "FILE", env = "COFFERDAM_DEPLOYMENT",
          value_parser = |path: &str| DeploymentFile::read(Path::new(path)))]
    pub(crate) deployment: Option<DeploymentFile>,

    /// AuditAnchor's address, if it is another one
    #[arg(long, value_name = "ADDRESS", env = "COFFERDAM_CONTRACT")]
    pub(crate) contract: Option<Address>,

    /// The chain's id, such as 8453 for Base; an endpoint that serves another chain is refused
    #[arg(long, value_name = "N", env = "CHAIN_ID")]
    pub(crate) chain_id: Option<u64>,

    /// How long the endpoint may take to answer; 30 by default
    #[arg(long, value_name = "SECONDS", env = "COFFERDAM_RPC_TIMEOUT",
          value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) rpc_timeout: Option<u64>,
}

impl ChainArgs {
    fn expected(&self, contract: Option<Address>) -> Expected {
        let patience = self.rpc_timeout.map(Duration::from_secs);
        Expected { chain_id: self.chain_id, contract, patience }
    }

    pub(crate) fn rpc_url(&self) -> Result<RpcUrl> {
        match &self.rpc_url {
            Some(url) => Ok(url.parse()?),
            None => bail!("no RPC endpoint given; pass --rpc-url or set RPC_URL"),
        }
    }

    /// Where the contracts are.
    pub(crate) fn deployment(&self) -> deployment::Deployment {
        let known = self.deployment.as_ref().map(DeploymentFile::addresses).unwrap_or_default();
        deployment::Deployment {
            audit_anchor: self.contract.unwrap_or(known.audit_anchor),
            ..known
        }
    }

    pub(crate) async fn connect(&self) -> Result<Chain> {
        self.connect_to(self.deployment().audit_anchor).await
    }

    /// Connects to the first endpoint that can be reached, of the one that is given and these others; says which
    /// there are beside it.
    pub(crate) async fn connect_any(&self, others: Vec<RpcUrl>) -> Result<(Chain, Vec<RpcUrl>)> {
        let contract = self.deployment().audit_anchor;
        let mut urls = vec![self.rpc_url()?];
        urls.extend(others);
        let mut of_first = None;
        for n in 0..urls.len() {
            match self.connect_at(&urls[n], contract).await {
                Ok(chain) => {
                    urls.remove(n);
                    return Ok((chain, urls));
                }
                Err(error) if is_away(&error) => {
                    if n + 1 < urls.len() {
                        let (endpoint, next) = (&urls[n], &urls[n + 1]);
                        warn!(%endpoint, %next, "an RPC endpoint is away, the next stands in for it until the next start");
                    }
                    of_first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(of_first.unwrap_or_else(|| eyre::eyre!("no RPC endpoint given")))
    }

    /// Connects to one of the contracts. A deployment file must say what the chain does.
    pub(crate) async fn connect_to(&self, contract: Address) -> Result<Chain> {
        self.connect_at(&self.rpc_url()?, contract).await
    }

    async fn connect_at(&self, url: &RpcUrl, contract: Address) -> Result<Chain> {
        let expected = self.expected(Some(contract));
        let chain = Chain::connect_undeployed(url, expected).await?;
        let Some(file) = &self.deployment else { return Ok(chain.demand_code()?) };
        file.check(&chain).await?;
        Ok(chain.demand_code()?.since(file.from_block()))
    }

    /// The chain's id alone: as given, else as the endpoint says.
    pub(crate) async fn id(&self) -> Result<u64> {
        match (self.chain_id, &self.rpc_url) {
            (Some(id), _) => Ok(id),
            (None, Some(_)) => {
                let chain =
                    Chain::connect_undeployed(&self.rpc_url()?, self.expected(None)).await?;
                Ok(chain.chain_id())
            }
            (None, None) => bail!("no chain given; pass --chain-id or set CHAIN_ID"),
        }
    }
}

/// Which key acts and pays.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Key")]
pub(crate) struct KeyArgs {
    /// The encrypted keystore of the key that acts and pays, as `cast wallet new` makes it
    #[arg(long, value_name = "FILE", env = "COFFERDAM_KEYSTORE")]
    pub(crate) keystore: Option<PathBuf>,

    /// A file whose first line is the keystore's password
    #[arg(long, value_name = "FILE", env = "COFFERDAM_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// A raw private key; taken on chain 31337 only, since others can read a command line
    #[arg(long, value_name = "HEX", conflicts_with = "keystore")]
    pub(crate) private_key: Option<String>,
}

impl KeyArgs {
    pub(crate) fn load(&self, chain_id: u64) -> Result<PrivateKeySigner> {
        load_key(
            "",
            chain_id,
            self.keystore.as_deref(),
            self.password_file.as_deref(),
            self.private_key.as_deref(),
        )
    }

    /// Whether any key was named.
    pub(crate) fn is_given(&self) -> bool {
        self.keystore.is_some() || self.private_key.is_some()
    }
}

/// Opens a key as options say whose names begin with `prefix`.
pub(crate) fn load_key(
    prefix: &str,
    chain_id: u64,
    keystore: Option<&Path>,
    password_file: Option<&Path>,
    private_key: Option<&str>,
) -> Result<PrivateKeySigner> {
    if let Some(key) = private_key {
        if chain_id != Anvil::CHAIN_ID {
            bail!(
                "--{prefix}private-key is refused on chain {chain_id}: other users of this machine can \
                 read a command line; make a keystore with `cast wallet import` and pass \
                 --{prefix}keystore"
            );
        }
        // The parser's own error is dropped: it could quote the key.
        return key
            .parse()
            .map_err(|_| eyre::eyre!("--{prefix}private-key is not 32 bytes of hex"));
    }
    let Some(keystore) = keystore else {
        bail!("no key given; pass --{prefix}keystore and --{prefix}password-file");
    };
    let Some(password_file) = password_file else {
        bail!("no password given for {}; pass --{prefix}password-file", keystore.display());
    };
    keys::load(keystore, &keys::password(password_file)?)
}

/// Whether the node or the database cannot be reached, or not now.
pub(crate) fn is_away(error: &eyre::Report) -> bool {
    let node = || matches!(error.downcast_ref(), Some(ChainError::Rpc { .. }));
    node() || error.downcast_ref().is_some_and(StoreError::is_transient)
}

/// Checks that the database follows this chain's contract, and notes it on first use.
pub(crate) async fn follow(sequencer: &Sequencer, chain: &Chain) -> Result<Deployment> {
    if let Some(known) = sequencer.deployment().await? {
        if known.contract != chain.contract() {
            bail!(
                "this database follows contract {} on chain {}, not {}; pass --contract {} or use \
                 another database",
                known.contract,
                chain.chain_id(),
                chain.contract(),
                known.contract
            );
        }
        if known.code_hash != chain.code_hash() {
            bail!(
                "the code at {} on chain {} is not what this database was made for ({} instead of \
                 {}): another chain answers to the same id, or the contract was replaced",
                known.contract,
                chain.chain_id(),
                chain.code_hash(),
                known.code_hash
            );
        }
        return Ok(known);
    }
    // A node without old state cannot tell; reading from the first block is slow but right.
    let mut from_block = chain.deployed_in().await?.unwrap_or_default();
    // Anybody may have put the others there before.
    let others = deployment::Deployment::default();
    for contract in
        [others.policy_registry, others.mcp_agent_registry, others.smart_account_factory]
    {
        if let Some(created) = chain.created_in(contract).await? {
            from_block = from_block.min(created);
        }
    }
    sequencer.register_deployment(chain.contract(), chain.code_hash(), from_block).await?;
    Ok(Deployment { contract: chain.contract(), code_hash: chain.code_hash(), from_block })
}

/// The tenant that an argument names, by name or by id.
pub(crate) async fn tenant(sequencer: &Sequencer, name_or_id: &str) -> Result<Tenant> {
    let found = match name_or_id.parse::<TenantId>() {
        Ok(id) => sequencer.tenant_by_id(id).await?,
        Err(_) => sequencer.tenant_by_name(name_or_id).await?,
    };
    found.ok_or_else(|| {
        eyre::eyre!("no tenant {name_or_id:?} is registered; see `cofferdam tenant list`")
    })
}

/// Which tenant is meant, where no database is needed to tell.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TenantArgs {
    /// The tenant: its id, its authority's address, or its name in the operator's database
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: String,

    #[command(flatten)]
    pub(crate) database: DatabaseArgs,
}

impl TenantArgs {
    /// The tenant's id.
    pub(crate) async fn id(&self, chain: &ChainArgs) -> Result<TenantId> {
        tenant_id(&self.tenant, &self.database, chain).await
    }
}

/// The id that an argument spells, or that its name has in the operator's database.
pub(crate) async fn tenant_id(
    tenant_or_name: &str,
    database: &DatabaseArgs,
    chain: &ChainArgs,
) -> Result<TenantId> {
    if let Ok(authority) = tenant_or_name.parse::<Address>() {
        return Ok(TenantId::from_authority(authority)?);
    }
    if tenant_or_name.starts_with("0x") {
        return tenant_or_name.parse().wrap_err_with(|| {
            format!("{tenant_or_name} is neither a tenant's id nor its authority's address")
        });
    }
    if database.database_url.is_none() {
        bail!(
            "{tenant_or_name:?} is a name, and names are in the operator's database: pass \
             --database-url or set DATABASE_URL, or give the tenant's id or address"
        );
    }
    let sequencer = sequencer(database, chain.id().await?).await?;
    Ok(tenant(&sequencer, tenant_or_name).await?.id)
}

/// Connects the operator's door to the database.
pub(crate) async fn sequencer(database: &DatabaseArgs, chain_id: u64) -> Result<Sequencer> {
    let url = database.url()?;
    Sequencer::connect(&url, chain_id).await.wrap_err("cannot use the database")
}
