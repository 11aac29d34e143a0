//! `cofferdam agent list`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use alloy::{
    primitives::{
        Address, B256, FixedBytes,
        aliases::{U80, U96},
        keccak256,
    },
    providers::RootProvider,
    rpc::types::{Filter, Log},
    sol_types::SolEvent,
};
use cofferdam_contracts::{
    Chain, ChainError, Header,
    IMCPAgentRegistry::{Scope, Window},
    MCPAgentRegistry,
    MCPAgentRegistry::MCPAgentRegistryInstance,
};
use cofferdam_core::TenantId;
use eyre::{Result, bail};
use serde::Serialize;
use serde_json::json;

use super::values::Capability;
use crate::{
    amount::ether,
    connect::{ChainArgs, TenantArgs},
    moment::rfc3339,
    output::{Output, table},
};

/// List what a tenant has granted, whether it is good now, and what the agents say of themselves
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam agent list --tenant acme --capability payments.send --json

The chain knows capabilities by their hash; those named with --capability are shown by name. The tenant's
events are counted, and a node that leaves one out is found out. Where the authority is a SmartAccount,
what one key granted alone counts there only after the account's delay.")]
pub(super) struct Args {
    /// A capability to show by its name; can be given more than once
    #[arg(long, value_name = "NAME")]
    capability: Vec<Capability>,

    /// The block from which to read; by default the one that created the registry
    #[arg(long, value_name = "N")]
    from_block: Option<u64>,

    #[command(flatten)]
    tenant: TenantArgs,

    #[command(flatten)]
    chain: ChainArgs,
}

/// What an agent has, or had.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Grant {
    pub(crate) agent: Address,
    pub(crate) capability: B256,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    state: State,
    is_scoped: bool,
    /// Until it was taken back, for one that was.
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<Limits>,
}

/// What one call may do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limits {
    #[serde(serialize_with = "decimal")]
    pub(crate) native_max: U80,
    pub(crate) target: Address,
    pub(crate) selector: FixedBytes<4>,
    #[serde(serialize_with = "decimal")]
    pub(crate) token_max: U96,
    pub(crate) recorded_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Scoped,
    Early,
    Expired,
    Revoked,
    Forfeited,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Scoped => "scoped",
            Self::Early => "not good yet",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Forfeited => "forfeited",
        }
    }
}

/// What an agent says about itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    agent: Address,
    endpoint: String,
    metadata_hash: B256,
    erc8004_registry: Address,
    erc8004_id: String,
}

pub(super) async fn run(args: Args, output: &Output) -> Result<ExitCode> {
    let chain = args.chain.connect_to(args.chain.deployment().mcp_agent_registry).await?;
    let tenant = args.tenant.id(&args.chain).await?;
    let from = match args.from_block {
        Some(block) => block,
        // A node without old state cannot tell; reading from the first block is slow but right.
        None => chain.deployed_in().await?.unwrap_or_default(),
    };
    let names: BTreeMap<B256, String> = args
        .capability
        .into_iter()
        .filter_map(|capability| Some((capability.hash, capability.name?)))
        .collect();
    let reader = Reader {
        registry: MCPAgentRegistry::new(chain.contract(), chain.provider()),
        head: chain.head().await?,
        chain: &chain,
        from,
    };

    let mut grants = vec![];
    for ((agent, capability), past) in reader.history(tenant).await? {
        let name = names.get(&capability).cloned();
        grants.push(reader.grant(tenant, agent, capability, past, name).await?);
    }
    let mut agents = vec![];
    for agent in grants.iter().map(|grant| grant.agent).collect::<BTreeSet<_>>() {
        agents.extend(reader.description(agent).await?);
    }

    let mut text = if grants.is_empty() {
        format!("{tenant} has granted nothing")
    } else {
        let headings = ["agent", "capability", "state", "good from", "until", "one call may"];
        table(headings, &grants.iter().map(row).collect::<Vec<_>>())
    };
    for Agent { agent, endpoint, .. } in &agents {
        text += &format!("\n{agent} says that it answers at {}", endpoint.escape_debug());
    }
    let json = json!({
        "tenantId": tenant, "grants": grants, "agents": agents,
        "block": reader.head.number, "timestamp": reader.head.timestamp,
    });
    output.result(&json, text);
    Ok(ExitCode::SUCCESS)
}

/// All that a tenant has granted, or had, as it was at one block.
pub(crate) async fn grants(
    chain: &Chain,
    tenant: TenantId,
    from: u64,
    head: Header,
) -> Result<Vec<Grant>> {
    let registry = MCPAgentRegistry::new(chain.contract(), chain.provider());
    let reader = Reader { registry, head, chain, from };
    let mut grants = vec![];
    for ((agent, capability), past) in reader.history(tenant).await? {
        grants.push(reader.grant(tenant, agent, capability, past, None).await?);
    }
    Ok(grants)
}

/// What the events tell of a grant.
#[derive(Debug, Clone)]
struct Past {
    window: Window,
    forfeited: bool,
}

/// Reads the registry as it was at one block.
#[derive(Debug)]
struct Reader<'a> {
    registry: MCPAgentRegistryInstance<&'a RootProvider>,
    chain: &'a Chain,
    head: Header,
    from: u64,
}

impl Reader<'_> {
    /// Every grant that the tenant ever made, from its events, of which none may be missing.
    async fn history(&self, tenant: TenantId) -> Result<BTreeMap<(Address, B256), Past>> {
        use MCPAgentRegistry::{AgentRevoked, Extended, Forfeited, Granted, Revoked};
        let kinds = [
            Granted::SIGNATURE_HASH,
            Extended::SIGNATURE_HASH,
            Revoked::SIGNATURE_HASH,
            AgentRevoked::SIGNATURE_HASH,
            Forfeited::SIGNATURE_HASH,
        ];
        let filter = Filter::new().event_signature(kinds.to_vec()).topic1(tenant.as_b256());
        let logs = self.logs(filter).await?;

        let mut grants: BTreeMap<(Address, B256), Past> = BTreeMap::new();
        for (expected, log) in logs.iter().enumerate() {
            let log = &log.inner;
            let index = match log.topics().first().copied().unwrap_or_default() {
                Granted::SIGNATURE_HASH => {
                    let event = decode::<Granted>(log)?;
                    let past = Past { window: event.window, forfeited: false };
                    grants.insert((event.agent, event.capability), past);
                    event.eventIndex
                }
                Extended::SIGNATURE_HASH => {
                    let event = decode::<Extended>(log)?;
                    if let Some(past) = grants.get_mut(&(event.agent, event.capability)) {
                        past.window.notAfter = event.notAfter;
                    }
                    event.eventIndex
                }
                Revoked::SIGNATURE_HASH => decode::<Revoked>(log)?.eventIndex,
                AgentRevoked::SIGNATURE_HASH => decode::<AgentRevoked>(log)?.eventIndex,
                _ => {
                    let event = decode::<Forfeited>(log)?;
                    if let Some(past) = grants.get_mut(&(event.agent, event.capability)) {
                        past.forfeited = true;
                    }
                    event.eventIndex
                }
            };
            if index != expected as u64 {
                return Err(self.missing(expected as u64));
            }
        }
        let call = self.registry.nonceOf(tenant.as_b256()).block(self.head.number.into());
        let count = self.chain.view("cannot read the tenant's nonce", &call).await?;
        if count != logs.len() as u64 {
            return Err(self.missing(logs.len() as u64));
        }
        Ok(grants)
    }

    fn missing(&self, index: u64) -> eyre::Report {
        eyre::eyre!(
            "the node left out the tenant's event {index} between blocks {} and {}; give an earlier \
             --from-block, or ask another node",
            self.from,
            self.head.number
        )
    }

    /// A grant as it is now.
    async fn grant(
        &self,
        tenant: TenantId,
        agent: Address,
        capability: B256,
        past: Past,
        name: Option<String>,
    ) -> Result<Grant> {
        let (at, id) = (self.head.number, tenant.as_b256());
        let call = self.registry.isScoped(id, agent, capability).block(at.into());
        let is_scoped = self.chain.view("cannot read a scope", &call).await?;
        let call = self.registry.scopeOf(id, agent, capability).block(at.into());
        let scope: Option<Scope> = match self.chain.view("cannot read a scope", &call).await {
            Ok(scope) => Some(scope),
            Err(ChainError::Reverted { revert, .. })
                if revert.name() == Some("MCPAgentRegistry_NotGranted") =>
            {
                None
            }
            Err(error) => return Err(error.into()),
        };
        let (not_before, not_after) =
            (past.window.notBefore.to::<u64>(), past.window.notAfter.to::<u64>());
        let state = match scope {
            None if past.forfeited => State::Forfeited,
            None => State::Revoked,
            Some(_) if is_scoped => State::Scoped,
            Some(_) if self.head.timestamp < not_before => State::Early,
            Some(_) => State::Expired,
        };
        let scope = scope.map(|scope| Limits {
            native_max: scope.nativeMax,
            target: scope.target,
            selector: scope.selector,
            token_max: scope.tokenMax,
            recorded_at: scope.recordedAt.to(),
        });
        Ok(Grant { agent, capability, name, state, is_scoped, not_before, not_after, scope })
    }

    /// What the agent said of itself last, if it ever did.
    async fn description(&self, agent: Address) -> Result<Option<Agent>> {
        let call = self.registry.descriptionOf(agent).block(self.head.number.into());
        let now = self.chain.view("cannot read an agent's description", &call).await?;
        if now.endpointHash.is_zero() {
            return Ok(None);
        }
        let filter = Filter::new()
            .event_signature(MCPAgentRegistry::Described::SIGNATURE_HASH)
            .topic1(agent.into_word());
        let logs = self.logs(filter).await?;
        let said = logs.last().map(|log| decode::<MCPAgentRegistry::Described>(&log.inner));
        match said.transpose()? {
            Some(event) if keccak256(&event.endpoint) == now.endpointHash => Ok(Some(Agent {
                agent,
                endpoint: event.endpoint,
                metadata_hash: now.metadataHash,
                erc8004_registry: now.erc8004Registry,
                erc8004_id: now.erc8004Id.to_string(),
            })),
            _ => bail!(
                "the node left out what agent {agent} said of itself last; give an earlier \
                 --from-block, or ask another node"
            ),
        }
    }

    /// The registry's logs up to the block that is read at.
    async fn logs(&self, filter: Filter) -> Result<Vec<Log>, ChainError> {
        let filter = filter.address(self.chain.contract());
        self.chain.logs(filter, self.from, self.head.number).await
    }
}

/// As digits: more than a JSON number holds.
fn decimal<T: ToString, S: serde::Serializer>(amount: &T, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&amount.to_string())
}

fn decode<E: SolEvent>(log: &alloy::primitives::Log) -> Result<E, ChainError> {
    let event = E::decode_log(log).map_err(|error| ChainError::Malformed {
        what: "a log of MCPAgentRegistry",
        reason: error.to_string(),
    })?;
    Ok(event.data)
}

fn row(grant: &Grant) -> [String; 6] {
    let may = grant.scope.as_ref().map_or("-".into(), |scope| {
        let native = format!("send {}", ether(scope.native_max.to()));
        match (scope.target.is_zero(), scope.selector.is_zero()) {
            (true, _) => native,
            (false, true) => format!("{native}, or {} of {}", scope.token_max, scope.target),
            (false, false) => format!("{native} to {} at {}", scope.selector, scope.target),
        }
    });
    [
        grant.agent.to_string(),
        grant.name.clone().unwrap_or_else(|| grant.capability.to_string()),
        grant.state.words().into(),
        rfc3339(grant.not_before),
        rfc3339(grant.not_after),
        may,
    ]
}
