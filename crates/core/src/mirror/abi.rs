//! Between a log's words and a row's values.

use alloy_primitives::{B256, Bytes, U128, U256};

use super::{Abi, Member, MirrorEvent, Row, Value};

const WORD: usize = 32;

/// Why a log is none of the event that its topic names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Too many or too few topics.
    #[error("{event} has {expected} topics, found {found}")]
    Topics {
        /// The event.
        event: &'static str,
        /// How many it has.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// Too much or too little data, or data that is laid out in another way.
    #[error("{event} has other data than {found} bytes laid out like this")]
    Data {
        /// The event.
        event: &'static str,
        /// How many there were.
        found: usize,
    },
    /// A member is out of its type's range.
    #[error("{event} has a {column} that is out of range")]
    Range {
        /// The event.
        event: &'static str,
        /// The member.
        column: &'static str,
    },
}

pub(super) fn decode(
    event: &'static MirrorEvent,
    topics: &[B256],
    data: &[u8],
) -> Result<(B256, Vec<Value>), LogError> {
    let wrong_data = LogError::Data { event: event.name, found: data.len() };
    let expected = 1 + event.members.iter().filter(|member| member.indexed).count();
    if topics.len() != expected {
        return Err(LogError::Topics { event: event.name, expected, found: topics.len() });
    }
    let heads = WORD * (1 + event.members.len() - expected);
    let (mut topics, mut words) = (topics[1..].iter(), data.chunks_exact(WORD));
    let (mut tenant, mut end) = (B256::ZERO, heads);
    let mut values = Vec::with_capacity(event.members.len() - 1);
    for member in event.members {
        let word: B256 = if member.indexed {
            topics.next().copied().unwrap_or_default()
        } else {
            B256::from_slice(words.next().ok_or(wrong_data)?)
        };
        match member.abi {
            Abi::Tenant => tenant = word,
            Abi::Bytes | Abi::Words => {
                // What has no fixed size stands behind the heads, one after another.
                if number(&word) != Some(end as u64) {
                    return Err(wrong_data);
                }
                let bytes = tail(data, end, member.abi).ok_or(wrong_data)?;
                end += WORD + bytes.len().next_multiple_of(WORD);
                values.push(Value::Bytes(Bytes::copy_from_slice(bytes)));
            }
            _ => values.push(
                value(member, word)
                    .ok_or(LogError::Range { event: event.name, column: member.column })?,
            ),
        }
    }
    if end == data.len() { Ok((tenant, values)) } else { Err(wrong_data) }
}

/// What stands behind the length at `at`, if it is all there and padded with zeros.
fn tail(data: &[u8], at: usize, abi: Abi) -> Option<&[u8]> {
    let length = number(&B256::from_slice(data.get(at..at + WORD)?))?;
    let bytes = usize::try_from(length).ok()?.checked_mul(if abi == Abi::Words { WORD } else { 1 });
    let bytes = bytes.filter(|bytes| *bytes <= data.len())?;
    let padded = data.get(at + WORD..at + WORD + bytes.next_multiple_of(WORD))?;
    let (bytes, padding) = padded.split_at(bytes);
    padding.iter().all(|byte| *byte == 0).then_some(bytes)
}

fn number(word: &B256) -> Option<u64> {
    // A bigint has a sign.
    low(word).map(u64::from_be_bytes).filter(|number| *number <= i64::MAX as u64)
}

/// The last bytes of a word whose other bytes are all zero.
fn low<const N: usize>(word: &B256) -> Option<[u8; N]> {
    let (high, low) = word.split_last_chunk()?;
    (*high == [0; WORD][N..]).then_some(*low)
}

fn value(member: &Member, word: B256) -> Option<Value> {
    Some(match member.abi {
        Abi::Word => Value::Word(word),
        Abi::Address => Value::Address(low(&word)?.into()),
        Abi::Int => Value::Int(number(&word)?),
        Abi::Amount => Value::Amount(U128::from_be_slice(&low::<{ 104 / 8 }>(&word)?)),
        Abi::Bool => match number(&word)? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return None,
        },
        Abi::Selector => {
            let (selector, rest) = word.split_first_chunk()?;
            (*rest == [0; WORD - 4]).then_some(Value::Selector(*selector))?
        }
        Abi::Tenant | Abi::Bytes | Abi::Words => return None,
    })
}

pub(super) fn encode(row: &Row) -> (Vec<B256>, Vec<u8>) {
    let event = row.event;
    let mut topics = vec![event.topic()];
    let fixed = event.members.iter().filter(|member| !member.indexed).count();
    let (mut heads, mut tails) = (Vec::with_capacity(fixed * WORD), Vec::new());
    let mut values = row.values.iter();
    for member in event.members {
        let word = if member.abi == Abi::Tenant {
            row.tenant
        } else {
            let Some(value) = values.next() else { continue };
            match value {
                Value::Word(word) => *word,
                Value::Address(address) => address.into_word(),
                Value::Int(number) => U256::from(*number).into(),
                Value::Amount(amount) => amount.to::<U256>().into(),
                Value::Bool(truth) => U256::from(u8::from(*truth)).into(),
                Value::Selector(selector) => B256::right_padding_from(selector),
                Value::Bytes(bytes) => {
                    let offset = fixed * WORD + tails.len();
                    let unit = if member.abi == Abi::Words { WORD } else { 1 };
                    tails.extend(U256::from(bytes.len() / unit).to_be_bytes::<WORD>());
                    tails.extend_from_slice(bytes);
                    tails.resize(tails.len().next_multiple_of(WORD), 0);
                    U256::from(offset).into()
                }
            }
        };
        if member.indexed {
            topics.push(word);
        } else {
            heads.extend_from_slice(word.as_slice());
        }
    }
    heads.append(&mut tails);
    (topics, heads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{LogPosition, MIRRORED};
    use std::collections::BTreeSet;

    /// A row as a log.
    fn encoded(
        event: &'static MirrorEvent,
        tenant: B256,
        values: Vec<Value>,
    ) -> (Vec<B256>, Vec<u8>) {
        let (block_hash, tx_hash) = (B256::ZERO, B256::ZERO);
        let position = LogPosition { block_number: 1, block_hash, tx_hash, log_index: 1 };
        encode(&Row { event, tenant, position, time: 1, values })
    }

    /// A log of an event, whose members are all as long as they can be.
    fn log(event: &'static MirrorEvent) -> (Vec<B256>, Vec<u8>) {
        let value = |member: &Member| match member.abi {
            Abi::Tenant | Abi::Word => Value::Word(B256::repeat_byte(0xee)),
            Abi::Address => Value::Address([0xee; 20].into()),
            Abi::Int => Value::Int(i64::MAX as u64),
            Abi::Amount => Value::Amount((U128::ONE << 104) - U128::ONE),
            Abi::Bool => Value::Bool(true),
            Abi::Selector => Value::Selector([0xee; 4]),
            Abi::Bytes => Value::Bytes(vec![0xee; 33].into()),
            Abi::Words => Value::Bytes(vec![0xee; 64].into()),
        };
        encoded(event, B256::repeat_byte(0xee), event.columns().map(value).collect())
    }

    /// What a log is taken for, as a log again.
    fn again(event: &'static MirrorEvent, topics: &[B256], data: &[u8]) -> Option<Vec<u8>> {
        let (tenant, values) = decode(event, topics, data).ok()?;
        let (topics, data) = encoded(event, tenant, values);
        Some([topics.concat(), data].concat())
    }

    #[test]
    fn whatever_is_taken_is_the_one_encoding_of_its_row() {
        let mut taken = BTreeSet::new();
        for event in MIRRORED {
            let (topics, data) = log(event);
            let whole = [topics.concat(), data].concat();
            let parts = |log: &[u8]| {
                let (words, data) = log.split_at(WORD * topics.len());
                (words.chunks(WORD).map(B256::from_slice).collect::<Vec<_>>(), data.to_vec())
            };
            assert_eq!(again(event, &topics, &parts(&whole).1).as_ref(), Some(&whole));
            // The first topic says which event it is.
            for at in WORD..whole.len() {
                for byte in [0, 1, 0x80, 0xff].into_iter().filter(|byte| *byte != whole[at]) {
                    let mut other = whole.clone();
                    other[at] = byte;
                    let (topics, data) = parts(&other);
                    match again(event, &topics, &data) {
                        Some(again) => {
                            assert_eq!(again, other, "{} at {at}", event.name);
                            taken.insert((event.name, at));
                        }
                        None => continue,
                    }
                }
            }
            for end in topics.len() * WORD..whole.len() {
                let (topics, data) = parts(&whole[..end]);
                assert_eq!(again(event, &topics, &data), None, "{} of {end} bytes", event.name);
            }
        }
        // Nothing but a member's own bytes can be other than they are.
        for event in MIRRORED {
            let kinds = event.members.iter().map(|member| (member.indexed, member.abi));
            let (topics, heads): (Vec<_>, Vec<_>) = kinds.partition(|(indexed, _)| *indexed);
            for (place, (_, abi)) in topics.into_iter().chain(heads).enumerate() {
                let own = match abi {
                    Abi::Tenant | Abi::Word => 0..WORD,
                    Abi::Address => 12..WORD,
                    Abi::Int => 24..WORD,
                    Abi::Amount => 19..WORD,
                    Abi::Bool => 31..WORD,
                    Abi::Selector => 0..4,
                    Abi::Bytes | Abi::Words => 0..0,
                };
                let word = WORD * (place + 1);
                let found = (0..WORD).filter(|byte| taken.contains(&(event.name, word + byte)));
                assert_eq!(found.collect::<Vec<_>>(), own.collect::<Vec<_>>(), "{}", event.name);
            }
        }
    }
}
