//! Parquet files, cut at their row groups. Feature `parquet`.

mod chunk;
mod hybrid;
mod lane;
mod passes;
mod pruning;
mod source;
mod stored_types;
#[cfg(test)]
mod tests;
mod tiles;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::errors::ParquetError;
use ::parquet::file::metadata::PageIndexPolicy;
use ::parquet::file::properties::WriterProperties;

use self::pruning::Kept;
use self::source::Spare;
use self::stored_types::as_stored;
use self::tiles::{TileReader, Wishes};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::column::{coded_schema, idle_columns};
use crate::formats::container::{ContainerReader, Projection, first_new, guarded};
use crate::formats::input;
use crate::formats::writing::{ParquetCompression, writer_failed};
use crate::formats::{BatchReader, Bound, Encoder, Format, Split};
use crate::limits::ROWS_PER_READ_MAX;

/// Parquet files of one schema.
#[derive(Debug, Clone)]
pub(super) struct ParquetFormat {
    schema: SchemaRef,
    /// The same as files have it: without codes.
    plain: SchemaRef,
    allow_missing_columns: bool,
    /// Columns, by index, that nobody looks at: they are not read, and null.
    unread: BTreeSet<usize>,
    /// Whether columns of a file that are not in the schema are told.
    watches_columns: bool,
    /// Rows that do not keep all of these need not be read.
    bounds: Vec<Bound>,
    /// Whether the library reads all columns: for tests, which compare.
    by_library: bool,
    spare: Spare,
}

fn footer(path: &Path, with_pages: bool) -> Result<ArrowReaderMetadata> {
    let file = input::open_file(path)?;
    let pages = if with_pages { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
    let bytes = file.metadata().map_err(|error| Error::io(path, "look at the file", error))?.len();
    guarded(path, "read the file as Parquet", || {
        let footer = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_page_index_policy(pages))?;
        // The reader would ask for as much memory as the footer speaks of.
        let columns = footer.metadata().row_groups().iter().flat_map(|group| group.columns());
        let ends = columns.map(|column| column.byte_range()).map(|(start, length)| start.checked_add(length));
        if ends.into_iter().any(|end| end.is_none_or(|end| end > bytes)) {
            return Err(ParquetError::General("the footer speaks of data behind the end of the file".to_owned()));
        }
        Ok(footer)
    })
}

/// The schema that a file gives of itself.
pub(super) fn schema_of(path: &Path) -> Result<SchemaRef> {
    Ok(Arc::clone(footer(path, false)?.schema()))
}

impl ParquetFormat {
    pub(super) fn new(schema: SchemaRef, allow_missing_columns: bool, watches_columns: bool) -> Self {
        let plain = Arc::clone(&schema);
        Self {
            schema,
            plain,
            allow_missing_columns,
            unread: BTreeSet::new(),
            watches_columns,
            bounds: Vec::new(),
            by_library: false,
            spare: Spare::default(),
        }
    }
}

impl Format for ParquetFormat {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Columns that may not be null are read all the same.
    fn narrowed(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let unread = idle_columns(&self.schema, columns);
        if unread.is_empty() {
            return None;
        }
        Some(Arc::new(Self { unread, ..self.clone() }))
    }

    fn coded(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let schema = coded_schema(&self.schema, columns)?;
        Some(Arc::new(Self { schema, ..self.clone() }))
    }

    fn bounded(&self, bounds: &[Bound]) -> Option<Arc<dyn Format>> {
        (!bounds.is_empty()).then(|| Arc::new(Self { bounds: bounds.to_vec(), ..self.clone() }) as Arc<dyn Format>)
    }

    /// The unit of ranges is the row group.
    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
        if file_bytes == 0 {
            return Ok(vec![input::whole_split(path, 0)]);
        }
        let footer = footer(path, false)?;
        let mut splits: Vec<Split> = Vec::new();
        for (index, group) in footer.metadata().row_groups().iter().enumerate() {
            let (index, bytes) = (index as u64, u64::try_from(group.compressed_size()).unwrap_or(0));
            match splits.last_mut() {
                Some(split) if split.bytes + bytes <= target_bytes => {
                    split.range.end = index + 1;
                    split.bytes += bytes;
                }
                _ => splits.push(Split { path: path.to_owned(), range: index..index + 1, bytes }),
            }
        }
        if splits.is_empty() {
            splits.push(Split { path: path.to_owned(), range: 0..0, bytes: file_bytes });
        }
        Ok(splits)
    }

    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>> {
        if split.range.is_empty() {
            return Ok(Box::new(ContainerReader::empty(split)));
        }
        let footer = footer(&split.path, !self.bounds.is_empty())?;
        let here = |error: Error| error.at(Place::file(&split.path));
        Projection::new(&self.plain, footer.schema(), self.allow_missing_columns).map_err(here)?;
        let file = input::open_file(&split.path)?;
        let groups: Vec<usize> = split.range.clone().filter_map(|group| usize::try_from(group).ok()).collect();
        if groups.last().is_some_and(|last| *last >= footer.metadata().num_row_groups()) {
            let message = "the file has fewer row groups than when it was cut: it was changed";
            return Err(here(Error::new(ErrorKind::Corrupt, message).advice("write new data to a new file")));
        }
        let wished = |name: &str| self.schema.index_of(name).is_ok_and(|index| !self.unread.contains(&index));
        let roots = footer.schema().fields().iter().enumerate().filter(|(_, field)| wished(field.name()));
        let mask = ProjectionMask::roots(footer.parquet_schema(), roots.map(|(index, _)| index));
        let new = if self.watches_columns { first_new(&self.schema, footer.schema()).map(str::to_owned) } else { None };
        let kept = guarded(&split.path, "read the statistics of the file", || {
            Kept::of(&groups, &footer, &self.plain, &self.bounds)
        })?;
        if kept.groups.is_empty() {
            let empty = ContainerReader::empty(split).with_pruned(kept.pruned);
            return Ok(Box::new(empty.with_new_column(new.as_deref())));
        }
        if !self.by_library {
            let wishes = Wishes {
                schema: Arc::clone(&self.schema),
                unread: self.unread.clone(),
                bounds: self.bounds.clone(),
                spare: self.spare.clone(),
            };
            let file = file.try_clone().map_err(|error| Error::io(&split.path, "open the file", error))?;
            if let Some(reader) = TileReader::new(split, file, &footer, wishes, &kept.groups) {
                return Ok(Box::new(reader.with_pruned(kept.pruned).with_new_column(new.as_deref())));
            }
        }
        let rows = kept.rows();
        let groups: Vec<usize> = kept.groups.iter().map(|group| group.index).collect();
        let footer = as_stored(footer, &self.schema, &groups);
        let reader = guarded(&split.path, "read the file as Parquet", || {
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, footer)
                .with_row_groups(groups)
                .with_projection(mask)
                .with_batch_size(ROWS_PER_READ_MAX);
            match rows {
                Some(rows) => builder.with_row_selection(rows).build(),
                None => builder.build(),
            }
        })?;
        let read_schema = arrow_array::RecordBatchReader::schema(&reader);
        let projection =
            Projection::without(&self.unread, &self.schema, &read_schema, self.allow_missing_columns).map_err(here)?;
        let projection = projection.keeping(&self.bounds);
        let reader = ContainerReader::new(split, Box::new(reader), projection).with_pruned(kept.pruned);
        Ok(Box::new(reader.with_new_column(new.as_deref())))
    }
}

/// Writes a Parquet file.
pub(super) struct ParquetEncoder {
    writer: ArrowWriter<Box<dyn Write + Send>>,
}

impl ParquetEncoder {
    pub(super) fn new(
        schema: &SchemaRef,
        writer: Box<dyn Write + Send>,
        compression: ParquetCompression,
    ) -> Result<Self> {
        let compression = match compression {
            ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::default()),
            ParquetCompression::Snappy => Compression::SNAPPY,
            ParquetCompression::None => Compression::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder().set_compression(compression).build();
        Ok(Self { writer: ArrowWriter::try_new(writer, Arc::clone(schema), Some(properties)).map_err(failed)? })
    }
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(cause) => writer_failed(*cause),
            Err(cause) => Error::new(ErrorKind::Connector, format!("cannot write: {cause}")).because(cause),
        },
        ParquetError::NYI(what) => Error::new(ErrorKind::Unsupported, format!("Parquet cannot hold this: {what}")),
        other => Error::new(ErrorKind::Connector, format!("cannot write: {other}")).because(other),
    }
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(failed)
    }

    fn finish(mut self: Box<Self>) -> Result<Box<dyn Write + Send>> {
        self.writer.flush().map_err(failed)?;
        // All rows are encoded: only what is written to can fail now, of which the library keeps no more than the words.
        let mut writer = self.writer.into_inner().map_err(|error| failed(error).retry_later())?;
        writer.flush().map_err(writer_failed)?;
        Ok(writer)
    }
}
