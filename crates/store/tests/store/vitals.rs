//! What whoever watches a daemon is told, against rows that were made so.

use std::time::Duration;

use crate::common::{
    CHAIN, anchored, anchored_row, apply, block, database, entries, lead, policy, tenant,
};
use cofferdam_store::{Attempt, Finality, Item, Mirror, Sealer, Vitals};
use sqlx::AssertSqlSafe;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn vitals_are_the_sums_of_all_tenants_and_the_ages_of_the_oldest() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    // Of five tenants' entries the first's are final, the second's safe, the third's included, the fourth's
    // posted and the fifth's sealed; the last two have one more each that is not.
    for (byte, count) in [(1, 5), (2, 4), (3, 3), (4, 2), (5, 1)] {
        sequencer.add_tenant(&format!("t{byte}"), tenant(byte)).await.expect("added");
        sequencer.appender().append(tenant(byte), entries(0..count)).await.expect("appended");
    }
    let plain = Sealer::connect(&database.runtime, CHAIN).await.expect("a sealer");
    let ledger = lead(&plain).await;
    let mut batches = vec![];
    for byte in 1..=5 {
        batches.push(database.seal(CHAIN, tenant(byte)).await);
    }
    for byte in [4, 5] {
        sequencer.appender().append(tenant(byte), entries(7..8)).await.expect("appended");
    }
    let attempt = Attempt { hash: [1; 32].into(), raw: vec![1].into(), max_fee: 1, tip: 1 };
    let carried = [(tenant(4), Item::Batch(batches[3].index))];
    ledger.record_intent([7; 20].into(), 0, &attempt, &carried).await.expect("recorded");
    let mirror = Mirror::connect(&database.runtime, CHAIN).await.expect("a mirror");
    let mut at = None;
    for (batch, number) in batches.iter().zip([5, 6, 7]) {
        let rows = [anchored_row(anchored(batch, number, 0))];
        let new = [(number, block(number).hash)];
        apply(&mirror, at, block(number), &new, &rows).await.expect("mirrored");
        at = Some(block(number));
    }
    let finality = Finality { head: 9, safe: 6, last_final: 5 };
    ledger.set_finality(finality).await.expect("written");
    sequencer.submit_policy(&policy(tenant(1), 1)).await.expect("kept");
    for (byte, entry) in [(4, 2), (5, 1)] {
        let found = format!("entry {entry} was changed");
        ledger.halt(tenant(byte), "tampered", &found).await.expect("halted");
    }
    ledger.report(tenant(1), "stuck", "for a reason").await.expect("reported");

    // Of two that wait the older one counts.
    let mut raw = database.raw(None).await;
    for sql in [
        "UPDATE cofferdam.heads SET oldest_unsealed_at = now() - interval '3 hours' WHERE number = 4",
        "UPDATE cofferdam.batches SET sealed_at = now() - interval '5 hours' WHERE number = 5",
        // What is on the chain waits no more, however old it is.
        "UPDATE cofferdam.batches SET sealed_at = now() - interval '9 hours' WHERE number < 4",
        "UPDATE cofferdam.policy_submissions SET submitted_at = now() - interval '7 hours'",
    ] {
        let sql = sql.replace("number", "get_byte(tenant_id, 31)");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut raw).await.expect("set back");
    }
    let vitals = plain.vitals().await.expect("read");
    let ages = [vitals.unsealed_for, vitals.unanchored_for, vitals.unpublished_for];
    for (age, hours) in ages.into_iter().zip([3, 5, 7]) {
        assert!((hours * HOUR..(hours + 1) * HOUR).contains(&age), "{age:?}, not {hours} hours");
    }
    let expected = Vitals {
        tenants: 5,
        halted: 2,
        appended: 17,
        sealed: 15,
        posted: 14,
        included: 12,
        safe: 9,
        last_final: 5,
        waiting_policies: 1,
        open_transactions: 1,
        gas_used: 0,
        fee_wei: 0,
        incidents: vec![("stuck".into(), 1), ("tampered".into(), 2)],
        unsealed_for: vitals.unsealed_for,
        unanchored_for: vitals.unanchored_for,
        unpublished_for: vitals.unpublished_for,
    };
    assert_eq!(vitals, expected);
    // A clock that was stepped back makes nothing older than it can be.
    let sql = "UPDATE cofferdam.heads SET oldest_unsealed_at = now() + interval '3 hours' \
               WHERE oldest_unsealed_at IS NOT NULL";
    sqlx::raw_sql(sql).execute(&mut raw).await.expect("set ahead");
    assert_eq!(plain.vitals().await.expect("read").unsealed_for, Duration::ZERO);
}
