//! Policies, published by keys and by accounts, from outside.

use alloy::{
    dyn_abi::TypedData,
    primitives::{Address, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
};
use cofferdam_contracts::deployment::Deployment;
use cofferdam_core::TenantId;
use cofferdam_devnet::Toolchain;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    ground::{DELAY, Ground, address, fund, raw, tenant},
    support::{Stack, environment, program, records, run},
};

/// The document that is published here.
const POLICY: &str = "{ \"allow\": [\"payments.send\"] }\n";

/// The options of `publish` and `sign` for a tenant, after the document.
fn terms(tenant: TenantId) -> String {
    format!("--tenant {tenant} --verdict-signer {} --not-after +90d", address("verdict signer"))
}

/// The tenant's last version and its active one, as the registry has them.
async fn versions(ground: &Ground, tenant: TenantId) -> (u64, u64) {
    let registry = ground.policies();
    let last = registry.versionOf(tenant.as_b256()).call().await.unwrap();
    (last, registry.activePolicy(tenant.as_b256()).call().await.unwrap().version)
}

#[tokio::test]
async fn a_hash_is_of_the_bytes_as_they_are() {
    let dir = crate::support::scratch();
    let path = dir.path().join("policy.json");
    for text in ["", POLICY, "{\"allow\":[\"payments.send\"]}", "\u{feff}{}\r\n"] {
        std::fs::write(&path, text).unwrap();
        let said = run(program().args(["policy", "hash"]).arg(&path)).await.exits(0).stdout;
        assert_eq!(said, format!("{}\n", keccak256(text)));
        let said = run(program().args(["policy", "hash", "--json"]).arg(&path)).await.exits(0);
        assert_eq!(said.json(), json!({ "policyHash": keccak256(text) }));
    }
}

#[tokio::test]
async fn a_key_publishes_and_revokes_and_all_versions_are_shown() {
    let ground = Ground::start().await;
    ground.fund(&["acme"]).await;
    let (acme, file) = (tenant("acme"), ground.file("policy.json", POLICY));
    let show = format!("policy show --tenant {acme}");
    let none = ground.reads(&show).await;
    assert_eq!((&none["versions"], &none["activeVersion"]), (&json!([]), &Value::Null));

    let done = ground.json("acme", &format!("policy publish {file} {}", terms(acme))).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(1), &json!("direct")]);
    let active = ground.policies().activePolicy(acme.as_b256()).call().await.unwrap();
    assert_eq!(active.record.policyHash, keccak256(POLICY));
    assert_eq!(active.record.verdictSigner, address("verdict signer"));
    let window = active.record.notAfter.to::<u64>() - active.record.notBefore.to::<u64>();
    assert_eq!(window, 90 * 86_400);

    let later = format!("policy publish {file} {} --not-before +1d", terms(acme));
    ground.json("acme", &later).await;
    assert_eq!(ground.reads(&show).await["state"], "early");
    ground.wait(86_400).await;
    let shown = ground.reads(&show).await;
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["versions"][0]["state"], "replaced");
    assert_eq!(shown["versions"][0]["policy"]["policyHash"], json!(keccak256(POLICY)));
    ground.wait(90 * 86_400).await;
    assert_eq!(ground.reads(&show).await["state"], "expired");

    let done = ground.json("acme", &format!("policy revoke --tenant {acme}")).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(3), &json!("direct")]);
    assert_eq!(versions(&ground, acme).await, (3, 0));
    let shown = ground.reads(&show).await;
    assert_eq!(shown["activeVersion"], Value::Null);
    let states = shown["versions"].as_array().unwrap().iter().map(|version| &version["state"]);
    assert_eq!(states.collect::<Vec<_>>(), ["replaced", "revoked", "revocation"]);
}

#[tokio::test]
async fn an_account_publishes_with_two_keys_at_once_and_with_one_after_its_delay() {
    let ground = Ground::start().await;
    let acme = ground.account("acme").await;
    let file = ground.file("policy.json", POLICY);
    let publish = format!("policy publish {file} {}", terms(acme));
    let with = |cosigner: &str| format!("{publish} --cosigner-private-key {}", raw(cosigner));

    let done = ground.json("acme owner", &with("acme approver")).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(1), &json!("together")]);
    let done = ground.json("acme authoriser", &with("acme owner")).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(2), &json!("together")]);
    assert_eq!(versions(&ground, acme).await, (2, 2));

    let done = ground.json("acme approver", &publish).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(3), &json!("recorded")]);
    let recorded = ground.policies().policyAt(acme.as_b256(), 3).call().await.unwrap();
    assert_eq!(done["recordedAt"], json!(recorded.recordedAt.to::<u64>()));
    assert_eq!(done["countsFrom"], json!(recorded.recordedAt.to::<u64>() + DELAY));

    // Who may not, and what is said to them.
    ground.fund(&["stranger"]).await;
    let guardian = ["guardian", "owner or of a gate"];
    ground.refuses("acme guardian", &publish, &guardian).await;
    ground.refuses("acme owner", &with("acme guardian"), &guardian).await;
    ground.refuses("stranger", &publish, &["has no role in account"]).await;
    ground.refuses("acme owner", &with("stranger"), &["has no role in account"]).await;
    let pair = ["together act its owner and a gate"];
    ground.refuses("acme approver", &with("acme authoriser"), &pair).await;
    ground.refuses("acme owner", &with("acme owner"), &pair).await;
    let agent = publish
        .replace(&address("verdict signer").to_string(), &address("acme guardian").to_string());
    ground.refuses("acme owner", &agent, &["SmartAccount_BadChange", "nothing was sent"]).await;
    assert_eq!(versions(&ground, acme).await, (3, 3));

    // Narrowing takes one key, and not any.
    let revoke = format!("policy revoke --tenant {acme}");
    ground.refuses("acme approver", &revoke, &["is approver of", "owner or its guardian"]).await;
    let done = ground.json("acme guardian", &revoke).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(4), &json!("narrowed")]);
    assert_eq!(versions(&ground, acme).await, (4, 0));
}

#[tokio::test]
async fn a_signature_is_good_for_one_tenant_chain_version_and_time() {
    let ground = Ground::start().await;
    ground.fund(&["payer", "acme", "globex"]).await;
    let (acme, file) = (tenant("acme"), ground.file("policy.json", POLICY));
    let signed = ground.path("signed.json");
    let sign = format!("policy sign {file} {} --out {signed}", terms(acme));
    let done = ground.json("acme", &sign).await;
    assert_eq!(done["complete"], true);
    let policy: Value = serde_json::from_str(&std::fs::read_to_string(&signed).unwrap()).unwrap();
    let signature = policy["signature"].as_str().unwrap();
    let message = &policy["typedData"]["message"];
    let time = |name: &str| u64::from_str_radix(&message[name].as_str().unwrap()[2..], 16).unwrap();
    let relay = |tenant: TenantId, version: u64, signature: &str| {
        format!(
            "policy publish {file} --tenant {tenant} --verdict-signer {} --not-before {} \
             --not-after {} --version {version} --deadline {} --signature {signature}",
            address("verdict signer"),
            time("notBefore"),
            time("notAfter"),
            message["deadline"],
        )
    };
    let bad = ["PolicyRegistry_BadSignature", "nothing was sent"];
    ground.refuses("payer", &relay(tenant("globex"), 1, signature), &bad).await;
    ground.refuses("payer", &relay(acme, 2, signature), &["PolicyRegistry_WrongVersion"]).await;
    let tampered = relay(acme, 1, signature).replace("--not-after ", "--not-after 1");
    ground.refuses("payer", &tampered, &bad).await;

    // Signed for Base, without a network: refused here, and by the contract too.
    let keystore = keystore(&ground, "acme").await;
    let abroad = ground.path("abroad.json");
    let mut offline = program();
    offline.args(format!("policy sign {file} --out {abroad} --chain-id 8453").split(' '));
    offline.args(terms(acme).replace("+90d", &time("notAfter").to_string()).split(' '));
    offline.args(["--version", "1", "--not-before", &time("notBefore").to_string()]);
    offline.args(["--deadline", &message["deadline"].to_string()]).args(keystore.split(' '));
    run(&mut offline).await.exits(0);
    let publish = |file: &str| format!("policy publish --signed {file}");
    ground.refuses("payer", &publish(&abroad), &["chain 8453", "chain 31337"]).await;
    let foreign: Value = serde_json::from_str(&std::fs::read_to_string(&abroad).unwrap()).unwrap();
    assert_eq!(foreign["typedData"]["message"], *message);
    let foreign = foreign["signature"].as_str().unwrap();
    ground.refuses("payer", &relay(acme, 1, foreign), &bad).await;

    // A file that was changed is found out before anything is asked.
    let changed = policy.to_string().replace(
        message["verdictSigner"].as_str().unwrap(),
        &address("mallory").to_string().to_lowercase(),
    );
    let changed = ground.file("changed.json", changed);
    ground.refuses("payer", &publish(&changed), &["is no signed policy"]).await;

    // Whoever pays, it is the tenant that publishes.
    let done = ground.json("payer", &publish(&signed)).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(1), &json!("relayed")]);
    assert_eq!(versions(&ground, acme).await, (1, 1));
    ground.refuses("payer", &publish(&signed), &["PolicyRegistry_WrongVersion"]).await;

    // Nobody posts it in time.
    let late = ground.path("late.json");
    let sign = format!("policy sign {file} {} --deadline +1h --out {late}", terms(acme));
    ground.json("acme", &sign).await;
    ground.wait(3_601).await;
    ground.refuses("payer", &publish(&late), &["PolicyRegistry_Expired"]).await;
    // A direct revocation consumes the version that a signature was made for.
    ground.json("acme", &format!("policy sign {file} {} --out {late}", terms(acme))).await;
    ground.json("acme", &format!("policy revoke --tenant {acme}")).await;
    ground.refuses("payer", &publish(&late), &["PolicyRegistry_WrongVersion"]).await;
    assert_eq!(versions(&ground, acme).await, (2, 0));
    assert_eq!(versions(&ground, tenant("globex")).await, (0, 0));
}

#[tokio::test]
async fn two_principals_sign_one_after_the_other_without_a_network() {
    let ground = Ground::start().await;
    ground.fund(&["payer"]).await;
    let acme = ground.account("acme").await;
    // The same people hold another account.
    let holder = |role: &str| address(&format!("acme {role}"));
    let twin = ground
        .create(&cofferdam_contracts::account::Configuration {
            owner: holder("owner"),
            guardian: holder("guardian"),
            approvers: vec![holder("approver")],
            authorisers: vec![holder("authoriser")],
            executors: vec![],
            delay: DELAY as u32,
            native_per_call: Default::default(),
            native_per_day: Default::default(),
            salt: keccak256("another"),
        })
        .await;
    let file = ground.file("policy.json", POLICY);
    let (once, twice) = (ground.path("once.json"), ground.path("twice.json"));
    let offline = |signer: &str, command: &str| {
        let mut program = program();
        program.args(command.split(' ')).args(["--private-key", &raw(signer)]);
        program
    };
    let first =
        format!("policy sign {file} {} --chain-id 31337 --version 1 --out {once}", terms(acme));
    let said = run(offline("acme owner", &first).arg("--json")).await.exits(0).json();
    assert_eq!((&said["complete"], &said["signers"]), (&json!(false), &json!([holder("owner")])));
    let publish = |file: &str| format!("policy publish --signed {file}");
    ground.refuses("payer", &publish(&once), &["1 of the signatures", "another principal"]).await;

    let second = format!("policy sign {file} --signed {once} --out {twice}");
    let again = run(&mut offline("acme owner", &second)).await;
    again.fails_saying(1, &["has signed this already"]);
    let other = ground.file("other.json", "{}");
    let mut compared = offline("acme approver", &second.replace(&file, &other));
    run(&mut compared).await.fails_saying(1, &["is of another document"]);
    // With a network the roles are looked at.
    ground.refuses("acme guardian", &second, &["is the guardian"]).await;
    ground.refuses("payer", &second, &["has no role in account"]).await;
    let said = run(offline("acme approver", &second).arg("--json")).await.exits(0).json();
    assert_eq!(said["complete"], true);
    let third = format!("policy sign --signed {twice}");
    run(&mut offline("acme authoriser", &third)).await.fails_saying(1, &["all its signatures"]);

    // For the twin it is worth nothing, though the same keys are its principals.
    let policy: Value = serde_json::from_str(&std::fs::read_to_string(&twice).unwrap()).unwrap();
    let message = &policy["typedData"]["message"]["contents"];
    let time = |name: &str| u64::from_str_radix(&message[name].as_str().unwrap()[2..], 16).unwrap();
    let relay = |tenant: TenantId| {
        format!(
            "policy publish {file} --tenant {tenant} --verdict-signer {} --not-before {} \
             --not-after {} --deadline {} --signature {}",
            address("verdict signer"),
            time("notBefore"),
            time("notAfter"),
            message["deadline"],
            policy["signature"].as_str().unwrap(),
        )
    };
    ground.refuses("payer", &relay(twin), &["PolicyRegistry_BadSignature"]).await;
    let done = ground.json("payer", &publish(&twice)).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(1), &json!("relayed")]);
    assert_eq!(versions(&ground, acme).await, (1, 1));
    assert_eq!(versions(&ground, twin).await, (0, 0));

    // Both at once.
    let both = format!(
        "policy sign {file} {} --out {twice} --cosigner-private-key {}",
        terms(acme),
        raw("acme authoriser")
    );
    assert_eq!(ground.json("acme owner", &both).await["complete"], true);
    assert_eq!(ground.json("payer", &publish(&twice)).await["version"], 2);
}

#[tokio::test]
async fn a_key_that_is_not_here_and_a_wallet_are_told_what_to_sign() {
    let ground = Ground::start().await;
    ground.fund(&["payer"]).await;
    let file = ground.file("policy.json", POLICY);
    let acme = tenant("acme");
    let publish = format!("policy publish {file} {}", terms(acme));
    let said = [
        "nothing was sent",
        "not 0x",
        "cast send",
        "cast wallet sign --data",
        "--signature SIGNATURE",
    ];
    ground.refuses("payer", &publish, &said).await;
    let outcome = run(ground.cofferdam("payer", &publish).arg("--json")).await.exits(1).json();
    assert_eq!(outcome["done"], false);
    let data: TypedData = serde_json::from_value(outcome["needed"]["typedData"].clone()).unwrap();
    let digest = data.eip712_signing_hash().unwrap();
    let signature = crate::ground::key("acme").sign_hash_sync(&digest).unwrap();

    // The command that it prints, with that signature, does it.
    let text = run(&mut ground.cofferdam("payer", &publish)).await.exits(1).stdout;
    let relay = text.lines().last().unwrap().trim().strip_prefix("cofferdam ").unwrap();
    // As a shell would.
    let relay = relay.replace('\'', "");
    let signed: TypedData = serde_json::from_str(
        text.lines()
            .find_map(|line| line.trim().strip_prefix("cast wallet sign --data '"))
            .unwrap()
            .strip_suffix('\'')
            .unwrap(),
    )
    .unwrap();
    let own =
        crate::ground::key("acme").sign_hash_sync(&signed.eip712_signing_hash().unwrap()).unwrap();
    let hex = |bytes: [u8; 65]| alloy::primitives::Bytes::from(bytes).to_string();
    if signed != data {
        // Another block, another second.
        let other = relay.replace("SIGNATURE", &hex(signature.as_bytes()));
        ground.refuses("payer", &other, &["PolicyRegistry_BadSignature"]).await;
    }
    let done = ground.json("payer", &relay.replace("SIGNATURE", &hex(own.as_bytes()))).await;
    assert_eq!([&done["version"], &done["way"]], [&json!(1), &json!("relayed")]);
    assert_eq!(versions(&ground, acme).await, (1, 1));

    // Code that is no account of ours: no key is needed to be told.
    let wallet = TenantId::from_authority(Deployment::default().audit_anchor).unwrap();
    let mut command = ground.keyless(&format!("policy publish {file} {}", terms(wallet)));
    run(&mut command).await.fails_saying(1, &["a wallet of a kind that is not known", "cast send"]);
    let cosigned = format!("{publish} --cosigner-private-key {}", raw("acme owner"));
    ground.refuses("acme", &cosigned, &["is for a SmartAccount"]).await;
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_what_to_do() {
    let ground = Ground::start().await;
    ground.fund(&["acme"]).await;
    let (acme, file) = (tenant("acme"), ground.file("policy.json", POLICY));
    let publish = format!("policy publish {file} {}", terms(acme));
    let id = acme.to_string();
    for (command, said) in [
        (publish.replace(&file, "/nowhere/policy.json"), "cannot read the policy's document"),
        (publish.replace(&id, "0x1234"), "neither a tenant's id nor its authority's address"),
        (publish.replace(&id, &"0x".to_string().to_owned()), "neither a tenant's id"),
        (publish.replace(&id, "acme"), "pass --database-url"),
        (publish.replace(&id, &Address::ZERO.to_string()), "zero tenant id"),
        (publish.replace("+90d", "1"), "PolicyRegistry_BadWindow"),
        (publish.replace("+90d", "281474976710656"), "later than a window can end"),
        (format!("{publish} --version 7"), "PolicyRegistry_WrongVersion"),
        (format!("{publish} --chain-id 8453"), "serves chain 31337, not chain 8453"),
        ("policy publish --signed /nowhere.json".into(), "cannot read the signed policy"),
        (format!("policy publish --signed {file}"), "make one with `cofferdam policy sign`"),
        (format!("policy sign {file} {} --out /nowhere/signed.json", terms(acme)), "cannot write"),
    ] {
        ground.refuses("acme", &command, &[said]).await;
    }
    // What the command line itself cannot be.
    for (command, said) in [
        (publish.replace("0x", "0y"), "--verdict-signer"),
        (publish.replace("+90d", "soon"), "RFC 3339"),
        (format!("{publish} --signature 0x12"), "--deadline"),
        (format!("{publish} --signature 0xzz --deadline +1h"), "--signature"),
        (format!("{publish} --signed {file}"), "cannot be used with"),
        ("policy publish".into(), "--verdict-signer"),
    ] {
        run(&mut ground.cofferdam("acme", &command)).await.fails_saying(2, &[said]);
    }
    // A raw key is for this chain only, and no message quotes one.
    let offline = format!("policy sign {file} {} --version 1 --chain-id 8453", terms(acme));
    for option in ["--private-key", "--cosigner-private-key"] {
        let mut command = program();
        command.args(offline.split(' ')).args([option, &raw("acme")]);
        if option.starts_with("--cosigner") {
            command.args(keystore(&ground, "acme").await.split(' '));
        }
        let said = [option, "refused on chain 8453", "cast wallet import"];
        let outcome = run(&mut command).await.fails_saying(1, &said);
        assert!(!outcome.stderr.contains(&raw("acme")[2..]), "{}", outcome.stderr);
    }
    let said = ["no key was given (--keystore)", "cast send"];
    run(&mut ground.keyless(&publish)).await.fails_saying(1, &said);
    let mut offline = program();
    offline.args(format!("policy sign {file} {}", terms(acme)).split(' '));
    run(&mut offline).await.fails_saying(1, &["--rpc-url, or --chain-id and --version"]);
    assert_eq!(versions(&ground, acme).await, (0, 0));
}

#[tokio::test]
async fn a_devnets_tenant_is_known_by_its_name_and_its_people_publish() {
    let stack = Stack::with(&records("acme", 0..1)).await;
    let file = stack.file("policy.json", POLICY);
    let authority = stack.tenant("acme").await.authority();
    let keys = stack.data().join("keys").join(format!("{authority:#x}"));
    let key = |role: &str| keys.join(format!("{role}.json")).display().to_string();
    let password = environment(&stack.data())["COFFERDAM_PASSWORD_FILE"].clone();
    // They send from their own keys, and these have nothing to pay gas with.
    for role in ["owner", "guardian"] {
        let opened = PrivateKeySigner::decrypt_keystore(key(role), password_of(&password)).unwrap();
        fund(&stack.chain().await, opened.address()).await;
    }
    let publish = format!(
        "policy publish {} --tenant acme --verdict-signer {} --not-after +90d --keystore {}",
        file.display(),
        address("verdict signer"),
        key("owner")
    );
    let cosigned = format!(
        "{publish} --cosigner-keystore {} --cosigner-password-file {password}",
        key("approver")
    );
    let done = stack.json(&cosigned).await;
    assert_eq!((&done["way"], &done["version"]), (&json!("together"), &json!(1)));
    let passwordless = format!("{publish} --cosigner-keystore {}", key("approver"));
    let mut passwordless = stack.cofferdam(&passwordless);
    run(&mut passwordless).await.fails_saying(1, &["pass --cosigner-password-file"]);

    for name in ["acme".to_string(), authority.to_string(), authority.into_word().to_string()] {
        let shown = stack.json(&format!("policy show --tenant {name}")).await;
        assert_eq!((&shown["tenantId"], &shown["state"]), (&done["tenantId"], &json!("active")));
    }
    let revoke = format!("policy revoke --tenant acme --keystore {}", key("guardian"));
    assert_eq!(stack.json(&revoke).await["way"], "narrowed");
    let mut unknown = stack.cofferdam("policy show --tenant globex");
    run(&mut unknown).await.fails_saying(1, &["no tenant \"globex\"", "cofferdam tenant list"]);
}

/// The password that a file holds.
fn password_of(file: &str) -> String {
    std::fs::read_to_string(file).unwrap().trim().into()
}

/// A keystore that `cast wallet` makes of a key, as the options that name it.
async fn keystore(ground: &Ground, name: &str) -> String {
    let cast = Toolchain::find().foundry("cast").unwrap();
    let folder = ground.path("");
    let mut import = Command::new(cast);
    import.args(["wallet", "import", "--keystore-dir", &folder, name, "--private-key", &raw(name)]);
    import.args(["--unsafe-password", "correct horse"]).kill_on_drop(true);
    if !std::path::Path::new(&ground.path(name)).exists() {
        run(&mut import).await.exits(0);
    }
    let password = ground.file("password", "correct horse\n");
    format!("--keystore {} --password-file {password}", ground.path(name))
}
