//! What expressions are typed as: conversions in their SQL text, types and nullability.

use pelton::columnar::{DataType, Scalar, TimeUnit};
use pelton::expr::{BinaryOp, DatePart, Expr, TypedExpr, TypedNode, coalesce, col, greatest, len, lit, when};

use super::schema;

fn typed(expr: Expr) -> TypedExpr {
    expr.typed(&schema()).expect("an expression without mistakes")
}

/// The typed expression as text, with its type, and a question mark if it can be null.
fn shown(expr: Expr) -> String {
    let typed = typed(expr);
    format!("{typed} : {}{}", typed.data_type, if typed.nullable { "?" } else { "" })
}

fn timestamp(value: i64, unit: TimeUnit) -> Expr {
    lit(Scalar::Timestamp(value, unit, None))
}

fn span(value: i64, unit: TimeUnit) -> Expr {
    lit(Scalar::Duration(value, unit))
}

#[test]
fn literals_bend_to_the_column_they_meet() {
    assert_eq!(shown(col("i8") + lit(1)), "i8 + 1 : Int8");
    assert_eq!(shown(lit(1) + col("u64")), "1 + u64 : UInt64");
    assert_eq!(shown(col("f32") * lit(2)), "f32 * 2.0 : Float32");
    assert_eq!(shown(col("f32").gt(lit(0.5))), "f32 > 0.5 : Boolean");
    assert_eq!(shown(col("i64").gt(Expr::from(5u8))), "i64 > 5 : Boolean");
    let bent = typed(col("u8") + lit(1));
    let TypedNode::Binary(_, _, right) = &bent.node else { panic!("{bent:?}") };
    assert_eq!(right.as_literal(), Some(&Scalar::UInt64(1)), "a literal has the variant of its type");
}

#[test]
fn literals_that_do_not_fit_widen_the_column() {
    assert_eq!(shown(col("i8") + lit(300)), "CAST(i8 AS int16) + 300 : Int16");
    assert_eq!(shown(col("u8").eq(lit(-1))), "CAST(u8 AS int16) = -1 : Boolean");
    assert_eq!(shown(col("i32") + lit(0.5)), "CAST(i32 AS double) + 0.5 : Float64");
    assert_eq!(shown(col("f32") + lit(16_777_217)), "CAST(f32 AS double) + 16777217.0 : Float64");
    assert_eq!(shown(col("u64").gt(lit(-1))), "CAST(u64 AS decimal(20, 0)) > decimal(20, 0) '-1' : Boolean");
}

#[test]
fn integers_meet_in_the_type_that_holds_both() {
    assert_eq!(shown(col("i8") + col("i32")), "CAST(i8 AS int32) + i32 : Int32");
    assert_eq!(shown(col("u8") + col("i8")), "CAST(u8 AS int16) + CAST(i8 AS int16) : Int16");
    assert_eq!(shown(col("u32") + col("i8")), "CAST(u32 AS int64) + CAST(i8 AS int64) : Int64");
    assert_eq!(shown(col("u64") + col("i8")), "CAST(u64 AS int64) + CAST(i8 AS int64) : Int64");
    let compared = "CAST(u64 AS decimal(20, 0)) < CAST(i64 AS decimal(20, 0)) : Boolean";
    assert_eq!(shown(col("u64").lt(col("i64"))), compared);
    assert_eq!(shown(-col("u8")), "-CAST(u8 AS int16) : Int16");
}

#[test]
fn division_of_integers_gives_floats_and_floor_division_can_be_null() {
    assert_eq!(shown(col("i32") / lit(2)), "CAST(i32 AS double) / 2.0 : Float64");
    assert_eq!(shown(col("f32") / col("f32")), "f32 / f32 : Float32");
    assert_eq!(shown(col("i32").floor_div(lit(2))), "i32 // 2 : Int32");
    assert_eq!(shown(col("i32").floor_div(col("i32"))), "i32 // i32 : Int32?");
    assert_eq!(shown(col("i32") % lit(0)), "i32 % 0 : Int32?");
    assert_eq!(shown(col("f64") % col("f64")), "f64 % f64 : Float64");
}

#[test]
fn decimals_follow_the_rules_of_arrow() {
    assert_eq!(shown(col("price") + col("price")), "price + price : Decimal128(16, 2)");
    assert_eq!(shown(col("price") * col("price")), "price * price : Decimal128(31, 4)");
    assert_eq!(shown(col("price") / col("price")), "price / price : Decimal128(21, 6)?");
    assert_eq!(shown(lit(1) - col("price")), "decimal(1, 0) '1' - price : Decimal128(16, 2)");
    assert_eq!(shown(col("price") * col("i32")), "price * CAST(i32 AS decimal(10, 0)) : Decimal128(26, 2)");
    assert_eq!(shown(col("price") + col("f64")), "CAST(price AS double) + f64 : Float64");
    assert_eq!(shown(col("price").gt_eq(lit(0.05))), "price >= decimal(15, 2) '0.05' : Boolean");
    let wider = "CAST(price AS decimal(16, 3)) > decimal(16, 3) '0.055' : Boolean";
    assert_eq!(shown(col("price").gt(lit(0.055))), wider);
}

#[test]
fn texts_are_compared_without_casting_the_column_if_the_other_is_a_literal() {
    for (name, layout) in [
        ("text", DataType::Utf8),
        ("large", DataType::LargeUtf8),
        ("view", DataType::Utf8View),
        ("city", DataType::Utf8),
    ] {
        let compared = typed(col(name).eq(lit("x")));
        let TypedNode::Binary(left, BinaryOp::Eq, right) = &compared.node else { panic!("{compared:?}") };
        assert!(left.as_column().is_some(), "{compared}");
        assert_eq!(right.data_type, layout, "{name}");
        let member = typed(col(name).is_in(["x"]));
        assert!(matches!(&member.node, TypedNode::IsIn(value, _) if value.as_column().is_some()), "{member}");
    }
    assert_eq!(shown(col("city").eq(col("city"))), "city = city : Boolean");
    assert_eq!(shown(col("city").eq(col("view"))), "CAST(city AS text) = CAST(view AS text) : Boolean");
    assert_eq!(shown(col("city").lower()), "lower(CAST(city AS text)) : Utf8");
}

#[test]
fn texts_that_meet_times_are_read_once() {
    assert_eq!(shown(col("day").lt(lit("2024-01-31"))), "day < DATE '2024-01-31' : Boolean");
    assert_eq!(shown(col("at").lt(lit("2024-01-31"))), "at < TIMESTAMP(3) '2024-01-31 00:00:00' : Boolean");
    let berlin = typed(col("at_berlin").lt(lit("2024-07-01 12:00:00")));
    let TypedNode::Binary(_, _, right) = &berlin.node else { panic!("{berlin:?}") };
    let noon_there = Scalar::Timestamp(1_719_828_000_000_000, TimeUnit::Microsecond, Some("Europe/Berlin".into()));
    assert_eq!(right.as_literal(), Some(&noon_there), "10:00 UTC");
    let finer = "CAST(at_s AS timestamp_ms) < TIMESTAMP(3) '2024-01-31 00:00:00.500' : Boolean";
    assert_eq!(shown(col("at_s").lt(lit("2024-01-31 00:00:00.5"))), finer);
    assert_eq!(shown(col("took").gt(lit("10 seconds"))), "took > INTERVAL '10 seconds' : Boolean");
}

#[test]
fn times_and_spans_add_up() {
    assert_eq!(shown(col("at") - col("at_s")), "at - CAST(at_s AS timestamp_ms) : Duration(ms)");
    assert_eq!(shown(col("day") - col("day")), "day - day : Duration(s)");
    assert_eq!(shown(col("at") - col("day")), "at - CAST(day AS timestamp_ms) : Duration(ms)");
    assert_eq!(shown(col("at") + span(10, TimeUnit::Second)), "at + INTERVAL '10 seconds' : Timestamp(ms)");
    assert_eq!(shown(span(10, TimeUnit::Second) + col("at")), "at + INTERVAL '10 seconds' : Timestamp(ms)");
    let finer = "CAST(at_s AS timestamp_ms) + took : Timestamp(ms)";
    assert_eq!(shown(col("at_s") + col("took")), finer);
    assert_eq!(shown(col("took") * lit(2)), "CAST(CAST(took AS int64) * 2 AS duration_ms) : Duration(ms)");
    let share = "CAST(CAST(took AS int64) AS double) / 1000.0 : Float64";
    assert_eq!(shown(col("took") / span(1, TimeUnit::Second)), share);
    assert_eq!(shown(col("at_utc").lt(col("at_berlin"))), "at_utc < CAST(at_berlin AS timestamptz) : Boolean");
    assert_eq!(shown(col("day").lt(timestamp(0, TimeUnit::Microsecond))), "day < DATE '1970-01-01' : Boolean");
}

#[test]
fn choices_meet_in_one_type() {
    let choice = when(col("ok")).then(col("i8")).otherwise(col("f64"));
    assert_eq!(shown(choice), "CASE WHEN ok THEN CAST(i8 AS double) ELSE f64 END : Float64");
    assert_eq!(shown(when(col("ok")).then(lit(1)).otherwise_null()), "CASE WHEN ok THEN 1 END : Int64?");
    assert_eq!(
        shown(when(col("ok")).then(lit(Scalar::Null)).otherwise(col("i8"))),
        "CASE WHEN ok THEN NULL ELSE i8 END : Int8?"
    );
    assert_eq!(shown(coalesce([col("i64_n"), lit(0)])), "coalesce(i64_n, 0) : Int64");
    assert_eq!(shown(greatest([col("i64_n"), col("i8")])), "greatest(i64_n, CAST(i8 AS int64)) : Int64");
    assert_eq!(shown(coalesce([col("city"), lit("?")])), "coalesce(CAST(city AS text), '?') : Utf8");
}

#[test]
fn nulls_are_tracked() {
    assert!(typed(col("i64_n") + lit(1)).nullable);
    assert!(!typed(col("i64_n").is_null()).nullable);
    assert!(typed(col("i64").cast_lossy(DataType::Int8)).nullable);
    assert!(!typed(col("i64").cast(DataType::Int8)).nullable);
    assert!(!typed(col("i64_n").hash()).nullable);
    assert!(typed(col("text").extract("a(b)?", 1)).nullable);
    assert!(typed(col("i64").is_in([Some(1), None])).nullable);
    assert!(typed(col("nothing")).nullable);
    assert_eq!(shown(col("nothing").eq(col("i8"))), "CAST(nothing AS int8) = i8 : Boolean?");
}

#[test]
fn dotted_names_are_columns_first_and_fields_then() {
    assert_eq!(shown(col("a.b")), "a.b : Int16");
    assert_eq!(shown(col("point.x")), "point.x : Float64?");
    assert_eq!(typed(col("point.x")).columns().into_iter().collect::<Vec<_>>(), [24]);
}

#[test]
fn functions_have_the_types_they_are_documented_with() {
    assert_eq!(shown(col("i8").abs()), "abs(i8) : Int8");
    assert_eq!(shown(col("i8").sqrt()), "sqrt(CAST(i8 AS double)) : Float64");
    assert_eq!(shown(col("text").substring(lit(0), lit(3))), "substring(text, 1, 3) : Utf8");
    let list = DataType::new_list(DataType::Utf8, true);
    assert_eq!(typed(col("text").split(",")).data_type, list);
    let parsed = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(typed(col("text").parse_timestamp("%d/%b/%Y:%T %z")).data_type, parsed);
    assert_eq!(shown(col("at").part(DatePart::Hour)), "EXTRACT(hour FROM at) : Int32");
    assert_eq!(shown(col("day").part(DatePart::Hour)), "EXTRACT(hour FROM CAST(day AS timestamp_s)) : Int32");
    assert_eq!(shown(col("numbers").list_sum()), "list_sum(numbers) : Int64?");
    assert_eq!(shown(col("words").list_get(lit(-1))), "list_get(words, -1) : Utf8?");
    assert_eq!(shown(col("took").epoch(TimeUnit::Second)), "epoch(took) : Int64");
}

#[test]
fn aggregates_have_the_types_they_are_documented_with() {
    let data_type = |aggregate: pelton::expr::Aggregate| aggregate.typed(&schema()).unwrap().data_type;
    assert_eq!(data_type(len()), DataType::Int64);
    assert_eq!(data_type(col("i8").sum()), DataType::Int64);
    assert_eq!(data_type(col("u8").sum()), DataType::UInt64);
    assert_eq!(data_type(col("f32").sum()), DataType::Float64);
    assert_eq!(data_type(col("price").sum()), DataType::Decimal128(38, 2));
    assert_eq!(data_type(col("took").sum()), DataType::Duration(TimeUnit::Millisecond));
    assert_eq!(data_type(col("i8").mean()), DataType::Float64);
    assert_eq!(data_type(col("text").min()), DataType::Utf8);
    assert_eq!(data_type(col("text").n_unique()), DataType::Int64);
    assert_eq!(data_type(col("ok").any()), DataType::Boolean);
    assert_eq!(data_type(col("view").concat(",")), DataType::Utf8);
    let filtered = col("i8").sum().filter(col("i8").gt(0)).alias("s").typed(&schema()).unwrap();
    assert_eq!(filtered.to_string(), "sum(i8) FILTER (WHERE i8 > 0) AS s");
}

#[test]
fn columns_can_be_moved_and_replaced() {
    let sum = typed(col("i8") + col("i8") * lit(2));
    assert_eq!(sum.columns().into_iter().collect::<Vec<_>>(), [1]);
    let moved = sum.map_columns(&|index| index + 10);
    assert_eq!(moved.columns().into_iter().collect::<Vec<_>>(), [11]);
    let doubled = typed(col("i8") + lit(1));
    let replaced = sum.replace_columns(&|_| doubled.clone());
    assert_eq!(replaced.to_string(), "i8 + 1 + (i8 + 1) * 2");
}
