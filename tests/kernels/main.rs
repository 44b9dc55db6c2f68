//! Kernels on expressions, filters and hashes against their references and against Polars.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../common/mod.rs"]
mod common;

mod casts;
mod filter;
mod functions;
mod hash;
mod messages;
mod operators;
mod polars_oracle;

use std::sync::Arc;

use pelton::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use pelton::expr::Expr;
use pelton::kernels::cpu::project::Program;
use pelton::kernels::cpu::simd;
use pelton::kernels::project;

use crate::common::{Range, ranged_batch};

/// Rows at which loops, bitmaps and words end.
const SIZES: [usize; 6] = [0, 1, 63, 64, 65, 130];

fn timestamp(unit: TimeUnit, zone: Option<&str>) -> DataType {
    DataType::Timestamp(unit, zone.map(Into::into))
}

fn dictionary(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
}

fn list(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

fn numbers() -> Vec<DataType> {
    use DataType::*;
    vec![Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float32, Float64, Decimal128(12, 2)]
}

fn times() -> Vec<DataType> {
    let mut types = vec![DataType::Date32];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([timestamp(unit, None), timestamp(unit, Some("UTC")), DataType::Duration(unit)]);
    }
    types
        .extend([timestamp(TimeUnit::Second, Some("Europe/Berlin")), timestamp(TimeUnit::Microsecond, Some("-05:30"))]);
    types
}

fn texts() -> Vec<DataType> {
    vec![DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary(DataType::Utf8)]
}

fn plain() -> Vec<DataType> {
    let others = [DataType::Boolean, DataType::Binary, dictionary(DataType::Int64)];
    [numbers(), times(), texts(), others.to_vec()].concat()
}

/// Columns `a` and `b` of a type, `c` of Booleans, `i` of small integers.
fn schema(data_type: &DataType) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("a", data_type.clone(), true),
        Field::new("b", data_type.clone(), true),
        Field::new("c", DataType::Boolean, true),
        Field::new("i", DataType::Int64, true),
    ]))
}

/// Batches of all sizes, tame and wild, with and without nulls.
fn batches(schema: &SchemaRef) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for (seed, rows) in SIZES.into_iter().enumerate() {
        for range in [Range::Tame, Range::Wild] {
            for nulls in [0.0, 0.2] {
                let batch = ranged_batch(seed as u64, rows + 3, schema, nulls, range);
                batches.push(batch.slice(3, rows));
            }
        }
    }
    // One wild row at a time: a row that cannot be computed leaves the others to be compared.
    let wild = ranged_batch(99, 40, schema, 0.1, Range::Wild);
    batches.extend((0..wild.num_rows()).map(|row| wild.slice(row, 1)));
    batches
}

/// The CPU gives what the reference gives, on every level of vector instructions: the same bits, or the same error.
#[track_caller]
fn agree(expr: &Expr, batches: &[RecordBatch]) {
    let typed = match expr.typed(batches[0].schema_ref()) {
        Ok(typed) => typed,
        Err(error) => panic!("{expr}: {error}"),
    };
    let program = Program::prepare(&typed).unwrap();
    for batch in batches {
        let expected = project::reference(&typed, batch);
        for level in simd::available() {
            let name = simd::name_of(level);
            match (&expected, simd::with_level(level, || program.evaluate(batch))) {
                (Ok(expected), Ok(found)) => {
                    assert_eq!(found.data_type(), &typed.data_type, "{expr}");
                    assert_eq!(found.len(), batch.num_rows(), "{expr}");
                    assert_eq!(&found, expected, "{expr} by {name} on {batch:?}");
                }
                (Err(expected), Err(found)) => assert_eq!(found.to_string(), expected.to_string(), "{expr}"),
                (expected, found) => panic!("{expr} by {name}: expected {expected:?}, found {found:?} on {batch:?}"),
            }
        }
    }
}

/// Whether typing takes the expression at all.
fn is_typed(expr: &Expr, batches: &[RecordBatch]) -> bool {
    expr.typed(batches[0].schema_ref()).is_ok()
}
