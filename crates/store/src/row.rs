//! Between rows and types: every width and sign checked in one place.

use std::time::{Duration, SystemTime};

use alloy_primitives::B256;
use cofferdam_core::TenantId;
use sqlx::{Decode, Postgres, Row, Type, postgres::PgRow};

use crate::{Result, StoreError};

/// A number that a bigint column can hold.
pub(crate) fn bigint(value: u64, what: &'static str) -> Result<i64> {
    value.try_into().map_err(|_| StoreError::OutOfRange { what })
}

/// Somebody else's words, as far as a column holds them.
pub(crate) fn words(text: &str) -> String {
    /// The most bytes that `waiting` and `detail` have.
    const MOST: usize = 4096;
    let text = text.replace('\0', "\u{fffd}");
    text[..text.floor_char_boundary(MOST)].to_owned()
}

/// Reads columns by name, with an error that names the column.
pub(crate) trait RowExt {
    fn value<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
        &'r self,
        column: &'static str,
    ) -> Result<T>;

    fn number(&self, column: &'static str) -> Result<u64> {
        self.value::<i64>(column)?.try_into().map_err(|_| StoreError::Corrupt { column })
    }

    fn hash<T: From<B256>>(&self, column: &'static str) -> Result<T> {
        let hash = B256::try_from(self.value::<&[u8]>(column)?);
        hash.map(T::from).map_err(|_| StoreError::Corrupt { column })
    }

    fn tenant(&self) -> Result<TenantId> {
        let column = "tenant_id";
        TenantId::try_from(self.value::<&[u8]>(column)?).map_err(|_| StoreError::Corrupt { column })
    }

    /// A time that the query returned as Unix microseconds.
    fn time(&self, column: &'static str) -> Result<Option<SystemTime>> {
        Ok(self.value::<Option<i64>>(column)?.map(|micros| {
            let distance = Duration::from_micros(micros.unsigned_abs());
            let epoch = SystemTime::UNIX_EPOCH;
            if micros < 0 { epoch - distance } else { epoch + distance }
        }))
    }
}

impl RowExt for PgRow {
    fn value<'r, T: Decode<'r, Postgres> + Type<Postgres>>(
        &'r self,
        column: &'static str,
    ) -> Result<T> {
        self.try_get(column).map_err(|_| StoreError::Corrupt { column })
    }
}
