//! Agents' grants, made by keys and by accounts, from outside.

use alloy::primitives::{U256, keccak256};
use cofferdam_core::TenantId;
use serde_json::{Value, json};

use crate::{
    ground::{DELAY, Ground, address, raw, tenant},
    support::{program, run},
};

/// What is granted here.
const CAPABILITY: &str = "payments.send";

/// The options that say which grant is meant.
fn scope(tenant: TenantId) -> String {
    format!("--tenant {tenant} --agent {} --capability {CAPABILITY}", address("clerk"))
}

/// What the registry says of the grant.
async fn is_scoped(ground: &Ground, tenant: TenantId) -> bool {
    let capability = keccak256(CAPABILITY);
    ground.agents().isScoped(tenant.as_b256(), address("clerk"), capability).call().await.unwrap()
}

/// The tenant's grants as `agent list` has them.
async fn list(ground: &Ground, tenant: TenantId) -> Vec<Value> {
    let command = format!("agent list --tenant {tenant} --capability {CAPABILITY}");
    ground.reads(&command).await["grants"].as_array().unwrap().clone()
}

/// The state of the tenant's only grant.
async fn state(ground: &Ground, tenant: TenantId) -> String {
    let grants = list(ground, tenant).await;
    assert_eq!(grants.len(), 1, "{grants:?}");
    assert_eq!(grants[0]["isScoped"], is_scoped(ground, tenant).await);
    grants[0]["state"].as_str().unwrap().into()
}

#[tokio::test]
async fn a_list_follows_what_is_granted_extended_revoked_and_forfeited() {
    let ground = Ground::start().await;
    ground.fund(&["acme", "clerk", "globex"]).await;
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    assert_eq!(list(&ground, acme).await, Vec::<Value>::new());

    let grant = format!("agent grant {} --not-after +30d --native-max 0.01ether", scope(acme));
    let done = ground.json("acme", &grant).await;
    assert_eq!((&done["way"], &done["done"]), (&json!("direct"), &json!(true)));
    assert_eq!(state(&ground, acme).await, "scoped");
    let first = list(&ground, acme).await.remove(0);
    assert_eq!(first["capability"], json!(keccak256(CAPABILITY)));
    assert_eq!((&first["name"], &first["agent"]), (&json!(CAPABILITY), &json!(address("clerk"))));
    assert_eq!(first["scope"]["nativeMax"], "10000000000000000");
    // Another tenant's grants are its own.
    assert_eq!(list(&ground, globex).await, Vec::<Value>::new());

    ground.wait(31 * 86_400).await;
    assert_eq!(state(&ground, acme).await, "expired");
    ground.json("acme", &format!("agent extend {} --not-after +1d", scope(acme))).await;
    assert_eq!(state(&ground, acme).await, "scoped");
    let extended = list(&ground, acme).await.remove(0);
    assert!(extended["notAfter"].as_u64() > first["notAfter"].as_u64(), "{extended}");

    let revoke = format!("agent revoke {}", scope(acme));
    ground.json("acme", &revoke).await;
    assert_eq!(state(&ground, acme).await, "revoked");
    let gone = format!("agent extend {} --not-after +1d", scope(acme));
    ground.refuses("acme", &gone, &["MCPAgentRegistry_NotGranted", "nothing was sent"]).await;
    ground.json("acme", &format!("{grant} --not-before +1h")).await;
    assert_eq!(state(&ground, acme).await, "early");
    let forfeit = format!("agent revoke --tenant {acme} --capability {CAPABILITY} --forfeit");
    ground.refuses("globex", &forfeit, &["MCPAgentRegistry_NotGranted"]).await;
    let other = format!("{forfeit} --agent {}", address("acme"));
    ground.refuses("clerk", &other, &["which alone can forfeit"]).await;
    ground.json("clerk", &forfeit).await;
    assert_eq!(state(&ground, acme).await, "forfeited");

    // A token, one function, and everything of the agent taken back.
    let token = address("token");
    for (limits, capability) in [
        (format!("--target {token} --token-max 5000000"), "payments.token"),
        (format!("--target {token} --selector settle(uint256)"), "payments.settle"),
    ] {
        let scope = scope(acme).replace(CAPABILITY, capability);
        ground.json("acme", &format!("agent grant {scope} --not-after +1d {limits}")).await;
    }
    let grants = list(&ground, acme).await;
    let live: Vec<_> = grants.iter().filter(|grant| grant["state"] == "scoped").collect();
    assert_eq!(live.len(), 2, "{grants:?}");
    let limits = |name: &str| {
        let hash = json!(keccak256(name));
        live.iter().find(|grant| grant["capability"] == hash).unwrap()["scope"].clone()
    };
    assert_eq!(limits("payments.token")["tokenMax"], "5000000");
    assert_eq!(
        limits("payments.settle")["selector"],
        json!(
            &keccak256("settle(uint256)")[..4]
                .iter()
                .fold("0x".to_string(), |hex, byte| hex + &format!("{byte:02x}"))
        )
    );
    let all = format!("agent revoke --tenant {acme} --agent {} --all", address("clerk"));
    ground.json("acme", &all).await;
    assert!(list(&ground, acme).await.iter().all(|grant| grant["isScoped"] == false));

    let text = run(&mut ground.keyless(&format!("agent list --tenant {acme}"))).await.exits(0);
    assert!(text.stdout.contains(&keccak256(CAPABILITY).to_string()), "{}", text.stdout);
}

#[tokio::test]
async fn an_account_grants_with_two_keys_at_once_and_takes_back_with_one() {
    let ground = Ground::start().await;
    ground.fund(&["stranger"]).await;
    let acme = ground.account("acme").await;
    let grant = format!("agent grant {} --not-after +30d --native-max 7", scope(acme));
    let with = |cosigner: &str| format!("{grant} --cosigner-private-key {}", raw(cosigner));

    ground.refuses("acme guardian", &grant, &["guardian", "owner or of a gate"]).await;
    ground.refuses("stranger", &grant, &["has no role in account"]).await;
    let done = ground.json("acme owner", &with("acme approver")).await;
    assert_eq!(done["way"], "together");
    assert_eq!(state(&ground, acme).await, "scoped");

    let revoke = format!("agent revoke {}", scope(acme));
    ground.refuses("acme approver", &revoke, &["is approver of", "owner or its guardian"]).await;
    assert_eq!(ground.json("acme guardian", &revoke).await["way"], "narrowed");
    assert_eq!(state(&ground, acme).await, "revoked");

    let done = ground.json("acme approver", &grant).await;
    assert_eq!(done["way"], "recorded");
    let recorded_at = done["recordedAt"].as_u64().unwrap();
    assert_eq!(done["countsFrom"], recorded_at + DELAY);
    let scope_of = list(&ground, acme).await[0]["scope"]["recordedAt"].as_u64().unwrap();
    assert_eq!(scope_of, recorded_at);
    let extend = format!("agent extend {} --not-after +60d", scope(acme));
    let together = format!("{extend} --cosigner-private-key {}", raw("acme authoriser"));
    assert_eq!(ground.json("acme owner", &together).await["way"], "together");
    assert_eq!(ground.json("acme owner", &extend.replace("60d", "61d")).await["way"], "recorded");

    let all = format!("agent revoke --tenant {acme} --agent {} --all", address("clerk"));
    assert_eq!(ground.json("acme owner", &all).await["way"], "narrowed");
    assert_eq!(state(&ground, acme).await, "revoked");
}

#[tokio::test]
async fn a_signed_grant_is_good_once_for_one_tenant_and_in_time() {
    use alloy::{dyn_abi::TypedData, signers::SignerSync};

    let ground = Ground::start().await;
    ground.fund(&["payer", "acme"]).await;
    let acme = tenant("acme");
    let grant = format!("agent grant {} --not-after +30d --native-max 7", scope(acme));
    // What the tenant, who has a key elsewhere, is asked to sign, and the command for its signature.
    let asked = async |command: &str| {
        let text = run(&mut ground.cofferdam("payer", command)).await.exits(1).stdout;
        let line = |start: &str| {
            let mut lines = text.lines().map(str::trim);
            lines.find_map(|line| line.strip_prefix(start)).unwrap().to_string()
        };
        let data = line("cast wallet sign --data '");
        let data: TypedData = serde_json::from_str(data.trim_end_matches('\'')).unwrap();
        let digest = data.eip712_signing_hash().unwrap();
        let signature = crate::ground::key("acme").sign_hash_sync(&digest).unwrap().as_bytes();
        let signature = alloy::primitives::Bytes::from(signature).to_string();
        line("cofferdam ").replace("SIGNATURE", &signature)
    };
    let signed = asked(&grant).await;
    let elsewhere = signed.replace(&acme.to_string(), &tenant("globex").to_string());
    let bad = ["MCPAgentRegistry_BadSignature", "nothing was sent"];
    ground.refuses("payer", &elsewhere, &bad).await;
    ground.refuses("payer", &signed.replace("--native-max 7", "--native-max 8"), &bad).await;
    assert_eq!(ground.json("payer", &signed).await["way"], "relayed");
    assert_eq!(state(&ground, acme).await, "scoped");
    ground.refuses("payer", &signed, &bad).await;

    // An unposted signature never brings back what was revoked since.
    let unposted = asked(&grant).await;
    ground.json("acme", &format!("agent revoke {}", scope(acme))).await;
    ground.refuses("payer", &unposted, &bad).await;
    assert_eq!(state(&ground, acme).await, "revoked");

    let late = asked(&format!("{grant} --deadline +1h")).await;
    ground.wait(3_601).await;
    ground.refuses("payer", &late, &["MCPAgentRegistry_Expired"]).await;

    // The other messages reach the registry in the same way.
    let (scope, agent) = (scope(acme), address("clerk"));
    for (command, after) in [
        (grant.clone(), "scoped"),
        (format!("agent extend {scope} --not-after +60d"), "scoped"),
        (format!("agent revoke {scope}"), "revoked"),
        (grant.clone(), "scoped"),
        (format!("agent revoke --tenant {acme} --agent {agent} --all"), "revoked"),
    ] {
        let signed = asked(&command).await;
        assert_eq!(ground.json("payer", &signed).await["way"], "relayed", "{command}");
        assert_eq!(state(&ground, acme).await, after, "{command}");
    }
}

#[tokio::test]
async fn an_agent_says_where_it_answers() {
    let ground = Ground::start().await;
    ground.fund(&["acme", "clerk"]).await;
    let acme = tenant("acme");
    ground.json("acme", &format!("agent grant {} --not-after +1d", scope(acme))).await;
    let agents = async || {
        let listed = ground.reads(&format!("agent list --tenant {acme}")).await;
        listed["agents"].as_array().unwrap().clone()
    };
    assert_eq!(agents().await, Vec::<Value>::new());

    let metadata = ground.file("agent.json", "{\"name\":\"clerk\"}");
    let describe = "agent describe --endpoint https://Clerk.example/mcp";
    ground.json("clerk", &format!("{describe}/old")).await;
    let full = format!(
        "{describe} --metadata-file {metadata} --erc8004-registry {} --erc8004-id 42",
        address("registry")
    );
    let done = ground.json("clerk", &full).await;
    let hash = json!(keccak256("{\"name\":\"clerk\"}"));
    assert_eq!((&done["agent"], &done["metadataHash"]), (&json!(address("clerk")), &hash));
    let said = agents().await;
    assert_eq!(said.len(), 1);
    // As it was given, to the letter.
    assert_eq!(said[0]["endpoint"], "https://Clerk.example/mcp");
    assert_eq!((&said[0]["metadataHash"], &said[0]["erc8004Id"]), (&hash, &json!("42")));
    let stored = ground.agents().descriptionOf(address("clerk")).call().await.unwrap();
    assert_eq!(stored.erc8004Id, U256::from(42));

    for (options, said) in [
        ("--endpoint nonsense", "give a URL"),
        ("--endpoint data:text/plain,x", "names no host"),
        ("--endpoint https://a.example --metadata-hash 0x12", "--metadata-hash"),
        ("--endpoint https://a.example --erc8004-id 1", "--erc8004-registry"),
    ] {
        let mut command = ground.cofferdam("clerk", &format!("agent describe {options}"));
        run(&mut command).await.fails_saying(2, &[said]);
    }
    let missing = format!("{describe} --metadata-file /nowhere");
    ground.refuses("clerk", &missing, &["cannot read /nowhere"]).await;
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused_with_what_to_do() {
    let ground = Ground::start().await;
    ground.fund(&["acme"]).await;
    let acme = tenant("acme");
    let grant = format!("agent grant {} --not-after +30d", scope(acme));
    let agent = address("clerk").to_string();
    for (command, said) in [
        (
            grant.replace(&agent, &format!("{:#x}", alloy::primitives::Address::ZERO)),
            "MCPAgentRegistry_NoAgent",
        ),
        (grant.replace("+30d", "1"), "MCPAgentRegistry_BadWindow"),
        (format!("{grant} --target {agent}"), "MCPAgentRegistry_BadLimits"),
        (grant.replace(&acme.to_string(), "acme"), "pass --database-url"),
        (grant.clone() + " --chain-id 1", "serves chain 31337, not chain 1"),
    ] {
        ground.refuses("acme", &command, &[said]).await;
    }
    for (command, said) in [
        (grant.replace(&agent, "0x12"), "--agent"),
        (format!("{grant} --native-max 1ethre"), "0.01ether"),
        (format!("{grant} --native-max 2000000ether"), "more than a grant can hold"),
        (format!("{grant} --token-max 5"), "--target"),
        (format!("{grant} --target {agent} --selector settle"), "pay(address,uint256)"),
        (format!("agent revoke --tenant {acme} --agent {agent}"), "--all"),
        (format!("agent revoke --tenant {acme} --capability x"), "--agent"),
    ] {
        run(&mut ground.cofferdam("acme", &command)).await.fails_saying(2, &[said]);
    }
    // Both keys of a pair are refused raw elsewhere; here there is nothing to be had by it.
    let cosigned = format!("{grant} --cosigner-private-key {}", raw("acme owner"));
    ground.refuses("acme", &cosigned, &["is for a SmartAccount"]).await;
    let mut nowhere = program();
    nowhere.args(grant.split(' ')).args(["--private-key", &raw("acme")]);
    run(&mut nowhere).await.fails_saying(1, &["pass --rpc-url or set RPC_URL"]);
    assert!(!is_scoped(&ground, acme).await);
    assert_eq!(list(&ground, acme).await, Vec::<Value>::new());
}
