//! What an auditor does with a file from somebody they do not trust: no database, and at most some
//! endpoints, which must agree.

mod bundle;
mod endpoints;
mod files;
mod history;
mod receipt;
mod report;
mod trust;

pub(crate) use bundle::bundle;
pub(crate) use endpoints::{Claim, Endpoint, Endpoints};
pub(crate) use files::collect;
pub(crate) use history::{AnchoredBatch, read as history};
pub(crate) use receipt::receipt;
pub(crate) use report::page;
pub(crate) use trust::{Trust, TrustArgs, VerifierPolicy};

use std::path::Path;

use alloy::eips::BlockNumberOrTag;
use cofferdam_core::{BlockHeader, Level, Seq};
use eyre::Result;
use serde_json::{Value, json};

use crate::output::visible;

/// A block, as an argument names it.
pub(crate) fn block(text: &str) -> std::result::Result<BlockNumberOrTag, String> {
    match text {
        "latest" => Ok(BlockNumberOrTag::Latest),
        "safe" => Ok(BlockNumberOrTag::Safe),
        "finalized" => Ok(BlockNumberOrTag::Finalized),
        number => number
            .parse()
            .map(BlockNumberOrTag::Number)
            .map_err(|_| format!("{text:?} is no block; give a number, latest, safe or finalized")),
    }
}

/// What was found out about a file.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// All of it is true.
    Valid(Box<Valid>),
    /// A check failed.
    Invalid(Refusal),
    /// Nothing was found wrong, and too little is known.
    Undecided(String),
}

/// Why a file was refused: the check, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) check: &'static str,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(check: &'static str, reason: impl std::fmt::Display) -> Self {
        // It may quote the file.
        Self { check, reason: visible(reason) }
    }

    /// The same, of what calls itself this entry.
    fn of_entry(self, seq: Seq) -> Self {
        Self { reason: format!("entry {seq}: {}", self.reason), ..self }
    }
}

/// A file that is true, and what it says.
#[derive(Debug)]
pub(crate) struct Valid {
    pub(crate) reached: Reached,
    /// For a program.
    pub(crate) json: Value,
    /// For a person at a terminal, without the level.
    pub(crate) text: String,
    /// The tenant.
    pub(crate) tenant: String,
    /// The entry, or the entries.
    pub(crate) entries: String,
    /// When the last of them was anchored, in Unix seconds.
    pub(crate) anchored_at: u64,
    /// Where.
    pub(crate) place: String,
    /// What is disclosed, cut to what a person reads.
    pub(crate) said: Vec<(&'static str, String)>,
    /// What is not.
    pub(crate) unsaid: String,
}

/// How far a file was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) level: Level,
    /// Whether a path into the history was rebuilt.
    pub(crate) refreshed: bool,
    /// The block whose storage was proven.
    pub(crate) under: Option<BlockHeader>,
}

impl Reached {
    /// By pinned hashes alone.
    fn header_proved(block: BlockHeader) -> Self {
        Self { level: Level::HeaderProved, refreshed: false, under: Some(block) }
    }

    /// "proven under …", or "confirmed".
    fn by(&self) -> String {
        match self.under {
            Some(block) => format!("proven under block {} {}", block.number, block.hash),
            None => "confirmed".to_owned(),
        }
    }
}

/// The most characters of a value that a report shows.
const SHOWN: usize = 400;

/// A value cut to what a person reads.
fn shown(value: &str) -> String {
    let mut chars = value.chars();
    let mut text: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}

/// The outer error is "could not tell".
impl From<Result<Result<Valid, Refusal>>> for Judgement {
    fn from(outcome: Result<Result<Valid, Refusal>>) -> Self {
        match outcome {
            Ok(Ok(valid)) => Self::Valid(Box::new(valid)),
            Ok(Err(refusal)) => Self::Invalid(refusal),
            Err(error) => Self::Undecided(format!("{error:#}")),
        }
    }
}

impl Judgement {
    /// The exit code that this alone would have.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Valid(_) => 0,
            Self::Invalid(_) => 1,
            Self::Undecided(_) => 2,
        }
    }

    /// As one JSON object.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Valid(valid) => valid.json.clone(),
            Self::Invalid(Refusal { check, reason }) => {
                json!({ "valid": false, "check": check, "reason": reason })
            }
            Self::Undecided(reason) => json!({ "valid": null, "reason": reason }),
        }
    }

    /// For a person.
    pub(crate) fn text(&self, file: &Path) -> String {
        let file = visible(file.display());
        match self {
            Self::Valid(valid) => {
                let level = valid.reached.level;
                let (number, trusted) = (level.number(), level.trusted());
                let text = &valid.text;
                format!("VALID {file}\n{text}\n  level {number}, {level}; trusted: {trusted}")
            }
            Self::Invalid(Refusal { check, reason }) => {
                format!("INVALID {file}\n  {check}: {reason}")
            }
            Self::Undecided(reason) => format!("CANNOT TELL {file}\n  {reason}"),
        }
    }
}
