//! A database that goes away, is full, is changed behind the daemon's back, or comes back older.

use std::{fs, path::PathBuf, process::Command};

use serde_json::json;
use tokio::time::{Duration, sleep};

use super::world::{TENANTS, World, copy};
use crate::support::{run, skip};

#[tokio::test]
async fn i8_a_database_that_restarts_is_waited_for() {
    let mut world = World::start().await;
    let mut daemon = world.working_daemon().await;
    for crash in [false, true] {
        world.stop_postgres(crash).await;
        // Nothing is acknowledged that is not there.
        run(&mut world.appending(2)).await.fails_saying(1, &["error: "]);
        sleep(Duration::from_millis(500)).await;
        daemon.lives();
        world.start_postgres().await;
    }
    world.append(2).await;
    world.is_well().await;
    daemon.stop().await;
}

#[tokio::test]
async fn i8_a_database_without_connections_to_spare_is_waited_for() {
    let mut world = World::start().await;
    let mut daemon = world.working_daemon().await;
    world.wire.is_full(true);
    // Nothing is acknowledged that is not there.
    run(&mut world.appending(2)).await.fails_saying(1, &["too many clients"]);
    sleep(Duration::from_millis(500)).await;
    daemon.lives();
    world.wire.is_full(false);
    world.append(2).await;
    world.is_well().await;
    daemon.stop().await;
}

/// A copy of the database as it is now.
async fn dumped(world: &mut World) -> PathBuf {
    let dir = world.stack.dir().to_owned();
    world.stop_postgres(false).await;
    let dump = dir.join("dump");
    copy(&dir.join("postgres"), &dump);
    world.start_postgres().await;
    dump
}

/// Puts that copy in the database's place.
async fn restore(world: &mut World, dump: PathBuf) {
    let database = world.stack.dir().join("postgres");
    world.stop_postgres(false).await;
    fs::remove_dir_all(&database).unwrap();
    fs::rename(dump, database).unwrap();
    world.start_postgres().await;
}

#[tokio::test]
async fn i8_a_restored_older_database_halts_and_says_so() {
    let mut world = World::start().await;
    let daemon = world.daemon();
    world.append(1).await;
    world.is_well().await;
    daemon.stop().await;
    let dump = dumped(&mut world).await;
    let daemon = world.daemon();
    world.append(3).await;
    world.is_well().await;
    daemon.stop().await;
    restore(&mut world, dump).await;
    world.acknowledged -= 3;

    let anchored = world.anchored(TENANTS[0]).await;
    let mut daemon = world.daemon();
    for name in TENANTS {
        world.until("that all halt", async || world.halted(name).await.is_some()).await;
    }
    let status = world.stack.json("status").await;
    assert!(!status["incidents"].as_array().unwrap().is_empty(), "{status}");
    // What comes in now is kept, and goes nowhere.
    world.append(2).await;
    sleep(Duration::from_secs(2)).await;
    daemon.lives();
    assert_eq!(world.anchored(TENANTS[0]).await, anchored);
    assert!(world.halted(TENANTS[0]).await.is_some());
    daemon.stop().await;
}

#[tokio::test]
async fn i8_a_restore_that_lost_seals_and_no_entries_adopts_what_the_chain_has() {
    let mut world = World::start().await;
    world.append(2).await;
    let dump = dumped(&mut world).await;
    let daemon = world.daemon();
    world.is_well().await;
    daemon.stop().await;
    restore(&mut world, dump).await;

    run(&mut world.stack.cofferdam("index --once")).await.exits(1);
    for name in TENANTS {
        assert!(world.halted(name).await.expect("it is halted").starts_with("unknown-batch"));
        let command = format!("incident resolve --tenant {name}");
        let would = world.stack.json(&command).await;
        assert_eq!((&would["adoptable"], &would["resolved"]), (&1.into(), &false.into()));
        assert!(world.halted(name).await.is_some(), "nothing is done without --yes");
        world.stack.json(&format!("{command} --yes")).await;
        assert_eq!(world.halted(name).await, None);
    }
    let daemon = world.daemon();
    world.append(1).await;
    world.is_at_rest().await;
    world.is_whole().await;
    daemon.stop().await;
    let listed = world.stack.json("incident list").await;
    assert_eq!((&listed["incidents"], &listed["halted"]), (&json!([]), &json!([])));
    let verdict = world.stack.json("verify").await;
    assert_eq!([&verdict["verified"], &verdict["failed"]], [&verdict["entries"], &json!(0)]);
}

/// A small disk, gone with this value.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one, or says why it cannot: the test is skipped then.
    fn mount(at: PathBuf, megabytes: usize) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let size = format!("size={megabytes}m,mode=0711");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                skip(&format!("no small disk can be mounted here: {}", why.trim()));
                None
            }
            Err(error) => {
                skip(&format!("there is no mount: {error}"));
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn i8_a_full_disk_is_outlived() {
    let mut world = World::start().await;
    let dir = world.stack.dir().to_owned();
    world.stop_postgres(false).await;
    fs::rename(dir.join("postgres"), dir.join("on-disk")).unwrap();
    let Some(_disk) = Disk::mount(dir.join("postgres"), 160) else { return };
    copy(&dir.join("on-disk").join("."), &dir.join("postgres"));
    world.start_postgres().await;

    let mut daemon = world.daemon();
    world.append(1).await;
    let filler = dir.join("postgres/filler");
    // Until nothing more goes in.
    fs::write(&filler, vec![7; 200 << 20]).unwrap_err();
    let mut refused = false;
    for _ in 0..40 {
        let outcome = run(&mut world.appending(400)).await;
        if outcome.code != Some(0) {
            refused = true;
            break;
        }
        world.acknowledged += 400;
    }
    assert!(refused, "the disk did not get full");
    daemon.lives();
    fs::remove_file(&filler).unwrap();
    // A server without room for its log stops altogether.
    if world.postgres.as_mut().is_none_or(|postgres| postgres.has_ended()) {
        world.start_postgres().await;
    }
    world.append(400).await;
    world.is_well().await;
    daemon.stop().await;
    world.stop_postgres(false).await;
}
