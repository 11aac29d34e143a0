//! What the contracts have in storage, as an endpoint tells it.

use std::fmt;

use alloy::{
    primitives::{Address, B256, Bytes, hex, keccak256},
    sol_types::SolCall,
};
use cofferdam_contracts::WireError;

use crate::{IndexError, Refusal, endpoint::Endpoint, packed, refusal::meaning};

/// Which state.
#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    Newest,
    After { number: u64, hash: B256 },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str(r#""latest""#),
            Self::After { hash, .. } => write!(f, r#"{{"blockHash":"{hash}"}}"#),
        }
    }
}

/// Something about the state.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// What a call returns.
    Call { to: Address, data: Bytes },
    /// The hash of the code at an address.
    CodeHash(Address),
}

impl Question {
    pub(crate) fn call(to: Address, call: &impl SolCall) -> Self {
        Self::Call { to, data: call.abi_encode().into() }
    }
}

impl Endpoint {
    /// Asks several things about a state: in one call, where the endpoint takes that.
    pub(crate) async fn ask_all(
        &self,
        at: State,
        questions: &[Question],
    ) -> Result<Vec<Bytes>, IndexError> {
        if self.packs() {
            match self.ask_packed(at, questions).await? {
                Some(answers) => return Ok(answers),
                None => self.refused_packed(),
            }
        }
        self.ask_singly(at, questions).await
    }

    /// The answers from as few calls as they fit in; `None` if the endpoint refuses such calls.
    pub(crate) async fn ask_packed(
        &self,
        at: State,
        questions: &[Question],
    ) -> Result<Option<Vec<Bytes>>, IndexError> {
        let chunks = questions.chunks(packed::AT_ONCE);
        let asked = chunks.clone().map(|some| {
            let data = Bytes::from(packed::call(some));
            format!(r#""method":"eth_call","params":[{{"data":"{data}"}},{at}]"#)
        });
        let what = "read a contract";
        let said = self.ask_each(what, &asked.collect::<Vec<_>>(), bytes).await?;
        let mut answers = Vec::with_capacity(questions.len());
        for (some, said) in chunks.zip(said) {
            let found = match said {
                Ok(said) => packed::answers(&said, some.len()),
                Err(error)
                    if matches!(
                        meaning(&error),
                        Refusal::TooMany(_) | Refusal::Behind | Refusal::Forgotten
                    ) =>
                {
                    return Err(self.refused_at(at, &error));
                }
                Err(error) => {
                    tracing::debug!(endpoint = %self.url, error.message, "asking one by one");
                    None
                }
            };
            let Some(found) = found else { return Ok(None) };
            answers.extend(found);
        }
        Ok(Some(answers))
    }

    /// The answers, each to a question of its own.
    pub(crate) async fn ask_singly(
        &self,
        at: State,
        questions: &[Question],
    ) -> Result<Vec<Bytes>, IndexError> {
        let asked = questions.iter().map(|question| match question {
            Question::Call { to, data } => {
                format!(r#""method":"eth_call","params":[{{"to":"{to}","data":"{data}"}},{at}]"#)
            }
            Question::CodeHash(of) => format!(r#""method":"eth_getCode","params":["{of}",{at}]"#),
        });
        let asked: Vec<_> = asked.collect();
        let said = self.ask_each("read a contract", &asked, bytes).await?;
        let answers = questions.iter().zip(said).map(|(question, said)| match (question, said) {
            (Question::Call { .. }, Ok(answer)) => Ok(answer),
            (Question::CodeHash(_), Ok(code)) => Ok(keccak256(code).into()),
            (_, Err(error)) => Err(self.refused_at(at, &error)),
        });
        answers.collect()
    }

    /// A refusal to tell of a state. That a block is not there which was just read is no reason to ask again:
    /// it went, or whoever answers has not come to it.
    fn refused_at(&self, at: State, error: &WireError) -> IndexError {
        match at {
            State::After { number, .. } if meaning(error) == Refusal::Behind => {
                IndexError::Moving { number }
            }
            // There is no shorter question.
            _ => self.refused("read a contract", error).for_nothing_less(),
        }
    }
}

/// Bytes as they were sent.
fn bytes(text: &str) -> Result<Bytes, serde_json::Error> {
    let text: &str = serde_json::from_str(text)?;
    hex::decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}
