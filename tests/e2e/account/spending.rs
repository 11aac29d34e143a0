//! What agents spent, day by day, as the mirror has it of accounts that the EntryPoint acted on.

use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U104},
    providers::Provider,
    sol_types::SolCall,
};
use cofferdam_contracts::{
    MCPAgentRegistry, SmartAccount,
    account::{Call, Outcome, capability},
};
use cofferdam_devnet::TestDatabase;
use cofferdam_indexer::{Endpoints, Indexer};
use cofferdam_store::{DAY, DatabaseUrl, Mirror, Reader, migrate};
use serde_json::{Value, json};

use super::world::{ETHER, GAS, Tenant, World, payee};
use crate::{
    faults::rpc::{Fault, Rpc},
    support::{program, run},
};

/// What the agent may do with the token.
const PAY_TOKEN: &str = "payments.token";

const TOKEN: Address = Address::repeat_byte(0x70);

/// Answers 1 to whatever it is asked: a transfer that went well, and a balance that never falls.
const ALWAYS_ONE: &str = "0x60015f5260205ff3";

/// `transfer(address,uint256)`.
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];

impl World {
    async fn mine(&self, blocks: u64) {
        let blocks = json!([U256::from(blocks)]);
        let _: Value =
            self.chain.provider().raw_request("anvil_mine".into(), blocks).await.unwrap();
    }
}

impl Tenant<'_> {
    /// Has a token limited, and the agent allowed to spend it.
    async fn list_token(&self) {
        let limit = SmartAccount::setLimitCall {
            token: TOKEN,
            perCall: U104::from(100),
            perDay: U104::from(1_000),
        };
        self.together(self.account.address(), limit.abi_encode().into()).await;
        let grant = MCPAgentRegistry::grantCall {
            tenantId: self.account.tenant_id(),
            agent: self.keys.agent.address(),
            capability: capability(PAY_TOKEN),
            window: cofferdam_contracts::IMCPAgentRegistry::Window {
                notBefore: U256::from(1).to(),
                notAfter: U256::from(1_u64 << 40).to(),
            },
            limits: cofferdam_contracts::IMCPAgentRegistry::Limits {
                nativeMax: Default::default(),
                target: TOKEN,
                selector: Default::default(),
                tokenMax: U256::from(100).to(),
            },
        };
        let registry = self.world.deployment.mcp_agent_registry;
        self.together(registry, grant.abi_encode().into()).await;
    }

    /// Has the agent transfer so much of the token.
    async fn transfers(&self, amount: u64) {
        let to = payee().into_word();
        let amount = B256::from(U256::from(amount));
        let data: Bytes = [&TRANSFER[..], &to[..], &amount[..]].concat().into();
        let calls = vec![Call { target: TOKEN, value: U256::ZERO, callData: data }];
        let mut verdict = self.verdict(&calls, Outcome::Allow).await;
        verdict.capability = capability(PAY_TOKEN);
        self.handles(self.operation(calls, &self.signed(verdict))).await;
    }
}

#[tokio::test]
async fn what_agents_spent_is_mirrored_day_by_day() {
    let world = World::start().await;
    let code = json!([TOKEN, ALWAYS_ONE]);
    let provider = world.chain.provider();
    let _: Value = provider.raw_request("anvil_setCode".into(), code).await.unwrap();
    let a = Tenant::new(&world, "A").await;
    let first = world.now().await / DAY;
    a.list_token().await;
    a.handles(a.payment(ETHER / 2).await).await;
    a.transfers(7).await;
    a.transfers(8).await;
    // It is not listed any more when the day ends.
    let unlist = SmartAccount::unlistTokenCall { token: TOKEN };
    a.together(a.account.address(), unlist.abi_encode().into()).await;
    // A day of nothing, one of somebody else's alone.
    world.wait(2 * DAY).await;
    let b = Tenant::new(&world, "B").await;
    b.handles(b.payment(3).await).await;
    world.wait(DAY).await;
    a.handles(a.payment(4).await).await;
    world.wait(DAY).await;
    // What is so many blocks old is final.
    world.mine(66).await;

    let database = TestDatabase::new().await.unwrap();
    let url: DatabaseUrl = database.runtime_url.as_str().parse().unwrap();
    migrate(&database.admin_url.as_str().parse().unwrap(), &url).await.unwrap();
    let id = world.chain.chain_id();
    let mirror = Mirror::connect(&url, id).await.unwrap();
    let reader = Reader::connect(&url, id).await.unwrap();
    let endpoints = Endpoints::new(&world.chain, vec![]).unwrap();
    let indexer = Indexer::new(mirror.clone(), reader.clone(), endpoints, world.deployment, 1);
    let spent = async |of: &Tenant<'_>| {
        let tenant = of.account.tenant_id().try_into().unwrap();
        let rows = reader.tenant(tenant).await.unwrap().spending().await.unwrap();
        let spent = rows.iter().map(|row| (row.day - first, row.token, row.spent.unwrap()));
        spent.collect::<Vec<_>>()
    };
    let fee: u128 = GAS.fee().to();
    for _ in 0..2 {
        indexer.catch_up().await.unwrap();
        // An operation counts with the most that it may cost.
        let native = (0, Address::ZERO, u128::from(ETHER / 2) + 3 * fee);
        let later = (3, Address::ZERO, 4 + fee);
        assert_eq!(spent(&a).await, [native, (0, TOKEN, 15), later]);
        assert_eq!(spent(&b).await, [(2, Address::ZERO, 3 + fee)]);
        assert_eq!(mirror.state().await.unwrap().spending_day, first + 4);
        let verdict = indexer.verify(true, |_, _| {}).await.unwrap();
        assert_eq!((verdict.agree(), verdict.days), (Some(true), Some(4)), "{verdict:?}");
        // And all of it again.
        indexer.rebuild().await.unwrap();
    }

    // A node that keeps no state cannot tell, and is not taken to agree.
    let forgetful = Rpc::start(vec![world.anvil.rpc_url().clone()]).await;
    forgetful.play(|_| Some(Fault::Pruned(3)));
    world.mine(9).await;
    let mut verify = program();
    verify.args(["index", "verify", "--full"]).env("DATABASE_URL", database.runtime_url.as_str());
    verify.env("RPC_URL", forgetful.url().as_str());
    let said = run(&mut verify).await.exits(2).stdout;
    for part in ["NOT COMPARED: 2 tenants at block", "what was spent on 4 days", "CANNOT TELL"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    let found = run(verify.arg("--json")).await.exits(2).json();
    let (days, unread) = (&found["days"], &found["unreadDays"]["days"]);
    assert_eq!((&found["agree"], days, unread), (&Value::Null, &json!(0), &json!(4)), "{found}");
}
