//! Several key columns as one byte string a row, equal and ordered as the rows are (the format of `arrow-row`).
//!
//! That format compares floats by their bits, so they are made canonical first: one NaN, no -0.0.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};

use crate::columnar::DataType;
use crate::error::Result;

/// The values of a dictionary; any other array as it is.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, values) => Ok(arrow_cast::cast(array, values)?),
        _ => Ok(Arc::clone(array)),
    }
}

/// Columns whose rows are equal as bytes where they are equal as values.
pub(super) fn canonical(columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    columns.iter().map(|column| canonical_floats(&plain(column)?)).collect()
}

fn canonical_floats(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Float32 => Arc::new(
            array
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
        ),
        DataType::Float64 => Arc::new(
            array
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
        ),
        _ => Arc::clone(array),
    })
}
