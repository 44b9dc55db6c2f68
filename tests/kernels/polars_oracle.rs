//! The same expressions in Polars, where both sides mean the same.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use pelton::columnar::{ArrayRef, DataType, RecordBatch};
use pelton::expr::{DatePart, Expr, col, lit, when};
use pelton::kernels::cpu::project::Program;
use polars::prelude as pl;
use polars::prelude::{IntoLazy, NamedFrom};

use crate::common::{Range, ranged_batch};
use crate::schema;

fn series(name: &str, values: &ArrayRef) -> pl::Series {
    let name = name.into();
    match values.data_type() {
        DataType::Int64 => pl::Series::new(name, values.as_primitive::<Int64Type>().iter().collect::<Vec<_>>()),
        DataType::Int32 => pl::Series::new(name, values.as_primitive::<Int32Type>().iter().collect::<Vec<_>>()),
        DataType::Float64 => pl::Series::new(name, values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>()),
        DataType::Boolean => pl::Series::new(name, values.as_boolean().iter().collect::<Vec<_>>()),
        DataType::Utf8 => pl::Series::new(name, values.as_string::<i32>().iter().collect::<Vec<_>>()),
        other => panic!("no series of {other}"),
    }
}

fn frame(batch: &RecordBatch) -> pl::DataFrame {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, values)| pl::Column::from(series(field.name(), values)));
    pl::DataFrame::new(batch.num_rows(), columns.collect()).unwrap()
}

#[track_caller]
fn equal(ours: &Expr, theirs: pl::Expr, data_type: &DataType) {
    for (rows, nulls) in [(0, 0.0), (1, 0.5), (500, 0.0), (500, 0.3)] {
        let batch = ranged_batch(rows as u64, rows, &schema(data_type), nulls, Range::Tame);
        let found = Program::prepare(&ours.typed(&batch.schema()).unwrap()).unwrap().evaluate(&batch).unwrap();
        let frame = frame(&batch).lazy().select([theirs.clone().alias("x")]).collect().unwrap();
        let expected = frame.column("x").unwrap().as_materialized_series().clone();
        let found = series("x", &found).cast(expected.dtype()).unwrap();
        assert!(found.equals_missing(&expected), "{ours}: {found:?} is not {expected:?}");
    }
}

#[test]
fn numbers_equal_those_of_polars() {
    let (a, b) = (|| col("a"), || col("b"));
    let (x, y) = (|| pl::col("a"), || pl::col("b"));
    for data_type in [DataType::Int64, DataType::Float64] {
        equal(&(a() + b()), x() + y(), &data_type);
        equal(&(a() - b()), x() - y(), &data_type);
        equal(&(a() * b()), x() * y(), &data_type);
        equal(&a().eq(b()), x().eq(y()), &data_type);
        equal(&a().lt(b()), x().lt(y()), &data_type);
        equal(&a().gt_eq(lit(3)), x().gt_eq(pl::lit(3)), &data_type);
        equal(&a().abs(), x().abs(), &data_type);
        equal(&when(col("c")).then(a()).otherwise(b()), pl::when(pl::col("c")).then(x()).otherwise(y()), &data_type);
        equal(&a().fill_null(b()), pl::coalesce(&[x(), y()]), &data_type);
        equal(&a().is_null(), x().is_null(), &data_type);
    }
    equal(&(a() / b()), x() / y(), &DataType::Float64);
    equal(&(a() % lit(7)), x() % pl::lit(7), &DataType::Int64);
    equal(&a().floor(), x().floor(), &DataType::Float64);
    equal(&a().ceil(), x().ceil(), &DataType::Float64);
    equal(&a().sqrt(), x().sqrt(), &DataType::Float64);
    equal(&a().and(b()), x().and(y()), &DataType::Boolean);
    equal(&a().or(b()), x().or(y()), &DataType::Boolean);
    equal(&a().cast(DataType::Float64), x().cast(pl::DataType::Float64), &DataType::Int64);
    equal(&a().cast(DataType::Int64), x().cast(pl::DataType::Int64), &DataType::Float64);
}

#[test]
fn texts_equal_those_of_polars() {
    let (a, x, text) = (|| col("a"), || pl::col("a").str(), DataType::Utf8);
    equal(&a().length(), x().len_chars(), &text);
    equal(&a().length_bytes(), x().len_bytes(), &text);
    equal(&a().upper(), x().to_uppercase(), &text);
    equal(&a().lower(), x().to_lowercase(), &text);
    equal(&a().contains(lit("r")), x().contains_literal(pl::lit("r")), &text);
    equal(&a().starts_with(lit("sp")), x().starts_with(pl::lit("sp")), &text);
    equal(&a().ends_with(lit("7")), x().ends_with(pl::lit("7")), &text);
    equal(&a().extract("-([0-9]+)", 1), x().extract(pl::lit("-([0-9]+)"), 1), &text);
    equal(&a().replace(lit("r"), lit("RR")), x().replace_all(pl::lit("r"), pl::lit("RR"), true), &text);
    equal(&a().substring(lit(1), lit(3)), x().slice(pl::lit(1), pl::lit(3)), &text);
    equal(&a().cast_lossy(DataType::Int64), pl::col("a").cast(pl::DataType::Int64), &text);
}

#[test]
fn times_equal_those_of_polars() {
    let unit = pelton::columnar::TimeUnit::Microsecond;
    let time = |expr: Expr| expr.cast(DataType::Timestamp(unit, None));
    let theirs = || pl::col("i").cast(pl::DataType::Datetime(pl::TimeUnit::Microseconds, None)).dt();
    let part = |part| time(col("i") * lit(1_000_003)).part(part);
    let wide =
        || (pl::col("i") * pl::lit(1_000_003_i64)).cast(pl::DataType::Datetime(pl::TimeUnit::Microseconds, None)).dt();
    let data_type = DataType::Int64;
    equal(&time(col("i")).part(DatePart::Millisecond), theirs().millisecond(), &data_type);
    equal(&part(DatePart::Hour), wide().hour(), &data_type);
    equal(&part(DatePart::Year), wide().year(), &data_type);
    equal(&part(DatePart::Month), wide().month(), &data_type);
    equal(&part(DatePart::Day), wide().day(), &data_type);
    equal(&part(DatePart::Week), wide().week(), &data_type);
    equal(&part(DatePart::DayOfWeek), wide().weekday(), &data_type);
}
