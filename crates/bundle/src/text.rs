//! The lines of a bundle file: zstd frames, whose text is read line by line and held to bounds.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use cofferdam_core::MAX_LINE_BYTES;
use zstd::stream::read::Decoder;

/// What a zstd file begins with.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The text may be so many times as long as the file, …
const MAX_RATIO: u64 = 32;
/// … and as much more.
const SLACK: u64 = 16 << 20;
/// A line takes so many bytes of the file, since it holds a hash that nothing compresses, …
const LINE: u64 = 32;
/// … but for so many lines.
const FREE_LINES: u64 = 1 << 14;
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
    inflated: u64,
    lines: u64,
}

/// Counts what is read, for whoever watches as well, and notes an error of the file's own.
struct Counted<'a, R> {
    inner: R,
    watched: &'a AtomicU64,
    read: u64,
    broken: bool,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        match &read {
            Ok(count) => {
                self.read += *count as u64;
                self.watched.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.broken = true,
        }
        read
    }
}

impl<'a, R: Read> Lines<'a, R> {
    /// `watched` is where the bytes of the file are counted, perhaps with those of others.
    pub(crate) fn new(inner: R, watched: &'a AtomicU64) -> io::Result<Self> {
        let mut decoder = Decoder::new(Counted { inner, watched, read: 0, broken: false })?;
        decoder.window_log_max(WINDOW_LOG)?;
        let text = BufReader::with_capacity(1 << 17, decoder);
        Ok(Self { text, inflated: 0, lines: 0 })
    }

    fn file(&self) -> &Counted<'a, R> {
        self.text.get_ref().get_ref().get_ref()
    }

    /// Appends the next line without its end; `false` at the end of the text.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, Unreadable> {
        let begun = line.len();
        loop {
            if let Some(error) = self.text.fill_buf().err() {
                return match self.file().broken {
                    true => Err(Unreadable::File(error)),
                    false => refused(format_args!("compression: {error}")),
                };
            }
            let available = self.text.buffer();
            if available.is_empty() {
                return match line.len() == begun {
                    true => Ok(false),
                    false => refused("the last line has no end"),
                };
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = newline.unwrap_or(available.len());
            line.extend_from_slice(&available[..part]);
            let used = part + usize::from(newline.is_some());
            self.text.consume(used);
            self.inflated += used as u64;
            self.lines += u64::from(newline.is_some());
            if line.len() - begun > MAX_LINE_BYTES {
                return refused(format_args!("a line of more than {MAX_LINE_BYTES} bytes"));
            }
            let read = self.file().read;
            if self.inflated > read.saturating_mul(MAX_RATIO) + SLACK {
                return refused(format_args!(
                    "compression: more than {MAX_RATIO} times as much text as file"
                ));
            }
            if self.lines > read / LINE + FREE_LINES {
                return refused(format_args!(
                    "compression: more than a line for every {LINE} bytes of the file"
                ));
            }
            if newline.is_some() {
                return Ok(true);
            }
        }
    }
}

fn refused<T>(reason: impl ToString) -> Result<T, Unreadable> {
    Err(Unreadable::Refused(reason.to_string()))
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
    use alloy_primitives::{B256, keccak256};

    fn packed(lines: &[String]) -> Vec<u8> {
        let mut writer = Writer::new(vec![]);
        lines.iter().for_each(|line| writer.line(line).expect("memory"));
        writer.finish().expect("memory")
    }

    fn read(file: &[u8]) -> Result<Vec<String>, String> {
        // What was read of other files allows this one nothing.
        let watched = AtomicU64::new(1 << 40);
        let mut lines = Lines::new(file, &watched).expect("a decoder");
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
    fn there_are_no_more_lines_than_hashes() {
        let lines = |hash: fn(u64) -> B256| -> Vec<String> {
            (0..100_000).map(|n| format!("{{\"commitment\":\"{}\"}}", hash(n))).collect()
        };
        let own = lines(|n| keccak256(n.to_be_bytes()));
        assert_eq!(read(&packed(&own)).expect("each its own"), own);
        let same = zstd::bulk::compress((lines(|_| B256::ZERO).join("\n") + "\n").as_bytes(), 3);
        assert!(
            read(&same.expect("memory")).expect_err("all the same").contains("a line for every")
        );
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
