//! Filters keep what the reference keeps, on every level of vector instructions.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};
use pelton::columnar::{DataType, Field, RecordBatch, Scalar, Schema};
use pelton::expr::{Expr, col, lit};
use pelton::kernels::cpu::filter::{Filter, Mask};
use pelton::kernels::cpu::simd;
use pelton::kernels::filter::reference;

use crate::common::{Random, assert_batches_equal, random_batch};
use crate::{SIZES, dictionary, list, plain};

/// A batch with a column of every type that a filter may meet, and Booleans `keep`.
fn batch_of_all_types(seed: u64, rows: usize, null_share: f64) -> RecordBatch {
    let mut types = plain();
    types.extend([list(DataType::Int64), DataType::LargeBinary, DataType::BinaryView]);
    types.push(DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8)));
    types.push(dictionary(DataType::Float64));
    types.retain(|data_type| Scalar::to_array(&[Scalar::Null], data_type).is_ok());
    let mut fields: Vec<Field> =
        types.into_iter().enumerate().map(|(index, t)| Field::new(format!("c{index}"), t, true)).collect();
    fields.push(Field::new("keep", DataType::Boolean, true));
    fields.push(Field::new("n", DataType::Int64, true));
    random_batch(seed, rows, &Arc::new(Schema::new(fields)), null_share)
}

/// The batch with `keep` true for about this share of its rows; in runs, or scattered.
fn keeping(batch: &RecordBatch, share: f64, in_runs: bool, random: &mut Random) -> RecordBatch {
    let mut keep = false;
    let answers: BooleanArray = (0..batch.num_rows())
        .map(|_| {
            if !in_runs || random.below(100) == 0 {
                keep = random.share() < share;
            }
            Some(keep)
        })
        .collect();
    let index = batch.schema().index_of("keep").unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new(answers);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

#[test]
fn filters_keep_what_the_reference_keeps() {
    let never: Expr = lit(Scalar::Null);
    for (seed, rows) in SIZES.into_iter().chain([4096, 4097]).enumerate() {
        let batch = batch_of_all_types(seed as u64, rows, 0.1);
        let schema = batch.schema();
        for predicate in [col("keep"), col("n").gt(lit(90)), col("n").is_null(), lit(true), lit(false), never.clone()] {
            let Ok(typed) = predicate.typed(&schema) else { continue };
            if typed.data_type != DataType::Boolean {
                continue;
            }
            let expected = reference(&batch, &typed).unwrap();
            let filter = Filter::prepare(&typed).unwrap();
            for level in simd::available() {
                let found = simd::with_level(level, || filter.apply(&batch).unwrap());
                assert_batches_equal(&found, &expected);
            }
        }
    }
}

#[test]
fn every_share_of_rows_is_kept_as_the_reference_keeps_it() {
    let mut random = Random::new(5);
    for (seed, rows) in [0, 1, 63, 64, 65, 127, 400, 4095, 4097].into_iter().enumerate() {
        let whole = batch_of_all_types(seed as u64, rows + 13, [0.0, 0.3][seed % 2]);
        for share in [0.01, 0.1, 0.2, 0.5, 0.9, 0.99] {
            for in_runs in [false, true] {
                // Neither values nor bits begin at the start of a byte.
                let batch = keeping(&whole, share, in_runs, &mut random).slice(13, rows);
                let typed = col("keep").typed(&batch.schema()).unwrap();
                let expected = reference(&batch, &typed).unwrap();
                let filter = Filter::prepare(&typed).unwrap();
                for level in simd::available() {
                    let found = simd::with_level(level, || filter.apply(&batch).unwrap());
                    assert_batches_equal(&found, &expected);
                    found.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
                }
            }
        }
    }
}

#[test]
fn long_batches_are_kept_alike_on_every_level() {
    let mut random = Random::new(6);
    for rows in [65_535, 65_536, 65_537] {
        let schema = Arc::new(Schema::new(vec![
            Field::new("keep", DataType::Boolean, true),
            Field::new("n", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("small", DataType::UInt8, false),
        ]));
        let whole = random_batch(rows as u64, rows, &schema, 0.1);
        for share in [0.02, 0.5, 0.98] {
            let batch = keeping(&whole, share, false, &mut random);
            let expected = reference(&batch, &col("keep").typed(&schema).unwrap()).unwrap();
            for level in simd::available() {
                let mask = Mask::of(batch.column(0).as_boolean());
                let found = simd::with_level(level, || mask.apply(&batch).unwrap());
                assert_batches_equal(&found, &expected);
            }
        }
    }
}

#[test]
fn masks_join_and_pick_single_columns() {
    let numbers: ArrayRef = Arc::new(arrow_array::Int64Array::from_iter_values(0..200));
    let even = Mask::of(&(0..200).map(|row| Some(row % 2 == 0)).collect());
    let third = Mask::of(&(0..200).map(|row| (row % 5 != 0).then_some(row % 3 == 0)).collect());
    let both = even.and(&third);
    let expected: Vec<i64> = (0..200).filter(|row| row % 6 == 0 && row % 5 != 0).collect();
    assert_eq!((both.rows(), both.kept()), (200, expected.len()));
    assert!(both.bits().set_indices().eq(expected.iter().map(|row| usize::try_from(*row).unwrap())));
    assert_eq!(*both.picker().pick(&numbers).unwrap(), arrow_array::Int64Array::from(expected));
    assert!(both.picker().pick(&numbers.slice(1, 9)).is_err());
}
