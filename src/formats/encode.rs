//! Making encoders: the way from batches to the bytes of a file.

use std::io::Write;

use crate::columnar::SchemaRef;
use crate::columnar::data_type;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::Encoder;
use crate::formats::arrow_ipc::ArrowEncoder;
use crate::formats::csv::write::CsvEncoder;
use crate::formats::json::write::JsonEncoder;
#[cfg(not(feature = "parquet"))]
use crate::formats::options::without_parquet;
use crate::formats::options::{FormatKind, FormatOptions};

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
        FormatKind::Arrow => Box::new(ArrowEncoder::new(schema, writer)?),
        FormatKind::Parquet => parquet_encoder(options, schema, writer)?,
        FormatKind::Text => {
            return Err(Error::new(ErrorKind::Unsupported, "plain text cannot be written")
                .advice("write csv, ndjson, parquet or arrow"));
        }
    })
}

#[cfg(feature = "parquet")]
fn parquet_encoder(
    options: &FormatOptions,
    schema: &SchemaRef,
    writer: Box<dyn Write + Send>,
) -> Result<Box<dyn Encoder>> {
    Ok(Box::new(super::parquet::ParquetEncoder::new(schema, writer, options.compression.unwrap_or_default())?))
}

#[cfg(not(feature = "parquet"))]
fn parquet_encoder(
    _options: &FormatOptions,
    _schema: &SchemaRef,
    _writer: Box<dyn Write + Send>,
) -> Result<Box<dyn Encoder>> {
    Err(without_parquet())
}
