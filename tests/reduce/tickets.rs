//! Ways to an id that only many rows reach: ranges of integers that become their own ids, and texts whose lengths cross
//! the borders between the tables. The oracle is a map of the test's own: the slow reference takes too long here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};
use pelton::columnar::{DataType, Field, RecordBatch};
use pelton::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};
use pelton::kernels::cpu::reduce::{Groups, KeyedReduce};

fn aggregate(function: AggregateFunction, nullable: bool) -> TypedAggregate {
    let node = TypedNode::Column(1, "v".to_owned());
    let input = Some(TypedExpr { node, data_type: DataType::Int64, nullable });
    TypedAggregate { name: function.name().to_owned(), function, input, filter: None, data_type: DataType::Int64 }
}

/// By key: the sum, the first and the last value, how many different ones.
fn reduce(key: DataType) -> KeyedReduce {
    use AggregateFunction::{First, Last, NUnique, Sum};
    let aggregates = [Sum, First, Last, NUnique].map(|function| aggregate(function, true));
    KeyedReduce::prepare(&[Field::new("k", key, true)], &aggregates).unwrap()
}

fn push(groups: &mut Groups, keys: &ArrayRef, values: &[i64]) {
    let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let inputs = vec![Some(values); 4];
    groups.update(&[Arc::clone(keys)], &inputs, &vec![None; 4], keys.len()).unwrap();
}

/// Sum, first, last, and the different values of a key.
type Expected = (i64, i64, i64, std::collections::BTreeSet<i64>);

/// Checks an answer against a map, the order of first appearance included.
fn check<K: Ord + Clone + std::fmt::Debug>(answer: &RecordBatch, keys: &[K], rows: &[(K, i64)]) {
    let mut order = Vec::new();
    let mut expected: BTreeMap<K, Expected> = BTreeMap::new();
    for (key, value) in rows {
        let entry = expected.entry(key.clone()).or_insert_with(|| {
            order.push(key.clone());
            (0, *value, *value, std::collections::BTreeSet::new())
        });
        (entry.0, entry.2) = (entry.0 + value, *value);
        entry.3.insert(*value);
    }
    assert_eq!(keys, order);
    let column = |place: usize| answer.column(place).as_primitive::<Int64Type>().values().to_vec();
    let (sums, firsts, lasts, counts) = (column(1), column(2), column(3), column(4));
    for (row, key) in order.iter().enumerate() {
        let (sum, first, last, different) = &expected[key];
        let found = (sums[row], firsts[row], lasts[row], counts[row]);
        assert_eq!(found, (*sum, *first, *last, different.len() as i64), "key {key:?}");
    }
}

/// Numbers without a pattern.
fn mixed(row: usize) -> usize {
    let mixed = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as usize
}

fn integers(answer: &RecordBatch) -> Vec<Option<i32>> {
    answer.column(0).as_primitive::<arrow_array::types::Int32Type>().iter().collect()
}

/// Rows of keys from -50 to 49; from `odd` on some are null, lie just beyond the range, or far from it.
fn rows(count: usize, odd: usize) -> Vec<(Option<i32>, i64)> {
    let key = |row: usize| match mixed(row) % 1000 {
        7 if row >= odd => None,
        8 if row >= odd => Some(50),
        9 if row >= odd => Some(-51),
        10 if row >= odd => Some(i32::MAX),
        other => Some((other % 100) as i32 - 50),
    };
    (0..count).map(|row| (key(row), (row % 5) as i64 - 2)).collect()
}

fn run(reduce: &KeyedReduce, rows: &[(Option<i32>, i64)]) -> Groups {
    let mut groups = reduce.begin().unwrap();
    for tile in rows.chunks(16_384) {
        let keys: ArrayRef = Arc::new(tile.iter().map(|(key, _)| *key).collect::<Int32Array>());
        push(&mut groups, &keys, &tile.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    }
    groups
}

#[test]
fn a_full_range_of_integers_keeps_the_order_of_first_appearance() {
    let rows = rows(200_000, usize::MAX);
    let answer = run(&reduce(DataType::Int32), &rows).finish().unwrap();
    check(&answer, &integers(&answer), &rows);
}

#[test]
fn keys_beyond_a_full_range_and_nulls_get_ids_of_their_own() {
    for odd in [131_072, 150_000, 199_990] {
        let rows = rows(200_000, odd);
        let answer = run(&reduce(DataType::Int32), &rows).finish().unwrap();
        check(&answer, &integers(&answer), &rows);
    }
}

#[test]
fn partitions_with_full_ranges_are_merged_in_their_order() {
    let reduce = reduce(DataType::Int32);
    let rows = rows(600_000, 500_000);
    let parts: Vec<Groups> = rows.chunks(200_000).map(|part| run(&reduce, part)).collect();
    let answer = reduce.finish_all(parts).unwrap();
    check(&answer, &integers(&answer), &rows);
    let mut merged = run(&reduce, &rows[..200_000]);
    merged.merge(run(&reduce, &rows[200_000..])).unwrap();
    let answer = merged.finish().unwrap();
    check(&answer, &integers(&answer), &rows);
}

#[test]
fn a_full_range_is_stored_in_the_order_of_first_appearance() {
    let reduce = reduce(DataType::Int32);
    let rows = rows(200_000, 180_000);
    let stored = run(&reduce, &rows).store().unwrap();
    let answer = reduce.restore(&stored).unwrap().finish().unwrap();
    check(&answer, &integers(&answer), &rows);
}

/// Rows of 40,000 keys of which most appear late or never, and values of which some are far too large for a lane.
fn rare_keys(count: usize) -> Vec<(i32, i64, f64)> {
    let key = |row: usize| {
        let part = (mixed(row) % 1_000_003) as u64;
        (part * part * part / 25_000_000_000_000) as i32 * 7919 % 40_009
    };
    let value = |row: usize| if row % 70_001 == 70_000 { 1 << 45 } else { (mixed(row + 9) % 1000) as i64 };
    (0..count).map(|row| (key(row), value(row), (mixed(row + 5) % 4096) as f64 / 8.0)).collect()
}

#[test]
fn keys_that_appear_late_are_in_the_order_of_their_first_rows() {
    use AggregateFunction::{Len, Mean, OrderedMean, Sum};
    let input = |place: usize, data_type: &DataType| {
        let node = TypedNode::Column(place, "v".to_owned());
        Some(TypedExpr { node, data_type: data_type.clone(), nullable: false })
    };
    let made = |function: AggregateFunction, input, data_type| {
        let name = function.name().to_owned();
        TypedAggregate { name, function, input, filter: None, data_type }
    };
    let rows = rare_keys(400_000);
    let mut order = Vec::new();
    let mut expected: BTreeMap<i32, (i64, f64, i64)> = BTreeMap::new();
    for (key, value, float) in &rows {
        let entry = expected.entry(*key).or_insert_with(|| {
            order.push(*key);
            (0, 0.0, 0)
        });
        *entry = (entry.0 + value, entry.1 + float, entry.2 + 1);
    }
    for mean in [Mean, OrderedMean] {
        let aggregates = [
            made(Sum, input(1, &DataType::Int64), DataType::Int64),
            made(mean, input(2, &DataType::Float64), DataType::Float64),
            made(Len, None, DataType::Int64),
        ];
        let reduce = KeyedReduce::prepare(&[Field::new("k", DataType::Int32, false)], &aggregates).unwrap();
        let run = |rows: &[(i32, i64, f64)]| {
            let mut groups = reduce.begin().unwrap();
            for tile in rows.chunks(16_384) {
                let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(tile.iter().map(|(key, ..)| *key)));
                let values: ArrayRef = Arc::new(Int64Array::from_iter_values(tile.iter().map(|(_, value, _)| *value)));
                let floats: ArrayRef = Arc::new(tile.iter().map(|(.., float)| Some(*float)).collect::<Float64Array>());
                groups.update(&[keys], &[Some(values), Some(floats), None], &[None, None, None], tile.len()).unwrap();
            }
            groups
        };
        let parts = rows.chunks(150_000).map(&run).collect();
        for answer in [run(&rows).finish().unwrap(), reduce.finish_all(parts).unwrap()] {
            let keys = answer.column(0).as_primitive::<arrow_array::types::Int32Type>().values();
            assert_eq!(keys[..], order);
            let (sums, counts) =
                (answer.column(1).as_primitive::<Int64Type>(), answer.column(3).as_primitive::<Int64Type>());
            let means = answer.column(2).as_primitive::<arrow_array::types::Float64Type>();
            for (row, key) in order.iter().enumerate() {
                let (sum, float, count) = expected[key];
                let found = (sums.value(row), means.value(row), counts.value(row));
                assert_eq!(found, (sum, float / count as f64, count), "key {key}");
            }
        }
    }
}

/// Rows of keys from -50 to 49; from `first` on some are null, and from `odd` on some lie beyond the range.
fn rows_with_nulls(count: usize, first: usize, odd: usize) -> Vec<(Option<i32>, i64)> {
    let key = |row: usize| match mixed(row) % 1000 {
        7..=99 if row >= first => None,
        100 if row >= odd => Some(1000),
        101 if row >= odd => Some(i32::MIN),
        other => Some((other % 100) as i32 - 50),
    };
    (0..count).map(|row| (key(row), (row % 5) as i64 - 2)).collect()
}

#[test]
fn nulls_are_a_place_of_a_full_range_whenever_they_come() {
    let reduce = reduce(DataType::Int32);
    for first in [0, 40, 100_000, 131_072, 150_000, 199_999] {
        for odd in [180_000, usize::MAX] {
            let rows = rows_with_nulls(200_000, first, odd);
            let mut groups = run(&reduce, &rows);
            let stored = groups.store().unwrap();
            let answer = groups.finish().unwrap();
            check(&answer, &integers(&answer), &rows);
            let answer = reduce.restore(&stored).unwrap().finish().unwrap();
            check(&answer, &integers(&answer), &rows);
        }
    }
}

#[test]
fn a_single_key_may_be_followed_by_the_null_and_by_others() {
    let reduce = reduce(DataType::Int32);
    for (second, third) in [(None, Some(9)), (Some(8), None), (None, None)] {
        let key = |row: usize| match row {
            0..150_000 => Some(7),
            170_000.. if row.is_multiple_of(3) => third,
            _ if row.is_multiple_of(2) => second,
            _ => Some(7),
        };
        let rows: Vec<(Option<i32>, i64)> = (0..200_000).map(|row| (key(row), (row % 5) as i64 - 2)).collect();
        let answer = run(&reduce, &rows).finish().unwrap();
        check(&answer, &integers(&answer), &rows);
    }
}

#[test]
fn partitions_with_and_without_nulls_are_merged_in_their_order() {
    let reduce = reduce(DataType::Int32);
    // In the first partition, in the last one, in all of them, in none.
    for (first, end) in [(0, 150_000), (400_000, 600_000), (0, 600_000), (199_990, 400_010), (0, 0)] {
        let mut rows = rows_with_nulls(600_000, first, usize::MAX);
        rows[end..].iter_mut().filter(|(key, _)| key.is_none()).for_each(|(key, _)| *key = Some(3));
        let parts: Vec<Groups> = rows.chunks(200_000).map(|part| run(&reduce, part)).collect();
        let answer = reduce.finish_all(parts).unwrap();
        check(&answer, &integers(&answer), &rows);
        let mut parts = rows.chunks(200_000).map(|part| run(&reduce, part));
        let mut merged = parts.next().unwrap();
        parts.for_each(|part| merged.merge(part).unwrap());
        let answer = merged.finish().unwrap();
        check(&answer, &integers(&answer), &rows);
    }
}

#[test]
fn texts_of_all_lengths_have_one_id_each_whatever_stands_beside_them() {
    // Some stretches hold short texts or single letters alone, others mix them with longer ones; zero bytes and empty
    // texts are texts.
    let text = |row: usize| {
        let number = mixed(row) % 400;
        let longest = [8, 16, 24, 2][row / 700 % 4];
        let len = number % longest;
        let mut text = format!("{number:x}\0").repeat(12);
        text.truncate(len);
        (!mixed(row + 1).is_multiple_of(50)).then_some(text)
    };
    for count in [0, 1, 127, 128, 129, 20_000] {
        let rows: Vec<(Option<String>, i64)> = (0..count).map(|row| (text(row), (row % 5) as i64)).collect();
        let mut groups = reduce(DataType::Utf8).begin().unwrap();
        for tile in rows.chunks(4_097) {
            // A slice: texts that do not begin where their buffer does.
            let mut texts: Vec<Option<&str>> = vec![Some("before")];
            texts.extend(tile.iter().map(|(key, _)| key.as_deref()));
            let keys: ArrayRef = Arc::new(StringArray::from(texts).slice(1, tile.len()));
            push(&mut groups, &keys, &tile.iter().map(|(_, value)| *value).collect::<Vec<_>>());
        }
        let answer = groups.finish().unwrap();
        let keys: Vec<Option<String>> =
            answer.column(0).as_string::<i32>().iter().map(|key| key.map(str::to_owned)).collect();
        check(&answer, &keys, &rows);
    }
}

/// By an integer and a text, both of which may be null: the sum.
fn by_pair(text: &DataType) -> KeyedReduce {
    let keys = [Field::new("k", DataType::Int32, true), Field::new("t", text.clone(), true)];
    KeyedReduce::prepare(&keys, &[aggregate(AggregateFunction::Sum, false)]).unwrap()
}

type Pair = (Option<i32>, Option<String>);

/// Keys of which some appear first in the middle of what has long been known: a pair of known parts, a short text, a longer one, an
/// empty one, an integer beyond the range, a null of either.
fn pair(row: usize) -> Pair {
    let known = (mixed(row) % 90) as i32;
    let short = |number: i32| Some(format!("t{number}"));
    match (row, mixed(row) % 2_000) {
        (60_000.., 0) => (Some(known), short(known + 1)),
        (70_000.., 1) => (Some(known), Some("new".to_owned())),
        (80_000.., 2) => (Some(known), Some("longer than a word".to_owned())),
        (90_000.., 3) => (Some(known), Some(String::new())),
        (100_000.., 4) => (Some(1_000_000), short(known)),
        (110_000.., 5) => (None, short(known)),
        (120_000.., 6) => (Some(known), None),
        _ => (Some(known), short(known)),
    }
}

#[test]
fn pairs_of_integers_and_texts_are_found_whatever_comes_between() {
    let rows: Vec<(Pair, i64)> = (0..140_001).map(|row| (pair(row), (row % 7) as i64 - 3)).collect();
    let mut expected: BTreeMap<Pair, i64> = BTreeMap::new();
    let mut order = Vec::new();
    for (pair, value) in &rows {
        *expected.entry(pair.clone()).or_insert_with(|| {
            order.push(pair.clone());
            0
        }) += value;
    }
    for text in [DataType::Utf8, DataType::LargeUtf8, DataType::Binary] {
        for batch in [16_384, 1_000, 127] {
            let reduce = by_pair(&text);
            let mut groups = reduce.begin().unwrap();
            for rows in rows.chunks(batch) {
                let integers: ArrayRef =
                    Arc::new(rows.iter().map(|((integer, _), _)| *integer).collect::<Int32Array>());
                let texts: ArrayRef = Arc::new(rows.iter().map(|((_, text), _)| text.clone()).collect::<StringArray>());
                let texts = arrow_cast::cast(&texts, &text).unwrap();
                let values: ArrayRef = Arc::new(rows.iter().map(|(_, value)| *value).collect::<Int64Array>());
                groups.update(&[integers, texts], &[Some(values)], &[None], rows.len()).unwrap();
            }
            let answer = groups.finish().unwrap();
            let texts = arrow_cast::cast(answer.column(1), &DataType::Utf8).unwrap();
            let texts = texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned));
            let pairs: Vec<Pair> = integers(&answer).into_iter().zip(texts).collect();
            assert_eq!(pairs, order, "{text}, batches of {batch}");
            let sums = answer.column(2).as_primitive::<Int64Type>().values().to_vec();
            assert_eq!(sums, order.iter().map(|pair| expected[pair]).collect::<Vec<_>>(), "{text}");
        }
    }
}
