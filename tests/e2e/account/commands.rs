//! `cofferdam account` as people use it, each with a keystore of their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use alloy::{
    primitives::{Address, B256, U256, aliases::U24, hex},
    providers::Provider,
    signers::{SignerSync, k256::elliptic_curve::rand_core::OsRng, local::PrivateKeySigner},
    sol_types::SolCall,
};
use cofferdam_contracts::{SmartAccount, account::SignedVerdict, signing::PolicyVerdict};
use cofferdam_devnet::Toolchain;
use serde_json::{Value, json};
use tokio::process::Command;

use super::world::{DELAY, ETHER, Keys, PAY, PER_CALL, Tenant, World, key, payee};
use crate::support::{Outcome, program, run};

/// The keystores of a tenant's people, and the program that they all use.
struct Desk<'a> {
    world: &'a World,
    dir: PathBuf,
    account: Address,
}

impl<'a> Desk<'a> {
    /// Lays keystores and their password ready.
    async fn new(world: &'a World, keys: &Keys) -> Self {
        let dir = world.dir.path().join("keys");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("password"), "correct horse\n").unwrap();
        let desk = Self { world, dir, account: Address::ZERO };
        for (name, key) in [
            ("owner", &keys.owner),
            ("authoriser", &keys.authoriser),
            ("executor", &keys.executor),
            ("guardian", &keys.guardian),
            ("agent", &keys.agent),
            ("signer", &keys.signer),
            ("stranger", &key("stranger")),
        ] {
            desk.keep(name, key);
            world.fund(key.address(), ETHER).await;
        }
        // One as people make them.
        world.fund(keys.approver.address(), ETHER).await;
        let mut import = Command::new(Toolchain::find().foundry("cast").unwrap());
        let secret = hex::encode_prefixed(keys.approver.to_bytes());
        import
            .args(["wallet", "import", "approver", "--private-key", &secret])
            .args(["--unsafe-password", "correct horse", "--keystore-dir"])
            .arg(&desk.dir);
        run(&mut import).await.exits(0);
        desk
    }

    fn keep(&self, name: &str, key: &PrivateKeySigner) {
        let bytes = key.to_bytes();
        PrivateKeySigner::encrypt_keystore(
            &self.dir,
            &mut OsRng,
            bytes,
            "correct horse",
            Some(name),
        )
        .unwrap();
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// `cofferdam account …` with an RPC URL that holds secrets.
    fn command(&self, command: &str) -> Command {
        let mut url = self.world.anvil.rpc_url().clone();
        url.set_username("ann").unwrap();
        url.set_password(Some("hunter2")).unwrap();
        let mut program = program();
        program.arg("account").args(command.split_whitespace()).env("RPC_URL", url.as_str());
        if !self.account.is_zero() {
            program.env("COFFERDAM_ACCOUNT", self.account.to_string());
        }
        program
    }

    /// The same by somebody.
    fn by(&self, who: &str, command: &str) -> Command {
        let mut program = self.command(command);
        program.arg("--keystore").arg(self.dir.join(who));
        program.arg("--password-file").arg(self.dir.join("password"));
        program
    }

    async fn json(&self, who: &str, command: &str) -> Value {
        run(self.by(who, command).arg("--json")).await.exits(0).json()
    }

    /// Demands that somebody is refused, for this reason.
    async fn refuses(&self, who: &str, command: &str, parts: &[&str]) {
        refuses(&mut self.by(who, command), parts).await;
    }

    /// Proposes a payment that is more than an agent may make.
    fn propose(&self) -> String {
        format!("propose --capability {PAY} --to {} --value 5ether", payee())
    }

    /// With a verdict that this key signs.
    fn signing_as(&self, who: &str) -> String {
        let (keystore, password) = (self.dir.join(who), self.dir.join("password"));
        format!(
            "--verdict-keystore {} --verdict-password-file {}",
            path(&keystore),
            path(&password)
        )
    }

    async fn show(&self) -> Value {
        run(&mut self.command("show --json")).await.exits(0).json()
    }
}

/// Demands that a command fails, saying all of this and no secret.
async fn refuses(command: &mut Command, parts: &[&str]) -> Outcome {
    let outcome = run(command).await.fails_saying(1, parts);
    for text in [&outcome.stdout, &outcome.stderr] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    outcome
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn an_account_is_deployed_used_and_guarded() {
    let world = World::start().await;
    let keys = Keys::of("A");
    let mut desk = Desk::new(&world, &keys).await;

    deploying(&mut desk, &keys).await;
    let tenant = Tenant::at(&world, keys, desk.account).await;
    tenant.arrange().await;
    passing(&desk).await;
    with_a_verdict_from_elsewhere(&desk, &tenant).await;
    vetoing_and_freezing(&desk, &tenant).await;
    keys_that_are_refused(&desk, &tenant).await;
}

/// From the configuration to the account, by file and by options.
async fn deploying(desk: &mut Desk<'_>, keys: &Keys) {
    let configuration = json!({
        "owner": keys.owner.address(),
        "guardian": keys.guardian.address(),
        "approvers": [keys.approver.address()],
        "authorisers": [keys.authoriser.address()],
        "executors": [keys.executor.address()],
        "delay": DELAY,
        "nativePerCall": "1000000000000000000",
        "nativePerDay": "2000000000000000000",
    });
    let file = desk.file("a.json", configuration.to_string());
    let deploy = format!("deploy --config {}", path(&file));

    // Where it will be can be said without a key.
    let dry = run(&mut desk.command(&format!("{deploy} --dry-run --json"))).await.exits(0).json();
    assert_eq!((&dry["deployed"], &dry["created"]), (&json!(false), &json!(false)));
    let account: Address = dry["account"].as_str().unwrap().parse().unwrap();
    assert_eq!(dry["tenantId"], json!(account.into_word()));
    let show = format!("show --account {account}");
    let said = ["there is no account at", "cofferdam account deploy"];
    refuses(&mut desk.command(&show), &said).await;

    // The options say the same as the file. Whoever pays, it is the same account.
    let options = format!(
        "deploy --owner {} --guardian {} --approver {} --authoriser {} --executor {} --delay {DELAY} \
         --per-call 1ether --per-day 2ether",
        keys.owner.address(),
        keys.guardian.address(),
        keys.approver.address(),
        keys.authoriser.address(),
        keys.executor.address(),
    );
    let deployed = desk.json("stranger", &options).await;
    assert_eq!((&deployed["account"], &deployed["created"]), (&json!(account), &json!(true)));
    let again = desk.json("stranger", &deploy).await;
    assert_eq!((&again["account"], &again["created"]), (&json!(account), &json!(false)));

    for (bad, said) in [
        (options.replace(&format!("--delay {DELAY}"), "--delay 60"), "the delay is 60 seconds"),
        (format!("{options} --approver {}", keys.owner.address()), "is owner and approver"),
        (options.replace("1ether", "99999999999999ether"), "--per-call is too much"),
        (
            format!(
                "deploy --owner {} --guardian {} --delay {DELAY}",
                keys.owner.address(),
                keys.guardian.address()
            ),
            "there is no gate",
        ),
        (format!("deploy --config {}", path(&desk.dir.join("password"))), "see --help"),
    ] {
        desk.refuses("stranger", &bad, &[said]).await;
    }

    let registry = desk.world.deployment.policy_registry;
    let said = ["is no account of the factory"];
    refuses(&mut desk.command(&format!("show --account {registry}")), &said).await;
    desk.account = account;
    let shown = desk.show().await;
    assert_eq!(shown["roles"][keys.guardian.address().to_string().to_lowercase()], "guardian");
    assert_eq!(shown["roles"].as_object().unwrap().len(), 5);
    assert_eq!(shown["limits"][0]["perCall"], PER_CALL.to_string());
    assert_eq!([&shown["frozen"], &shown["policy"]], [&json!(false), &Value::Null]);
    assert_eq!((&shown["delay"], &shown["nextEvent"]), (&json!(DELAY), &json!(1)));
    let text = run(&mut desk.command("show")).await.exits(0).stdout;
    assert!(text.contains("no policy is active") && text.contains("nothing is pending"), "{text}");
}

/// A payment through the three gates.
async fn passing(desk: &Desk<'_>) {
    desk.refuses("agent", &desk.propose(), &["no verdict given", "--dry-run"]).await;
    let propose = format!("{} {}", desk.propose(), desk.signing_as("signer"));
    // A stranger has no grant, and nobody signs with a key that is not the verdict signer's.
    desk.refuses("stranger", &propose, &["MCPAgentRegistry_NotGranted", "agent grant"]).await;
    let forged = format!("{} {}", desk.propose(), desk.signing_as("stranger"));
    desk.refuses("agent", &forged, &["PolicyRegistry_BadVerdict", "ask it for a verdict"]).await;

    // Two principals published the policy together: it counts at once.
    let policy = desk.show().await["policy"].clone();
    assert_eq!((&policy["version"], &policy["countsFrom"]), (&json!(1), &policy["recordedAt"]));

    let proposed = desk.json("agent", &propose).await;
    let id = proposed["proposal"].as_str().unwrap();
    let shown =
        run(&mut desk.command(&format!("show --proposal {id} --json"))).await.exits(0).json();
    assert_eq!(shown["stage"], "proposed");
    assert_eq!(shown["calls"], proposed["calls"]);
    let text = run(&mut desk.command("show")).await.exits(0).stdout;
    assert!(text.contains(&format!("proposal {id}: proposed")), "{text}");

    let (approve, authorise, execute) =
        (format!("approve {id}"), format!("authorise {id}"), format!("execute {id}"));
    desk.refuses("executor", &approve, &["SmartAccount_WrongRole", "role executor", "show"]).await;
    desk.refuses("stranger", &approve, &["SmartAccount_WrongRole", "role none"]).await;
    desk.refuses("authoriser", &authorise, &["SmartAccount_WrongStage", "stage proposed"]).await;
    let nothing = B256::repeat_byte(1);
    let unknown = format!("approve {nothing}");
    desk.refuses("approver", &unknown, &["SmartAccount_WrongStage", "stage unknown"]).await;
    desk.refuses("executor", &format!("execute {nothing}"), &["has no proposal"]).await;

    assert_eq!(desk.json("approver", &approve).await["stage"], "approved");
    desk.refuses("executor", &execute, &["SmartAccount_WrongStage", "stage approved"]).await;
    assert_eq!(desk.json("authoriser", &authorise).await["stage"], "authorised");
    desk.refuses("authoriser", &execute, &["SmartAccount_WrongRole", "role authoriser"]).await;
    let other = json!([{ "target": payee(), "value": "1", "callData": "0x" }]);
    let other = desk.file("other.json", other.to_string());
    let with_other = format!("{execute} --calls {}", path(&other));
    desk.refuses("executor", &with_other, &["these are not the calls of proposal"]).await;

    let before = desk.world.balance(payee()).await;
    assert_eq!(desk.json("executor", &execute).await["calls"], proposed["calls"]);
    assert_eq!(desk.world.balance(payee()).await, before + U256::from(5 * ETHER));
    desk.refuses("executor", &execute, &["SmartAccount_WrongStage", "stage closed"]).await;
}

/// The verdict signer signs what `--dry-run` prints, wherever it is.
async fn with_a_verdict_from_elsewhere(desk: &Desk<'_>, tenant: &Tenant<'_>) {
    let calls = json!([{ "target": payee(), "value": "7", "callData": "0x" }]);
    let calls = desk.file("calls.json", calls.to_string());
    let propose = format!("propose --capability {PAY} --calls {}", path(&calls));
    let wanted = desk.json("agent", &format!("{propose} --dry-run")).await;
    let verdict: PolicyVerdict = serde_json::from_value(wanted["verdict"].clone()).unwrap();
    let typed: alloy::dyn_abi::TypedData =
        serde_json::from_value(wanted["typedData"].clone()).unwrap();
    let digest = typed.eip712_signing_hash().unwrap();
    let signature = tenant.keys.signer.sign_hash_sync(&digest).unwrap().as_bytes().into();
    let signed = SignedVerdict { verdict, signature };
    let file = desk.file("verdict.json", serde_json::to_string(&signed).unwrap());

    let other =
        format!("propose --capability {PAY} --to {} --value 8 --verdict {}", payee(), path(&file));
    desk.refuses("agent", &other, &["PolicyRegistry_BadVerdict", "exactly these calls"]).await;
    let own = format!("{propose} --verdict {}", path(&file));
    desk.refuses("stranger", &own, &["SmartAccount_ForeignNonce"]).await;
    let id = desk.json("agent", &own).await["proposal"].as_str().unwrap().to_string();
    desk.refuses("agent", &own, &["SmartAccount_WrongNonce", "next nonce"]).await;

    desk.json("approver", &format!("approve {id}")).await;
    desk.json("authoriser", &format!("authorise {id}")).await;
    let before = desk.world.balance(payee()).await;
    desk.json("executor", &format!("execute {id} --calls {}", path(&calls))).await;
    assert_eq!(desk.world.balance(payee()).await, before + U256::from(7));
}

async fn vetoing_and_freezing(desk: &Desk<'_>, tenant: &Tenant<'_>) {
    let data = SmartAccount::setDelayCall { delay: U24::from(3_600) }.abi_encode().into();
    let schedule = SmartAccount::scheduleCall { target: desk.account, data }.abi_encode();
    tenant.send(&tenant.keys.owner, schedule).await;
    let pending = desk.show().await["pending"][0].clone();
    assert_eq!((&pending["id"], &pending["function"]), (&json!(1), &json!("setDelay")));

    desk.refuses("owner", "veto 1", &["SmartAccount_WrongRole", "role owner"]).await;
    desk.refuses("guardian", "veto 2", &["SmartAccount_NotScheduled(id 2)", "show"]).await;
    assert_eq!(desk.json("guardian", "veto 1").await["vetoed"], 1);
    assert_eq!(desk.show().await["pending"], json!([]));
    desk.refuses("guardian", "veto 1", &["SmartAccount_NotScheduled(id 1)"]).await;
    // Vetoed is vetoed, however long one waits.
    desk.world.wait(u64::from(DELAY) + 1).await;
    let (id, target) = (1, desk.account);
    let data = SmartAccount::setDelayCall { delay: U24::from(3_600) }.abi_encode().into();
    let apply = SmartAccount::applyScheduledCall { id, target, data }.abi_encode();
    let sender = desk.world.sender(&tenant.keys.owner).await;
    let error = sender.send(desk.account, apply.into()).await.unwrap_err().to_string();
    assert!(error.contains("SmartAccount_NotScheduled(id 1)"), "{error}");

    desk.refuses("stranger", "freeze", &["SmartAccount_WrongRole"]).await;
    desk.json("executor", "freeze").await;
    assert_eq!(desk.show().await["frozen"], true);
    let propose = format!("{} {}", desk.propose(), desk.signing_as("signer"));
    desk.refuses("agent", &propose, &["SmartAccount_Frozen", "unfreeze it together"]).await;
}

/// Keys that are not taken, whoever they belong to.
async fn keys_that_are_refused(desk: &Desk<'_>, tenant: &Tenant<'_>) {
    refuses(&mut desk.command("freeze"), &["--keystore"]).await;
    let wrong = desk.file("wrong", "battery staple\n");
    let mut freeze = desk.command("freeze --keystore");
    freeze.arg(desk.dir.join("owner")).arg("--password-file").arg(wrong);
    refuses(&mut freeze, &["cannot open the keystore"]).await;

    let secret = hex::encode(tenant.keys.owner.to_bytes());
    let freeze = format!("freeze --private-key {secret}");
    run(&mut desk.command(&freeze)).await.exits(0);
    // The same node with the id of another chain.
    let provider = desk.world.chain.provider();
    provider.raw_request::<_, ()>("anvil_setChainId".into(), (8_453,)).await.unwrap();
    let said = ["--private-key is refused on chain 8453", "--keystore"];
    let outcome = refuses(&mut desk.command(&freeze), &said).await;
    assert!(!outcome.stderr.contains(&secret), "{}", outcome.stderr);
    let mut elsewhere = desk.by("owner", "freeze --chain-id 31337");
    refuses(&mut elsewhere, &["serves chain 8453, not chain 31337"]).await;
}
