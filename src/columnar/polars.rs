//! Polars frames in and out, without copying values.
//!
//! Arrays cross over by the [Arrow C data interface]: a struct of pointers with a callback that lets go of them. Both
//! sides then hold the same buffers. What Polars has another type for is converted before it leaves, which copies:
//!
//! | column | in a frame | and back |
//! |---|---|---|
//! | integers, floats, booleans, dates, decimals, durations, timestamps | the same, values shared | the same, shared |
//! | text, binary | `String`, `Binary`: views made anew, bytes of values over 12 bytes shared | `Utf8View`, `BinaryView` |
//! | dictionary | its values: the codes are lost | |
//! | timestamp or duration in seconds | in milliseconds, values multiplied | in milliseconds |
//! | timestamp with an offset as zone, `+01:00` | zone `Etc/GMT-1`; an offset in parts of an hour is refused | |
//! | list | list, offsets widened | `LargeList` |
//! | struct, null | the same | the same |
//! | | `Categorical`, `Enum` | dictionary |
//!
//! [Arrow C data interface]: https://arrow.apache.org/docs/format/CDataInterface.html
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Int64Array, RecordBatch};
//! use pelton::columnar::polars::{from_frame_whole, to_frame};
//!
//! let people: ArrayRef = Arc::new(Int64Array::from(vec![709, 2755]));
//! let batch = RecordBatch::try_from_iter_with_nullable([("people", people, true)])?;
//! let frame = to_frame(&batch)?;
//! assert_eq!(frame.shape(), (2, 1));
//! assert_eq!(from_frame_whole(&frame)?, batch);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::{RecordBatchOptions, make_array, new_null_array};
use polars::error::PolarsError;
use polars::frame::DataFrame;
use polars::prelude::{Column, CompatLevel, IntoColumn, Series};
use polars_arrow::ffi as polars_ffi;

use super::{ArrayRef, DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit, data_type};
use crate::error::{Error, ErrorKind, Place, Result};

/// The columns of a batch as a frame.
///
/// # Errors
/// `Unsupported` for a type that Polars does not take, `Overflow` for a time in seconds that milliseconds cannot hold,
/// `InvalidQuery` for two columns of one name.
pub fn to_frame(batch: &RecordBatch) -> Result<DataFrame> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, values)| {
        to_series(field.name(), values).map_err(|error| error.at(Place::default().column(field.name())))
    });
    let columns: Vec<Column> = columns.map(|series| Ok(series?.into_column())).collect::<Result<_>>()?;
    DataFrame::new(batch.num_rows(), columns).map_err(refused)
}

/// A frame as one batch for each of its chunks, in order. Columns that are cut differently are put together first,
/// which copies.
///
/// # Errors
/// `Unsupported` for a type that the engine does not take.
pub fn from_frame(frame: &DataFrame) -> Result<Vec<RecordBatch>> {
    let mut aligned = materialized(frame)?;
    aligned.align_chunks();
    (0..aligned.first_col_n_chunks().max(1)).map(|index| chunk(&aligned, index)).collect()
}

/// A frame as one batch. A frame of several chunks is put together first, which copies.
///
/// # Errors
/// `Unsupported` for a type that the engine does not take.
pub fn from_frame_whole(frame: &DataFrame) -> Result<RecordBatch> {
    let mut whole = materialized(frame)?;
    whole.rechunk_mut();
    chunk(&whole, 0)
}

/// The schema that the rows of a frame have as batches.
///
/// # Errors
/// `Unsupported` for a type that the engine does not take.
pub fn schema_of(frame: &DataFrame) -> Result<SchemaRef> {
    Ok(from_frame_whole(&frame.head(Some(0)))?.schema())
}

/// The frame with columns that repeat one value written out: such columns have no chunks to align.
fn materialized(frame: &DataFrame) -> Result<DataFrame> {
    let columns = frame.columns().iter().map(|column| column.as_materialized_series().clone().into_column());
    DataFrame::new(frame.height(), columns.collect()).map_err(refused)
}

/// A chunk of a frame whose columns are cut at the same rows.
fn chunk(frame: &DataFrame, index: usize) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(frame.width());
    let mut columns = Vec::with_capacity(frame.width());
    for column in frame.columns() {
        let (field, values) = from_series(column.as_materialized_series(), index)?;
        data_type::check(field.name(), field.data_type())?;
        fields.push(field);
        columns.push(values);
    }
    let rows = columns.first().map_or(frame.height(), arrow_array::Array::len);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}

/// The type in which a column goes over to Polars.
fn carried(data_type: &DataType) -> DataType {
    let item = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(carried(field.data_type())));
    match data_type {
        DataType::Dictionary(_, values) => carried(values),
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Duration(TimeUnit::Second) => DataType::Duration(TimeUnit::Millisecond),
        DataType::List(values) => DataType::List(item(values)),
        DataType::LargeList(values) => DataType::LargeList(item(values)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(item).collect()),
        other => other.clone(),
    }
}

fn to_series(name: &str, values: &ArrayRef) -> Result<Series> {
    data_type::check(name, values.data_type())?;
    let carried = carried(values.data_type());
    let options = arrow_cast::CastOptions { safe: false, ..arrow_cast::CastOptions::default() };
    let values = match *values.data_type() == carried {
        true => Arc::clone(values),
        false => arrow_cast::cast_with_options(values, &carried, &options)?,
    };
    let mut array = FFI_ArrowArray::new(&values.to_data());
    let mut schema = FFI_ArrowSchema::try_from(Field::new(name, carried, true))?;
    let array = move_array_to_polars(&mut array);
    let schema = move_schema_to_polars(&mut schema);
    // SAFETY: arrow-rs exported this schema just now, and it is released only when it is dropped below.
    let field = unsafe { polars_ffi::import_field_from_c(&schema) }.map_err(refused)?;
    // SAFETY: arrow-rs exported this array just now under the schema that `field` was read from.
    let array = unsafe { polars_ffi::import_array_from_c(array, field.dtype().clone()) }.map_err(refused)?;
    Series::try_from((&field, array)).map_err(refused)
}

fn from_series(series: &Series, chunk: usize) -> Result<(Field, ArrayRef)> {
    let level = CompatLevel::newest();
    if series.dtype() == &polars::prelude::DataType::Null {
        // The two crates disagree on how many buffers an array without values has.
        let field = Field::new(series.name().as_str(), DataType::Null, true);
        let rows = series.chunks().get(chunk).map_or(0, |values| values.len());
        return Ok((field, new_null_array(&DataType::Null, rows)));
    }
    let field = series.field().to_arrow(level);
    let mut schema = polars_ffi::export_field_to_c(&field);
    let mut array = polars_ffi::export_array_to_c(series.to_arrow(chunk, level));
    let schema = move_schema_from_polars(&mut schema);
    let array = move_array_from_polars(&mut array);
    let field = Field::try_from(&schema).map_err(|error| unknown_type(series, error))?;
    // SAFETY: Polars exported both structs just now, for the same column.
    let data = unsafe { from_ffi(array, &schema) }.map_err(|error| unknown_type(series, error))?;
    Ok((Field::new(field.name(), data.data_type().clone(), true), make_array(data)))
}

fn unknown_type(series: &Series, error: arrow_schema::ArrowError) -> Error {
    let message = format!("the frame's type {} is not supported: {error}", series.dtype());
    Error::new(ErrorKind::Unsupported, message)
        .at(Place::default().column(series.name().as_str()))
        .advice("cast it in the frame first")
        .because(error)
}

fn refused(error: PolarsError) -> Error {
    let kind = match &error {
        PolarsError::Duplicate(_) => ErrorKind::InvalidQuery,
        _ => ErrorKind::Unsupported,
    };
    Error::new(kind, format!("Polars does not take the batch: {error}")).because(error)
}

// Both crates declare the two structs of the interface's specification, so one may be read as the other. The sizes and
// alignments are checked here, the meaning of each byte by the round trips of the tests.
const _: () = {
    assert!(size_of::<FFI_ArrowArray>() == size_of::<polars_ffi::ArrowArray>());
    assert!(align_of::<FFI_ArrowArray>() == align_of::<polars_ffi::ArrowArray>());
    assert!(size_of::<FFI_ArrowSchema>() == size_of::<polars_ffi::ArrowSchema>());
    assert!(align_of::<FFI_ArrowSchema>() == align_of::<polars_ffi::ArrowSchema>());
};

/// Moves an array over; what stays behind is empty and owns nothing.
fn move_array_to_polars(array: &mut FFI_ArrowArray) -> polars_ffi::ArrowArray {
    let place = (&raw mut *array).cast::<polars_ffi::ArrowArray>();
    // SAFETY: both types are the C struct `ArrowArray` (`repr(C)`, sizes asserted above), and `place` comes from a
    // mutable reference. An empty struct has no release callback, so nothing is released twice.
    unsafe { std::ptr::replace(place, polars_ffi::ArrowArray::empty()) }
}

/// Moves a schema over; what stays behind is empty and owns nothing.
fn move_schema_to_polars(schema: &mut FFI_ArrowSchema) -> polars_ffi::ArrowSchema {
    let place = (&raw mut *schema).cast::<polars_ffi::ArrowSchema>();
    // SAFETY: as in `move_array_to_polars`, for the C struct `ArrowSchema`.
    unsafe { std::ptr::replace(place, polars_ffi::ArrowSchema::empty()) }
}

/// Moves an array back; what stays behind is empty and owns nothing.
fn move_array_from_polars(array: &mut polars_ffi::ArrowArray) -> FFI_ArrowArray {
    let place = (&raw mut *array).cast::<FFI_ArrowArray>();
    // SAFETY: as in `move_array_to_polars`; `from_raw` leaves an empty struct behind.
    unsafe { FFI_ArrowArray::from_raw(place) }
}

/// Moves a schema back; what stays behind is empty and owns nothing.
fn move_schema_from_polars(schema: &mut polars_ffi::ArrowSchema) -> FFI_ArrowSchema {
    let place = (&raw mut *schema).cast::<FFI_ArrowSchema>();
    // SAFETY: as in `move_array_to_polars`, for the C struct `ArrowSchema`; `from_raw` leaves an empty struct behind.
    unsafe { FFI_ArrowSchema::from_raw(place) }
}
