//! How many people live in each city: a count per key. Run it with `cargo run --example people_per_city`.

use pelton::prelude::*;

fn main() -> Result<()> {
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, true),
        Field::new("age", DataType::Int64, true),
        Field::new("city", DataType::Utf8, true),
    ]);
    let context = StreamingContext::builder("people per city").trigger(Trigger::AvailableNow).build()?;
    let people = context.csv_file_stream("datasets/samples/people/*.csv", schema)?;

    // Counts and means, by expressions: these run on columns.
    people
        .key_by([col("city")])
        .aggregate([len().alias("people"), col("age").mean().alias("mean_age")])
        .sort([SortBy::from(col("people")).descending(), "city".into()])
        .print(20)?;

    // The same rows, put together two by two by any associative closure.
    people.key_by([col("city")]).reduce(col("age"), |a: i64, b: i64| a.max(b)).sort(["city"]).print(20)?;

    context.start()?.await_termination().map(drop)
}
