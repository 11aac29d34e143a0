//! The JSON of a receipt: every member required, none unknown, integers as decimal strings, bytes
//! as lowercase hex.

use super::{
    AnchorRef, EntryBody, HistoryRef, MAX_PATH, MAX_RECEIPT_BYTES, Receipt, ReceiptEntry,
    ReceiptError, ReceiptField,
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire<'a> {
    format: Cow<'a, str>,
    version: u64,
    #[serde(with = "decimal")]
    chain_id: u64,
    #[serde(with = "hex::fixed")]
    contract: Address,
    tenant_id: TenantId,
    entry: WireEntry<'a>,
    batch: WireBatch,
    #[serde(with = "hex::path")]
    path: Vec<B256>,
    history: HistoryRef,
    anchor: AnchorRef,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEntry<'a> {
    seq: Seq,
    previous: EntryHash,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    seed: Option<Seed>,
    #[serde(default, deserialize_with = "present")]
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<FieldName, WireField<'a>>>,
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
    if bytes.len() > MAX_RECEIPT_BYTES {
        return Err(ReceiptError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| ReceiptError::Utf8(e.valid_up_to()))?;
    // First, since serde keeps the last of two equal keys of a map and another reader may keep the
    // first.
    json::check(text)?;
    let wire: Wire<'_> =
        serde_json::from_str(text).map_err(|e| ReceiptError::Members(e.to_string()))?;
    wire.try_into()
}

impl TryFrom<Wire<'_>> for Receipt {
    type Error = ReceiptError;

    fn try_from(wire: Wire<'_>) -> Result<Self, ReceiptError> {
        if wire.format != FORMAT || wire.version != VERSION {
            let (format, version) = (wire.format.into_owned(), wire.version);
            return Err(ReceiptError::Format { format, version });
        }
        for (member, path) in [("path", &wire.path), ("history.path", &wire.history.path)] {
            if path.len() > MAX_PATH {
                return Err(ReceiptError::PathTooLong { member, found: path.len() });
            }
        }
        let WireBatch { index, first_seq, count, root, anchored_at } = wire.batch;
        Ok(Self {
            chain_id: wire.chain_id,
            contract: wire.contract,
            entry: wire.entry.try_into()?,
            batch: Batch { tenant: wire.tenant_id, index, first_seq, count, root, anchored_at },
            path: wire.path,
            history: wire.history,
            anchor: wire.anchor,
        })
    }
}

impl TryFrom<WireEntry<'_>> for ReceiptEntry {
    type Error = ReceiptError;

    fn try_from(wire: WireEntry<'_>) -> Result<Self, ReceiptError> {
        let body = match (wire.seed, wire.fields, wire.commitment) {
            (Some(seed), Some(fields), None) => {
                let fields = Fields::from_stored(all(fields, whole)?);
                EntryBody::Whole { seed, fields }
            }
            (None, Some(fields), None) => EntryBody::Partial(Box::new(all(fields, partial)?)),
            (None, None, Some(commitment)) => EntryBody::Erased(commitment),
            _ => return Err(ReceiptError::Entry("needs fields, or the commitment alone")),
        };
        Ok(Self { seq: wire.seq, previous: wire.previous, body })
    }
}

fn all<T>(
    mut fields: BTreeMap<FieldName, WireField<'_>>,
    read: impl Fn(WireField<'_>) -> Result<T, &'static str>,
) -> Result<[T; 10], ReceiptError> {
    let mut values = Vec::with_capacity(10);
    for field in FieldName::ALL {
        let wire = fields.remove(&field).ok_or(ReceiptError::FieldMissing(field))?;
        values.push(read(wire).map_err(|problem| ReceiptError::Field { field, problem })?);
    }
    values.try_into().map_err(|_| ReceiptError::Entry("needs ten fields"))
}

fn whole(field: WireField<'_>) -> Result<String, &'static str> {
    match field {
        WireField { value: Some(value), salt: None, digest: None } => Ok(value.into_owned()),
        WireField { salt: Some(_), .. } => Err("a salt beside the entry's seed"),
        // With the seed at hand anyone can test guesses at what is hidden, so a producer who meant
        // to hide it has failed.
        _ => Err("hidden beside the entry's seed, which does not hide it"),
    }
}

fn partial(field: WireField<'_>) -> Result<ReceiptField, &'static str> {
    match field {
        WireField { value: Some(value), salt: Some(salt), digest: None } => {
            Ok(ReceiptField::Disclosed { value: value.into_owned(), salt })
        }
        WireField { value: None, salt: None, digest: Some(digest) } => {
            Ok(ReceiptField::Hidden(digest))
        }
        _ => Err("needs value and salt, or the digest alone"),
    }
}

impl Serialize for Receipt {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let Batch { tenant, index, first_seq, count, root, anchored_at } = self.batch;
        Wire {
            format: FORMAT.into(),
            version: VERSION,
            chain_id: self.chain_id,
            contract: self.contract,
            tenant_id: tenant,
            entry: WireEntry::from(&self.entry),
            batch: WireBatch { index, first_seq, count, root, anchored_at },
            path: self.path.clone(),
            history: self.history.clone(),
            anchor: self.anchor,
        }
        .serialize(s)
    }
}

impl<'a> From<&'a ReceiptEntry> for WireEntry<'a> {
    fn from(entry: &'a ReceiptEntry) -> Self {
        let mut wire = Self {
            seq: entry.seq,
            previous: entry.previous,
            seed: None,
            fields: None,
            commitment: None,
        };
        match &entry.body {
            EntryBody::Whole { seed, fields } => {
                wire.seed = Some(*seed);
                let value = |(field, value)| {
                    (field, WireField { value: Some(Cow::Borrowed(value)), ..Default::default() })
                };
                wire.fields = Some(fields.iter().map(value).collect());
            }
            EntryBody::Partial(fields) => {
                let fields = fields.iter().map(|field| match field {
                    ReceiptField::Disclosed { value, salt } => {
                        WireField { value: Some(value.into()), salt: Some(*salt), digest: None }
                    }
                    ReceiptField::Hidden(digest) => {
                        WireField { digest: Some(*digest), ..Default::default() }
                    }
                });
                wire.fields = Some(FieldName::ALL.into_iter().zip(fields).collect());
            }
            EntryBody::Erased(commitment) => wire.commitment = Some(*commitment),
        }
        wire
    }
}
