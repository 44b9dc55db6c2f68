//! The data of both sides, and the comparison of their answers.

#![expect(clippy::cast_possible_wrap, reason = "random bits become numbers")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use pelton::columnar::DataType;
use polars::prelude::{self as pl, NamedFrom};

fn random(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |step: u64| {
        let word = (step ^ (seed << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word ^ (word >> 29)
    })
}

/// Columns: `i`, `j` integers below a million, `p` a percentage, `f`, `g` floats, `n` an integer with 10 % nulls, `s` an
/// URL, `number` and `time` texts, `t` a timestamp.
pub(crate) fn batch(rows: usize) -> RecordBatch {
    let integers =
        |seed, bound: u64| -> Vec<i64> { random(seed).take(rows).map(|bits| (bits % bound) as i64).collect() };
    let floats = |seed| -> Vec<f64> { random(seed).take(rows).map(|bits| (bits >> 11) as f64 / 1e9).collect() };
    let texts = |seed, write: fn(u64) -> String| -> ArrayRef {
        Arc::new(random(seed).take(rows).map(|bits| Some(write(bits))).collect::<StringArray>())
    };
    let instants: Vec<i64> =
        random(9).take(rows).map(|bits| 1_700_000_000_000_000 + (bits % (1 << 45)) as i64).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("i", Arc::new(Int64Array::from(integers(1, 1_000_000)))),
        ("j", Arc::new(Int64Array::from(integers(2, 1_000_000)))),
        ("p", Arc::new(Int64Array::from(integers(3, 100)))),
        (
            "n",
            Arc::new(
                random(4)
                    .take(rows)
                    .map(|bits| (bits % 10 != 0).then_some((bits >> 20) as i64))
                    .collect::<Int64Array>(),
            ),
        ),
        ("f", Arc::new(Float64Array::from(floats(5)))),
        ("g", Arc::new(Float64Array::from(floats(6)))),
        (
            "s",
            texts(7, |bits| {
                format!("https://host{}.example.com/path/{}?campaign={}", bits % 7, bits % 1000, bits % 99)
            }),
        ),
        ("number", texts(8, |bits| format!("{}", bits % 10_000_000))),
        ("decimal", texts(10, |bits| format!("{}.{:02}", bits % 100_000, bits % 97))),
        (
            "time",
            texts(11, |bits| {
                format!(
                    "2024-0{}-{:02} {:02}:{:02}:{:02}",
                    1 + bits % 9,
                    1 + bits % 28,
                    bits % 24,
                    bits % 60,
                    bits % 59
                )
            }),
        ),
        ("t", Arc::new(TimestampMicrosecondArray::from(instants))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A column of Polars with the same values.
pub(crate) fn series(name: &str, values: &ArrayRef) -> pl::Series {
    let name = name.into();
    match values.data_type() {
        DataType::Int32 => pl::Series::new(name, values.as_primitive::<Int32Type>().iter().collect::<Vec<_>>()),
        DataType::Int64 if values.null_count() == 0 => {
            pl::Series::new(name, values.as_primitive::<Int64Type>().values().to_vec())
        }
        DataType::Int64 => pl::Series::new(name, values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()),
        DataType::Float64 => pl::Series::new(name, values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>()),
        DataType::Boolean => pl::Series::new(name, values.as_boolean().iter().collect::<Vec<_>>()),
        DataType::Utf8 => pl::Series::new(name, values.as_string::<i32>().iter().collect::<Vec<_>>()),
        DataType::Utf8View => pl::Series::new(name, values.as_string_view().iter().collect::<Vec<_>>()),
        DataType::Timestamp(..) => {
            let counts = values.as_primitive::<TimestampMicrosecondType>().iter().collect::<Vec<_>>();
            pl::Series::new(name, counts).cast(&pl::DataType::Datetime(pl::TimeUnit::Microseconds, None)).unwrap()
        }
        other => panic!("no series of {other}"),
    }
}

/// The batch as a frame.
pub(crate) fn frame(batch: &RecordBatch) -> pl::DataFrame {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, values)| pl::Column::from(series(field.name(), values)));
    pl::DataFrame::new(batch.num_rows(), columns.collect()).unwrap()
}

/// Stops if the answers differ. Lists are compared by their number only.
pub(crate) fn compare(id: &str, ours: &ArrayRef, theirs: &pl::Column) {
    assert_eq!(ours.len(), theirs.len(), "{id}");
    if matches!(ours.data_type(), DataType::List(_)) {
        return;
    }
    let theirs = theirs.as_materialized_series();
    let ours = series("x", ours).cast(theirs.dtype()).unwrap();
    assert!(ours.equals_missing(theirs), "{id}: {ours:?} is not {theirs:?}");
}
