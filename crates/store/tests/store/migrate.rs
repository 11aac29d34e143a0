//! Setting databases up: again, at the same time, by an administrator who is no superuser.

use std::collections::BTreeMap;

use crate::common::{CHAIN, connect, database};
use cofferdam_core::{Address, B256};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{
    DatabaseUrl, Deployment, Reader, Sealer, Sequencer, StoreError, check_admin, migrate,
};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, PgConnection, Row, migrate::Migrator};

/// How many there are.
fn migrations() -> usize {
    std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).expect("a folder").count()
}

async fn run(raw: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(raw).await.expect(&sql);
}

#[tokio::test]
async fn again_is_fine_and_says_so() {
    let database = database().await;
    let report = migrate(&database.admin, &database.runtime).await.expect("again");
    assert_eq!((report.applied.len(), report.already), (0, migrations()));
    assert_eq!(report.login, database.runtime.user());
    assert!(check_admin(&database.admin).await.expect("asked"));
    assert!(!check_admin(&database.runtime).await.expect("asked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_on_one_server_and_on_one_database() {
    let mut all = Vec::new();
    let mut login = None;
    for _ in 0..4 {
        let mut test = TestDatabase::new().await.expect("a Postgres");
        // One login for all, so that its row is what they contend for.
        let login = login.get_or_insert_with(|| test.runtime_url.clone());
        let database = test.admin_url.path().to_owned();
        test.runtime_url.clone_from(login);
        test.runtime_url.set_path(&database);
        all.extend([test.clone(), test.clone(), test]);
    }
    let migrating = all.iter().map(|test| async {
        let admin: DatabaseUrl = test.admin_url.as_str().parse().expect("a URL");
        let runtime: DatabaseUrl = test.runtime_url.as_str().parse().expect("a URL");
        migrate(&admin, &runtime).await.expect("migrated").applied.len()
    });
    let applied = join_all(migrating).await;
    assert_eq!(applied.iter().sum::<usize>(), 4 * migrations(), "each database once: {applied:?}");
    for test in &all {
        let runtime: DatabaseUrl = test.runtime_url.as_str().parse().expect("a URL");
        Reader::connect(&runtime, CHAIN).await.expect("a reader");
    }
}

/// Postgres does not wait and redo here: it fails with "tuple concurrently updated".
#[tokio::test]
async fn a_role_that_another_session_is_changing_is_tried_again() {
    let database = database().await;
    let mut holder = database.raw(None).await;
    let login = database.runtime.user().to_owned();
    run(&mut holder, format!("BEGIN; ALTER ROLE {login} CONNECTION LIMIT 90")).await;
    let (admin, runtime) = (database.admin.clone(), database.runtime.clone());
    let migrating = tokio::spawn(async move { migrate(&admin, &runtime).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while sqlx::query(waiting).fetch_one(&mut holder).await.expect("read").get::<i64, _>(0) == 0 {
        assert!(!migrating.is_finished(), "it has to meet the other session");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        // The statistics of a transaction are those of its first look, unless told otherwise.
        run(&mut holder, "SELECT pg_stat_clear_snapshot()".to_owned()).await;
    }
    run(&mut holder, "COMMIT".to_owned()).await;
    migrating.await.expect("joined").expect("migrated");
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_reaches_the_server_hashed() {
    let database = database().await;
    let mut url = database.test.runtime_url.clone();
    url.set_password(Some("an%20other%2B'one")).expect("a password");
    let runtime: DatabaseUrl = url.as_str().parse().expect("a URL");
    assert!(Reader::connect(&runtime, CHAIN).await.is_err(), "passwords are checked here");
    migrate(&database.admin, &runtime).await.expect("again");
    Reader::connect(&runtime, CHAIN).await.expect("the new one");
    Reader::connect(&database.runtime, CHAIN).await.expect_err("the old one");
    let stored: String = sqlx::query("SELECT rolpassword FROM pg_authid WHERE rolname = $1")
        .bind(runtime.user())
        .fetch_one(&mut database.raw(None).await)
        .await
        .expect("read")
        .get(0);
    assert!(stored.starts_with("SCRAM-SHA-256$4096:"));
}

#[tokio::test]
async fn an_administrator_need_not_be_a_superuser_but_must_be_able_to() {
    let database = database().await;
    let mut raw = database.raw(None).await;
    let name = format!("dba_{}", database.runtime.user());
    let mut admin_url = database.test.admin_url.clone();
    admin_url.set_username(&name).expect("a user");
    admin_url.set_password(Some("dba")).expect("a password");
    admin_url.set_path(&format!("of_{name}"));
    let mut runtime_url = database.test.runtime_url.clone();
    runtime_url.set_username(&format!("login_of_{name}")).expect("a user");
    runtime_url.set_path(&format!("of_{name}"));
    let admin: DatabaseUrl = admin_url.as_str().parse().expect("a URL");
    let runtime: DatabaseUrl = runtime_url.as_str().parse().expect("a URL");

    run(&mut raw, format!("CREATE ROLE {name} LOGIN PASSWORD 'dba'")).await;
    let error = migrate(&admin, &runtime).await.expect_err("may not create the database");
    assert!(matches!(&error, StoreError::Admin { login, .. } if *login == name), "{error}");

    run(&mut raw, format!("CREATE DATABASE of_{name} OWNER {name}")).await;
    let error = migrate(&admin, &runtime).await.expect_err("may not create roles");
    assert!(matches!(&error, StoreError::Admin { login, .. } if *login == name), "{error}");

    // The roles of this server were made by another administrator, who has to share them.
    run(&mut raw, format!("ALTER ROLE {name} CREATEROLE")).await;
    for role in ["owner", "enqueuer", "application", "sequencer", "sealer", "indexer", "reader"] {
        run(&mut raw, format!("GRANT cofferdam_{role} TO {name} WITH ADMIN TRUE")).await;
    }
    let report = migrate(&admin, &runtime).await.expect("migrated");
    assert_eq!(report.applied.len(), migrations());
    Sequencer::connect(&runtime, CHAIN).await.expect("a sequencer");
}

#[tokio::test]
async fn a_database_that_cannot_hold_what_we_store_is_refused() {
    let database = database().await;
    let mut raw = database.raw(None).await;
    let name = format!("latin_{}", database.admin.database());
    run(
        &mut raw,
        format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' \
             LOCALE_PROVIDER libc"
        ),
    )
    .await;
    let mut url = database.test.admin_url.clone();
    url.set_path(&name);
    let admin: DatabaseUrl = url.as_str().parse().expect("a URL");
    let error = migrate(&admin, &database.runtime).await.expect_err("not UTF-8");
    assert!(
        matches!(&error, StoreError::Encoding { encoding, .. } if encoding == "LATIN1"),
        "{error}"
    );

    // A schema of that name that is somebody else's is left alone.
    let fresh = TestDatabase::new().await.expect("a Postgres");
    let name = fresh.admin_url.path().trim_start_matches('/');
    run(&mut raw, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    let mut raw = connect(fresh.admin_url.as_str()).await;
    run(&mut raw, "CREATE SCHEMA cofferdam".to_owned()).await;
    let admin: DatabaseUrl = fresh.admin_url.as_str().parse().expect("a URL");
    let error = migrate(&admin, &database.runtime).await.expect_err("not ours");
    assert!(matches!(error, StoreError::UnsafeRole { .. }), "{error}");
}

#[tokio::test]
async fn one_contract_a_chain() {
    let database = database().await;
    let sequencer = database.sequencer().await;
    let (contract, code_hash) = (Address::repeat_byte(1), B256::repeat_byte(2));
    assert_eq!(sequencer.deployment().await.expect("read"), None);
    for _ in 0..2 {
        sequencer.register_deployment(contract, code_hash, 7).await.expect("registered");
    }
    let expected = Some(Deployment { contract, code_hash, from_block: 7 });
    let reader = Reader::connect(&database.runtime, CHAIN).await.expect("a reader");
    assert_eq!(reader.deployment().await.expect("read"), expected);
    for (contract, code_hash) in [(Address::repeat_byte(3), code_hash), (contract, B256::ZERO)] {
        let error =
            sequencer.register_deployment(contract, code_hash, 7).await.expect_err("another");
        assert!(matches!(error, StoreError::OtherDeployment { .. }), "{error}");
    }
    for chain in [0, u64::MAX] {
        let error = Reader::connect(&database.runtime, chain).await.expect_err("no such chain");
        assert!(matches!(error, StoreError::ChainId(of) if of == chain));
    }
}

/// Takes a new database as far as this version; the server has the roles already.
async fn at_version(database: &mut PgConnection, version: i64) {
    let mut migrator: Migrator = sqlx::migrate!();
    migrator.set_locking(false);
    migrator.dangerous_set_table_name("cofferdam.migrations");
    run(database, "SET ROLE cofferdam_owner".to_owned()).await;
    migrator.run_direct(Some(version), database, false).await.expect("migrated");
    run(database, "RESET ROLE".to_owned()).await;
}

/// 0011 keeps a sum of what is settled, and begins with what was before it, also before there were fees (0004).
#[tokio::test]
async fn what_was_settled_before_there_was_a_sum_is_in_it_to_the_wei() {
    const OTHER: u64 = 8453;
    let server = database().await;
    let test = TestDatabase::new().await.expect("a Postgres");
    let name = test.admin_url.path().trim_start_matches('/');
    run(&mut server.raw(None).await, format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    let mut old = connect(test.admin_url.as_str()).await;
    run(&mut old, "CREATE SCHEMA cofferdam AUTHORIZATION cofferdam_owner".to_owned()).await;
    // What each chain's settled transactions used and paid.
    let mut sums = BTreeMap::from([(CHAIN, (0, 0)), (OTHER, (0, 0))]);
    let mut add = |chain, gas: u64, fee: u128| {
        let (all_gas, all_fee) = sums.entry(chain).or_insert((0, 0));
        *all_gas += gas;
        *all_fee += fee;
    };

    at_version(&mut old, 3).await;
    for n in 1..=3 {
        let (gas, price) = (n * 71_013, u128::from(n) * 3_000_000_007);
        let sql = format!(
            "INSERT INTO cofferdam.transactions (chain_id, tx_hash, nonce, items, outcome, block_number, \
                 gas_used, effective_gas_price) \
             VALUES ({CHAIN}, sha256('old {n}'), {n}, 1, 'included', {n}, {gas}, {price})"
        );
        run(&mut old, sql).await;
        add(CHAIN, gas, u128::from(gas) * price);
    }
    // One that was never mined.
    let sql = format!(
        "INSERT INTO cofferdam.transactions (chain_id, tx_hash, nonce, items, outcome) \
         VALUES ({CHAIN}, sha256('dropped'), 4, 1, 'dropped')"
    );
    run(&mut old, sql).await;

    at_version(&mut old, 10).await;
    // More than 64 bits hold, and no multiple of anything; those that are not settled are not in the sum.
    let large = 40_000_000_000_000_000_000_000_000_000_001_u128;
    for (n, chain, settled, fee) in
        [(5, CHAIN, true, large), (6, CHAIN, false, 77), (7, OTHER, true, 345), (8, OTHER, true, 2)]
    {
        let gas = 100_000 + n;
        let sql = format!(
            "INSERT INTO cofferdam.transactions (chain_id, tx_hash, intent, sender, nonce, items, outcome, \
                 block_number, gas_used, effective_gas_price, fee, l1_fee, operator_fee, settled) \
             VALUES ({chain}, sha256('new {n}'), sha256('new {n}'), decode(repeat('07', 20), 'hex'), {n}, 1, \
                 'included', {n}, {gas}, 3, {fee}, 40, 5, {settled})"
        );
        run(&mut old, sql).await;
        if settled {
            add(chain, gas, fee);
        }
    }
    let known = format!("INSERT INTO cofferdam.finality VALUES ({CHAIN}, 9, 8, 7)");
    run(&mut old, known).await;

    let admin: DatabaseUrl = test.admin_url.as_str().parse().expect("a URL");
    let runtime: DatabaseUrl = test.runtime_url.as_str().parse().expect("a URL");
    let report = migrate(&admin, &runtime).await.expect("migrated");
    assert_eq!((report.already, report.applied[0]), (10, 11));
    let rows = sqlx::query(
        "SELECT chain_id, head, safe, final, settled_gas, settled_fee::text FROM cofferdam.finality \
         ORDER BY chain_id",
    );
    let rows = rows.fetch_all(&mut old).await.expect("read");
    let found = rows.iter().map(|row| {
        let number = |n| u64::try_from(row.get::<i64, _>(n)).expect("a number");
        let fee: u128 = row.get::<String, _>(5).parse().expect("a number");
        ((number(0), [number(1), number(2), number(3)]), (number(4), fee))
    });
    let expected = [((OTHER, [0; 3]), sums[&OTHER]), ((CHAIN, [9, 8, 7]), sums[&CHAIN])];
    assert!(found.eq(expected), "{rows:?}");
    // Whoever watches reads what the whole book says.
    for (chain, open) in [(CHAIN, 77), (OTHER, 0)] {
        let sealer = Sealer::connect(&runtime, chain).await.expect("a sealer");
        let (vitals, totals) = (sealer.vitals().await, sealer.totals().await);
        let (vitals, totals) = (vitals.expect("read"), totals.expect("read"));
        assert_eq!(vitals.fee_wei, sums[&chain].1 + open);
        assert_eq!((vitals.gas_used, vitals.fee_wei), (totals.gas_used, totals.fee_wei));
    }
}
