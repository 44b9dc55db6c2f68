//! Arrow IPC: the file format, cut at its record batches, and the stream format, read as a whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_ipc::reader::{FileReader, StreamReader, read_footer_length};
use arrow_ipc::root_as_footer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::container::{ContainerReader, Projection, first_new, guarded};
use crate::formats::input;
use crate::formats::writing::writer_failed;
use crate::formats::{BatchReader, Encoder, Format, Split};

/// Arrow IPC files of one schema.
#[derive(Debug)]
pub(super) struct ArrowFormat {
    schema: SchemaRef,
    allow_missing_columns: bool,
    /// Whether columns of a file that are not in the schema are told.
    watches_columns: bool,
}

enum Opened {
    File(Box<FileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<File>>>),
}

const MAGIC: &[u8] = b"ARROW1";

/// What every message of a stream begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];

fn open(path: &Path) -> Result<Opened> {
    let mut file = input::open_file(path)?;
    let mut head = Vec::new();
    let read = Read::by_ref(&mut file).take(8).read_to_end(&mut head).and_then(|_| file.rewind());
    let bytes = read.and_then(|()| file.metadata()).map_err(|error| Error::io(path, "read", error))?.len();
    if head.starts_with(MAGIC) {
        guarded(path, "read the file as Arrow IPC", || check_blocks(&mut file, bytes))?;
        let reader = guarded(path, "read the file as Arrow IPC", || FileReader::try_new_buffered(file, None))?;
        return Ok(Opened::File(Box::new(reader)));
    }
    let length = head.strip_prefix(&CONTINUATION).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
    if length.is_none_or(|length| u64::from(length) > bytes) {
        let error = Error::new(ErrorKind::Corrupt, "this is neither an Arrow IPC file nor an Arrow IPC stream");
        return Err(error.at(Place::file(path)).advice("check the kind of the file, or bring it again in full"));
    }
    let reader = guarded(path, "read the file as Arrow IPC", || StreamReader::try_new_buffered(file, None))?;
    Ok(Opened::Stream(Box::new(reader)))
}

/// Refuses a footer that speaks of bytes behind the end of the file: the reader would ask for as much memory.
fn check_blocks(file: &mut File, bytes: u64) -> Result<(), ArrowError> {
    const TRAILER_BYTES: u64 = 10;
    let early = || ArrowError::IpcError("the file ends early".to_owned());
    let trailer_at = bytes.checked_sub(TRAILER_BYTES).ok_or_else(early)?;
    let mut trailer = [0; 10];
    file.seek(SeekFrom::Start(trailer_at))?;
    file.read_exact(&mut trailer)?;
    let length = read_footer_length(trailer)?;
    let footer_at = trailer_at.checked_sub(length as u64).ok_or_else(early)?;
    let mut footer = vec![0; length];
    file.seek(SeekFrom::Start(footer_at))?;
    file.read_exact(&mut footer)?;
    file.rewind()?;
    let footer =
        root_as_footer(&footer).map_err(|error| ArrowError::IpcError(format!("the footer is damaged: {error}")))?;
    let blocks = footer.recordBatches().into_iter().chain(footer.dictionaries()).flatten();
    for block in blocks {
        let parts = [block.offset(), i64::from(block.metaDataLength()), block.bodyLength()];
        let end = parts.into_iter().try_fold(0u64, |end, part| end.checked_add(u64::try_from(part).ok()?));
        if end.is_none_or(|end| end > bytes) {
            return Err(ArrowError::IpcError("the footer speaks of data behind the end of the file".to_owned()));
        }
    }
    Ok(())
}

/// The schema that a file gives of itself.
pub(super) fn schema_of(path: &Path) -> Result<SchemaRef> {
    Ok(match open(path)? {
        Opened::File(reader) => reader.schema(),
        Opened::Stream(reader) => reader.schema(),
    })
}

impl ArrowFormat {
    pub(super) fn new(schema: SchemaRef, allow_missing_columns: bool, watches_columns: bool) -> Self {
        Self { schema, allow_missing_columns, watches_columns }
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
                .map_err(|error| error.at(Place::file(&split.path)))
        };
        let new = |schema: &Schema| match self.watches_columns {
            true => first_new(&self.schema, schema).map(str::to_owned),
            false => None,
        };
        match open(&split.path)? {
            Opened::File(mut reader) => {
                let new = new(&reader.schema());
                let projection = project(reader.schema())?;
                let (from, to) = (usize::try_from(split.range.start), usize::try_from(split.range.end));
                let (Ok(from), Ok(to)) = (from, to) else {
                    return Err(Error::internal("a split counts more batches than memory has places"));
                };
                guarded(&split.path, "find a record batch", || reader.set_index(from))?;
                let batches = Box::new(reader.take(to - from));
                Ok(Box::new(ContainerReader::new(split, batches, projection).with_new_column(new.as_deref())))
            }
            Opened::Stream(reader) => {
                let new = new(&reader.schema());
                let projection = project(reader.schema())?;
                Ok(Box::new(ContainerReader::new(split, reader, projection).with_new_column(new.as_deref())))
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
        let writer = FileWriter::try_new(writer, &schema).map_err(failed)?;
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

/// What the writer said is told as it was said: a full disk may have room later.
fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, cause) => writer_failed(cause),
        other => other.into(),
    }
}

impl Encoder for ArrowEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| arrow_cast::cast(column, field.data_type()));
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.writer.write(&batch).map_err(failed)
    }

    fn finish(mut self: Box<Self>) -> Result<Box<dyn Write + Send>> {
        self.writer.finish().map_err(failed)?;
        let mut writer = self.writer.into_inner().map_err(failed)?;
        writer.flush().map_err(writer_failed)?;
        Ok(writer)
    }
}
