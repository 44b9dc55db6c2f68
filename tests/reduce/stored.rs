//! Groups as columns and back: nothing is lost, whatever is merged, and what was not stored is refused.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use pelton::columnar::{DataType, Field, Schema};
use pelton::error::ErrorKind;
use pelton::expr::{AggregateFunction, TypedAggregate};
use pelton::kernels::cpu::reduce::{Groups, KeyedReduce};
use pelton::kernels::reduce::{ReduceInput, reference};
use pelton::kernels::stored;

use crate::data::{
    Random, aggregate, aggregates_of, array, assert_same, batch, filtered, plain_types, slice, update, with_nulls_in,
};

/// The batch after a journey as bytes.
fn through_ipc(batch: &RecordBatch) -> RecordBatch {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    StreamReader::try_new(bytes.as_slice(), None).unwrap().next().unwrap().unwrap()
}

fn restored(reduce: &KeyedReduce, mut groups: Groups) -> Groups {
    let stored = through_ipc(&groups.store().unwrap());
    assert_eq!(stored.schema(), reduce.stored_schema().unwrap(), "the schema is known before there is data");
    let mut back = reduce.restore(&stored).unwrap();
    assert_eq!(back.len(), groups.len());
    assert_eq!(back.store().unwrap(), stored, "stored again, it is the same");
    back
}

/// Some parts of the rows, each taken in tiles of 50 by groups of its own.
fn parts(reduce: &KeyedReduce, batch: &ReduceInput, parts: usize) -> Vec<Groups> {
    let len = batch.rows.div_ceil(parts).max(1);
    let part = |from: usize| {
        let mut groups = reduce.begin().unwrap();
        let end = batch.rows.min(from + len);
        for from in (from..end).step_by(50) {
            update(&mut groups, &slice(batch, from, 50.min(end - from))).unwrap();
        }
        groups
    };
    (0..batch.rows.max(1)).step_by(len).map(part).collect()
}

fn check(keys: &[Field], aggregates: &[TypedAggregate], batch: &ReduceInput, what: &str) {
    let reduce = KeyedReduce::prepare(keys, aggregates).unwrap();
    let slow = reference(keys, aggregates, std::slice::from_ref(batch));
    let mut merged: Option<Groups> = None;
    for (place, part) in parts(&reduce, batch, 4).into_iter().enumerate() {
        // The first is stored after each merge, every second later one before it: all ways to meet.
        let part = if place % 2 == 0 { restored(&reduce, part) } else { part };
        merged = Some(match merged.take() {
            None => part,
            Some(mut earlier) => {
                earlier.merge(part).unwrap();
                restored(&reduce, earlier)
            }
        });
    }
    let mut merged = merged.unwrap();
    // Restored groups take rows in, too.
    let mut again = reduce.restore(&merged.store().unwrap()).unwrap();
    update(&mut again, &slice(batch, 0, batch.rows.min(40))).unwrap();
    match (merged.finish(), &slow) {
        (Ok(fast), Ok(slow)) => assert_same(&fast, slow, what),
        (Err(fast), Err(slow)) => assert_eq!(fast.to_string(), slow.to_string(), "{what}"),
        (fast, slow) => panic!("{what}: {fast:?} but {slow:?}"),
    }
    let twice = reference(keys, aggregates, &[slice(batch, 0, batch.rows), slice(batch, 0, batch.rows.min(40))]);
    if let (Ok(fast), Ok(slow)) = (again.finish(), twice) {
        assert_same(&fast, &slow, what);
    }
}

#[test]
fn every_aggregate_of_every_type_survives_the_journey() {
    let keys = [Field::new("k", DataType::Int32, true)];
    for data_type in plain_types() {
        for aggregate in aggregates_of(&data_type) {
            let second = TypedAggregate { name: "filtered".to_owned(), ..aggregate.clone() };
            let aggregates = filtered(vec![aggregate, second]);
            for (rows, different, has_nulls) in [(0, 1, false), (1, 1, true), (300, 20, true), (200, 150, false)] {
                let batch = batch(&mut Random(rows as u64), &keys, &aggregates, rows, different, has_nulls);
                let what = format!("{:?} of {data_type}, {rows} rows", aggregates[0].function);
                check(&keys, &aggregates, &batch, &what);
                check(&[], &aggregates, &ReduceInput { keys: Vec::new(), ..batch }, &format!("{what}, no keys"));
            }
        }
    }
}

#[test]
fn every_key_type_survives_the_journey() {
    let types = plain_types();
    for (place, data_type) in types.iter().enumerate() {
        let second = Field::new("second", types[(place + 5) % types.len()].clone(), true);
        for keys in
            [vec![Field::new("k", data_type.clone(), true)], vec![Field::new("k", data_type.clone(), true), second]]
        {
            let aggregates = [aggregate(AggregateFunction::Len, None, DataType::Int64)];
            for has_nulls in [false, true] {
                let batch = batch(&mut Random(3), &keys, &aggregates, 400, 60, has_nulls);
                check(&keys, &aggregates, &batch, &format!("{keys:?}"));
            }
        }
    }
}

fn sums(values: impl IntoIterator<Item = f64>) -> (KeyedReduce, ReduceInput) {
    let sum = aggregate(AggregateFunction::Sum, Some(&DataType::Float64), DataType::Float64);
    let reduce = KeyedReduce::prepare(&[Field::new("k", DataType::Int64, false)], &[sum]).unwrap();
    let values = array(values);
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..values.len() as i64).map(|row| row % 7)));
    let rows = values.len();
    (reduce, ReduceInput { keys: vec![keys], inputs: vec![Some(values)], filters: vec![None], rows })
}

#[test]
fn exact_float_sums_of_any_size_survive_the_journey() {
    let tiny = f64::from_bits(1);
    let families: [Vec<f64>; 7] = [
        (0..900).map(|row| 1.0 / f64::from(row + 1)).collect(),
        (0..900).map(|row| [1e300, -1e300, 1.0, tiny, -tiny, 1e16][row % 6]).collect(),
        (0..900).map(|row| 2f64.powi(row % 2000 - 1000)).collect(),
        (0..900).map(|row| if row == 13 { f64::NAN } else { 0.1 }).collect(),
        (0..900).map(|row| if row % 100 == 3 { f64::INFINITY } else { -f64::from(row) }).collect(),
        (0..900).map(|row| [f64::MAX, f64::MAX, -f64::MAX, 0.5][row % 4]).collect(),
        (0..900).map(|row| [-0.0, 0.0][row % 2]).collect(),
    ];
    for values in families {
        let (reduce, batch) = sums(values);
        let mut straight = reduce.begin().unwrap();
        update(&mut straight, &batch).unwrap();
        let straight = straight.finish().unwrap();
        for count in [1, 2, 5, 30] {
            let mut all = reduce.begin().unwrap();
            for part in parts(&reduce, &batch, count) {
                all.merge(restored(&reduce, part)).unwrap();
            }
            assert_same(&all.finish().unwrap(), &straight, "merged from stored parts");
        }
    }
}

#[test]
fn totals_that_lanes_cannot_hold_survive_the_journey() {
    let large = 1_i64 << 62;
    let sum = aggregate(AggregateFunction::Sum, Some(&DataType::Int64), DataType::Int64);
    let reduce = KeyedReduce::prepare(&[Field::new("k", DataType::Int64, false)], &[sum]).unwrap();
    let part = |values: [i64; 4]| {
        let mut groups = reduce.begin().unwrap();
        let keys: ArrayRef = Arc::new(Int64Array::from(vec![0, 0, 0, 1]));
        groups.update(&[keys], &[Some(Arc::new(Int64Array::from_iter_values(values)))], &[None], 4).unwrap();
        restored(&reduce, groups)
    };
    // Beyond 64 bits on the way, within them at the end; else the overflow is told when the answer is asked for.
    let mut all = part([large, large, large, i64::MAX]);
    all.merge(part([-large, -large, -large, i64::MIN])).unwrap();
    let answer = restored(&reduce, all).finish().unwrap();
    assert_eq!(answer.column(1).as_ref(), &Int64Array::from(vec![0, -1]));
    let mut all = part([large, large, large, 0]);
    all.merge(part([0; 4])).unwrap();
    let error = restored(&reduce, all).finish().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert!(error.to_string().contains("k = 0"), "{error}");
}

#[test]
fn rows_that_were_put_off_are_stored_with_the_groups() {
    let (reduce, _) = sums([]);
    let keys: Vec<i64> = (0..400_000).collect();
    let mut groups = reduce.begin().unwrap();
    for keys in keys.chunks(16_384) {
        let values = array(keys.iter().map(|&key| key as f64 / 3.0));
        let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
        let rows = keys.len();
        groups.update(&[keys], &[Some(values)], &[None], rows).unwrap();
    }
    assert!(groups.len() < keys.len(), "rows are put off");
    let mut back = reduce.restore(&groups.store().unwrap()).unwrap();
    assert_eq!(back.len(), keys.len());
    assert_eq!(back.store().unwrap(), groups.store().unwrap());
    assert_same(&back.finish().unwrap().slice(0, 2000), &groups.finish().unwrap().slice(0, 2000), "put off");
}

fn refused(reduce: &KeyedReduce, batch: &RecordBatch) -> (ErrorKind, String) {
    let error = reduce.restore(batch).unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn what_another_reduce_stored_is_refused_with_the_difference() {
    let (reduce, rows) = sums([0.5, 1.5]);
    let mut groups = reduce.begin().unwrap();
    update(&mut groups, &rows).unwrap();
    let good = groups.store().unwrap();
    let with = |columns: Vec<ArrayRef>| RecordBatch::try_new(good.schema(), columns).unwrap();
    let metadata = good.schema().metadata().clone();
    let column = |place: usize| Arc::clone(good.column(place));

    // No metadata, another format, other columns.
    let schema = Arc::new(Schema::new(good.schema().fields().clone()));
    let (kind, text) = refused(&reduce, &RecordBatch::try_new(schema, good.columns().to_vec()).unwrap());
    assert!(kind == ErrorKind::InvalidOption && text.contains("pelton.format"), "{text}");
    let mut other = metadata.clone();
    other.insert(stored::FORMAT_ENTRY.to_owned(), "999".to_owned());
    let schema = Arc::new(good.schema().as_ref().clone().with_metadata(other));
    let (kind, text) = refused(&reduce, &RecordBatch::try_new(schema, good.columns().to_vec()).unwrap());
    assert!(kind == ErrorKind::Unsupported && text.contains("format 999") && text.contains("format 1"), "{text}");
    let max = aggregate(AggregateFunction::Max, Some(&DataType::Float64), DataType::Float64);
    let other = KeyedReduce::prepare(&[Field::new("k", DataType::Int64, false)], &[max]).unwrap();
    let (kind, text) = refused(&other, &good);
    assert!(kind == ErrorKind::InvalidOption && text.contains("sum_x") && text.contains("max_x"), "{text}");
    let (kind, text) = refused(&reduce, &good.project(&[0, 1]).unwrap());
    assert!(kind == ErrorKind::InvalidOption && text.contains("columns"), "{text}");

    // A key twice, a count below zero, bytes that no total has.
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![5, 5]));
    assert_eq!(refused(&reduce, &with(vec![keys, column(1), column(2), column(3)])).0, ErrorKind::Corrupt);
    let below: ArrayRef = Arc::new(Int64Array::from(vec![1, -1]));
    assert_eq!(refused(&reduce, &with(vec![column(0), below, column(2), column(3)])).0, ErrorKind::Corrupt);
    for bytes in [&[][..], &[0, 0], &[255, 0, 0, 1], &[0, 0, 128, 1], &[0, 255, 127, 1], &[0; 400]] {
        let totals: ArrayRef = Arc::new(BinaryArray::from_iter_values([bytes, &[0, 0, 0]]));
        assert_eq!(refused(&reduce, &with(vec![column(0), column(1), column(2), totals])).0, ErrorKind::Corrupt);
    }
}

#[test]
fn a_part_of_the_stored_rows_is_a_part_of_the_groups() {
    let (reduce, rows) = sums((0..70).map(|row| f64::from(row) * 0.1));
    let mut groups = reduce.begin().unwrap();
    update(&mut groups, &rows).unwrap();
    let part = reduce.restore(&groups.store().unwrap().slice(2, 3)).unwrap().finish().unwrap();
    assert_same(&part, &groups.finish().unwrap().slice(2, 3), "three groups of seven");
    assert!(part.column(1).as_any().downcast_ref::<Float64Array>().is_some());
}

#[test]
fn nulls_that_come_late_or_only_at_first_survive_the_journey() {
    let keys = [Field::new("k", DataType::Int32, true)];
    for data_type in [DataType::Int64, DataType::UInt8, DataType::Float64, DataType::Decimal128(20, 3)] {
        let aggregates = aggregates_of(&data_type);
        for (seed, (rows, different)) in [(300, 7), (420, 150), (900, 1)].into_iter().enumerate() {
            for nulls in [0..0, 0..70, rows - 70..rows, rows / 2..rows / 2 + 1, 0..rows] {
                let batch = batch(&mut Random(900 + seed as u64), &keys, &aggregates, rows, different, false);
                let batch = with_nulls_in(batch, nulls.clone());
                check(&keys, &aggregates, &batch, &format!("{data_type}, {rows} rows, nulls in {nulls:?}"));
            }
        }
    }
}
