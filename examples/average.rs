//! The average of the numbers of each line, batch by batch, from a watched directory.
//!
//! `cargo run --example average` reads the bundled samples and ends; `cargo run --example average incoming/` watches a
//! directory, a batch a second, until it is stopped.

use std::time::Duration;

use pelton::prelude::*;

/// Words that are no numbers count for nothing; a line without numbers has no average.
fn average(line: &str) -> Option<f64> {
    let numbers = line.split(' ').filter_map(|word| word.parse::<f64>().ok());
    let (count, sum) = numbers.fold((0.0, 0.0), |(count, sum), number| (count + 1.0, sum + number));
    (count > 0.0).then(|| sum / count)
}

fn main() -> Result<()> {
    let (directory, trigger) = match std::env::args().nth(1) {
        Some(directory) => (directory, Trigger::Interval(Duration::from_secs(1))),
        None => ("datasets/samples/numbers".to_owned(), Trigger::AvailableNow),
    };
    let context = StreamingContext::builder("average").trigger(trigger).build()?;
    context
        .text_file_stream(directory)?
        .map_lines(|line| (line.to_owned(), average(line)))
        .select([col("_1").alias("line"), col("_2").alias("average")])
        .filter(col("average").is_not_null())
        .print(10)?;
    context.start()?.await_termination().map(drop)
}
