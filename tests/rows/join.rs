//! Joins with a static table.

use std::sync::Arc;

use pelton::columnar::{DataType, Field, RecordBatch, Schema, TimeUnit};
use pelton::error::ErrorKind;
use pelton::kernels::cpu::join::PreparedJoin;
use pelton::kernels::join::reference;
use pelton::plan::stage::{Join, JoinKind, TableId};

use crate::random::{Random, plain_types};

pub(crate) const KINDS: [JoinKind; 4] = [JoinKind::Inner, JoinKind::Left, JoinKind::Semi, JoinKind::Anti];

/// A join by the columns before the last, which adds the last column of the table.
pub(crate) fn join(kind: JoinKind, stream: &RecordBatch, table: &RecordBatch) -> Join {
    let keys: Vec<usize> = (0..table.num_columns() - 1).collect();
    let right_columns =
        if matches!(kind, JoinKind::Inner | JoinKind::Left) { vec![table.num_columns() - 1] } else { Vec::new() };
    let added = right_columns.iter().map(|_| Arc::new(Field::new("matched", DataType::Int64, true)));
    let schema = Arc::new(Schema::new(stream.schema().fields().iter().cloned().chain(added).collect::<Vec<_>>()));
    Join { table: TableId(0), kind, left_keys: keys.clone(), right_keys: keys, right_columns, schema }
}

fn assert_equals_reference(stream: &RecordBatch, table: &RecordBatch) {
    for kind in KINDS {
        let join = join(kind, stream, table);
        let prepared = PreparedJoin::prepare(&join, table).unwrap();
        let expected = reference(&join, table, stream).unwrap();
        assert_eq!(prepared.probe(stream).unwrap(), expected, "{kind:?} by {}", stream.schema());
        let (start, rows) = (stream.num_rows() / 3, stream.num_rows() / 2);
        let slice = stream.slice(start, rows);
        assert_eq!(prepared.probe(&slice).unwrap(), reference(&join, table, &slice).unwrap(), "{kind:?} of a slice");
    }
}

#[test]
fn every_key_type_joins_as_the_reference() {
    for (seed, key) in plain_types().into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        for (rows, table_rows, distinct) in [(0, 5, 9), (5, 0, 9), (65, 63, 400), (200, 64, 20), (64, 129, 3)] {
            let table = random.batch(std::slice::from_ref(&key), table_rows, distinct, true);
            let stream = random.batch(std::slice::from_ref(&key), rows, distinct, true);
            assert_equals_reference(&stream, &table);
        }
    }
}

#[test]
fn several_keys_join_as_the_reference() {
    let types = plain_types();
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let keys: Vec<DataType> = (0..2 + random.below(2)).map(|_| types[random.below(types.len())].clone()).collect();
        let table = random.batch(&keys, 90, 6, true);
        let stream = random.batch(&keys, 110, 6, true);
        assert_equals_reference(&stream, &table);
    }
}

#[test]
fn unique_tables_and_full_matches_join_as_the_reference() {
    let mut random = Random::new(7);
    for spread in [1, 3, 1 << 40] {
        let numbers: Vec<i64> = (0..500).map(|n| (n * 37 % 500 - 100) * spread).collect();
        let keys = |rows: Vec<i64>| Arc::new(arrow_array::Int64Array::from(rows)) as pelton::columnar::ArrayRef;
        let table = RecordBatch::try_from_iter([("k", keys(numbers.clone())), ("row", keys((0..500).collect()))]);
        let all: Vec<i64> = (0..1000).map(|_| numbers[random.below(500)]).collect();
        let some: Vec<i64> = all.iter().map(|key| if random.below(3) == 0 { key + 1 } else { *key }).collect();
        for rows in [all, some] {
            let stream = RecordBatch::try_from_iter([("k", keys(rows.clone())), ("row", keys(rows))]).unwrap();
            assert_equals_reference(&stream, table.as_ref().unwrap());
        }
    }
}

/// Codes are looked up by what they stand for, in whatever order dictionaries come and come again.
#[test]
fn codes_join_as_their_texts() {
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, StringArray, UInt32Array};

    let texts = |texts: Vec<Option<String>>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let numbers = |count: i64| Arc::new(Int64Array::from_iter_values(0..count)) as ArrayRef;
    let table_keys = texts((0..50).map(|n| Some(format!("key {n}"))).chain([None]).collect());
    let table = RecordBatch::try_from_iter([("k", table_keys), ("row", numbers(51))]).unwrap();
    let dictionaries: Vec<ArrayRef> = (0..20)
        .map(|shift| texts((0..40).map(|n| (n != 7).then(|| format!("key {}", (n * 3 + shift) % 90))).collect()))
        .collect();
    let codes = |dictionary: &ArrayRef, nulls: bool| {
        let codes: UInt32Array = (0..300_u32).map(|row| (!nulls || row % 11 > 0).then_some(row * 7 % 40)).collect();
        Arc::new(DictionaryArray::new(codes, Arc::clone(dictionary))) as ArrayRef
    };
    for kind in KINDS {
        let batch = |keys: ArrayRef| {
            RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("row", numbers(300), true)]).unwrap()
        };
        let plain = |keys: &ArrayRef| arrow_cast::cast(keys, &DataType::Utf8).unwrap();
        let first = codes(&dictionaries[0], true);
        let prepared = PreparedJoin::prepare(&join(kind, &batch(Arc::clone(&first)), &table), &table).unwrap();
        for (round, dictionary) in dictionaries.iter().chain(&dictionaries).chain(&dictionaries[18..]).enumerate() {
            let keys = codes(dictionary, round % 2 == 0);
            let (stream, as_texts) = (batch(Arc::clone(&keys)), batch(plain(&keys)));
            let expected = reference(&join(kind, &as_texts, &table), &table, &as_texts).unwrap();
            let found = prepared.probe(&stream).unwrap();
            assert_eq!(plain(found.column(0)).as_ref(), expected.column(0).as_ref(), "{kind:?} {round}");
            assert_eq!(found.columns()[1..], expected.columns()[1..], "{kind:?} {round}");
        }
    }
}

#[test]
fn columns_are_shared_when_all_rows_match_once() {
    let mut random = Random::new(3);
    let stream = random.batch(&[DataType::Int64], 100, 20, false);
    let numbers: arrow_array::Int64Array = (-20..20).chain([i64::MIN, i64::MAX]).collect();
    let numbers: pelton::columnar::ArrayRef = Arc::new(numbers);
    let table = RecordBatch::try_from_iter([("k", Arc::clone(&numbers)), ("row", numbers)]).unwrap();
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Semi] {
        let joined = PreparedJoin::prepare(&join(kind, &stream, &table), &table).unwrap().probe(&stream).unwrap();
        assert!(Arc::ptr_eq(joined.column(0), stream.column(0)), "{kind:?}");
    }
}

#[test]
fn text_matches_by_value_in_every_layout() {
    let layouts = [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)),
    ];
    for left in &layouts {
        for right in &layouts {
            let mut random = Random::new(11);
            assert_equals_reference(
                &random.batch(std::slice::from_ref(left), 120, 30, true),
                &random.batch(std::slice::from_ref(right), 60, 30, true),
            );
            assert_equals_reference(
                &random.batch(&[left.clone(), DataType::Int64], 120, 5, true),
                &random.batch(&[right.clone(), DataType::Int64], 60, 5, true),
            );
        }
    }
}

#[test]
fn keys_of_different_types_are_refused() {
    let mut random = Random::new(1);
    let table = random.batch(&[DataType::Timestamp(TimeUnit::Second, None)], 5, 5, false);
    let stream = random.batch(&[DataType::Timestamp(TimeUnit::Millisecond, None)], 5, 5, false);
    let prepared = PreparedJoin::prepare(&join(JoinKind::Inner, &stream, &table), &table).unwrap();
    assert_eq!(prepared.probe(&stream).unwrap_err().kind(), ErrorKind::Internal);
}
