//! `groupby`: keys of three cardinalities and numbers to add up, as in the H2O group-by benchmark.

use std::sync::Arc;

use arrow_array::{Float32Array, Float64Array, Int32Array, Int64Array};

use super::draw::{Draw, KeyDraw};
use super::text_column::TextColumn;
use super::{Generator, Options, TextForm, batch_of, key_count, row_numbers, schema_of};
use crate::columnar::{ArrayRef, DataType, RecordBatch, SchemaRef};
use crate::error::Result;

const LOW: u64 = 100;
const MIDDLE: u64 = 100_000;
const HIGH: u64 = 5_000_000;
/// A prime: neighbouring keys of `k_hi` lie far apart, up to 2^62.
const SPARSE: u64 = 922_337_203_641;

#[derive(Debug)]
struct Groupby {
    schema: SchemaRef,
    low: KeyDraw,
    middle: KeyDraw,
    high: KeyDraw,
    integer: Draw,
    normal: Draw,
    unit: Draw,
}

pub(super) fn make(seed: u64, options: &Options) -> Result<Arc<dyn Generator>> {
    Ok(Arc::new(Groupby {
        schema: schema_of(&[
            ("k_lo", DataType::Int32),
            ("k_mid", DataType::Int32),
            ("k_hi", DataType::Int64),
            ("s_lo", DataType::Utf8),
            ("s_mid", DataType::Utf8),
            ("i", DataType::Int64),
            ("f", DataType::Float64),
            ("g", DataType::Float32),
        ]),
        low: KeyDraw::new(seed, 0, LOW, options),
        middle: KeyDraw::new(seed, 1, MIDDLE, options),
        high: KeyDraw::new(seed, 2, key_count(options, HIGH, HIGH)?, options),
        integer: Draw::new(seed, 3),
        normal: Draw::new(seed, 4),
        unit: Draw::new(seed, 5),
    }))
}

impl Generator for Groupby {
    fn name(&self) -> &'static str {
        "groupby"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn text_form(&self) -> TextForm {
        TextForm::Separated { separator: b',', header: true }
    }

    #[expect(clippy::cast_possible_truncation, reason = "keys are below 100,000, and g is meant to have 24 bits")]
    #[expect(clippy::cast_possible_wrap, reason = "HIGH * SPARSE is below 2^63")]
    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch> {
        let numbers = row_numbers(first_row, rows)?;
        let mut low_names = TextColumn::with_capacity(rows, 6);
        let mut middle_names = TextColumn::with_capacity(rows, 7);
        for row in numbers.clone() {
            low_names.add("city").digits(self.low.key(row), 1).end();
            middle_names.add("id").digits(self.middle.key(row), 1).end();
        }
        let all = || numbers.clone();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(all().map(|row| self.low.key(row) as i32))),
            Arc::new(Int32Array::from_iter_values(all().map(|row| self.middle.key(row) as i32))),
            Arc::new(Int64Array::from_iter_values(all().map(|row| (self.high.key(row) * SPARSE) as i64))),
            low_names.finish()?,
            middle_names.finish()?,
            Arc::new(Int64Array::from_iter_values(all().map(|row| self.integer.between(row, -1000, 99_999)))),
            Arc::new(Float64Array::from_iter_values(all().map(|row| 50.0 + 20.0 * self.normal.normal(row)))),
            Arc::new(Float32Array::from_iter_values(all().map(|row| self.unit.unit(row) as f32))),
        ];
        batch_of(&self.schema, columns)
    }
}

const _: () = assert!((HIGH as u128) * (SPARSE as u128) < 1 << 62, "k_hi must fit an Int64");
