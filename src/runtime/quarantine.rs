//! The quarantine of a query: what was left out of a batch and is kept, as rows for a sink of its own.
//!
//! Records that could not be read come from the readers, with their bytes and their place; rows that broke a rule come
//! from the stages. Both become rows of one schema, and these are written under the batch's id as every other output is.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};

use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{BadRecord, SetAside, json_objects};
use crate::kernels::validate::Broken;
use crate::kernels::{Findings, Partitions};
use crate::limits::{QUARANTINE_BYTES_MAX, ROWS_PER_READ_MAX};
use crate::plan::stage::SourceId;

/// What progress records and errors call the sink.
pub const NAME: &str = "quarantine";

/// Something that was left out of a batch and is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it was read, if it could not be.
    pub source: Option<SourceId>,
    /// The rule that it broke, if it could.
    pub rule: Option<Arc<str>>,
    /// What was read, and what is wrong with it.
    pub record: SetAside,
}

/// The columns of a quarantine.
///
/// | column | |
/// |---|---|
/// | `batch` | the batch that left the record out |
/// | `source` | the name of the source |
/// | `file`, `byte`, `line` | where the fault is, as far as that is known: file or address, byte from 0, line from 1 |
/// | `column` | the column whose value is bad; null if the record cannot be taken apart |
/// | `rule` | the name of the rule that a row broke; null for a record that could not be read |
/// | `reason` | what is wrong |
/// | `record` | the record as it came, without its line end (null if it is not UTF-8), or the row as a JSON object |
/// | `bytes` | the record if it is not UTF-8, else null |
pub fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::UInt64, true);
    Arc::new(Schema::new(vec![
        Field::new("batch", DataType::UInt64, false),
        text("source"),
        text("file"),
        number("byte"),
        number("line"),
        text("column"),
        text("rule"),
        Field::new("reason", DataType::Utf8, false),
        text("record"),
        Field::new("bytes", DataType::Binary, true),
    ]))
}

/// Rows that broke rules, as they are kept: as JSON objects.
///
/// # Errors
/// `Unsupported` for a column of a type that NDJSON cannot hold.
fn broken(broken: &Broken) -> Result<Vec<Quarantined>> {
    let objects = json_objects(&broken.rows)?.into_iter().zip(&broken.rules);
    let one = |(bytes, rule): (Vec<u8>, &Arc<str>)| {
        let record = BadRecord { place: Place::default(), reason: format!("the row breaks the rule \"{rule}\"") };
        Quarantined { source: None, rule: Some(Arc::clone(rule)), record: SetAside { record, bytes } }
    };
    Ok(objects.map(one).collect())
}

/// Takes the rows out of what rules found that are kept.
///
/// # Errors
/// As for a column that NDJSON cannot hold; `BadRecord`, if there are more than may be held.
pub(super) fn rows_aside(found: &mut Findings, aside: &AsideBytes) -> Result<Vec<Arc<Quarantined>>> {
    let mut all = Vec::new();
    for rows in std::mem::take(&mut found.aside) {
        let rows = broken(&rows)?;
        aside.add(rows.iter().map(|row| &row.record))?;
        all.extend(rows.into_iter().map(Arc::new));
    }
    Ok(all)
}

/// The rows of a batch's quarantine, in one partition.
///
/// # Errors
/// `Internal`, if the columns do not fit the schema.
pub fn rows(schema: &SchemaRef, batch: u64, quarantined: &[Arc<Quarantined>], sources: &[&str]) -> Result<Partitions> {
    let pieces = quarantined.chunks(ROWS_PER_READ_MAX);
    Ok(vec![pieces.map(|piece| piece_of(schema, batch, piece, sources)).collect::<Result<_>>()?])
}

fn piece_of(schema: &SchemaRef, batch: u64, piece: &[Arc<Quarantined>], sources: &[&str]) -> Result<RecordBatch> {
    let (mut batches, mut bytes, mut lines) = (UInt64Builder::new(), UInt64Builder::new(), UInt64Builder::new());
    let [mut source, mut file, mut column, mut rule, mut reason, mut record] =
        std::array::from_fn(|_| StringBuilder::new());
    let mut raw = BinaryBuilder::new();
    for one in piece {
        let SetAside { record: bad, bytes: whole } = &one.record;
        batches.append_value(batch);
        source.append_option(one.source.and_then(|source| sources.get(source.0)));
        file.append_option(bad.place.file.as_ref().map(|file| file.display().to_string()));
        bytes.append_option(bad.place.byte);
        lines.append_option(bad.place.line);
        column.append_option(bad.place.column.as_ref());
        rule.append_option(one.rule.as_deref());
        reason.append_value(&bad.reason);
        match std::str::from_utf8(whole) {
            Ok(text) => {
                record.append_value(text);
                raw.append_null();
            }
            Err(_) => {
                record.append_null();
                raw.append_value(whole);
            }
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(batches.finish()),
        Arc::new(source.finish()),
        Arc::new(file.finish()),
        Arc::new(bytes.finish()),
        Arc::new(lines.finish()),
        Arc::new(column.finish()),
        Arc::new(rule.finish()),
        Arc::new(reason.finish()),
        Arc::new(record.finish()),
        Arc::new(raw.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The error of a query that puts records aside and has no place for them.
pub fn missing(who: &str) -> Error {
    Error::invalid_query(format!("{who} puts records in quarantine, and the query has none")).advice(
        "give the query a quarantine: a [quarantine] with a path in a pipeline file, or StreamingContext::quarantine",
    )
}

/// How many bad records a batch may have before the query stops. Bad are records that could not be read as they should,
/// whatever the policy makes of them, and rows that a rule drops or puts in quarantine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BadRecordsMax {
    /// This many at most.
    pub records: Option<u64>,
    /// This share of all records of the batch at most, from 0 to 1.
    pub share: Option<f64>,
}

impl BadRecordsMax {
    /// Whether so many of so many are too many, and why.
    #[expect(clippy::cast_precision_loss, reason = "a share is no exact number anyway")]
    fn exceeded(&self, bad: u64, all: u64) -> Option<String> {
        if let Some(most) = self.records.filter(|most| bad > *most) {
            return Some(format!("{bad} of {all} records of the batch are bad, and {most} may be"));
        }
        let share = bad as f64 / (all.max(1)) as f64;
        let most = self.share.filter(|most| share > *most)?;
        Some(format!("{bad} of {all} records of the batch are bad, and a share of {most} may be"))
    }

    /// Stops a batch that has too many bad records.
    ///
    /// # Errors
    /// `BadRecord`, with the first examples.
    pub fn check(&self, bad: u64, all: u64, examples: &[String]) -> Result<()> {
        let Some(message) = self.exceeded(bad, all) else { return Ok(()) };
        let first = if examples.is_empty() { String::new() } else { format!("; first: {}", examples.join("; ")) };
        Err(Error::new(ErrorKind::BadRecord, message + &first)
            .advice("nothing of the batch has been written; mend the input or raise bad_records_max"))
    }
}

/// Bytes that lie aside in a batch, over all its tasks.
#[derive(Debug, Default)]
pub(super) struct AsideBytes(std::sync::atomic::AtomicU64);

impl AsideBytes {
    /// Counts records.
    ///
    /// # Errors
    /// `BadRecord`, if there are more than may be held.
    pub(super) fn add<'a>(&self, records: impl DoubleEndedIterator<Item = &'a SetAside> + Clone) -> Result<()> {
        let Some(latest) = records.clone().next_back() else { return Ok(()) };
        let size = |one: &SetAside| one.bytes.len() as u64 + one.record.reason.len() as u64;
        let bytes = records.map(size).sum();
        let before = self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        if before.saturating_add(bytes) > QUARANTINE_BYTES_MAX {
            return Err(crate::formats::too_much(&latest.record));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_exceeded_by_one_more() {
        let records = BadRecordsMax { records: Some(3), share: None };
        assert_eq!((records.exceeded(3, 3), records.exceeded(4, 100).is_some()), (None, true));
        let share = BadRecordsMax { records: None, share: Some(0.25) };
        assert_eq!((share.exceeded(25, 100), share.exceeded(26, 100).is_some()), (None, true));
        assert_eq!(BadRecordsMax { records: None, share: Some(0.0) }.exceeded(0, 0), None);
        assert!(BadRecordsMax { records: Some(0), share: None }.exceeded(1, 1).is_some());
        assert_eq!(BadRecordsMax::default().exceeded(u64::MAX, u64::MAX), None);
    }
}
