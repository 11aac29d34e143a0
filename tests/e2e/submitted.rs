//! Policies that tenants signed and handed in: the daemon publishes each once and follows it; and what it
//! cannot publish, it says.

use std::time::Duration;

use alloy::{
    primitives::{B256, U256},
    providers::Provider,
    sol_types::SolCall,
};
use cofferdam_anchorer::{Anchorer, Anchorers, PostPolicy, SealPolicy, Sender};
use cofferdam_contracts::SmartAccount;
use cofferdam_core::{PolicyVersion, TenantId};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{
    DatabaseUrl,
    PolicyStage::{self, Final, Included, Posted},
    Sealer, Sequencer, migrate,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    daemon::{Daemon, POLL},
    faults::{trap::When::After, world::World as FaultyWorld},
    ground::{Ground, address, fund, key, raw, tenant},
    support::{CHAIN_ID, LIMIT, Outcome, program, run},
};

const POLICY: &str = "{ \"allow\": [\"payments.send\"] }\n";

/// A chain and a database, and a daemon beside them when one is started.
pub(crate) struct World {
    pub(crate) ground: Ground,
    pub(crate) database: TestDatabase,
    pub(crate) sequencer: Sequencer,
    pub(crate) sealer: Sealer,
}

impl World {
    /// With tenants, each the key of its name.
    pub(crate) async fn with(tenants: &[&str]) -> Self {
        let ground = Ground::start().await;
        ground.fund(&["daemon", "payer"]).await;
        ground.fund(tenants).await;
        let database = TestDatabase::new().await.unwrap();
        let url: DatabaseUrl = database.runtime_url.as_str().parse().unwrap();
        migrate(&database.admin_url.as_str().parse().unwrap(), &url).await.unwrap();
        let sequencer = Sequencer::connect(&url, CHAIN_ID).await.unwrap();
        let chain = &ground.chain;
        sequencer.register_deployment(chain.contract(), chain.code_hash(), 0).await.unwrap();
        let sealer = Sealer::connect(&url, CHAIN_ID).await.unwrap();
        let this = Self { ground, database, sequencer, sealer };
        for name in tenants {
            this.add(name, tenant(name)).await;
        }
        this
    }

    async fn add(&self, name: &str, tenant: TenantId) {
        self.sequencer.add_tenant(name, tenant).await.unwrap();
    }

    pub(crate) async fn daemon(&self) -> Daemon {
        self.daemon_signing(Anchorers::default()).await
    }

    /// What seals at once, pays with the daemon's key, and has further anchorers' keys.
    pub(crate) fn anchorer(&self, anchorers: Anchorers) -> Anchorer {
        let posting = PostPolicy { patience: Duration::from_secs(2), ..PostPolicy::default() };
        let sender = Sender::new(self.ground.chain.clone(), key("daemon"));
        let policy = SealPolicy { max_age: Duration::ZERO, ..SealPolicy::default() };
        let anchorer = Anchorer::new(self.sealer.clone(), sender, policy);
        anchorer.posting(posting).signing(anchorers)
    }

    /// A daemon that has further anchorers' keys.
    pub(crate) async fn daemon_signing(&self, anchorers: Anchorers) -> Daemon {
        let anchorer = self.anchorer(anchorers);
        let url = self.database.runtime_url.as_str().parse().unwrap();
        Daemon::start(anchorer, &self.ground.chain, &url).await
    }

    /// Runs a command against this chain and this database.
    async fn run(&self, command: &str) -> Outcome {
        let mut program = self.ground.keyless(command);
        program.env("DATABASE_URL", self.database.runtime_url.as_str()).arg("--json");
        run(&mut program).await
    }

    async fn json(&self, command: &str) -> Value {
        self.run(command).await.exits(0).json()
    }

    /// A file with a policy of a tenant, signed by these; `more` are further options of `policy sign`.
    async fn signed(&self, of: TenantId, by: &[&str], version: u64, more: &str) -> String {
        let document = self.ground.file("policy.json", POLICY);
        let out = self.ground.path(&format!("{of}-{version}.json"));
        // As on a machine without a network; times count from the chain's clock all the same.
        let now = self.ground.chain.head().await.unwrap().timestamp;
        let mut sign = program();
        sign.args(format!("policy sign {document} --tenant {of} --chain-id {CHAIN_ID}").split(' '));
        sign.args(format!("--version {version} --out {out} --not-before {now}").split(' '));
        sign.args(["--not-after", &(now + 86_400).to_string()]);
        sign.args(["--verdict-signer", &address("verdict signer").to_string()]);
        sign.args(more.replace("NOW+1h", &(now + 3_600).to_string()).split_whitespace());
        if !more.contains("--deadline") {
            sign.args(["--deadline", &(now + 604_800).to_string()]);
        }
        sign.args(["--private-key", &raw(by[0])]);
        if let Some(second) = by.get(1) {
            sign.args(["--cosigner-private-key", &raw(second)]);
        }
        run(&mut sign).await.exits(0);
        out
    }

    /// Hands in what a key signed for its own tenant.
    async fn submit(&self, name: &str, version: u64, more: &str) -> String {
        let signed = self.signed(tenant(name), &[name], version, more).await;
        let done = self.json(&format!("policy submit --signed {signed}")).await;
        assert_eq!((&done["submitted"], &done["version"]), (&json!(true), &json!(version)));
        signed
    }

    /// The tenant publishes by itself, from its key.
    async fn publish_directly(&self, name: &str) {
        let document = self.ground.file("direct.json", "{}");
        let publish = format!(
            "policy publish {document} --tenant {} --verdict-signer {} --not-after +1d",
            tenant(name),
            address("another signer")
        );
        self.ground.json(name, &publish).await;
    }

    /// How far a tenant's policies are, as `status` says it.
    async fn policies(&self, name: &str) -> Vec<Value> {
        let status = self.json("status").await;
        let tenants = status["tenants"].as_array().unwrap();
        let tenant = tenants.iter().find(|tenant| tenant["name"] == name).unwrap();
        tenant["policies"].as_array().unwrap().clone()
    }

    /// Waits until a version of a tenant is so far.
    async fn until(&self, of: TenantId, version: u64, stage: PolicyStage) {
        let waiting = async {
            while self.stage(of, version).await.as_ref() != Some(&stage) {
                sleep(POLL).await;
            }
        };
        if timeout(LIMIT, waiting).await.is_err() {
            panic!("never {stage:?}: {:#}", self.json("status").await);
        }
    }

    /// Waits until a version of a tenant is given up, and tells why.
    async fn until_failed(&self, of: TenantId, version: u64) -> String {
        let waiting = async {
            loop {
                if let Some(PolicyStage::Failed(why)) = self.stage(of, version).await {
                    return why;
                }
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, waiting).await.expect("it fails")
    }

    async fn stage(&self, of: TenantId, version: u64) -> Option<PolicyStage> {
        let policies = self.sealer.policies().await.unwrap().into_iter();
        let mut found =
            policies.filter(|(it, _)| (it.tenant, it.version) == (of, PolicyVersion(version)));
        found.next().map(|(_, stage)| stage)
    }

    /// The open incidents of a tenant, by kind.
    async fn incidents(&self, name: &str) -> Vec<(String, String)> {
        let all = self.sealer.incidents(100).await.unwrap().into_iter();
        let ours = all.filter(|it| it.tenant == Some(tenant(name)) && it.resolved_at.is_none());
        ours.map(|it| (it.kind, it.detail)).collect()
    }

    async fn wait_for_incident(&self, name: &str, kind: &str) -> String {
        let waiting = async {
            loop {
                let found = self.incidents(name).await.into_iter().find(|it| it.0 == kind);
                if let Some((_, detail)) = found {
                    return detail;
                }
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("never {kind}"))
    }

    pub(crate) async fn ask(&self, method: &'static str, params: impl serde::Serialize) -> Value {
        let provider = self.ground.chain.provider();
        provider.raw_request(method.into(), json!(params)).await.unwrap()
    }

    /// The document's hash that is active, or zero, and the version that was consumed last.
    async fn on_chain(&self, of: TenantId) -> (u64, B256) {
        let registry = self.ground.policies();
        let last = registry.versionOf(of.as_b256()).call().await.unwrap();
        let active = registry.activePolicy(of.as_b256()).call().await.unwrap();
        (last, active.record.policyHash)
    }
}

#[tokio::test]
async fn what_is_handed_in_is_published_once_and_followed_until_it_is_final() {
    let world = World::with(&["acme", "globex"]).await;
    // An account, whose owner and approver sign together: ERC-1271.
    let account = world.ground.account("initech").await;
    world.add("initech", account).await;
    let nested = world.signed(account, &["initech owner", "initech approver"], 1, "").await;
    world.json(&format!("policy submit --signed {nested} --tenant initech")).await;

    // Two may wait, and the same again is the same.
    let first = world.submit("acme", 1, "").await;
    let second = world.submit("acme", 2, "").await;
    for signed in [&first, &second] {
        let again = world.json(&format!("policy submit --signed {signed}")).await;
        assert_eq!(again["submitted"], false);
    }
    assert_eq!(world.policies("acme").await[1]["stage"], "submitted");
    // What somebody else was quicker with is adopted.
    let adopted = world.submit("globex", 1, "").await;
    world.ground.json("payer", &format!("policy publish --signed {adopted}")).await;

    world.ask("evm_setAutomine", [false]).await;
    let daemon = world.daemon().await;
    world.until(tenant("acme"), 1, Posted).await;
    world.until(account, 1, Posted).await;
    world.until(tenant("globex"), 1, Included).await;
    world.ask("evm_setAutomine", [true]).await;
    world.ask("evm_mine", [(); 0]).await;
    world.until(tenant("acme"), 2, Included).await;
    world.until(account, 1, Included).await;
    let hash = alloy::primitives::keccak256(POLICY);
    assert_eq!(world.on_chain(tenant("acme")).await, (2, hash));
    assert_eq!(world.on_chain(account).await, (1, hash));

    // A reorg takes both of acme's back; they are published again.
    let block = world.ground.chain.head().await.unwrap();
    world.ask("anvil_reorg", (2, [(); 0])).await;
    let other = world.ground.chain.header(block.number.into()).await.unwrap();
    assert_ne!(other.map(|other| other.hash), Some(block.hash));
    let published = async || world.on_chain(tenant("acme")).await == (2, hash);
    while !published().await {
        sleep(POLL).await;
    }
    world.ask("anvil_mine", ["0x60"]).await;
    for (of, version) in [(tenant("acme"), 2), (tenant("globex"), 1), (account, 1)] {
        world.until(of, version, Final).await;
    }
    assert_eq!(world.sealer.incidents(100).await.unwrap(), []);
    daemon.end().await;
    let shown = json!([{ "version": 2, "policyHash": hash, "stage": "final", "failed": null }]);
    assert_eq!(json!(world.policies("acme").await), shown);

    // Each was paid for once, by whom it was for; what was adopted cost nothing.
    let costs = world.json("costs").await;
    let of = |name: &str| {
        let tenants = costs["tenants"].as_array().unwrap();
        let tenant = tenants.iter().find(|tenant| tenant["name"] == name).unwrap();
        let fee: U256 = tenant["feeWei"].as_str().unwrap().parse().unwrap();
        (tenant["policies"].as_u64().unwrap(), !fee.is_zero())
    };
    assert_eq!([of("acme"), of("initech"), of("globex")], [(2, true), (1, true), (0, false)]);
    assert_eq!(costs["ofNoTenantWei"], "0", "{costs}");
}

#[tokio::test]
async fn what_cannot_be_published_is_an_incident_that_halts_nothing() {
    let world = World::with(&["acme", "globex", "hooli"]).await;
    let account = world.ground.account("initech").await;
    world.add("initech", account).await;

    // Nobody published it in time; what was to follow it is given up with it.
    world.submit("acme", 1, "--deadline NOW+1h").await;
    world.submit("acme", 2, "").await;
    world.ground.wait(3_601).await;
    let daemon = world.daemon().await;
    let detail = world.wait_for_incident("acme", "policy-expired").await;
    assert!(detail.contains("with a later deadline"), "{detail}");
    let failed = world.until_failed(tenant("acme"), 2).await;
    assert!(failed.contains("to follow version 1"), "{failed}");
    assert_eq!(world.on_chain(tenant("acme")).await.0, 0);
    // Signed again, both are published.
    world.submit("acme", 1, "").await;
    world.submit("acme", 2, "").await;
    world.until(tenant("acme"), 2, Included).await;
    world.json("incident resolve --tenant acme --yes").await;

    // Something else has the version: what the registry says wins, and nothing is posted over it.
    world.ask("evm_setAutomine", [false]).await;
    world.submit("acme", 3, "").await;
    world.submit("acme", 4, "").await;
    world.until(tenant("acme"), 3, Posted).await;
    // Ours stays in the pool, at a price that is not enough any more.
    world.ask("anvil_setNextBlockBaseFeePerGas", [U256::from(50_000_000_000_u64)]).await;
    world.ask("evm_mine", [(); 0]).await;
    world.ask("evm_setAutomine", [true]).await;
    world.publish_directly("acme").await;
    let detail = world.wait_for_incident("acme", "different-policy").await;
    assert!(detail.starts_with("version 3 was published with document 0x"), "{detail}");
    world.until_failed(tenant("acme"), 4).await;

    // From then on what nobody handed in is told; of a tenant that never handed anything in, it is not.
    world.publish_directly("globex").await;
    world.publish_directly("acme").await;
    let detail = world.wait_for_incident("acme", "unknown-policy").await;
    assert!(detail.starts_with("version 4 "), "{detail}");
    // Taking a policy back is no incident.
    world.ground.json("acme", &format!("policy revoke --tenant {}", tenant("acme"))).await;

    // What was good when it was handed in need not be any more: a frozen account signs nothing.
    let nested = world.signed(account, &["initech owner", "initech approver"], 1, "").await;
    let freeze = SmartAccount::freezeCall {}.abi_encode();
    fund(&world.ground.chain, address("initech guardian")).await;
    let guardian = Sender::new(world.ground.chain.clone(), key("initech guardian"));
    daemon.end().await;
    world.json(&format!("policy submit --signed {nested}")).await;
    guardian.send(account.authority(), freeze.into()).await.unwrap();
    let daemon = world.daemon().await;
    let failed = world.until_failed(account, 1).await;
    assert!(failed.contains("PolicyRegistry_BadSignature"), "{failed}");
    // The others go on, behind the one that reverts now, and nobody is halted.
    world.ask("anvil_setNextBlockBaseFeePerGas", [U256::from(1_000_000_000)]).await;
    world.ask("evm_mine", [(); 0]).await;
    world.submit("hooli", 1, "").await;
    world.until(tenant("hooli"), 1, Included).await;
    assert_eq!(world.incidents("globex").await, []);
    assert_eq!(world.incidents("acme").await.len(), 2);
    assert!(world.sealer.heads().await.unwrap().iter().all(|head| head.halted.is_none()));
    daemon.end().await;
}

#[tokio::test]
async fn what_the_registry_would_refuse_is_not_taken() {
    let world = World::with(&["acme", "globex"]).await;
    let signed = world.signed(tenant("acme"), &["acme"], 1, "").await;
    let policy: Value = serde_json::from_str(&std::fs::read_to_string(&signed).unwrap()).unwrap();
    let message = &policy["message"];
    let number = |name: &str| {
        let value = &message[name];
        let hex = value.as_str().map(|hex| u64::from_str_radix(&hex[2..], 16).unwrap());
        hex.or(value.as_u64()).unwrap()
    };
    let document = world.ground.file("policy.json", POLICY);
    let submit = |of: &str, signature: &str| {
        format!(
            "policy submit {document} --tenant {of} --verdict-signer {} --not-before {} --not-after {} \
             --version 1 --deadline {} --signature {signature}",
            address("verdict signer"),
            number("notBefore"),
            number("notAfter"),
            number("deadline"),
        )
    };
    let signature = policy["signature"].as_str().unwrap();
    let refuses = async |command: &str, said: &[&str]| {
        world.run(command).await.fails_saying(1, said);
        assert_eq!(world.sealer.policies().await.unwrap(), []);
    };

    // Another tenant's, and nobody's.
    let not_theirs = [&*address("globex").to_string(), "'s signature of this policy"];
    refuses(&submit("globex", signature), &not_theirs).await;
    let theirs = format!("policy submit --signed {signed} --tenant globex");
    refuses(&theirs, &[&format!("is of tenant {}", tenant("acme"))]).await;
    let forged = world.signed(tenant("globex"), &["globex"], 1, "").await;
    let forged = std::fs::read_to_string(forged).unwrap();
    let forged: Value = serde_json::from_str(&forged).unwrap();
    let forged = forged["signature"].as_str().unwrap();
    let not_theirs = [&*address("acme").to_string(), "'s signature of this policy"];
    refuses(&submit("acme", forged), &not_theirs).await;
    let changed = submit("acme", signature).replace("--not-after ", "--not-after 1");
    refuses(&changed, &not_theirs).await;
    refuses(&submit("acme", "0x1b"), &not_theirs).await;
    let file = std::fs::read_to_string(&signed).unwrap();
    let file = file.replace(&signature[2..12], &forged[2..12]);
    let file = world.ground.file("forged.json", file);
    refuses(&format!("policy submit --signed {file}"), &["is no signed policy"]).await;

    // Whom nobody registered.
    world.ground.fund(&["stranger"]).await;
    let strange = world.signed(tenant("stranger"), &["stranger"], 1, "").await;
    let strange = world.run(&format!("policy submit --signed {strange}")).await;
    strange.fails_saying(1, &["no tenant", "cofferdam tenant list"]);

    // Out of turn, out of time, for another registry, and not signed at all.
    let gap = world.signed(tenant("acme"), &["acme"], 3, "").await;
    refuses(&format!("policy submit --signed {gap}"), &["the next to be handed in is 1"]).await;
    let unsigned = submit("acme", signature);
    let (unsigned, _) = unsigned.split_once(" --deadline").unwrap();
    refuses(unsigned, &["policy sign", "--signature"]).await;
    let out = world.ground.path("backwards.json");
    let mut sign = program();
    let backwards = format!(
        "policy sign {document} --tenant {} --verdict-signer {} --not-before 2000000000 --not-after 1999999999 \
         --version 1 --chain-id {CHAIN_ID} --deadline 1999999999 --out {out}",
        tenant("acme"),
        address("verdict signer"),
    );
    sign.args(backwards.split_whitespace()).args(["--private-key", &raw("acme")]);
    run(&mut sign).await.exits(0);
    refuses(&format!("policy submit --signed {out}"), &["is none", "ends after it begins"]).await;
    let late = world.signed(tenant("acme"), &["acme"], 1, "--deadline NOW+1h").await;
    world.ground.wait(3_601).await;
    refuses(&format!("policy submit --signed {late}"), &["with a later deadline"]).await;

    // A version is handed in once, while what was is good.
    world.submit("acme", 1, "").await;
    let other = world.signed(tenant("acme"), &["acme"], 1, "--deadline 4000000000").await;
    let taken = world.run(&format!("policy submit --signed {other}")).await;
    taken.fails_saying(1, &["handed in version 1 of its policy before"]);
    // And not what the chain has as something else.
    world.publish_directly("globex").await;
    let gone = world.signed(tenant("globex"), &["globex"], 1, "").await;
    let taken = world.run(&format!("policy submit --signed {gone}")).await;
    taken.fails_saying(1, &["is on the chain already", "signed as version 2"]);
    assert_eq!(world.sealer.policies().await.unwrap().len(), 1);
}

#[tokio::test]
async fn i8_killed_before_and_after_it_is_sent_a_policy_is_published_once() {
    let mut world = FaultyWorld::start().await;
    let hooli = address("hooli");
    world.stack.json(&format!("tenant add hooli --authority {hooli}")).await;
    let document = world.stack.file("policy.json", POLICY).display().to_string();
    let sealer = Sealer::connect(&world.stack.runtime_url(), CHAIN_ID).await.unwrap();
    for version in 1..=2 {
        let out = world.stack.dir().join("signed.json").display().to_string();
        let sign = format!(
            "policy sign {document} --tenant {hooli} --verdict-signer {} --not-after +1d --version {version} \
             --private-key {} --out {out}",
            address("verdict signer"),
            raw("hooli"),
        );
        let mut sign = world.stack.cofferdam(&sign);
        sign.env_remove("COFFERDAM_KEYSTORE");
        run(&mut sign).await.exits(0);
        let daemon = world.daemon();
        let mut trap = match version {
            // Its intent is on disk, and nobody else knows of it.
            1 => world.wire.traps().set("INSERT INTO cofferdam.transactions", After, 0),
            // The node has it, and nobody here knows that.
            _ => world.rpc.traps().set("eth_sendRawTransaction", After, 0),
        };
        world.stack.json(&format!("policy submit --signed {out}")).await;
        assert!(trap.within(Duration::from_secs(60)).await, "{version}: {}", world.said());
        daemon.kill().await;
        drop(trap);
        let daemon = world.daemon();
        world
            .until("the policy is mirrored", async || {
                let policies = sealer.policies().await.unwrap();
                let last = policies.last().map(|(policy, stage)| (policy.version.get(), stage));
                last == Some((version, &Included))
            })
            .await;
        // The mirror may see it before whoever posted it does.
        let booked = async || {
            let costs = world.stack.json("costs").await;
            let mut tenants = costs["tenants"].as_array().unwrap().iter();
            tenants.any(|it| it["name"] == "hooli" && it["policies"] == version)
        };
        world.until("what it cost is booked", booked).await;
        daemon.stop().await;
    }
    let shown = world.stack.json(&format!("policy show --tenant {hooli}")).await;
    assert_eq!(shown["versions"].as_array().unwrap().len(), 2, "{shown}");
}
