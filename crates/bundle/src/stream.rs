//! From a file to a bundle that is complete.

use std::{
    io::{self, Read},
    sync::{
        atomic::AtomicU64,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use cofferdam_core::{
    BundleBatch, BundleCheck, BundleEntry, BundleError, BundleLine, CheckedBundle, LaterBatch,
    Manifest, ReceiptError,
};

use crate::text::{Lines, Unreadable};

/// About how much text a thread is handed at once.
const CHUNK: usize = 256 << 10;
/// How many chunks wait for a thread, or for what it made of them to be taken.
const WAITING: usize = 2;

/// A bundle that agrees with itself and is complete.
#[derive(Debug)]
pub struct Verified {
    /// What it shows.
    pub checked: CheckedBundle,
    /// Its batches, if they were to be kept.
    pub batches: Vec<BundleBatch>,
}

/// Why there is no telling, or why a bundle is refused.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The file itself cannot be read: nothing is known of the bundle.
    #[error(transparent)]
    File(io::Error),
    /// Its compression or its lines are refused.
    #[error("{0}")]
    Text(String),
    /// It ends too early.
    #[error("the text ends where {0} should follow")]
    Truncated(String),
    /// What the lines say is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl From<Unreadable> for StreamError {
    fn from(why: Unreadable) -> Self {
        match why {
            Unreadable::File(error) => Self::File(error),
            Unreadable::Refused(reason) => Self::Text(reason),
        }
    }
}

/// What goes through the threads, in the order of the lines.
enum Work {
    Batch(Result<BundleBatch, ReceiptError>),
    /// Lines of entries, each with its end.
    Entries(Vec<u8>),
    Later(Result<LaterBatch, ReceiptError>),
    Surplus,
    /// The text ends, or cannot be read on.
    End(Option<Unreadable>),
}

/// What a line in the place of an entry is instead.
enum Misread {
    /// What comes after the batch.
    After,
    /// Nothing that a bundle has.
    Unreadable(ReceiptError),
}

/// The same with its entries hashed.
enum Done {
    Entries(Vec<Result<BundleEntry, Misread>>),
    Other(Work),
}

/// Reads a whole bundle, and its batches too if `keep` is set; level 1 of `docs/bundle.md`. The bytes of
/// the file that were taken in are counted in `read`.
pub fn verify(
    file: impl Read + Send,
    read: &AtomicU64,
    keep: bool,
) -> Result<Verified, StreamError> {
    let mut lines = Lines::new(file, read).map_err(StreamError::File)?;
    let (mut manifest, mut signature) = (vec![], vec![]);
    for (line, what) in [(&mut manifest, "the manifest"), (&mut signature, "the signature")] {
        if !lines.next(line)? {
            return Err(StreamError::Truncated(what.to_owned()));
        }
    }
    let check = BundleCheck::open(&manifest, &signature)?;
    drop((manifest, signature));
    let Manifest { last, history, .. } = check.manifest();
    let (last, later) = (last.seq.get(), history.batches - last.batch.get() - 1);

    let hashers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let (mut to, mut from) = (vec![], vec![]);
        for _ in 0..hashers {
            let (work, taken) = sync_channel(WAITING);
            let (done, given) = sync_channel(WAITING);
            scope.spawn(move || hash(&taken, &done));
            to.push(work);
            from.push(given);
        }
        scope.spawn(move || Splitter { lines, to, turn: 0 }.run(last, later));
        // Dropping the receivers ends all threads.
        collect(check, from, keep)
    })
}

/// Everything is said, or nobody listens any more.
struct Over;

/// Cuts the text into work, one thread after the other, so that their answers come in the same order.
struct Splitter<'a, R: Read> {
    lines: Lines<'a, R>,
    to: Vec<SyncSender<Work>>,
    turn: usize,
}

impl<R: Read> Splitter<'_, R> {
    fn run(mut self, last: u64, later: u64) -> Result<(), Over> {
        let mut line = vec![];
        loop {
            self.line(&mut line)?;
            let batch = BundleBatch::from_json(&line);
            let Ok(BundleBatch { first_seq, count, .. }) = batch else {
                return self.send(Work::Batch(batch));
            };
            self.send(Work::Batch(batch))?;
            self.entries(count)?;
            if first_seq.get().saturating_add(count) > last {
                break;
            }
        }
        for _ in 0..later {
            self.line(&mut line)?;
            self.send(Work::Later(LaterBatch::from_json(&line)))?;
        }
        self.line(&mut line)?;
        self.send(Work::Surplus)
    }

    fn entries(&mut self, count: u64) -> Result<(), Over> {
        let mut chunk = vec![];
        for _ in 0..count {
            let whole = chunk.len();
            match self.lines.next(&mut chunk) {
                Ok(true) => chunk.push(b'\n'),
                end => {
                    chunk.truncate(whole);
                    self.send(Work::Entries(chunk))?;
                    return self.end(end.err());
                }
            }
            if chunk.len() >= CHUNK {
                self.send(Work::Entries(std::mem::take(&mut chunk)))?;
            }
        }
        self.send(Work::Entries(chunk))
    }

    fn line(&mut self, line: &mut Vec<u8>) -> Result<(), Over> {
        line.clear();
        match self.lines.next(line) {
            Ok(true) => Ok(()),
            end => self.end(end.err()),
        }
    }

    fn end(&mut self, why: Option<Unreadable>) -> Result<(), Over> {
        self.send(Work::End(why))?;
        Err(Over)
    }

    fn send(&mut self, work: Work) -> Result<(), Over> {
        let to = &self.to[self.turn % self.to.len()];
        self.turn += 1;
        to.send(work).map_err(|_| Over)
    }
}

/// Hashes what it is given until there is no more, or nobody wants it.
fn hash(taken: &Receiver<Work>, done: &SyncSender<Done>) {
    for work in taken {
        let result = match work {
            Work::Entries(lines) => Done::Entries(entries(&lines)),
            other => Done::Other(other),
        };
        if done.send(result).is_err() {
            return;
        }
    }
}

fn entries(lines: &[u8]) -> Vec<Result<BundleEntry, Misread>> {
    let lines = lines.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]);
    let read = BundleEntry::from_lines(lines.clone());
    let misread = |(read, line): (Result<_, _>, &[u8])| {
        read.map_err(|reason| {
            let after = BundleBatch::from_json(line).is_ok() || LaterBatch::from_json(line).is_ok();
            if after { Misread::After } else { Misread::Unreadable(reason) }
        })
    };
    read.into_iter().zip(lines).map(misread).collect()
}

/// Puts it together again, in order.
fn collect(
    mut check: BundleCheck,
    from: Vec<Receiver<Done>>,
    keep: bool,
) -> Result<Verified, StreamError> {
    let mut batches = vec![];
    for given in from.iter().cycle() {
        let Ok(done) = given.recv() else { break };
        match done {
            Done::Entries(entries) => {
                for entry in entries {
                    let seq = check.next_seq();
                    check.entry(&entry.map_err(|misread| match misread {
                        Misread::After => BundleError::Missing(seq),
                        Misread::Unreadable(reason) => BundleError::Entry { seq, reason },
                    })?)?;
                }
            }
            Done::Other(Work::Batch(batch)) => {
                let index = check.next_batch();
                let batch = batch.map_err(|reason| BundleError::Batch { index, reason })?;
                check.batch(&batch)?;
                if keep {
                    batches.push(batch);
                }
            }
            Done::Other(Work::Later(later)) => {
                let index = check.next_batch();
                check.later(&later.map_err(|reason| BundleError::Batch { index, reason })?)?;
            }
            Done::Other(Work::End(Some(why))) => return Err(why.into()),
            Done::Other(Work::End(None)) if check.expects() == BundleLine::End => {
                return Ok(Verified { checked: check.finish()?, batches });
            }
            Done::Other(Work::End(None)) => break,
            Done::Other(Work::Surplus | Work::Entries(_)) => {
                return Err(BundleError::Misplaced("the end".to_owned()).into());
            }
        }
    }
    Err(StreamError::Truncated(check.due()))
}
