//! Child processes that end with their parent.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

/// Runs `"$@"` and sends it the signal `$1` once this shell's standard input ends, which happens when
/// the process that holds the pipe's other end is gone, however it went. `$2`, when not empty, is a
/// directory to remove afterwards.
const LEASH: &str = r#"
signal=$1 scratch=$2; shift 2
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
( read -r _ <&3; kill -s "$signal" "$child" ) 2>/dev/null &
watcher=$!
wait "$child"; code=$?
kill "$watcher" 2>/dev/null
[ -z "$scratch" ] || rm -rf "$scratch"
exit "$code"
"#;

/// How a leashed process is run and ended.
#[derive(Debug)]
pub(crate) struct LeashOptions<'a> {
    /// The signal that asks it to stop, by name without `SIG`.
    pub(crate) signal: &'a str,
    /// A directory to remove once it has stopped.
    pub(crate) scratch: Option<&'a Path>,
    /// The user and group to run as.
    pub(crate) user: Option<(u32, u32)>,
    /// Where its output goes.
    pub(crate) log: &'a Path,
}

/// A process that ends when this value is dropped or this process dies.
#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
    rope: Option<ChildStdin>,
}

impl Leash {
    /// Starts `program` with `args` in a process group of its own, so that a Ctrl-C in the terminal
    /// reaches only the owner, who then stops it in order.
    pub(crate) fn start<I>(program: &Path, args: I, options: &LeashOptions<'_>) -> io::Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<std::ffi::OsStr>,
    {
        let log = File::options().create(true).append(true).open(options.log)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", LEASH, "leash", options.signal])
            .arg(options.scratch.unwrap_or(Path::new("")))
            .arg(program)
            .args(args)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        if let Some((uid, gid)) = options.user {
            command.uid(uid).gid(gid);
        }
        let mut shell = command.spawn()?;
        let rope = shell.stdin.take();
        Ok(Self { shell, rope })
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Asks the process to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.rope.take();
        while !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.rope.take();
        // Without this wait the child would stay a zombie and its port taken while the owner lives on.
        let _ = self.shell.wait();
    }
}
