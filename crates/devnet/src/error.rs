//! What can go wrong when local parts are started.

use std::{io, path::PathBuf};

/// A local part could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DevnetError {
    /// The npm packages are not installed.
    #[error("{what} is not installed below {}; run `npm ci --ignore-scripts` in the project", searched.display())]
    ToolMissing {
        /// The tool that was looked for.
        what: String,
        /// Where it was looked for.
        searched: PathBuf,
    },
    /// The contracts' sources are gone.
    #[error(
        "script/Deploy.s.sol is neither where this program was built nor beside {}; deploy from the sources, and then give the chain as RPC_URL",
        searched.display()
    )]
    SourcesMissing {
        /// The `node_modules` beside which it was looked for.
        searched: PathBuf,
    },
    /// The deployment script failed.
    #[error("the contracts could not be deployed; {} says:\n{tail}", log.display())]
    NotDeployed {
        /// What forge said.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// npm has no package of that tool for this machine.
    #[error(
        "{what} has no npm package for {os} on {arch}; set {instead} to use one that runs elsewhere"
    )]
    Unsupported {
        /// The tool.
        what: &'static str,
        /// This machine's operating system.
        os: &'static str,
        /// This machine's architecture.
        arch: &'static str,
        /// The environment variable that makes the local one unnecessary.
        instead: &'static str,
    },
    /// Someone else listens on the port.
    #[error(
        "port {port} on 127.0.0.1 is in use, so {what} cannot listen there; stop what holds it or pass {flag} with another port"
    )]
    PortInUse {
        /// The part that wanted the port.
        what: &'static str,
        /// The port.
        port: u16,
        /// The command-line option that chooses another one.
        flag: &'static str,
    },
    /// Another process uses the same data directory.
    #[error("{} is in use by process {pid}; stop it first or pass --data-dir with another directory", dir.display())]
    DirInUse {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it.
        pid: u32,
    },
    /// The process ended before it was ready.
    #[error("{what} ended before it was ready; the last lines of {} say:\n{tail}", log.display())]
    Died {
        /// The part that ended.
        what: &'static str,
        /// Its log file.
        log: PathBuf,
        /// The end of that file.
        tail: String,
    },
    /// The process did not become ready in time.
    #[error("{what} was not ready within {seconds} s; see {}", log.display())]
    NotReady {
        /// The part that is slow.
        what: &'static str,
        /// How long was waited.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
    },
    /// The file system refused something.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "cannot create".
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
}

impl DevnetError {
    /// Adds what was tried, and where, to a system error.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: impl Into<PathBuf> + 'a,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.into(), source }
    }
}
