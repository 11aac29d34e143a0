//! A tenant's own key signs what is anchored for it, and the daemon's key posts it and pays.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bytes, Signature, U256, hex},
    signers::{
        self, Signer, SignerSync, k256::elliptic_curve::rand_core::OsRng, local::PrivateKeySigner,
    },
    sol_types::SolCall,
};
use cofferdam_anchorer::{Anchorers, Posted, SealPolicy, Sender, Stint, seal_due};
use cofferdam_contracts::AuditAnchor;
use cofferdam_core::{FieldName, Seq};
use cofferdam_store::{DatabaseUrl, NewEntry, SealedBatch, flip_one_bit};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    ground::{address, key, raw, tenant},
    submitted::World,
    support::{CHAIN_ID, LIMIT, run},
};

/// The call by which a tenant names the key that may anchor for it.
fn naming(name: &str, anchorer: Address) -> Bytes {
    let tenant = tenant(name).as_b256();
    AuditAnchor::setAnchorerCall { tenantId: tenant, anchorer }.abi_encode().into()
}

async fn name(world: &World, of: &str, anchorer: &str) {
    let sender = Sender::new(world.ground.chain.clone(), key(of));
    sender.send(world.ground.chain.contract(), naming(of, address(anchorer))).await.unwrap();
}

async fn append(world: &World, name: &str, id: &str) {
    let fields = [
        (FieldName::ExternalId, id.to_owned()),
        (FieldName::Action, "s3:GetObject".to_owned()),
        (FieldName::OccurredAt, "2026-01-31T23:59:59.000000Z".to_owned()),
        (FieldName::Payload, "{}".to_owned()),
    ];
    let entry = NewEntry::new(fields).unwrap();
    world.sequencer.appender().append(tenant(name), vec![entry]).await.unwrap();
}

async fn batches(world: &World, name: &str) -> Vec<SealedBatch> {
    world.sealer.tenant(tenant(name)).await.unwrap().batches().await.unwrap()
}

/// Waits until so many batches of a tenant are anchored.
async fn until_anchored(world: &World, name: &str, count: usize) {
    let waiting = async {
        loop {
            let batches = batches(world, name).await;
            if batches.iter().filter(|batch| batch.anchored.is_some()).count() == count {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{name} has not {count}"));
}

/// The function that anchored each batch of a tenant. All were posted by the daemon's key.
async fn functions(world: &World, name: &str) -> Vec<[u8; 4]> {
    let mut functions = vec![];
    for batch in batches(world, name).await {
        let hash = batch.anchored.unwrap().position.tx_hash;
        let tx = world.ask("eth_getTransactionByHash", [hash]).await;
        assert_eq!(tx["from"].as_str().unwrap().parse(), Ok(address("daemon")));
        let input = hex::decode(tx["input"].as_str().unwrap()).unwrap();
        functions.push(input[..4].try_into().unwrap());
    }
    functions
}

#[tokio::test]
async fn each_tenants_key_signs_its_batches_and_one_key_pays() {
    const SIGNED: [u8; 4] = AuditAnchor::anchorSignedCall::SELECTOR;
    const MANY: [u8; 4] = AuditAnchor::anchorManyCall::SELECTOR;
    let names = ["acme", "globex", "initech"];
    let world = World::with(&names).await;
    for (of, anchorer) in [("acme", "acme's"), ("globex", "globex's"), ("initech", "daemon")] {
        name(&world, of, anchorer).await;
        append(&world, of, "1").await;
    }
    let keys = || Anchorers::new([key("acme's"), key("globex's"), key("another")]);
    let daemon = world.daemon_signing(keys()).await;
    for of in names {
        until_anchored(&world, of, 1).await;
    }
    assert_eq!(functions(&world, "acme").await, [SIGNED]);
    assert_eq!(functions(&world, "initech").await, [MANY]);
    // In one transaction, whoever signed.
    let both = [batches(&world, "acme").await, batches(&world, "globex").await].concat();
    let both: BTreeSet<_> = both.iter().map(|it| it.anchored.unwrap().position.tx_hash).collect();
    assert_eq!(both.len(), 1);

    // The tenant names another key while its batch is under way: that one signs it anew.
    world.ask("evm_setAutomine", [false]).await;
    append(&world, "acme", "2").await;
    let open = async || {
        let intents = world.sealer.unsettled().await.unwrap();
        intents.iter().any(|it| it.outcome == cofferdam_store::Outcome::Open)
    };
    while !open().await {
        sleep(Duration::from_millis(20)).await;
    }
    let (to, tip) = (world.ground.chain.contract(), U256::from(20_000_000_000_u64));
    world.ask("anvil_impersonateAccount", [address("acme")]).await;
    let rotation = json!([{
        "from": address("acme"), "to": to, "input": naming("acme", address("another")),
        "gas": "0x30d40", "maxFeePerGas": tip * U256::from(2), "maxPriorityFeePerGas": tip,
    }]);
    world.ask("eth_sendTransaction", rotation).await;
    world.ask("evm_mine", [(); 0]).await;
    world.ask("evm_setAutomine", [true]).await;
    world.ask("evm_mine", [(); 0]).await;
    until_anchored(&world, "acme", 2).await;
    assert_eq!(functions(&world, "acme").await, [SIGNED, SIGNED]);

    // A key that is not here: that tenant waits, the others do not.
    name(&world, "globex", "nobody's").await;
    append(&world, "globex", "2").await;
    append(&world, "initech", "2").await;
    until_anchored(&world, "initech", 2).await;
    assert_eq!(batches(&world, "globex").await[1].anchored, None);
    daemon.end().await;
    name(&world, "globex", "globex's").await;
    let daemon = world.daemon_signing(keys()).await;
    until_anchored(&world, "globex", 2).await;
    daemon.end().await;
    let all = world.sealer.incidents(10).await.unwrap();
    assert_eq!(all, []);

    // From a folder of keystores, as an operator has them.
    append(&world, "acme", "3").await;
    let (folder, password) = (world.ground.path("anchorers"), world.ground.file("pw", "s3cret\n"));
    std::fs::create_dir(&folder).unwrap();
    let bytes = key("another").to_bytes();
    PrivateKeySigner::encrypt_keystore(&folder, &mut OsRng, bytes, "s3cret", Some("acme")).unwrap();
    let anchor = format!("anchor --once --anchorers {folder} --anchorers-password-file {password}");
    let mut anchor = world.ground.cofferdam("daemon", &anchor);
    anchor.arg("--json");
    anchor.env("DATABASE_URL", world.database.runtime_url.as_str());
    let round: Value = run(&mut anchor).await.exits(0).json();
    assert_eq!(round["anchored"], 1, "{round}");
    // Whatever else lies there is named, before anything is done.
    world.ground.file("anchorers/notes.txt", "acme: ask Ann");
    let mut stopped = world.ground.keyless(&format!(
        "run --anchorers {folder} --anchorers-password-file {password} --database-url postgres://a:b@127.0.0.1:1/c"
    ));
    let stopped = run(stopped.args(["--private-key", &raw("daemon")])).await;
    stopped.fails_saying(1, &["cannot open the keystore", "anchorers/notes.txt"]);
    let mut without = world.ground.keyless("anchor --once --anchorers /nowhere");
    let without = run(without.args(["--private-key", &raw("daemon")])).await;
    without.fails_saying(2, &["--anchorers-password-file"]);
}

/// A key that keeps a list of what it was asked to sign, and refuses the first of it.
#[derive(Clone)]
struct Reluctant {
    key: PrivateKeySigner,
    asked: Arc<Mutex<Vec<B256>>>,
    refuses: bool,
}

impl Reluctant {
    fn new(name: &str, refuses: bool) -> Self {
        Self { key: key(name), asked: Arc::default(), refuses }
    }

    fn asked(&self) -> Vec<B256> {
        self.asked.lock().unwrap().clone()
    }
}

impl Signer for Reluctant {
    fn sign_hash<'a, 'b, 'f>(
        &'a self,
        hash: &'b B256,
    ) -> Pin<Box<dyn Future<Output = signers::Result<Signature>> + Send + 'f>>
    where
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        let mut asked = self.asked.lock().unwrap();
        asked.push(*hash);
        let signed = match self.refuses && asked.len() == 1 {
            true => Err(signers::Error::other("it is locked")),
            false => self.key.sign_hash_sync(hash),
        };
        Box::pin(async { signed })
    }

    fn address(&self) -> Address {
        self.key.address()
    }

    fn chain_id(&self) -> Option<u64> {
        None
    }

    fn set_chain_id(&mut self, _: Option<u64>) {}
}

#[tokio::test]
async fn i9_a_key_that_does_not_sign_keeps_its_tenants_order_and_a_changed_entry_is_never_signed() {
    let names = ["acme", "globex", "initech"];
    let world = World::with(&names).await;
    let keys = [("acme's", true), ("globex's", false), ("initech's", false)];
    let keys = keys.map(|(name, refuses)| Reluctant::new(name, refuses));
    // Two batches each, of which nothing went out yet.
    let policy = SealPolicy { max_age: Duration::ZERO, ..SealPolicy::default() };
    for id in ["1", "2"] {
        for of in names {
            append(&world, of, id).await;
        }
        assert_eq!(seal_due(&world.sealer, &policy, Stint::flush()).await.unwrap().sealed, 3);
    }
    for (of, anchorer) in names.into_iter().zip(["acme's", "globex's", "initech's"]) {
        name(&world, of, anchorer).await;
    }
    // An entry of the second batch of one of them is changed in the database.
    let admin: DatabaseUrl = world.database.admin_url.as_str().parse().unwrap();
    flip_one_bit(&admin, CHAIN_ID, tenant("globex"), Seq(1), 0).await.unwrap();

    let report = world.anchorer(Anchorers::new(keys.clone())).round().await.unwrap();
    let troubled: Vec<_> = report.troubled.iter().map(|(of, _)| *of).collect();
    assert_eq!(troubled, [tenant("globex")], "{report:?}");
    let [acmes, globexs, initechs] = keys.map(|key| key.asked());
    assert!(globexs.is_empty(), "its key was asked");
    assert_eq!(initechs.len(), 2, "{initechs:?}");
    // Nothing of the tenant goes out before what was not signed: that is asked for again, first.
    let [refused, again, next] = acmes[..] else { panic!("{acmes:?}") };
    assert!(refused == again && again != next, "{acmes:?}");
    let done = |of: fn(&Posted) -> usize| report.posted.iter().map(of).sum::<usize>();
    assert_eq!((done(|it| it.anchored), done(|it| it.skipped)), (4, 0), "{report:?}");
    let heads = world.ground.chain.heads(&names.map(tenant)).await.unwrap();
    assert_eq!(heads.iter().map(|head| head.batches).collect::<Vec<_>>(), [2, 0, 2]);
    let incidents = world.sealer.incidents(10).await.unwrap();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert!(incidents[0].detail.contains("entry 1"), "{incidents:?}");
}

#[tokio::test]
async fn an_accounts_people_name_its_anchorer_by_the_command_that_tenant_add_prints() {
    let world = World::with(&[]).await;
    let account = world.ground.account("acme").await;
    let (authority, anchorer) = (account.authority(), address("daemon"));
    let add = |name: &str, authority: Address| {
        let add = format!("tenant add {name} --authority {authority} --anchorer {anchorer}");
        let mut add = world.ground.keyless(&add);
        add.env("DATABASE_URL", world.database.runtime_url.as_str());
        add
    };
    let said = run(&mut add("acme", authority)).await.exits(0).stdout;
    assert!(!said.contains("cast send"), "nobody can send from an account:\n{said}");
    let (_, command) = said.split_once("   cofferdam ").expect("a command");
    let (command, rest) = command.split_once(" \\\n").expect("keys");
    for option in ["--keystore OWNER", "--cosigner-keystore GATE"] {
        assert!(rest.contains(option), "{said}");
    }
    world.ground.refuses("acme owner", command, &["--cosigner-keystore"]).await;
    let together = |by: &str, with: &str| {
        let mut together = world.ground.cofferdam(by, command);
        together.args(["--json", "--cosigner-private-key", &raw(with)]);
        together
    };
    let guarded = run(&mut together("acme owner", "acme guardian")).await;
    guarded.fails_saying(1, &["guardian"]);
    let named = run(&mut together("acme owner", "acme approver")).await.exits(0).json();
    assert_eq!((&named["way"], &named["anchorer"]), (&json!("together"), &json!(anchorer)));
    let head = world.ground.chain.heads(&[account]).await.unwrap().remove(0);
    assert_eq!(head.anchorer, anchorer);

    // A key is told what a key can do, and that an account would have to be there first.
    let said = run(&mut add("globex", address("globex"))).await.exits(0).stdout;
    for words in ["cast send", "cast wallet sign", "cofferdam account deploy"] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    // Whatever else there is has ways of its own.
    let wallet = world.ground.chain.contract();
    let said = run(&mut add("initech", wallet)).await.exits(0).stdout;
    assert!(said.contains("its own app") && !said.contains("cast"), "{said}");
}
