//! The lines of a bundle file: zstd frames, whose text is read line by line and held to bounds.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use cofferdam_core::MAX_LINE_BYTES;
use zstd::stream::read::Decoder;

/// What a zstd file begins with.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The text may be so many times as long as the file, …
const MAX_RATIO: u64 = 32;
/// … and as much more.
const SLACK: u64 = 16 << 20;
/// No frame needs more memory than 2 to this many bytes.
const WINDOW_LOG: u32 = 24;
/// How much text is compressed at once.
const FRAME: usize = 1 << 20;
/// zstd's default.
const LEVEL: i32 = 3;

/// Why there is no next line.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The file itself cannot be read.
    File(io::Error),
    /// What is in it is refused.
    Refused(String),
}

/// Reads lines.
pub(crate) struct Lines<'a, R: Read> {
    text: BufReader<Decoder<'static, BufReader<Counted<'a, R>>>>,
    read: &'a AtomicU64,
    broken: Arc<AtomicBool>,
    inflated: u64,
}

/// Counts what is read, and notes an error of the file's own.
struct Counted<'a, R> {
    inner: R,
    read: &'a AtomicU64,
    broken: Arc<AtomicBool>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(count) => drop(self.read.fetch_add(*count as u64, Ordering::Relaxed)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.broken.store(true, Ordering::Relaxed),
        }
        read
    }
}

impl<'a, R: Read> Lines<'a, R> {
    /// `read` is where the bytes of the file are counted.
    pub(crate) fn new(inner: R, read: &'a AtomicU64) -> io::Result<Self> {
        let broken = Arc::new(AtomicBool::new(false));
        let counted = Counted { inner, read, broken: Arc::clone(&broken) };
        let mut decoder = Decoder::new(counted)?;
        decoder.window_log_max(WINDOW_LOG)?;
        let text = BufReader::with_capacity(1 << 17, decoder);
        Ok(Self { text, read, broken, inflated: 0 })
    }

    /// Appends the next line without its end; `false` at the end of the text.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, Unreadable> {
        let begun = line.len();
        loop {
            let available = self.text.fill_buf().map_err(|error| {
                match self.broken.load(Ordering::Relaxed) {
                    true => Unreadable::File(error),
                    false => Unreadable::Refused(format!("compression: {error}")),
                }
            })?;
            if available.is_empty() {
                return match line.len() == begun {
                    true => Ok(false),
                    false => Err(Unreadable::Refused("the last line has no end".into())),
                };
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = newline.unwrap_or(available.len());
            line.extend_from_slice(&available[..part]);
            let used = part + usize::from(newline.is_some());
            self.text.consume(used);
            self.inflated += used as u64;
            if line.len() - begun > MAX_LINE_BYTES {
                return Err(Unreadable::Refused(format!(
                    "a line of more than {MAX_LINE_BYTES} bytes"
                )));
            }
            let bound = self.read.load(Ordering::Relaxed).saturating_mul(MAX_RATIO) + SLACK;
            if self.inflated > bound {
                return Err(Unreadable::Refused(format!(
                    "compression: more than {MAX_RATIO} times as much text as file"
                )));
            }
            if newline.is_some() {
                return Ok(true);
            }
        }
    }
}

/// Writes lines so that every reader's bounds are kept.
#[derive(Debug)]
pub struct Writer<W: Write> {
    inner: W,
    frame: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn new(inner: W) -> Self {
        Self { inner, frame: vec![] }
    }

    /// Writes a line, and its end.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        self.frame.extend_from_slice(line.as_bytes());
        self.frame.push(b'\n');
        if self.frame.len() < FRAME { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.frame, LEVEL)?;
        // What would look like a bomb is stored as it is.
        match (packed.len() as u64).saturating_mul(MAX_RATIO) < self.frame.len() as u64 {
            true => self.inner.write_all(&stored(&self.frame)?)?,
            false => self.inner.write_all(&packed)?,
        }
        self.frame.clear();
        Ok(())
    }

    /// Writes what is left and hands the file back.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.inner)
    }
}

/// A frame of raw blocks (RFC 8878): magic, a descriptor that says "one segment, four bytes of size", the
/// size, and blocks of at most 128 KiB.
fn stored(text: &[u8]) -> io::Result<Vec<u8>> {
    const BLOCK: usize = 128 << 10;
    let size = u32::try_from(text.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(text.len() + text.len() / 1_000 + 16);
    frame.extend_from_slice(&MAGIC);
    frame.push(0b1010_0000);
    frame.extend_from_slice(&size.to_le_bytes());
    let blocks = text.chunks(BLOCK);
    let last = blocks.len() - 1;
    for (index, block) in blocks.enumerate() {
        let header = (block.len() as u32) << 3 | u32::from(index == last);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(lines: &[String]) -> Vec<u8> {
        let mut writer = Writer::new(vec![]);
        lines.iter().for_each(|line| writer.line(line).expect("memory"));
        writer.finish().expect("memory")
    }

    fn read(file: &[u8]) -> Result<Vec<String>, String> {
        let read = AtomicU64::new(0);
        let mut lines = Lines::new(file, &read).expect("a decoder");
        let (mut all, mut line) = (vec![], vec![]);
        loop {
            match lines.next(&mut line) {
                Ok(true) => all.push(String::from_utf8(std::mem::take(&mut line)).expect("ours")),
                Ok(false) => return Ok(all),
                Err(Unreadable::Refused(reason)) => return Err(reason),
                Err(Unreadable::File(error)) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn what_is_written_is_read_however_well_it_compresses() {
        let words = |n: usize| (0..n).map(|i| format!("{:x}", i * 7_919)).collect::<String>();
        let lines =
            vec!["a".to_owned(), String::new(), words(3), "z".repeat(3 << 20), words(900_000)];
        let file = packed(&lines);
        assert_eq!(read(&file).expect("its own"), lines);
        // 60 MB of the same letter is far beyond what may be inflated; stored, it is not.
        let zeros: Vec<_> = (0..60).map(|_| "0".repeat(1 << 20)).collect();
        assert_eq!(read(&packed(&zeros)).expect("its own").len(), 60);
    }

    #[test]
    fn bombs_truncation_and_surplus_are_refused() {
        let bomb = |frame: usize, frames: usize| {
            let text = [vec![b' '; frame - 1], vec![b'\n']].concat();
            zstd::bulk::compress(&text, 19).expect("memory").repeat(frames)
        };
        assert!(bomb(1 << 20, 1_000).len() < 1 << 20, "a gigabyte in a megabyte");
        assert!(read(&bomb(1 << 20, 1_000)).expect_err("a bomb").contains("32 times"));
        assert!(read(&bomb(9 << 20, 1)).expect_err("a long line").contains("a line of more than"));
        // A frame that wants 128 MiB of window, and has nothing.
        let wide = [&MAGIC[..], &[0x00, 17 << 3], &[1, 0, 0]].concat();
        assert!(read(&wide).expect_err("wide").contains("compression"));

        let whole = packed(&["one".into(), "two".into()]);
        for cut in 1..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        assert!(read(&[&whole[..], b"more"].concat()).is_err());
        let open = zstd::bulk::compress(b"one\ntwo", 3).expect("memory");
        assert!(read(&open).expect_err("no end").contains("no end"));
    }
}
