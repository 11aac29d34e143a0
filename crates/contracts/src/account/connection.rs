//! One account on one chain.

use alloy::{
    eips::BlockNumberOrTag,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{Provider, RootProvider},
    rpc::types::Filter,
    sol_types::{SolCall, SolValue},
};

use super::{
    Call, Configuration, ConfigurationError, History, Proposed, call::executions, calls_hash,
    nonce_key,
};
use crate::{
    Chain, ChainError, IEntryPoint, ISmartAccount, PolicyRegistry, SmartAccount,
    SmartAccountFactory, deployment::Deployment,
};

/// An account of the factory, on the chain it was found to be on.
#[derive(Debug, Clone)]
pub struct Account {
    chain: Chain,
    deployment: Deployment,
    address: Address,
}

/// What prevents a connection to an account.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// The chain could not be asked, or refused.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// No account can have this configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// There is nothing at the address.
    #[error(
        "there is no account at {address} on chain {chain_id}; deploy it with `cofferdam account deploy`"
    )]
    NotDeployed {
        /// The address.
        address: Address,
        /// The chain.
        chain_id: u64,
    },
    /// There is something else.
    #[error(
        "{address} on chain {chain_id} is no account of the factory {factory}; check --account"
    )]
    Foreign {
        /// The address.
        address: Address,
        /// The chain.
        chain_id: u64,
        /// The factory.
        factory: Address,
    },
    /// An endpoint left events out.
    #[error(
        "event {index} of account {address} is missing from what the RPC endpoint sent; try again, or use an endpoint that has all logs"
    )]
    MissingEvent {
        /// The account.
        address: Address,
        /// The first index that is missing.
        index: u64,
    },
    /// There is no such proposal.
    #[error("account {address} has no proposal {id}; see `cofferdam account show`")]
    NoProposal {
        /// The account.
        address: Address,
        /// The id.
        id: B256,
    },
}

impl Account {
    /// The address of the account of this configuration, created or not.
    pub async fn address_of(
        chain: &Chain,
        deployment: &Deployment,
        configuration: &Configuration,
    ) -> Result<Address, AccountError> {
        let factory = deployment.smart_account_factory;
        if !chain.has_code(factory).await? {
            let chain_id = chain.chain_id();
            return Err(ChainError::NoCode { contract: factory, chain_id }.into());
        }
        let factory = SmartAccountFactory::new(factory, chain.provider());
        let call = factory.addressOf(configuration.to_contract()?, configuration.salt);
        Ok(chain.view("cannot ask for the account's address", &call).await?)
    }

    /// Connects to an account, and refuses what is not one of the factory's.
    pub async fn connect(
        chain: Chain,
        deployment: Deployment,
        address: Address,
    ) -> Result<Self, AccountError> {
        let code = chain.provider().get_code_at(address).into_future();
        let code = chain.ask("cannot read the account's code", code).await?;
        let (chain_id, factory) = (chain.chain_id(), deployment.smart_account_factory);
        if code.is_empty() {
            return Err(AccountError::NotDeployed { address, chain_id });
        }
        if code != deployment.account_code() {
            return Err(AccountError::Foreign { address, chain_id, factory });
        }
        Ok(Self { chain, deployment, address })
    }

    /// Its address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Its tenant's id.
    pub fn tenant_id(&self) -> B256 {
        self.address.into_word()
    }

    /// The chain it is on.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Where the contracts are that it works with.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The generated binding.
    pub fn binding(&self) -> SmartAccount::SmartAccountInstance<&RootProvider> {
        SmartAccount::new(self.address, self.chain.provider())
    }

    /// The generated binding of the EntryPoint.
    pub fn entry_point(&self) -> IEntryPoint::IEntryPointInstance<&RootProvider> {
        IEntryPoint::new(self.deployment.entry_point, self.chain.provider())
    }

    /// The next nonce in an agent's lane.
    pub async fn next_nonce(&self, agent: Address, lane: u32) -> Result<U256, ChainError> {
        let entry_point = self.entry_point();
        let call = entry_point.getNonce(self.address, nonce_key(agent, lane));
        self.chain.view("cannot read the agent's nonce", &call).await
    }

    /// The active policy's version and record; version 0 when none is active.
    pub async fn active_policy(&self) -> Result<PolicyRegistry::activePolicyReturn, ChainError> {
        let registry = PolicyRegistry::new(self.deployment.policy_registry, self.chain.provider());
        let call = registry.activePolicy(self.tenant_id());
        self.chain.view("cannot read the active policy", &call).await
    }

    /// What its deposit at the EntryPoint is, in wei.
    pub async fn deposit(&self) -> Result<U256, ChainError> {
        let entry_point = self.entry_point();
        self.chain.view("cannot read the deposit", &entry_point.balanceOf(self.address)).await
    }

    /// What it holds of the native currency, in wei.
    pub async fn balance(&self) -> Result<U256, ChainError> {
        let balance = self.chain.provider().get_balance(self.address).into_future();
        self.chain.ask("cannot read the account's balance", balance).await
    }

    /// The id that the contract gives a proposal.
    pub fn proposal_id(&self, proposal: &ISmartAccount::Proposal) -> B256 {
        keccak256((self.tenant_id(), proposal.clone()).abi_encode())
    }

    /// Everything that its events tell, from its creation on.
    ///
    /// Errors when an event is missing: they are numbered without gaps.
    pub async fn history(&self) -> Result<History, AccountError> {
        // A node without old state cannot tell; reading from the first block is slow but right.
        let from = self.chain.created_in(self.address).await?.unwrap_or_default();
        let to = self.chain.head().await?.number;
        let logs = self.chain.logs(Filter::new().address(self.address), from, to).await?;
        let history = History::of(self.address, &logs)?;
        let (binding, at) = (self.binding(), BlockNumberOrTag::Number(to).into());
        let counters =
            self.chain.view("cannot read counters", &binding.counters().block(at)).await?;
        if history.next_event < counters.nextEvent {
            let (address, index) = (self.address, history.next_event);
            return Err(AccountError::MissingEvent { address, index });
        }
        Ok(history)
    }

    /// A proposal as its event has it, and its calls where the transaction that proposed them has them:
    /// one that an agent sent directly to the account.
    pub async fn proposal(&self, id: B256) -> Result<(Proposed, Option<Vec<Call>>), AccountError> {
        let proposed = self.history().await?.proposals.remove(&id);
        let address = self.address;
        let proposed = proposed.ok_or(AccountError::NoProposal { address, id })?;
        let sent = self.chain.provider().get_transaction_by_hash(proposed.transaction);
        let sent = self.chain.ask("cannot read the proposing transaction", sent).await?;
        let calls = sent.and_then(|sent| {
            let input = alloy::consensus::Transaction::input(&sent).clone();
            let call = SmartAccount::proposeCall::abi_decode(&input).ok()?;
            let calls: Vec<_> = call.calls.into_iter().map(Call::from).collect();
            (calls_hash(&calls) == proposed.proposal.callsHash).then_some(calls)
        });
        Ok((proposed, calls))
    }
}

/// The calldata with which an agent proposes calls.
pub fn propose_calldata(calls: &[Call], nonce: U256, authorisation: Bytes) -> Bytes {
    let calls = executions(calls);
    SmartAccount::proposeCall { calls, nonce, authorisation }.abi_encode().into()
}

/// The calldata with which an executor makes the calls of an authorised proposal.
pub fn execute_proposal_calldata(proposal: &ISmartAccount::Proposal, calls: &[Call]) -> Bytes {
    let (proposal, calls) = (proposal.clone(), executions(calls));
    SmartAccount::executeProposalCall { proposal, calls }.abi_encode().into()
}
