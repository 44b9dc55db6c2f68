//! What an expression prints is read back as the same expression.

use pelton::columnar::{DataType, Scalar, TimeUnit};
use pelton::expr::parse::{parse_aggregate, parse_data_type, parse_expr, parse_projection};
use pelton::expr::{Aggregate, AggregateFunction, BinaryOp, CastMode, DatePart, Expr, Function, UnaryOp, col, lit};
use proptest::prelude::*;
use proptest::sample::select;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "a",
            "age",
            "City",
            "two words",
            "case",
            "end",
            "date",
            "timestamp",
            "interval",
            "not",
            "hour",
            "a.b",
            "é",
            "1st",
            "say \"x\""
        ])
        .prop_map(str::to_owned),
        "[a-z_][a-z0-9_]{0,6}",
    ]
}

fn literal() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Boolean),
        any::<i64>().prop_map(Scalar::Int64),
        (i64::MAX as u64 + 1..=u64::MAX).prop_map(Scalar::UInt64),
        any::<f64>().prop_filter("NaN is not equal to itself", |value| !value.is_nan()).prop_map(Scalar::Float64),
        ".{0,8}".prop_map(Scalar::Utf8),
        proptest::collection::vec(any::<u8>(), 0..4).prop_map(Scalar::Binary),
        (-700_000i32..2_000_000).prop_map(Scalar::Date32),
        (-60_000_000_000_000_000i64..200_000_000_000_000_000).prop_map(|value| Scalar::Timestamp(
            value,
            TimeUnit::Microsecond,
            None
        )),
        (0i64..100_000_000_000).prop_map(|value| Scalar::Timestamp(value, TimeUnit::Second, Some("UTC".into()))),
        (-1_000_000_000_000i64..1_000_000_000_000).prop_map(|value| Scalar::Duration(value, TimeUnit::Microsecond)),
        (-99_999i128..=99_999).prop_map(|unscaled| Scalar::Decimal128 { unscaled, precision: 5, scale: 2 }),
    ]
}

fn data_type() -> impl Strategy<Value = DataType> {
    let plain = select(vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(12, 2),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())),
        DataType::Duration(TimeUnit::Millisecond),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
    ]);
    (plain, any::<bool>()).prop_map(|(item, list)| if list { DataType::new_list(item, true) } else { item })
}

fn function() -> impl Strategy<Value = (Function, usize)> {
    let one = vec![
        Function::Abs,
        Function::Round(0),
        Function::Round(2),
        Function::Floor,
        Function::Ceil,
        Function::Sqrt,
        Function::Exp,
        Function::Ln,
        Function::Length,
        Function::LengthBytes,
        Function::Lower,
        Function::Upper,
        Function::Trim,
        Function::Normalize,
        Function::Split(None),
        Function::Split(Some("'".to_owned())),
        Function::Extract("a(b)".to_owned(), 0),
        Function::Extract("a(b)".to_owned(), 1),
        Function::Matches("\\d".to_owned()),
        Function::ReplaceRegex("a".to_owned(), "$0".to_owned()),
        Function::ParseTimestamp { format: "%Y".to_owned(), unit: TimeUnit::Microsecond, lossy: false },
        Function::ParseTimestamp { format: "%Y".to_owned(), unit: TimeUnit::Second, lossy: true },
        Function::FormatTimestamp("%Y".to_owned()),
        Function::Truncate(90_000_000_000),
        Function::Part(DatePart::DayOfWeek),
        Function::Part(DatePart::Millisecond),
        Function::Epoch(TimeUnit::Nanosecond),
        Function::Field("x y".to_owned()),
        Function::ListLength,
        Function::ListSum,
        Function::ListMean,
        Function::ListMin,
        Function::ListMax,
    ];
    let two = vec![
        Function::Log,
        Function::Pow,
        Function::Contains,
        Function::StartsWith,
        Function::EndsWith,
        Function::Least,
        Function::Greatest,
        Function::Coalesce,
        Function::Hash,
        Function::Concat,
        Function::ListGet,
    ];
    let three = vec![Function::Substring, Function::Replace, Function::Concat, Function::Coalesce];
    prop_oneof![
        select(one).prop_map(|function| (function, 1)),
        select(two).prop_map(|function| (function, 2)),
        select(three).prop_map(|function| (function, 3)),
    ]
}

const OPERATORS: [BinaryOp; 14] = [
    BinaryOp::Add,
    BinaryOp::Subtract,
    BinaryOp::Multiply,
    BinaryOp::Divide,
    BinaryOp::FloorDivide,
    BinaryOp::Modulo,
    BinaryOp::Eq,
    BinaryOp::NotEq,
    BinaryOp::Lt,
    BinaryOp::LtEq,
    BinaryOp::Gt,
    BinaryOp::GtEq,
    BinaryOp::And,
    BinaryOp::Or,
];

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![name().prop_map(col), literal().prop_map(Expr::Literal)];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let unary = select(vec![UnaryOp::Not, UnaryOp::Negate, UnaryOp::IsNull, UnaryOp::IsNotNull, UnaryOp::IsNan]);
        let mode = select(vec![CastMode::Checked, CastMode::Lossy]);
        let branches = proptest::collection::vec((inner.clone(), inner.clone()), 1..3);
        prop_oneof![
            (unary, inner.clone()).prop_map(|(op, input)| Expr::Unary(op, Box::new(input))),
            (inner.clone(), select(OPERATORS.to_vec()), inner.clone()).prop_map(|(left, op, right)| Expr::Binary(
                Box::new(left),
                op,
                Box::new(right)
            )),
            (inner.clone(), data_type(), mode).prop_map(|(input, to, mode)| Expr::Cast {
                input: Box::new(input),
                to,
                mode
            }),
            (branches, proptest::option::of(inner.clone()))
                .prop_map(|(branches, otherwise)| Expr::Case { branches, otherwise: otherwise.map(Box::new) }),
            (inner.clone(), proptest::collection::vec(literal(), 1..4))
                .prop_map(|(input, members)| Expr::IsIn(Box::new(input), members)),
            (function(), proptest::collection::vec(inner, 3)).prop_map(|((function, count), mut arguments)| {
                arguments.truncate(count);
                Expr::Call(function, arguments)
            }),
        ]
    })
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    let function = select(vec![
        AggregateFunction::Count,
        AggregateFunction::Sum,
        AggregateFunction::Min,
        AggregateFunction::Max,
        AggregateFunction::Mean,
        AggregateFunction::OrderedSum,
        AggregateFunction::OrderedMean,
        AggregateFunction::OrderedVariance(0),
        AggregateFunction::OrderedVariance(3),
        AggregateFunction::OrderedStdDev(1),
        AggregateFunction::Variance(0),
        AggregateFunction::Variance(1),
        AggregateFunction::StdDev(2),
        AggregateFunction::First,
        AggregateFunction::Last,
        AggregateFunction::NUnique,
        AggregateFunction::Quantile(0.25),
        AggregateFunction::Any,
        AggregateFunction::All,
        AggregateFunction::Concat("'".to_owned()),
    ]);
    (function, expr(), proptest::option::of(expr()), proptest::option::of(name())).prop_map(
        |(function, input, filter, name)| {
            let mut made = Aggregate::new(function, Some(input));
            made.filter = filter;
            made.name = name.map(|name| name.replace('.', "_"));
            made
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn expressions_are_read_as_they_print(expr in expr()) {
        let text = expr.to_string();
        let read = parse_expr(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&read, &expr, "{}", text);
        let named = expr.alias("two words");
        prop_assert_eq!(parse_projection(&named.to_string()).map_err(|error| error.to_string()), Ok(named));
    }

    #[test]
    fn aggregates_are_read_as_they_print(aggregate in aggregate()) {
        let text = aggregate.to_string();
        let read = parse_aggregate(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
        prop_assert_eq!(&read, &aggregate, "{}", text);
    }

    #[test]
    fn text_of_any_kind_never_panics(text in "\\PC{0,40}", sql in "[a-z0-9 ()\\[\\]'\",.*+/=<>|-]{0,40}") {
        drop(parse_expr(&text));
        drop(parse_expr(&sql));
        drop(parse_aggregate(&sql));
        drop(parse_data_type(&sql));
    }
}

#[test]
fn parentheses_stand_only_where_they_are_needed() {
    let shown = |expr: Expr| expr.to_string();
    assert_eq!(shown((col("a") + col("b")) * col("c")), "(a + b) * c");
    assert_eq!(shown(col("a") + col("b") * col("c")), "a + b * c");
    assert_eq!(shown(col("a") - (col("b") - col("c"))), "a - (b - c)");
    assert_eq!(shown(col("a") - col("b") - col("c")), "a - b - c");
    assert_eq!(shown(!col("a").eq(1).and(col("b"))), "NOT (a = 1 AND b)");
    assert_eq!(shown(col("a").or(col("b")).and(col("c"))), "(a OR b) AND c");
    assert_eq!(shown((col("a") + lit(1)).is_null().and(col("b").gt(1))), "a + 1 IS NULL AND b > 1");
    assert_eq!(shown(-(col("a") + lit(1))), "-(a + 1)");
}

#[test]
fn words_of_the_language_can_name_columns() {
    let mut wrong = Vec::new();
    for word in sqlparser::keywords::ALL_KEYWORDS {
        for name in [word.to_lowercase(), (*word).to_owned()] {
            let used = col(&name) + col(&name).eq(1).is_null();
            let forms =
                [used, col(&name), col(&name).abs(), lit(1).alias(&name), !col(&name), col(&name).cast(DataType::Utf8)];
            for form in forms {
                if parse_projection(&form.to_string()).ok() != Some(form) {
                    wrong.push(name.clone());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
