//! Entries: as a source hands them in, as the sequencer answers, as the database holds them.

use cofferdam_core::{
    Commitment, EntryHash, FieldError, FieldName, Fields, Seed, Seq, TenantId, commitments,
    entry_digests, entry_hash, json,
};

/// What a source says: nine fields, validated. The tenth, `recorded_at`, is the sequencer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    fields: Fields,
    size: usize,
}

/// Why a source's fields are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewEntryError {
    /// A field is not acceptable.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// There is nothing to recognise a repeat by.
    #[error("external_id is empty: without the source's own id a repeat could not be recognised")]
    NoExternalId,
    /// The source tried to say when it was recorded.
    #[error("recorded_at is set when the entry is appended, never by the source")]
    RecordedAt,
}

impl NewEntry {
    /// Checks every field; one that is not given is empty.
    pub fn new(
        values: impl IntoIterator<Item = (FieldName, String)>,
    ) -> Result<Self, NewEntryError> {
        let fields = Fields::new(values)?;
        if fields.get(FieldName::ExternalId).is_empty() {
            return Err(NewEntryError::NoExternalId);
        }
        if !fields.get(FieldName::RecordedAt).is_empty() {
            return Err(NewEntryError::RecordedAt);
        }
        let size = fields.iter().map(|(_, value)| value.len()).sum();
        Ok(Self { fields, size })
    }

    /// The source's own id.
    pub fn external_id(&self) -> &str {
        self.fields.get(FieldName::ExternalId)
    }

    /// The fields, `recorded_at` still empty.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The bytes of all values.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The first field in which `stored` is not the same entry: bytes, JSON white space outside
    /// strings in the payload apart.
    pub(crate) fn differs_from(&self, stored: &Fields) -> Option<FieldName> {
        self.fields.iter().map(|(name, _)| name).find(|&name| {
            let (ours, theirs) = (self.fields.get(name), stored.get(name));
            match name {
                FieldName::RecordedAt => false,
                FieldName::Payload => !json::same_ignoring_whitespace(ours, theirs),
                _ => ours != theirs,
            }
        })
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was appended and is durable.
    New {
        /// Its place.
        seq: Seq,
        /// Its hash.
        entry_hash: EntryHash,
    },
    /// It was there already.
    Repeat {
        /// Where.
        seq: Seq,
    },
}

impl Appended {
    /// Where the entry stands, new or not.
    pub fn seq(&self) -> Seq {
        match *self {
            Self::New { seq, .. } | Self::Repeat { seq } => seq,
        }
    }
}

/// An entry as the database holds it: nothing about it is believed before [`StoredEntry::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place.
    pub seq: Seq,
    /// The hash of the entry before.
    pub previous: EntryHash,
    /// What its fields are committed to by.
    pub commitment: Commitment,
    /// Its hash.
    pub entry_hash: EntryHash,
    /// The secret its salts come from; none once it or one of its fields was erased.
    pub seed: Option<Seed>,
    /// The ten fields, unchecked.
    pub fields: Fields,
}

/// How a stored entry contradicts itself or its neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// A field or the seed was changed.
    #[error("entry {seq}: its fields give commitment {computed}, stored is {stored}")]
    Fields {
        /// The entry.
        seq: Seq,
        /// What the database says.
        stored: Commitment,
        /// What follows from the fields.
        computed: Commitment,
    },
    /// It does not follow the entry before.
    #[error("entry {seq}: it follows {stored}, the entry before has hash {expected}")]
    Chain {
        /// The entry.
        seq: Seq,
        /// What the database says.
        stored: EntryHash,
        /// The hash of the entry before.
        expected: EntryHash,
    },
    /// Its hash is not that of its parts.
    #[error("entry {seq}: its parts give hash {computed}, stored is {stored}")]
    Hash {
        /// The entry.
        seq: Seq,
        /// What the database says.
        stored: EntryHash,
        /// What follows from its parts.
        computed: EntryHash,
    },
}

impl EntryFault {
    /// The entry.
    pub fn seq(&self) -> Seq {
        match *self {
            Self::Fields { seq, .. } | Self::Chain { seq, .. } | Self::Hash { seq, .. } => seq,
        }
    }
}

impl StoredEntry {
    /// The hash that its tenant, seq, previous hash and commitment give.
    pub fn recompute(&self, tenant: TenantId) -> EntryHash {
        entry_hash(tenant, self.seq, self.previous, self.commitment)
    }

    /// Recomputes everything from the stored bytes. An erased entry's fields cannot be recomputed; its
    /// stored commitment stands for them.
    pub fn verify(&self, tenant: TenantId, expected_previous: EntryHash) -> Result<(), EntryFault> {
        let Self { seq, previous, commitment, entry_hash, seed, .. } = *self;
        let values = FieldName::ALL.map(|name| self.fields.get(name));
        let parts = EntryParts { seq, previous, commitment, entry_hash, seed, values };
        let computed = EntryParts::commitments(&[&parts]);
        parts.verify(tenant, expected_previous, computed[0])
    }
}

/// A stored entry whose values are still where they were read.
pub(crate) struct EntryParts<'a> {
    pub(crate) seq: Seq,
    pub(crate) previous: EntryHash,
    pub(crate) commitment: Commitment,
    pub(crate) entry_hash: EntryHash,
    pub(crate) seed: Option<Seed>,
    /// In the order of [`FieldName::ALL`].
    pub(crate) values: [&'a str; 10],
}

impl EntryParts<'_> {
    /// The bytes of all values.
    pub(crate) fn size(&self) -> u64 {
        self.values.iter().map(|value| value.len() as u64).sum()
    }

    /// What each is committed to by its fields, hashed together; an erased one's cannot be recomputed,
    /// so what is stored stands for it.
    pub(crate) fn commitments<'e>(entries: &[&'e Self]) -> Vec<Commitment> {
        let values = |it: &&'e Self| Some((it.seed.as_ref()?, it.values));
        let whole: Vec<_> = entries.iter().filter_map(values).collect();
        let mut computed = commitments(&entry_digests(&whole)).into_iter();
        let each = entries.iter().map(|it| match it.seed {
            // None is left out; zero would be no entry's.
            Some(_) => computed.next().unwrap_or(Commitment::ZERO),
            None => it.commitment,
        });
        each.collect()
    }

    /// See [`StoredEntry::verify`]; with what [`EntryParts::commitments`] gives for it.
    pub(crate) fn verify(
        &self,
        tenant: TenantId,
        expected_previous: EntryHash,
        computed: Commitment,
    ) -> Result<(), EntryFault> {
        let (seq, stored) = (self.seq, self.commitment);
        if stored != computed {
            return Err(EntryFault::Fields { seq, stored, computed });
        }
        if self.previous != expected_previous {
            let stored = self.previous;
            return Err(EntryFault::Chain { seq, stored, expected: expected_previous });
        }
        let stored = self.entry_hash;
        let computed = entry_hash(tenant, seq, self.previous, self.commitment);
        if stored != computed {
            return Err(EntryFault::Hash { seq, stored, computed });
        }
        Ok(())
    }
}
