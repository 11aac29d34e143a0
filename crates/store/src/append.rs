//! One append transaction: lock the head, recognise repeats, chain, insert, move the head.

use std::{collections::HashMap, sync::Arc};

use alloy_primitives::B256;
use cofferdam_core::{
    Commitment, EntryHash, FieldDigest, FieldName, MAX_ENTRIES, Seed, Seq, TenantId, commitments,
    entry_digests, entry_hash, field_digests, salts,
};
use futures::TryStreamExt;
use rand::Rng;

use crate::{
    AppendError, Appended, NewEntry, Result, StoreError, TenantTx,
    pool::Handle,
    row::{RowExt, bigint},
    tenant_tx::{entry, entry_columns, tag},
};

/// The answer for one entry.
pub(crate) type Answer = std::result::Result<Appended, AppendError>;

/// Entries with all their hashing done that does not depend on their place in the chain.
#[derive(Debug)]
pub(crate) struct Group {
    entries: Vec<NewEntry>,
    prepared: Vec<Prepared>,
}

/// An entry's secret, and its fields' digests but for the time of recording.
#[derive(Debug)]
pub(crate) struct Prepared {
    seed: Seed,
    digests: [FieldDigest; 10],
}

impl Group {
    /// Hashes the fields, which is most of the work, before any lock is held.
    pub(crate) fn prepare(entries: Vec<NewEntry>) -> Self {
        let mut random = rand::rng();
        let seeds: Vec<_> =
            entries.iter().map(|_| Seed::from(random.random::<[u8; 32]>())).collect();
        let values = entries.iter().map(|entry| entry.fields().values());
        let digests = entry_digests(&seeds.iter().zip(values).collect::<Vec<_>>());
        let prepared = seeds.into_iter().zip(digests);
        let prepared = prepared.map(|(seed, digests)| Prepared { seed, digests }).collect();
        Self { entries, prepared }
    }

    /// The same on a thread that may be busy for long.
    pub(crate) async fn prepare_aside(tenant: TenantId, entries: Vec<NewEntry>) -> Result<Self> {
        let preparing = tokio::task::spawn_blocking(move || Self::prepare(entries));
        preparing.await.map_err(|_| StoreError::Interrupted { tenant })
    }
}

impl FromIterator<(NewEntry, Prepared)> for Group {
    fn from_iter<I: IntoIterator<Item = (NewEntry, Prepared)>>(all: I) -> Self {
        let (entries, prepared) = all.into_iter().unzip();
        Self { entries, prepared }
    }
}

impl IntoIterator for Group {
    type Item = (NewEntry, Prepared);
    type IntoIter = std::iter::Zip<std::vec::IntoIter<NewEntry>, std::vec::IntoIter<Prepared>>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter().zip(self.prepared)
    }
}

/// Appends a group in order, in one transaction that is durable when this returns. An entry that
/// conflicts fails alone.
///
/// Repeats are rare, and looking for them costs more the more a tenant has: the keys find them, and only
/// then are they looked up.
pub(crate) async fn append(
    handle: &Handle,
    tenant: TenantId,
    group: Arc<Group>,
) -> Result<Vec<Answer>> {
    match attempt(handle, tenant, group.clone(), Look::No).await {
        Err(error) if error.is_taken_key() => attempt(handle, tenant, group, Look::Yes).await,
        outcome => outcome,
    }
}

/// Whether what is stored is searched for repeats.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Yes,
    No,
}

async fn attempt(
    handle: &Handle,
    tenant: TenantId,
    group: Arc<Group>,
    look: Look,
) -> Result<Vec<Answer>> {
    let mut tx = TenantTx::open(handle, tenant).await?;
    let head = lock(&mut tx).await?;
    let plan = plan(&mut tx, &head, &group.entries, look).await?;
    let changes = !plan.new.is_empty();
    let answers = carry_out(&mut tx, head, group, plan).await?;
    if changes {
        tx.commit().await?;
    }
    Ok(answers)
}

/// Where a tenant's chain ends, held there.
pub(crate) struct LockedHead {
    next: Seq,
    last: EntryHash,
    tag_key: B256,
}

/// What is to become of each entry of a group.
pub(crate) struct Plan {
    tags: Vec<B256>,
    /// None for what is new.
    answers: Vec<Option<Answer>>,
    new: Vec<usize>,
}

impl Plan {
    /// Leaves out the first entry that conflicts and all that follow it, and says which and why.
    pub(crate) fn stop_at_conflict(&mut self) -> Option<(usize, AppendError)> {
        let conflict = self.answers.iter().enumerate().find_map(|(i, answer)| match answer {
            Some(Err(error)) => Some((i, error.clone())),
            _ => None,
        })?;
        self.answers.truncate(conflict.0);
        self.new.retain(|&i| i < conflict.0);
        Some(conflict)
    }
}

/// Looks for repeats and conflicts, among what is stored and within the group.
pub(crate) async fn plan(
    tx: &mut TenantTx,
    head: &LockedHead,
    entries: &[NewEntry],
    look: Look,
) -> Result<Plan> {
    let tenant = tx.tenant();
    let tags: Vec<B256> =
        entries.iter().map(|entry| tag(&head.tag_key, entry.external_id())).collect();
    let mut answers = match look {
        Look::Yes => repeats(tx, entries, &tags).await?,
        Look::No => vec![None; entries.len()],
    };
    let mut fresh: HashMap<B256, (Seq, usize)> = HashMap::with_capacity(entries.len());
    let mut new = Vec::with_capacity(entries.len());
    let mut next = head.next;
    for (i, entry) in entries.iter().enumerate() {
        if answers[i].is_some() {
            continue;
        }
        if let Some(&(seq, of)) = fresh.get(&tags[i]) {
            let differs = entry.differs_from(entries[of].fields());
            answers[i] = Some(repeat(tenant, entry, seq, differs));
            continue;
        }
        fresh.insert(tags[i], (next, i));
        new.push(i);
        next = next
            .next()
            .filter(|next| next.get() <= MAX_ENTRIES)
            .ok_or(StoreError::Full { tenant, next })?;
    }
    Ok(Plan { tags, answers, new })
}

/// Chains and inserts what is new and moves the head; the caller commits.
pub(crate) async fn carry_out(
    tx: &mut TenantTx,
    head: LockedHead,
    group: Arc<Group>,
    plan: Plan,
) -> Result<Vec<Answer>> {
    let tenant = tx.tenant();
    let Plan { tags, mut answers, new } = plan;
    if !new.is_empty() {
        // After the lock, so that the times of a tenant's entries follow their order while the clock does.
        let recorded_at = tx.clock.now()?.to_string();
        let links = {
            let (group, at) = (group.clone(), recorded_at.clone());
            let chaining =
                tokio::task::spawn_blocking(move || chain(tenant, &head, &group, &new, &at));
            chaining.await.map_err(|_| StoreError::Interrupted { tenant })?
        };
        insert(tx, &group, &tags, &links, &recorded_at).await?;
        advance(tx, &group, &links, &recorded_at).await?;
        for link in links {
            answers[link.entry] = Some(Ok(Appended::New { seq: link.seq, entry_hash: link.hash }));
        }
    }
    let complete: Option<Vec<Answer>> = answers.into_iter().collect();
    complete.ok_or(StoreError::Interrupted { tenant })
}

/// Takes the tenant's head: its writers queue here.
pub(crate) async fn lock(tx: &mut TenantTx) -> Result<LockedHead> {
    let row = sqlx::query(
        "SELECT h.next_seq, h.last_entry_hash, k.key FROM cofferdam.heads h \
         JOIN cofferdam.tag_keys k USING (tenant_id, chain_id) \
         WHERE h.tenant_id = $1 AND h.chain_id = $2 FOR UPDATE OF h",
    )
    .bind(tx.tenant().as_b256().as_slice())
    .bind(tx.chain())
    .fetch_optional(&mut *tx.tx)
    .await
    .map_err(StoreError::database("lock the tenant's head"))?;
    let row = row.ok_or_else(|| tx.unknown())?;
    Ok(LockedHead {
        next: Seq(row.number("next_seq")?),
        last: row.hash("last_entry_hash")?,
        tag_key: row.hash("key")?,
    })
}

/// Answers what is stored already.
async fn repeats(
    tx: &mut TenantTx,
    entries: &[NewEntry],
    tags: &[B256],
) -> Result<Vec<Option<Answer>>> {
    let tenant = tx.tenant();
    let mut by_tag: HashMap<B256, Vec<usize>> = HashMap::with_capacity(tags.len());
    for (i, tag) in tags.iter().enumerate() {
        by_tag.entry(*tag).or_default().push(i);
    }
    let mut answers = vec![None; entries.len()];
    let mut stored = sqlx::query(concat!(
        "SELECT e.* FROM unnest($3::bytea[]) AS wanted (tag), LATERAL (SELECT ",
        entry_columns!(),
        " FROM cofferdam.entries WHERE tenant_id = $1 AND chain_id = $2 \
             AND external_id_tag BETWEEN wanted.tag AND wanted.tag \
             ORDER BY external_id_tag LIMIT 1) e"
    ))
    .bind(tenant.as_b256().0)
    .bind(tx.chain())
    .bind(tags.iter().map(B256::as_slice).collect::<Vec<_>>())
    .fetch(&mut *tx.tx);
    while let Some(row) =
        stored.try_next().await.map_err(StoreError::database("look for repeats"))?
    {
        let found = entry(&row)?;
        let tag: B256 = row.hash("external_id_tag")?;
        for &i in by_tag.get(&tag).into_iter().flatten() {
            // Of an erased entry only the tag is left: a redelivery is a repeat and brings nothing back.
            let differs = match found.seed {
                Some(_) => entries[i].differs_from(&found.fields),
                None => None,
            };
            answers[i] = Some(repeat(tenant, &entries[i], found.seq, differs));
        }
    }
    Ok(answers)
}

fn repeat(tenant: TenantId, entry: &NewEntry, seq: Seq, differs: Option<FieldName>) -> Answer {
    match differs {
        None => Ok(Appended::Repeat { seq }),
        Some(field) => Err(AppendError::Conflict {
            tenant,
            external_id: entry.external_id().to_owned(),
            seq,
            field,
        }),
    }
}

/// A link of the chain: which entry of the group it is, and what it hashes to.
struct Link {
    entry: usize,
    seq: Seq,
    previous: EntryHash,
    commitment: Commitment,
    hash: EntryHash,
}

fn chain(
    tenant: TenantId,
    head: &LockedHead,
    group: &Group,
    new: &[usize],
    recorded_at: &str,
) -> Vec<Link> {
    let (recorded, at) = (FieldName::RecordedAt, recorded_at.as_bytes());
    let prepared = || new.iter().map(|&i| &group.prepared[i]);
    let salts = salts(prepared().map(|it| (&it.seed, recorded)));
    let times = field_digests(salts.iter().map(|salt| (salt, recorded, at)));
    let mut digests: Vec<_> = prepared().map(|it| it.digests).collect();
    for (digests, time) in digests.iter_mut().zip(times) {
        digests[recorded.position()] = time;
    }
    let mut previous = head.last;
    let link = |((seq, &i), commitment): ((u64, &usize), Commitment)| {
        let (seq, before) = (Seq(seq), previous);
        previous = entry_hash(tenant, seq, before, commitment);
        Link { entry: i, seq, previous: before, commitment, hash: previous }
    };
    (head.next.get()..).zip(new).zip(commitments(&digests)).map(link).collect()
}

/// A field as it is stored: the source's, and ours for the time of recording.
fn value<'a>(entry: &'a NewEntry, name: FieldName, recorded_at: &'a str) -> &'a str {
    match name {
        FieldName::RecordedAt => recorded_at,
        name => entry.fields().get(name),
    }
}

async fn insert(
    tx: &mut TenantTx,
    group: &Group,
    tags: &[B256],
    links: &[Link],
    recorded_at: &str,
) -> Result<()> {
    let seqs =
        links.iter().map(|link| bigint(link.seq.get(), "seq")).collect::<Result<Vec<_>>>()?;
    let bytes = |of: fn(&Link) -> &[u8]| links.iter().map(of).collect::<Vec<_>>();
    let query = sqlx::query(
        "INSERT INTO cofferdam.entries (tenant_id, chain_id, seq, external_id_tag, previous, \
             commitment, entry_hash, seed, action, actor, external_id, occurred_at, payload, \
             policy_version, reason, recorded_at, resource, result) \
         SELECT $1, $2, u.* FROM UNNEST($3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], \
             $7::bytea[], $8::bytea[], $9::text[], $10::text[], $11::text[], $12::text[], \
             $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[]) u",
    )
    .bind(tx.tenant().as_b256().0)
    .bind(tx.chain())
    .bind(seqs)
    .bind(links.iter().map(|link| tags[link.entry].as_slice()).collect::<Vec<_>>())
    .bind(bytes(|link| link.previous.as_bytes()))
    .bind(bytes(|link| link.commitment.as_bytes()))
    .bind(bytes(|link| link.hash.as_bytes()))
    .bind(
        links
            .iter()
            .map(|link| group.prepared[link.entry].seed.as_bytes().as_slice())
            .collect::<Vec<_>>(),
    );
    let query = FieldName::ALL.into_iter().fold(query, |query, name| {
        let column = links.iter().map(|link| value(&group.entries[link.entry], name, recorded_at));
        query.bind(column.collect::<Vec<_>>())
    });
    query.execute(&mut *tx.tx).await.map_err(StoreError::database("insert entries"))?;
    Ok(())
}

async fn advance(
    tx: &mut TenantTx,
    group: &Group,
    links: &[Link],
    recorded_at: &str,
) -> Result<()> {
    let Some(last) = links.last() else { return Ok(()) };
    let bytes: usize =
        links.iter().map(|link| group.entries[link.entry].size() + recorded_at.len()).sum();
    sqlx::query(
        "UPDATE cofferdam.heads SET next_seq = $3, last_entry_hash = $4, \
             oldest_unsealed_at = coalesce(oldest_unsealed_at, now()), \
             unsealed_bytes = unsealed_bytes + $5 \
         WHERE tenant_id = $1 AND chain_id = $2",
    )
    .bind(tx.tenant().as_b256().as_slice())
    .bind(tx.chain())
    .bind(bigint(last.seq.get() + 1, "seq")?)
    .bind(last.hash.as_bytes().as_slice())
    .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
    .execute(&mut *tx.tx)
    .await
    .map_err(StoreError::database("move the tenant's head"))?;
    Ok(())
}
