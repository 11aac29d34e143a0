//! A chain with all contracts on it, and tenants with accounts, policies and agents.

use alloy::{
    eips::{BlockNumberOrTag, Encodable2718},
    network::{EthereumWallet, NetworkTransactionBuilder, TransactionBuilder},
    primitives::{
        Address, B256, Bytes, U256, address,
        aliases::{U48, U80, U104},
        b256, hex, keccak256,
    },
    providers::Provider,
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::{SolCall, SolEvent, SolStruct},
};
use cofferdam_anchorer::Sender;
use cofferdam_contracts::{
    Chain, ChainError, Expected, IEntryPoint, MCPAgentRegistry, PolicyRegistry, Revert,
    SmartAccount,
    account::{
        Account, Call, Configuration, Gas, Operation, Outcome, SignedVerdict, calls_hash,
        capability, nonce,
    },
    deployment::{DEPLOYER, Deployment, ENTRY_POINT, SALT, creations},
    signing::{Change, PolicyVerdict, Verifier, domain},
};
use cofferdam_devnet::{Anvil, AnvilOptions, Toolchain};
use tempfile::TempDir;

use crate::support::scratch;

/// What the agents may do.
pub(super) const PAY: &str = "payments.send";

pub(super) const ETHER: u64 = 1_000_000_000_000_000_000;

/// Most that one call may send, and that two days may cost.
pub(super) const PER_CALL: u64 = ETHER;
pub(super) const PER_DAY: u64 = 2 * ETHER;

/// How long one principal's change waits.
pub(super) const DELAY: u32 = 86_400;

/// 08:53:20 UTC, so that no day ends during a test.
const START: &str = "1760000000";

/// Anvil's first account: it bundles and pays.
const PAYER: Address = address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
const PAYER_KEY: B256 = b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

/// What makes EntryPoint v0.8 come out at the address that it has everywhere.
const ENTRY_POINT_SALT: B256 =
    b256!("0a59dbff790c23c976a548690c27297883cc66b4c67024f9117b0238995e35e9");

/// What operations here may use. It costs 0.0007 ether at most.
pub(super) const GAS: Gas = Gas {
    verification: 200_000,
    call: 100_000,
    pre_verification: 50_000,
    max_fee: 2_000_000_000,
    priority_fee: 1_000_000_000,
};

fn payer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&PAYER_KEY).unwrap()
}

/// A key that is the same in every run.
pub(super) fn key(name: &str) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(name)).unwrap()
}

/// Whom payments go to; it holds nothing at first.
pub(super) fn payee() -> Address {
    key("payee").address()
}

/// A plain payment.
pub(super) fn pay(value: u64) -> Vec<Call> {
    vec![Call { target: payee(), value: U256::from(value), callData: Bytes::new() }]
}

/// A chain with all contracts on it.
pub(super) struct World {
    pub(super) anvil: Anvil,
    pub(super) chain: Chain,
    pub(super) deployment: Deployment,
    pub(super) dir: TempDir,
}

impl World {
    pub(super) async fn start() -> Self {
        Self::start_as(Anvil::CHAIN_ID).await
    }

    /// Starts a chain that has this id.
    pub(super) async fn start_as(chain_id: u64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = scratch();
        let options = AnvilOptions {
            data_dir: dir.path().join("anvil"),
            port: None,
            keep: false,
            args: ["--timestamp", START, "--chain-id", &chain_id.to_string()]
                .map(String::from)
                .into(),
        };
        let anvil = Anvil::start(&Toolchain::find(), &options).await.unwrap();
        let url = anvil.rpc_url().clone().into();
        let chain = Chain::connect_undeployed(&url, Expected::default()).await.unwrap();
        deploy(&chain).await;
        let expected = Expected { chain_id: Some(chain_id), ..Expected::default() };
        let chain = Chain::connect(&url, expected).await.unwrap();
        Self { anvil, chain, deployment: Deployment::default(), dir }
    }

    /// Gives an address native currency.
    pub(super) async fn fund(&self, address: Address, wei: u64) {
        let provider = self.chain.provider();
        let set =
            provider.raw_request::<_, ()>("anvil_setBalance".into(), (address, U256::from(wei)));
        set.await.unwrap();
    }

    pub(super) async fn balance(&self, address: Address) -> U256 {
        self.chain.provider().get_balance(address).await.unwrap()
    }

    /// The newest block's time.
    pub(super) async fn now(&self) -> u64 {
        self.chain.header(BlockNumberOrTag::Latest).await.unwrap().unwrap().timestamp
    }

    /// Has this much time pass.
    pub(super) async fn wait(&self, seconds: u64) {
        let provider = self.chain.provider();
        provider.raw_request::<_, i64>("evm_increaseTime".into(), (seconds,)).await.unwrap();
        provider.raw_request::<_, String>("evm_mine".into(), ()).await.unwrap();
    }

    /// A sender with a key that can pay.
    pub(super) async fn sender(&self, key: &PrivateKeySigner) -> Sender {
        self.fund(key.address(), ETHER).await;
        Sender::new(self.chain.clone(), key.clone())
    }

    /// Sends a call, which may revert, without trying it first.
    pub(super) async fn send(&self, request: TransactionRequest) -> TransactionReceipt {
        send(&self.chain, request).await
    }
}

/// Deploys everything as the deployment script does, and the EntryPoint that public chains have.
async fn deploy(chain: &Chain) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../node_modules/@account-abstraction/contracts/artifacts/EntryPoint.json"
    );
    let artifact: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let entry_point = hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap();
    let entry_point = Bytes::from([&ENTRY_POINT_SALT[..], &entry_point].concat());
    let creations = creations(SALT).into_iter().chain([(ENTRY_POINT, entry_point)]);
    for (address, input) in creations {
        let request = TransactionRequest::default().with_to(DEPLOYER).with_input(input);
        assert!(send(chain, request.with_gas_limit(12_000_000)).await.status());
        assert!(chain.has_code(address).await.unwrap(), "nothing at {address}");
    }
}

/// Sends from the payer without trying it first, so that it is mined even where it reverts.
async fn send(chain: &Chain, request: TransactionRequest) -> TransactionReceipt {
    let nonce = chain.provider().get_transaction_count(PAYER).await.unwrap();
    let request = request
        .with_chain_id(chain.chain_id())
        .with_nonce(nonce)
        .with_max_fee_per_gas(4_000_000_000)
        .with_max_priority_fee_per_gas(1);
    let signed = request.build(&EthereumWallet::from(payer())).await.unwrap();
    let hash = chain.send_raw(&signed.encoded_2718().into()).await.unwrap();
    for _ in 0..500 {
        if let Some(receipt) = chain.receipt(hash).await.unwrap() {
            return receipt;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("transaction {hash} is not mined");
}

/// A tenant with an account, its people's keys, a policy and an agent.
pub(super) struct Tenant<'a> {
    pub(super) world: &'a World,
    pub(super) account: Account,
    pub(super) keys: Keys,
}

/// The keys of a tenant. Agent and verdict signer are the same for all tenants: what keeps the tenants
/// apart must not be that their keys happen to differ.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) owner: PrivateKeySigner,
    pub(super) approver: PrivateKeySigner,
    pub(super) authoriser: PrivateKeySigner,
    pub(super) executor: PrivateKeySigner,
    pub(super) guardian: PrivateKeySigner,
    pub(super) agent: PrivateKeySigner,
    pub(super) signer: PrivateKeySigner,
}

impl Keys {
    pub(super) fn of(tenant: &str) -> Self {
        let key_of = |role: &str| key(&format!("{tenant} {role}"));
        Self {
            owner: key_of("owner"),
            approver: key_of("approver"),
            authoriser: key_of("authoriser"),
            executor: key_of("executor"),
            guardian: key_of("guardian"),
            agent: key("agent"),
            signer: key("verdict signer"),
        }
    }

    pub(super) fn configuration(&self) -> Configuration {
        Configuration {
            owner: self.owner.address(),
            guardian: self.guardian.address(),
            approvers: vec![self.approver.address()],
            authorisers: vec![self.authoriser.address()],
            executors: vec![self.executor.address()],
            delay: DELAY,
            native_per_call: U104::from(PER_CALL),
            native_per_day: U104::from(PER_DAY),
            salt: B256::ZERO,
        }
    }
}

impl<'a> Tenant<'a> {
    /// A tenant whose account has ten ether and a deposit of one, a policy, and an agent that may pay.
    pub(super) async fn new(world: &'a World, name: &str) -> Self {
        let keys = Keys::of(name);
        let configuration = keys.configuration();
        let payer = Sender::new(world.chain.clone(), payer());
        let calldata = configuration.create_calldata().unwrap();
        payer.send(world.deployment.smart_account_factory, calldata).await.unwrap();
        let address = Account::address_of(&world.chain, &world.deployment, &configuration).await;
        let tenant = Self::at(world, keys, address.unwrap()).await;
        tenant.arrange().await;
        tenant
    }

    /// The tenant of an account that is there.
    pub(super) async fn at(world: &'a World, keys: Keys, address: Address) -> Self {
        let account =
            Account::connect(world.chain.clone(), world.deployment, address).await.unwrap();
        Self { world, account, keys }
    }

    /// Gives the account money, a policy and a grant.
    pub(super) async fn arrange(&self) {
        let address = self.account.address();
        self.world.fund(address, 10 * ETHER).await;
        let deposit = IEntryPoint::depositToCall { account: address }.abi_encode();
        let request = TransactionRequest::default()
            .with_to(self.world.deployment.entry_point)
            .with_value(U256::from(ETHER))
            .with_input(deposit)
            .with_gas_limit(100_000);
        assert!(self.world.send(request).await.status());
        self.publish(1).await;
        self.grant().await;
    }

    /// Owner and approver publish a policy together.
    pub(super) async fn publish(&self, version: u64) {
        let publish = PolicyRegistry::publishCall {
            tenantId: self.account.tenant_id(),
            version,
            policy: cofferdam_contracts::IPolicyRegistry::Policy {
                policyHash: keccak256("payments up to one ether"),
                verdictSigner: self.keys.signer.address(),
                notBefore: U48::from(1),
                notAfter: U48::from(1_u64 << 40),
            },
            deadline: u64::MAX,
            signature: Bytes::new(),
        };
        self.together(self.world.deployment.policy_registry, publish.abi_encode().into()).await;
    }

    /// Owner and approver grant the agent its capability together.
    pub(super) async fn grant(&self) {
        let grant = MCPAgentRegistry::grantCall {
            tenantId: self.account.tenant_id(),
            agent: self.keys.agent.address(),
            capability: capability(PAY),
            window: cofferdam_contracts::IMCPAgentRegistry::Window {
                notBefore: U48::from(1),
                notAfter: U48::from(1_u64 << 40),
            },
            limits: cofferdam_contracts::IMCPAgentRegistry::Limits {
                nativeMax: U80::from(100 * u128::from(ETHER)),
                target: Address::ZERO,
                selector: Default::default(),
                tokenMax: Default::default(),
            },
        };
        self.together(self.world.deployment.mcp_agent_registry, grant.abi_encode().into()).await;
    }

    /// Makes a change that the owner sends and the approver signed.
    pub(super) async fn together(&self, target: Address, data: Bytes) {
        let binding = self.account.binding();
        let nonce = binding.counters().call().await.unwrap().nextChange;
        let message = Change {
            tenantId: self.account.tenant_id(),
            target,
            data: data.clone(),
            nonce,
            deadline: u64::MAX,
        };
        let chain_id = self.world.chain.chain_id();
        let domain = domain(Verifier::SmartAccount, chain_id, self.account.address());
        let signature = self.keys.approver.sign_hash_sync(&message.eip712_signing_hash(&domain));
        let call = SmartAccount::changeTogetherCall {
            target,
            data,
            deadline: u64::MAX,
            cosigner: self.keys.approver.address(),
            signature: signature.unwrap().as_bytes().into(),
        };
        self.send(&self.keys.owner, call.abi_encode()).await;
    }

    /// Has a key send the account a call that must succeed.
    pub(super) async fn send(&self, key: &PrivateKeySigner, calldata: Vec<u8>) {
        let sender = self.world.sender(key).await;
        sender.send(self.account.address(), calldata.into()).await.unwrap();
    }

    /// What the policy says to these calls, until the UTC day ends.
    pub(super) async fn verdict(&self, calls: &[Call], outcome: Outcome) -> PolicyVerdict {
        let now = self.world.now().await;
        PolicyVerdict {
            tenantId: self.account.tenant_id(),
            policyVersion: self.account.active_policy().await.unwrap().version,
            agent: self.keys.agent.address(),
            capability: capability(PAY),
            callsHash: calls_hash(calls),
            outcome: outcome.into(),
            maxFee: GAS.fee(),
            validAfter: U48::from(now - 1),
            validUntil: U48::from((now / 86_400 + 1) * 86_400 - 1),
            nonce: self.account.next_nonce(self.keys.agent.address(), 0).await.unwrap(),
        }
    }

    /// Signs it for this chain.
    pub(super) fn signed(&self, verdict: PolicyVerdict) -> SignedVerdict {
        let (chain_id, registry) =
            (self.world.chain.chain_id(), self.world.deployment.policy_registry);
        SignedVerdict::sign(verdict, &self.keys.signer, chain_id, registry).unwrap()
    }

    /// The agent's operation for these calls, under a verdict.
    pub(super) fn operation(
        &self,
        calls: Vec<Call>,
        verdict: &SignedVerdict,
    ) -> IEntryPoint::PackedUserOperation {
        let nonce = verdict.verdict.nonce;
        let operation = Operation { account: self.account.address(), nonce, calls, gas: GAS };
        let (entry_point, chain_id) =
            (self.world.deployment.entry_point, self.world.chain.chain_id());
        operation.sign(&self.keys.agent, &verdict.authorisation(), entry_point, chain_id).unwrap()
    }

    /// An operation that is good in every way.
    pub(super) async fn payment(&self, value: u64) -> IEntryPoint::PackedUserOperation {
        let verdict = self.signed(self.verdict(&pay(value), Outcome::Allow).await);
        self.operation(pay(value), &verdict)
    }

    /// The account's balance and deposit.
    pub(super) async fn funds(&self) -> (U256, U256) {
        (self.account.balance().await.unwrap(), self.account.deposit().await.unwrap())
    }

    /// Has the EntryPoint handle an operation, which must succeed; what it cost.
    pub(super) async fn handles(&self, operation: IEntryPoint::PackedUserOperation) -> U256 {
        let (event, revert) = self.validates(operation).await;
        assert!(event.success, "the calls failed: {revert:?}");
        event.actualGasCost
    }

    /// Has the EntryPoint handle an operation, which must pass validation; what became of its calls.
    pub(super) async fn validates(
        &self,
        operation: IEntryPoint::PackedUserOperation,
    ) -> (IEntryPoint::UserOperationEvent, Option<Revert>) {
        let receipt = self.world.send(self.bundle(operation)).await;
        assert!(receipt.status(), "the bundle reverted");
        let logs = || receipt.logs().iter().map(|log| &log.inner);
        let event = logs().find_map(|log| IEntryPoint::UserOperationEvent::decode_log(log).ok());
        let reason =
            logs().find_map(|log| IEntryPoint::UserOperationRevertReason::decode_log(log).ok());
        let revert = reason.map(|reason| Revert::decode(reason.revertReason.clone()));
        (event.expect("the operation's event").data, revert)
    }

    /// Has the EntryPoint handle an operation, which must be refused in validation; by which error.
    /// Neither balance nor deposit may change, even when the bundle is sent all the same.
    pub(super) async fn refuses(&self, operation: IEntryPoint::PackedUserOperation) -> Revert {
        let before = (self.funds().await, self.world.balance(payee()).await);
        let entry_point = self.account.entry_point();
        let bundle = entry_point.handleOps(vec![operation.clone()], payee()).from(PAYER);
        let answer = self.world.chain.view("the operation is refused", &bundle).await;
        let Err(ChainError::Reverted { revert, .. }) = answer else {
            panic!("not refused: {:?}", answer.err());
        };

        assert!(!self.world.send(self.bundle(operation)).await.status(), "the bundle went through");
        assert_eq!((self.funds().await, self.world.balance(payee()).await), before);
        *revert
    }

    fn bundle(&self, operation: IEntryPoint::PackedUserOperation) -> TransactionRequest {
        let beneficiary = key("bundler").address();
        let call = IEntryPoint::handleOpsCall { ops: vec![operation], beneficiary };
        TransactionRequest::default()
            .with_to(self.world.deployment.entry_point)
            .with_input(call.abi_encode())
            .with_gas_limit(2_000_000)
    }
}

/// The first operation's nonce in the agent's first lane.
pub(super) fn first_nonce(keys: &Keys) -> U256 {
    nonce(keys.agent.address(), 0, 0)
}
