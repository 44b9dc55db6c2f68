//! Whether two engines gave the same answer.
//!
//! Rows of groups are matched by their keys, other rows by their place. Everything must be equal, to the last bit. Two
//! things are forgiven an engine that does them otherwise: floats within 1e-9 of the value, or within 1e-12 of the largest
//! value of the column, where a sum has cancelled out; and a sum of no values that is 0 where ours is null.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_select::zip::zip;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::columnar::{ArrayRef, DataType, Field, RecordBatch};
use crate::error::{Error, Result};
use crate::kernels::reduce::key_text;

/// The engine that an answer is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Other<'a> {
    pub(super) name: &'a str,
    /// Whether it rounds floats on its way.
    pub(super) rounds: bool,
    /// The columns in which it has 0 for no values.
    pub(super) sums: &'a [usize],
}

const OF_THE_VALUE: f64 = 1e-9;
const OF_THE_COLUMN: f64 = 1e-12;

/// Compares our answer, whose first `keys` columns are keys, with the one of another engine.
///
/// # Errors
/// `Internal`, naming the row, the column and both values, if they differ.
pub(super) fn compare(ours: &RecordBatch, theirs: &RecordBatch, keys: usize, other: Other<'_>) -> Result<()> {
    let engine = other.name;
    if (ours.num_rows(), ours.num_columns()) != (theirs.num_rows(), theirs.num_columns()) {
        let shape = |batch: &RecordBatch| format!("{} rows of {} columns", batch.num_rows(), batch.num_columns());
        return Err(wrong(&format!("{} instead of the {} of {engine}", shape(ours), shape(theirs))));
    }
    let (ours, theirs) = (plain(ours, ours, other)?, plain(theirs, ours, other)?);
    let places = if keys == 0 { None } else { Some(places(&ours[..keys], &theirs[..keys], engine)?) };
    let place = |row: usize| places.as_ref().map_or(row, |places| places[row]);
    for (left, right) in ours.iter().zip(&theirs).skip(keys) {
        if let Some(row) = differing_row(&left.1, &right.1, &place, other.rounds)? {
            let text = |array: &ArrayRef, row| match array.is_null(row) {
                true => "null".to_owned(),
                false => arrow_cast::display::array_value_to_string(array, row).unwrap_or_default(),
            };
            let whose = if keys == 0 { format!("row {row}") } else { key(&ours[..keys], row) };
            let (name, value, expected) = (left.0.name(), text(&left.1, row), text(&right.1, place(row)));
            return Err(wrong(&format!("\"{name}\" of {whose} is {value} instead of the {expected} of {engine}")));
        }
    }
    Ok(())
}

type Column = (Field, ArrayRef);

/// The columns of an answer in the types in which answers are compared: those of `like`, without dictionaries, text in
/// one layout, all integers and floats of 64 bits.
fn plain(answer: &RecordBatch, like: &RecordBatch, other: Other<'_>) -> Result<Vec<Column>> {
    let columns = answer.columns().iter().zip(like.schema_ref().fields()).enumerate();
    let columns = columns.map(|(place, (column, field))| {
        let to = widened(field.data_type());
        let column = arrow_cast::cast(column, &to)?;
        let column = if other.sums.contains(&place) { zero_for_null(&column)? } else { column };
        Ok((field.as_ref().clone().with_data_type(to), column))
    });
    columns.collect()
}

fn zero_for_null(column: &ArrayRef) -> Result<ArrayRef> {
    let zero = arrow_cast::cast(&Int64Array::from(vec![0]), column.data_type())?;
    Ok(zip(&BooleanArray::new(is_present(column), None), column, &Scalar::new(zero))?)
}

fn is_present(column: &ArrayRef) -> BooleanBuffer {
    column.nulls().map_or_else(|| BooleanBuffer::new_set(column.len()), |nulls| nulls.inner().clone())
}

/// The keys of a row, for people.
fn key(columns: &[Column], row: usize) -> String {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.iter().cloned().unzip();
    key_text(&fields, &arrays, row)
}

/// The first row in which two columns differ.
fn differing_row(
    ours: &ArrayRef,
    theirs: &ArrayRef,
    place: &dyn Fn(usize) -> usize,
    rounds: bool,
) -> Result<Option<usize>> {
    if let (Some(ours), Some(theirs)) = (ours.as_primitive_opt::<Float64Type>(), theirs.as_primitive_opt()) {
        return Ok(differing_float(ours, theirs, place, rounds));
    }
    let (ours, theirs) = rows(std::slice::from_ref(ours), std::slice::from_ref(theirs))?;
    Ok((0..ours.num_rows()).find(|row| ours.row(*row) != theirs.row(place(*row))))
}

fn widened(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => widened(values),
        DataType::Utf8 | DataType::Utf8View => DataType::LargeUtf8,
        DataType::Binary | DataType::BinaryView => DataType::LargeBinary,
        signed if signed.is_signed_integer() => DataType::Int64,
        unsigned if unsigned.is_integer() => DataType::UInt64,
        float if float.is_floating() => DataType::Float64,
        other => other.clone(),
    }
}

/// Columns of both answers as strings of bytes that are equal where the values are.
fn rows(ours: &[ArrayRef], theirs: &[ArrayRef]) -> Result<(Rows, Rows)> {
    let converter = RowConverter::new(ours.iter().map(|column| SortField::new(column.data_type().clone())).collect())?;
    Ok((converter.convert_columns(ours)?, converter.convert_columns(theirs)?))
}

/// For each of our rows the one of theirs with the same keys.
fn places(ours: &[Column], theirs: &[Column], engine: &str) -> Result<Vec<usize>> {
    let keys = |columns: &[Column]| columns.iter().map(|(_, array)| one_zero(array)).collect::<Vec<_>>();
    let (our_keys, their_keys) = rows(&keys(ours), &keys(theirs))?;
    let mut places = HashMap::with_capacity_and_hasher(their_keys.num_rows(), FixedState::default());
    for row in 0..their_keys.num_rows() {
        places.insert(their_keys.row(row).data(), row);
    }
    // With as many rows on both sides, a key that stands twice on one side is missing on the other.
    let place = |row: usize| {
        places
            .remove(our_keys.row(row).data())
            .ok_or_else(|| wrong(&format!("the group {} is not among those of {engine}", key(ours, row))))
    };
    (0..our_keys.num_rows()).map(place).collect()
}

/// A column in which zeros have no sign and all NaN are one: so floats are compared as keys.
fn one_zero(array: &ArrayRef) -> ArrayRef {
    match array.as_primitive_opt::<Float64Type>() {
        Some(floats) => {
            let plain = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
            Arc::new(floats.unary::<_, Float64Type>(plain))
        }
        None => Arc::clone(array),
    }
}

/// The first row in which floats differ by more than they may.
fn differing_float(
    ours: &Float64Array,
    theirs: &Float64Array,
    place: &dyn Fn(usize) -> usize,
    rounds: bool,
) -> Option<usize> {
    let largest = theirs
        .iter()
        .flatten()
        .filter(|value| value.is_finite())
        .fold(0.0, |largest, value| f64::max(largest, value.abs()));
    (0..ours.len()).find(|&row| {
        let other = place(row);
        if ours.is_null(row) || theirs.is_null(other) {
            return ours.is_null(row) != theirs.is_null(other);
        }
        let (left, right) = (ours.value(row), theirs.value(other));
        let is_same = match rounds {
            _ if left.is_nan() || right.is_nan() => left.is_nan() && right.is_nan(),
            false => left.to_bits() == right.to_bits(),
            true => {
                let tolerance = f64::max(right.abs() * OF_THE_VALUE, largest * OF_THE_COLUMN);
                left == right || (right.is_finite() && (left - right).abs() <= tolerance)
            }
        };
        !is_same
    })
}

fn wrong(what: &str) -> Error {
    Error::internal(format!("the answer is wrong: {what}"))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int32Array, StringArray, StringViewArray, UInt32Array};

    use super::*;

    fn answer(keys: &[Option<&str>], totals: &[i64], means: &[f64]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(StringArray::from(keys.to_vec()));
        let totals: ArrayRef = Arc::new(Int64Array::from(totals.to_vec()));
        let means: ArrayRef = Arc::new(Float64Array::from(means.to_vec()));
        RecordBatch::try_from_iter([("k", keys), ("total", totals), ("mean", means)]).unwrap()
    }

    const EXACT: Other<'_> = Other { name: "peer", rounds: false, sums: &[] };
    const ROUNDING: Other<'_> = Other { rounds: true, ..EXACT };

    fn told(ours: &RecordBatch, theirs: &RecordBatch, keys: usize, other: Other<'_>) -> String {
        compare(ours, theirs, keys, other).err().map_or_else(String::new, |error| error.message().to_owned())
    }

    #[test]
    fn groups_are_matched_by_key_and_other_rows_by_place() {
        let ours = answer(&[Some("a"), None], &[1, 2], &[0.5, 1.5]);
        let turned = answer(&[None, Some("a")], &[2, 1], &[1.5, 0.5]);
        assert_eq!(told(&ours, &turned, 1, EXACT), "");
        let by_place = told(&ours, &turned, 0, EXACT);
        assert_eq!(by_place, "the answer is wrong: \"k\" of row 0 is a instead of the null of peer");
    }

    #[test]
    fn what_differs_is_told() {
        let ours = answer(&[Some("a"), Some("b")], &[1, 2], &[0.5, 1.5]);
        let other = |keys: [&str; 2], total, mean| answer(&keys.map(Some), &[1, total], &[0.5, mean]);
        let told = |theirs: &RecordBatch, peer| told(&ours, theirs, 1, peer);
        let total = told(&other(["a", "b"], 3, 1.5), ROUNDING);
        assert_eq!(total, "the answer is wrong: \"total\" of k = b is 2 instead of the 3 of peer");
        let key = told(&other(["a", "c"], 2, 1.5), ROUNDING);
        assert_eq!(key, "the answer is wrong: the group k = b is not among those of peer");
        assert!(told(&other(["a", "a"], 2, 1.5), ROUNDING).contains("the group k = b"));
        let near = other(["a", "b"], 2, 1.5 + 1e-10);
        assert_eq!(told(&near, ROUNDING), "");
        assert!(told(&near, EXACT).contains("\"mean\""));
        assert!(told(&other(["a", "b"], 2, 1.5 + 1e-7), ROUNDING).contains("\"mean\""));
        assert!(told(&ours.slice(0, 1), EXACT).contains("2 rows of 3 columns instead of the 1 rows"));
    }

    #[test]
    fn a_sum_of_no_values_may_be_zero_where_that_is_known() {
        let batch = |total: Option<i64>| {
            let total: ArrayRef = Arc::new(Int64Array::from(vec![total]));
            RecordBatch::try_from_iter([("total", total)]).unwrap()
        };
        let zero = Other { sums: &[0], ..EXACT };
        assert_eq!(told(&batch(None), &batch(Some(0)), 0, zero), "");
        assert_ne!(told(&batch(None), &batch(Some(1)), 0, zero), "");
        assert_ne!(told(&batch(None), &batch(Some(0)), 0, EXACT), "");
    }

    #[test]
    fn widths_and_layouts_do_not_matter() {
        let batch = |key: ArrayRef, count: ArrayRef| RecordBatch::try_from_iter([("k", key), ("n", count)]).unwrap();
        let ours = batch(Arc::new(StringArray::from(vec!["a"])), Arc::new(Int64Array::from(vec![7])));
        let theirs = batch(Arc::new(StringViewArray::from(vec!["a"])), Arc::new(UInt32Array::from(vec![7])));
        assert_eq!(told(&ours, &theirs, 1, EXACT), "");
        let other = batch(Arc::new(StringViewArray::from(vec!["a"])), Arc::new(Int32Array::from(vec![8])));
        assert!(told(&ours, &other, 1, EXACT).contains("\"n\" of k = a is 7 instead of the 8"));
    }

    #[test]
    fn floats_differ_by_sign_of_zero_only_when_exact() {
        let batch = |value: f64| {
            RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(vec![value])) as ArrayRef)]).unwrap()
        };
        assert_eq!(told(&batch(0.0), &batch(-0.0), 0, ROUNDING), "");
        assert_ne!(told(&batch(0.0), &batch(-0.0), 0, EXACT), "");
        assert_eq!(told(&batch(f64::NAN), &batch(f64::NAN), 0, EXACT), "");
        assert_ne!(told(&batch(f64::NAN), &batch(1.0), 0, ROUNDING), "");
        assert_eq!(told(&batch(f64::INFINITY), &batch(f64::INFINITY), 0, ROUNDING), "");
        assert_ne!(told(&batch(f64::INFINITY), &batch(1.0), 0, ROUNDING), "");
    }
}
