//! From a file to a bundle that is complete.

use std::{
    io,
    mem::{replace, take},
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
/// More than this at once is a long line: many of them, waiting, would take the memory.
const LONG: usize = 2 * CHUNK;
/// How many chunks wait for a thread, or for what it made of them to be taken.
const WAITING: usize = 2;
/// The most threads that hash.
const HASHERS: usize = 16;

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

/// What goes through the threads at once, in the order of the lines: lines, each with its end, …
type Text = Vec<Cut>;
type Cut = Part<Vec<u8>, Vec<u8>>;
/// … and what they say, up to the first that says nothing.
type Read = Vec<Part<Vec<Result<BundleEntry, Misread>>, Vec<Result<LaterBatch, ReceiptError>>>>;

/// What a thread is handed: to be read, or read already.
enum Handed {
    Text(Text),
    Read(Read),
}

enum Part<Entries, Later> {
    Batch(Result<BundleBatch, ReceiptError>),
    Entries(Entries),
    Later(Later),
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

/// Reads a whole bundle, and its batches too if `keep` is set; level 1 of `docs/bundle.md`. The bytes of
/// the file that were taken in are counted in `read`.
pub fn verify(
    file: impl io::Read + Send,
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

    let hashers = thread::available_parallelism().map_or(2, usize::from).min(HASHERS);
    thread::scope(|scope| {
        let (mut to, mut from) = (vec![], vec![]);
        for _ in 0..hashers {
            let (work, taken) = sync_channel(WAITING);
            let (done, given) = sync_channel(WAITING);
            scope.spawn(move || hash(&taken, &done));
            to.push(work);
            from.push(given);
        }
        scope.spawn(move || {
            Splitter { lines, to, turn: 0, work: vec![], length: 0 }.run(last, later);
        });
        // Dropping the receivers ends all threads.
        collect(check, from, keep)
    })
}

/// Everything is said, or nobody listens any more.
struct Over;

/// Cuts the text into work, one thread after the other, so that their answers come in the same order.
struct Splitter<'a, R: io::Read> {
    lines: Lines<'a, R>,
    to: Vec<SyncSender<Handed>>,
    turn: usize,
    /// What is handed over next, and how much text that is.
    work: Text,
    length: usize,
}

impl<R: io::Read> Splitter<'_, R> {
    fn run(mut self, last: u64, later: u64) {
        // What was cut until the end is handed over, if anybody listens.
        let _ = (self.split(last, later), self.send());
    }

    fn split(&mut self, last: u64, later: u64) -> Result<(), Over> {
        loop {
            let line = self.line()?;
            let batch = BundleBatch::from_json(&line);
            let held = batch.as_ref().map(|it| (it.first_seq.get(), it.count));
            let held = held.map_err(|_| Over);
            self.push(Part::Batch(batch), line.len())?;
            let (first, count) = held?;
            self.many(count, Part::Entries)?;
            if first.saturating_add(count) > last {
                break;
            }
        }
        self.many(later, Part::Later)?;
        self.line()?;
        self.push(Part::Surplus, 0)
    }

    /// So many lines of a kind.
    fn many(&mut self, count: u64, part: fn(Vec<u8>) -> Cut) -> Result<(), Over> {
        let mut text = vec![];
        for _ in 0..count {
            let whole = text.len();
            match self.lines.next(&mut text) {
                Ok(true) => text.push(b'\n'),
                end => {
                    text.truncate(whole);
                    self.push(part(text), whole)?;
                    return self.end(end.err());
                }
            }
            if self.length + text.len() >= CHUNK {
                let length = text.len();
                self.push(part(take(&mut text)), length)?;
            }
        }
        let length = text.len();
        self.push(part(text), length)
    }

    fn line(&mut self) -> Result<Vec<u8>, Over> {
        let mut line = vec![];
        match self.lines.next(&mut line) {
            Ok(true) => Ok(line),
            end => self.end(end.err()),
        }
    }

    fn end<T>(&mut self, why: Option<Unreadable>) -> Result<T, Over> {
        self.push(Part::End(why), 0)?;
        Err(Over)
    }

    fn push(&mut self, part: Cut, length: usize) -> Result<(), Over> {
        self.work.push(part);
        self.length += length;
        if self.length < CHUNK { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), Over> {
        let to = &self.to[self.turn % self.to.len()];
        self.turn += 1;
        let work = take(&mut self.work);
        let handed = match take(&mut self.length) > LONG {
            true => Handed::Read(read(work)),
            false => Handed::Text(work),
        };
        to.send(handed).map_err(|_| Over)
    }
}

/// Reads what it is given until there is no more, or nobody wants it.
fn hash(taken: &Receiver<Handed>, done: &SyncSender<Read>) {
    for handed in taken {
        let read = match handed {
            Handed::Text(work) => read(work),
            Handed::Read(read) => read,
        };
        if done.send(read).is_err() {
            return;
        }
    }
}

/// Reads lines, and hashes them.
fn read(work: Text) -> Read {
    let read = work.into_iter().map(|part| match part {
        Part::Batch(batch) => Part::Batch(batch),
        Part::Entries(text) => Part::Entries(entries(&text)),
        Part::Later(text) => Part::Later(later(&text)),
        Part::Surplus => Part::Surplus,
        Part::End(why) => Part::End(why),
    });
    read.collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    text.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1])
}

fn entries(text: &[u8]) -> Vec<Result<BundleEntry, Misread>> {
    let read = BundleEntry::from_lines(lines(text));
    let misread = |(read, line): (Result<_, _>, &[u8])| {
        read.map_err(|reason| {
            let after = BundleBatch::from_json(line).is_ok() || LaterBatch::from_json(line).is_ok();
            if after { Misread::After } else { Misread::Unreadable(reason) }
        })
    };
    read.into_iter().zip(lines(text)).map(misread).collect()
}

fn later(text: &[u8]) -> Vec<Result<LaterBatch, ReceiptError>> {
    let mut failed = false;
    lines(text)
        .map(LaterBatch::from_json)
        .take_while(|read| !replace(&mut failed, read.is_err()))
        .collect()
}

/// Puts it together again, in order.
fn collect(
    mut check: BundleCheck,
    from: Vec<Receiver<Read>>,
    keep: bool,
) -> Result<Verified, StreamError> {
    let mut batches = vec![];
    for part in from.iter().cycle().map_while(|given| given.recv().ok()).flatten() {
        match part {
            Part::Batch(batch) => {
                let index = check.next_batch();
                let batch = batch.map_err(|reason| BundleError::Batch { index, reason })?;
                check.batch(&batch)?;
                if keep {
                    batches.push(batch);
                }
            }
            Part::Entries(entries) => {
                for entry in entries {
                    let seq = check.next_seq();
                    check.entry(&entry.map_err(|misread| match misread {
                        Misread::After => BundleError::Missing(seq),
                        Misread::Unreadable(reason) => BundleError::Entry { seq, reason },
                    })?)?;
                }
            }
            Part::Later(all) => {
                for later in all {
                    let index = check.next_batch();
                    check.later(&later.map_err(|reason| BundleError::Batch { index, reason })?)?;
                }
            }
            Part::Surplus => return Err(BundleError::Misplaced("the end".to_owned()).into()),
            Part::End(Some(why)) => return Err(why.into()),
            Part::End(None) if check.expects() == BundleLine::End => {
                return Ok(Verified { checked: check.finish()?, batches });
            }
            Part::End(None) => break,
        }
    }
    Err(StreamError::Truncated(check.due()))
}
