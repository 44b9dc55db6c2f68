//! A year of hourly weather at three airports, as CSV in which `NA` stands for what is missing.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::columnar::polars::to_frame;
use pelton::formats::{Format, FormatKind, FormatOptions};
use pelton::prelude as ours;
use pelton::prelude::{DStream, DataType, JoinKind, RecordBatch, StaticTable, StreamingContext};
use polars::prelude as pl;
use polars::prelude::{IntoLazy, LazyFileListReader};

use crate::{answer, assert_as_polars, shared};

/// The types are found by looking at all records: the first thousand know only whole numbers for some columns.
fn format(file: &Path) -> Arc<dyn Format> {
    let mut options = FormatOptions::new(FormatKind::Csv);
    options.null_values = Some(vec!["NA".to_owned()]);
    options.infer_records = Some(100_000);
    options.build(Some(file)).unwrap()
}

fn weather(file: &Path) -> impl Fn(&StreamingContext) -> DStream {
    move |context| context.file_stream(file, format(file)).unwrap()
}

fn their_weather(file: &Path) -> pl::LazyFrame {
    pl::LazyCsvReader::new(file.to_str().unwrap().into())
        .with_has_header(true)
        .with_infer_schema_length(None)
        .with_null_values(Some(pl::NullValues::AllColumnsSingle("NA".into())))
        .finish()
        .unwrap()
}

fn sorted<const N: usize>(frame: pl::LazyFrame, keys: [&str; N]) -> pl::LazyFrame {
    frame.sort(keys, pl::SortMultipleOptions::default())
}

#[test]
fn the_types_of_all_columns_are_found() {
    let Some(file) = shared("nyc_weather_2013.csv") else { return };
    let schema = format(&file).schema();
    let of = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    for (name, data_type) in [
        ("origin", DataType::Utf8),
        ("year", DataType::Int64),
        ("temp", DataType::Float64),
        ("wind_dir", DataType::Int64),
        ("wind_gust", DataType::Float64),
        ("precip", DataType::Float64),
        ("pressure", DataType::Float64),
    ] {
        assert_eq!(of(name), data_type, "{name}");
    }
    assert!(matches!(of("time_hour"), DataType::Timestamp(..)), "{}", of("time_hour"));
}

#[test]
fn temperatures_by_airport_and_month_are_those_of_polars() {
    let Some(file) = shared("nyc_weather_2013.csv") else { return };
    let rows = answer(weather(&file), |weather| {
        let temp = || ours::col("temp");
        let aggregates = [
            temp().mean().alias("mean"),
            temp().min().alias("min"),
            temp().max().alias("max"),
            temp().std(1).alias("std"),
            ours::len().alias("hours"),
            temp().count().alias("known"),
        ];
        weather.key_by([ours::col("origin"), ours::col("month")]).aggregate(aggregates).sort(["origin", "month"])
    });
    assert_eq!(rows.num_rows(), 36);
    let temp = || pl::col("temp");
    let theirs = their_weather(&file).group_by([pl::col("origin"), pl::col("month")]).agg([
        temp().mean().alias("mean"),
        temp().min().alias("min"),
        temp().max().alias("max"),
        temp().std(1).alias("std"),
        pl::len().alias("hours"),
        temp().count().alias("known"),
    ]);
    assert_as_polars(&rows, sorted(theirs, ["origin", "month"]));
}

#[test]
fn filters_of_columns_with_nulls_keep_the_rows_that_polars_keeps() {
    let Some(file) = shared("nyc_weather_2013.csv") else { return };
    let rows = answer(weather(&file), |weather| {
        let windy = ours::col("wind_gust").gt(25.0).and(ours::col("pressure").lt(1005.0));
        let kept = weather.filter(windy.or(ours::col("temp").is_null()));
        kept.select(["origin", "month", "day", "hour", "wind_dir", "wind_gust", "pressure", "temp"].map(ours::col))
    });
    assert!(rows.num_rows() > 100, "{} rows", rows.num_rows());
    let windy = pl::col("wind_gust").gt(pl::lit(25.0)).and(pl::col("pressure").lt(pl::lit(1005.0)));
    let theirs = their_weather(&file).filter(windy.or(pl::col("temp").is_null()));
    let names = ["origin", "month", "day", "hour", "wind_dir", "wind_gust", "pressure", "temp"];
    assert_as_polars(&rows, theirs.select(names.map(pl::col)));
}

#[test]
fn quantiles_and_missing_values_are_those_of_polars() {
    let Some(file) = shared("nyc_weather_2013.csv") else { return };
    const COLUMNS: [&str; 5] = ["temp", "wind_dir", "wind_gust", "pressure", "humid"];
    let rows = answer(weather(&file), |weather| {
        let quantile =
            |share: f64| COLUMNS.map(|name| ours::col(name).quantile(share).alias(format!("{name} {share}")));
        let missing =
            COLUMNS.map(|name| ours::len().filter(ours::col(name).is_null()).alias(format!("{name} missing")));
        weather.aggregate(missing.into_iter().chain([0.05, 0.5, 0.9, 1.0].map(quantile).concat()))
    });
    let quantile = |share: f64| {
        let of = |name: &str| pl::col(name).quantile(pl::lit(share), pl::QuantileMethod::Linear);
        COLUMNS.map(|name| of(name).alias(format!("{name} {share}")))
    };
    let missing = COLUMNS.map(|name| pl::col(name).null_count().alias(format!("{name} missing")));
    let all = missing.into_iter().chain([0.05, 0.5, 0.9, 1.0].map(quantile).concat()).collect::<Vec<_>>();
    assert_as_polars(&rows, their_weather(&file).select(all));
}

/// Names and runways of two of the three airports.
fn airports() -> RecordBatch {
    let codes: ArrayRef = Arc::new(StringArray::from(vec!["JFK", "EWR", "ORD"]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["Kennedy", "Newark", "O'Hare"]));
    let runways: ArrayRef = Arc::new(Int64Array::from(vec![4, 3, 8]));
    RecordBatch::try_from_iter([("code", codes), ("name", names), ("runways", runways)]).unwrap()
}

#[test]
fn joins_with_a_table_of_airports_are_those_of_polars() {
    let Some(file) = shared("nyc_weather_2013.csv") else { return };
    for (kind, their_kind) in [(JoinKind::Inner, pl::JoinType::Inner), (JoinKind::Left, pl::JoinType::Left)] {
        let rows = answer(weather(&file), |weather| {
            let table = StaticTable::new("airports", airports());
            let joined = weather.join_static(table, [("origin", "code")], kind).unwrap();
            let aggregates =
                [ours::len().alias("hours"), (ours::col("precip") * ours::col("runways")).sum().alias("rain")];
            joined.key_by([ours::col("name"), ours::col("month")]).aggregate(aggregates).sort(["name", "month"])
        });
        // The sum of nothing is 0 in Polars.
        let rain = pl::col("precip") * pl::col("runways");
        let rain = pl::when(rain.clone().count().gt(pl::lit(0))).then(rain.sum()).otherwise(pl::lit(pl::NULL));
        let airports = to_frame(&airports()).unwrap().lazy();
        let joined = their_weather(&file).join(airports, [pl::col("origin")], [pl::col("code")], their_kind.into());
        let theirs =
            joined.group_by([pl::col("name"), pl::col("month")]).agg([pl::len().alias("hours"), rain.alias("rain")]);
        let order = pl::SortMultipleOptions::default().with_nulls_last(true);
        assert_as_polars(&rows, theirs.sort(["name", "month"], order));
    }
}
