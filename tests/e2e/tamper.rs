//! What was changed in the database behind everybody's back is found and named, and holds up nobody
//! else.

use cofferdam_core::BatchIndex;
use cofferdam_store::{Kept, flip_kept};

use crate::support::{CHAIN_ID, Stack, records, run};

#[tokio::test]
async fn a_changed_entry_is_named_until_it_is_changed_back() {
    let input = records("acme", 0..7) + &records("globex", 0..4);
    let stack = Stack::with(&input).await;
    run(&mut stack.cofferdam("verify")).await.exits(0);

    let change = stack.json("devnet tamper --tenant acme --seq 5").await;
    assert_ne!(change["before"], change["after"]);
    let id = stack.tenant("acme").await.to_string();
    let said = ["tenant acme", &id, "entry 5", "acme-00005", "INVALID"];
    run(&mut stack.cofferdam("verify")).await.fails_saying(1, &said);
    let verdict = run(&mut stack.cofferdam("verify --json")).await.exits(1).json();
    assert_eq!(verdict["valid"], false);
    // The one entry, and none beside it.
    assert_eq!([&verdict["entries"], &verdict["verified"], &verdict["failed"]], [11, 10, 1]);
    assert_eq!(verdict["verdicts"][0]["failures"][0]["seq"], "5");
    assert_eq!(verdict["verdicts"][0]["failures"][0]["externalId"], "acme-00005");
    run(&mut stack.cofferdam("verify --tenant globex")).await.exits(0);
    run(&mut stack.cofferdam("verify --tenant acme")).await.exits(1);
    // Nor does anybody get a receipt of it.
    let mut receipt = stack.cofferdam("receipt --tenant acme --seq 5");
    run(&mut receipt).await.fails_saying(1, &["entry 5 of acme is not what was anchored"]);

    let back = stack.json("devnet tamper --tenant acme --seq 5").await;
    assert_eq!([&back["before"], &back["after"]], [&change["after"], &change["before"]]);
    run(&mut stack.cofferdam("verify")).await.exits(0);
}

#[tokio::test]
async fn a_changed_entry_that_is_not_sealed_halts_its_tenant_alone() {
    let stack = Stack::with(&(records("acme", 0..3) + &records("globex", 0..3))).await;
    stack.append(&(records("acme", 3..6) + &records("globex", 3..6))).await;
    stack.json("devnet tamper --tenant acme --seq 4").await;

    let acme = stack.tenant("acme").await;
    let round = run(&mut stack.cofferdam("anchor --once --json")).await.exits(1).json();
    assert_eq!([&round["sealed"], &round["anchored"]], [1, 1]);
    assert_eq!(round["troubled"][0]["tenantId"], acme.to_string());
    stack.json("index --once").await;

    let status = stack.json("status").await;
    let tenant = |name: &str| {
        let tenants = status["tenants"].as_array().unwrap();
        tenants.iter().find(|tenant| tenant["name"] == name).unwrap().clone()
    };
    let counts = |name: &str| {
        let tenant = tenant(name);
        ["entries", "sealed", "anchored"].map(|count| tenant[count].as_u64().unwrap())
    };
    assert_eq!(counts("acme"), [6, 3, 3]);
    assert_eq!(counts("globex"), [6, 6, 6]);
    assert!(tenant("acme")["halted"].as_str().unwrap().contains("entry 4"), "{status}");
    assert!(tenant("globex")["halted"].is_null());
    let incidents = status["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0]["tenantId"], acme.to_string());
    assert_eq!(incidents[0]["kind"], "tampered");

    // It stays so: found once, written once, and the others go on.
    stack.append(&(records("acme", 6..7) + &records("globex", 6..7))).await;
    run(&mut stack.cofferdam("anchor --once")).await.fails_saying(1, &["halted"]);
    stack.json("index --once").await;
    let after = stack.snapshot().await;
    assert_eq!(after.incidents.len(), 1);
    assert_eq!(after.named("acme").batches.len(), 1);
    assert_eq!(after.named("acme").entries.len(), 7, "appending goes on");
    assert_eq!(after.named("globex").anchored.len(), 3);
}

/// Receipts are made from tiles and nodes, so what was changed there is found where entries are.
#[tokio::test]
async fn a_changed_tile_or_node_is_named_until_it_is_changed_back() {
    // Two tiles, in the first of four batches, whose path leads over the node of the last two.
    let stack = Stack::with(&(records("acme", 0..300) + &records("globex", 0..2))).await;
    for n in 300..303 {
        stack.append(&records("acme", n..n + 1)).await;
        stack.anchor().await;
    }
    let whole = run(&mut stack.cofferdam("verify --json")).await.exits(0).json();
    assert_eq!([&whole["verified"], &whole["failed"]], [305, 0]);

    let acme = stack.tenant("acme").await;
    let flip = async |batch: u64, what| {
        let admin = stack.database.admin_url.as_str().parse().unwrap();
        assert!(flip_kept(&admin, CHAIN_ID, acme, BatchIndex(batch), what).await.unwrap());
    };
    for (batch, what, failed, said) in [
        (0, Kept::Tiles, 1, "stored tiles"),
        // Of the two batches that the node is not above.
        (3, Kept::Nodes, 2, "stored nodes of the history"),
    ] {
        flip(batch, what).await;
        let verdict = run(&mut stack.cofferdam("verify --json")).await.exits(1).json();
        // Each entry is still what was anchored.
        assert_eq!([&verdict["verified"], &verdict["failed"]], [305, failed], "{verdict}");
        let named = ["tenant acme", &acme.to_string(), "batch 0", said, "INVALID"];
        run(&mut stack.cofferdam("verify --tenant acme")).await.fails_saying(1, &named);
        run(&mut stack.cofferdam("verify --tenant globex")).await.exits(0);
        // Nor does anybody get a receipt that would be refused.
        let mut receipt = stack.cofferdam("receipt --tenant acme --seq 299");
        run(&mut receipt).await.fails_saying(1, &["batch 0"]);
        flip(batch, what).await;
        run(&mut stack.cofferdam("verify")).await.exits(0);
        run(&mut stack.cofferdam("receipt --tenant acme --seq 299")).await.exits(0);
    }
}
