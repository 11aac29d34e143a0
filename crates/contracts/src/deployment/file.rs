//! What `script/Deploy.s.sol` writes of one chain.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::{
    primitives::{Address, B256, keccak256},
    providers::Provider,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Deployment;
use crate::{Chain, ChainError};

/// A deployment file: where the contracts of one chain are, and which code they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentFile {
    path: PathBuf,
    chain_id: u64,
    from_block: u64,
    /// By name, in the file's order.
    contracts: [(&'static str, Deployed); 5],
}

/// One contract of a deployment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployed {
    /// Where it is.
    pub address: Address,
    /// The hash of its code there.
    pub code_hash: B256,
}

/// A deployment file that is none, or that says something else than the chain.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeploymentError {
    /// The file could not be read.
    #[error("cannot read the deployment file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The file is not what the script writes.
    #[error(
        "{}: {reason}; it must be as script/Deploy.s.sol writes it with --broadcast", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which field is wrong, and how.
        reason: String,
    },
    /// The file is about another chain.
    #[error(
        "{} is the deployment on chain {told}, this is chain {actual}; give that chain's file with --deployment or COFFERDAM_DEPLOYMENT, or none",
        path.display()
    )]
    WrongChain {
        /// The file.
        path: PathBuf,
        /// The chain it is about.
        told: u64,
        /// The chain that was asked.
        actual: u64,
    },
    /// The chain has other code at an address, or none.
    #[error(
        "{}: {contract} at {address} should have code {told}, chain {chain_id} has {actual} there; deploy again with script/Deploy.s.sol, or give another file",
        path.display()
    )]
    WrongCode {
        /// The file.
        path: PathBuf,
        /// The contract, as the file calls it.
        contract: &'static str,
        /// Where it should be.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// The code hash that the file has.
        told: B256,
        /// What the chain has there.
        actual: String,
    },
    /// The chain could not be asked.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl DeploymentFile {
    /// Reads a file. Nothing may be missing from it, and nothing may be in it that is not known.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        let text = fs::read_to_string(path).map_err(|error| DeploymentError::Unreadable {
            path: path.into(),
            reason: error.to_string(),
        })?;
        Self::parse(path, &text)
            .map_err(|reason| DeploymentError::Malformed { path: path.into(), reason })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let mut fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let chain_id = take(&mut fields, "chainId")?;
        let from_block = take(&mut fields, "fromBlock")?;
        let mut contract = |name| Ok::<_, String>((name, take(&mut fields, name)?));
        let contracts = [
            contract("entryPoint")?,
            contract("auditAnchor")?,
            contract("policyRegistry")?,
            contract("mcpAgentRegistry")?,
            contract("smartAccountFactory")?,
        ];
        match fields.keys().next() {
            Some(unknown) => Err(format!("{unknown} is no field of it")),
            None => Ok(Self { path: path.into(), chain_id, from_block, contracts }),
        }
    }

    /// The chain it is about.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// A block before which the contracts have no events; `None` where the script could not know.
    pub fn from_block(&self) -> Option<u64> {
        (self.from_block > 0).then_some(self.from_block)
    }

    /// Where the contracts are.
    pub fn addresses(&self) -> Deployment {
        let [entry_point, audit_anchor, policy_registry, mcp_agent_registry, smart_account_factory] =
            self.contracts.map(|(_, deployed)| deployed.address);
        Deployment {
            entry_point,
            audit_anchor,
            policy_registry,
            mcp_agent_registry,
            smart_account_factory,
        }
    }

    /// AuditAnchor, with its code hash.
    pub fn audit_anchor(&self) -> Deployed {
        self.contracts[1].1
    }

    /// Refuses another chain, and one that has other code at an address, or none.
    pub async fn check(&self, chain: &Chain) -> Result<(), DeploymentError> {
        let (path, chain_id) = (&self.path, chain.chain_id());
        if chain_id != self.chain_id {
            let (told, actual) = (self.chain_id, chain_id);
            return Err(DeploymentError::WrongChain { path: path.clone(), told, actual });
        }
        for (contract, Deployed { address, code_hash: told }) in self.contracts {
            let code = chain.provider().get_code_at(address).into_future();
            let code = chain.ask("cannot read a contract's code", code).await?;
            let actual = keccak256(&code);
            if actual != told || code.is_empty() {
                let actual = if code.is_empty() { "none".into() } else { actual.to_string() };
                let path = path.clone();
                return Err(DeploymentError::WrongCode {
                    path,
                    contract,
                    address,
                    chain_id,
                    told,
                    actual,
                });
            }
        }
        Ok(())
    }
}

/// Takes a field out, so that what is left in the end is what nobody knows.
fn take<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> Result<T, String> {
    let value = fields.remove(name).ok_or_else(|| format!("{name} is missing"))?;
    serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let contract = |name: &str, byte: u8| {
            let (address, hash) = (Address::repeat_byte(byte), B256::repeat_byte(byte));
            format!(r#","{name}":{{"address":"{address}","codeHash":"{hash}"}}"#)
        };
        format!(
            r#"{{"chainId":8453,"fromBlock":7{}{}{}{}{}}}"#,
            contract("entryPoint", 1),
            contract("auditAnchor", 2),
            contract("policyRegistry", 3),
            contract("mcpAgentRegistry", 4),
            contract("smartAccountFactory", 5),
        )
    }

    fn parse(text: &str) -> Result<DeploymentFile, String> {
        DeploymentFile::parse(Path::new("8453.json"), text)
    }

    #[test]
    fn every_contract_is_where_the_file_says() {
        let file = parse(&text()).expect("a file");
        assert_eq!((file.chain_id(), file.from_block()), (8453, Some(7)));
        let byte = Address::repeat_byte;
        let expected = Deployment {
            entry_point: byte(1),
            audit_anchor: byte(2),
            policy_registry: byte(3),
            mcp_agent_registry: byte(4),
            smart_account_factory: byte(5),
        };
        assert_eq!(file.addresses(), expected);
        let deployed = Deployed { address: byte(2), code_hash: B256::repeat_byte(2) };
        assert_eq!(file.audit_anchor(), deployed);
        let unknown = text().replace("\"fromBlock\":7", "\"fromBlock\":0");
        assert_eq!(parse(&unknown).expect("a file").from_block(), None);
    }

    #[test]
    fn what_is_wrong_is_said_by_its_name() {
        let hash = B256::repeat_byte(2).to_string();
        for (from, to, said) in [
            ("\"chainId\":8453,", "", "chainId is missing"),
            ("8453", "\"8453\"", "chainId: invalid type"),
            ("\"fromBlock\":7", "\"fromBlock\":-7", "fromBlock: invalid value"),
            ("\"auditAnchor\"", "\"auditAncor\"", "auditAnchor is missing"),
            ("{\"chainId\"", "{\"owner\":1,\"chainId\"", "owner is no field"),
            (&*hash, "0x02", "auditAnchor: invalid"),
            ("\"codeHash\":\"0x02", "\"hash\":\"0x02", "auditAnchor: unknown field `hash`"),
            ("{\"chainId\"", "{{\"chainId\"", "line 1 column 2"),
        ] {
            let changed = text().replacen(from, to, 1);
            assert_ne!(changed, text());
            let error = parse(&changed).expect_err(from);
            assert!(error.contains(said), "{from} -> {to}: {error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let path = Path::new("/nowhere/8453.json");
        let error = DeploymentFile::read(path).expect_err("no file").to_string();
        assert!(error.contains("/nowhere/8453.json"), "{error}");
    }
}
