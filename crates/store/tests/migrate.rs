//! Setting databases up: again, at the same time, by an administrator who is no superuser.

mod common;

use cofferdam_core::{Address, B256};
use cofferdam_devnet::TestDatabase;
use cofferdam_store::{
    DatabaseUrl, Deployment, Reader, Sequencer, StoreError, check_admin, migrate,
};
use common::{CHAIN, connect, database};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, PgConnection, Row};

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
