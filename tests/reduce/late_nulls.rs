//! Values that are missing for the first time after many that are not: groups that had values before keep them, and groups without any
//! are told from these, whichever way they meet.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
use pelton::columnar::{DataType, Field, RecordBatch};
use pelton::expr::{AggregateFunction, TypedAggregate};
use pelton::kernels::cpu::reduce::{Groups, KeyedReduce};
use pelton::kernels::reduce::{ReduceInput, reference};

use crate::data::{Random, aggregate, assert_same, update};

const PIECES: usize = 5;

/// What keys are like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Of a range with holes.
    Range,
    Sparse,
    Text,
    RangeAndText,
}

impl Kind {
    fn fields(self) -> Vec<Field> {
        let (whole, text) = (Field::new("k", DataType::Int64, true), Field::new("t", DataType::Utf8, true));
        match self {
            Self::Range | Self::Sparse => vec![whole],
            Self::Text => vec![text],
            Self::RangeAndText => vec![whole, text],
        }
    }

    fn columns(self, numbers: &[i64]) -> Vec<ArrayRef> {
        let whole = |step: i64| -> ArrayRef {
            Arc::new(numbers.iter().map(|&n| (n != 5).then(|| 3 * n * step)).collect::<Int64Array>())
        };
        let text = || -> ArrayRef { Arc::new(numbers.iter().map(|n| Some(format!("t{n}"))).collect::<StringArray>()) };
        match self {
            Self::Range => vec![whole(1)],
            Self::Sparse => vec![whole(0x1_0000_0001)],
            Self::Text => vec![text()],
            Self::RangeAndText => vec![whole(1), text()],
        }
    }
}

/// Sums of which nobody asks how many values they are of; four lanes, or one.
fn aggregates(wide: bool) -> Vec<TypedAggregate> {
    use AggregateFunction::{Max, Min, Sum};
    let float = DataType::Float64;
    if wide {
        [Sum, Min, Max].map(|function| aggregate(function, Some(&float), float.clone())).into()
    } else {
        vec![aggregate(Sum, Some(&DataType::Int64), DataType::Int64)]
    }
}

/// Each piece brings keys of its own beside old ones. Where a piece has nulls, all values of every third key are.
fn piece(kind: Kind, wide: bool, place: usize, rows: usize, has_nulls: bool) -> ReduceInput {
    let mut random = Random(place as u64);
    let keys: Vec<i64> = (0..rows).map(|_| random.below(20 + 25 * place as u64) as i64).collect();
    let value = |&key: &i64| (!(has_nulls && key % 3 == 0)).then_some(key * 7 - 300);
    let values: ArrayRef = match wide {
        true => Arc::new(keys.iter().map(|key| value(key).map(|whole| whole as f64 / 8.0)).collect::<Float64Array>()),
        false => Arc::new(keys.iter().map(value).collect::<Int64Array>()),
    };
    let aggregates = aggregates(wide).len();
    let inputs = vec![Some(values); aggregates];
    ReduceInput { keys: kind.columns(&keys), inputs, filters: vec![None; aggregates], rows }
}

fn groups_of(reduce: &KeyedReduce, pieces: &[ReduceInput]) -> Groups {
    let mut groups = reduce.begin().unwrap();
    pieces.iter().for_each(|piece| update(&mut groups, piece).unwrap());
    groups
}

/// The answer by every way: by so many partitions that are finished together, or merged one after another, or stored in between.
fn ways(reduce: &KeyedReduce, pieces: &[ReduceInput]) -> Vec<(String, RecordBatch)> {
    let mut answers = Vec::new();
    for per_partition in [1, 2, PIECES] {
        let partials = || pieces.chunks(per_partition).map(|pieces| groups_of(reduce, pieces));
        answers.push((format!("{per_partition} at once"), reduce.finish_all(partials().collect()).unwrap()));
        for is_stored in [false, true] {
            let mut all = reduce.begin().unwrap();
            for partial in partials() {
                all.merge(partial).unwrap();
                if is_stored {
                    all = reduce.restore(&all.store().unwrap()).unwrap();
                }
            }
            answers.push((format!("{per_partition} merged, stored: {is_stored}"), all.finish().unwrap()));
        }
    }
    answers
}

fn patterns() -> impl Iterator<Item = (Kind, bool, [bool; PIECES])> {
    let kinds = [Kind::Range, Kind::Sparse, Kind::Text, Kind::RangeAndText];
    let has_nulls = |bits: usize| std::array::from_fn(|place| bits >> place & 1 == 1);
    kinds.into_iter().flat_map(move |kind| {
        [true, false].into_iter().flat_map(move |wide| (0..1 << PIECES).map(move |bits| (kind, wide, has_nulls(bits))))
    })
}

#[test]
fn whenever_the_first_value_is_missing_the_answer_is_that_of_the_reference() {
    for (kind, wide, has_nulls) in patterns() {
        let pieces: Vec<_> = (0..PIECES).map(|place| piece(kind, wide, place, 120, has_nulls[place])).collect();
        let (fields, aggregates) = (kind.fields(), aggregates(wide));
        let slow = reference(&fields, &aggregates, &pieces).unwrap();
        let reduce = KeyedReduce::prepare(&fields, &aggregates).unwrap();
        for (way, fast) in ways(&reduce, &pieces) {
            assert_same(&fast, &slow, &format!("{kind:?}, {wide}, {has_nulls:?}: {way}"));
        }
    }
}

/// Of many rows, ids become places of a range, with holes that nobody may take for groups. Who counts values has known all along.
#[test]
fn holes_of_a_range_have_no_values() {
    for (kind, wide, has_nulls) in patterns().filter(|(kind, _, nulls)| *kind == Kind::Range && !nulls[1] && !nulls[3])
    {
        let rows = |place: usize| if place < 2 { 140_000 } else { 90 };
        let pieces: Vec<_> = (0..PIECES).map(|place| piece(kind, wide, place, rows(place), has_nulls[place])).collect();
        let mut counting = aggregates(wide);
        counting.push(aggregate(
            AggregateFunction::Count,
            Some(&counting[0].input.as_ref().unwrap().data_type),
            DataType::Int64,
        ));
        let with_count = |piece: &ReduceInput| ReduceInput {
            keys: piece.keys.clone(),
            inputs: piece.inputs.iter().chain(&piece.inputs[..1]).cloned().collect(),
            filters: vec![None; counting.len()],
            rows: piece.rows,
        };
        let counted = KeyedReduce::prepare(&kind.fields(), &counting).unwrap();
        let counted = groups_of(&counted, &pieces.iter().map(with_count).collect::<Vec<_>>()).finish().unwrap();
        let columns: Vec<usize> = (0..counted.num_columns() - 1).collect();
        let reduce = KeyedReduce::prepare(&kind.fields(), &aggregates(wide)).unwrap();
        for (way, fast) in ways(&reduce, &pieces) {
            assert_same(&fast, &counted.project(&columns).unwrap(), &format!("{kind:?}, {wide}, {has_nulls:?}: {way}"));
        }
    }
}

/// What is stored does not tell by which way it came.
#[test]
fn equal_groups_are_stored_as_equal_bytes() {
    for (kind, wide, has_nulls) in patterns() {
        let pieces: Vec<_> = (0..PIECES).map(|place| piece(kind, wide, place, 120, has_nulls[place])).collect();
        let reduce = KeyedReduce::prepare(&kind.fields(), &aggregates(wide)).unwrap();
        let whole = groups_of(&reduce, &pieces).store().unwrap();
        let mut merged = reduce.begin().unwrap();
        for piece in &pieces {
            merged.merge(groups_of(&reduce, std::slice::from_ref(piece))).unwrap();
        }
        assert_eq!(merged.store().unwrap(), whole, "{kind:?}, {wide}, {has_nulls:?}");
    }
}
