//! Errors name the expression, the column, the value and the row.

use std::sync::Arc;

use arrow_array::{Int64Array, StringArray};
use pelton::columnar::{ArrayRef, DataType, RecordBatch};
use pelton::error::ErrorKind;
use pelton::expr::{Expr, col, lit, when};
use pelton::kernels::cpu::project::Program;

fn error_of(expr: &Expr) -> pelton::error::Error {
    let price: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, i64::MAX]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "x"]));
    let batch = RecordBatch::try_from_iter([("price", price), ("text", text)]).unwrap();
    Program::prepare(&expr.typed(&batch.schema()).unwrap()).unwrap().evaluate(&batch).unwrap_err()
}

#[test]
fn overflow_names_expression_type_and_row() {
    let error = error_of(&(col("price") * lit(2)));
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert_eq!(error.message(), "`price * 2` overflowed Int64 in row 2");
    assert_eq!(error.place().column.as_deref(), Some("price"));
}

#[test]
fn a_checked_cast_names_value_and_row() {
    let error = error_of(&col("text").cast(DataType::Int32));
    assert_eq!(error.message(), "\"x\" in row 2 of `CAST(text AS int32)` is not a valid Int32");
    assert_eq!(error.place().column.as_deref(), Some("text"));
}

#[test]
fn rows_are_those_of_the_batch_inside_of_choices() {
    let error = error_of(&when(col("text").not_eq(lit("1"))).then(col("price") + lit(1)).otherwise(lit(0)));
    assert_eq!(error.message(), "`price + 1` overflowed Int64 in row 2");
}
