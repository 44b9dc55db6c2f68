//! Making encoders: the way from batches to the bytes of a file.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::columnar::SchemaRef;
use crate::columnar::data_type;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::Encoder;
use crate::formats::csv::write::CsvEncoder;
use crate::formats::json::write::JsonEncoder;
use crate::formats::options::{FormatKind, FormatOptions};

/// Bytes of text that an encoder gathers before it hands them on.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// How the pages of Parquet files are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParquetCompression {
    /// Small files, fast enough.
    #[default]
    Zstd,
    /// Larger files, faster still.
    Snappy,
    /// As they are.
    None,
}

/// Makes an encoder that writes batches of `schema` to `writer`, as a file of this kind. The options are those of a
/// reader that reads the file back.
///
/// ```
/// use pelton::formats::{FormatKind, FormatOptions, encoder};
/// # use std::sync::Arc;
/// # use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
/// let mut encoder = encoder(&FormatOptions::new(FormatKind::Ndjson), &batch.schema(), Box::new(Vec::new()))?;
/// encoder.write(&batch)?;
/// encoder.finish()?; // gives the writer back, which now holds {"n":1} and {"n":null}
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// `InvalidOption` for options that do not fit, `Unsupported` for a kind that this program was built without or a type
/// that the kind cannot hold, or what the writer says.
pub fn encoder(options: &FormatOptions, schema: &SchemaRef, writer: Box<dyn Write + Send>) -> Result<Box<dyn Encoder>> {
    options.check()?;
    for field in schema.fields() {
        data_type::check(field.name(), field.data_type())?;
    }
    Ok(match options.kind {
        FormatKind::Csv => {
            if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
                let message =
                    format!("column \"{}\" of type {} cannot be written as CSV", field.name(), field.data_type());
                return Err(
                    Error::new(ErrorKind::Unsupported, message).advice("write NDJSON, Parquet or Arrow instead")
                );
            }
            Box::new(CsvEncoder::new(schema, writer, options.csv_options()?)?)
        }
        FormatKind::Ndjson => Box::new(JsonEncoder::new(writer)),
        FormatKind::Arrow => Box::new(crate::formats::arrow_ipc::ArrowEncoder::new(schema, writer)?),
        FormatKind::Parquet => crate::formats::options::parquet_encoder(options, schema, writer)?,
        FormatKind::Text => {
            return Err(Error::new(ErrorKind::Unsupported, "plain text cannot be written")
                .advice("write csv, ndjson, parquet or arrow"));
        }
    })
}

/// Writes row after row.
pub(super) fn written_by_rows(rows: usize, write: impl FnMut(usize) -> Result<()>) -> Result<()> {
    (0..rows).try_for_each(write)
}

/// The error of a writer whose file only its owner knows.
pub(super) fn writer_failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Connector, format!("cannot write: {error}")).because(error).retry_later()
}
