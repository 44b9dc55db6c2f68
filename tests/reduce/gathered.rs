//! `distinct`, and the reduce by a function of the user's.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use pelton::columnar::DataType;
use pelton::error::{Error, ErrorKind, Result};
use pelton::kernels::cpu::reduce::distinct::Distinct;
use pelton::kernels::cpu::reduce::reduce_with::ReduceWith;
use pelton::plan::stage::GroupFunction;

fn batch(keys: &[f64], values: &[i64]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Float64Array::from(keys.to_vec()));
    let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_from_iter([("k", keys), ("v", values)]).unwrap()
}

#[test]
fn distinct_keeps_the_first_row_of_equal_ones_over_batches() {
    let first = batch(&[1.0, f64::NAN, 1.0, -0.0], &[1, 2, 3, 4]);
    let second = batch(&[0.0, 5.0, -f64::NAN, 5.0], &[5, 6, 7, 8]);
    let mut distinct = Distinct::new(&first.schema(), &[0]).unwrap();
    let kept = |batch: RecordBatch| batch.column(1).as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(kept(distinct.push(&first).unwrap()), [1, 2, 4]);
    assert_eq!(kept(distinct.push(&second).unwrap()), [6]);
}

fn reduce(function: impl GroupFunction + 'static, batches: &[RecordBatch]) -> Result<Vec<(f64, i64)>> {
    let function: Arc<dyn GroupFunction> = Arc::new(function);
    let schema = batches[0].schema();
    let new = || ReduceWith::new("longest", Arc::clone(&function), &[DataType::Float64], Arc::clone(&schema));
    let mut all = new()?;
    for batch in batches {
        let mut partition = new()?;
        partition.push(&batch.columns()[..1], batch)?;
        all.push_folded(&partition.finish(true)?)?;
    }
    let folded = all.finish(false)?;
    let keys = folded.keys[0].as_primitive::<arrow_array::types::Float64Type>().values().to_vec();
    let values = folded.rows.column(1).as_primitive::<Int64Type>().values().to_vec();
    Ok(keys.into_iter().zip(values).collect())
}

fn sum(rows: &RecordBatch) -> Result<RecordBatch> {
    let total = rows.column(1).as_primitive::<Int64Type>().values().iter().sum();
    Ok(batch(&[rows.column(0).as_primitive::<arrow_array::types::Float64Type>().value(0)], &[total]))
}

#[test]
fn a_users_function_folds_each_group_over_partitions() {
    let batches = [batch(&[3.0, 1.0, 3.0], &[1, 2, 3]), batch(&[1.0, 2.0], &[10, 20])];
    assert_eq!(reduce(sum, &batches).unwrap(), [(3.0, 4), (1.0, 12), (2.0, 20)]);
}

#[test]
fn a_panic_of_a_users_function_is_an_error_that_names_it() {
    let error = reduce(|_: &RecordBatch| -> Result<RecordBatch> { panic!("no luck") }, &[batch(&[1.0], &[1])]);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Function);
    assert!(error.to_string().contains("\"longest\" panicked: no luck"), "{error}");
}

#[test]
fn a_users_function_must_give_one_row_of_the_schema() {
    let two = |_: &RecordBatch| Ok(batch(&[1.0, 2.0], &[1, 2]));
    assert_eq!(reduce(two, &[batch(&[1.0], &[1])]).unwrap_err().kind(), ErrorKind::Function);
    let other = |rows: &RecordBatch| Ok(rows.project(&[0])?);
    assert_eq!(reduce(other, &[batch(&[1.0], &[1])]).unwrap_err().kind(), ErrorKind::Function);
    let own = |_: &RecordBatch| Err(Error::new(ErrorKind::Overflow, "too long"));
    assert!(reduce(own, &[batch(&[1.0], &[1])]).unwrap_err().to_string().contains("longest"));
}
