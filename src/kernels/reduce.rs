//! Keyed reduce: rows in, one row a group out.
//!
//! A batch brings its keys, and for each aggregate its values and its filter, all evaluated. Rows of equal keys
//! ([`crate::kernels::group_ids`]) form a group; without keys all rows, even none, form one. Each aggregate sees the
//! rows of a group for which its filter is true, in order, and makes one value of them, as
//! [`AggregateFunction`] and `docs/semantics.md` define. The answer has the keys, then the aggregates, and the groups in
//! the order of their first rows, however the rows were cut into batches and partitions.
//!
//! This module holds what every backend shares, and the slow, obvious [`reference()`].

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of rows, and positions among them as floats"
)]

use std::sync::Arc;

use arrow_array::{Array, BooleanArray, RecordBatchOptions};

use crate::columnar::{ArrayRef, DataType, Field, RecordBatch, Scalar, Schema};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::exact_sum::{Fixed, FloatMoments, FloatTotal, Moments, whole_mean};
use crate::kernels::group_ids;

/// One batch of evaluated columns.
#[derive(Debug, Clone)]
pub struct ReduceInput {
    /// A column for each key.
    pub keys: Vec<ArrayRef>,
    /// The values of each aggregate that has some.
    pub inputs: Vec<Option<ArrayRef>>,
    /// The filter of each aggregate that has one.
    pub filters: Vec<Option<BooleanArray>>,
    /// How many rows each of them has.
    pub rows: usize,
}

/// The columns of the answer: keys, then aggregates. Counts are never null.
pub fn output_fields(keys: &[Field], aggregates: &[TypedAggregate]) -> Vec<Field> {
    let made = aggregates.iter().map(|aggregate| {
        let is_count = matches!(
            aggregate.function,
            AggregateFunction::Len | AggregateFunction::Count | AggregateFunction::NUnique
        );
        Field::new(&aggregate.name, aggregate.data_type.clone(), !is_count)
    });
    keys.iter().cloned().chain(made).collect()
}

/// A key for people: `city = "Oslo", hour = 7`.
pub fn key_text(keys: &[Field], columns: &[ArrayRef], group: usize) -> String {
    let parts = keys.iter().zip(columns).map(|(field, column)| {
        let value = arrow_cast::display::array_value_to_string(column, group).unwrap_or_else(|_| "?".to_owned());
        let value = if column.is_null(group) { "null".to_owned() } else { value };
        format!("{} = {value}", field.name())
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The error of a total that does not fit its type.
pub fn out_of_range(aggregate: &TypedAggregate, key: &str, value: &str, data_type: &DataType) -> Error {
    let of_group = if key.is_empty() { String::new() } else { format!(" for the key {key}") };
    let function = aggregate.function.name();
    let message = format!("the {function} \"{}\"{of_group} is {value}, which does not fit {data_type}", aggregate.name);
    Error::new(ErrorKind::Overflow, message)
        .at(Place::default().column(&aggregate.name))
        .advice("cast the input to a wider type, such as decimal(38, 0) or a float")
}

/// The value at this share of sorted values, between the two nearest ones: `low + (high - low) × rest`.
pub fn interpolate(sorted: &[f64], share: f64) -> Option<f64> {
    interpolate_pair(sorted.len(), share, |rank| (sorted[rank], sorted[(rank + 1).min(sorted.len() - 1)]))
}

/// As [`interpolate`], of so many values, of which one and the one after it, if there is one, are asked for by the place of the
/// first in the order.
pub fn interpolate_pair(values: usize, share: f64, pair_at: impl FnOnce(usize) -> (f64, f64)) -> Option<f64> {
    let last = values.checked_sub(1)?;
    let position = last as f64 * share.clamp(0.0, 1.0);
    let (below, rest) = (position.floor() as usize, position.fract());
    let (low, high) = pair_at(below);
    // Equal infinities have no difference.
    Some(if rest == 0.0 || low == high { low } else { low + (high - low) * rest })
}

/// The values that an aggregate sees of a group, and how many there were at the end of each cut.
#[derive(Debug, Clone, Default)]
struct Seen {
    values: Vec<Scalar>,
    ends: Vec<usize>,
}

/// The answer, by the book, of rows that are not cut.
///
/// # Errors
/// `Overflow`, naming column and key, when a total does not fit its type.
pub fn reference(keys: &[Field], aggregates: &[TypedAggregate], batches: &[ReduceInput]) -> Result<RecordBatch> {
    reference_of_cuts(keys, aggregates, &[batches.to_vec()])
}

/// The same of rows in several cuts, which count for ordered sums.
///
/// # Errors
/// As for [`reference()`].
pub fn reference_of_cuts(
    keys: &[Field],
    aggregates: &[TypedAggregate],
    cuts: &[Vec<ReduceInput>],
) -> Result<RecordBatch> {
    let mut groups = group_ids::Reference::default();
    // For each aggregate, for each group, what it sees.
    let mut seen: Vec<Vec<Seen>> = vec![Vec::new(); aggregates.len()];
    for (batch, ends_cut) in cuts.iter().flat_map(|cut| {
        let last = cut.len().wrapping_sub(1);
        cut.iter().enumerate().map(move |(place, batch)| (batch, place == last))
    }) {
        let ids = groups.assign(&batch.keys, batch.rows)?;
        for (place, aggregate) in aggregates.iter().enumerate() {
            seen[place].resize(groups.keys.len(), Seen::default());
            for (row, &id) in ids.iter().enumerate() {
                let is_kept = batch.filters[place].as_ref().is_none_or(|f| f.is_valid(row) && f.value(row));
                let value = match &batch.inputs[place] {
                    Some(input) => Scalar::from_array(input, row)?,
                    None => Scalar::Null,
                };
                if is_kept && (keeps_null(&aggregate.function) || !value.is_null()) {
                    seen[place][id].values.push(value);
                }
            }
            if ends_cut {
                seen[place].iter_mut().for_each(|seen| seen.ends.push(seen.values.len()));
            }
        }
    }
    if keys.is_empty() {
        groups.keys = vec![Vec::new()];
        seen.iter_mut().for_each(|groups| groups.resize(1, Seen::default()));
    }
    let mut columns = Vec::new();
    for (place, field) in keys.iter().enumerate() {
        let values = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        let is_float = values.is_floating();
        let values: Vec<_> = groups.keys.iter().map(|key| group_ids::key_value(&key[place], is_float)).collect();
        columns.push(Scalar::to_array(&values, field.data_type())?);
    }
    for (aggregate, groups) in aggregates.iter().zip(seen) {
        let mut results = Vec::new();
        for (group, seen) in groups.iter().enumerate() {
            let key = || key_text(keys, &columns[..keys.len()], group);
            results.push(reduce(aggregate, seen, &key)?);
        }
        columns.push(Scalar::to_array(&results, &aggregate.data_type)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(groups.keys.len()));
    let schema = Arc::new(Schema::new(output_fields(keys, aggregates)));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The sum by plain additions: row by row inside a cut, then cut by cut.
fn ordered(seen: &Seen) -> Result<f64> {
    let (mut total, mut from) = (0.0, 0);
    for &end in &seen.ends {
        let mut sum = 0.0;
        for value in &seen.values[from..end] {
            sum += float(value)?;
        }
        total += sum;
        from = end;
    }
    Ok(if total.is_nan() { f64::NAN } else { total })
}

/// The variance by plain arithmetic: Welford's steps inside a cut, Chan's formula between cuts.
fn ordered_variance(seen: &Seen, ddof: u8) -> Result<Option<f64>> {
    // Values, their mean, and the sum of the squared distances from it.
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    let mut from = 0;
    for &end in &seen.ends {
        let mut cut = (0.0, 0.0, 0.0);
        for value in &seen.values[from..end] {
            let value = float(value)?;
            cut.0 += 1.0;
            let distance = value - cut.1;
            cut.1 += distance / cut.0;
            cut.2 += distance * (value - cut.1);
        }
        from = end;
        if count == 0.0 {
            (count, mean, squares) = cut;
        } else if cut.0 > 0.0 {
            let (both, distance) = (count + cut.0, cut.1 - mean);
            mean += distance * (cut.0 / both);
            squares = squares + cut.2 + distance * distance * (count * (cut.0 / both));
            count = both;
        }
    }
    let left = count - f64::from(ddof);
    let variance = squares / left;
    Ok((left > 0.0).then_some(if variance.is_nan() { f64::NAN } else { variance }))
}

fn keeps_null(function: &AggregateFunction) -> bool {
    matches!(function, AggregateFunction::Len | AggregateFunction::First | AggregateFunction::Last)
}

/// What one aggregate makes of what it sees of one group.
fn reduce(aggregate: &TypedAggregate, seen: &Seen, key: &dyn Fn() -> String) -> Result<Scalar> {
    use AggregateFunction as Function;
    let values = &seen.values;
    let count = Scalar::Int64(values.len() as i64);
    let first = values.first().cloned().unwrap_or(Scalar::Null);
    let truths = || values.iter().map(|value| *value == Scalar::Boolean(true));
    Ok(match &aggregate.function {
        Function::Len | Function::Count => count,
        Function::First => first,
        Function::Last => values.last().cloned().unwrap_or(Scalar::Null),
        Function::NUnique => {
            let mut different = group_ids::Reference::default();
            for value in values {
                let input = aggregate.input.as_ref().map_or(&DataType::Null, |input| &input.data_type);
                different.assign(&[Scalar::to_array(std::slice::from_ref(value), input)?], 1)?;
            }
            Scalar::Int64(different.keys.len() as i64)
        }
        _ if values.is_empty() => Scalar::Null,
        Function::Sum => sum(aggregate, values, key)?,
        Function::Mean => mean(values)?,
        Function::OrderedSum => ordered(seen)?.into(),
        Function::OrderedMean => (ordered(seen)? / values.len() as f64).into(),
        Function::OrderedVariance(ddof) => ordered_variance(seen, *ddof)?.into(),
        Function::OrderedStdDev(ddof) => ordered_variance(seen, *ddof)?.map(f64::sqrt).into(),
        Function::Variance(ddof) => variance(values, *ddof)?.into(),
        Function::StdDev(ddof) => variance(values, *ddof)?.map(f64::sqrt).into(),
        Function::Min => extreme(values, std::cmp::Ordering::Less),
        Function::Max => extreme(values, std::cmp::Ordering::Greater),
        Function::Quantile(share) => {
            let mut floats = values.iter().map(float).collect::<Result<Vec<_>>>()?;
            // Behind all numbers NaN, those with a sign last.
            let kind = |value: &f64| (value.is_nan(), value.is_nan() && value.is_sign_negative());
            floats.sort_by(|a, b| kind(a).cmp(&kind(b)).then(a.total_cmp(b)));
            interpolate(&floats, *share).into()
        }
        Function::Any => truths().any(|truth| truth).into(),
        Function::All => truths().all(|truth| truth).into(),
        Function::Concat(separator) => {
            let texts = values.iter().map(|value| match value {
                Scalar::Utf8(text) => Ok(text.as_str()),
                other => Err(unexpected(other)),
            });
            texts.collect::<Result<Vec<_>>>()?.join(separator).into()
        }
    })
}

fn unexpected(value: &Scalar) -> Error {
    Error::internal(format!("an aggregate does not take {value:?}"))
}

/// Integers, decimals and durations as whole numbers, with the digits after the point.
fn whole(value: &Scalar) -> Option<(i128, i8)> {
    match value {
        Scalar::Int64(value) | Scalar::Duration(value, _) => Some(((*value).into(), 0)),
        Scalar::UInt64(value) => Some(((*value).into(), 0)),
        Scalar::Decimal128 { unscaled, scale, .. } => Some((*unscaled, *scale)),
        _ => None,
    }
}

fn float(value: &Scalar) -> Result<f64> {
    let input = value.data_type();
    let array = arrow_cast::cast(&Scalar::to_array(std::slice::from_ref(value), &input)?, &DataType::Float64)?;
    match Scalar::from_array(&array, 0)? {
        Scalar::Float64(float) => Ok(float),
        _ => Err(unexpected(value)),
    }
}

/// The exact sum, and the digits after the point; none for floats.
fn whole_total(values: &[Scalar]) -> Option<(Fixed<3>, i8)> {
    let mut total = Fixed::default();
    let mut digits = 0;
    for value in values {
        let (whole, scale) = whole(value)?;
        total.add(whole < 0, whole.unsigned_abs(), 0);
        digits = scale;
    }
    Some((total, digits))
}

fn float_total(values: &[Scalar]) -> Result<FloatTotal> {
    let mut total = FloatTotal::default();
    for value in values {
        total.add(float(value)?);
    }
    Ok(total)
}

fn sum(aggregate: &TypedAggregate, values: &[Scalar], key: &dyn Fn() -> String) -> Result<Scalar> {
    let Some((total, scale)) = whole_total(values) else { return Ok(float_total(values)?.divided(1).into()) };
    let sum = total.to_i128().and_then(|whole| match &aggregate.data_type {
        DataType::UInt64 => u64::try_from(whole).ok().map(Scalar::UInt64),
        DataType::Decimal128(precision, scale) if whole.unsigned_abs() < 10_u128.pow(38) => {
            Some(Scalar::Decimal128 { unscaled: whole, precision: *precision, scale: *scale })
        }
        DataType::Decimal128(_, _) => None,
        DataType::Duration(unit) => i64::try_from(whole).ok().map(|whole| Scalar::Duration(whole, *unit)),
        _ => i64::try_from(whole).ok().map(Scalar::Int64),
    });
    sum.ok_or_else(|| {
        let value = total_text(&total, &aggregate.data_type, scale);
        out_of_range(aggregate, &key(), &value, &aggregate.data_type)
    })
}

/// A total for people.
pub(crate) fn total_text<const N: usize>(total: &Fixed<N>, data_type: &DataType, scale: i8) -> String {
    let value = total.to_i128().map_or_else(|| "beyond 128 bits".to_owned(), |whole| whole.to_string());
    match data_type {
        DataType::Decimal128(_, _) => format!("{value} × 10^{}", -i32::from(scale)),
        _ => value,
    }
}

fn mean(values: &[Scalar]) -> Result<Scalar> {
    let count = values.len() as u64;
    Ok(match whole_total(values) {
        Some((total, scale)) => whole_mean(&total, count, scale).into(),
        None => float_total(values)?.divided(count).into(),
    })
}

fn variance(values: &[Scalar], ddof: u8) -> Result<Option<f64>> {
    let mut wholes = Moments::<3, 6>::default();
    let mut floats = FloatMoments::default();
    let mut digits = None;
    for value in values {
        match whole(value) {
            Some((whole, scale)) => {
                wholes.add_whole(whole);
                digits = Some(scale);
            }
            None => floats.add(float(value)?),
        }
    }
    Ok(match digits {
        Some(scale) => wholes.variance(0, scale, ddof),
        None => floats.variance(ddof),
    })
}

/// The value that beats all others; the first of equal ones. NaN is beaten by everything.
fn extreme(values: &[Scalar], wanted: std::cmp::Ordering) -> Scalar {
    let mut best = Scalar::Null;
    for value in values {
        let is_nan = |value: &Scalar| matches!(value, Scalar::Float64(float) if float.is_nan());
        let wins = match (&best, value) {
            (Scalar::Null, _) => true,
            (_, value) if is_nan(value) => false,
            (best, _) if is_nan(best) => true,
            (best, value) => compare(value, best) == wanted,
        };
        if wins {
            best = if is_nan(value) { Scalar::Float64(f64::NAN) } else { value.clone() };
        }
    }
    best
}

/// The order of two values of one type, -0.0 below 0.0.
fn compare(a: &Scalar, b: &Scalar) -> std::cmp::Ordering {
    match (a, b) {
        (Scalar::Boolean(a), Scalar::Boolean(b)) => a.cmp(b),
        (Scalar::UInt64(a), Scalar::UInt64(b)) => a.cmp(b),
        (Scalar::Int64(a), Scalar::Int64(b))
        | (Scalar::Timestamp(a, ..), Scalar::Timestamp(b, ..))
        | (Scalar::Duration(a, _), Scalar::Duration(b, _)) => a.cmp(b),
        (Scalar::Float64(a), Scalar::Float64(b)) => a.total_cmp(b),
        (Scalar::Decimal128 { unscaled: a, .. }, Scalar::Decimal128 { unscaled: b, .. }) => a.cmp(b),
        (Scalar::Date32(a), Scalar::Date32(b)) => a.cmp(b),
        (Scalar::Utf8(a), Scalar::Utf8(b)) => a.cmp(b),
        (Scalar::Binary(a), Scalar::Binary(b)) => a.cmp(b),
        _ => std::cmp::Ordering::Equal,
    }
}
