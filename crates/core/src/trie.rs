//! The way through a Merkle-Patricia trie from a root to one value.
//!
//! `alloy_trie` decodes the nodes. Its own `verify_proof` is not used: it panics where the keys of
//! nodes add up to more than 64 nibbles, and does not tell which node is wrong. A test compares the
//! two.

use alloy_primitives::{B256, Bytes};
use alloy_trie::{
    Nibbles,
    nodes::{RlpNode, TrieNode},
};

/// Why nodes do not lead to a value; nodes are counted from 0, the root's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrieError {
    /// Another node than its parent, or for the first the root, names.
    #[error("node {node} is not the one that {} names", if *.node == 0 { "the root" } else { "the node before it" })]
    Link {
        /// Which.
        node: usize,
    },
    /// The node was there before.
    #[error("node {node} is there twice")]
    Duplicate {
        /// The second of them.
        node: usize,
    },
    /// Not the RLP of a node.
    #[error("node {node} is malformed: {source}")]
    Malformed {
        /// Which.
        node: usize,
        /// Why.
        source: alloy_rlp::Error,
    },
    /// A node holds its child instead of naming it, as none does on the way to a value as long as
    /// ours.
    #[error("node {node} holds its child in place")]
    Inline {
        /// Which.
        node: usize,
    },
    /// There is nothing under this key.
    #[error("nothing is stored under this key: the way ends at node {node}")]
    Absent {
        /// Where the trie goes another way.
        node: usize,
    },
    /// Nodes are missing.
    #[error("the value's node is missing after {nodes} nodes")]
    Ends {
        /// How many there are.
        nodes: usize,
    },
    /// Nodes follow the value.
    #[error("node {node} follows the value")]
    Surplus {
        /// The first of them.
        node: usize,
    },
}

/// The value under a (hashed) key of the trie with this root.
pub fn value_at(root: B256, key: B256, proof: &[Bytes]) -> Result<Vec<u8>, TrieError> {
    let key = Nibbles::unpack(key);
    let mut walked = 0;
    let mut named = RlpNode::word_rlp(&root);
    for (node, raw) in proof.iter().enumerate() {
        if RlpNode::from_rlp(raw) != named {
            return Err(match proof[..node].contains(raw) {
                true => TrieError::Duplicate { node },
                false => TrieError::Link { node },
            });
        }
        let decoded = alloy_rlp::decode_exact::<TrieNode>(raw)
            .map_err(|source| TrieError::Malformed { node, source })?;
        let absent = Err(TrieError::Absent { node });
        let child = match decoded {
            TrieNode::EmptyRoot => return absent,
            TrieNode::Leaf(leaf) => {
                return if key.slice(walked..) != leaf.key {
                    absent
                } else if node + 1 < proof.len() {
                    Err(match proof[..=node].contains(&proof[node + 1]) {
                        true => TrieError::Duplicate { node: node + 1 },
                        false => TrieError::Surplus { node: node + 1 },
                    })
                } else {
                    Ok(leaf.value)
                };
            }
            TrieNode::Extension(extension) => {
                if !key.slice(walked..).starts_with(&extension.key) {
                    return absent;
                }
                walked += extension.key.len();
                extension.child
            }
            TrieNode::Branch(branch) => {
                let Some(nibble) = key.get(walked) else { return absent };
                walked += 1;
                let children = branch.as_ref();
                let child = children.children().find(|(at, _)| *at == nibble);
                match child.and_then(|(_, child)| child.cloned()) {
                    Some(child) => child,
                    None => return absent,
                }
            }
        };
        if !child.is_hash() {
            return Err(TrieError::Inline { node });
        }
        named = child;
    }
    Err(TrieError::Ends { nodes: proof.len() })
}
