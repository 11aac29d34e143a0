//! What an auditor trusts: never a file's own word.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use alloy::primitives::{Address, B256};
use cofferdam_contracts::{
    RpcUrl,
    deployment::{self, Deployed, DeploymentFile},
};
use cofferdam_core::Policy;
use eyre::{Result, WrapErr, bail, eyre};
use serde::{Deserialize, Serialize};

use crate::connect::ChainArgs;

/// Whom and what to believe.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustArgs {
    /// What the auditor trusts: a file with chain and contract
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// The hash of the contract's code
    #[arg(long, value_name = "HASH")]
    pub(crate) code_hash: Option<B256>,

    /// The hash of a block of the chain, known from elsewhere; can be given several times
    #[arg(long, value_name = "HASH")]
    pub(crate) block_hash: Vec<B256>,

    /// The first block to look for events in; by default the one that created the contract
    #[arg(long, value_name = "N")]
    pub(crate) from_block: Option<u64>,

    /// An RPC endpoint of the chain, http:// or https://; can be given several times, and then all must
    /// say the same
    #[arg(long, value_name = "URL", env = "RPC_URL", hide_env_values = true)]
    pub(crate) rpc_url: Vec<String>,

    /// What `forge script script/Deploy.s.sol` wrote on this chain
    #[arg(long, value_name = "FILE", env = "COFFERDAM_DEPLOYMENT",
          value_parser = |path: &str| DeploymentFile::read(Path::new(path)))]
    pub(crate) deployment: Option<DeploymentFile>,

    /// AuditAnchor's address
    #[arg(long, value_name = "ADDRESS", env = "COFFERDAM_CONTRACT")]
    pub(crate) contract: Option<Address>,

    /// The chain's id, such as 8453 for Base; an endpoint that serves another chain is refused
    #[arg(long, value_name = "N", env = "CHAIN_ID")]
    pub(crate) chain_id: Option<u64>,
}

/// What an auditor trusts: where the truth is, from somebody other than who wrote the receipt.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VerifierPolicy {
    /// The chain's id.
    pub(crate) chain_id: u64,
    /// AuditAnchor's address.
    pub(crate) contract: Address,
    /// The hash of its code on that chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code_hash: Option<B256>,
    /// Hashes of blocks that are known to be that chain's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) block_hashes: Vec<B256>,
    /// The block that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from_block: Option<u64>,
    /// An endpoint to ask; `--rpc-url` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rpc_url: Option<String>,
}

/// A policy, and the endpoints to ask.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    pub(crate) policy: VerifierPolicy,
    pub(crate) urls: Vec<RpcUrl>,
}

impl VerifierPolicy {
    /// What is trusted without asking anybody.
    pub(crate) fn pins(&self) -> Policy {
        Policy {
            chain_id: self.chain_id,
            contract: self.contract,
            code_hash: self.code_hash,
            block_hashes: self.block_hashes.clone(),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .wrap_err_with(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .wrap_err_with(|| format!("{} is not a verifier policy", path.display()))
    }
}

impl TrustArgs {
    /// Where a command that reads a database finds its chain.
    pub(crate) fn chain(&self) -> Result<ChainArgs> {
        if self.policy.is_some() || self.code_hash.is_some() || !self.block_hash.is_empty() {
            bail!("--policy, --code-hash and --block-hash are about receipts; name one");
        }
        if self.rpc_url.len() > 1 {
            bail!("a database follows one chain; pass --rpc-url once");
        }
        Ok(ChainArgs {
            rpc_url: self.rpc_url.first().cloned(),
            deployment: self.deployment.clone(),
            contract: self.contract,
            chain_id: self.chain_id,
        })
    }

    /// What is trusted: the policy file or the options, which must not contradict it.
    pub(crate) fn trust(&self) -> Result<Trust> {
        let policy = match (&self.policy, self.chain_id, self.contract, &self.deployment) {
            (Some(path), ..) => self.agreeing(path)?,
            (None, Some(chain_id), Some(contract), _) => {
                VerifierPolicy { chain_id, contract, ..VerifierPolicy::default() }
            }
            (None, id, None, Some(file)) if id.is_none_or(|id| id == file.chain_id()) => {
                let Deployed { address, code_hash } = file.audit_anchor();
                VerifierPolicy {
                    chain_id: file.chain_id(),
                    contract: address,
                    code_hash: Some(code_hash),
                    from_block: file.from_block(),
                    ..VerifierPolicy::default()
                }
            }
            _ => bail!(
                "say what you trust: pass --chain-id and --contract, or a file with --policy or \
                     --deployment; a receipt's own word for them proves nothing"
            ),
        };
        self.complete(policy)
    }

    /// The same, where nobody's file is judged: what is not said is as `Deploy.s.sol` makes it on every
    /// chain, and the chain is the one that the endpoint serves.
    pub(crate) async fn trust_of_chain(&self) -> Result<Trust> {
        if self.policy.is_some() || self.deployment.is_some() {
            return self.trust();
        }
        let Some(url) = self.rpc_url.first() else {
            bail!("no RPC endpoint given; pass --rpc-url or set RPC_URL");
        };
        let chain = ChainArgs {
            rpc_url: Some(url.clone()),
            chain_id: self.chain_id,
            ..ChainArgs::default()
        };
        self.complete(VerifierPolicy {
            chain_id: chain.id().await?,
            contract: self.contract.unwrap_or_else(deployment::audit_anchor),
            ..VerifierPolicy::default()
        })
    }

    fn agreeing(&self, path: &Path) -> Result<VerifierPolicy> {
        let policy = VerifierPolicy::read(path)?;
        let contradiction = |option, value: &dyn Display, named: &dyn Display| {
            let path = path.display();
            Err(eyre!("{option} is {value}, but the policy {path} names {named}; pass only one"))
        };
        if let Some(chain_id) = self.chain_id.filter(|id| *id != policy.chain_id) {
            return contradiction("--chain-id", &chain_id, &policy.chain_id);
        }
        if let Some(contract) = self.contract.filter(|it| *it != policy.contract) {
            return contradiction("--contract", &contract, &policy.contract);
        }
        if let (Some(given), Some(named)) = (self.code_hash, policy.code_hash)
            && given != named
        {
            return contradiction("--code-hash", &given, &named);
        }
        Ok(policy)
    }

    fn complete(&self, mut policy: VerifierPolicy) -> Result<Trust> {
        policy.from_block = self.from_block.or(policy.from_block);
        policy.code_hash = self.code_hash.or(policy.code_hash);
        policy.block_hashes.extend(&self.block_hash);
        let named = match &*self.rpc_url {
            [] => policy.rpc_url.as_slice(),
            given => given,
        };
        let urls = named.iter().map(|url| url.parse()).collect::<Result<_, _>>()?;
        Ok(Trust { policy, urls })
    }
}
