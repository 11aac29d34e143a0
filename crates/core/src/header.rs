//! A block's header, as raw bytes whose hash somebody vouches for.

use alloy_primitives::{B256, keccak256};
use alloy_rlp::Decodable;

/// What is read of a header, by position: later forks append items, and never move one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// The hash of the raw bytes.
    pub hash: B256,
    /// The root of the state after this block; item 3.
    pub state_root: B256,
    /// Its height; item 8.
    pub number: u64,
    /// Its time, in Unix seconds; item 11.
    pub timestamp: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not exactly one RLP list.
    #[error("not one RLP list: {0}")]
    List(alloy_rlp::Error),
    /// Bytes follow the list.
    #[error("{0} bytes follow the list")]
    Trailing(usize),
    /// An item is missing or of another form.
    #[error("item {item}: {source}")]
    Item {
        /// Its position, from 0.
        item: usize,
        /// Why.
        source: alloy_rlp::Error,
    },
}

/// Every header since the first has had these.
const ITEMS: usize = 15;

impl BlockHeader {
    /// Reads raw header bytes; items after the fifteenth are ignored.
    pub fn decode(raw: &[u8]) -> Result<Self, HeaderError> {
        Self::hashed(keccak256(raw), raw)
    }

    /// The same of bytes whose hash is known.
    pub(crate) fn hashed(hash: B256, raw: &[u8]) -> Result<Self, HeaderError> {
        let mut rest = raw;
        let mut list =
            alloy_rlp::Header::decode_bytes(&mut rest, true).map_err(HeaderError::List)?;
        if !rest.is_empty() {
            return Err(HeaderError::Trailing(rest.len()));
        }
        let mut header = Self { hash, state_root: B256::ZERO, number: 0, timestamp: 0 };
        for item in 0..ITEMS {
            let read = match item {
                3 => B256::decode(&mut list).map(|root| header.state_root = root),
                8 => u64::decode(&mut list).map(|number| header.number = number),
                11 => u64::decode(&mut list).map(|time| header.timestamp = time),
                _ => alloy_rlp::Header::decode_bytes(&mut list, false).map(drop),
            };
            read.map_err(|source| HeaderError::Item { item, source })?;
        }
        Ok(header)
    }
}
