//! `cofferdam agent describe`.

use std::{fs, path::PathBuf, process::ExitCode};

use alloy::{
    primitives::{Address, B256, U256, keccak256},
    sol_types::SolCall,
};
use cofferdam_contracts::MCPAgentRegistry;
use eyre::{Result, WrapErr};
use serde_json::json;

use crate::{
    authority::post,
    connect::{ChainArgs, KeyArgs},
    output::Output,
};

/// Say as an agent where it answers; nobody checks it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam agent describe --endpoint https://clerk.example/mcp --metadata-file agent.json \\
      --keystore agent-key.json --password-file agent.password

The key is the agent's own. Of the metadata only the keccak256 goes on the chain.")]
pub(super) struct Args {
    /// The agent's MCP endpoint
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: String,

    /// A file that describes the agent further
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,

    /// The hash of what describes the agent further
    #[arg(long, value_name = "HEX", conflicts_with = "metadata_file")]
    metadata_hash: Option<B256>,

    /// The ERC-8004 identity registry that knows the agent
    #[arg(long, value_name = "ADDRESS", requires = "erc8004_id")]
    erc8004_registry: Option<Address>,

    /// Its id there
    #[arg(long, value_name = "N", requires = "erc8004_registry")]
    erc8004_id: Option<U256>,

    #[command(flatten)]
    chain: ChainArgs,

    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let registry = args.chain.deployment().mcp_agent_registry;
    let chain = args.chain.connect_to(registry).await?;
    let key = args.key.load(chain.chain_id())?;
    let metadata = match (&args.metadata_file, args.metadata_hash) {
        (Some(file), _) => {
            keccak256(fs::read(file).wrap_err_with(|| format!("cannot read {}", file.display()))?)
        }
        (None, hash) => hash.unwrap_or_default(),
    };
    let agent = key.address();
    let call = MCPAgentRegistry::describeCall {
        endpoint: args.endpoint.clone(),
        metadataHash: metadata,
        erc8004Registry: args.erc8004_registry.unwrap_or_default(),
        erc8004Id: args.erc8004_id.unwrap_or_default(),
    };
    let receipt = post(&chain, key, registry, call.abi_encode().into()).await?;
    let transaction = receipt.transaction_hash;
    output.result(
        &json!({
            "agent": agent, "endpoint": args.endpoint, "metadataHash": metadata,
            "transaction": transaction,
        }),
        format!("{agent} says that it answers at {} ({transaction})", args.endpoint),
    );
    Ok(ExitCode::SUCCESS)
}

/// Checks that it is a URL, and leaves it as it is.
fn endpoint(text: &str) -> Result<String, String> {
    match text.parse::<url::Url>() {
        Ok(url) if url.has_host() => Ok(text.into()),
        Ok(_) => Err("it names no host; give a URL such as https://clerk.example/mcp".into()),
        Err(error) => Err(format!("{error}; give a URL such as https://clerk.example/mcp")),
    }
}
