//! The reader of audit logs, from files on disk to records.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bad_input;
mod formats;
mod logs;
mod sources;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cofferdam_cli::ingest::{self, Format, IngestError, Record, Source};
use flate2::Compression;
use flate2::write::GzEncoder;

/// A folder of log files that lasts as long as a test.
struct Logs(tempfile::TempDir);

impl Logs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

/// The one source that a path to a file is.
fn source(path: &Path) -> Source {
    let mut sources = ingest::sources(&[path.to_owned()]).unwrap();
    assert_eq!(sources.len(), 1);
    sources.remove(0)
}

/// The records of a file, or the error that ended them.
fn read_file(path: &Path, format: &Format) -> Result<Vec<Record>, IngestError> {
    ingest::read(&source(path), format)?.collect()
}

/// The records of a file that holds `content`.
fn read(content: impl AsRef<[u8]>, format: &Format) -> Result<Vec<Record>, IngestError> {
    read_file(&Logs::new().file("log.json", content), format)
}

/// What is said about a file `events.json` that holds `content`, without the folder's name.
fn complaint(content: impl AsRef<[u8]>, format: &Format) -> String {
    let logs = Logs::new();
    let path = logs.file("events.json", content);
    let error = read_file(&path, format).expect_err("the file should be refused");
    let folder = format!("{}/", logs.path().display());
    let message = error.to_string();
    assert!(message.starts_with(&folder), "{message}");
    message[folder.len()..].to_owned()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}
