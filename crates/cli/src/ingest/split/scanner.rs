//! Where one JSON value ends.

/// What the scanner makes of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The value goes on after this chunk.
    More,
    /// The value is complete.
    Done,
    /// The `[` of the envelope's array has been read.
    Envelope,
}

/// What the scanner stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Structure,
    String,
    Escape,
    Scalar,
}

/// Finds the end of one value, a chunk at a time.
#[derive(Debug)]
pub(super) struct Scanner {
    mode: Mode,
    depth: usize,
    member: Option<Member>,
}

/// Follows the keys of an object to recognise an envelope.
#[derive(Debug)]
struct Member {
    name: String,
    /// The key being read, or last read, cut one byte past the name's length.
    key: Vec<u8>,
    /// Before the colon, where a string is a key; after it stands that key's value.
    in_key: bool,
}

impl Scanner {
    /// Scans a value; `member` names the array member that makes an object an envelope.
    pub(super) fn new(member: Option<String>) -> Self {
        let member = member.map(|name| Member { name, key: Vec::new(), in_key: true });
        Self { mode: Mode::Structure, depth: 0, member }
    }

    /// True when the end of the input also ends this value.
    pub(super) fn may_end(&self) -> bool {
        self.mode == Mode::Scalar
    }

    /// How many of `bytes` belong to the value, and what follows from them.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> (usize, Step) {
        let mut at = 0;
        while at < bytes.len() {
            match self.mode {
                Mode::String => {
                    let rest = &bytes[at..];
                    let plain = rest
                        .iter()
                        .position(|&byte| byte == b'"' || byte == b'\\')
                        .unwrap_or(rest.len());
                    self.follow_key(&rest[..plain]);
                    at += plain;
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    if byte == b'\\' {
                        self.follow_key(b"\\");
                        self.mode = Mode::Escape;
                    } else {
                        self.mode = Mode::Structure;
                        if self.depth == 0 {
                            return (at, Step::Done);
                        }
                    }
                }
                Mode::Escape => {
                    at += 1;
                    self.mode = Mode::String;
                }
                Mode::Scalar => {
                    if ends_scalar(bytes[at]) {
                        return (at, Step::Done);
                    }
                    at += 1;
                }
                Mode::Structure => {
                    let byte = bytes[at];
                    at += 1;
                    if self.depth == 1 && self.follow_structure(byte) {
                        return (at, Step::Envelope);
                    }
                    match byte {
                        b'"' => self.mode = Mode::String,
                        b'{' | b'[' => self.depth += 1,
                        b'}' | b']' => {
                            self.depth -= 1;
                            if self.depth == 0 {
                                return (at, Step::Done);
                            }
                        }
                        _ if self.depth == 0 => self.mode = Mode::Scalar,
                        _ => {}
                    }
                }
            }
        }
        (at, Step::More)
    }

    /// Takes note of part of a string, when that string is a key that matters.
    fn follow_key(&mut self, part: &[u8]) {
        if let (1, Some(member)) = (self.depth, &mut self.member)
            && member.in_key
        {
            let room = (member.name.len() + 1).saturating_sub(member.key.len());
            member.key.extend_from_slice(&part[..part.len().min(room)]);
        }
    }

    /// Takes note of a byte between an object's members; true when it opens the envelope's array.
    fn follow_structure(&mut self, byte: u8) -> bool {
        let Some(member) = &mut self.member else { return false };
        match byte {
            b':' => member.in_key = false,
            b',' => {
                member.in_key = true;
                member.key.clear();
            }
            b'[' if !member.in_key && member.key == member.name.as_bytes() => {
                // A second array of that name is a duplicate key, not more records.
                self.member = None;
                return true;
            }
            _ => {}
        }
        false
    }
}

/// White space as JSON has it.
pub(super) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn ends_scalar(byte: u8) -> bool {
    is_white_space(byte) || matches!(byte, b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']')
}
