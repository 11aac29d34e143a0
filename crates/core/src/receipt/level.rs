//! How far a receipt was verified, and what was trusted for it.

use alloy_primitives::{Address, B256};
use serde::{Serialize, Serializer};
use std::fmt;

/// How far a receipt was verified. Each level but the second includes the ones before it; a
/// receipt without a proof block reaches the third without the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It agrees with itself, from the fields to the claimed batch commitment. Nothing is trusted,
    /// and anybody could have made it.
    SelfConsistent = 1,
    /// Its storage proof leads to a header whose hash the auditor pinned.
    HeaderProved,
    /// The auditor's endpoints confirm it.
    ChainConfirmed,
    /// They also say that its block is final.
    Final,
}

impl Level {
    /// 1 to 4.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What had to be believed for it.
    pub const fn trusted(self) -> &'static str {
        match self {
            Self::SelfConsistent => "nothing; that it was anchored is not shown",
            Self::HeaderProved => "the policy's chain id, contract, code hash and block hash",
            Self::ChainConfirmed => "the policy's chain id and contract, and the RPC endpoint",
            Self::Final => {
                "the policy's chain id and contract, and the RPC endpoint, also on what is final"
            }
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfConsistent => "self-consistent",
            Self::HeaderProved => "header-proved",
            Self::ChainConfirmed => "chain-confirmed",
            Self::Final => "final",
        })
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(self.number())
    }
}

/// What a verifier trusts. It comes from the verifier, never from a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The chain's id.
    pub chain_id: u64,
    /// `AuditAnchor` on that chain.
    pub contract: Address,
    /// The hash of its code.
    pub code_hash: Option<B256>,
    /// Hashes of blocks of that chain that the verifier knows to be its own.
    pub block_hashes: Vec<B256>,
}
