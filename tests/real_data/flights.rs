//! Two hundred thousand flights in an Arrow file: delay in minutes, distance in miles, hour of the day with a fraction.

use std::path::Path;
use std::sync::Arc;

use pelton::columnar::polars::to_frame;
use pelton::formats::{Format, FormatKind, FormatOptions};
use pelton::prelude as ours;
use pelton::prelude::{DStream, DataType, SortBy, StaticTable, StreamingContext, lit, when};
use polars::prelude as pl;
use polars::prelude::IntoLazy;

use crate::{answer, assert_as_polars, shared};

fn format(file: &Path) -> Arc<dyn Format> {
    FormatOptions::new(FormatKind::Arrow).build(Some(file)).unwrap()
}

fn flights(file: &Path) -> impl Fn(&StreamingContext) -> DStream {
    move |context| context.file_stream(file, format(file)).unwrap()
}

/// The same rows as a frame, by our own way into Polars.
fn their_flights(file: &Path) -> pl::LazyFrame {
    let table = StaticTable::read(file, &format(file)).unwrap();
    assert_eq!(table.rows().num_rows(), 200_000);
    to_frame(table.rows()).unwrap().lazy()
}

#[test]
fn delays_by_hour_are_those_of_polars() {
    let Some(file) = shared("flights_200k.arrow") else { return };
    let rows = answer(flights(&file), |flights| {
        let delay = || ours::col("delay");
        let hour = ours::col("time").floor().cast(DataType::Int64).alias("hour");
        let aggregates = [
            delay().mean().alias("mean"),
            delay().var(1).alias("var"),
            delay().sum().alias("sum"),
            delay().min().alias("min"),
            ours::len().alias("flights"),
        ];
        flights.key_by([hour]).aggregate(aggregates).sort(["hour"])
    });
    assert!(rows.num_rows() >= 20, "{} hours", rows.num_rows());
    let delay = || pl::col("delay");
    let hour = pl::col("time").floor().cast(pl::DataType::Int64).alias("hour");
    let theirs = their_flights(&file).group_by([hour]).agg([
        delay().mean().alias("mean"),
        delay().cast(pl::DataType::Float64).var(1).alias("var"),
        delay().cast(pl::DataType::Int64).sum().alias("sum"),
        delay().min().alias("min"),
        pl::len().alias("flights"),
    ]);
    assert_as_polars(&rows, theirs.sort(["hour"], pl::SortMultipleOptions::default()));
}

#[test]
fn classes_of_distance_are_those_of_polars() {
    let Some(file) = shared("flights_200k.arrow") else { return };
    let rows = answer(flights(&file), |flights| {
        let distance = || ours::col("distance");
        let class = when(distance().lt(300))
            .then(lit("short"))
            .when(distance().lt(1500))
            .then(lit("middle"))
            .otherwise(lit("long"));
        let aggregates = [
            ours::len().alias("flights"),
            ours::len().filter(ours::col("delay").gt(15)).alias("late"),
            ours::col("time").mean().alias("mean_time"),
            distance().n_unique().alias("distances"),
            ours::col("delay").quantile(0.9).alias("p90"),
        ];
        flights.key_by([class.alias("class")]).aggregate(aggregates).sort(["class"])
    });
    assert_eq!(rows.num_rows(), 3);
    let distance = || pl::col("distance");
    let class = pl::when(distance().lt(pl::lit(300)))
        .then(pl::lit("short"))
        .when(distance().lt(pl::lit(1500)))
        .then(pl::lit("middle"))
        .otherwise(pl::lit("long"));
    let theirs = their_flights(&file).group_by([class.alias("class")]).agg([
        pl::len().alias("flights"),
        pl::col("delay").gt(pl::lit(15)).sum().alias("late"),
        pl::col("time").cast(pl::DataType::Float64).mean().alias("mean_time"),
        distance().n_unique().alias("distances"),
        pl::col("delay").quantile(pl::lit(0.9), pl::QuantileMethod::Linear).alias("p90"),
    ]);
    assert_as_polars(&rows, theirs.sort(["class"], pl::SortMultipleOptions::default()));
}

#[test]
fn the_latest_flights_and_the_order_of_all_are_those_of_polars() {
    let Some(file) = shared("flights_200k.arrow") else { return };
    let columns = ["delay", "distance", "time"];
    let by = || [SortBy::from("delay").descending(), SortBy::from("distance"), SortBy::from("time").descending()];
    let order = || pl::SortMultipleOptions::default().with_order_descending_multi([true, false, true]);
    let theirs = || their_flights(&file).select(columns.map(pl::col)).sort(columns, order());
    let top = answer(flights(&file), |flights| flights.select(columns.map(ours::col)).top_n(500, by()));
    assert_as_polars(&top, theirs().limit(500));
    let all = answer(flights(&file), |flights| flights.select(columns.map(ours::col)).sort(by()));
    assert_eq!(all.num_rows(), 200_000);
    assert_as_polars(&all, theirs());
}
