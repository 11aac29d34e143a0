//! A mirror that is killed at random points of its backfill, its tail and its reading of days.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::Provider,
    sol_types::SolCall,
};
use cofferdam_contracts::{
    AuditAnchor, Chain, IAuditAnchor,
    account::{Account, Configuration},
    deployment::Deployment,
};
use cofferdam_core::{Batch, BatchIndex, TenantId};
use cofferdam_devnet::TestDatabase;
use cofferdam_indexer::{Endpoints, Indexer};
use cofferdam_store::{DAY, DatabaseUrl, Mirror, Reader, Spending, migrate};
use futures::TryStreamExt;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{contents, place};
use crate::support::{CHAIN_ID, Stack, records, seed};

/// Kills, unless `COFFERDAM_SOAK_KILLS` says how many.
const KILLS: usize = 4;
/// Kills after which everything is compared and mirrored afresh.
const ROUND: usize = 10;
/// Tenants that are strangers to the operator, and what each call anchors of them.
const STRANGERS: u64 = 40;
/// Calls before the first kill: enough for a killed backfill to be in the middle of it.
const BEFORE: usize = 40;

/// Days on which the account spends before the first kill.
const DAYS: usize = 10;
/// Blocks of a day, as many as the deepest reorg takes back.
const BLOCKS: u64 = 5;
/// Blocks that make what is below them final: two epochs of Anvil's.
const FINAL: u64 = 64;
/// By itself Anvil keeps the state of 3,600 blocks, which is that of 250 kills.
const STATES: [&str; 2] = ["--max-persisted-states", "1000000"];

/// A chain with many events, and a database that follows it.
struct World {
    stack: Stack,
    chain: Chain,
    /// Who anchors for all strangers.
    anchorer: Address,
    /// Spends on every day.
    account: Address,
}

impl World {
    async fn start() -> Self {
        let stack = Stack::start_with(STATES.map(String::from).into()).await;
        let stack = stack.gone_once(&records("acme", 0..5)).await;
        let chain = stack.chain().await;
        let people = chain.provider().get_accounts().await.unwrap();
        let configuration = Configuration {
            owner: people[6],
            guardian: people[7],
            approvers: vec![people[8]],
            authorisers: vec![],
            executors: vec![],
            delay: 3_600,
            native_per_call: Default::default(),
            native_per_day: Default::default(),
            salt: B256::ZERO,
        };
        let deployment = Deployment::default();
        let account = Account::address_of(&chain, &deployment, &configuration).await.unwrap();
        let this = Self { stack, chain, anchorer: people[5], account };
        let create = configuration.create_calldata().unwrap();
        this.send(people[6], deployment.smart_account_factory, create).await;
        this.spend(this.today().await).await;
        this.rpc("anvil_autoImpersonateAccount", json!([true])).await;
        for n in 0..STRANGERS {
            let of = stranger(n);
            this.rpc("anvil_setBalance", json!([of, U256::from(10).pow(U256::from(18))])).await;
            let call =
                AuditAnchor::setAnchorerCall { tenantId: of.into_word(), anchorer: this.anchorer };
            this.send(of, deployment.audit_anchor, call.abi_encode()).await;
        }
        for _ in 0..BEFORE {
            this.anchor().await;
        }
        for _ in 0..DAYS {
            this.pass_a_day().await;
        }
        this.mine(FINAL).await;
        this
    }

    async fn rpc(&self, method: &'static str, parameters: Value) -> Value {
        self.chain.provider().raw_request(method.into(), parameters).await.unwrap()
    }

    async fn send(&self, from: Address, to: Address, data: impl Into<Bytes>) {
        let data: Bytes = data.into();
        let sent = json!([{ "from": from, "to": to, "data": data, "gas": "0x1c9c380" }]);
        let hash = self.rpc("eth_sendTransaction", sent).await;
        // Anvil mines it at once, and not before it answers; a reorg must not come in between.
        while self.rpc("eth_getTransactionReceipt", json!([hash])).await.is_null() {}
    }

    /// A block with the next batch of every stranger.
    async fn anchor(&self) {
        let ids: Vec<B256> = (0..STRANGERS).map(|n| stranger(n).into_word()).collect();
        let to = Deployment::default().audit_anchor;
        let binding = AuditAnchor::new(to, self.chain.provider());
        let heads = binding.heads(ids.clone()).call().await.unwrap();
        let items = ids.iter().zip(heads).map(|(id, head)| IAuditAnchor::Item {
            tenantId: *id,
            firstSeq: head.entries,
            count: 3,
            root: keccak256(head.batches.to_be_bytes()),
        });
        let call = AuditAnchor::anchorManyCall { items: items.collect() };
        self.send(self.anchorer, to, call.abi_encode()).await;
    }

    async fn today(&self) -> u64 {
        let newest = self.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
        let time: U256 = newest["timestamp"].as_str().unwrap().parse().unwrap();
        time.to::<u64>() / DAY
    }

    /// Leaves in the account what an operation would, of one who spends as much as the day's number every day.
    async fn spend(&self, day: u64) {
        let [spent, yesterday] = [U256::from(day) << 136, U256::from(day - 1) << 32];
        let (slot, word) = (B256::with_last_byte(1), spent | yesterday | U256::from(day));
        self.rpc("anvil_setStorageAt", json!([self.account, slot, B256::from(word)])).await;
    }

    /// Ends the day, and spends on the next.
    async fn pass_a_day(&self) {
        let day = self.today().await + 1;
        self.rpc("evm_setNextBlockTimestamp", json!([day * DAY + 60])).await;
        self.mine(1).await;
        self.spend(day).await;
        self.mine(BLOCKS).await;
    }

    async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([U256::from(blocks)])).await;
    }

    /// Starts the program, lets the chain go on beside it, and kills it.
    async fn kill(&self, command: &str, random: &mut StdRng) {
        let mut command = self.stack.cofferdam(command);
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moment = Duration::from_millis(random.random_range(0..900));
        let depth = random.random_range(0..12);
        let dying = async {
            sleep(moment).await;
            running.kill().await.unwrap();
        };
        tokio::join!(dying, async {
            self.pass_a_day().await;
            self.anchor().await;
            if (1..6).contains(&depth) {
                self.rpc("anvil_reorg", json!([depth, []])).await;
                self.anchor().await;
            }
        });
    }

    /// Mirrors to the end, and counts what is there twice and what is not there, so many days after the account's
    /// first.
    async fn faults(&self, days: usize) -> (usize, usize) {
        self.mine(FINAL).await;
        self.stack.json("index --once").await;
        let url_of_ours = self.stack.runtime_url();
        let ours = contents(&url_of_ours).await;
        let database = TestDatabase::new().await.unwrap();
        let url: DatabaseUrl = database.runtime_url.as_str().parse().unwrap();
        migrate(&database.admin_url.as_str().parse().unwrap(), &url).await.unwrap();
        let mirror = Mirror::connect(&url, CHAIN_ID).await.unwrap();
        let reader = Reader::connect(&url, CHAIN_ID).await.unwrap();
        let endpoints = Endpoints::new(&self.chain, vec![]).unwrap();
        let fresh = Indexer::new(mirror, reader, endpoints, Deployment::default(), 1);
        fresh.catch_up().await.unwrap();
        let theirs = contents(&url).await;
        let places: BTreeSet<_> = ours.iter().map(place).collect();
        let missing = theirs.iter().filter(|row| !places.contains(&place(row))).count();
        let doubled = ours.len() - places.len();
        // Not twice and not missing, and all the same another: that is a gap too.
        let (nodes, spending) = beside(&url).await;
        assert_eq!(spending.len(), days, "of each day that is over");
        let differ = ours != theirs || beside(&url_of_ours).await != (nodes, spending);
        let other = usize::from(doubled + missing == 0 && differ);
        (doubled, missing + other)
    }
}

fn stranger(n: u64) -> Address {
    Address::from_word(keccak256(n.to_be_bytes()))
}

/// What is kept with all tenants' batches: the nodes of the history; and what all accounts spent.
async fn beside(url: &DatabaseUrl) -> (Vec<(Batch, Option<Vec<B256>>)>, Vec<Spending>) {
    let mirror = Mirror::connect(url, CHAIN_ID).await.unwrap();
    let reader = Reader::connect(url, CHAIN_ID).await.unwrap();
    let (mut nodes, mut spending) = (vec![], vec![]);
    for head in mirror.heads(None, 10_000).await.unwrap() {
        let mut tx = reader.tenant(TenantId::try_from(head.tenant).unwrap()).await.unwrap();
        nodes.extend(tx.batches_and_nodes(BatchIndex(0)).try_collect::<Vec<_>>().await.unwrap());
        spending.extend(tx.spending().await.unwrap());
    }
    (nodes, spending)
}

/// `script/soak indexer` runs this with more kills and reads its last line.
#[tokio::test]
async fn i8_a_mirror_killed_at_random_points_doubles_and_misses_nothing() {
    let given = std::env::var("COFFERDAM_SOAK_KILLS").ok();
    let kills: usize = given.map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = seed("mirror soak");
    let mut random = StdRng::seed_from_u64(seed);
    let world = World::start().await;
    let (mut duplicates, mut gaps) = (0, 0);
    for n in 1..=kills {
        // The first of a round in the backfill, from nothing; the others wherever they are.
        let command = if n % ROUND == 1 { "index rebuild" } else { "index --poll 10" };
        world.kill(command, &mut random).await;
        if n % ROUND == 0 || n == kills {
            let (doubled, missing) = world.faults(DAYS + n).await;
            (duplicates, gaps) = (duplicates + doubled, gaps + missing);
            println!("kill {n} of {kills}: {doubled} doubled, {missing} missing");
        }
    }
    let found = json!({ "kills": kills, "duplicates": duplicates, "gaps": gaps, "seed": seed });
    println!("soak {found}");
    assert_eq!((duplicates, gaps), (0, 0), "{found}");
}
