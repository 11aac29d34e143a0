//! The reader itself: from a source's bytes to validated records.

use std::io::Read;
use std::str;
use std::sync::Arc;

use cofferdam_core::json::{self, JsonError, JsonErrorKind};
use cofferdam_core::{FieldError, FieldName, Fields, Timestamp};

use super::error::{IngestError, Problem};
use super::format::Format;
use super::record::{Extracted, Origin, Record, RecordFields};
use super::sources::{Progress, Source};
use super::split::{Piece, Position, SplitError, Splitter};

/// The bytes of two `\uXXXX` escapes.
const SURROGATE_PAIR: usize = 12;

/// Opens `source` and reads its records as `format` says, one at a time.
pub fn read(source: &Source, format: &Format) -> Result<Records, IngestError> {
    let (input, progress) = source.open()?;
    Ok(Records {
        file: source.name().into(),
        progress,
        splitter: Splitter::new(input, format.envelope()),
        format: format.clone(),
        tenant_required: true,
        index: 0,
        done: false,
    })
}

/// The records of one source, in order. The first error is the last item: what follows a fault
/// cannot be trusted to be what it seems.
pub struct Records {
    file: Arc<str>,
    progress: Progress,
    splitter: Splitter<Box<dyn Read + Send>>,
    format: Format,
    tenant_required: bool,
    index: u64,
    done: bool,
}

impl Records {
    /// Also accepts records that name no tenant, for a caller that has pinned one.
    #[must_use]
    pub fn without_tenants(mut self) -> Self {
        self.tenant_required = false;
        self
    }

    /// How far the source has been read; keeps counting wherever the records go.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn next_record(&mut self) -> Result<Option<Record>, IngestError> {
        loop {
            match self.splitter.next_piece() {
                Ok(None) if self.index == 0 => {
                    return Err(IngestError::NoRecords { file: self.file.to_string() });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Piece::Envelope(start))) => self.check_envelope(start)?,
                Ok(Some(Piece::Record(start))) => {
                    self.index += 1;
                    let record = self.record(start);
                    return record
                        .map(Some)
                        .map_err(|(line, problem)| self.wrong(start, line, problem));
                }
                Err(error) => return Err(self.split_error(error)),
            }
        }
    }

    /// Reads the record that the splitter holds.
    fn record(&mut self, start: Position) -> Result<Record, (u64, Problem)> {
        let text = strict(self.splitter.text(), start)?;
        let here = |problem| (start.line, problem);
        if self.format == Format::Auto {
            self.format = self.format.of_first(text).map_err(here)?;
        }
        let Extracted { tenant, fields } = self.format.extract(text).map_err(here)?;
        if tenant.is_empty() && self.tenant_required {
            return Err(here(Problem::NoTenant { member: self.format.tenant_member() }));
        }
        if fields.external_id.is_empty() {
            return Err(here(Problem::NoId { member: self.format.id_member() }));
        }
        Ok(Record {
            origin: self.origin(start),
            tenant: Some(tenant).filter(|tenant| !tenant.is_empty()),
            entry: validated(fields).map_err(here)?,
        })
    }

    /// Checks what stood around the records of an envelope.
    fn check_envelope(&self, start: Position) -> Result<(), IngestError> {
        let wrong = |problem| self.wrong(start, start.line, problem);
        let text = str::from_utf8(self.splitter.text())
            .map_err(|_| wrong(Problem::NotUtf8 { column: start.column }))?;
        json::check(text).map_err(|error| wrong(Problem::Envelope(error.kind)))
    }

    fn split_error(&mut self, error: SplitError) -> IngestError {
        // All but failures of the input concern the record that would have come next.
        self.index += 1;
        let (start, problem) = match error {
            SplitError::Read(position, source) => {
                let (file, line) = (self.file.to_string(), position.line);
                // What the system does not number comes from the decompressor.
                return if source.raw_os_error().is_none() {
                    IngestError::Gzip { file, line, source }
                } else {
                    IngestError::Read { file, line, source }
                };
            }
            SplitError::Unexpected(at, byte, expected) => {
                (at, Problem::Unexpected { byte, column: at.column, advice: expected.advice(byte) })
            }
            SplitError::CutInArray(at) => (at, Problem::CutInArray),
            SplitError::TooLong(start) => (start, Problem::TooLong),
            SplitError::CutInRecord(start) => (start, Problem::CutInRecord),
        };
        if matches!(problem, Problem::TooLong | Problem::CutInRecord)
            && let Some((line, earlier)) = fault_within(self.splitter.text(), start)
        {
            return self.wrong(start, line, earlier);
        }
        self.wrong(start, start.line, problem)
    }

    fn wrong(&self, start: Position, line: u64, problem: Problem) -> IngestError {
        IngestError::Record { origin: self.origin(start), line, problem }
    }

    fn origin(&self, start: Position) -> Origin {
        Origin { file: self.file.clone(), line: start.line, index: self.index }
    }
}

impl Iterator for Records {
    type Item = Result<Record, IngestError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.next_record().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Records")
            .field("file", &self.file)
            .field("format", &self.format)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// The record's text once it has passed the strict check; else the fault and its line.
fn strict(bytes: &[u8], start: Position) -> Result<&str, (u64, Problem)> {
    let text =
        str::from_utf8(bytes).map_err(|error| not_utf8(&bytes[..error.valid_up_to()], start))?;
    json::check(text).map_err(|error| located(error, start))?;
    Ok(text)
}

/// A fault of a record's own text as a place in the file.
fn located(error: JsonError, start: Position) -> (u64, Problem) {
    // The record's first line may have something in front of it.
    let before = if error.line == 1 { start.column - 1 } else { 0 };
    let (line, column) = (start.line + error.line as u64 - 1, before + error.column as u64);
    (line, Problem::Json { kind: error.kind, column })
}

fn not_utf8(valid: &[u8], start: Position) -> (u64, Problem) {
    let at = start.after(valid);
    (at.line, Problem::NotUtf8 { column: at.column })
}

/// What is wrong with the text of a record before the place where it was cut short.
///
/// A missing quote or bracket makes a record swallow what follows it: the place to mend is then
/// where the text stopped being JSON, not where it grew too long or ended.
fn fault_within(held: &[u8], start: Position) -> Option<(u64, Problem)> {
    let (text, broken) = match str::from_utf8(held) {
        Ok(text) => (text, false),
        Err(error) => {
            let valid = &held[..error.valid_up_to()];
            (str::from_utf8(valid).unwrap_or_default(), error.error_len().is_some())
        }
    };
    let fault = json::check(text).err().filter(|error| match error.kind {
        JsonErrorKind::End(_) => false,
        // The other half may have been cut off.
        JsonErrorKind::LoneSurrogate(_) => text.len() - error.offset >= SURROGATE_PAIR,
        _ => true,
    });
    match fault {
        Some(error) => Some(located(error, start)),
        None if broken => Some(not_utf8(text.as_bytes(), start)),
        None => None,
    }
}

/// The fields of a strict record, within the limits of the format, the time in its one form.
fn validated(mut fields: RecordFields) -> Result<RecordFields, Problem> {
    if !fields.occurred_at.is_empty() {
        let time: Result<Timestamp, _> = fields.occurred_at.parse();
        fields.occurred_at = match time {
            Ok(time) => time.to_string(),
            Err(source) => return Err(Problem::Time { value: fields.occurred_at, source }),
        };
    }
    // The payload is part of a record that has passed the strict check: checking it again would
    // double the cost of reading. What is left to check is its length.
    let (field, length) = (FieldName::Payload, fields.payload.len());
    if length > field.limit() {
        return Err(FieldError::TooLong { field, length }.into());
    }
    let [action, actor, external_id, occurred_at, _, policy_version, reason, _, resource, result] =
        Fields::new([
            (FieldName::Action, fields.action),
            (FieldName::Actor, fields.actor),
            (FieldName::ExternalId, fields.external_id),
            (FieldName::OccurredAt, fields.occurred_at),
            (FieldName::PolicyVersion, fields.policy_version),
            (FieldName::Reason, fields.reason),
            (FieldName::Resource, fields.resource),
            (FieldName::Result, fields.result),
        ])?
        .into_values();
    Ok(RecordFields {
        action,
        actor,
        external_id,
        occurred_at,
        payload: fields.payload,
        policy_version,
        reason,
        resource,
        result,
    })
}
