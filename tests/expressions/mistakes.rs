//! What mistakes are called: the exact text, because it is what a user reads.

use pelton::columnar::{DataType, TimeUnit};
use pelton::error::ErrorKind;
use pelton::expr::{Aggregate, Expr, check_names, col, lit, when};
use std::time::Duration;

use super::schema;

fn mistake(expr: Expr) -> String {
    let error = expr.typed(&schema()).expect_err("a mistake");
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    error.to_string()
}

fn aggregate_mistake(aggregate: Aggregate) -> String {
    let error = aggregate.typed(&schema()).expect_err("a mistake");
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    error.to_string()
}

#[test]
fn unknown_names_come_with_the_nearest() {
    assert_eq!(mistake(col("prise")), "there is no column \"prise\"; did you mean \"price\"?");
    assert_eq!(
        mistake(col("point.y.z")),
        "column \"point\" (Struct(\"x\": non-null Float64, \"label\": Utf8)) has no field \"y\"; the fields are x, label"
    );
    assert_eq!(
        mistake(col("point.lable").is_null()),
        "in `point.lable IS NULL`: column \"point\" (Struct(\"x\": non-null Float64, \"label\": Utf8)) has no field \"lable\"; \
         did you mean \"label\"?"
    );
    assert_eq!(check_names(["a", "b"]).map_err(|e| e.to_string()), Ok(()));
}

#[test]
fn operands_that_do_not_fit_are_both_named() {
    assert_eq!(
        mistake(col("i64").gt(lit("18"))),
        "in `i64 > '18'`: cannot compare column \"i64\" (Int64) and the text '18'; \
         write numbers without quotes, or cast the column to text"
    );
    assert_eq!(
        mistake(col("text") + lit("x")),
        "in `text + 'x'`: `+` takes numbers, but column \"text\" (Utf8) is none; \
         join texts with `||`, or cast: cast(x as double)"
    );
    assert_eq!(
        mistake(col("ok") + lit(1)),
        "in `ok + 1`: `+` takes numbers, but column \"ok\" (Boolean) is none; \
         count conditions with `case when x then 1 else 0 end`"
    );
    assert_eq!(
        mistake(col("i64").and(col("ok"))),
        "in `i64 AND ok`: an operand of AND must be true or false, but column \"i64\" (Int64) is not; \
         compare it with something, for example `x > 0` or `x is not null`"
    );
    assert_eq!(
        mistake(when(col("ok")).then(lit(1)).otherwise(lit("x"))),
        "in `CASE WHEN ok THEN 1 ELSE 'x' END`: cannot choose between the literal 1 (Int64) and the text 'x'; \
         write numbers without quotes, or cast the column to text"
    );
    assert_eq!(
        mistake(col("numbers").eq(lit(1))),
        "in `numbers = 1`: = cannot compare column \"numbers\" (List(Int32)); \
         lists and structs have no order: compare an item or a field"
    );
}

#[test]
fn times_are_explained() {
    assert_eq!(
        mistake(col("at") + lit(10)),
        "in `at + 10`: `+` has no meaning for column \"at\" (Timestamp(ms)) and the literal 10 (Int64); \
         write spans of time with their unit: interval '10 seconds'"
    );
    assert_eq!(
        mistake(col("at").lt(lit("yesterday"))),
        "in `at < 'yesterday'`: the text 'yesterday' is not a time; write it as '2024-01-31' or '2024-01-31 10:00:00'"
    );
    assert_eq!(
        mistake(col("at").lt(col("at_utc"))),
        "in `at < at_utc`: cannot compare column \"at\" (Timestamp(ms)) and column \"at_utc\" (Timestamp(µs, \"UTC\")); \
         one has a time zone and the other has none: cast one of them"
    );
    assert_eq!(
        mistake(col("text").truncate(Duration::from_secs(1))),
        "in `truncate(text, '1 second')`: truncate takes a timestamp or a date, but column \"text\" (Utf8) is none; \
         read the text as a time first: strptime(text, '%Y-%m-%d %H:%M:%S')"
    );
    assert_eq!(
        mistake(col("at").truncate(Duration::ZERO)),
        "in `truncate(at, '0 seconds')`: truncate takes a span of time above 0; for example '10 seconds'"
    );
    assert_eq!(
        mistake(col("day").truncate(Duration::from_secs(60))),
        "in `truncate(day, '1 minute')`: truncate: column \"day\" (Date32) counts whole days, \
         and 1 minute is no multiple of them; cast it to a timestamp of a finer unit: cast(x as timestamp_ns)"
    );
    assert_eq!(
        mistake(col("text").parse_timestamp("%H:%M")),
        "in `strptime(text, '%H:%M')`: the pattern '%H:%M' does not say enough to make a timestamp; \
         it needs a year, month and day, and, if any time of day, hour and minute: '%Y-%m-%d %H:%M:%S'"
    );
    let zone = DataType::Timestamp(TimeUnit::Second, Some("Mars/Base".into()));
    assert_eq!(
        mistake(col("at").cast(zone)),
        "in `CAST(at AS timestamp_s('Mars/Base'))`: there is no time zone \"Mars/Base\"; \
         write it as 'UTC', 'Europe/Berlin' or '+02:00'"
    );
}

#[test]
fn arguments_are_checked_before_the_stream_starts() {
    assert_eq!(
        mistake(col("i64").lower()),
        "in `lower(i64)`: lower takes text, but column \"i64\" (Int64) is none; cast it: cast(x as text)"
    );
    assert_eq!(
        mistake(col("text").matches("a(b")),
        "in `regexp_matches(text, 'a(b')`: the regular expression 'a(b' cannot be read: unclosed group; \
         see https://docs.rs/regex for the syntax; \\ before a sign takes it as it is"
    );
    assert_eq!(
        mistake(col("text").extract("a(b)", 2)),
        "in `regexp_extract(text, 'a(b)', 2)`: the regular expression 'a(b)' has no group 2; \
         its groups are 0 (the whole match) to 1"
    );
    assert_eq!(
        mistake(col("i64").list_sum()),
        "in `list_sum(i64)`: list_sum takes a list, but column \"i64\" (Int64) is none; \
         split(text, ',') makes a list of a text"
    );
    assert_eq!(
        mistake(col("text").substring(lit(0), lit(-1))),
        "in `substring(text, 1, -1)`: substring: the length -1 is negative"
    );
    assert_eq!(
        mistake(col("point").cast(DataType::Int64)),
        "in `CAST(point AS int64)`: cannot cast column \"point\" (Struct(\"x\": non-null Float64, \"label\": Utf8)) to Int64; \
         there is no meaning for it: use a function that makes one"
    );
}

#[test]
fn aggregates_are_checked_too() {
    assert_eq!(
        aggregate_mistake(col("text").sum()),
        "in `sum(text)`: sum takes a number, but column \"text\" (Utf8) is none; cast it: cast(x as double)"
    );
    assert_eq!(
        aggregate_mistake(col("i64").quantile(95.0)),
        "in `quantile(i64, 95.0)`: quantile: the share 95 does not lie between 0 and 1; 0.5 is the median"
    );
    assert_eq!(
        aggregate_mistake(col("i64").any()),
        "in `any(i64)`: any must be true or false, but column \"i64\" (Int64) is not; \
         compare it with something, for example `x > 0` or `x is not null`"
    );
    assert_eq!(
        aggregate_mistake(col("i64").sum().filter(col("i65"))),
        "in `sum(i64) FILTER (WHERE i65)`: there is no column \"i65\"; did you mean \"i64\"?"
    );
}
