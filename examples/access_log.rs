//! Requests, bytes and error share per minute, from an access log in Apache's combined format.
//!
//! Run it with `cargo run --example access_log`, or `cargo run --example access_log '/var/log/apache2/*.log'`.

use std::time::Duration;

use pelton::prelude::*;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "datasets/samples/access_log/*.log".to_owned());
    let context = StreamingContext::builder("access log").trigger(Trigger::AvailableNow).build()?;

    let line = || col("line");
    let requests = context.text_file_stream(path)?.select([
        line().extract(r"\[([^\]]+)\]", 1).parse_timestamp_lossy("%d/%b/%Y:%H:%M:%S %z").alias("time"),
        line().extract(r#"" (\d{3}) "#, 1).cast_lossy(DataType::Int32).alias("status"),
        line().extract(r#"" \d{3} (\d+)"#, 1).cast_lossy(DataType::Int64).fill_null(lit(0)).alias("bytes"),
    ]);
    requests
        .filter(col("time").is_not_null().and(col("status").is_not_null()))
        .key_by([col("time").truncate(Duration::from_secs(60)).alias("minute")])
        .aggregate([
            len().alias("requests"),
            col("bytes").sum().alias("bytes"),
            len().filter(col("status").gt_eq(lit(400))).alias("errors"),
        ])
        .with_columns([(col("errors") * lit(100.0) / col("requests")).round(1).alias("error_percent")])
        .sort(["minute"])
        .print(20)?;
    context.start()?.await_termination().map(drop)
}
