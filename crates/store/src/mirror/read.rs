//! A tenant's mirrored events, read back as they were written.

use std::sync::OnceLock;

use alloy_primitives::{Address, Bytes};
use cofferdam_core::mirror::{Abi, LogPosition, MirrorEvent, MirrorTable, Row, Value};
use futures::{Stream, StreamExt};
use sqlx::{AssertSqlSafe, postgres::PgRow};

use crate::{Result, StoreError, TenantTx, row::RowExt};

impl TenantTx {
    /// All of the tenant's rows in a table of the mirror, in the chain's order and streamed.
    pub fn mirrored(&mut self, table: MirrorTable) -> impl Stream<Item = Result<Row>> + Send + '_ {
        // Made of this program's own names alone.
        sqlx::query(AssertSqlSafe(select(table)))
            .bind(self.tenant().as_b256().0)
            .bind(self.chain())
            .fetch(&mut *self.tx)
            .map(move |row| {
                read(table, &row.map_err(StoreError::database("read mirrored events"))?)
            })
    }
}

fn select(table: MirrorTable) -> &'static str {
    static ALL: OnceLock<Vec<String>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let of = |table: MirrorTable| {
            let columns: String = table
                .columns()
                .iter()
                // A numeric has no type of its own here; its digits have.
                .map(|(name, abi)| match abi {
                    Abi::Amount => format!(", {name}::text AS {name}"),
                    _ => format!(", {name}"),
                })
                .collect();
            let kind = if table.has_kind() { ", kind" } else { "" };
            format!(
                "SELECT tenant_id, block_number, block_hash, block_time, tx_hash, log_index{kind}{columns} \
                 FROM cofferdam.{} WHERE tenant_id = $1 AND chain_id = $2 ORDER BY block_number, log_index",
                table.name()
            )
        };
        MirrorTable::ALL.map(of).into()
    });
    let at = MirrorTable::ALL.iter().position(|it| *it == table).unwrap_or_default();
    &all[at]
}

fn read(table: MirrorTable, row: &PgRow) -> Result<Row> {
    let corrupt = StoreError::Corrupt { column: "kind" };
    let event = if table.has_kind() {
        MirrorEvent::named(row.value("kind")?).ok_or(corrupt)?
    } else {
        table.events().next().ok_or(corrupt)?
    };
    let values = event.columns().map(|member| value(row, member.column, member.abi));
    Ok(Row {
        event,
        tenant: row.hash("tenant_id")?,
        position: LogPosition {
            block_number: row.number("block_number")?,
            block_hash: row.hash("block_hash")?,
            tx_hash: row.hash("tx_hash")?,
            log_index: row.number("log_index")?,
        },
        time: row.number("block_time")?,
        values: values.collect::<Result<_>>()?,
    })
}

fn value(row: &PgRow, column: &'static str, abi: Abi) -> Result<Value> {
    let corrupt = StoreError::Corrupt { column };
    Ok(match abi {
        Abi::Word | Abi::Tenant => Value::Word(row.hash(column)?),
        Abi::Address => {
            Value::Address(Address::try_from(row.value::<&[u8]>(column)?).map_err(|_| corrupt)?)
        }
        Abi::Int => Value::Int(row.number(column)?),
        Abi::Amount => Value::Amount(row.value::<&str>(column)?.parse().map_err(|_| corrupt)?),
        Abi::Bool => Value::Bool(row.value(column)?),
        Abi::Selector => {
            Value::Selector(row.value::<&[u8]>(column)?.try_into().map_err(|_| corrupt)?)
        }
        Abi::Bytes | Abi::Words => {
            Value::Bytes(Bytes::copy_from_slice(row.value::<&[u8]>(column)?))
        }
    })
}
