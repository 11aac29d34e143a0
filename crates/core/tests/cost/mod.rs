//! What ten megabytes of hostile input may take, for tests that are the only one of their program: the time and
//! the memory are those of the process, and nobody else's.

use std::{fs::read_to_string, time::Duration};

/// A second; what is released is a few times as fast as what is built for tests.
const MOST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 4 } else { 1 });
/// 200 MB, in KiB.
const ROOM: u64 = 200_000_000 >> 10;

/// Does this, and demands that it took no more of the cores and of memory.
pub(crate) fn bounded<T>(name: &str, work: impl FnOnce() -> T) -> T {
    // By what this process has had of the cores: a busy machine is no slower core.
    let before = cpu_time();
    let done = work();
    if let Some(took) = cpu_time().zip(before).map(|(now, then)| now - then) {
        println!("{name}: {took:?}");
        assert!(took < MOST, "{name} took {took:?}");
    }
    if let Some(most) = peak_memory() {
        println!("{name}: {most} KiB at most until here");
        assert!(most < ROOM, "{name} took {most} KiB");
    }
    done
}

/// All threads together, also those that have ended, where the system tells it.
fn cpu_time() -> Option<Duration> {
    let text = read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything: user and system time are the 12th and 13th, in hundredths.
    let mut numbers = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || numbers.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

fn peak_memory() -> Option<u64> {
    let text = read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
