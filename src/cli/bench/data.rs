//! The rows of the suites, made in memory by all threads before anything is timed. The same seed gives the same rows.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::NullBuffer;
use arrow_select::concat::{concat, concat_batches};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::skew::KeyDraw;
use super::suite::{KeyForm, Keys, Money, Rows};
use crate::columnar::{ArrayRef, DataType, Field, RecordBatch, Schema};
use crate::error::Result;
use crate::generate::draw::Draw;
use crate::generate::{Generator, Options, generator, lineitem};
use crate::limits::ROWS_PER_READ_MAX;

/// What makes the rows of every run the same.
pub(super) const SEED: u64 = 7;

/// Rows of `lineitem` at scale factor 1.
const LINEITEM_ROWS: f64 = 6_001_215.0;

/// Columns of `lineitem` that the queries read.
const LINEITEM_COLUMNS: [&str; 7] =
    ["l_quantity", "l_extendedprice", "l_discount", "l_tax", "l_returnflag", "l_linestatus", "l_shipdate"];

/// Distance of sparse keys.
const SPARSE: u64 = 7919;

/// The rows of a case: so many, for `lineitem` about so many.
pub(super) fn make(what: Rows, rows: usize) -> Result<RecordBatch> {
    match what {
        Rows::Keyed(keys) => {
            let mut columns = key_columns(keys, rows)?;
            columns.extend(values(rows, keys.nulls));
            Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
        }
        Rows::Values => Ok(RecordBatch::try_from_iter_with_nullable(values(rows, false))?),
        Rows::Lineitem(money) => lineitem_columns(rows, money),
        Rows::Text(kind) => sample_rows(&*sample(kind)?, rows),
    }
}

/// The sample stream of this kind.
pub(super) fn sample(kind: &str) -> Result<Arc<dyn Generator>> {
    generator(kind, SEED, &Options::default())
}

fn sample_rows(generator: &dyn Generator, rows: usize) -> Result<RecordBatch> {
    let parts = (0..rows).step_by(ROWS_PER_READ_MAX).collect::<Vec<_>>().into_par_iter();
    let part = |from: usize| generator.rows(from as u64, ROWS_PER_READ_MAX.min(rows - from));
    let parts = parts.map(part).collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&generator.schema(), &parts)?)
}

/// Name, values, and whether there may be nulls.
type Column = (&'static str, ArrayRef, bool);

fn key_columns(keys: Keys, rows: usize) -> Result<Vec<Column>> {
    let draw = KeyDraw::new(SEED, keys.groups, keys.skew);
    let nulls = |column| keys.nulls.then(|| some_nulls(column, rows));
    Ok(match keys.form {
        KeyForm::Int => vec![("k", numbers::<Int32Type>(rows, nulls(10), |row| as_i32(draw.key(row))), keys.nulls)],
        KeyForm::Sparse => {
            vec![("k", numbers::<Int64Type>(rows, nulls(10), |row| as_i64(draw.key(row) * SPARSE)), keys.nulls)]
        }
        KeyForm::Text => vec![("k", texts(rows, nulls(10).as_ref(), "id", |row| draw.key(row))?, keys.nulls)],
        KeyForm::Two => {
            let width = keys.groups.isqrt();
            let k = numbers::<Int32Type>(rows, nulls(10), |row| as_i32(draw.key(row) / width));
            let s = texts(rows, nulls(11).as_ref(), "city", |row| draw.key(row) % width)?;
            vec![("k", k, keys.nulls), ("s", s, keys.nulls)]
        }
    })
}

#[expect(clippy::cast_possible_truncation, reason = "g has 24 bits on purpose")]
fn values(rows: usize, with_nulls: bool) -> Vec<Column> {
    let nulls = |column| with_nulls.then(|| some_nulls(column, rows));
    let [i, f, g] = [3, 4, 5].map(|column| Draw::new(SEED, column));
    vec![
        ("i", numbers::<Int64Type>(rows, nulls(12), |row| i.between(row, -1000, 99_999)), with_nulls),
        ("f", numbers::<Float64Type>(rows, nulls(13), |row| 50.0 + 20.0 * f.normal(row)), with_nulls),
        ("g", numbers::<Float32Type>(rows, nulls(14), |row| g.unit(row) as f32), with_nulls),
    ]
}

fn numbers<T: ArrowPrimitiveType>(
    rows: usize,
    nulls: Option<NullBuffer>,
    value: impl Fn(u64) -> T::Native + Sync + Send,
) -> ArrayRef
where
    T::Native: Send,
{
    let values: Vec<T::Native> = (0..rows).into_par_iter().map(|row| value(row as u64)).collect();
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

/// A column of texts: a word and a number.
fn texts(rows: usize, nulls: Option<&NullBuffer>, word: &str, number: impl Fn(u64) -> u64 + Sync) -> Result<ArrayRef> {
    const PIECE: usize = 1 << 16;
    let piece = |piece: usize| {
        let rows = piece * PIECE..rows.min((piece + 1) * PIECE);
        let mut column = StringBuilder::new();
        for row in rows {
            let written = write!(column, "{word}{}", number(row as u64));
            debug_assert!(written.is_ok(), "writing to a column of text cannot fail");
            column.append_value("");
        }
        Arc::new(column.finish()) as ArrayRef
    };
    let pieces: Vec<ArrayRef> = (0..rows.div_ceil(PIECE).max(1)).into_par_iter().map(piece).collect();
    let whole = concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?;
    let data = whole.to_data().into_builder().nulls(nulls.cloned());
    Ok(arrow_array::make_array(data.build()?))
}

/// One row in ten is null.
fn some_nulls(column: u64, rows: usize) -> NullBuffer {
    let draw = Draw::new(SEED, column);
    let valid: Vec<bool> = (0..rows).into_par_iter().map(|row| draw.below(row as u64, 10) > 0).collect();
    NullBuffer::from(valid)
}

#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2^31 keys")]
fn as_i32(key: u64) -> i32 {
    key as i32
}

#[expect(clippy::cast_possible_wrap, reason = "keys and their distance are far below 2^63")]
fn as_i64(key: u64) -> i64 {
    key as i64
}

/// The columns of `lineitem` that the queries read, part by part on all threads.
#[expect(clippy::cast_precision_loss, reason = "a scale factor is rough")]
fn lineitem_columns(rows: usize, money: Money) -> Result<RecordBatch> {
    let scale = (rows.max(1) as f64) / LINEITEM_ROWS;
    // A part of fewer rows than this is not worth a thread.
    let parts = u32::try_from((rows >> 16).clamp(1, 64)).unwrap_or(1);
    let part = |part: u32| -> Result<RecordBatch> {
        let mut pieces = Vec::new();
        for batch in lineitem::lineitem(scale, part, parts)? {
            pieces.push(queried(&batch?, money)?);
        }
        let schema = Arc::new(schema_of_queried(money));
        Ok(concat_batches(&schema, &pieces)?)
    };
    let parts = (1..=parts).into_par_iter().map(part).collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&Arc::new(schema_of_queried(money)), &parts)?)
}

fn queried(batch: &RecordBatch, money: Money) -> Result<RecordBatch> {
    let schema = Arc::new(schema_of_queried(money));
    let columns = schema.fields().iter().map(|field| {
        let index = batch.schema_ref().index_of(field.name())?;
        Ok(arrow_cast::cast(batch.column(index), field.data_type())?)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// TPC-H knows no nulls.
fn schema_of_queried(money: Money) -> Schema {
    let whole = lineitem::schema();
    let fields = LINEITEM_COLUMNS.iter().filter_map(|name| whole.field_with_name(name).ok());
    let typed = |field: &Field| match (field.data_type(), money) {
        (DataType::Decimal128(..), Money::Float) => DataType::Float64,
        (other, _) => other.clone(),
    };
    Schema::new(fields.map(|field| Field::new(field.name(), typed(field), false)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::suite::{GROUPBY, SCAN, Skew};

    #[test]
    fn rows_are_the_same_every_time_and_on_any_number_of_threads() {
        let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for case in GROUPBY.cases.iter().chain(SCAN.cases) {
            let made = |threads| on(threads).install(|| make(case.rows, 5000)).unwrap();
            assert_eq!(made(1), made(3), "{}", case.name);
            assert_eq!(made(1).num_rows(), 5000);
        }
    }

    #[test]
    fn fewer_rows_are_the_first_of_more() {
        let keys = Keys { groups: 100, form: KeyForm::Two, skew: Skew::Zipf10, nulls: true };
        let (few, many) = (make(Rows::Keyed(keys), 65_536), make(Rows::Keyed(keys), 65_537));
        assert_eq!(few.unwrap(), many.unwrap().slice(0, 65_536));
    }

    #[test]
    fn nulls_are_there_exactly_when_they_are_wanted() {
        for case in GROUPBY.cases {
            let Rows::Keyed(keys) = case.rows else { continue };
            let batch = make(case.rows, 1000).unwrap();
            let has_nulls = batch.columns().iter().any(|column| column.null_count() > 0);
            assert_eq!(has_nulls, keys.nulls, "{}", case.name);
        }
        assert_eq!(make(Rows::Values, 0).unwrap().num_rows(), 0);
    }
}
