//! Where the records come from: files, folders and standard input, gzipped or not.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::error::IngestError;

/// The endings of the files that a folder is searched for; each may be followed by `.gz`.
pub const SUFFIXES: [&str; 4] = [".json", ".jsonl", ".ndjson", ".log"];

/// The first two bytes of every gzip member.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// One file to read, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    place: Place,
    size: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Stdin,
}

impl Source {
    /// The file's path, or `stdin`, as messages name it.
    pub fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Stdin => "stdin".to_owned(),
        }
    }

    /// The size on disk in bytes, compressed if the file is; `None` when it cannot be known
    /// beforehand (standard input, pipes).
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Opens the source and unpacks it if it is gzipped.
    pub(super) fn open(&self) -> Result<(Box<dyn Read + Send>, Progress), IngestError> {
        let progress = Progress::default();
        let failed = |source| IngestError::Open { file: self.name(), source };
        let input: Box<dyn Read + Send> = match &self.place {
            Place::File(path) => Box::new(File::open(path).map_err(failed)?),
            Place::Stdin => Box::new(io::stdin()),
        };
        let input = unpack(Counted { input, progress: progress.clone() }).map_err(failed)?;
        Ok((input, progress))
    }
}

/// How many bytes of a source have been read: the file's own bytes, before unpacking.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// The bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what passes through.
struct Counted<R> {
    input: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.progress.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Unpacks what begins like gzip, every member of it, and passes on what does not.
fn unpack(mut input: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::with_capacity(GZIP.len());
    input.by_ref().take(GZIP.len() as u64).read_to_end(&mut head)?;
    let gzip = head == GZIP;
    let whole = Cursor::new(head).chain(input);
    Ok(if gzip {
        let buffered = io::BufReader::with_capacity(64 * 1024, whole);
        Box::new(MultiGzDecoder::new(buffered))
    } else {
        Box::new(whole)
    })
}

/// The sources that `paths` name, in the order in which they are read.
///
/// A file is taken whatever its name. A folder is searched with all folders in it for files ending
/// in one of [`SUFFIXES`], with or without `.gz` and in any letter case, in bytewise order of their
/// names; names that begin with a dot are passed over, and so are links to folders, which could
/// lead in circles. `-` is standard input.
pub fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, IngestError> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let stdin = Source { place: Place::Stdin, size: None };
            if found.contains(&stdin) {
                return Err(IngestError::StdinTwice);
            }
            found.push(stdin);
            continue;
        }
        let metadata = fs::metadata(path)
            .map_err(|source| IngestError::Open { file: path.display().to_string(), source })?;
        if metadata.is_dir() {
            let before = found.len();
            search(path, &mut found)?;
            if found.len() == before {
                return Err(IngestError::EmptyFolder { folder: path.display().to_string() });
            }
        } else {
            let size = metadata.is_file().then_some(metadata.len());
            found.push(Source { place: Place::File(path.clone()), size });
        }
    }
    Ok(found)
}

/// Adds the files in `folder` and in all folders under it.
fn search(folder: &Path, found: &mut Vec<Source>) -> Result<(), IngestError> {
    let failed = |source| IngestError::List { folder: folder.display().to_string(), source };
    let mut entries =
        fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            search(&path, found)?;
        } else if is_log(&name.to_string_lossy()) {
            let metadata = fs::metadata(&path)
                .map_err(|source| IngestError::Open { file: path.display().to_string(), source })?;
            if metadata.is_file() {
                found.push(Source { place: Place::File(path), size: Some(metadata.len()) });
            }
        }
    }
    Ok(())
}

/// True for the file names that a folder is searched for.
fn is_log(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}
