//! Arrow IPC: the file format, cut at its record batches, and the stream format, read as a whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::formats::container::{ContainerReader, Projection, guarded};
use crate::formats::input;
use crate::formats::{BatchReader, Encoder, Format, Split};

/// Arrow IPC files of one schema.
#[derive(Debug)]
pub(super) struct ArrowFormat {
    schema: SchemaRef,
    allow_missing_columns: bool,
}

enum Opened {
    File(Box<FileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<File>>>),
}

fn open(path: &Path) -> Result<Opened> {
    const MAGIC: &[u8] = b"ARROW1";
    let mut file = input::open_file(path)?;
    let mut head = Vec::new();
    Read::by_ref(&mut file)
        .take(MAGIC.len() as u64)
        .read_to_end(&mut head)
        .and_then(|_| file.rewind())
        .map_err(|error| Error::io(path, "read", error))?;
    guarded(path, "read the file as Arrow IPC", || {
        Ok::<_, arrow_schema::ArrowError>(if head == MAGIC {
            Opened::File(Box::new(FileReader::try_new_buffered(file, None)?))
        } else {
            Opened::Stream(Box::new(StreamReader::try_new_buffered(file, None)?))
        })
    })
}

/// The schema that a file gives of itself.
pub(super) fn schema_of(path: &Path) -> Result<SchemaRef> {
    Ok(match open(path)? {
        Opened::File(reader) => reader.schema(),
        Opened::Stream(reader) => reader.schema(),
    })
}

impl ArrowFormat {
    pub(super) fn new(schema: SchemaRef, allow_missing_columns: bool) -> Self {
        Self { schema, allow_missing_columns }
    }
}

impl Format for ArrowFormat {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The unit of ranges is the record batch; a stream is one split.
    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
        if file_bytes == 0 {
            return Ok(vec![input::whole_split(path, 0)]);
        }
        let batches = match open(path)? {
            Opened::File(reader) => reader.num_batches() as u64,
            Opened::Stream(_) => return Ok(vec![input::whole_split(path, file_bytes)]),
        };
        let parts = file_bytes.div_ceil(target_bytes.max(1)).clamp(1, batches.max(1));
        let part = |index: u64| {
            let range = batches * index / parts..batches * (index + 1) / parts;
            Split { path: path.to_owned(), range, bytes: file_bytes * (index + 1) / parts - file_bytes * index / parts }
        };
        Ok((0..parts).map(part).collect())
    }

    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>> {
        if split.range.is_empty() {
            return Ok(Box::new(ContainerReader::empty(split)));
        }
        let project = |schema: SchemaRef| {
            Projection::new(&self.schema, &schema, self.allow_missing_columns)
                .map_err(|error| error.at(crate::error::Place::file(&split.path)))
        };
        match open(&split.path)? {
            Opened::File(mut reader) => {
                let projection = project(reader.schema())?;
                let (from, to) = (usize::try_from(split.range.start), usize::try_from(split.range.end));
                let (Ok(from), Ok(to)) = (from, to) else {
                    return Err(Error::internal("a split counts more batches than memory has places"));
                };
                guarded(&split.path, "find a record batch", || reader.set_index(from))?;
                let batches = Box::new(reader.take(to - from));
                Ok(Box::new(ContainerReader::new(split, batches, projection)))
            }
            Opened::Stream(reader) => {
                let projection = project(reader.schema())?;
                Ok(Box::new(ContainerReader::new(split, reader, projection)))
            }
        }
    }
}

/// Writes the file format. Dictionaries are written as their values: a file has room for one dictionary a column, and
/// batches bring their own.
pub(super) struct ArrowEncoder {
    schema: SchemaRef,
    writer: FileWriter<Box<dyn Write + Send>>,
}

impl ArrowEncoder {
    pub(super) fn new(schema: &SchemaRef, writer: Box<dyn Write + Send>) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| Arc::new(without_dictionaries(field)));
        let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()));
        let writer = FileWriter::try_new(writer, &schema)?;
        Ok(Self { schema, writer })
    }
}

fn without_dictionaries(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(item) => DataType::List(Arc::new(without_dictionaries(item))),
        DataType::LargeList(item) => DataType::LargeList(Arc::new(without_dictionaries(item))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| without_dictionaries(field)).collect()),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

impl Encoder for ArrowEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| arrow_cast::cast(column, field.data_type()));
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(self.writer.write(&batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<Box<dyn Write + Send>> {
        self.writer.finish()?;
        let mut writer = self.writer.into_inner()?;
        writer.flush().map_err(crate::formats::encode::writer_failed)?;
        Ok(writer)
    }
}
