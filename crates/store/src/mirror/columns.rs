//! Rows turned into columns: one array a column, in Postgres' binary format, ready to be sent.

use std::sync::OnceLock;

use alloy_primitives::{B256, map::B256Map};
use cofferdam_core::{
    BatchIndex, Completed,
    mirror::{Abi, MIRRORED, MirrorEvent, MirrorTable, Row, Value},
};
use sqlx::{
    Arguments, AssertSqlSafe, Encode, Postgres, Transaction, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
};

use super::heads::Group;
use crate::{Result, StoreError, row::bigint};

/// Rows of one statement, at most: memory that is as long each time is used again.
const AT_ONCE: usize = 2_048;

/// A column of a table: its name, its type, and what of a row it holds.
type Column = (&'static str, Kind, Of);

/// What of a row a column holds.
#[derive(Debug)]
enum Of {
    Row(fn(&Row, &mut Elements<'_>) -> Result<()>),
    /// The member of this place, of each of [`MIRRORED`] that has it.
    Member(Vec<Option<usize>>),
    /// The nodes of the history that end with an anchored batch.
    Nodes,
}

/// The columns that every table has, before its own.
const COMMON: [(&str, Kind, Of); 6] = [
    ("tenant_id", Kind::Bytea, Of::Row(|row, to| to.array(row.tenant.0))),
    ("block_number", Kind::Bigint, Of::Row(|row, to| to.int(row.position.block_number))),
    ("block_hash", Kind::Bytea, Of::Row(|row, to| to.array(row.position.block_hash.0))),
    ("block_time", Kind::Bigint, Of::Row(|row, to| to.int(row.time))),
    ("tx_hash", Kind::Bytea, Of::Row(|row, to| to.array(row.position.tx_hash.0))),
    ("log_index", Kind::Bigint, Of::Row(|row, to| to.int(row.position.log_index))),
];

/// Which event a row is of, where a table has several.
const KIND: Column = ("kind", Kind::Text, Of::Row(|row, to| to.bytes(row.event.name.as_bytes())));

/// The last column of anchored batches, which no event has.
const NODES: Column = ("nodes", Kind::Bytea, Of::Nodes);

/// What Postgres calls a column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bytea,
    Bigint,
    Boolean,
    Numeric,
    Text,
}

impl Kind {
    const fn of(abi: Abi) -> Self {
        match abi {
            Abi::Int => Self::Bigint,
            Abi::Amount => Self::Numeric,
            Abi::Bool => Self::Boolean,
            _ => Self::Bytea,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bytea => "bytea",
            Self::Bigint => "bigint",
            Self::Boolean => "boolean",
            Self::Numeric => "numeric",
            Self::Text => "text",
        }
    }

    /// What an element takes, with its length, in most columns.
    const fn room(self) -> usize {
        match self {
            Self::Bytea => 4 + 32,
            _ => 4 + 8,
        }
    }

    /// The type's number and that of its arrays, which are the same on every server.
    const fn oids(self) -> (u32, u32) {
        match self {
            Self::Bytea => (17, 1001),
            Self::Bigint => (20, 1016),
            Self::Boolean => (16, 1000),
            Self::Numeric => (1700, 1231),
            Self::Text => (25, 1009),
        }
    }
}

/// The elements of an array, as they go over the wire.
#[derive(Debug)]
struct Elements<'a> {
    bytes: &'a mut Vec<u8>,
    nulls: bool,
}

impl Elements<'_> {
    fn null(&mut self) -> Result<()> {
        self.nulls = true;
        self.bytes.extend_from_slice(&(-1i32).to_be_bytes());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        // No event is nearly as long as a length can be.
        self.bytes.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn words(&mut self, words: &[B256]) -> Result<()> {
        self.bytes.extend_from_slice(&(size_of_val(words) as u32).to_be_bytes());
        words.iter().for_each(|word| self.bytes.extend_from_slice(word.as_slice()));
        Ok(())
    }

    /// Bytes of a length that the compiler knows, as most are.
    fn array<const N: usize>(&mut self, bytes: [u8; N]) -> Result<()> {
        self.bytes.reserve(4 + N);
        self.bytes.extend_from_slice(&(N as u32).to_be_bytes());
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn int(&mut self, value: u64) -> Result<()> {
        self.array(bigint(value, "a number of an event")?.to_be_bytes())
    }

    /// A numeric is its digits to the base 10,000, highest first, without zeros at the end.
    fn amount(&mut self, mut value: u128) -> Result<()> {
        let mut digits = Vec::with_capacity(10);
        while value > 0 {
            digits.push((value % 10_000) as u16);
            value /= 10_000;
        }
        let weight = (digits.len() as u16).saturating_sub(1);
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let mut bytes = Vec::with_capacity(8 + 2 * digits.len());
        for word in [(digits.len() - zeros) as u16, weight, 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        for digit in digits[zeros..].iter().rev() {
            bytes.extend(digit.to_be_bytes());
        }
        self.bytes(&bytes)
    }

    fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Word(word) => self.array(word.0),
            Value::Address(address) => self.array(address.into_array()),
            Value::Int(number) => self.int(*number),
            Value::Amount(amount) => self.amount(amount.to()),
            Value::Bool(truth) => self.array([u8::from(*truth)]),
            Value::Selector(selector) => self.array(*selector),
            Value::Bytes(bytes) => self.bytes(bytes),
        }
    }
}

/// One column of many rows. Column by column, since what is next to each other is then written one after
/// another, and once.
struct Array<'a> {
    kind: Kind,
    of: &'a Of,
    rows: &'a [&'a Row],
    completed: &'a B256Map<Completed>,
}

impl Array<'_> {
    /// What it takes, or most often takes.
    fn room(&self) -> usize {
        24 + match self.of {
            Of::Nodes => self.nodes().map(|nodes| 4 + nodes.map_or(0, size_of_val)).sum(),
            _ => self.rows.len() * self.kind.room(),
        }
    }

    /// The nodes that each row's batch completes, where its tenant's history is known.
    fn nodes(&self) -> impl Iterator<Item = Option<&[B256]>> {
        self.rows.chunk_by(|a, b| a.tenant == b.tenant).flat_map(|rows| {
            let completed = self.completed.get(&rows[0].tenant);
            rows.iter().map(move |row| match (completed, &row.values[..]) {
                (Some(completed), [Value::Int(batch), ..]) => {
                    Some(completed.by(BatchIndex(*batch)))
                }
                _ => None,
            })
        })
    }

    fn write(&self, to: &mut Elements<'_>) -> Result<()> {
        match self.of {
            Of::Row(of) => self.rows.iter().try_for_each(|row| of(row, to)),
            Of::Member(places) => {
                for rows in self.rows.chunk_by(|a, b| std::ptr::eq(a.event, b.event)) {
                    let event = MIRRORED.iter().position(|it| std::ptr::eq(it, rows[0].event));
                    let place = event.and_then(|event| places[event]);
                    for row in rows {
                        match place.and_then(|place| row.values.get(place)) {
                            Some(value) => to.value(value)?,
                            None => to.null()?,
                        }
                    }
                }
                Ok(())
            }
            Of::Nodes => self.nodes().try_for_each(|nodes| match nodes {
                Some(nodes) => to.words(nodes),
                None => to.null(),
            }),
        }
    }
}

impl Type<Postgres> for Array<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(Kind::Bytea.oids().1))
    }
}

impl Encode<'_, Postgres> for Array<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let start = buffer.len();
        // One dimension, whether there are nulls, of what; how many, counted from 1.
        for word in [1, 0, self.kind.oids().0, self.rows.len() as u32, 1] {
            buffer.extend(word.to_be_bytes());
        }
        let mut elements = Elements { bytes: buffer, nulls: false };
        self.write(&mut elements)?;
        let nulls = u32::from(elements.nulls);
        buffer[start + 4..start + 8].copy_from_slice(&nulls.to_be_bytes());
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.kind.oids().1)))
    }
}

/// How one table is written.
#[derive(Debug)]
struct Statement {
    sql: String,
    columns: Vec<Column>,
}

impl Statement {
    fn of(table: MirrorTable) -> &'static Self {
        static ALL: OnceLock<Vec<Statement>> = OnceLock::new();
        let all = ALL.get_or_init(|| MirrorTable::ALL.map(Self::new).into());
        &all[MirrorTable::ALL.iter().position(|it| *it == table).unwrap_or_default()]
    }

    fn new(table: MirrorTable) -> Self {
        let own = table.columns().into_iter().map(|(name, abi)| {
            let place = |event: &'static MirrorEvent| {
                event.columns().position(|member| member.column == name)
            };
            (name, Kind::of(abi), Of::Member(MIRRORED.iter().map(place).collect()))
        });
        let columns: Vec<_> = COMMON
            .into_iter()
            .chain(table.has_kind().then_some(KIND))
            .chain(own)
            .chain((table == MirrorTable::Anchored).then_some(NODES))
            .collect();
        let names: Vec<_> = columns.iter().map(|(name, ..)| *name).collect();
        let arrays: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(n, (_, kind, _))| format!("unnest(${}::{}[])", n + 2, kind.name()))
            .collect();
        // In step with each other, and without a copy of all of them in between as there is of a FROM.
        let sql = format!(
            "INSERT INTO cofferdam.{} (chain_id, {}) SELECT $1, {}",
            table.name(),
            names.join(", "),
            arrays.join(", ")
        );
        Self { sql, columns }
    }
}

/// The rows of one table, as they are sent.
#[derive(Debug)]
pub(super) struct Insert {
    sql: &'static str,
    arguments: PgArguments,
}

/// Rows, table by table, with the nodes that each batch completes where its tenant's history is known.
pub(super) fn inserts(
    chain: i64,
    groups: &[Group<'_>],
    completed: &B256Map<Completed>,
) -> Result<Vec<Insert>> {
    let mut of_tables = MirrorTable::ALL.map(|table| (table, vec![]));
    for row in groups.iter().flat_map(|(_, rows)| rows) {
        let of_table = of_tables.iter_mut().find(|(table, _)| *table == row.event.table);
        if let Some((_, rows)) = of_table {
            rows.push(*row);
        }
    }
    let of_tables = of_tables.iter().filter(|(_, rows)| !rows.is_empty());
    of_tables
        .flat_map(|(table, rows)| rows.chunks(AT_ONCE).map(move |rows| (*table, rows)))
        .map(|(table, rows)| Insert::new(Statement::of(table), chain, rows, completed))
        .collect()
}

impl Insert {
    fn new(
        statement: &'static Statement,
        chain: i64,
        rows: &[&Row],
        completed: &B256Map<Completed>,
    ) -> Result<Self> {
        let encode = |error: BoxDynError| match error.downcast() {
            Ok(error) => *error,
            Err(error) => StoreError::database("encode events")(sqlx::Error::Encode(error)),
        };
        let mut arguments = PgArguments::default();
        let columns = statement.columns.iter();
        let arrays = columns.map(|(_, kind, of)| Array { kind: *kind, of, rows, completed });
        let arrays: Vec<_> = arrays.collect();
        arguments.reserve(1 + arrays.len(), arrays.iter().map(Array::room).sum());
        arguments.add(chain).map_err(encode)?;
        for array in arrays {
            arguments.add(array).map_err(encode)?;
        }
        Ok(Self { sql: &statement.sql, arguments })
    }

    /// Writes them; returns how many there were.
    pub(super) async fn execute(self, tx: &mut Transaction<'static, Postgres>) -> Result<u64> {
        // Made of this program's own names alone.
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments);
        let done = query.execute(&mut **tx).await.map_err(StoreError::database("mirror events"))?;
        Ok(done.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_the_table_that_fits_it() {
        for table in MirrorTable::ALL {
            for (name, abi) in table.columns() {
                let same = table.events().flat_map(MirrorEvent::columns);
                for member in same.filter(|member| member.column == name) {
                    assert_eq!(member.abi, abi, "{table:?} {name}");
                }
            }
        }
    }
}
