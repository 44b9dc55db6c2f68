//! Sorting and top-n.

use std::sync::Arc;

use arrow_schema::SortOptions;
use pelton::columnar::{ArrayRef, DataType, RecordBatch};
use pelton::kernels::cpu::sort::{Sorter, merge, sort};
use pelton::kernels::sort::reference;

use crate::random::{Random, cut, plain_types};

fn keys_of(batch: &RecordBatch) -> Vec<ArrayRef> {
    batch.columns()[..batch.num_columns() - 1].to_vec()
}

fn some_options(random: &mut Random, keys: usize) -> Vec<SortOptions> {
    let mut flip = || random.below(2) == 0;
    (0..keys).map(|_| SortOptions { descending: flip(), nulls_first: flip() }).collect()
}

/// Sorts the batch whole, in several batches, and in several partitions that are merged.
fn assert_equals_reference(random: &mut Random, batch: &RecordBatch, options: &[SortOptions], limit: Option<usize>) {
    let schema = batch.schema();
    let what = format!("{schema} {options:?} {limit:?}");
    let expected = reference(&schema, std::slice::from_ref(batch), &[keys_of(batch)], options, limit).unwrap();
    let whole = sort(&schema, std::slice::from_ref(batch), &[keys_of(batch)], options, limit).unwrap();
    assert_eq!(whole, expected, "whole: {what}");
    let parts = cut(random, batch);
    let keys: Vec<Vec<ArrayRef>> = parts.iter().map(keys_of).collect();
    assert_eq!(sort(&schema, &parts, &keys, options, limit).unwrap(), expected, "in batches: {what}");
    let runs = parts.iter().map(|part| {
        let mut sorter = Sorter::new(batch.schema(), options.to_vec(), limit);
        for batch in cut(random, part) {
            let keys = keys_of(&batch);
            sorter.push(batch, keys).unwrap();
        }
        sorter.finish().unwrap()
    });
    let runs = runs.collect();
    assert_eq!(merge(&schema, runs, options, limit).unwrap(), expected, "in partitions: {what}");
}

#[test]
fn every_key_type_sorts_as_the_reference() {
    for (seed, key) in plain_types().into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        for rows in [0, 1, 2, 63, 64, 65, 300] {
            for distinct in [2, 40] {
                let batch = random.batch(std::slice::from_ref(&key), rows, distinct, true);
                let options = some_options(&mut random, 1);
                for limit in [None, Some(0), Some(1), Some(rows / 2), Some(rows), Some(rows + 1)] {
                    assert_equals_reference(&mut random, &batch, &options, limit);
                }
            }
        }
    }
}

#[test]
fn several_keys_sort_as_the_reference() {
    let types = plain_types();
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let keys: Vec<DataType> = (0..2 + random.below(2)).map(|_| types[random.below(types.len())].clone()).collect();
        let batch = random.batch(&keys, 150, 4, true);
        let options = some_options(&mut random, keys.len());
        for limit in [None, Some(17)] {
            assert_equals_reference(&mut random, &batch, &options, limit);
        }
    }
}

#[test]
fn large_batches_sort_as_the_reference() {
    for (seed, key) in [DataType::Int64, DataType::Float64, DataType::Utf8, DataType::UInt64].into_iter().enumerate() {
        let mut random = Random::new(seed as u64);
        for (rows, distinct) in [(4095, 1), (4097, 1 << 40), (20_001, 1 << 12)] {
            let batch = random.batch(std::slice::from_ref(&key), rows, distinct, seed % 2 == 0);
            let options = some_options(&mut random, 1);
            for limit in [None, Some(100), Some(4096)] {
                assert_equals_reference(&mut random, &batch, &options, limit);
            }
        }
    }
}

#[test]
fn text_with_a_common_prefix_sorts_as_the_reference() {
    let tails: [&[&str]; 3] = [
        &["", "a", "a\0", "a\0\0", "b", "ab", "abcdefg", "abcdef\0", "\0"],
        &["", "a", "abcdefgh", "abcdefgh\0", "abcdefghi", "abcdefgi", "\u{7f}"],
        &["12345678", "12345679", "02345678", "12345678"],
    ];
    let mut random = Random::new(9);
    for tails in tails {
        let texts: Vec<String> = (0..2000).map(|_| format!("prefix/{}", tails[random.below(tails.len())])).collect();
        let texts: ArrayRef = Arc::new(arrow_array::StringArray::from(texts));
        let numbers: ArrayRef = Arc::new((0..2000).collect::<arrow_array::Int64Array>());
        let batch = RecordBatch::try_from_iter([("k", texts), ("row", numbers)]).unwrap();
        for descending in [false, true] {
            let options = [SortOptions { descending, nulls_first: false }];
            for limit in [None, Some(7)] {
                assert_equals_reference(&mut random, &batch, &options, limit);
            }
        }
    }
}

#[test]
fn without_keys_rows_stay_as_they_are() {
    let batch = Random::new(1).batch(&[], 100, 5, false);
    assert_eq!(sort(&batch.schema(), std::slice::from_ref(&batch), &[vec![]], &[], None).unwrap(), batch);
    assert_eq!(
        sort(&batch.schema(), std::slice::from_ref(&batch), &[vec![]], &[], Some(7)).unwrap(),
        batch.slice(0, 7)
    );
}

#[test]
fn nothing_to_sort_gives_an_empty_batch_of_the_schema() {
    let batch = Random::new(1).batch(&[DataType::Int64], 0, 5, false);
    let options = [SortOptions::default()];
    assert_eq!(sort(&batch.schema(), &[], &[], &options, None).unwrap(), batch);
    assert_eq!(merge(&batch.schema(), vec![], &options, Some(3)).unwrap(), batch);
}
