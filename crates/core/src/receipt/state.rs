//! How settled an entry is, and which members a receipt has accordingly.

use super::{ProofBlock, object::word};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// How settled an entry was when its receipt was made, by the word of whoever made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Appended, and in no block yet.
    Pending,
    /// In a block.
    Included,
    /// In a block at or below `safe`.
    Safe,
    /// In a block at or below `finalized`.
    Final,
}

/// How settled a block was; only a final one can be proven against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finality {
    /// In a block.
    Included,
    /// At or below `safe`.
    Safe,
    /// At or below `finalized`; the proof is absent where nobody could make one.
    Final(Option<Box<ProofBlock>>),
}

/// A member that a receipt may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Member {
    /// The batch.
    Batch,
    /// The entry's leaf.
    Position,
    /// The path to the batch root.
    Path,
    /// The path into the history.
    History,
    /// The event.
    Anchor,
    /// The storage proof.
    ProofBlock,
}

impl Finality {
    /// The state that this is called.
    pub const fn state(&self) -> State {
        match self {
            Self::Included => State::Included,
            Self::Safe => State::Safe,
            Self::Final(_) => State::Final,
        }
    }

    /// The storage proof, if there is one.
    pub fn proof(&self) -> Option<&ProofBlock> {
        match self {
            Self::Final(proof) => proof.as_deref(),
            Self::Included | Self::Safe => None,
        }
    }
}

impl State {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Included, Self::Safe, Self::Final];

    /// Its name in a receipt.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Included => "included",
            Self::Safe => "safe",
            Self::Final => "final",
        }
    }
}

impl Member {
    /// All that may be absent, in the order in which `lacks` lists them.
    pub const ALL: [Self; 6] =
        [Self::Batch, Self::Position, Self::Path, Self::History, Self::Anchor, Self::ProofBlock];

    /// Its name in a receipt.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Position => "position",
            Self::Path => "path",
            Self::History => "history",
            Self::Anchor => "anchor",
            Self::ProofBlock => "proofBlock",
        }
    }
}

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        word(d, &Self::ALL, |it| it.as_str())
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        word(d, &Self::ALL, |it| it.as_str())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
