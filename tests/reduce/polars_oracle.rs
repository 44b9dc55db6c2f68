//! The same groups through Polars, where both sides mean the same: no NaN, and a group without values has the sum 0 there
//! but null here.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field};
use pelton::columnar::Scalar;
use pelton::expr::AggregateFunction::{
    Count, First, Last, Len, Max, Mean, Min, NUnique, Quantile, StdDev, Sum, Variance,
};
use pelton::kernels::cpu::reduce::KeyedReduce;
use pelton::kernels::reduce::ReduceInput;
use polars::prelude::{Column, DataFrame, Expr, IntoLazy, NamedFrom, QuantileMethod, Series, col, len, lit};

use crate::data::{Random, aggregate, fast};

/// Whole numbers, as the type wants them: floats of few digits, texts, integers.
fn column(random: &mut Random, data_type: &DataType, rows: usize, different: u64) -> ArrayRef {
    let values = (0..rows).map(|_| {
        let number = random.below(different) as i64 - 5;
        match data_type {
            _ if random.below(9) == 0 => Scalar::Null,
            DataType::Int64 => number.into(),
            DataType::Float64 => (number as f64 / 8.0).into(),
            _ => format!("the number {number}").into(),
        }
    });
    Scalar::to_array(&values.collect::<Vec<_>>(), data_type).unwrap()
}

fn series(name: &str, array: &ArrayRef) -> Column {
    let name = name.into();
    Column::from(match array.data_type() {
        DataType::Int64 => Series::new(name, array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()),
        DataType::Float64 => Series::new(name, array.as_primitive::<Float64Type>().iter().collect::<Vec<_>>()),
        _ => Series::new(name, array.as_string::<i32>().iter().collect::<Vec<_>>()),
    })
}

fn numbers(column: &Column) -> Vec<Option<f64>> {
    let column = column.cast(&polars::prelude::DataType::Float64).unwrap();
    column.f64().unwrap().iter().collect()
}

fn assert_close(ours: &RecordBatch, theirs: &DataFrame, what: &str) {
    assert_eq!(ours.num_rows(), theirs.height(), "{what}");
    for (place, field) in ours.schema().fields().iter().enumerate() {
        let (ours, theirs) = (series(field.name(), ours.column(place)), theirs.column(field.name()).unwrap());
        if theirs.dtype().is_string() {
            assert_eq!(
                ours.str().unwrap().iter().collect::<Vec<_>>(),
                theirs.str().unwrap().iter().collect::<Vec<_>>()
            );
            continue;
        }
        for (row, (ours, theirs)) in numbers(&ours).into_iter().zip(numbers(theirs)).enumerate() {
            let is_empty_sum = field.name().starts_with("sum") && ours.is_none() && theirs == Some(0.0);
            let is_close = match (ours, theirs) {
                (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * ours.abs().max(1e-3),
                (ours, theirs) => ours == theirs,
            };
            assert!(is_close || is_empty_sum, "{what}: {} row {row}: {ours:?}, Polars {theirs:?}", field.name());
        }
    }
}

#[test]
fn groups_equal_those_of_polars() {
    let of_x = |name: &str, expression: Expr| expression.alias(name);
    for seed in 0..24 {
        let mut random = Random(seed);
        let types = [DataType::Int64, DataType::Utf8, DataType::Float64];
        let keys: Vec<Field> = (0..1 + seed % 3)
            .map(|place| Field::new(format!("k{place}"), types[random.below(3) as usize].clone(), true))
            .collect();
        let input = if seed % 2 == 0 { DataType::Int64 } else { DataType::Float64 };
        let rows = 1 + random.below(3000) as usize;
        let key_columns: Vec<ArrayRef> =
            keys.iter().map(|key| column(&mut random, key.data_type(), rows, 30)).collect();
        let values = column(&mut random, &input, rows, 100);
        let float = DataType::Float64;
        let x = || col("x");
        let pairs = [
            (Len, DataType::Int64, of_x("len", len())),
            (Count, DataType::Int64, of_x("count", x().count())),
            (Sum, input.clone(), of_x("sum", x().sum())),
            (Min, input.clone(), of_x("min", x().min())),
            (Max, input.clone(), of_x("max", x().max())),
            (First, input.clone(), of_x("first", x().first())),
            (Last, input.clone(), of_x("last", x().last())),
            (NUnique, DataType::Int64, of_x("n_unique", x().drop_nulls().n_unique())),
            (Mean, float.clone(), of_x("mean", x().mean())),
            (Variance(1), float.clone(), of_x("var", x().var(1))),
            (StdDev(0), float.clone(), of_x("std", x().std(0))),
            (Quantile(0.25), float, of_x("quantile", x().quantile(lit(0.25), QuantileMethod::Linear))),
        ];
        let names =
            ["len", "count", "sum", "min", "max", "first", "last", "n_unique", "mean", "var", "std", "quantile"];
        let mut aggregates = Vec::new();
        let mut expressions = Vec::new();
        for (name, (function, result, expression)) in names.into_iter().zip(pairs) {
            let input = (function != Len).then_some(&input);
            let mut made = aggregate(function, input, result);
            made.name = name.to_owned();
            aggregates.push(made);
            expressions.push(expression);
        }
        let batch = ReduceInput {
            keys: key_columns.clone(),
            inputs: aggregates.iter().map(|made| made.input.as_ref().map(|_| ArrayRef::clone(&values))).collect(),
            filters: vec![None; aggregates.len()],
            rows,
        };
        let ours = fast(&KeyedReduce::prepare(&keys, &aggregates).unwrap(), &batch, 500, 2).unwrap();
        let mut columns: Vec<Column> =
            keys.iter().zip(&key_columns).map(|(key, column)| series(key.name(), column)).collect();
        columns.push(series("x", &values));
        let by: Vec<Expr> = keys.iter().map(|key| col(key.name().as_str())).collect();
        let frame = DataFrame::new(rows, columns).unwrap();
        let theirs = frame.lazy().group_by_stable(by).agg(expressions).collect().unwrap();
        assert_close(&ours, &theirs, &format!("seed {seed}, keys {keys:?}"));
    }
}
