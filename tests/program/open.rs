//! A partial that stays open: whatever the batches, threads and manner of finding groups, its answer is that of one batch.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use pelton::limits::ROWS_PER_ORDERED_CUT;
use pelton::prelude::*;

use crate::chains::{cases, rows, schema};
use crate::common::Random;

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// The answer of batches that end at these rows, given one after another.
fn pushed(program: &Program, batch: &RecordBatch, ends: &[usize]) -> RecordBatch {
    let mut partial = program.begin();
    for (from, to) in [0].iter().chain(ends).zip(ends) {
        partial.push(&batch.slice(*from, to - from)).unwrap();
    }
    partial.finish().unwrap()
}

/// Where batches of this many rows end.
fn every(step: usize, rows: usize) -> Vec<usize> {
    (step..rows).step_by(step).chain([rows]).collect()
}

/// Where batches of random lengths end, most of them short.
fn at_random(random: &mut Random, rows: usize) -> Vec<usize> {
    let mut ends = vec![0];
    while ends[ends.len() - 1] < rows {
        let most = random.pick(&[2, 100, 5_000, 40_000, 150_000]);
        ends.push(rows.min(ends[ends.len() - 1] + random.below(most)));
    }
    ends.split_off(1)
}

/// Keys of several kinds, and values whose sums hang on the order of additions; one in eleven values is null.
fn keyed(rows: usize, key: &str) -> RecordBatch {
    let word = |row: usize| (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let small = |row: usize, keys: u64| i64::try_from(word(row) % keys).unwrap();
    // Ever fewer rows bring a key that is new: each key is half as frequent as the one before.
    let skewed = |row: usize| {
        i64::from(word(row).trailing_zeros()) * 1_000 + small(row, 1 << word(row).trailing_zeros().min(16))
    };
    let keys: Vec<ArrayRef> = match key {
        "range" => vec![Arc::new((0..rows).map(|row| Some(small(row, 5_000))).collect::<Int64Array>())],
        "later range" => {
            // Keys of every other task's rows alone, and a range that grows while the rows come.
            let key = |row: usize| small(row, 500) + i64::try_from(row / 32_768 * 400).unwrap();
            vec![Arc::new((0..rows).map(|row| (row % 17 != 0).then(|| key(row))).collect::<Int64Array>())]
        }
        "sparse" => vec![Arc::new((0..rows).map(|row| Some(small(row, 400_000) * 7_919)).collect::<Int64Array>())],
        "skewed" => vec![Arc::new((0..rows).map(|row| Some(skewed(row))).collect::<Int64Array>())],
        "text" => vec![Arc::new(
            (0..rows).map(|row| (row % 13 != 0).then(|| format!("id{}", small(row, 30_000)))).collect::<StringArray>(),
        )],
        "two" => vec![
            Arc::new((0..rows).map(|row| i32::try_from(small(row, 90)).ok()).collect::<Int32Array>()),
            Arc::new((0..rows).map(|row| Some(format!("t{}", word(row) >> 9 & 255))).collect::<StringArray>()),
        ],
        _ => Vec::new(),
    };
    let float = |row: usize| {
        let size = 10_f64.powi(i32::try_from(word(row) >> 3 & 31).unwrap() - 16);
        (row % 11 != 3).then_some((word(row) >> 11) as f64 * size - size)
    };
    let names = ["k", "l"].map(str::to_owned);
    let mut columns: Vec<(String, ArrayRef, bool)> =
        names.into_iter().zip(keys).map(|(name, key)| (name, key, true)).collect();
    columns.push((
        "n".to_owned(),
        Arc::new((0..rows).map(|row| Some(small(row, 1 << 40))).collect::<Int64Array>()),
        false,
    ));
    columns.push(("x".to_owned(), Arc::new((0..rows).map(float).collect::<Float64Array>()), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

const KEYS: [&str; 7] = ["range", "later range", "sparse", "skewed", "text", "two", "none"];

/// The sums of the values of each key, in the order of first rows.
fn sums(batch: &RecordBatch, is_ordered: bool) -> Program {
    let keys = ["k", "l"].into_iter().filter(|key| batch.column_by_name(key).is_some()).map(col);
    let float = || {
        if is_ordered { [col("x").ordered_sum(), col("x").ordered_mean()] } else { [col("x").sum(), col("x").mean()] }
    };
    let others = [
        len().alias("rows"),
        col("n").sum().alias("total"),
        col("x").min().alias("least"),
        col("n").n_unique().alias("ns"),
    ];
    let [sum, mean] = float();
    let chain = Chain::new().key_by(keys).aggregate([sum.alias("sum"), mean.alias("mean")].into_iter().chain(others));
    Program::compile(&batch.schema(), &chain, Device::Auto).unwrap()
}

/// Equal to the last bit: floats are compared as they are written.
fn assert_same(found: &RecordBatch, expected: &RecordBatch, what: &str) {
    assert_eq!(found.num_rows(), expected.num_rows(), "{what}");
    for (found, expected) in found.columns().iter().zip(expected.columns()) {
        assert_eq!(found.to_data(), expected.to_data(), "{what}");
    }
}

#[test]
fn every_chain_gives_the_answer_of_one_batch() {
    let count = 90_000;
    for case in cases() {
        for (device, all) in [(Device::Auto, count), (Device::Reference, 600)] {
            let program = Program::compile(&schema(), &case.chain, device).unwrap();
            let batch = rows(0, all);
            let expected = program.run(&batch).unwrap();
            for threads in [1, 3] {
                let cuts = [every(if all == count { 4_097 } else { 65 }, all), vec![all / 3, all / 3, all]];
                for ends in cuts {
                    let found = pool(threads).install(|| pushed(&program, &batch, &ends));
                    assert_eq!(found, expected, "{} on {threads} threads", case.name);
                }
            }
        }
    }
}

#[test]
fn batches_of_one_row_and_around_words_and_tiles() {
    for key in KEYS {
        for (step, count) in
            [(1, 700), (63, 5_000), (64, 5_000), (65, 5_000), (4_095, 133_000), (4_096, 133_000), (4_097, 133_000)]
        {
            let batch = keyed(count, key);
            for is_ordered in if count < 10_000 { vec![false, true] } else { vec![false] } {
                let program = sums(&batch, is_ordered);
                let expected = program.run(&batch).unwrap();
                for threads in [1, 2] {
                    let found = pool(threads).install(|| pushed(&program, &batch, &every(step, count)));
                    assert_same(
                        &found,
                        &expected,
                        &format!("{key} by {step} on {threads} threads, ordered: {is_ordered}"),
                    );
                }
            }
        }
    }
}

/// Enough rows for places in ranges, and for rows that are put off.
#[test]
fn many_groups_in_batches_of_random_lengths() {
    let mut random = Random::new(11);
    for key in KEYS {
        let count = if key == "sparse" { 400_000 } else { 160_000 };
        let batch = keyed(count, key);
        let program = sums(&batch, false);
        let expected = pool(1).install(|| program.run(&batch)).unwrap();
        for threads in [1, 2] {
            let ends = at_random(&mut random, batch.num_rows());
            let found = pool(threads).install(|| pushed(&program, &batch, &ends));
            assert_same(&found, &expected, &format!("{key} on {threads} threads, {} batches", ends.len()));
            // And as one that goes to another machine, whose groups are in order, too.
            let stored = pool(threads).install(|| {
                let mut partial = program.begin();
                (0..4).for_each(|part| partial.push(&batch.slice(part * count / 4, count / 4)).unwrap());
                partial.into_batch().unwrap()
            });
            let back = program.partial_from_batch(&stored).unwrap().finish().unwrap();
            assert_same(&back, &expected, &format!("{key} on {threads} threads, stored"));
        }
    }
}

#[test]
fn ordered_sums_are_cut_at_the_same_rows() {
    let count = ROWS_PER_ORDERED_CUT + 212_345;
    let batch = keyed(count, "range");
    let program = sums(&batch, true);
    let expected = pool(1).install(|| program.run(&batch)).unwrap();
    let mut random = Random::new(5);
    let cut = ROWS_PER_ORDERED_CUT;
    for threads in [1, 3] {
        for ends in [every(65_536, count), vec![cut - 1, cut, cut + 1, count], at_random(&mut random, count)] {
            let found = pool(threads).install(|| pushed(&program, &batch, &ends));
            assert_same(&found, &expected, &format!("{threads} threads, {} batches", ends.len()));
        }
        // What was a partial of a batch takes in more rows of its cut.
        let found = pool(threads).install(|| {
            let mut partial = program.partial(&batch.slice(0, 1_000)).unwrap();
            partial.push(&batch.slice(1_000, cut)).unwrap();
            partial.push(&batch.slice(cut + 1_000, count - cut - 1_000)).unwrap();
            partial.finish().unwrap()
        });
        assert_same(&found, &expected, &format!("{threads} threads, begun with a batch"));
    }
}

#[test]
fn partials_that_are_open_merge_and_stay_open() {
    for key in KEYS {
        let batch = keyed(300_000, key);
        let program = sums(&batch, false);
        let expected = pool(1).install(|| program.run(&batch)).unwrap();
        for threads in [1, 2] {
            let found = pool(threads).install(|| {
                let open = |from: usize, to: usize| {
                    let mut partial = program.begin();
                    (from..to)
                        .step_by(15_000)
                        .for_each(|row| partial.push(&batch.slice(row, 15_000.min(to - row))).unwrap());
                    partial
                };
                let mut all = open(0, 140_000);
                all.merge(open(140_000, 160_000)).unwrap();
                all.merge(program.begin()).unwrap();
                all.push(&batch.slice(160_000, 80_000)).unwrap();
                all.push(&batch.slice(240_000, 1)).unwrap();
                all.merge(program.partial(&batch.slice(240_001, 20_000)).unwrap()).unwrap();
                all.push(&batch.slice(260_001, 39_999)).unwrap();
                all.finish().unwrap()
            });
            assert_same(&found, &expected, &format!("{key} on {threads} threads"));
        }
    }
}

/// Tasks that begin when more threads are there, and go on when fewer are.
#[test]
fn a_partial_moves_from_pool_to_pool() {
    for key in KEYS {
        let batch = keyed(180_000, key);
        let program = sums(&batch, false);
        let expected = program.run(&batch).unwrap();
        let mut partial = program.begin();
        for (part, threads) in [1, 4, 2, 6, 1, 3].into_iter().enumerate() {
            let half = |from: usize| batch.slice(part * 30_000 + from, 15_000);
            pool(threads).install(|| [0, 15_000].map(half).iter().for_each(|batch| partial.push(batch).unwrap()));
        }
        assert_same(&partial.finish().unwrap(), &expected, key);
    }
}

#[test]
fn a_sum_that_overflows_names_its_column_and_its_key_and_the_partial_is_over() {
    let (count, huge) = (300_000, i64::MAX / 2);
    let keys: ArrayRef = Arc::new((0..count).map(|row| Some(row % 1_000)).collect::<Int64Array>());
    // Three keys overflow; the one with the earliest row is named.
    let value = |row: i64| if [7, 650, 3].contains(&(row % 1_000)) { huge } else { 1 };
    let values: ArrayRef = Arc::new((0..count).map(|row| Some(value(row))).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter([("k", keys), ("n", values)]).unwrap();
    let chain = Chain::new().key_by([col("k")]).aggregate([col("n").sum().alias("total")]);
    let program = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap();
    for threads in [1, 2, 3] {
        let error = pool(threads).install(|| {
            let mut partial = program.begin();
            every(10_000, 300_000).iter().for_each(|end| partial.push(&batch.slice(end - 10_000, 10_000)).unwrap());
            partial.finish().unwrap_err()
        });
        assert_eq!(error.kind(), ErrorKind::Overflow);
        assert!(error.to_string().contains("\"total\" for the key k = 3 is"), "{error}");
        assert_eq!(error.to_string(), pool(threads).install(|| program.run(&batch)).unwrap_err().to_string());
    }
}

#[test]
fn a_partial_that_failed_says_so() {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200_000));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let too_large = when(col("n").is_in([60_000, 61_000, 190_000])).then(lit(i64::MAX)).otherwise(lit(0));
    let chain = Chain::new().key_by([col("n") % 7]).aggregate([(col("n") + too_large).sum().alias("total")]);
    let program = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap();
    // Rows are counted within a batch.
    let before_row = |error: &Error| error.to_string().split(" in row ").next().map(str::to_owned);
    let expected = before_row(&program.run(&batch).unwrap_err());
    for threads in [1, 2, 3] {
        pool(threads).install(|| {
            let mut partial = program.begin();
            let first = (0..20).find_map(|part| partial.push(&batch.slice(part * 10_000, 10_000)).err());
            assert_eq!(before_row(&first.unwrap()), expected);
            let errors = [partial.push(&batch).unwrap_err(), partial.merge(program.begin()).unwrap_err()];
            let mut other = program.begin();
            let errors = errors.into_iter().chain([other.merge(partial).unwrap_err()]);
            for error in errors {
                assert!(
                    error.kind() == ErrorKind::InvalidOption && error.to_string().contains("begin another one"),
                    "{error}"
                );
            }
            assert_eq!(other.finish().unwrap().num_rows(), 0, "the other one is as it was");
        });
    }
}

#[test]
fn a_batch_of_another_schema_is_refused_and_changes_nothing() {
    let batch = keyed(1_000, "range");
    let program = sums(&batch, false);
    let mut partial = program.begin();
    partial.push(&batch).unwrap();
    let error = partial.push(&keyed(10, "text")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert_same(&partial.finish().unwrap(), &program.run(&batch).unwrap(), "one batch");
}
