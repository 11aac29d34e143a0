//! Reads audit logs: from files, folders and standard input to records that can be appended.
//!
//! Pure reading: no database, no chain, no clock. [`sources`] finds the files, [`read`] turns one
//! of them into an iterator of [`Record`]s in memory that does not grow with the file.
//!
//! - **Files**: plain or gzipped (told by their first bytes, several gzip members included), UTF-8
//!   with or without a byte order mark.
//! - **Layouts**: one object a line, objects one after another with any white space between, an
//!   array of objects, or an object with one array of records (`{"Records":[…]}`).
//! - **Formats**: [`Format`] says which members become which fields.
//! - **Verbatim**: a payload is the source's own text, byte for byte; nothing is parsed and written
//!   again, so no digit, escape or space can change on the way.
//! - **Strict**: a record with duplicate keys, lone surrogates, U+0000 or values beyond the limits
//!   is refused with its file, line and record, and ends the reading of its file. A file without
//!   any record is refused too: silence would look like success.

mod cloudtrail;
mod error;
mod format;
mod map;
mod ndjson;
mod pointer;
mod record;
mod records;
mod sources;
mod split;
mod value;

pub use error::{IngestError, Problem};
pub use format::Format;
pub use map::Mapping;
pub use pointer::{Pointer, PointerError};
pub use record::{Origin, Record, RecordFields};
pub use records::{Records, read};
pub use sources::{Progress, SUFFIXES, Source, sources};
