//! The fast kernel and the reference give the same answers.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, UInt64Array};
use pelton::columnar::{DataType, Field};
use pelton::error::ErrorKind;
use pelton::expr::{AggregateFunction, TypedAggregate, TypedNode};
use pelton::kernels::cpu::reduce::KeyedReduce;
use pelton::kernels::reduce::{ReduceInput, reference};

use crate::data::{
    Random, aggregate, aggregates_of, assert_same, batch, fast, filtered, plain_types, update, with_nulls_in,
};

fn check(keys: &[Field], aggregates: &[TypedAggregate], batch: &ReduceInput, what: &str) {
    let reduce = KeyedReduce::prepare(keys, aggregates).unwrap();
    let slow = reference(keys, aggregates, std::slice::from_ref(batch));
    for (rows, partitions) in [(batch.rows.max(1), 1), (64, 1), (200, 3), (7, 4)] {
        let what = format!("{what}, batches of {rows}, {partitions} partitions");
        match (fast(&reduce, batch, rows, partitions), &slow) {
            (Ok(fast), Ok(slow)) => assert_same(&fast, slow, &what),
            (Err(fast), Err(slow)) => assert_eq!(fast.to_string(), slow.to_string(), "{what}"),
            (fast, slow) => panic!("{what}: {fast:?} but {slow:?}"),
        }
    }
}

#[test]
fn every_key_type_gives_the_groups_of_the_reference() {
    for data_type in plain_types() {
        let keys = [Field::new("k", data_type.clone(), true)];
        let aggregates = [aggregate(AggregateFunction::Len, None, DataType::Int64)];
        for (seed, rows) in [0, 1, 63, 64, 65, 500].into_iter().enumerate() {
            for has_nulls in [false, true] {
                let mut random = Random(seed as u64);
                let batch = batch(&mut random, &keys, &aggregates, rows, 200, has_nulls);
                check(&keys, &aggregates, &batch, &format!("{data_type}, {rows} rows"));
            }
        }
    }
}

#[test]
fn every_aggregate_of_every_type_gives_the_values_of_the_reference() {
    for data_type in plain_types() {
        for (seed, (rows, different)) in [(0, 1), (1, 1), (65, 3), (300, 20), (200, 150)].into_iter().enumerate() {
            let keys = [Field::new("k", DataType::Int32, true)];
            // One at a time, so that an overflow of one does not hide the others.
            for aggregate in aggregates_of(&data_type) {
                let second = TypedAggregate { name: "filtered".to_owned(), ..aggregate.clone() };
                let aggregates = filtered(vec![aggregate, second]);
                for has_nulls in [false, true] {
                    let mut random = Random(100 + seed as u64);
                    let batch = batch(&mut random, &keys, &aggregates, rows, different, has_nulls);
                    let what = format!("{:?} of {data_type}, {rows} rows", aggregates[0].function);
                    check(&keys, &aggregates, &batch, &what);
                    let no_keys = ReduceInput { keys: Vec::new(), ..batch };
                    check(&[], &aggregates, &no_keys, &format!("{what}, no keys"));
                }
            }
        }
    }
}

#[test]
fn several_keys_give_the_groups_of_the_reference() {
    let types = plain_types();
    for seed in 0..40 {
        let mut random = Random(seed);
        let keys: Vec<Field> = (0..2 + seed % 3)
            .map(|place| {
                let data_type = types[random.below(types.len() as u64) as usize].clone();
                Field::new(format!("k{place}"), data_type, true)
            })
            .collect();
        let aggregates = filtered(aggregates_of(&DataType::Int16));
        let batch = batch(&mut random, &keys, &aggregates, 600, 12, seed % 2 == 0);
        check(&keys, &aggregates, &batch, &format!("{keys:?}"));
    }
}

#[test]
fn keys_that_rise_fall_and_jump_keep_their_ids_while_their_table_moves() {
    let rise = |row: i64| row * 3;
    let fall = |row: i64| -row * 50;
    let jump = |row: i64| if row == 2500 { i64::MAX } else { row % 700 - 350 };
    let back = |row: i64| if row < 1500 { i64::MIN + row } else { i64::MAX - row };
    for (name, key) in [("rise", rise as fn(i64) -> i64), ("fall", fall), ("jump", jump), ("back", back)] {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..3000).map(key)));
        let batch = ReduceInput { keys: vec![column], inputs: vec![None], filters: vec![None], rows: 3000 };
        let aggregates = [aggregate(AggregateFunction::Len, None, DataType::Int64)];
        check(&[Field::new("k", DataType::Int64, false)], &aggregates, &batch, name);
    }
}

#[test]
fn many_groups_are_merged_on_many_threads_in_order_of_first_appearance() {
    let mut random = Random(5);
    let rows = 120_000_usize;
    let keys: Vec<i64> = (0..rows).map(|_| random.below(90_000) as i64 * 1_000_003).collect();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().map(|key| format!("key {key}"))));
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
    let aggregates = aggregates_of(&DataType::Int64);
    let inputs = aggregates.iter().map(|a| a.input.as_ref().map(|_| Arc::clone(&values))).collect();
    let filters = vec![None; aggregates.len()];
    let batch = ReduceInput { keys: vec![keys, texts], inputs, filters, rows };
    let fields = [Field::new("k", DataType::Int64, false), Field::new("t", DataType::Utf8, false)];
    let reduce = KeyedReduce::prepare(&fields, &aggregates).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let dealt = pool.install(|| fast(&reduce, &batch, 10_000, 4)).unwrap();
    let whole = fast(&reduce, &batch, rows, 1).unwrap();
    assert!(whole.num_rows() > 60_000);
    assert_eq!(dealt, whole);
}

#[test]
fn values_that_turn_out_larger_than_those_before_them_are_summed_all_the_same() {
    let (count, rows) = (6000_usize, 6000_i64);
    let odd_floats = [1e300, f64::NAN, -1e-300, f64::NEG_INFINITY, 1e17, 5e-324];
    let odd_wholes = [1 << 20, -(1 << 39), 1 << 41, i64::MAX, i64::MIN, 1 << 62];
    for every in [701, 97, 3] {
        for odd in 0..odd_floats.len() {
            let is_odd = |row: &i64| *row > 1000 && row % every == 0;
            let plain = |row: i64| (row * 7919 % 100_003 - 50_000) as f64 / 8.0;
            let float = |row| if is_odd(&row) { odd_floats[odd] } else { plain(row) };
            let whole = |row| if is_odd(&row) && row % 2 == 0 { odd_wholes[odd] } else { row * 31 % 1013 - 500 };
            let array = |other: i64| -> ArrayRef {
                Arc::new(Float64Array::from_iter_values((0..rows).map(|row| float(row * other % rows))))
            };
            let wholes: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(whole)));
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * row % 23)));
            let of = |function, data_type: &DataType, column: usize| {
                let mut one = aggregate(function, Some(data_type), DataType::Float64);
                one.name = format!("of {column}");
                let node = TypedNode::Column(column, one.name.clone());
                one.input.iter_mut().for_each(|input| input.node = node.clone());
                one
            };
            // The mean of whole numbers is exact, too, and cannot overflow.
            let aggregates = [
                of(AggregateFunction::Mean, &DataType::Int64, 0),
                of(AggregateFunction::Mean, &DataType::Float64, 1),
                of(AggregateFunction::Sum, &DataType::Float64, 2),
                aggregate(AggregateFunction::Len, None, DataType::Int64),
            ];
            let inputs = vec![Some(wholes), Some(array(1)), Some(array(7)), None];
            let filters = vec![None; aggregates.len()];
            let batch = ReduceInput { keys: vec![keys], inputs, filters, rows: count };
            check(&[Field::new("k", DataType::Int64, false)], &aggregates, &batch, &format!("{every}, {odd}"));
        }
    }
}

#[test]
fn sizes_around_powers_of_two_lose_no_row() {
    for rows in [4095_usize, 4096, 4097, 65_535, 65_536, 65_537] {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| row % 65_536 * 7)));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let aggregates = [aggregate(AggregateFunction::Sum, Some(&DataType::Int64), DataType::Int64)];
        let fields = [Field::new("k", DataType::Int64, false)];
        let batch = ReduceInput { keys: vec![keys], inputs: vec![Some(values)], filters: vec![None], rows };
        let reduce = KeyedReduce::prepare(&fields, &aggregates).unwrap();
        for cut in [rows, 4096, 16_384] {
            let answer = fast(&reduce, &batch, cut, 2).unwrap();
            assert_eq!(answer.num_rows(), rows.min(65_536));
            let sums = answer.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
            let total: i64 = sums.values().iter().sum();
            assert_eq!(total, (0..rows as i64).sum::<i64>());
        }
    }
}

fn overflow(values: ArrayRef, result: DataType) -> pelton::error::Error {
    let rows = values.len();
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| ["Oslo", "Rome"][row % 2])));
    let aggregates = [aggregate(AggregateFunction::Sum, Some(values.data_type()), result)];
    let fields = [Field::new("city", DataType::Utf8, false)];
    let batch = ReduceInput { keys: vec![keys], inputs: vec![Some(values)], filters: vec![None], rows };
    let slow = reference(&fields, &aggregates, std::slice::from_ref(&batch)).unwrap_err();
    let fast = fast(&KeyedReduce::prepare(&fields, &aggregates).unwrap(), &batch, 2, 2).unwrap_err();
    assert_eq!(fast.to_string(), slow.to_string());
    fast
}

#[test]
fn a_sum_out_of_range_is_an_error_that_names_column_and_key() {
    let error = overflow(Arc::new(Int64Array::from(vec![1, i64::MAX, 2, 1])), DataType::Int64);
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert_eq!(error.place().column.as_deref(), Some("sum_x"));
    assert!(error.to_string().contains("city = Rome"), "{error}");
    assert!(error.to_string().contains("9223372036854775808"), "{error}");
    overflow(Arc::new(UInt64Array::from(vec![u64::MAX, 1, 1, 1])), DataType::UInt64);
    let most = 10_i128.pow(38) - 1;
    let decimals = Decimal128Array::from(vec![most, 0, 1, 0]).with_precision_and_scale(38, 2).unwrap();
    overflow(Arc::new(decimals), DataType::Decimal128(38, 2));
}

#[test]
fn a_sum_may_leave_its_range_on_the_way() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, i64::MIN, i64::MIN, 2]));
    let aggregates = [aggregate(AggregateFunction::Sum, Some(&DataType::Int64), DataType::Int64)];
    let batch = ReduceInput { keys: vec![], inputs: vec![Some(values)], filters: vec![None], rows: 5 };
    let answer = fast(&KeyedReduce::prepare(&[], &aggregates).unwrap(), &batch, 1, 5).unwrap();
    assert_eq!(answer.column(0).as_ref(), &Int64Array::from(vec![0]));
}

#[test]
fn without_keys_there_is_one_group_even_without_rows() {
    let aggregates = aggregates_of(&DataType::Float64);
    let answer = KeyedReduce::prepare(&[], &aggregates).unwrap().begin().unwrap().finish().unwrap();
    let slow = reference(&[], &aggregates, &[]).unwrap();
    assert_same(&answer, &slow, "no rows");
    assert_eq!(answer.num_rows(), 1);
}

#[test]
fn partitions_without_rows_change_nothing() {
    let aggregates = filtered(aggregates_of(&DataType::Int32));
    for keys in [vec![], vec![Field::new("k", DataType::Utf8, true)]] {
        let reduce = KeyedReduce::prepare(&keys, &aggregates).unwrap();
        let full = batch(&mut Random(3), &keys, &aggregates, 50, 5, true);
        let mut middle = reduce.begin().unwrap();
        update(&mut middle, &full).unwrap();
        let partials = vec![reduce.begin().unwrap(), middle, reduce.begin().unwrap()];
        let answer = reduce.finish_all(partials).unwrap();
        assert_same(&answer, &reference(&keys, &aggregates, &[full]).unwrap(), "empty partitions");
    }
}

#[test]
fn prepared_reduces_and_groups_may_go_to_other_threads() {
    fn is_send<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    is_send::<pelton::kernels::cpu::reduce::Groups>();
    is_shared::<KeyedReduce>();
}

#[test]
fn partitions_whose_ranges_are_full_are_merged_as_they_are() {
    let mut random = Random(12);
    let aggregates = vec![
        aggregate(AggregateFunction::Sum, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::Max, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::Last, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::Variance(1), Some(&DataType::Float64), DataType::Float64),
    ];
    let keys = [Field::new("k", DataType::Int32, false)];
    let reduce = KeyedReduce::prepare(&keys, &aggregates).unwrap();
    // Each key often enough that every partition finds its range full and renumbers; then one that leaves the range.
    for (rows, beyond) in [(600_000, None), (600_000, Some(599_999)), (600_000, Some(150_000))] {
        let mut batch = batch(&mut random, &keys, &aggregates, rows, 5, true);
        let key = |row: usize| if Some(row) == beyond { 5_000 } else { (row * 7_919 % 1_000) as i32 - 500 };
        batch.keys = vec![Arc::new((0..rows).map(key).collect::<arrow_array::Int32Array>())];
        let plain = fast(&reduce, &batch, rows, 1).unwrap();
        for partitions in [1, 2, 3] {
            let cut = fast(&reduce, &batch, 16_384, partitions).unwrap();
            assert_same(&cut, &plain, &format!("{partitions} partitions, beyond {beyond:?}"));
        }
    }
}

/// Integer keys of which a good part of the range appears, some of them often, the others seldom or never.
fn skewed(random: &mut Random, rows: usize) -> Vec<Option<i64>> {
    let mut share = || (random.next() >> 11) as f64 / (1_u64 << 53) as f64;
    (0..rows).map(|_| Some((share().powi(3) * 2_000.0) as i64 * 2 - 700)).collect()
}

#[test]
fn ranges_with_holes_give_the_groups_of_a_single_batch() {
    let mut random = Random(13);
    let aggregates = filtered(vec![
        aggregate(AggregateFunction::Sum, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::Max, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::First, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::Last, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::NUnique, Some(&DataType::Float64), DataType::Int64),
        aggregate(AggregateFunction::Variance(1), Some(&DataType::Float64), DataType::Float64),
    ]);
    let keys = [Field::new("k", DataType::Int64, true)];
    let reduce = KeyedReduce::prepare(&keys, &aggregates).unwrap();
    // Enough for each of three partitions to give its ids up for places.
    let rows = 450_000;
    let mut batch = batch(&mut random, &keys, &aggregates, rows, 5, true);
    let known = skewed(&mut random, rows);
    // What comes late: nothing new, a hole, beyond and below the keys before, far away, a null, and keys of another kind.
    let late: [&[Option<i64>]; 7] = [
        &[],
        &[Some(-699), Some(1), Some(-699)],
        &[Some(3_301), Some(3_309), Some(3_400)],
        &[Some(-701), Some(-720)],
        &[Some(1 << 40), Some(i64::MIN)],
        &[None, Some(3), None],
        &[Some(7), Some(1 << 50), None, Some(-5)],
    ];
    for (late, at) in late.into_iter().flat_map(|late| [(late, 140_000), (late, 440_000)]) {
        let mut numbers = known.clone();
        numbers.iter_mut().skip(at).step_by(17).zip(late).for_each(|(key, late)| *key = *late);
        batch.keys = vec![Arc::new(numbers.into_iter().collect::<Int64Array>())];
        let plain = fast(&reduce, &batch, rows, 1).unwrap();
        for partitions in [1, 3] {
            let cut = fast(&reduce, &batch, 16_384, partitions).unwrap();
            assert_same(&cut, &plain, &format!("{partitions} partitions, {late:?} from row {at}"));
        }
    }
}

#[test]
fn a_partition_may_have_other_keys_than_those_with_the_same_places() {
    let mut random = Random(14);
    let aggregates = [aggregate(AggregateFunction::Sum, Some(&DataType::Float64), DataType::Float64)];
    let keys = [Field::new("k", DataType::Int64, false)];
    let reduce = KeyedReduce::prepare(&keys, &aggregates).unwrap();
    let rows = 600_000;
    let mut batch = batch(&mut random, &keys, &aggregates, rows, 5, true);
    // In three partitions: the other keys are those of the first, the second, the third.
    for other in 0..3 {
        let mut numbers = skewed(&mut random, rows);
        let part = &mut numbers[other * 200_000..(other + 1) * 200_000];
        part.iter_mut().enumerate().for_each(|(row, key)| *key = Some(row as i64 * 7_919 % 65_537 * 1_000_003));
        batch.keys = vec![Arc::new(numbers.into_iter().collect::<Int64Array>())];
        let plain = fast(&reduce, &batch, rows, 1).unwrap();
        for partitions in [1, 2, 3] {
            assert_same(&fast(&reduce, &batch, 16_384, partitions).unwrap(), &plain, &format!("{other}, {partitions}"));
        }
    }
}

#[test]
fn a_sum_out_of_range_names_its_key_where_ids_are_places_with_holes() {
    let mut random = Random(15);
    let aggregates = [aggregate(AggregateFunction::Sum, Some(&DataType::Int64), DataType::Int64)];
    let keys = [Field::new("k", DataType::Int64, false)];
    let reduce = KeyedReduce::prepare(&keys, &aggregates).unwrap();
    let rows = 300_000;
    let mut batch = batch(&mut random, &keys, &aggregates, rows, 5, false);
    let mut numbers = skewed(&mut random, rows);
    let mut values = vec![1_i64; rows];
    for row in [200_000, 290_000] {
        (numbers[row], values[row]) = (Some(-699), i64::MAX);
    }
    batch.keys = vec![Arc::new(numbers.into_iter().collect::<Int64Array>())];
    batch.inputs = vec![Some(Arc::new(Int64Array::from(values)))];
    for partitions in [1, 2, 3] {
        let error = fast(&reduce, &batch, 16_384, partitions).unwrap_err();
        assert!(error.to_string().contains("-699"), "{error}");
    }
}

#[test]
fn rows_put_off_for_their_many_groups_give_the_same_groups() {
    let mut random = Random(11);
    let rows = 190_000;
    let aggregates = filtered(vec![
        aggregate(AggregateFunction::Sum, Some(&DataType::Float64), DataType::Float64),
        aggregate(AggregateFunction::Count, Some(&DataType::Float64), DataType::Int64),
        aggregate(AggregateFunction::First, Some(&DataType::Float64), DataType::Float64),
    ]);
    for data_type in [DataType::Int64, DataType::Utf8] {
        let keys = [Field::new("k", data_type.clone(), true)];
        let mut batch = batch(&mut random, &keys, &aggregates, rows, 5, true);
        // Nearly each row has a key of its own, and some come again after a hundred thousand others.
        let numbers = (0..rows as i64).map(|row| (row % 1000 != 7).then_some((row % 170_000) * 7919_i64.pow(3)));
        let numbers: ArrayRef = Arc::new(numbers.collect::<Int64Array>());
        batch.keys = vec![arrow_cast::cast(&numbers, &data_type).unwrap()];
        let reduce = KeyedReduce::prepare(&keys, &aggregates).unwrap();
        // In a single batch nothing is put off.
        let plain = fast(&reduce, &batch, rows, 1).unwrap();
        for partitions in [1, 2] {
            assert_eq!(fast(&reduce, &batch, 8192, partitions).unwrap(), plain, "{data_type}, {partitions} partitions");
        }
    }
}

/// Lanes for rows that do not count are made when the first of these come, which may be in any batch and partition.
#[test]
fn nulls_that_come_late_or_only_at_first_leave_the_answer_as_it_is() {
    let keys = [Field::new("k", DataType::Int32, true)];
    for data_type in [DataType::Int64, DataType::UInt8, DataType::Float64, DataType::Decimal128(20, 3)] {
        let aggregates = aggregates_of(&data_type);
        for (seed, (rows, different)) in [(300, 7), (420, 150), (900, 1)].into_iter().enumerate() {
            for nulls in [0..0, 0..70, rows - 70..rows, rows / 2..rows / 2 + 1, 0..rows] {
                let batch = batch(&mut Random(900 + seed as u64), &keys, &aggregates, rows, different, false);
                let batch = with_nulls_in(batch, nulls.clone());
                let what = format!("{data_type}, {rows} rows, nulls in {nulls:?}");
                check(&keys, &aggregates, &batch, &what);
                check(&[], &aggregates, &ReduceInput { keys: Vec::new(), ..batch }, &what);
            }
        }
    }
}
