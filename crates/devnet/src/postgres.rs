//! A local Postgres server.

use std::{
    fs::{self, File, Permissions},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    net::TcpListener,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rand::{Rng, distr::Alphanumeric};
use url::Url;

use crate::{
    DevnetError, Toolchain,
    leash::{Leash, LeashOptions},
};

/// Postgres refuses to run as root: from a root shell it runs as `nobody`.
const NOBODY: u32 = 65_534;
/// The administrator that `initdb` creates.
const ADMIN: &str = "postgres";
/// How long a server may take to accept connections; it replays its log after a crash.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the server is run.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where the cluster, its log and its administrator's password are kept.
    pub data_dir: PathBuf,
    /// The port on 127.0.0.1; any free one when `None`.
    pub port: Option<u16>,
    /// A cluster for one test run: not synced to disk, removed when the server stops.
    pub ephemeral: bool,
}

/// A running local server, stopped when dropped.
#[derive(Debug)]
pub struct Postgres {
    leash: Leash,
    admin_url: Url,
}

impl Postgres {
    /// Creates the cluster if there is none, starts the server and waits until it accepts connections.
    pub async fn start(
        toolchain: &Toolchain,
        options: &PostgresOptions,
    ) -> Result<Self, DevnetError> {
        let data = &options.data_dir;
        fs::create_dir_all(data).map_err(DevnetError::io("cannot create", data))?;
        let data = &data.canonicalize().map_err(DevnetError::io("cannot open", data))?;
        let user = runs_as_root(data)?.then_some((NOBODY, NOBODY));
        let native = binaries(toolchain, data, user)?;
        let cluster = cluster_dir(data, user)?;
        let password = password(&data.join("postgres-password"))?;
        let log = data.join("postgres.log");

        if !cluster.join("PG_VERSION").is_file() {
            create(&native, &cluster, &password, user, &log)?;
        }
        refuse_running(&cluster)?;
        let port = match options.port {
            Some(port) => claim(port)?,
            None => free_port()?,
        };

        let mut args: Vec<String> = vec!["-D".into(), cluster.display().to_string()];
        for setting in [
            &*format!("port={port}"),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
        ] {
            args.extend(["-c".into(), setting.into()]);
        }
        if options.ephemeral {
            for setting in ["fsync=off", "full_page_writes=off", "synchronous_commit=off"] {
                args.extend(["-c".into(), setting.into()]);
            }
        }
        if let (true, Some((uid, gid))) = (options.ephemeral, user) {
            // What removes the directory in the end runs as that user.
            chown(data, Some(uid), Some(gid)).map_err(DevnetError::io("cannot hand over", data))?;
        }
        let leash = LeashOptions {
            signal: "INT",
            scratch: options.ephemeral.then_some(&**data),
            user,
            log: &log,
        };
        let postgres = native.join("bin/postgres");
        let mut leash = Leash::start(&postgres, &args, &leash)
            .map_err(DevnetError::io("cannot run", &postgres))?;
        ready(&mut leash, &cluster, &log).await?;

        let mut admin_url = Url::parse("postgres://127.0.0.1/postgres").expect("a constant URL");
        admin_url.set_username(ADMIN).expect("a URL with a host takes a user");
        admin_url.set_password(Some(&password)).expect("a URL with a host takes a password");
        admin_url.set_port(Some(port)).expect("a URL with a host takes a port");
        Ok(Self { leash, admin_url })
    }

    /// The administrator's URL, with its password: for migrations only.
    pub fn admin_url(&self) -> &Url {
        &self.admin_url
    }

    /// Whether the server has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.leash.has_ended()
    }

    /// Shuts the server down and waits for it.
    pub async fn stop(self) {
        self.leash.stop().await;
    }
}

/// Whether this process is root, told by the owner of a file it makes: no library call needed.
fn runs_as_root(dir: &Path) -> Result<bool, DevnetError> {
    let probe = tempfile::Builder::new()
        .prefix(".owner-")
        .tempfile_in(dir)
        .map_err(DevnetError::io("cannot write to", dir))?;
    let owner = probe.as_file().metadata().map_err(DevnetError::io("cannot read", dir))?.uid();
    Ok(owner == 0)
}

/// Whether any user may pass through every directory above `path`.
fn open_to_others(path: &Path) -> bool {
    path.ancestors()
        .skip(1)
        .all(|dir| fs::metadata(dir).is_ok_and(|dir| dir.permissions().mode() & 0o001 != 0))
}

/// The folder of the binaries; a copy when the user that Postgres runs as cannot reach the original,
/// as in a project below root's home.
fn binaries(
    toolchain: &Toolchain,
    data: &Path,
    user: Option<(u32, u32)>,
) -> Result<PathBuf, DevnetError> {
    let native = toolchain.postgres()?;
    let native = native.canonicalize().map_err(DevnetError::io("cannot open", native))?;
    if user.is_none() || open_to_others(&native) {
        return Ok(native);
    }
    // Beside the cluster, so that what removes the one removes the other.
    let inside = data.join("postgres-binaries");
    let private = open_to_others(&inside);
    let copy = if private { inside } else { outside_home(data, "binaries") };
    if !copy.join("bin/postgres").is_file() {
        fs::create_dir_all(&copy).map_err(DevnetError::io("cannot create", &copy))?;
        let status = Command::new("cp").arg("-RP").arg(native.join(".")).arg(&copy).status();
        status.map_err(DevnetError::io("cannot copy the Postgres binaries to", &copy))?;
        if let (true, Some((uid, gid))) = (private, user) {
            // The user that removes an ephemeral cluster must be able to remove these too.
            let status =
                Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(&copy).status();
            status.map_err(DevnetError::io("cannot hand over", &copy))?;
        }
    }
    owned_by(&copy, if private { user.map_or(0, |(uid, _)| uid) } else { 0 })?;
    Ok(copy)
}

/// The cluster's directory: below `data` where its user can get there, else in the system's
/// temporary directory.
fn cluster_dir(data: &Path, user: Option<(u32, u32)>) -> Result<PathBuf, DevnetError> {
    let inside = data.join("postgres");
    let Some((uid, gid)) = user else {
        make_private(&inside)?;
        return Ok(inside);
    };
    let cluster = if open_to_others(&inside) { inside } else { outside_home(data, "cluster") };
    if make_private(&cluster)? {
        chown(&cluster, Some(uid), Some(gid))
            .map_err(DevnetError::io("cannot hand over", &cluster))?;
    }
    owned_by(&cluster, uid)?;
    Ok(cluster)
}

/// A path in the system's temporary directory that belongs to this data directory alone.
fn outside_home(data: &Path, what: &str) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    std::env::temp_dir().join(format!("cofferdam-{:016x}-{what}", hasher.finish()))
}

/// Creates a directory that only its owner may enter; false when it is there already.
fn make_private(dir: &Path) -> Result<bool, DevnetError> {
    match fs::create_dir(dir) {
        Ok(()) => {
            fs::set_permissions(dir, Permissions::from_mode(0o700))
                .map_err(DevnetError::io("cannot set permissions of", dir))?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(DevnetError::io("cannot create", dir)(error)),
    }
}

/// Refuses a directory that somebody else made under the name we would use.
fn owned_by(dir: &Path, uid: u32) -> Result<(), DevnetError> {
    let owner = fs::metadata(dir).map_err(DevnetError::io("cannot open", dir))?.uid();
    if owner == uid {
        return Ok(());
    }
    let reason = format!("belongs to user {owner} instead of {uid}; remove it or move it away");
    Err(DevnetError::io("cannot use", dir)(std::io::Error::other(reason)))
}

/// Reads the administrator's password, making one on the first run.
fn password(path: &Path) -> Result<String, DevnetError> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let fresh: String =
                rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect();
            file.write_all(fresh.as_bytes()).map_err(DevnetError::io("cannot write", path))?;
            Ok(fresh)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).map_err(DevnetError::io("cannot read", path))
        }
        Err(error) => Err(DevnetError::io("cannot write", path)(error)),
    }
}

/// Runs `initdb`. The password reaches it in a file of its own, so that it is on no command line.
fn create(
    native: &Path,
    cluster: &Path,
    password: &str,
    user: Option<(u32, u32)>,
    log: &Path,
) -> Result<(), DevnetError> {
    use std::os::unix::process::CommandExt;
    let output = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(DevnetError::io("cannot write", log))?;
    let temp = std::env::temp_dir();
    let mut secret = tempfile::NamedTempFile::new_in(&temp)
        .map_err(DevnetError::io("cannot create a file in", &temp))?;
    secret
        .write_all(password.as_bytes())
        .map_err(DevnetError::io("cannot write", secret.path()))?;
    let initdb = native.join("bin/initdb");
    let mut command = Command::new(&initdb);
    command
        .arg("-D")
        .arg(cluster)
        .args(["-U", ADMIN, "-E", "UTF8", "--locale=C", "--auth=scram-sha-256"])
        .args(["--no-sync", "--no-instructions", "--pwfile"])
        .arg(secret.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(DevnetError::io("cannot write", log))?)
        .stderr(output);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
        chown(secret.path(), Some(uid), Some(gid))
            .map_err(DevnetError::io("cannot hand over", secret.path()))?;
    }
    let cannot = |error| DevnetError::io("cannot run", &initdb)(error);
    if command.status().map_err(cannot)?.success() {
        return Ok(());
    }
    Err(DevnetError::Died { what: "initdb", log: log.into(), tail: tail(log) })
}

/// Refuses a cluster whose server is still running.
fn refuse_running(cluster: &Path) -> Result<(), DevnetError> {
    let lock = cluster.join("postmaster.pid");
    let pid = fs::read_to_string(&lock).ok().and_then(|text| text.lines().next()?.parse().ok());
    let Some(pid) = pid else { return Ok(()) };
    let alive = Command::new("kill").args(["-0", &format!("{pid}")]).stderr(Stdio::null()).status();
    if alive.is_ok_and(|status| status.success()) {
        return Err(DevnetError::DirInUse { dir: cluster.into(), pid });
    }
    // Left behind by a crash; its "ready" line would be taken for the new server's.
    fs::remove_file(&lock).map_err(DevnetError::io("cannot remove", lock))
}

/// Waits until the server says in its lock file that it is ready.
async fn ready(leash: &mut Leash, cluster: &Path, log: &Path) -> Result<(), DevnetError> {
    let start = Instant::now();
    loop {
        let lock = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
        if lock.lines().nth(7).is_some_and(|status| status.trim() == "ready") {
            return Ok(());
        }
        if leash.has_ended() {
            return Err(DevnetError::Died { what: "Postgres", log: log.into(), tail: tail(log) });
        }
        if start.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            return Err(DevnetError::NotReady { what: "Postgres", seconds, log: log.into() });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that a chosen port is free.
fn claim(port: u16) -> Result<u16, DevnetError> {
    TcpListener::bind(("127.0.0.1", port)).map(|_| port).map_err(|_| DevnetError::PortInUse {
        what: "Postgres",
        port,
        flag: "--postgres-port",
    })
}

/// Asks the system for a free port.
fn free_port() -> Result<u16, DevnetError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|socket| socket.local_addr())
        .map(|address| address.port())
        .map_err(DevnetError::io("cannot find a free port on", "127.0.0.1"))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
