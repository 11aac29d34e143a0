//! A chain with the contracts on it, databases, and things that happen.

use std::{path::PathBuf, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    sol_types::SolCall,
};
use cofferdam_contracts::{
    AuditAnchor, Chain, Expected, IAuditAnchor, IMCPAgentRegistry, IPolicyRegistry,
    MCPAgentRegistry, PolicyRegistry, RpcUrl, SmartAccount,
    account::{Account, Configuration},
    deployment::{DEPLOYER, Deployment, SALT, creations},
};
use cofferdam_core::{
    BatchIndex, FieldName, TenantId,
    mirror::{MirrorTable, Row},
};
use cofferdam_devnet::{Anvil, AnvilOptions, Postgres, PostgresOptions, TestDatabase, Toolchain};
use cofferdam_indexer::{Endpoints, Indexer};
use cofferdam_store::{
    DatabaseUrl, Incident, Mirror, MirrorHead, NewEntry, Reader, Sealer, Sequencer, migrate,
};
use futures::TryStreamExt;
use serde_json::{Value, json};

/// The salt of what only looks like ours.
const OTHER_SALT: B256 = B256::repeat_byte(1);

/// A chain of its own for one test.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) chain: Chain,
    pub(crate) people: Vec<Address>,
    pub(crate) other: Deployment,
    _anvil: Anvil,
    _dir: tempfile::TempDir,
}

/// What a mirror holds: all rows of all tenants, all counters, and the nodes that are kept with each tenant's
/// batches.
pub(crate) type Contents = (Vec<Row>, Vec<MirrorHead>, Vec<Vec<Option<Vec<B256>>>>);

impl Ground {
    pub(crate) async fn start(slots: u64) -> Self {
        Self::start_with(slots, vec![]).await
    }

    /// An Anvil that keeps the state of its newest 100 blocks alone. By itself it keeps that of 3,600.
    pub(crate) async fn forgetful(slots: u64) -> Self {
        Self::start_with(slots, vec!["--prune-history".into(), "100".into()]).await
    }

    async fn start_with(slots: u64, args: Vec<String>) -> Self {
        // As every main must, before anything speaks HTTP.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder");
        // A Postgres runs as another user, who must be able to pass through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(dir.path(), open).expect("permissions");
        let anvil = Self::anvil(&dir, args, slots).await;
        let url: RpcUrl = anvil.rpc_url().clone().into();
        let chain = Chain::connect_undeployed(&url, Expected::default()).await.expect("a chain");
        let people: Vec<Address> = chain.provider().get_accounts().await.expect("accounts");
        let other = Deployment::default();
        let mut this = Self { chain, people, other, _anvil: anvil, _dir: dir };
        this.deploy(SALT).await;
        this.other = this.deploy(OTHER_SALT).await;
        this.chain = Chain::connect(&url, Expected::default()).await.expect("a chain");
        this
    }

    async fn anvil(dir: &tempfile::TempDir, mut args: Vec<String>, slots: u64) -> Anvil {
        args.extend(["--slots-in-an-epoch".into(), slots.to_string()]);
        let data_dir = PathBuf::from(dir.path());
        let options = AnvilOptions { data_dir, port: None, keep: false, args };
        Anvil::start(&Toolchain::find(), &options).await.expect("Anvil")
    }

    /// The same chain up to a block, and another one from there on.
    pub(crate) async fn fork(&self, block: u64) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = self.chain.url().expose().to_string();
        let args = ["--fork-url", &url, "--fork-block-number", &block.to_string()];
        let anvil = Self::anvil(&dir, args.map(str::to_owned).into(), 32).await;
        let url: RpcUrl = anvil.rpc_url().clone().into();
        let chain = Chain::connect(&url, Expected::default()).await.expect("a chain");
        let (people, other) = (self.people.clone(), self.other);
        Self { chain, people, other, _anvil: anvil, _dir: dir }
    }

    async fn deploy(&self, salt: B256) -> Deployment {
        for (_, creation) in creations(salt) {
            self.send(0, DEPLOYER, creation).await;
        }
        Deployment::salted(salt)
    }

    pub(crate) async fn rpc(&self, method: &'static str, parameters: Value) -> Value {
        let asked = self.chain.provider().raw_request(method.into(), parameters).await;
        asked.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Sends from one of Anvil's own accounts; a block holds it alone.
    pub(crate) async fn send(&self, from: usize, to: Address, data: impl Into<Bytes>) {
        let (from, data) = (self.people[from], data.into());
        let sent = json!([{ "from": from, "to": to, "data": data, "gas": "0x1c9c380" }]);
        let hash = self.rpc("eth_sendTransaction", sent).await;
        let mut receipt = Value::Null;
        // Anvil mines it at once, and not before it answers.
        while receipt.is_null() {
            receipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await;
        }
        assert_eq!(receipt["status"], "0x1", "{receipt}");
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([U256::from(blocks)])).await;
    }

    pub(crate) async fn head(&self) -> u64 {
        self.chain.provider().get_block_number().await.expect("a head")
    }

    /// Puts the contracts where they belong, again.
    pub(crate) async fn redeploy(&self) {
        self.deploy(SALT).await;
    }

    /// A Postgres of its own, that can go away.
    pub(crate) async fn postgres(&self) -> Own {
        let data_dir = self._dir.path().join("postgres");
        Own { postgres: Some(Own::start(data_dir, None).await) }
    }

    /// Replaces the newest blocks by empty ones.
    pub(crate) async fn reorg(&self, depth: u64) {
        self.rpc("anvil_reorg", json!([depth, []])).await;
    }

    /// The next batch of a tenant, who is its own anchorer; with the salt's own contract.
    pub(crate) async fn anchor(&self, who: usize, count: u64) {
        self.anchor_at(&Deployment::default(), who, count).await;
    }

    pub(crate) async fn anchor_at(&self, at: &Deployment, who: usize, count: u64) {
        let id = self.people[who].into_word();
        let binding = AuditAnchor::new(at.audit_anchor, self.chain.provider());
        let head = binding.heads(vec![id]).call().await.expect("a head")[0].clone();
        if head.anchorer.is_zero() {
            let set = AuditAnchor::setAnchorerCall { tenantId: id, anchorer: self.people[who] };
            self.send(who, at.audit_anchor, set.abi_encode()).await;
        }
        let item = IAuditAnchor::Item {
            tenantId: id,
            firstSeq: head.entries,
            count,
            root: keccak256(head.batches.to_be_bytes()),
        };
        // The second item is stale: it is skipped.
        let call = AuditAnchor::anchorManyCall { items: vec![item.clone(), item] };
        self.send(who, at.audit_anchor, call.abi_encode()).await;
    }

    /// A policy, a grant, its revocation, and an agent's own word: one event in each of the registries.
    pub(crate) async fn govern(&self, who: usize) {
        let known = Deployment::default();
        let id = self.people[who].into_word();
        let policies = PolicyRegistry::new(known.policy_registry, self.chain.provider());
        let version = policies.versionOf(id).call().await.expect("a version");
        let publish = PolicyRegistry::publishCall {
            tenantId: id,
            version: version + 1,
            policy: IPolicyRegistry::Policy {
                policyHash: B256::repeat_byte(3),
                verdictSigner: self.people[9],
                notBefore: U256::from(1).to(),
                notAfter: U256::from(9_999_999_999u64).to(),
            },
            deadline: 9_999_999_999,
            signature: Bytes::new(),
        };
        self.send(who, known.policy_registry, publish.abi_encode()).await;
        let grant = MCPAgentRegistry::grantCall {
            tenantId: id,
            agent: self.people[8],
            capability: keccak256("payments.send"),
            window: IMCPAgentRegistry::Window {
                notBefore: U256::from(1).to(),
                notAfter: U256::from(9_999_999_999u64).to(),
            },
            limits: IMCPAgentRegistry::Limits {
                nativeMax: U256::from(10u64).pow(U256::from(18)).to(),
                target: Address::ZERO,
                selector: Default::default(),
                tokenMax: Default::default(),
            },
        };
        self.send(who, known.mcp_agent_registry, grant.abi_encode()).await;
    }

    /// What an agent says of itself.
    pub(crate) async fn describe(&self, who: usize) {
        let known = Deployment::default();
        let describe = MCPAgentRegistry::describeCall {
            endpoint: "https://agent.example/mcp".into(),
            metadataHash: B256::repeat_byte(4),
            erc8004Registry: Address::ZERO,
            erc8004Id: U256::ZERO,
        };
        self.send(who, known.mcp_agent_registry, describe.abi_encode()).await;
    }

    /// An account of a factory, and an event of it after its creation.
    pub(crate) async fn account(&self, of: &Deployment, salt: u8) -> Address {
        let account = self.new_account(of, salt).await;
        self.freeze(account).await;
        account
    }

    /// An event of an account.
    pub(crate) async fn freeze(&self, account: Address) {
        self.send(2, account, SmartAccount::freezeCall {}.abi_encode()).await;
    }

    /// An account of a factory.
    pub(crate) async fn new_account(&self, of: &Deployment, salt: u8) -> Address {
        let configuration = Configuration {
            owner: self.people[1],
            guardian: self.people[2],
            approvers: vec![self.people[3]],
            authorisers: vec![],
            executors: vec![],
            delay: 3_600,
            native_per_call: Default::default(),
            native_per_day: Default::default(),
            salt: B256::repeat_byte(salt),
        };
        let account =
            Account::address_of(&self.chain, of, &configuration).await.expect("an address");
        let create = configuration.create_calldata().expect("a configuration");
        self.send(0, of.smart_account_factory, create).await;
        account
    }

    pub(crate) async fn mirror(&self, endpoints: Vec<RpcUrl>) -> Mirrored {
        self.mirror_patiently(endpoints, Duration::from_secs(30)).await
    }

    /// A mirror whose endpoints may take so long to answer.
    pub(crate) async fn mirror_patiently(
        &self,
        endpoints: Vec<RpcUrl>,
        patience: Duration,
    ) -> Mirrored {
        let test = TestDatabase::new().await.expect("a Postgres");
        let admin: DatabaseUrl = test.admin_url.as_str().parse().expect("a URL");
        let url: DatabaseUrl = test.runtime_url.as_str().parse().expect("a URL");
        migrate(&admin, &url).await.expect("migrated");
        let indexer = self.indexer_patiently(&url, endpoints, patience).await;
        Mirrored { indexer, url, admin }
    }

    pub(crate) async fn indexer(&self, url: &DatabaseUrl, endpoints: Vec<RpcUrl>) -> Indexer {
        self.indexer_patiently(url, endpoints, Duration::from_secs(30)).await
    }

    async fn indexer_patiently(
        &self,
        url: &DatabaseUrl,
        endpoints: Vec<RpcUrl>,
        patience: Duration,
    ) -> Indexer {
        let id = self.chain.chain_id();
        let mirror = Mirror::connect(url, id).await.expect("a mirror");
        let reader = Reader::connect(url, id).await.expect("a reader");
        let mut endpoints = endpoints.into_iter();
        let first = match endpoints.next() {
            Some(first) => {
                let expected = Expected { patience: Some(patience), ..Expected::default() };
                Chain::connect(&first, expected).await.expect("a chain")
            }
            None => self.chain.clone(),
        };
        let endpoints = Endpoints::new(&first, endpoints.collect()).expect("endpoints");
        let indexer = Indexer::new(mirror, reader, endpoints, Deployment::default(), 1);
        // A chain that is cut short is not taken to lag: Anvil's is.
        indexer.with_patience(Duration::ZERO)
    }

    /// Registers somebody as a tenant of this database's operator.
    pub(crate) async fn register(&self, url: &DatabaseUrl, name: &str, who: usize) {
        let sequencer = Sequencer::connect(url, self.chain.chain_id()).await.expect("a sequencer");
        let (contract, code) = (self.chain.contract(), self.chain.code_hash());
        sequencer.register_deployment(contract, code, 1).await.expect("a deployment");
        let tenant = TenantId::from_authority(self.people[who]).expect("an id");
        sequencer.add_tenant(name, tenant).await.expect("registered");
    }

    /// What this database's operator seals as a registered tenant's next batch, whatever is in it.
    pub(crate) async fn seal(&self, url: &DatabaseUrl, who: usize, count: u64, root: B256) {
        let id = self.chain.chain_id();
        let tenant = TenantId::from_authority(self.people[who]).expect("an id");
        let sealer = Sealer::connect(url, id).await.expect("a sealer");
        let mut tx = sealer.tenant(tenant).await.expect("a transaction");
        let next = tx.head().await.expect("a head").next_seq.get();
        let entry = |n| NewEntry::new([(FieldName::ExternalId, format!("{n}"))]).expect("an entry");
        let appender = Sequencer::connect(url, id).await.expect("a sequencer").appender();
        let entries = (next..next + count).map(entry).collect();
        appender.append(tenant, entries).await.expect("appended");
        tx.insert_batch(next.into(), count, root.into()).await.expect("sealed");
        tx.commit().await.expect("committed");
    }

    /// What a mirror that begins now comes to.
    pub(crate) async fn fresh(&self) -> Contents {
        let mirrored = self.mirror(vec![]).await;
        mirrored.indexer.catch_up().await.expect("mirrored");
        mirrored.contents(self).await
    }
}

/// A Postgres of one test.
#[derive(Debug)]
pub(crate) struct Own {
    postgres: Option<Postgres>,
}

impl Own {
    async fn start(data_dir: PathBuf, port: Option<u16>) -> Postgres {
        let options = PostgresOptions { data_dir, port, ephemeral: false };
        Postgres::start(&Toolchain::find(), &options).await.expect("a Postgres")
    }

    fn url(&self) -> url::Url {
        self.postgres.as_ref().expect("it runs").admin_url().clone()
    }

    pub(crate) async fn mirror(&self, ground: &Ground) -> Mirrored {
        let mut url = self.url();
        url.set_path("mirror");
        let admin: DatabaseUrl = url.as_str().parse().expect("a URL");
        url.set_username("daemon").expect("a user");
        url.set_password(Some("daemon")).expect("a password");
        let url: DatabaseUrl = url.as_str().parse().expect("a URL");
        migrate(&admin, &url).await.expect("migrated");
        Mirrored { indexer: ground.indexer(&url, vec![]).await, url, admin }
    }

    /// What ends it at once, without a word to anybody and without writing what it has in memory.
    pub(crate) fn crash(&self, ground: &Ground) -> impl Fn() + Send + Sync + use<> {
        let cluster = ground._dir.path().join("postgres/postgres/postmaster.pid");
        let pid = std::fs::read_to_string(cluster).expect("it runs");
        let pid = pid.lines().next().expect("a process").to_owned();
        move || {
            let status = std::process::Command::new("kill").args(["-QUIT", &pid]).status();
            assert!(status.expect("kill").success());
        }
    }

    /// Stops it if it runs, and starts it again where it was.
    pub(crate) async fn restart(&mut self, ground: &Ground) {
        let port = self.url().port();
        self.postgres.take().expect("it runs").stop().await;
        let data_dir = ground._dir.path().join("postgres");
        self.postgres = Some(Self::start(data_dir, port).await);
    }
}

/// An indexer and its database.
#[derive(Debug)]
pub(crate) struct Mirrored {
    pub(crate) indexer: Indexer,
    pub(crate) url: DatabaseUrl,
    /// Who may do anything in that database.
    pub(crate) admin: DatabaseUrl,
}

impl Mirrored {
    pub(crate) async fn contents(&self, ground: &Ground) -> Contents {
        let id = ground.chain.chain_id();
        let heads = Mirror::connect(&self.url, id).await.expect("a mirror");
        let heads = heads.heads(None, 1_000).await.expect("heads");
        let reader = Reader::connect(&self.url, id).await.expect("a reader");
        let (mut rows, mut nodes) = (vec![], vec![]);
        for head in &heads {
            let tenant = TenantId::try_from(head.tenant).expect("a tenant");
            let mut tx = reader.tenant(tenant).await.expect("a transaction");
            let kept = tx.batches_and_nodes(BatchIndex(0)).map_ok(|(_, nodes)| nodes);
            nodes.push(kept.try_collect().await.expect("nodes"));
            for table in MirrorTable::ALL {
                rows.extend(tx.mirrored(table).try_collect::<Vec<_>>().await.expect("rows"));
            }
        }
        rows.sort_by_key(|row| (row.position.block_number, row.position.log_index));
        (rows, heads, nodes)
    }

    pub(crate) async fn all_incidents(&self, ground: &Ground) -> Vec<Incident> {
        let sealer = Sealer::connect(&self.url, ground.chain.chain_id()).await.expect("a sealer");
        sealer.incidents(100).await.expect("incidents")
    }

    pub(crate) async fn incidents(&self, ground: &Ground) -> Vec<String> {
        let incidents = self.all_incidents(ground).await;
        incidents.into_iter().map(|incident| incident.kind).collect()
    }
}
