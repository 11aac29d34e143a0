//! Asks the contract about every entry, and about everything near it that is not true.

use alloy::primitives::B256;
use cofferdam_contracts::Chain;
use cofferdam_core::{
    Batch, BatchIndex, BatchMerkle, BatchRoot, Commitment, EntryHash, HistoryMerkle, Seq, TenantId,
};
use futures::{StreamExt, stream};
use rand::{Rng, rngs::StdRng};
use tokio::time::timeout;

use crate::support::{LIMIT, Stack};

/// Questions under way at once.
const CALLS: usize = 16;
/// Entries of which every single byte is flipped; of the others a random byte of each part.
const EVERY_BYTE: usize = 6;

/// What `verifyEntry` is asked.
#[derive(Debug, Clone, PartialEq)]
struct Claim {
    tenant: TenantId,
    seq: Seq,
    previous: EntryHash,
    commitment: Commitment,
    batch: Batch,
    path: Vec<B256>,
    history: Vec<B256>,
}

impl Claim {
    async fn holds(&self, chain: &Chain) -> bool {
        let entry = (self.seq, self.previous, self.commitment);
        let answer = chain.verify_entry(self.tenant, entry, &self.batch, &self.path, &self.history);
        answer.await.expect("verifyEntry never reverts")
    }

    /// The parts that a byte can be flipped in, with their lengths.
    fn parts(&self) -> Vec<(Part, usize)> {
        let mut parts = vec![
            (Part::Previous, 32),
            (Part::Commitment, 32),
            (Part::Root, 32),
            (Part::AnchoredAt, 8),
            (Part::FirstSeq, 8),
            (Part::Count, 8),
            (Part::BatchIndex, 8),
        ];
        parts.extend((0..self.path.len()).map(|at| (Part::Path(at), 32)));
        parts.extend((0..self.history.len()).map(|at| (Part::History(at), 32)));
        parts
    }

    /// This claim with one byte of one part changed.
    fn flipped(&self, part: Part, byte: usize, mask: u8) -> Self {
        let long = |value: &[u8; 32]| {
            let mut value = *value;
            value[byte] ^= mask;
            value
        };
        let short = |value: u64| value ^ u64::from(mask) << (8 * byte);
        let mut claim = self.clone();
        match part {
            Part::Previous => claim.previous = long(claim.previous.as_bytes()).into(),
            Part::Commitment => claim.commitment = long(claim.commitment.as_bytes()).into(),
            Part::Root => claim.batch.root = BatchRoot::from(long(claim.batch.root.as_bytes())),
            Part::AnchoredAt => claim.batch.anchored_at = short(claim.batch.anchored_at),
            Part::FirstSeq => claim.batch.first_seq = Seq(short(claim.batch.first_seq.get())),
            Part::Count => claim.batch.count = short(claim.batch.count),
            Part::BatchIndex => claim.batch.index = BatchIndex(short(claim.batch.index.get())),
            Part::Path(at) => claim.path[at] = long(&claim.path[at].0).into(),
            Part::History(at) => claim.history[at] = long(&claim.history[at].0).into(),
        }
        claim
    }

    /// This claim with paths of other lengths.
    fn misshapen(&self) -> Vec<Self> {
        let mut claims = vec![];
        let paths: [fn(&mut Self) -> &mut Vec<B256>; 2] = [|it| &mut it.path, |it| &mut it.history];
        for path in paths {
            let mut longer = self.clone();
            path(&mut longer).push(B256::ZERO);
            claims.push(longer);
            let mut shorter = self.clone();
            if path(&mut shorter).pop().is_some() {
                claims.push(shorter);
            }
        }
        claims
    }
}

/// A part of a claim that has bytes.
#[derive(Debug, Clone, Copy)]
enum Part {
    Previous,
    Commitment,
    Root,
    AnchoredAt,
    FirstSeq,
    Count,
    BatchIndex,
    Path(usize),
    History(usize),
}

/// How much was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) true_claims: usize,
    pub(crate) false_claims: usize,
}

/// Asks for every entry in the database: itself, every other tenant's id, every other index, flipped
/// bytes, paths of other lengths. Only the first may be confirmed.
pub(crate) async fn every_entry(stack: &Stack, random: &mut StdRng) -> Asked {
    let chain = stack.chain().await;
    let claims = claims(stack).await;
    let mut tenants: Vec<TenantId> = claims.iter().map(|claim| claim.tenant).collect();
    tenants.dedup();

    let thorough: Vec<usize> =
        (0..EVERY_BYTE).map(|_| random.random_range(0..claims.len())).collect();
    let mut questions = vec![];
    for (number, claim) in claims.iter().enumerate() {
        let others = tenants.iter().filter(|tenant| **tenant != claim.tenant);
        questions.extend(others.map(|tenant| Claim { tenant: *tenant, ..claim.clone() }));
        questions.extend(other_seqs(claim).map(|seq| Claim { seq, ..claim.clone() }));
        for (part, bytes) in claim.parts() {
            let flip = if thorough.contains(&number) {
                0..bytes
            } else {
                let byte = random.random_range(0..bytes);
                byte..byte + 1
            };
            questions
                .extend(flip.map(|byte| claim.flipped(part, byte, random.random_range(1..=255))));
        }
        questions.extend(claim.misshapen());
    }
    assert!(questions.iter().all(|question| !claims.contains(question)));

    let asked = Asked { true_claims: claims.len(), false_claims: questions.len() };
    let truths = claims.into_iter().map(|claim| (claim, true));
    let wrong = stream::iter(truths.chain(questions.into_iter().map(|claim| (claim, false))))
        .map(|(claim, truth)| {
            let chain = &chain;
            async move { (claim.holds(chain).await != truth).then_some((claim, truth)) }
        })
        .buffer_unordered(CALLS)
        .filter_map(async |wrong| wrong)
        .collect::<Vec<_>>();
    let wrong = timeout(LIMIT, wrong).await.expect("the chain hangs");
    assert!(wrong.is_empty(), "{} wrong answers, first: {:#?}", wrong.len(), wrong[0]);
    println!("{} true and {} false claims", asked.true_claims, asked.false_claims);
    asked
}

/// All other places in the entry's batch, its neighbours outside, and numbers that a narrower type
/// would take for it.
fn other_seqs(claim: &Claim) -> impl Iterator<Item = Seq> {
    let Batch { first_seq, count, .. } = claim.batch;
    let (seq, first, end) = (claim.seq.get(), first_seq.get(), first_seq.get() + count);
    let near = first.saturating_sub(2)..end + 2;
    let far = [32, 40, 56, 63].map(|bit| seq | 1 << bit);
    near.chain(far).chain([u64::MAX]).filter(move |other| *other != seq).map(Seq)
}

/// What is true of every entry in the database, from what it and the mirror hold.
async fn claims(stack: &Stack) -> Vec<Claim> {
    let mut claims = vec![];
    for (tenant, log) in stack.snapshot().await.tenants {
        let batches: Vec<Batch> = log.anchored.iter().map(|event| event.batch()).collect();
        let commitments: Vec<_> = batches.iter().map(Batch::commitment).collect();
        let history = HistoryMerkle::new(&commitments);
        for batch in batches {
            let first = usize::try_from(batch.first_seq.get()).unwrap();
            let entries = &log.entries[first..][..usize::try_from(batch.count).unwrap()];
            let leaves: Vec<_> = entries.iter().map(|entry| entry.entry_hash).collect();
            let tree = BatchMerkle::new(&leaves).unwrap();
            claims.extend(entries.iter().zip(0..).map(|(entry, index)| Claim {
                tenant,
                seq: entry.seq,
                previous: entry.previous,
                commitment: entry.commitment,
                batch,
                path: tree.path(index).unwrap(),
                history: history.path_to_peak(batch.index).unwrap(),
            }));
        }
        assert_eq!(claims.iter().filter(|it| it.tenant == tenant).count(), log.entries.len());
    }
    claims
}
