//! Expressions: one operation each.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use pelton::columnar::DataType;
use pelton::expr::{DatePart, Expr, coalesce, col, lit, when};
use pelton::kernels::cpu::project::Program;
use polars::prelude::{self as pl, IntoLazy};

use crate::data::{batch, compare, frame};
use crate::sizes;

fn numbers() -> Vec<(&'static str, Expr, pl::Expr)> {
    let p = pl::col::<&str>;
    let few: Vec<i64> = vec![3, 50, 77];
    let many: Vec<i64> = (0..1000).map(|value| value * 700).collect();
    let set = |members: &[i64]| pl::lit(pl::Series::new("set".into(), members)).implode(true);
    use polars::prelude::NamedFrom;
    vec![
        ("add", col("i") + col("j"), p("i") + p("j")),
        ("add_literal", col("i") + lit(7), p("i") + pl::lit(7_i64)),
        ("multiply", col("i") * col("j"), p("i") * p("j")),
        ("add_nulls", col("i") + col("n"), p("i") + p("n")),
        ("add_floats", col("f") + col("g"), p("f") + p("g")),
        ("divide_floats", col("f") / col("g"), p("f") / p("g")),
        ("modulo", col("i") % lit(7), p("i") % pl::lit(7_i64)),
        ("less", col("i").lt(col("j")), p("i").lt(p("j"))),
        ("less_literal", col("i").lt(lit(500_000)), p("i").lt(pl::lit(500_000_i64))),
        ("equal_floats", col("f").eq(col("g")), p("f").eq(p("g"))),
        ("less_floats", col("f").lt(lit(1e6)), p("f").lt(pl::lit(1e6))),
        ("and", col("i").lt(col("j")).and(col("p").gt(lit(9))), p("i").lt(p("j")).and(p("p").gt(pl::lit(9_i64)))),
        (
            "case",
            when(col("p").lt(lit(50))).then(col("i")).otherwise(col("j")),
            pl::when(p("p").lt(pl::lit(50_i64))).then(p("i")).otherwise(p("j")),
        ),
        (
            "case_text",
            when(col("p").lt(lit(50))).then(lit("low")).otherwise(lit("high")),
            pl::when(p("p").lt(pl::lit(50_i64))).then(pl::lit("low")).otherwise(pl::lit("high")),
        ),
        (
            "case_checked",
            when(col("p").lt(lit(50))).then(col("i") + lit(1)).otherwise(col("j")),
            pl::when(p("p").lt(pl::lit(50_i64))).then(p("i") + pl::lit(1_i64)).otherwise(p("j")),
        ),
        ("coalesce", coalesce([col("n"), col("i")]), pl::coalesce(&[p("n"), p("i")])),
        ("is_in_few", col("p").is_in(few.clone()), p("p").is_in(set(&few), false)),
        ("is_in_many", col("i").is_in(many.clone()), p("i").is_in(set(&many), false)),
        ("cast_int_float", col("i").cast(DataType::Float64), p("i").cast(pl::DataType::Float64)),
        ("cast_float_int", col("f").cast(DataType::Int64), p("f").strict_cast(pl::DataType::Int64)),
        ("cast_narrow", col("i").cast(DataType::Int32), p("i").strict_cast(pl::DataType::Int32)),
        ("cast_int_text", col("i").cast(DataType::Utf8), p("i").cast(pl::DataType::String)),
        ("floor", col("f").floor(), p("f").floor()),
        ("sqrt", col("f").sqrt(), p("f").sqrt()),
        ("is_null", col("n").is_null(), p("n").is_null()),
    ]
}

fn texts() -> Vec<(&'static str, Expr, pl::Expr)> {
    let s = || pl::col("s").str();
    let regex = "campaign=([0-9]+)";
    vec![
        (
            "text_equal",
            col("s").eq(lit("https://host3.example.com/path/7?campaign=9")),
            pl::col("s").eq(pl::lit("https://host3.example.com/path/7?campaign=9")),
        ),
        ("contains", col("s").contains(lit("path/77")), s().contains_literal(pl::lit("path/77"))),
        ("matches", col("s").matches("path/[0-9]7"), s().contains(pl::lit("path/[0-9]7"), true)),
        ("starts_with", col("s").starts_with(lit("https://host3")), s().starts_with(pl::lit("https://host3"))),
        ("upper", col("s").upper(), s().to_uppercase()),
        ("length", col("s").length(), s().len_chars()),
        ("split", col("s").split("/"), s().split(pl::lit("/"))),
        ("extract", col("s").extract(regex, 1), s().extract(pl::lit(regex), 1)),
        (
            "replace",
            col("s").replace(lit("example"), lit("sample")),
            s().replace_all(pl::lit("example"), pl::lit("sample"), true),
        ),
        ("substring", col("s").substring(lit(8), lit(5)), s().slice(pl::lit(8), pl::lit(5))),
        ("parse_int", col("number").cast(DataType::Int64), pl::col("number").strict_cast(pl::DataType::Int64)),
        ("parse_float", col("decimal").cast(DataType::Float64), pl::col("decimal").strict_cast(pl::DataType::Float64)),
    ]
}

fn times() -> Vec<(&'static str, Expr, pl::Expr)> {
    let t = || pl::col("t").dt();
    let options = pl::StrptimeOptions { format: Some("%Y-%m-%d %H:%M:%S".into()), cache: false, ..Default::default() };
    let parsed = pl::col("time").str().to_datetime(Some(pl::TimeUnit::Microseconds), None, options, pl::lit("raise"));
    vec![
        ("parse_time", col("time").parse_timestamp("%Y-%m-%d %H:%M:%S"), parsed),
        ("truncate_10s", col("t").truncate(Duration::from_secs(10)), t().truncate(pl::lit("10s"))),
        ("truncate_day", col("t").truncate(Duration::from_secs(86_400)), t().truncate(pl::lit("1d"))),
        ("hour", col("t").part(DatePart::Hour), t().hour()),
        ("day", col("t").part(DatePart::Day), t().day()),
        ("weekday", col("t").part(DatePart::DayOfWeek), t().weekday()),
        ("format_time", col("t").format_timestamp("%Y-%m-%d %H:%M"), t().to_string("%Y-%m-%d %H:%M")),
    ]
}

pub(crate) fn all(criterion: &mut Criterion) {
    for (size, rows) in sizes() {
        let batch = batch(rows);
        let frame = frame(&batch);
        for (case, ours, theirs) in [numbers(), texts(), times()].concat() {
            let program = Program::prepare(&ours.typed(&batch.schema()).unwrap()).unwrap();
            let by_polars = || frame.clone().lazy().select([theirs.clone().alias("x")]).collect().unwrap();
            compare(case, &program.evaluate(&batch).unwrap(), by_polars().column("x").unwrap());
            let mut group = criterion.benchmark_group(format!("project/{case}/{size}"));
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function("cpu", |bencher| bencher.iter(|| black_box(program.evaluate(&batch).unwrap())));
            group.bench_function("polars", |bencher| bencher.iter(|| black_box(by_polars())));
            group.finish();
        }
    }
}
