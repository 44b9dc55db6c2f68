//! Files to read, and their rows as text.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_select::concat::concat_batches;
use pelton::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef};
use pelton::error::Result;
use pelton::formats::{BatchReader, Format, FormatKind, FormatOptions, ReadReport};
use tempfile::NamedTempFile;

/// A schema of nullable columns.
pub(crate) fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

pub(crate) fn file(bytes: impl AsRef<[u8]>) -> NamedTempFile {
    named_file("", bytes)
}

pub(crate) fn named_file(suffix: &str, bytes: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    file.flush().unwrap();
    file
}

/// All rows of a reader as one batch, and its report.
pub(crate) fn drain(schema: &SchemaRef, mut reader: Box<dyn BatchReader>) -> Result<(RecordBatch, ReadReport)> {
    let mut batches = Vec::new();
    while let Some(batch) = reader.next_batch()? {
        assert!(batch.num_rows() > 0, "a batch has rows");
        assert!(batch.num_rows() <= pelton::limits::ROWS_PER_READ_MAX);
        batches.push(batch);
    }
    let report = reader.report();
    let all = concat_batches(schema, &batches)?;
    assert_eq!(report.rows, all.num_rows() as u64, "the report counts the rows given");
    Ok((all, report))
}

/// All rows of a file cut into splits of about so many bytes.
pub(crate) fn read_cut(format: &dyn Format, path: &Path, target: u64) -> Result<(RecordBatch, ReadReport)> {
    let bytes = std::fs::metadata(path).unwrap().len();
    let mut report = ReadReport::default();
    let mut parts = Vec::new();
    for split in format.splits(path, bytes, target)? {
        let (part, part_report) = drain(&format.schema(), format.open(&split)?)?;
        parts.push(part);
        report.absorb(part_report);
    }
    Ok((concat_batches(&format.schema(), &parts)?, report))
}

pub(crate) fn read(options: &FormatOptions, path: &Path) -> Result<(RecordBatch, ReadReport)> {
    read_cut(&*options.build(None)?, path, u64::MAX)
}

pub(crate) fn read_bytes(options: &FormatOptions, bytes: impl AsRef<[u8]>) -> Result<(RecordBatch, ReadReport)> {
    read(options, file(bytes).path())
}

pub(crate) fn csv(columns: &[(&str, DataType)]) -> FormatOptions {
    FormatOptions::new(FormatKind::Csv).with_schema(schema(columns))
}

pub(crate) fn ndjson(columns: &[(&str, DataType)]) -> FormatOptions {
    FormatOptions::new(FormatKind::Ndjson).with_schema(schema(columns))
}

pub(crate) fn text() -> FormatOptions {
    FormatOptions::new(FormatKind::Text)
}

/// Rows as NDJSON, for comparing at a glance.
pub(crate) fn rows(batch: &RecordBatch) -> Vec<String> {
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    String::from_utf8(writer.into_inner()).unwrap().lines().map(str::to_owned).collect()
}

/// A writer whose bytes can be looked at afterwards.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<std::sync::Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Batches as the bytes of a file.
pub(crate) fn encode(options: &FormatOptions, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let shared = Shared::default();
    let mut encoder = pelton::formats::encoder(options, schema, Box::new(shared.clone()))?;
    for batch in batches {
        encoder.write(batch)?;
    }
    encoder.finish()?;
    Ok(shared.bytes())
}
