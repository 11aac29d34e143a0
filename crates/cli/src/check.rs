//! Checks everything the database holds of a tenant: against itself, and by the contract's own view.

use cofferdam_contracts::Chain;
use cofferdam_core::{
    Batch, BatchCommitment, BatchMerkle, Commitment, EntryHash, FieldName, HistoryMerkle, Seq,
    TenantId,
};
use cofferdam_store::{AnchoredEvent, Reader, StoreError, StoredEntry, TenantTx};
use eyre::Result;
use futures::{StreamExt, TryStreamExt, pin_mut, stream};
use serde::Serialize;

use crate::output::Progress;

/// Calls of the contract's view under way at once.
const CALLS: usize = 16;
/// Failures that are described; the rest are counted.
const DESCRIBED: usize = 20;

/// What was found of one tenant.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    /// The tenant's name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) tenant_id: TenantId,
    /// Entries in the database.
    pub(crate) entries: u64,
    /// Entries that are what was anchored.
    pub(crate) verified: u64,
    /// Entries that are not anchored yet.
    pub(crate) pending: u64,
    /// Entries, or whole batches, that are not what was anchored.
    pub(crate) failed: u64,
    /// Batches that were mirrored from the chain.
    pub(crate) batches: u64,
    /// The first failures.
    pub(crate) failures: Vec<Failure>,
}

/// One thing that is not as it was anchored.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// The entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<Seq>,
    /// The source's own id of it, as the database has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
    /// Which check failed, and how.
    pub(crate) reason: String,
}

impl Verdict {
    fn fail(&mut self, entry: Option<(Seq, String)>, reason: String) {
        self.failed += 1;
        if self.failures.len() < DESCRIBED {
            let (seq, external_id) = entry.unzip();
            self.failures.push(Failure { seq, external_id, reason });
        }
    }
}

/// A hashed entry on its way to the contract's view.
struct Leaf {
    seq: Seq,
    external_id: String,
    previous: EntryHash,
    commitment: Commitment,
    sound: bool,
}

/// Reads all of a tenant's entries in order and checks each; memory is bounded by one batch.
pub(crate) async fn tenant(
    chain: &Chain,
    reader: &Reader,
    name: String,
    id: TenantId,
    progress: &mut Progress,
) -> Result<Verdict> {
    let mut tx = reader.tenant(id).await?;
    let anchored = tx.anchored().await?;
    let entries = tx.head().await?.next_seq.get();
    let mut verdict = Verdict {
        name,
        tenant_id: id,
        entries,
        verified: 0,
        pending: 0,
        failed: 0,
        batches: anchored.len() as u64,
        failures: vec![],
    };
    let commitments: Vec<BatchCommitment> =
        anchored.iter().map(|event| event.batch().commitment()).collect();
    let history = HistoryMerkle::new(&commitments);
    let mut previous = EntryHash::ZERO;
    let mut next = 0;
    for event in &anchored {
        let batch = event.batch();
        let (hashes, leaves) = read(&mut tx, &batch, &mut previous, &mut verdict, progress).await?;
        next = batch.first_seq.get() + batch.count;
        let history_path = history.path_to_peak(batch.index).unwrap_or_default();
        let tree = BatchMerkle::new(&hashes)
            .filter(|tree| hashes.len() as u64 == batch.count && tree.root() == batch.root);
        let Some(tree) = tree else {
            verdict.fail(None, wrong_root(event));
            continue;
        };
        // What receipts are made of must lead where whole trees do.
        match tx.tiles(&batch).await {
            Err(error @ StoreError::Unproven { .. }) => verdict.fail(None, error.to_string()),
            tiles => drop(tiles?),
        }
        let kept = tx.path_to_peak(batch.index, history.batches()).await?;
        if kept.is_some_and(|kept| kept != history_path) {
            verdict.fail(None, wrong_node(event));
        }
        let sound = leaves.iter().enumerate().filter(|(_, leaf)| leaf.sound);
        let answers = stream::iter(sound.map(|(index, leaf)| {
            let path = tree.path(index as u64).unwrap_or_default();
            let (batch, history_path) = (&batch, &history_path);
            async move {
                let entry = (leaf.seq, leaf.previous, leaf.commitment);
                let valid = chain.verify_entry(id, entry, batch, &path, history_path).await?;
                Ok::<_, eyre::Report>((leaf, valid))
            }
        }))
        .buffer_unordered(CALLS);
        pin_mut!(answers);
        while let Some((leaf, valid)) = answers.try_next().await? {
            progress.add(1);
            if valid {
                verdict.verified += 1;
            } else {
                let entry = (leaf.seq, leaf.external_id.clone());
                verdict.fail(Some(entry), "the contract's verifyEntry says no".into());
            }
        }
    }
    // Entries beyond the last anchored batch can be checked against their chain only.
    verdict.pending = entries.saturating_sub(next);
    let rest = tx.entries(next.into(), verdict.pending);
    pin_mut!(rest);
    let mut faults = vec![];
    while let Some(entry) = rest.next().await {
        let entry = entry?;
        if let Err(fault) = entry.verify(id, previous) {
            faults.push((named(&entry), fault.to_string()));
        }
        previous = entry.entry_hash;
        progress.add(1);
    }
    for (entry, fault) in faults {
        verdict.fail(Some(entry), fault);
    }
    Ok(verdict)
}

/// Reads and hashes one batch's entries.
async fn read(
    tx: &mut TenantTx,
    batch: &Batch,
    previous: &mut EntryHash,
    verdict: &mut Verdict,
    progress: &mut Progress,
) -> Result<(Vec<EntryHash>, Vec<Leaf>)> {
    let (mut hashes, mut leaves) = (vec![], vec![]);
    let entries = tx.entries(batch.first_seq, batch.count);
    pin_mut!(entries);
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        let fault = entry.verify(batch.tenant, *previous).err();
        let sound = fault.is_none();
        if let Some(fault) = fault {
            verdict.fail(Some(named(&entry)), fault.to_string());
            progress.add(1);
        }
        // The stored hash, so that one changed entry does not spoil its neighbours' paths.
        *previous = entry.entry_hash;
        hashes.push(entry.entry_hash);
        let (seq, external_id) = named(&entry);
        let StoredEntry { previous, commitment, .. } = entry;
        leaves.push(Leaf { seq, external_id, previous, commitment, sound });
    }
    Ok((hashes, leaves))
}

fn named(entry: &StoredEntry) -> (Seq, String) {
    (entry.seq, entry.fields.get(FieldName::ExternalId).to_string())
}

fn wrong_node(event: &AnchoredEvent) -> String {
    format!(
        "batch {}: the stored nodes of the history do not lead to its peak; \
         run `cofferdam index rebuild`",
        event.index
    )
}

fn wrong_root(event: &AnchoredEvent) -> String {
    let AnchoredEvent { index, first_seq, count, root, .. } = event;
    format!(
        "batch {index}: the {count} entries from {first_seq} do not have the anchored root {root}"
    )
}
