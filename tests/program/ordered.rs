//! Ordered sums: one fixed order of additions, whatever threads and batches there are, and the reference's bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array};
use pelton::limits::ROWS_PER_ORDERED_CUT;
use pelton::prelude::*;

/// Three cuts, the last one not whole. Sums of such values hang on the order of the additions.
const ROWS: usize = 2 * ROWS_PER_ORDERED_CUT + 12_345;

fn rows(count: usize) -> RecordBatch {
    rows_by(count, 500)
}

/// Rows of so many keys, far apart if they are many.
fn rows_by(count: usize, keys: i64) -> RecordBatch {
    let gap = if keys > 1_000 { 7_919 } else { 1 };
    let word = |row: usize| (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let keys: ArrayRef =
        Arc::new((0..count).map(|row| i64::try_from(word(row) >> 40).unwrap() % keys * gap).collect::<Int64Array>());
    let value = |row: usize| {
        let size = 10_f64.powi(i32::try_from(word(row) >> 20 & 31).unwrap() - 16);
        (row % 11 != 3).then_some((word(row) >> 11) as f64 * size - size)
    };
    let values: ArrayRef = Arc::new((0..count).map(value).collect::<Float64Array>());
    RecordBatch::try_from_iter([("k", keys), ("x", values)]).unwrap()
}

fn chain() -> Chain {
    let sums = [col("x").ordered_sum().alias("sum"), col("x").ordered_mean().alias("mean")];
    let spreads = [col("x").ordered_var(1).alias("var"), col("x").ordered_std(0).alias("std")];
    Chain::new().key_by([col("k")]).aggregate(sums.into_iter().chain(spreads))
}

/// Key by key: the bits of the sum, the mean, and what other columns of floats there are.
fn bits(answer: &RecordBatch) -> Vec<(i64, Vec<u64>)> {
    let keys = answer.column(0).as_primitive::<Int64Type>().values().iter();
    let floats =
        |row: usize| answer.columns()[1..].iter().map(move |column| column.as_primitive::<Float64Type>().value(row));
    keys.enumerate().map(|(row, &key)| (key, floats(row).map(f64::to_bits).collect())).collect()
}

/// Values, their mean, and the sum of the squared distances from it.
#[derive(Clone, Copy, Default)]
struct Spread(f64, f64, f64);

impl Spread {
    fn add(&mut self, value: f64) {
        let before = value - self.1;
        self.0 += 1.0;
        self.1 += before / self.0;
        self.2 += before * (value - self.1);
    }

    fn merge(&mut self, later: Self) {
        if self.0 == 0.0 {
            *self = later;
        } else {
            let (both, apart) = (self.0 + later.0, later.1 - self.1);
            self.1 += apart * (later.0 / both);
            self.2 = self.2 + later.2 + apart * apart * (self.0 * (later.0 / both));
            self.0 = both;
        }
    }
}

/// By the definition: row by row inside a cut, then cut by cut.
fn by_hand(batch: &RecordBatch) -> BTreeMap<i64, (f64, Spread)> {
    let keys = batch.column(0).as_primitive::<Int64Type>().values();
    let values = batch.column(1).as_primitive::<Float64Type>();
    let mut totals: BTreeMap<i64, (f64, Spread)> = BTreeMap::new();
    for from in (0..batch.num_rows()).step_by(ROWS_PER_ORDERED_CUT) {
        let mut of_cut: BTreeMap<i64, (f64, Spread)> = BTreeMap::new();
        for row in (from..batch.num_rows().min(from + ROWS_PER_ORDERED_CUT)).filter(|row| values.is_valid(*row)) {
            let slot = of_cut.entry(keys[row]).or_default();
            slot.0 += values.value(row);
            slot.1.add(values.value(row));
        }
        for (key, (sum, spread)) in of_cut {
            let slot = totals.entry(key).or_default();
            slot.0 += sum;
            slot.1.merge(spread);
        }
    }
    totals
}

#[test]
fn threads_and_batches_do_not_change_the_order_of_additions() {
    let batch = rows(ROWS);
    let program = Program::compile(&batch.schema(), &chain(), Device::Auto).unwrap();
    let expected = by_hand(&batch);
    let mut answers = Vec::new();
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        answers.push(pool.install(|| program.run(&batch)).unwrap());
        let pieces: Vec<RecordBatch> =
            [0, 7, 100_000, 1_100_000, ROWS].windows(2).map(|ends| batch.slice(ends[0], ends[1] - ends[0])).collect();
        answers.push(pool.install(|| program.run_all(&pieces)).unwrap());
    }
    for (key, found) in bits(&answers[0]) {
        let (total, Spread(count, _, squares)) = expected[&key];
        let wanted = [total, total / count, squares / (count - 1.0), (squares / count).sqrt()];
        assert_eq!(found, wanted.map(f64::to_bits), "key {key}");
    }
    assert!(answers.iter().all(|answer| bits(answer) == bits(&answers[0])));
    // The values are such that the exact sum is another one.
    let exact =
        [col("x").sum().alias("s"), col("x").mean().alias("m"), col("x").var(1).alias("v"), col("x").std(0).alias("d")];
    let exact = Chain::new().key_by([col("k")]).aggregate(exact);
    let exact = Program::compile(&batch.schema(), &exact, Device::Auto).unwrap().run(&batch).unwrap();
    let (exact, ordered) = (bits(&exact), bits(&answers[0]));
    for column in 0..4 {
        assert!(exact.iter().zip(&ordered).any(|(exact, ordered)| exact.1[column] != ordered.1[column]), "{column}");
    }
}

/// Nearly each row brings a group of its own, so that most are put off; still each cut is added up by itself.
#[test]
fn rows_that_are_put_off_are_added_up_in_their_cut() {
    let batch = rows_by(ROWS_PER_ORDERED_CUT + 300_000, 700_000);
    let program = Program::compile(&batch.schema(), &chain(), Device::Auto).unwrap();
    let expected = by_hand(&batch);
    let keys = batch.column(0).as_primitive::<Int64Type>().values().iter();
    let mut seen = std::collections::BTreeSet::new();
    let in_order: Vec<i64> = keys.copied().filter(|key| seen.insert(*key)).collect();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = bits(&pool.install(|| program.run(&batch)).unwrap());
        assert!(found.iter().map(|(key, _)| *key).eq(in_order.iter().copied()), "groups are not in order");
        for (key, found) in found {
            // Of no value, or one, there is no variance.
            if let Some(&(total, Spread(count, _, squares))) = expected.get(&key).filter(|(_, spread)| spread.0 > 1.0) {
                let wanted = [total, total / count, squares / (count - 1.0), (squares / count).sqrt()];
                assert_eq!(found, wanted.map(f64::to_bits), "key {key}");
            }
        }
    }
}

#[test]
fn the_reference_adds_in_the_same_order_and_partials_are_cuts() {
    let batch = rows(3_000);
    let cpu = Program::compile(&batch.schema(), &chain(), Device::Cpu).unwrap();
    let reference = Program::compile(&batch.schema(), &chain(), Device::Reference).unwrap();
    assert_eq!(bits(&cpu.run(&batch).unwrap()), bits(&reference.run(&batch).unwrap()));
    let in_partials = |program: &Program| {
        let mut all = program.partial(&batch.slice(0, 1_000)).unwrap();
        all.merge(program.partial(&batch.slice(1_000, 900)).unwrap()).unwrap();
        let stored = program.partial(&batch.slice(1_900, 1_100)).unwrap().into_batch().unwrap();
        all.merge(program.partial_from_batch(&stored).unwrap()).unwrap();
        bits(&all.finish().unwrap())
    };
    assert_eq!(in_partials(&cpu), in_partials(&reference));
}

#[test]
fn nulls_zeros_and_what_is_not_finite() {
    let column = |values: Vec<Option<f64>>| -> RecordBatch {
        let values: ArrayRef = Arc::new(Float64Array::from(values));
        RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
    };
    let chain = Chain::new().aggregate([col("x").ordered_sum().alias("sum")]);
    for (values, sum) in [
        (vec![], None),
        (vec![None], None),
        (vec![Some(-0.0), None], Some(0.0)),
        (vec![Some(1e16), Some(1.0), Some(1.0)], Some(1e16)),
        (vec![Some(f64::INFINITY), Some(1.0)], Some(f64::INFINITY)),
        (vec![Some(f64::MAX), Some(f64::MAX), Some(f64::MIN)], Some(f64::INFINITY)),
        (vec![Some(f64::INFINITY), Some(f64::NEG_INFINITY)], Some(f64::NAN)),
        (vec![Some(-f64::NAN)], Some(f64::NAN)),
    ] {
        let batch = column(values.clone());
        for device in [Device::Cpu, Device::Reference] {
            let answer = Program::compile(&batch.schema(), &chain, device).unwrap().run(&batch).unwrap();
            let answer = answer.column(0).as_primitive::<Float64Type>();
            let found = answer.is_valid(0).then(|| answer.value(0).to_bits());
            assert_eq!(found, sum.map(f64::to_bits), "{values:?}");
        }
    }
}

#[test]
fn whole_numbers_need_no_order() {
    let batch = rows(1);
    let chain = Chain::new().aggregate([col("k").ordered_sum()]);
    let error = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap_err().to_string();
    assert!(error.contains("ordered_sum takes floats") && error.contains("use sum, mean"), "{error}");
}

#[test]
fn variances_of_few_values_and_of_what_is_not_finite() {
    let column = |values: Vec<Option<f64>>| -> RecordBatch {
        let values: ArrayRef = Arc::new(Float64Array::from(values));
        RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
    };
    let chain = Chain::new().aggregate([col("x").ordered_var(1).alias("var"), col("x").ordered_std(0).alias("std")]);
    for (values, expected) in [
        (vec![], [None, None]),
        (vec![None, Some(5.0)], [None, Some(0.0)]),
        (vec![Some(1.0), None, Some(3.0)], [Some(2.0), Some(1.0)]),
        (vec![Some(1e300), Some(-1e300)], [Some(f64::INFINITY), Some(f64::INFINITY)]),
        (vec![Some(f64::INFINITY), Some(1.0)], [Some(f64::NAN), Some(f64::NAN)]),
        (vec![Some(-f64::NAN), Some(1.0)], [Some(f64::NAN), Some(f64::NAN)]),
    ] {
        let batch = column(values.clone());
        for device in [Device::Cpu, Device::Reference] {
            let answer = Program::compile(&batch.schema(), &chain, device).unwrap().run(&batch).unwrap();
            let found = [0, 1].map(|place| {
                let column = answer.column(place).as_primitive::<Float64Type>();
                column.is_valid(0).then(|| column.value(0).to_bits())
            });
            assert_eq!(found, expected.map(|value| value.map(f64::to_bits)), "{values:?}");
        }
    }
}

/// Sums alone are handed over from cut to cut by tasks that keep their groups: places in a range, and keys in a table.
#[test]
fn sums_that_are_handed_over_are_those_by_hand() {
    let chain = Chain::new().key_by([col("k")]).aggregate([
        col("x").ordered_sum().alias("sum"),
        col("x").ordered_mean().alias("mean"),
        col("x").min().alias("least"),
        len().alias("rows"),
    ]);
    for (keys, gap) in [(700, 1), (90_000, 7_919)] {
        let batch = rows_by(ROWS, keys);
        let program = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap();
        let expected = by_hand(&batch);
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let answer = pool.install(|| program.run(&batch)).unwrap();
            let column = |place: usize| answer.column(place).as_primitive::<Float64Type>();
            let (keys, rows) =
                (answer.column(0).as_primitive::<Int64Type>(), answer.column(4).as_primitive::<Int64Type>());
            assert_eq!(rows.values().iter().sum::<i64>(), i64::try_from(ROWS).unwrap());
            let mut seen = std::collections::BTreeSet::new();
            let all = batch.column(0).as_primitive::<Int64Type>().values().iter();
            assert!(keys.values().iter().eq(all.filter(|key| seen.insert(**key))), "gap {gap}: not in order");
            for (row, key) in keys.values().iter().enumerate() {
                let Some((total, Spread(count, ..))) = expected.get(key) else {
                    assert!(column(1).is_null(row));
                    continue;
                };
                let found = [column(1), column(2)].map(|column| column.value(row).to_bits());
                assert_eq!(found, [*total, total / count].map(f64::to_bits), "key {key}, {threads} threads");
            }
        }
    }
}

/// Floats are added beside whole numbers in one loop, which ends where these become larger than those before.
#[test]
fn floats_beside_whole_numbers_that_grow_are_added_once_and_in_order() {
    let count = ROWS_PER_ORDERED_CUT + 54_321;
    let number = |row: usize| i64::try_from(row).unwrap();
    let whole = |row: usize| match row % 30_011 {
        7 => i64::MAX / 1_000_000 - number(row),
        8 => i64::MIN / 1_000_000,
        _ => number(row) % 1_000 - 500,
    };
    let float = |row: usize| (row as f64 * 0.1 - 1e4) * 10_f64.powi(i32::try_from(row % 23).unwrap() - 11);
    let column = |of: &dyn Fn(usize) -> i64| -> ArrayRef { Arc::new((0..count).map(of).collect::<Int64Array>()) };
    let floats: ArrayRef = Arc::new((0..count).map(float).map(Some).collect::<Float64Array>());
    let key = |row: usize| number(row) * 40_503 % 97;
    let batch = RecordBatch::try_from_iter([("k", column(&key)), ("x", floats), ("n", column(&whole))]).unwrap();
    let by_hand = by_hand(&batch);
    let chain = Chain::new().key_by([col("k")]).aggregate([
        col("n").sum().alias("total"),
        col("x").ordered_sum().alias("sum"),
        len().alias("rows"),
    ]);
    let program = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap();
    let batches = [&[batch.clone()][..], &[batch.slice(0, 1_000), batch.slice(1_000, count - 1_000)]];
    for (threads, batches) in [1, 2, 5].into_iter().flat_map(|threads| batches.map(|batches| (threads, batches))) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let answer = pool.install(|| program.run_all(batches)).unwrap();
        let whole_column = |place: usize| answer.column(place).as_primitive::<Int64Type>().values().to_vec();
        let (keys, totals, rows) = (whole_column(0), whole_column(1), whole_column(3));
        let sums = answer.column(2).as_primitive::<Float64Type>();
        assert_eq!(keys.len(), 97);
        for (place, wanted) in keys.iter().enumerate() {
            let of_key = || (0..count).filter(|row| key(*row) == *wanted);
            assert_eq!(totals[place], of_key().map(whole).sum::<i64>(), "{threads} threads");
            assert_eq!(rows[place], i64::try_from(of_key().count()).unwrap());
            assert_eq!(sums.value(place).to_bits(), by_hand[wanted].0.to_bits(), "{threads} threads");
        }
    }
}

/// Threads are at several cuts; of errors in some of them the first one is told, whichever thread was first.
#[test]
fn of_errors_in_several_cuts_the_first_is_told() {
    let rows = 4 * ROWS_PER_ORDERED_CUT;
    let bad = [ROWS_PER_ORDERED_CUT + 1_000_000, 2 * ROWS_PER_ORDERED_CUT + 5, 3 * ROWS_PER_ORDERED_CUT + 5];
    let mut keys = vec![1; rows];
    bad.iter().zip(101..).for_each(|(row, key)| keys[*row] = key);
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![0.5; rows]));
    let batch = RecordBatch::try_from_iter([("k", keys), ("x", values)]).unwrap();
    let checked = |batch: &RecordBatch| -> Result<RecordBatch> {
        let keys = batch.column(0).as_primitive::<Int64Type>().values();
        match keys.iter().find(|key| **key > 100) {
            Some(103..) => panic!("no such key"),
            Some(key) => Err(Error::invalid_query(format!("key {key} is too large"))),
            None => Ok(batch.clone()),
        }
    };
    let chain = Chain::new()
        .map_batches(batch.schema(), checked)
        .key_by([col("k")])
        .aggregate([col("x").ordered_sum().alias("sum")]);
    let program = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for _ in 0..3 {
            let error = pool.install(|| program.run(&batch)).unwrap_err().to_string();
            assert!(error.contains("key 101 is too large"), "{threads} threads: {error}");
        }
    }
}
