//! [`Level::HeaderProved`](super::Level::HeaderProved): from a block's hash to the contract's own
//! words about a batch, without asking anybody.

use super::{CheckedReceipt, Inclusion, Policy, Receipt, ReceiptError, object::object};
use crate::{
    header::{BlockHeader, HeaderError},
    hex,
    storage::{Head, head_slot, peak_slot},
    trie::{TrieError, value_at},
};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use alloy_trie::TrieAccount;
use serde::{Deserialize, Serialize};
use std::fmt;

/// No header has more bytes.
pub const MAX_HEADER_BYTES: usize = 4 << 10;
/// No node has more bytes; a full branch has 532.
pub const MAX_NODE_BYTES: usize = 1 << 10;
/// A key has 64 nibbles, so that no way has more nodes.
pub const MAX_PROOF_NODES: usize = 65;

/// The contract's storage at a final block at or after the one that anchored the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProofBlock {
    /// The raw header.
    #[serde(with = "hex::bytes")]
    pub header: Bytes,
    /// From the header's state root to the contract's account.
    #[serde(with = "hex::byte_strings")]
    pub account_proof: Vec<Bytes>,
    /// The tenant's head.
    #[serde(deserialize_with = "object")]
    pub head: SlotProof,
    /// The peak that covers the batch at that many batches.
    #[serde(deserialize_with = "object")]
    pub peak: SlotProof,
}

/// One word of the contract's storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, RlpEncodable, RlpDecodable)]
#[serde(deny_unknown_fields)]
pub struct SlotProof {
    /// Where it is.
    #[serde(with = "hex::fixed")]
    pub slot: B256,
    /// The word.
    #[serde(with = "hex::fixed")]
    pub value: B256,
    /// From the account's storage root to the word.
    #[serde(with = "hex::byte_strings")]
    pub proof: Vec<Bytes>,
}

/// One of the two words that are proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `proofBlock.head`.
    Head,
    /// `proofBlock.peak`.
    Peak,
}

/// What is proven under a pinned block hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenReceipt {
    /// What the receipt shows by itself.
    pub checked: CheckedReceipt,
    /// The block under which it is proven.
    pub block: BlockHeader,
    /// The tenant's head at that block.
    pub head: Head,
}

/// Why a receipt does not prove that a pinned block holds its entry; each names the check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It does not even agree with itself.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// There is no proof in it.
    #[error("proofBlock: absent; this receipt can only be confirmed by an endpoint")]
    Missing,
    /// The verifier has not said what to trust.
    #[error("policy: names no {0}, without which no storage proof means anything")]
    Policy(&'static str),
    /// It is about another chain.
    #[error("chainId: it is of chain {found}, not {trusted}")]
    Chain {
        /// The receipt's.
        found: u64,
        /// The policy's.
        trusted: u64,
    },
    /// It is about another contract.
    #[error("contract: it is of contract {found}, not {trusted}")]
    Contract {
        /// The receipt's.
        found: Address,
        /// The policy's.
        trusted: Address,
    },
    /// It is about other code.
    #[error("codeHash: it is of code {found}, not {trusted}")]
    CodeHash {
        /// The receipt's.
        found: B256,
        /// The policy's.
        trusted: B256,
    },
    /// The header is not one that the verifier knows.
    #[error("proofBlock.header: its hash {0} is not one that the policy names")]
    NotPinned(B256),
    /// The header cannot be read.
    #[error("proofBlock.header: {0}")]
    Header(#[from] HeaderError),
    /// The block is from before the batch.
    #[error(
        "proofBlock.header: block {number} at {timestamp} is before the batch, block {anchored} at {anchored_at}"
    )]
    Before {
        /// Its height.
        number: u64,
        /// Its time.
        timestamp: u64,
        /// `anchor.blockNumber`.
        anchored: u64,
        /// `batch.anchoredAt`.
        anchored_at: u64,
    },
    /// The block at the batch's own height is another.
    #[error("anchor: block {number} has hash {hash} and time {timestamp}")]
    Anchor {
        /// The height.
        number: u64,
        /// The pinned hash.
        hash: B256,
        /// The block's time.
        timestamp: u64,
    },
    /// The account proof leads elsewhere.
    #[error("proofBlock.accountProof: {0}")]
    Account(TrieError),
    /// What is stored there is no account.
    #[error("proofBlock.accountProof: not an account: {0}")]
    AccountForm(alloy_rlp::Error),
    /// The account has other code than the policy names.
    #[error("proofBlock.accountProof: the contract's code hash is {found}, the policy's {trusted}")]
    Code {
        /// The account's.
        found: B256,
        /// The policy's.
        trusted: B256,
    },
    /// The slot is not the one of this tenant, or of the covering peak.
    #[error("{word}.slot: the {} is in slot {expected}, found {found}", .word.what())]
    Slot {
        /// Which.
        word: Word,
        /// Where it is.
        expected: B256,
        /// Where the receipt says it is.
        found: B256,
    },
    /// The storage proof leads elsewhere.
    #[error("{word}.proof: {reason}")]
    Storage {
        /// Which.
        word: Word,
        /// Why.
        reason: TrieError,
    },
    /// What is stored there is no word.
    #[error("{word}.proof: not a word: {reason}")]
    WordForm {
        /// Which.
        word: Word,
        /// Why.
        reason: alloy_rlp::Error,
    },
    /// Another word is stored.
    #[error("{word}.value: the contract holds {stored}, found {found}")]
    Value {
        /// Which.
        word: Word,
        /// The contract's.
        stored: B256,
        /// The receipt's.
        found: B256,
    },
    /// The path is for another size than the proven one.
    #[error("history.batches: the contract has {proven} batches of the tenant, found {found}")]
    Batches {
        /// The contract's.
        proven: u64,
        /// The receipt's.
        found: u64,
    },
    /// The batch does not fit the contract's count of entries.
    #[error("batch: it ends before entry {end}, the contract counts {entries}")]
    Entries {
        /// The seq after the batch's last.
        end: u64,
        /// The contract's count.
        entries: u64,
    },
    /// A bundle proves another number of peaks than its history has.
    #[error("proofBlock.peaks: a history of this size has {expected} live peaks, found {found}")]
    Peaks {
        /// How many there are.
        expected: usize,
        /// How many are proven.
        found: usize,
    },
    /// The path leads to another peak: the batch is not what was anchored.
    #[error(
        "history.path: it leads to peak {found}, the contract's is {stored} (batch and path do not belong to it)"
    )]
    Peak {
        /// The contract's.
        stored: B256,
        /// Where the path leads.
        found: B256,
    },
}

impl ProofError {
    /// Whether nothing was found wrong, and only something is missing to tell.
    pub const fn is_undecided(&self) -> bool {
        matches!(self, Self::Missing | Self::Policy(_) | Self::Receipt(ReceiptError::Pending))
    }
}

impl Policy {
    /// Refuses a receipt of another chain, contract or code.
    pub fn admits(&self, receipt: &Receipt) -> Result<(), ProofError> {
        self.admits_claims(receipt.chain_id, receipt.contract, receipt.code_hash)
    }

    /// Refuses what claims another chain, contract or code.
    pub(crate) fn admits_claims(
        &self,
        chain_id: u64,
        contract: Address,
        code_hash: B256,
    ) -> Result<(), ProofError> {
        let (found, trusted) = (chain_id, self.chain_id);
        if found != trusted {
            return Err(ProofError::Chain { found, trusted });
        }
        let (found, trusted) = (contract, self.contract);
        if found != trusted {
            return Err(ProofError::Contract { found, trusted });
        }
        let found = code_hash;
        match self.code_hash.filter(|trusted| *trusted != found) {
            Some(trusted) => Err(ProofError::CodeHash { found, trusted }),
            None => Ok(()),
        }
    }

    /// The block that these raw bytes are the header of, if it is pinned.
    pub(crate) fn pinned(&self, header: &Bytes) -> Result<BlockHeader, ProofError> {
        self.code_hash.ok_or(ProofError::Policy("code hash"))?;
        if self.block_hashes.is_empty() {
            return Err(ProofError::Policy("block hash"));
        }
        // Nothing of the header, nor of what follows from it, is read before it is known to be the
        // chain's own.
        let hash = keccak256(header);
        if !self.block_hashes.contains(&hash) {
            return Err(ProofError::NotPinned(hash));
        }
        Ok(BlockHeader::hashed(hash, header)?)
    }

    /// The root of the contract's storage after this block.
    pub(crate) fn storage_root(
        &self,
        block: &BlockHeader,
        account_proof: &[Bytes],
    ) -> Result<B256, ProofError> {
        let code_hash = self.code_hash.ok_or(ProofError::Policy("code hash"))?;
        let account = value_at(block.state_root, keccak256(self.contract), account_proof)
            .map_err(ProofError::Account)?;
        let account: TrieAccount =
            alloy_rlp::decode_exact(&account).map_err(ProofError::AccountForm)?;
        if account.code_hash != code_hash {
            return Err(ProofError::Code { found: account.code_hash, trusted: code_hash });
        }
        Ok(account.storage_root)
    }
}

impl Receipt {
    /// [`Level::HeaderProved`](super::Level::HeaderProved), which includes [`Receipt::check`]: a
    /// block whose hash the policy names → header → state root → the contract's account, with the
    /// policy's code → its storage → the tenant's head and the peak that the receipt leads to.
    ///
    /// `anchor` is only seen not to contradict it: the transaction and the log's place are proven by
    /// no state. That the block is of the policy's chain is for the policy to know.
    pub fn prove(&self, policy: &Policy) -> Result<ProvenReceipt, ProofError> {
        policy.admits(self)?;
        let checked = self.check()?;
        let Some(Inclusion { history, anchor, finality, .. }) = &self.inclusion else {
            return Err(ReceiptError::Pending.into());
        };
        let proof = finality.proof().ok_or(ProofError::Missing)?;
        let block = policy.pinned(&proof.header)?;
        let BlockHeader { hash, number, timestamp, .. } = block;
        let (anchored, anchored_at) = (anchor.block_number, checked.batch.anchored_at);
        if number < anchored || timestamp < anchored_at {
            return Err(ProofError::Before { number, timestamp, anchored, anchored_at });
        }
        let same = (hash, timestamp) == (anchor.block_hash, anchored_at);
        if number == anchored && !same {
            return Err(ProofError::Anchor { number, hash, timestamp });
        }
        let storage_root = policy.storage_root(&block, &proof.account_proof)?;

        let slot = head_slot(self.tenant);
        let head = Head::from_word(proof.head.word(Word::Head, slot, storage_root)?);
        if head.batches != history.batches {
            return Err(ProofError::Batches { proven: head.batches, found: history.batches });
        }
        let batch = &checked.batch;
        let end = batch.first_seq.get().saturating_add(batch.count);
        let last = batch.index.next().is_some_and(|next| next.get() == head.batches);
        if end > head.entries || (last && end != head.entries) {
            return Err(ProofError::Entries { end, entries: head.entries });
        }
        let slot = peak_slot(checked.peak.height, self.tenant);
        let stored = proof.peak.word(Word::Peak, slot, storage_root)?;
        if stored != checked.peak_hash {
            return Err(ProofError::Peak { stored, found: checked.peak_hash });
        }
        Ok(ProvenReceipt { checked, block, head })
    }
}

impl SlotProof {
    /// The word that is stored in `slot`, which must be the one claimed.
    pub(crate) fn word(&self, word: Word, slot: B256, root: B256) -> Result<B256, ProofError> {
        if self.slot != slot {
            return Err(ProofError::Slot { word, expected: slot, found: self.slot });
        }
        let stored = value_at(root, keccak256(slot), &self.proof)
            .map_err(|reason| ProofError::Storage { word, reason })?;
        let stored = alloy_rlp::decode_exact::<U256>(&stored)
            .map_err(|reason| ProofError::WordForm { word, reason })?
            .into();
        if stored != self.value {
            return Err(ProofError::Value { word, stored, found: self.value });
        }
        Ok(stored)
    }
}

impl ProofBlock {
    /// Refuses what no block can have.
    pub(super) fn bounded(&self) -> Result<(), ReceiptError> {
        bounded_header(&self.header)?;
        bounded_nodes("proofBlock.accountProof", &self.account_proof)?;
        bounded_nodes("proofBlock.head.proof", &self.head.proof)?;
        bounded_nodes("proofBlock.peak.proof", &self.peak.proof)
    }
}

pub(crate) fn bounded_header(header: &Bytes) -> Result<(), ReceiptError> {
    bound("proofBlock.header", "bytes", header.len(), MAX_HEADER_BYTES)
}

pub(crate) fn bounded_nodes(member: &'static str, proof: &[Bytes]) -> Result<(), ReceiptError> {
    bound(member, "nodes", proof.len(), MAX_PROOF_NODES)?;
    let longest = proof.iter().map(|node| node.len()).max().unwrap_or_default();
    bound(member, "bytes of one node", longest, MAX_NODE_BYTES)
}

/// Refuses more of something than there can be.
pub(crate) fn bound(
    member: &'static str,
    unit: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), ReceiptError> {
    match found > limit {
        true => Err(ReceiptError::TooMany { member, unit, found, limit }),
        false => Ok(()),
    }
}

impl Word {
    const fn what(self) -> &'static str {
        match self {
            Self::Head => "tenant's head",
            Self::Peak => "covering peak",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "proofBlock.head",
            Self::Peak => "proofBlock.peak",
        })
    }
}
