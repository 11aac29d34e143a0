//! The JSON of a receipt: every member required, none unknown, integers as decimal strings, bytes
//! as lowercase hex.

use super::{
    AnchorRef, EntryBody, Finality, HistoryRef, Inclusion, MAX_PATH, MAX_RECEIPT_BYTES, Member,
    ProofBlock, Receipt, ReceiptEntry, ReceiptError, ReceiptField, State,
    object::{Object, object, present_object},
};
use crate::{
    Batch, BatchIndex, BatchRoot, Commitment, EntryHash, FieldDigest, FieldName, Fields, Salt,
    Seed, Seq, TenantId, hex, json, number::decimal,
};
use alloy_primitives::{Address, B256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{borrow::Cow, collections::BTreeMap};

const FORMAT: &str = "cofferdam-receipt";
const VERSION: u64 = 1;
/// More members than any object of a receipt has, also of later versions.
const MAX_MEMBERS: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire<'a> {
    format: Cow<'a, str>,
    version: u64,
    state: State,
    lacks: Vec<Member>,
    #[serde(with = "decimal")]
    chain_id: u64,
    #[serde(with = "hex::fixed")]
    contract: Address,
    #[serde(with = "hex::fixed")]
    code_hash: B256,
    tenant_id: TenantId,
    #[serde(deserialize_with = "object")]
    entry: WireEntry<'a>,
    #[serde(default, deserialize_with = "present_object")]
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<WireBatch>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    path: Option<Path>,
    #[serde(default, deserialize_with = "present_object")]
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<HistoryRef>,
    #[serde(default, deserialize_with = "present_object")]
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<AnchorRef>,
    #[serde(default, deserialize_with = "present_object")]
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_block: Option<Cow<'a, ProofBlock>>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Position(#[serde(with = "decimal")] u64);

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Path(#[serde(with = "hex::path")] Vec<B256>);

/// What is read when the rest cannot be, to tell another version from a mistake.
#[derive(Deserialize)]
pub(crate) struct Kind<'a> {
    pub(crate) format: Cow<'a, str>,
    pub(crate) version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEntry<'a> {
    seq: Seq,
    previous: EntryHash,
    erased: Vec<FieldName>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    seed: Option<Seed>,
    #[serde(default, deserialize_with = "present")]
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<FieldName, Object<WireField<'a>>>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    commitment: Option<Commitment>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireField<'a> {
    #[serde(default, deserialize_with = "present")]
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    salt: Option<Salt>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    digest: Option<FieldDigest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireBatch {
    index: BatchIndex,
    first_seq: Seq,
    #[serde(with = "decimal")]
    count: u64,
    root: BatchRoot,
    #[serde(with = "decimal")]
    anchored_at: u64,
}

/// An optional member is either absent or a value: `null` is neither.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

pub(super) fn read(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
    let text = scanned(bytes)?;
    let read = serde_json::from_str::<Object<Wire<'_>>>(text);
    let Object(wire) = read.map_err(|error| match serde_json::from_str::<Kind<'_>>(text) {
        Ok(kind) if (&*kind.format, kind.version) != (FORMAT, VERSION) => kind.refused(),
        _ => members(&error),
    })?;
    wire.try_into()
}

/// An entry alone, as a line of a bundle holds it.
pub(crate) fn read_entry(bytes: &[u8]) -> Result<ReceiptEntry, ReceiptError> {
    strict::<WireEntry<'_>>(bytes)?.try_into()
}

/// Writes an entry alone, in one line.
pub(crate) fn write_entry(entry: &ReceiptEntry) -> Result<String, ReceiptError> {
    serde_json::to_string(&WireEntry::from(entry)).map_err(|error| members(&error))
}

/// One object of hostile input: bounded, strict, and in time linear in its length.
pub(crate) fn strict<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ReceiptError> {
    let read = serde_json::from_str::<Object<T>>(scanned(bytes)?);
    read.map(|object| object.0).map_err(|error| members(&error))
}

/// What serde says, which may quote all of the text.
pub(crate) fn members(error: &serde_json::Error) -> ReceiptError {
    ReceiptError::Members(json::abridged(&error.to_string(), 8 * json::QUOTED))
}

fn scanned(bytes: &[u8]) -> Result<&str, ReceiptError> {
    if bytes.len() > MAX_RECEIPT_BYTES {
        return Err(ReceiptError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| ReceiptError::Utf8(e.valid_up_to()))?;
    // First, since serde keeps the last of two equal keys of a map and another reader may keep the
    // first.
    json::check_bounded(text, MAX_MEMBERS)?;
    Ok(text)
}

impl Kind<'_> {
    fn refused(self) -> ReceiptError {
        let format = json::abridged(&self.format, json::QUOTED);
        ReceiptError::Format { format, version: self.version }
    }
}

impl TryFrom<Wire<'_>> for Receipt {
    type Error = ReceiptError;

    fn try_from(wire: Wire<'_>) -> Result<Self, ReceiptError> {
        wire.present()?;
        let (tenant, state) = (wire.tenant_id, wire.state);
        Ok(Self {
            chain_id: wire.chain_id,
            contract: wire.contract,
            code_hash: wire.code_hash,
            tenant,
            entry: wire.entry.try_into()?,
            inclusion: inclusion(
                tenant,
                state,
                (wire.batch, wire.position, wire.path, wire.history, wire.anchor),
                wire.proof_block,
            )?,
        })
    }
}

impl Wire<'_> {
    /// The members that are there must be those of the state, and the others listed.
    fn present(&self) -> Result<(), ReceiptError> {
        if self.format != FORMAT || self.version != VERSION {
            let (format, version) = (self.format.clone(), self.version);
            return Err(Kind { format, version }.refused());
        }
        let present = [
            self.batch.is_some(),
            self.position.is_some(),
            self.path.is_some(),
            self.history.is_some(),
            self.anchor.is_some(),
            self.proof_block.is_some(),
        ];
        let state = self.state;
        for (member, present) in Member::ALL.into_iter().zip(present) {
            let may = match (state, member) {
                (State::Final, Member::ProofBlock) => true,
                (_, Member::ProofBlock) | (State::Pending, _) => !present,
                _ => present,
            };
            if !may {
                return Err(ReceiptError::State { state, member, present });
            }
        }
        let absent = Member::ALL.into_iter().zip(present).filter(|(_, present)| !present);
        let absent: Vec<_> = absent.map(|(member, _)| member).collect();
        if self.lacks == absent { Ok(()) } else { Err(ReceiptError::Lacks { absent }) }
    }
}

type Anchored =
    (Option<WireBatch>, Option<Position>, Option<Path>, Option<HistoryRef>, Option<AnchorRef>);

fn inclusion(
    tenant: TenantId,
    state: State,
    anchored: Anchored,
    proof: Option<Cow<'_, ProofBlock>>,
) -> Result<Option<Inclusion>, ReceiptError> {
    let (Some(batch), Some(position), Some(path), Some(history), Some(anchor)) = anchored else {
        return Ok(None);
    };
    for (member, found) in [("path", path.0.len()), ("history.path", history.path.len())] {
        if found > MAX_PATH {
            return Err(ReceiptError::path(member, found));
        }
    }
    if let Some(proof) = &proof {
        proof.bounded()?;
    }
    let finality = match state {
        State::Pending => return Ok(None),
        State::Included => Finality::Included,
        State::Safe => Finality::Safe,
        State::Final => Finality::Final(proof.map(|proof| Box::new(proof.into_owned()))),
    };
    let WireBatch { index, first_seq, count, root, anchored_at } = batch;
    let batch = Batch { tenant, index, first_seq, count, root, anchored_at };
    let (position, path) = (position.0, path.0);
    Ok(Some(Inclusion { batch, position, path, history, anchor, finality }))
}

impl TryFrom<WireEntry<'_>> for ReceiptEntry {
    type Error = ReceiptError;

    fn try_from(wire: WireEntry<'_>) -> Result<Self, ReceiptError> {
        let erased = wire.erased;
        if !erased.is_sorted_by(|a, b| a < b) {
            return Err(ReceiptError::Erased("must list fields once and in order"));
        }
        let body = match (wire.seed, wire.fields, wire.commitment) {
            (Some(seed), Some(fields), None) => {
                if !erased.is_empty() {
                    return Err(ReceiptError::Erased(
                        "an erasure destroys the seed, which is here",
                    ));
                }
                let fields = Fields::from_stored(all(fields, |_, field| whole(field))?);
                EntryBody::Whole { seed, fields }
            }
            (None, Some(fields), None) => {
                EntryBody::Partial(Box::new(all(fields, |name, field| {
                    partial(field, erased.contains(&name))
                })?))
            }
            (None, None, Some(commitment)) => {
                if erased != FieldName::ALL {
                    return Err(ReceiptError::Erased(
                        "a commitment alone is what is left when all ten are",
                    ));
                }
                EntryBody::Erased(commitment)
            }
            _ => return Err(ReceiptError::Entry("needs fields, or the commitment alone")),
        };
        Ok(Self { seq: wire.seq, previous: wire.previous, body })
    }
}

fn all<T>(
    mut fields: BTreeMap<FieldName, Object<WireField<'_>>>,
    read: impl Fn(FieldName, WireField<'_>) -> Result<T, &'static str>,
) -> Result<[T; 10], ReceiptError> {
    let mut values = Vec::with_capacity(10);
    for field in FieldName::ALL {
        let Object(wire) = fields.remove(&field).ok_or(ReceiptError::FieldMissing(field))?;
        values.push(read(field, wire).map_err(|problem| ReceiptError::Field { field, problem })?);
    }
    values.try_into().map_err(|_| ReceiptError::Entry("needs ten fields"))
}

fn whole(field: WireField<'_>) -> Result<String, &'static str> {
    match field {
        WireField { value: Some(value), salt: None, digest: None } => Ok(value.into_owned()),
        WireField { salt: Some(_), .. } => Err("a salt beside the entry's seed"),
        // With the seed at hand anyone can test guesses at what is hidden, so a producer who meant
        // to hide it has failed.
        _ => Err("withheld beside the entry's seed, which hides nothing"),
    }
}

fn partial(field: WireField<'_>, erased: bool) -> Result<ReceiptField, &'static str> {
    match field {
        WireField { value: None, salt: None, digest: Some(digest) } if erased => {
            Ok(ReceiptField::Erased(digest))
        }
        _ if erased => Err("is erased, which leaves the digest alone"),
        WireField { value: Some(value), salt: Some(salt), digest: None } => {
            Ok(ReceiptField::Disclosed { value: value.into_owned(), salt })
        }
        WireField { value: None, salt: None, digest: Some(digest) } => {
            Ok(ReceiptField::Withheld(digest))
        }
        _ => Err("needs value and salt, or the digest alone"),
    }
}

impl Serialize for Receipt {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let inclusion = self.inclusion.as_ref();
        let proof = inclusion.and_then(|it| it.finality.proof());
        let batch = |it: &Inclusion| {
            let Batch { tenant: _, index, first_seq, count, root, anchored_at } = it.batch;
            WireBatch { index, first_seq, count, root, anchored_at }
        };
        let lacks: &[Member] = match (inclusion, proof) {
            (None, _) => &Member::ALL,
            (Some(_), None) => &[Member::ProofBlock],
            (Some(_), Some(_)) => &[],
        };
        Wire {
            format: FORMAT.into(),
            version: VERSION,
            state: self.state(),
            lacks: lacks.to_vec(),
            chain_id: self.chain_id,
            contract: self.contract,
            code_hash: self.code_hash,
            tenant_id: self.tenant,
            entry: WireEntry::from(&self.entry),
            batch: inclusion.map(batch),
            position: inclusion.map(|it| Position(it.position)),
            path: inclusion.map(|it| Path(it.path.clone())),
            history: inclusion.map(|it| it.history.clone()),
            anchor: inclusion.map(|it| it.anchor),
            proof_block: proof.map(Cow::Borrowed),
        }
        .serialize(s)
    }
}

impl<'a> From<&'a ReceiptEntry> for WireEntry<'a> {
    fn from(entry: &'a ReceiptEntry) -> Self {
        let mut wire = Self {
            seq: entry.seq,
            previous: entry.previous,
            erased: entry.body.erased(),
            seed: None,
            fields: None,
            commitment: None,
        };
        match &entry.body {
            EntryBody::Whole { seed, fields } => {
                wire.seed = Some(*seed);
                let value = |(field, value)| {
                    let value = Some(Cow::Borrowed(value));
                    (field, Object(WireField { value, ..Default::default() }))
                };
                wire.fields = Some(fields.iter().map(value).collect());
            }
            EntryBody::Partial(fields) => {
                let fields = fields.iter().map(|field| match field {
                    ReceiptField::Disclosed { value, salt } => Object(WireField {
                        value: Some(value.into()),
                        salt: Some(*salt),
                        digest: None,
                    }),
                    ReceiptField::Withheld(digest) | ReceiptField::Erased(digest) => {
                        Object(WireField { digest: Some(*digest), ..Default::default() })
                    }
                });
                wire.fields = Some(FieldName::ALL.into_iter().zip(fields).collect());
            }
            EntryBody::Erased(commitment) => wire.commitment = Some(*commitment),
        }
        wire
    }
}
