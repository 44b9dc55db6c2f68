//! The queries that are killed.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::prelude::*;

/// A query over visits.
pub(crate) struct Query {
    pub(crate) name: &'static str,
    pub(crate) stream: fn(&DStream) -> Result<DStream>,
}

pub(crate) const ALL: &[Query] = &[
    Query {
        name: "rows",
        stream: |visits| Ok(visits.filter(col("n").gt(10)).select([col("city"), col("n") * lit(2)])),
    },
    Query {
        name: "batches",
        stream: |visits| Ok(visits.key_by([col("city")]).aggregate([len().alias("visits"), col("n").sum().alias("n")])),
    },
    Query {
        name: "running",
        stream: |visits| {
            let aggregates = [len().alias("visits"), col("n").mean().alias("mean"), col("n").max().alias("most")];
            Ok(visits.key_by([col("city")]).running(aggregates))
        },
    },
    Query {
        name: "everything",
        stream: |visits| Ok(visits.key_by([col("city")]).output_mode(OutputMode::Complete).running(many_aggregates())),
    },
    Query { name: "wide", stream: |visits| Ok(visits.key_by([col("n"), col("city")]).running(wide_aggregates())) },
    Query {
        name: "wide windows",
        stream: |visits| {
            let windows = sliding_window(col("time"), seconds(12), seconds(4));
            let visits = visits.with_watermark("time", seconds(3));
            Ok(visits.key_by([col("n"), col("city"), windows]).aggregate(wide_aggregates()))
        },
    },
    Query {
        name: "total",
        stream: |visits| Ok(visits.key_by([]).running([len().alias("visits"), col("n").sum().alias("n")])),
    },
    Query {
        name: "tumbling",
        stream: |visits| {
            let visits = visits.with_watermark("time", seconds(5));
            Ok(visits.key_by([col("city"), window(col("time"), seconds(5))]).aggregate(many_aggregates()))
        },
    },
    Query {
        name: "sessions",
        stream: |visits| {
            let visits = visits.with_watermark("time", seconds(5));
            Ok(visits.key_by([col("city"), session_window(col("time"), seconds(3))]).aggregate(many_aggregates()))
        },
    },
    Query {
        name: "sliding",
        stream: |visits| {
            let windows = sliding_window(col("time"), seconds(12), seconds(4));
            let visits = visits.with_watermark("time", seconds(3));
            Ok(visits.key_by([windows]).output_mode(OutputMode::Update).aggregate(many_aggregates()))
        },
    },
    Query {
        name: "joined",
        stream: |visits| {
            let left = visits.filter(col("n").lt(50)).with_watermark("time", seconds(4));
            let right = visits.filter(col("n").gt_eq(40)).select([
                col("city").alias("town"),
                col("time").alias("seen"),
                col("n").alias("m"),
            ]);
            let right = right.with_watermark("seen", seconds(4));
            let within = (seconds(1), seconds(2));
            Ok(left.join_within(&right, [("city", "town")], ("time", "seen"), within, StreamJoinKind::Full))
        },
    },
    Query {
        name: "as of",
        stream: |visits| {
            let left = visits.filter(col("n").lt(50)).with_watermark("time", seconds(4));
            let right = visits.filter(col("n").gt_eq(40)).select([
                col("city").alias("town"),
                col("time").alias("seen"),
                col("n").alias("m"),
            ]);
            let right = right.with_watermark("seen", seconds(4));
            let times = ("time", "seen");
            Ok(left.join_asof_stream(&right, [("city", "town")], times, Some(seconds(3)), StreamJoinKind::Left))
        },
    },
    Query {
        name: "counted",
        stream: |visits| Ok(visits.key_by([col("city")]).count_window_sliding(7, 3, many_aggregates())),
    },
    Query {
        name: "many panes",
        stream: |visits| {
            let windows = sliding_window(col("time"), seconds(20), seconds(1));
            let visits = visits.with_watermark("time", seconds(3));
            let few = [len().alias("visits"), col("n").max().alias("most"), col("city").last().alias("last")];
            Ok(visits.key_by([col("n") % lit(3), windows]).aggregate(few))
        },
    },
    Query {
        name: "forgetful",
        stream: |visits| Ok(visits.key_by([col("n")]).ttl(seconds(3_600)).running(many_aggregates())),
    },
    Query {
        name: "remembered",
        stream: |visits| {
            let keyed = visits.key_by([col("city")]).named("sums");
            Ok(keyed.map_with_state([col("n")], |_: &Option<String>, n: Option<i64>, sum: &mut State<Vec<i64>>| {
                let mut all = sum.remove().unwrap_or_default();
                all.extend(n);
                let answer = (all.len() as u64, all.iter().sum::<i64>());
                // Now and then all is forgotten.
                if all.len() < 13 {
                    sum.set(all);
                }
                answer
            }))
        },
    },
    Query {
        name: "begun",
        stream: |visits| {
            let keyed = visits.key_by([col("city")]).initial_state(known());
            Ok(keyed.running([len().alias("visits"), col("n").sum().alias("sum"), col("n").max().alias("most")]))
        },
    },
    Query {
        name: "begun for a while",
        stream: |visits| {
            let keyed = visits.key_by([col("city")]).initial_state(known()).ttl(seconds(3_600));
            let keyed = keyed.output_mode(OutputMode::Complete);
            Ok(keyed.running([len().alias("visits"), col("n").sum().alias("sum"), col("n").max().alias("most")]))
        },
    },
    Query {
        name: "begun closures",
        stream: |visits| {
            let keyed = visits
                .key_by([col("city")])
                .initial_pairs([("Oslo".to_owned(), 1_000_i64), ("Nowhere".to_owned(), 7)])?;
            let keyed = keyed.output_mode(OutputMode::Complete);
            Ok(keyed.update_state_by_key([col("n")], |_: &String, n: Vec<i64>, sum: Option<i64>| {
                Some(n.into_iter().sum::<i64>() + sum.unwrap_or(0))
            }))
        },
    },
    Query {
        name: "folded",
        stream: |visits| {
            let longest = WindowReduce::by(|a: (f64, i64), b: (f64, i64)| (a.0 + b.0, a.1.max(b.1)));
            let values = [col("n").cast(DataType::Float64) / lit(7.0), col("n")];
            Ok(visits.key_by([col("city")]).reduce_over_batches(values, seconds(3_600), None, longest))
        },
    },
    Query {
        name: "folded with an inverse",
        stream: |visits| {
            let sums = WindowReduce::by(|a: i64, b: i64| a + b).inverse(|sum, left| sum - left);
            let sums = sums.keep_if(|_: &(String, i64), sum: &i64| sum % 5 != 0);
            let keyed = visits.key_by([col("city"), col("n") % lit(3)]).named("sums");
            Ok(keyed.reduce_over_batches([col("n")], seconds(3_600), None, sums))
        },
    },
    Query {
        name: "unique",
        stream: |visits| {
            let visits = visits.with_watermark("time", seconds(3));
            Ok(visits
                .drop_duplicates_within_watermark(["city", "time"])
                .validate([Rule::unique_by(["city", "n"], Remember::Window(seconds(7))).or_drop()])
                .key_by([col("city")])
                .running(many_aggregates()))
        },
    },
    Query {
        name: "twice",
        stream: |visits| {
            let visits = visits.with_watermark("time", seconds(2));
            let windows = visits.key_by([col("city"), window(col("time"), seconds(4))]).aggregate([len().alias("n")]);
            Ok(windows.key_by([col("city")]).named("most").running([col("n").max().alias("most")]))
        },
    },
];

/// Two cities of which something is known before the first batch; one of them never comes.
fn known() -> RecordBatch {
    let numbers = |numbers: [i64; 2]| -> ArrayRef { Arc::new(Int64Array::from(numbers.to_vec())) };
    let cities: ArrayRef = Arc::new(StringArray::from(vec!["Rome", "Nowhere"]));
    let columns =
        [("most", numbers([99, 1])), ("city", cities), ("visits", numbers([5, 1])), ("sum", numbers([200, 1]))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Aggregates whose groups may lie in key groups.
fn wide_aggregates() -> Vec<Aggregate> {
    let n = || col("n");
    vec![
        len().alias("visits"),
        n().sum().alias("sum"),
        n().cast(DataType::Float64).mean().alias("mean"),
        n().std(1).alias("std"),
        col("time").max().alias("latest"),
        n().last().alias("last"),
    ]
}

fn many_aggregates() -> Vec<Aggregate> {
    let n = || col("n");
    vec![
        len().alias("visits"),
        n().sum().alias("sum"),
        n().cast(DataType::Float64).mean().alias("mean"),
        n().std(1).alias("std"),
        n().min().alias("least"),
        n().quantile(0.5).alias("median"),
        n().n_unique().alias("different"),
        col("city").first().alias("first"),
        col("city").max().alias("last"),
    ]
}

pub(crate) fn by_name(name: &str) -> &'static Query {
    ALL.iter().find(|query| query.name == name).unwrap()
}
