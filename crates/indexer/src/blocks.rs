//! Blocks and their logs, as an endpoint sends them.

use std::fmt;

use alloy::primitives::{B256, hex};
use cofferdam_contracts::{ChainError, LogReader, ReadLog, WireError};
use serde::Deserialize;

use crate::{
    IndexError, Refusal,
    endpoint::{Endpoint, MAX_ANSWER, MAX_WHOLE_ANSWER},
    refusal::meaning,
};

/// A block's header as far as a mirror needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) parent: B256,
    pub(crate) time: u64,
}

/// Which block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Number(u64),
    Latest,
    Safe,
    Final,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number:#x}"),
            Self::Latest => f.write_str("latest"),
            Self::Safe => f.write_str("safe"),
            Self::Final => f.write_str("finalized"),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlock<'a> {
    number: &'a str,
    hash: &'a str,
    parent_hash: &'a str,
    timestamp: &'a str,
}

impl Endpoint {
    /// The headers of blocks, each `None` where the chain has none (yet), or as it was refused.
    pub(crate) async fn headers(
        &self,
        of: &[At],
    ) -> Result<Vec<Result<Option<Link>, WireError>>, IndexError> {
        let question =
            |at: &At| format!(r#""method":"eth_getBlockByNumber","params":["{at}",false]"#);
        let questions: Vec<_> = of.iter().map(question).collect();
        let read =
            |text: &str| serde_json::from_str::<Option<WireBlock<'_>>>(text)?.map(link).transpose();
        let found = self.ask_each("read a block", &questions, read).await?;
        for (at, link) in of.iter().zip(&found) {
            if let (At::Number(asked), Ok(Some(link))) = (at, link)
                && *asked != link.number
            {
                return Err(self.error(
                    "read a block",
                    Refusal::Nonsense,
                    "another block was sent",
                ));
            }
        }
        Ok(found)
    }

    /// The header of a block; `None` when the chain has none (yet).
    pub(crate) async fn link(&self, at: At) -> Result<Option<Link>, IndexError> {
        let link = self.headers(&[at]).await?.pop().unwrap_or(Ok(None));
        link.map_err(|error| self.refused("read a block", &error))
    }

    /// The headers of blocks that should all be there.
    pub(crate) async fn links(
        &self,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<Link>, IndexError> {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let of: Vec<_> = numbers.iter().copied().map(At::Number).collect();
        let found = numbers.into_iter().zip(self.headers(&of).await?);
        let links = found.map(|(number, link)| match link {
            Ok(link) => link.ok_or(IndexError::Moving { number }),
            Err(error) => Err(self.refused("read a block", &error)),
        });
        links.collect()
    }

    /// What is ours among the logs of a range, as it was sent.
    pub(crate) async fn logs(
        &self,
        from: u64,
        to: u64,
        topics: &str,
        reader: &LogReader,
        room: usize,
    ) -> Result<Vec<ReadLog>, IndexError> {
        let what = "read logs";
        let nonsense = |error: ChainError| self.error(what, Refusal::Nonsense, error);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{{"fromBlock":"{from:#x}","toBlock":"{to:#x}","topics":{topics}}}]}}"#
        );
        let longest = if from == to { MAX_WHOLE_ANSWER } else { MAX_ANSWER };
        let mut answer = reader.answer(room);
        // While the rest is on its way, and what came is still at hand.
        self.post(what, body, longest, |part| answer.read(part).map_err(nonsense)).await?;
        answer.done().map_err(nonsense)?.map_err(|refusal| {
            let words = format_args!("{} ({})", refusal.message, refusal.code);
            self.error(what, meaning(&refusal), words)
        })
    }

    /// The same of these very blocks, one by one: whoever does not have one of them says so, and does not
    /// answer that there are none.
    pub(crate) async fn logs_of(
        &self,
        blocks: &[Link],
        topics: &str,
        reader: &LogReader,
    ) -> Result<Vec<Vec<ReadLog>>, IndexError> {
        let asked = blocks.iter().map(|Link { hash, .. }| {
            format!(
                r#""method":"eth_getLogs","params":[{{"blockHash":"{hash}","topics":{topics}}}]"#
            )
        });
        let asked: Vec<_> = asked.collect();
        let what = "read logs";
        let said = self.ask_each(what, &asked, |text| reader.logs(text)).await?;
        let logs = blocks.iter().zip(said).map(|(block, said)| match said {
            Ok(logs) => Ok(logs),
            Err(error) if meaning(&error) == Refusal::Behind => {
                Err(IndexError::Moving { number: block.number })
            }
            Err(error) => Err(self.refused(what, &error)),
        });
        logs.collect()
    }
}

/// A header as it was sent.
fn link(block: WireBlock<'_>) -> Result<Link, serde_json::Error> {
    use serde::de::Error;
    let number = |text: &str| {
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).map_err(Error::custom)
    };
    let hash = |text: &str| -> Result<B256, serde_json::Error> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(Error::custom)?;
        Ok(bytes.into())
    };
    Ok(Link {
        number: number(block.number)?,
        hash: hash(block.hash)?,
        parent: hash(block.parent_hash)?,
        time: number(block.timestamp)?,
    })
}
