//! A web server's log of three days: lines taken apart by regular expressions.

use std::path::Path;
use std::time::Duration;

use pelton::prelude as ours;
use pelton::prelude::{DStream, DataType, StreamingContext, TimeUnit, lit, when};
use polars::prelude as pl;
use polars::prelude::LazyFileListReader;

use crate::{answer, assert_as_polars, shared};

const TIME: &str = r"\[([^\]]+)\]";
const PATH: &str = r#""[A-Z]+ (\S+)"#;
const STATUS: &str = r#"" (\d{3}) "#;
const BYTES: &str = r#"" \d{3} (\d+|-) "#;
const TIME_FORMAT: &str = "%d/%b/%Y:%H:%M:%S %z";

/// `ip`, `second`, `path`, `status` and `bytes`, which are null for `-`.
fn requests(lines: &DStream) -> DStream {
    let line = || ours::col("line");
    let time = line().extract(TIME, 1).parse_timestamp(TIME_FORMAT);
    lines.select([
        line().extract(r"^(\S+)", 1).alias("ip"),
        time.alias("time"),
        line().extract(PATH, 1).alias("path"),
        line().extract(STATUS, 1).cast(DataType::Int64).alias("status"),
        line().extract(BYTES, 1).cast_lossy(DataType::Int64).alias("bytes"),
    ])
}

/// The start of the span of so many seconds, in seconds since 1970.
fn bucket(seconds: u64) -> ours::Expr {
    ours::col("time").truncate(Duration::from_secs(seconds)).epoch(TimeUnit::Second)
}

fn log(file: &Path) -> impl Fn(&StreamingContext) -> DStream {
    move |context| requests(&context.text_file_stream(file).unwrap())
}

fn their_requests(file: &Path) -> pl::LazyFrame {
    let lines = pl::LazyCsvReader::new(file.to_str().unwrap().into())
        .with_has_header(false)
        .with_separator(1)
        .with_quote_char(None)
        .finish()
        .unwrap();
    let line = |pattern: &str| pl::col("column_1").str().extract(pl::lit(pattern.to_owned()), 1);
    let options = pl::StrptimeOptions { format: Some(TIME_FORMAT.into()), ..Default::default() };
    let time = line(TIME).str().to_datetime(Some(pl::TimeUnit::Microseconds), None, options, pl::lit("raise"));
    lines.select([
        line(r"^(\S+)").alias("ip"),
        time.cast(pl::DataType::Int64).floor_div(pl::lit(1_000_000_i64)).alias("second"),
        line(PATH).alias("path"),
        line(STATUS).cast(pl::DataType::Int64).alias("status"),
        line(BYTES).cast(pl::DataType::Int64).alias("bytes"),
    ])
}

fn their_bucket(seconds: i64) -> pl::Expr {
    (pl::col("second").floor_div(pl::lit(seconds)) * pl::lit(seconds)).alias("start")
}

fn ascending(frame: pl::LazyFrame, keys: [&str; 2]) -> pl::LazyFrame {
    frame.sort(keys, pl::SortMultipleOptions::default())
}

#[test]
fn requests_bytes_and_errors_per_class_and_minute_are_those_of_polars() {
    let Some(file) = shared("apache_access.log") else { return };
    let rows = answer(log(&file), |requests| {
        let class = ours::col("status").floor_div(lit(100)).alias("class");
        let is_error = when(ours::col("status").gt_eq(500)).then(lit(1)).otherwise(lit(0));
        let aggregates = [
            ours::len().alias("requests"),
            ours::col("bytes").sum().alias("bytes"),
            ours::col("bytes").count().alias("with_bytes"),
            is_error.mean().alias("error_share"),
        ];
        requests.key_by([class, bucket(60).alias("start")]).aggregate(aggregates).sort(["class", "start"])
    });
    assert!(rows.num_rows() > 200, "{} groups", rows.num_rows());
    let class = pl::col("status").floor_div(pl::lit(100_i64)).alias("class");
    let bytes =
        pl::when(pl::col("bytes").count().gt(pl::lit(0))).then(pl::col("bytes").sum()).otherwise(pl::lit(pl::NULL));
    let theirs = their_requests(&file).group_by([class, their_bucket(60)]).agg([
        pl::len().alias("requests"),
        bytes.alias("bytes"),
        pl::col("bytes").count().alias("with_bytes"),
        pl::col("status").gt_eq(pl::lit(500_i64)).cast(pl::DataType::Float64).mean().alias("error_share"),
    ]);
    assert_as_polars(&rows, ascending(theirs, ["class", "start"]));
}

#[test]
fn the_ten_paths_asked_for_most_are_those_of_polars() {
    let Some(file) = shared("apache_access.log") else { return };
    let rows = answer(log(&file), |requests| {
        let counts = requests.key_by([ours::col("path")]).aggregate([
            ours::len().alias("requests"),
            ours::col("ip").n_unique().alias("visitors"),
            ours::col("status").max().alias("worst"),
        ]);
        counts.top_n(10, [ours::SortBy::from("requests").descending(), "path".into()])
    });
    let theirs = their_requests(&file).group_by([pl::col("path")]).agg([
        pl::len().alias("requests"),
        pl::col("ip").n_unique().alias("visitors"),
        pl::col("status").max().alias("worst"),
    ]);
    let order = pl::SortMultipleOptions::default().with_order_descending_multi([true, false]);
    assert_as_polars(&rows, theirs.sort(["requests", "path"], order).limit(10));
}

#[test]
fn visitors_per_hour_are_those_of_polars() {
    let Some(file) = shared("apache_access.log") else { return };
    let rows = answer(log(&file), |requests| {
        let aggregates = [ours::col("ip").n_unique().alias("visitors"), ours::len().alias("requests")];
        requests.key_by([bucket(3600).alias("start")]).aggregate(aggregates).sort(["start"])
    });
    let theirs = their_requests(&file)
        .group_by([their_bucket(3600)])
        .agg([pl::col("ip").n_unique().alias("visitors"), pl::len().alias("requests")]);
    assert_as_polars(&rows, ascending(theirs, ["start", "visitors"]));
}
