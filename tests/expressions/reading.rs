//! What SQL text is read as, and what mistakes in it are called.

use pelton::columnar::{DataType, Scalar, TimeUnit};
use pelton::expr::parse::{parse_aggregate, parse_data_type, parse_expr, parse_order, parse_projection, parse_schema};
use pelton::expr::{DatePart, Expr, Function, col, greatest, len, lit, when};
use std::time::Duration;

fn read(text: &str) -> Expr {
    match parse_expr(text) {
        Ok(expr) => expr,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn mistake(text: &str) -> String {
    parse_expr(text).expect_err(text).to_string()
}

#[test]
fn operators_are_read_with_their_precedence() {
    assert_eq!(read("a + b * 2"), col("a") + col("b") * lit(2));
    assert_eq!(read("(a + b) * -2"), (col("a") + col("b")) * lit(-2));
    assert_eq!(read("a // 10 % 3"), col("a").floor_div(10) % lit(3));
    assert_eq!(read("not a = 1 or b and c"), (!col("a").eq(1)).or(col("b").and(col("c"))));
    assert_eq!(read("a <> 1.5e3"), col("a").not_eq(1500.0));
    assert_eq!(read("-a - -5"), -col("a") - lit(-5));
    assert_eq!(read("-9223372036854775808"), lit(i64::MIN));
    assert_eq!(read("18446744073709551615"), lit(u64::MAX));
    assert_eq!(read("a || '-' || b"), Expr::Call(Function::Concat, vec![col("a"), lit("-"), col("b")]));
}

#[test]
fn conditions_are_read() {
    assert_eq!(read("a is null and b is not null"), col("a").is_null().and(col("b").is_not_null()));
    assert_eq!(read("a in (1, -2, null)"), col("a").is_in([Some(1), Some(-2), None]));
    assert_eq!(read("a not in ('x')"), !col("a").is_in(["x"]));
    assert_eq!(read("a in (b, 1)"), col("a").eq(col("b")).or(col("a").eq(1)));
    assert_eq!(read("a between 1 and 2"), col("a").between(1, 2));
    assert_eq!(read("name like 'A%'"), col("name").starts_with("A"));
    assert_eq!(read("name not like '%x_'"), !col("name").matches("(?s)^.*x.$"));
    assert_eq!(read("name ilike 'a%'"), col("name").matches("(?is)^a.*$"));
    assert_eq!(read("ok is true"), pelton::expr::coalesce([col("ok"), lit(false)]));
    assert_eq!(read("case when a > 1 then 'x' else 'y' end"), when(col("a").gt(1)).then(lit("x")).otherwise(lit("y")));
    assert_eq!(read("case a when 1 then 'x' end"), when(col("a").eq(1)).then(lit("x")).otherwise_null());
}

#[test]
fn names_fields_and_items_are_read() {
    assert_eq!(read("\"two words\" + Order"), col("two words") + col("Order"));
    assert_eq!(read("a.b.c"), col("a.b.c"));
    assert_eq!(read("list[1]"), col("list").list_get(0));
    assert_eq!(read("list[-1]"), col("list").list_get(-1));
    assert_eq!(read("a.list[2].x"), col("a.list").list_get(1).field("x"));
    assert_eq!(read("hour"), col("hour"));
    assert_eq!(read("hour(at)"), col("at").part(DatePart::Hour));
    assert_eq!(read("date = '2024-01-01'"), col("date").eq("2024-01-01"));
}

#[test]
fn functions_are_read() {
    assert_eq!(read("round(x) + Round(x, 2)"), col("x").round(0) + col("x").round(2));
    assert_eq!(read("log10(x) + log(2, x)"), col("x").log(10) + col("x").log(2));
    assert_eq!(read("floor(x) + ceil(x)"), col("x").floor() + col("x").ceil());
    assert_eq!(read("substring(x, 2, 3)"), col("x").substring(1, 3));
    assert_eq!(read("substring(x from 2 for 3)"), col("x").substring(1, 3));
    assert_eq!(read("substr(x, -3)"), col("x").substring(-3, i64::MAX));
    assert_eq!(read("trim(x)"), col("x").trim());
    assert_eq!(read("normalize(x)"), col("x").normalize());
    assert_eq!(read("clip(x, 0, 5)"), col("x").clip(0, 5));
    assert_eq!(read("greatest(a, b, 3)"), greatest([col("a"), col("b"), lit(3)]));
    assert_eq!(read("nullif(a, 0)"), when(col("a").eq(0)).then(lit(Scalar::Null)).otherwise(col("a")));
    assert_eq!(read("split(x, ',')[1]"), col("x").split(",").list_get(0));
    assert_eq!(read("list_sum(split(x))"), col("x").split_whitespace().list_sum());
    assert_eq!(read("regexp_extract(x, '(\\d+)', 1)"), col("x").extract("(\\d+)", 1));
    assert_eq!(read("strptime(x, '%Y')"), col("x").parse_timestamp("%Y"));
    assert_eq!(read("truncate(t, '10 seconds')"), col("t").truncate(Duration::from_secs(10)));
    assert_eq!(read("time_bucket(interval '10 seconds', t)"), col("t").truncate(Duration::from_secs(10)));
    assert_eq!(read("date_trunc('minute', t)"), col("t").truncate(Duration::from_secs(60)));
    assert_eq!(read("extract(isodow from t)"), col("t").part(DatePart::DayOfWeek));
    assert_eq!(read("date_part('doy', t)"), col("t").part(DatePart::DayOfYear));
    assert_eq!(read("epoch_ms(t)"), col("t").epoch(TimeUnit::Millisecond));
    assert_eq!(read("isnan(x)"), col("x").is_nan());
}

#[test]
fn casts_and_literals_are_read() {
    assert_eq!(read("cast(x as bigint)"), col("x").cast(DataType::Int64));
    assert_eq!(read("try_cast(x as int8)"), col("x").cast_lossy(DataType::Int8));
    assert_eq!(read("x::text"), col("x").cast(DataType::Utf8));
    assert_eq!(read("interval 10 second"), lit(Scalar::Duration(10_000_000, TimeUnit::Microsecond)));
    assert_eq!(read("interval '1 hour 30 minutes'"), lit(Scalar::Duration(5_400_000_000, TimeUnit::Microsecond)));
    assert_eq!(read("date '1970-01-02'"), lit(Scalar::Date32(1)));
    let second = Scalar::Timestamp(1_000_000, TimeUnit::Microsecond, None);
    assert_eq!(read("timestamp '1970-01-01 00:00:01'"), lit(second));
    assert_eq!(read("decimal(5, 2) '1.5'"), lit(Scalar::Decimal128 { unscaled: 150, precision: 5, scale: 2 }));
    assert_eq!(read("x'00ff'"), lit(vec![0u8, 255]));
    assert_eq!(read("'it''s'"), lit("it's"));
    assert_eq!(read("true"), lit(true));
}

#[test]
fn aggregates_orders_and_projections_are_read() {
    let aggregate = |text: &str| parse_aggregate(text).expect(text);
    assert_eq!(aggregate("count(*)"), len());
    assert_eq!(aggregate("count(x)"), col("x").count());
    assert_eq!(aggregate("count(distinct x) as different"), col("x").n_unique().alias("different"));
    assert_eq!(aggregate("avg(x + 1)"), (col("x") + lit(1)).mean());
    assert_eq!(aggregate("sum(x) filter (where y > 1) as s"), col("x").sum().filter(col("y").gt(1)).alias("s"));
    assert_eq!(aggregate("sum(x) where y > 1 as s"), col("x").sum().filter(col("y").gt(1)).alias("s"));
    assert_eq!(aggregate("any(status = 500)"), col("status").eq(500).any());
    assert_eq!(aggregate("all(ok)"), col("ok").all());
    assert_eq!(aggregate("median(x)"), col("x").quantile(0.5));
    assert_eq!(aggregate("quantile(x, 0.95)"), col("x").quantile(0.95));
    assert_eq!(aggregate("stddev(x)"), col("x").std(1));
    assert_eq!(aggregate("var_pop(x)"), col("x").var(0));
    assert_eq!(aggregate("string_agg(x, ', ')"), col("x").concat(", "));
    assert_eq!(aggregate("first(x)"), col("x").first());
    assert_eq!(parse_order("minute desc nulls first").expect("an order"), (col("minute"), true, true));
    assert_eq!(parse_order("a + b").expect("an order"), (col("a") + col("b"), false, false));
    assert_eq!(parse_projection("a + 1 as b").expect("a projection"), (col("a") + lit(1)).alias("b"));
}

#[test]
fn types_and_schemas_are_read() {
    let data_type = |text: &str| parse_data_type(text).expect(text);
    assert_eq!(data_type("int8"), DataType::Int8);
    assert_eq!(data_type("integer"), DataType::Int32);
    assert_eq!(data_type("bigint"), DataType::Int64);
    assert_eq!(data_type("UINT32"), DataType::UInt32);
    assert_eq!(data_type("real"), DataType::Float32);
    assert_eq!(data_type("double precision"), DataType::Float64);
    assert_eq!(data_type("timestamp(3)"), DataType::Timestamp(TimeUnit::Millisecond, None));
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(data_type("timestamp with time zone"), utc);
    assert_eq!(data_type("timestamptz"), utc);
    let berlin = DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into()));
    assert_eq!(data_type("timestamp_ms('Europe/Berlin')"), berlin);
    assert_eq!(data_type("varchar(10)[]"), DataType::new_list(DataType::Utf8, true));
    let schema = parse_schema("a int not null, \"b c\" text,\n d decimal(10, 2) null").expect("a schema");
    assert_eq!(schema.fields().iter().map(|field| field.is_nullable()).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(schema.field(1).name(), "b c");
}

#[test]
fn mistakes_say_where_they_are() {
    let read_the_docs = "; docs/expressions.md lists all that can be said";
    assert_eq!(mistake(""), "the text is empty; write an expression such as `price * 2`");
    assert_eq!(mistake("a + "), format!("cannot read `a +`: expected an expression, found the end{read_the_docs}"));
    assert_eq!(
        mistake("a + ) b"),
        format!("cannot read `a + ) b`: expected an expression, found ) at character 5{read_the_docs}")
    );
    assert_eq!(mistake("a b"), "`b` is not expected at character 3; a name for the column follows the word `as`");
    assert_eq!(mistake("1 +\nlowr(x)"), "there is no function \"lowr\" at character 5; did you mean \"lower\"?");
    assert_eq!(
        mistake("x > sum(y)"),
        "sum is an aggregate: it cannot stand inside an expression at character 5; \
         list it under the aggregates of a keyed reduce, then compute with its result"
    );
    assert_eq!(
        mistake("max(a, b)"),
        "max is an aggregate: it cannot stand inside an expression at character 1; \
         for the largest of several values in a row use greatest(a, b)"
    );
    assert!(mistake("a in (select b from c)").contains("join with a table instead"));
    assert!(mistake("rank() over (order by a)").contains("window functions"));
    assert!(mistake("now()").contains("take the time from a column"));
    assert!(mistake("cast(a as biginteger)").starts_with("there is no type \"biginteger\""));
    assert!(mistake("substr(a, 0)").contains("positions in SQL text count from 1"));
    assert!(mistake("interval '1 month'").contains("use days"));
    assert!(mistake("extract(dow from t)").contains("isodow"));
    assert!(mistake("'abc").contains("Unterminated string literal"));
    assert!(mistake("regexp_matches(a, b)").contains("takes fixed values only"));
    assert!(parse_aggregate("sum(a) / 2").expect_err("two steps").to_string().contains("is not an aggregate"));
    assert!(parse_aggregate("summ(a)").expect_err("a typo").to_string().contains("did you mean \"sum\"?"));
}

#[test]
fn texts_of_any_size_are_read_or_refused_without_a_crash() {
    for count in [10, 300, 302, 100_000] {
        let chain = vec!["a"; count].join(" + ");
        assert_eq!(parse_expr(&chain).is_ok(), count <= 300, "{count}");
        let nested = format!("{}a{}", "(".repeat(count), ")".repeat(count));
        assert_eq!(parse_expr(&nested).is_ok(), count <= 10, "{count}");
        let list = format!("a in ({})", vec!["1"; count].join(", "));
        assert!(parse_expr(&list).is_ok(), "{count}");
    }
}

#[test]
fn every_function_and_aggregate_is_in_the_documentation() {
    let page = include_str!("../../docs/expressions.md");
    let names = pelton::expr::parse::function_names().chain(pelton::expr::parse::aggregate_names());
    for name in names {
        assert!(page.contains(&format!("`{name}(")), "docs/expressions.md lacks `{name}(`");
    }
}
