//! Every function on every type it takes.

use std::time::Duration;

use pelton::columnar::{DataType, Field, RecordBatch, Scalar, TimeUnit};
use pelton::expr::{DatePart, Expr, Function, coalesce, col, greatest, least, lit};
use pelton::kernels::cpu::project::Program;

use crate::{agree, batches, is_typed, list, numbers, plain, schema, texts, times};

fn call(function: Function, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Call(function, arguments.into_iter().collect())
}

#[test]
fn numbers_are_rounded_and_rooted_as_in_the_reference() {
    use Function as F;
    for data_type in numbers() {
        let batches = batches(&schema(&data_type));
        for function in [F::Abs, F::Round(0), F::Round(1), F::Round(7), F::Floor, F::Ceil, F::Sqrt, F::Exp, F::Ln] {
            agree(&call(function, [col("a")]), &batches);
        }
        for base in [lit(2.0), lit(10.0), lit(3.5), col("b")] {
            agree(&col("a").log(base.clone()), &batches);
            agree(&col("a").pow(base), &batches);
        }
    }
}

#[test]
fn one_of_several_equals_the_reference() {
    for data_type in plain() {
        let batches = batches(&schema(&data_type));
        agree(&coalesce([col("a"), col("b")]), &batches);
        agree(&coalesce([lit(Scalar::Null), col("a"), col("b")]), &batches);
        agree(&least([col("a"), col("b")]), &batches);
        agree(&greatest([col("a"), col("b"), col("a")]), &batches);
        agree(&call(Function::Hash, [col("a"), col("b"), col("c")]), &batches);
    }
}

#[test]
fn texts_are_searched_and_rewritten_as_in_the_reference() {
    use Function as F;
    for data_type in texts() {
        let batches = batches(&schema(&data_type));
        for function in [F::Length, F::LengthBytes, F::Lower, F::Upper, F::Trim, F::Normalize] {
            agree(&call(function, [col("a")]), &batches);
        }
        for needle in [lit("a"), lit(""), lit("Pelton"), lit("ß"), col("b"), lit(Scalar::Null)] {
            agree(&col("a").contains(needle.clone()), &batches);
            agree(&col("a").starts_with(needle.clone()), &batches);
            agree(&col("a").ends_with(needle.clone()), &batches);
            agree(&col("a").replace(needle.clone(), lit("<>")), &batches);
            agree(&col("a").replace(lit("r"), needle.clone()), &batches);
            agree(&call(F::Concat, [col("a"), needle, col("b")]), &batches);
        }
        for (start, length) in [(0, 3), (2, 100), (-3, 2), (-100, 99), (1, 0), (i64::MAX, i64::MAX)] {
            agree(&col("a").substring(lit(start), lit(length)), &batches);
        }
        agree(&col("a").substring(col("i"), lit(4)), &batches);
        for separator in [",", "", " ", "--", "r"] {
            agree(&col("a").split(separator), &batches);
        }
        agree(&col("a").split_whitespace(), &batches);
        // The reference compiles the expression for every row.
        let few = &batches[..20];
        for pattern in ["error", "[a-z]+-([0-9]+)", "(x)?a", "^$", "ß|語", "(?i)PELTON"] {
            agree(&col("a").matches(pattern), few);
            agree(&col("a").extract(pattern, 0), few);
            agree(&col("a").replace_regex(pattern, "[$0]"), few);
        }
        agree(&col("a").extract("([a-z]+)-([0-9]+)", 2), few);
        agree(&col("a").extract("(x)?a", 1), few);
    }
}

#[test]
fn texts_are_read_as_times_as_in_the_reference() {
    let formats = [
        "%Y-%m-%d",
        "%Y-%m-%dT%H:%M:%S%.fZ",
        "%d/%b/%Y:%H:%M:%S %z",
        "%F %T",
        "%Y-%m-%d %H:%M",
        "%s",
        "%e.%m.%y %I %p",
    ];
    for data_type in texts() {
        let batches = batches(&schema(&data_type));
        for format in formats {
            for unit in [TimeUnit::Second, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                for lossy in [false, true] {
                    let function = Function::ParseTimestamp { format: format.to_owned(), unit, lossy };
                    let expr = call(function, [col("a")]);
                    if is_typed(&expr, &batches) {
                        agree(&expr, &batches);
                    }
                }
            }
        }
    }
}

#[test]
fn times_are_taken_apart_as_in_the_reference() {
    use DatePart as P;
    let parts = [
        P::Year,
        P::Quarter,
        P::Month,
        P::Week,
        P::Day,
        P::DayOfWeek,
        P::DayOfYear,
        P::Hour,
        P::Minute,
        P::Second,
        P::Millisecond,
    ];
    for data_type in times() {
        let batches = batches(&schema(&data_type));
        let calls = parts.map(|part| col("a").part(part)).into_iter();
        let spans =
            [1, 7, 1_500, 1_000_000_000, 90_000_000_000, 3_600_000_000_000, 86_400_000_000_000, 604_800_000_000_000];
        let calls = calls.chain(spans.map(|nanos| col("a").truncate(Duration::from_nanos(nanos))));
        let units = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond];
        let calls = calls.chain(units.map(|unit| col("a").epoch(unit)));
        for expr in calls.chain(["%Y-%m-%d %H:%M:%S%.3f", "%j %a"].map(|format| col("a").format_timestamp(format))) {
            if is_typed(&expr, &batches) {
                agree(&expr, &batches);
            }
        }
    }
}

#[test]
fn lists_and_structs_are_taken_apart_as_in_the_reference() {
    for item in plain() {
        let lists = batches(&schema(&list(item.clone())));
        agree(&col("a").list_length(), &lists);
        for index in [lit(0), lit(-1), lit(2), lit(i64::MIN), col("i")] {
            agree(&col("a").list_get(index), &lists);
        }
        for function in [Function::ListSum, Function::ListMean, Function::ListMin, Function::ListMax] {
            let expr = call(function, [col("a")]);
            if is_typed(&expr, &lists) {
                agree(&expr, &lists);
            }
        }
        let fields = vec![Field::new("x", item.clone(), true), Field::new("y", DataType::Int64, true)];
        agree(&col("a").field("x"), &batches(&schema(&DataType::Struct(fields.into()))));
    }
}

#[test]
fn normal_form_joins_what_stands_apart() {
    let batch = RecordBatch::try_from_iter([(
        "t",
        Scalar::to_array(
            &["e\u{301}", "\u{e9}", "plain", "\u{1112}\u{1161}\u{11ab}"].map(|text| text.into()),
            &DataType::Utf8,
        )
        .unwrap(),
    )])
    .unwrap();
    let typed = col("t").normalize().typed(&batch.schema()).unwrap();
    let normal = Program::prepare(&typed).unwrap().evaluate(&batch).unwrap();
    let texts = (0..4).map(|row| Scalar::from_array(&normal, row).unwrap()).collect::<Vec<_>>();
    assert_eq!(texts, ["\u{e9}", "\u{e9}", "plain", "\u{d55c}"].map(Scalar::from));
}

#[test]
fn clip_takes_the_nearer_bound_and_leaves_null() {
    for data_type in numbers() {
        let batches = batches(&schema(&data_type));
        agree(&col("a").clip(col("b"), col("a")), &batches);
    }
    let batch = RecordBatch::try_from_iter([(
        "n",
        Scalar::to_array(&[Scalar::Int64(-5), Scalar::Int64(3), Scalar::Int64(50), Scalar::Null], &DataType::Int64)
            .unwrap(),
    )])
    .unwrap();
    let clipped = |low: Scalar| {
        let typed = col("n").clip(lit(low), lit(10)).typed(&batch.schema()).unwrap();
        let clipped = Program::prepare(&typed).unwrap().evaluate(&batch).unwrap();
        (0..4).map(|row| Scalar::from_array(&clipped, row).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(clipped(Scalar::Int64(0)), [Scalar::Int64(0), Scalar::Int64(3), Scalar::Int64(10), Scalar::Null]);
    assert_eq!(clipped(Scalar::Null), [Scalar::Int64(-5), Scalar::Int64(3), Scalar::Int64(10), Scalar::Null]);
}
