//! Pelton without a stream: a chain compiled once, run by several threads, and one answer of rows that lie apart.
//! Run it with `cargo run --example program`.

#![expect(clippy::print_stdout, reason = "a program may print")]

use pelton::columnar::pretty::table;
use pelton::generate::{Options, generator};
use pelton::prelude::*;

fn main() -> Result<()> {
    let weather = generator("measurements", 7, &Options::default())?;
    let mean = col("temperature").mean().alias("mean");
    let chain = Chain::new()
        .filter(col("temperature").gt(0))
        .key_by([col("station")])
        .aggregate([len().alias("warm"), mean, col("temperature").max().alias("max")])
        .top_n(5, [SortBy::from("max").descending()]);
    let program = Program::compile(&weather.schema(), &chain, Device::Auto)?;
    println!("{}", program.explain());
    println!("{}", table(&[program.run(&weather.rows(0, 1_000)?)?], 5));

    // Four threads share the program; what each makes of its rows is merged in the order of the rows.
    let parts = std::thread::scope(|scope| {
        let part = |first_row| program.partial(&weather.rows(first_row, 25_000)?);
        let threads = [0, 25_000, 50_000, 75_000].map(|first_row| scope.spawn(move || part(first_row)));
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err(Error::internal("a thread panicked"))))
    });
    let mut all = program.partial(&weather.rows(0, 0)?)?;
    parts.into_iter().try_for_each(|part| all.merge(part?))?;
    println!("{}", table(&[all.finish()?], 5));
    Ok(())
}
