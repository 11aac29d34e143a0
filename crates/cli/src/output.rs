//! What commands print: text for a person, or one JSON object for a program.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eyre::{Result, WrapErr};
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing::info;

/// Where a command's results go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line for a person; on standard error when standard output is for a program.
    pub(crate) fn say(&self, line: impl Display) {
        if self.json { eprintln!("{line}") } else { print(line) }
    }

    /// The result: the JSON object or the text, never both.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl Display) {
        if !self.json {
            print(text);
            return;
        }
        match serde_json::to_string(value) {
            Ok(line) => print(line),
            Err(error) => eprintln!("error: cannot write JSON: {error}"),
        }
    }

    /// An error with all its causes.
    pub(crate) fn error(&self, error: &eyre::Report) {
        let mut message = String::new();
        for cause in error.chain() {
            let cause = cause.to_string();
            // Some errors already repeat their cause.
            if !message.contains(&cause) {
                let separator = if message.is_empty() { "" } else { ": " };
                message = format!("{message}{separator}{cause}");
            }
        }
        eprintln!("error: {message}");
        if self.json {
            print(serde_json::json!({ "error": message }));
        }
    }

    /// A progress bar on a terminal; elsewhere a plain line every few seconds.
    pub(crate) fn progress(&self, what: &'static str, total: u64, unit: Unit) -> Progress {
        Progress::new(what, total, unit, std::io::stderr().is_terminal())
    }
}

/// Prints a line. A reader that has seen enough and gone, as `head` does, is no error of ours.
pub(crate) fn print(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Whether a character moves, hides or reorders what is beside it, on a terminal or in a page.
pub(crate) fn misleads(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// One line of text that comes from somebody else, with what [`misleads`] as its number.
pub(crate) fn visible(text: impl Display) -> String {
    let text = text.to_string();
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match misleads(char) {
            true => safe.extend(char.escape_unicode()),
            false => safe.push(char),
        }
    }
    safe
}

/// Where a file is made before it has its name, beside where it will be: it is whole or not there.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Writes a file whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<()> {
    let fresh = unfinished(path);
    let written = File::create(&fresh)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written.wrap_err_with(|| format!("cannot write {}", path.display()))
}

/// What a progress bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Bytes,
    Entries,
}

/// How often progress is told where there is no bar.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// Progress of long work.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    unit: Unit,
    terminal: bool,
    /// When it was last told where there is no bar.
    said: Option<Instant>,
    logged: bool,
}

/// How far work is, how fast it goes on, and how long that will take.
#[derive(Debug)]
struct Pace {
    percent: u64,
    rate: String,
    left: String,
}

impl Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { percent, rate, left } = self;
        write!(f, "{percent} %, {rate}/s, {left} left")
    }
}

impl Progress {
    fn new(what: &'static str, total: u64, unit: Unit, terminal: bool) -> Self {
        let target =
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = match unit {
            Unit::Bytes => "{msg:10} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
            Unit::Entries => "{msg:10} {bar:32} {pos}/{len} {per_sec} {eta} left",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▓░"));
        }
        bar.set_message(what);
        Self { bar, what, unit, terminal, said: Some(Instant::now()), logged: false }
    }

    /// Where there is no bar: tells the log, from the beginning on.
    pub(crate) fn logged(self) -> Self {
        Self { said: None, logged: true, ..self }
    }

    pub(crate) fn set(&mut self, position: u64) {
        self.bar.set_position(position);
        let Some(pace) = self.pace(Instant::now()) else { return };
        if !self.logged {
            eprintln!("{}: {pace}", self.what);
            return;
        }
        let Pace { percent, rate, left } = pace;
        let (what, of) = (self.what, self.bar.length());
        info!(what, of, percent, per_second = rate, left, "a long way to go");
    }

    /// Where there is no bar: how it gets on, if that was not told for some seconds.
    fn pace(&mut self, now: Instant) -> Option<Pace> {
        if self.terminal || self.said.is_some_and(|said| now < said + EVERY) {
            return None;
        }
        self.said = Some(now);
        let total = self.bar.length().unwrap_or_default().max(1);
        let rate = self.bar.per_sec() as u64;
        Some(Pace {
            percent: self.bar.position() * 100 / total,
            rate: match self.unit {
                Unit::Bytes => HumanBytes(rate).to_string(),
                Unit::Entries => grouped(rate),
            },
            left: match rate {
                0 => "unknown".to_owned(),
                _ => HumanDuration(self.bar.eta()).to_string(),
            },
        })
    }

    /// The same, of a total that is only known by now.
    pub(crate) fn of(&mut self, position: u64, total: u64) {
        self.bar.set_length(total);
        self.set(position);
    }

    pub(crate) fn add(&mut self, count: u64) {
        self.set(self.bar.position() + count);
    }

    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
    }
}

/// Rows under headings, numbers to the right.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |i: usize| {
        let cells = rows.iter().map(|row| row[i].chars().count());
        cells.chain([headings[i].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let numeric: [bool; N] = std::array::from_fn(|i| {
        rows.iter().all(|row| row[i].chars().all(|c| c.is_ascii_digit() || ",.-%".contains(c)))
    });
    let line = |cells: [&str; N]| {
        let padded = (0..N).map(|i| {
            let (cell, width) = (cells[i], widths[i]);
            if numeric[i] && N > 1 { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
    };
    let mut lines = vec![line(headings)];
    lines.extend(rows.iter().map(|row| line(std::array::from_fn(|i| row[i].as_str()))));
    lines.join("\n")
}

/// 1234567 as 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and what it counts, as one or as many.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_every_few_seconds_where_there_is_no_bar() {
        let begun = Instant::now() + Duration::from_secs(60);
        let mut plain = Progress::new("verifying", 200, Unit::Bytes, false);
        plain.set(50);
        let after = |seconds| begun + Duration::from_secs(seconds);
        let told = plain.pace(after(0)).expect("a line").to_string();
        assert!(told.starts_with("25 %, ") && told.contains("B/s, "), "{told}");
        assert!(told.ends_with(" left"), "{told}");
        plain.set(100);
        let lines = [1, 4, 5, 6, 11].map(|seconds| plain.pace(after(seconds)));
        assert_eq!(lines.map(|line| line.is_some()), [false, false, true, false, true]);
        assert_eq!(plain.pace(after(16)).expect("a line").percent, 50);
        // The log is told at once; a bar tells enough.
        assert!(Progress::new("blocks", 200, Unit::Entries, false).pace(Instant::now()).is_none());
        let mut logged = Progress::new("blocks", 200, Unit::Entries, false).logged();
        assert_eq!(logged.pace(begun).expect("a line").to_string(), "0 %, 0/s, unknown left");
        assert!(Progress::new("blocks", 200, Unit::Bytes, true).logged().pace(begun).is_none());
    }

    #[test]
    fn one_is_not_many() {
        let texts = [0, 1, 2_000].map(|number| counted(number, "batch", "batches"));
        assert_eq!(texts, ["0 batches", "1 batch", "2,000 batches"]);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let numbers = [0, 12, 999, 1_000, 38_260, 16_777_216];
        let texts = ["0", "12", "999", "1,000", "38,260", "16,777,216"];
        assert_eq!(numbers.map(grouped), texts.map(String::from));
    }

    #[test]
    fn a_table_puts_numbers_right_and_words_left() {
        let rows = [["acme".into(), "1,000".into()], ["b".into(), "2".into()]];
        assert_eq!(
            table(["tenant", "entries"], &rows),
            "tenant  entries\nacme      1,000\nb             2"
        );
    }
}
