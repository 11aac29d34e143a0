//! Rows turned into columns: one array a column, in Postgres' binary format, ready to be sent.

use std::sync::OnceLock;

use alloy_primitives::B256;
use cofferdam_core::mirror::{Abi, MIRRORED, MirrorEvent, MirrorTable, Row, Value};
use sqlx::{
    Arguments, AssertSqlSafe, Encode, Postgres, Transaction, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
};

use crate::{Result, StoreError, row::bigint};

/// The columns that every table has, before its own.
const COMMON: [(&str, Kind); 6] = [
    ("tenant_id", Kind::Bytea),
    ("block_number", Kind::Bigint),
    ("block_hash", Kind::Bytea),
    ("block_time", Kind::Bigint),
    ("tx_hash", Kind::Bytea),
    ("log_index", Kind::Bigint),
];

/// The last column of anchored batches, which no event has: the nodes of the history that end with it.
const NODES: (&str, Kind) = ("nodes", Kind::Bytea);

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

/// One column of many rows: an array as it goes over the wire.
#[derive(Clone, Debug)]
pub(super) struct Column {
    kind: Kind,
    count: i32,
    nulls: bool,
    elements: Vec<u8>,
}

impl Column {
    /// With room for so many hashes.
    fn new(kind: Kind, count: usize) -> Self {
        let longest = if kind == Kind::Bytea { 32 } else { 8 };
        let elements = Vec::with_capacity(count * (4 + longest));
        Self { kind, count: 0, nulls: false, elements }
    }

    fn null(&mut self) {
        self.count += 1;
        self.nulls = true;
        self.elements.extend((-1i32).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count += 1;
        // No event is nearly as long as a length can be.
        self.elements.extend((bytes.len() as u32).to_be_bytes());
        self.elements.extend_from_slice(bytes);
    }

    /// The same of a length that the compiler knows, as most are: one copy of it.
    fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.count += 1;
        self.elements.reserve(4 + N);
        self.elements.extend_from_slice(&(N as u32).to_be_bytes());
        self.elements.extend_from_slice(&bytes);
    }

    fn int(&mut self, value: u64) -> Result<()> {
        self.array(bigint(value, "a number of an event")?.to_be_bytes());
        Ok(())
    }

    /// A numeric is its digits to the base 10,000, highest first, without zeros at the end.
    fn amount(&mut self, mut value: u128) {
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
        self.bytes(&bytes);
    }

    fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Word(word) => self.array(word.0),
            Value::Address(address) => self.array(address.into_array()),
            Value::Int(number) => self.int(*number)?,
            Value::Amount(amount) => self.amount(*amount),
            Value::Bool(truth) => self.array([u8::from(*truth)]),
            Value::Selector(selector) => self.array(*selector),
            Value::Bytes(bytes) => self.bytes(bytes),
        }
        Ok(())
    }
}

impl Type<Postgres> for Column {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(Kind::Bytea.oids().1))
    }
}

impl Encode<'_, Postgres> for Column {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // One dimension, whether there are nulls, of what; how many, counted from 1.
        for word in [1, i32::from(self.nulls), self.kind.oids().0 as i32, self.count, 1] {
            buffer.extend(word.to_be_bytes());
        }
        buffer.extend_from_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.kind.oids().1)))
    }

    fn size_hint(&self) -> usize {
        20 + self.elements.len()
    }
}

/// How one table is written.
#[derive(Debug)]
struct Statement {
    sql: String,
    columns: Vec<(&'static str, Kind)>,
    /// Of each of [`MIRRORED`]: which member fills which of the table's own columns.
    members: Vec<Vec<Option<usize>>>,
}

impl Statement {
    fn of(table: MirrorTable) -> &'static Self {
        static ALL: OnceLock<Vec<Statement>> = OnceLock::new();
        let all = ALL.get_or_init(|| MirrorTable::ALL.map(Self::new).into());
        &all[MirrorTable::ALL.iter().position(|it| *it == table).unwrap_or_default()]
    }

    fn new(table: MirrorTable) -> Self {
        let own = table.columns();
        let kind = table.has_kind().then_some(("kind", Kind::Text));
        let columns: Vec<_> = COMMON
            .into_iter()
            .chain(kind)
            .chain(own.iter().map(|(name, abi)| (*name, Kind::of(*abi))))
            .chain((table == MirrorTable::Anchored).then_some(NODES))
            .collect();
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        let arrays: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(n, (_, kind))| format!("unnest(${}::{}[])", n + 2, kind.name()))
            .collect();
        // In step with each other, and without a copy of all of them in between as there is of a FROM.
        let sql = format!(
            "INSERT INTO cofferdam.{} (chain_id, {}) SELECT $1, {}",
            table.name(),
            names.join(", "),
            arrays.join(", ")
        );
        let member = |event: &'static MirrorEvent, name: &str| {
            event.columns().position(|member| member.column == name)
        };
        let members = MIRRORED
            .iter()
            .map(|event| own.iter().map(|(name, _)| member(event, name)).collect())
            .collect();
        Self { sql, columns, members }
    }
}

/// The rows of one table, as they are sent.
#[derive(Debug)]
pub(super) struct Insert {
    sql: &'static str,
    arguments: PgArguments,
}

/// Rows, table by table, and the nodes that each batch completes, in the order of the batches.
pub(super) fn inserts(
    chain: i64,
    rows: &[Row],
    nodes: Vec<Option<Vec<B256>>>,
) -> Result<Vec<Insert>> {
    let mut nodes = nodes.into_iter();
    let mut inserts = vec![];
    for table in MirrorTable::ALL {
        let of_table = rows.iter().filter(|row| row.event.table == table);
        let mut of_table: Vec<_> = of_table
            .map(|row| (row, (table == MirrorTable::Anchored).then(|| nodes.next()?).flatten()))
            .collect();
        if of_table.is_empty() {
            continue;
        }
        // Those of one tenant lie next to each other in the key's index.
        of_table.sort_by_key(|(row, _)| row.tenant);
        let statement = Statement::of(table);
        let columns = statement.columns.iter();
        let mut columns: Vec<_> =
            columns.map(|(_, kind)| Column::new(*kind, of_table.len())).collect();
        for (row, nodes) in of_table {
            push(&mut columns, statement, row)?;
            if let (MirrorTable::Anchored, Some(column)) = (table, columns.last_mut()) {
                match nodes {
                    Some(nodes) => column.bytes(&nodes.concat()),
                    None => column.null(),
                }
            }
        }
        inserts.push(Insert::new(&statement.sql, chain, columns)?);
    }
    Ok(inserts)
}

impl Insert {
    fn new(sql: &'static str, chain: i64, columns: Vec<Column>) -> Result<Self> {
        let encode = |error| StoreError::database("encode events")(sqlx::Error::Encode(error));
        let mut arguments = PgArguments::default();
        arguments.reserve(1 + columns.len(), columns.iter().map(Column::size_hint).sum());
        arguments.add(chain).map_err(encode)?;
        for column in columns {
            arguments.add(column).map_err(encode)?;
        }
        Ok(Self { sql, arguments })
    }

    /// Writes them; returns how many there were.
    pub(super) async fn execute(self, tx: &mut Transaction<'static, Postgres>) -> Result<u64> {
        // Made of this program's own names alone.
        let query = sqlx::query_with(AssertSqlSafe(self.sql), self.arguments);
        let done = query.execute(&mut **tx).await.map_err(StoreError::database("mirror events"))?;
        Ok(done.rows_affected())
    }
}

fn push(columns: &mut [Column], statement: &Statement, row: &Row) -> Result<()> {
    let at = &row.position;
    let (common, own) = columns.split_at_mut(COMMON.len());
    if let [tenant, number, hash, time, transaction, index] = common {
        tenant.array(row.tenant.0);
        number.int(at.block_number)?;
        hash.array(at.block_hash.0);
        time.int(row.time)?;
        transaction.array(at.tx_hash.0);
        index.int(at.log_index)?;
    }
    let of_event = MIRRORED.iter().position(|event| std::ptr::eq(event, row.event));
    let members = of_event.map(|at| &statement.members[at][..]).unwrap_or_default();
    let own = match own {
        [kind, rest @ ..] if kind.kind == Kind::Text => {
            kind.bytes(row.event.name.as_bytes());
            rest
        }
        own => own,
    };
    for (column, member) in own.iter_mut().zip(members) {
        match member.and_then(|member| row.values.get(member)) {
            Some(value) => column.value(value)?,
            None => column.null(),
        }
    }
    Ok(())
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
