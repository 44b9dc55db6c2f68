//! State without room in memory: what comes out and what can be seen from outside is what it is with room, batch by batch.

use pelton::prelude::*;

use crate::common::Random;
use crate::{Stage, lines, seconds};

type Make = fn(&DStream) -> DStream;

/// Each kind that keeps single keys; with and without things that are due.
const KINDS: &[(&str, Make)] = &[
    ("sums", |visits| {
        let keyed = visits.key_by([col("city"), col("n") % lit(7)]);
        keyed.update_state_by_key([col("n")], |_: &(String, i64), new: Vec<i64>, sum: Option<i64>| {
            Some(new.iter().sum::<i64>() + sum.unwrap_or(0)).filter(|sum| sum % 5 != 0)
        })
    }),
    ("timed out", |visits| {
        let keyed = visits.key_by([col("city")]).ttl(seconds(3));
        keyed.map_with_state([col("n")], |city: &String, n: Option<i64>, sum: &mut State<i64>| {
            let is_over = sum.is_timed_out();
            let all = sum.get().copied().unwrap_or(0) + n.unwrap_or(0);
            if !is_over {
                sum.set(all);
            }
            (city.clone(), all, is_over)
        })
    }),
    ("complete", |visits| {
        let keyed = visits.key_by([col("n")]).output_mode(OutputMode::Complete);
        keyed.update_state_by_key([col("n")], |_: &i64, new: Vec<i64>, sum: Option<i64>| {
            Some(i64::try_from(new.len()).unwrap() + sum.unwrap_or(0))
        })
    }),
    ("all", |visits| visits.drop_duplicates(["city", "n"])),
    ("for a while", |visits| visits.drop_duplicates_by(["n"], Remember::Batches(seconds(3)), None)),
    ("within", |visits| visits.with_watermark("time", seconds(3)).drop_duplicates_within_watermark(["city", "n"])),
    ("sessions", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([col("city"), session_window(col("time"), seconds(2))]);
        keyed.aggregate([
            len().alias("visits"),
            col("n").first().alias("first"),
            col("n").quantile(0.5).alias("median"),
        ])
    }),
    ("open sessions", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([col("city"), session_window(col("time"), seconds(2))]);
        keyed.output_mode(OutputMode::Complete).aggregate([col("n").sum().alias("sum")])
    }),
    ("counted", |visits| {
        let keyed = visits.key_by([col("city"), col("n") % lit(3)]);
        keyed.count_window_sliding(5, 2, [col("n").sum().alias("sum"), col("n").last().alias("last")])
    }),
    ("forgetful", |visits| {
        let keyed = visits.key_by([col("city"), col("n") % lit(9)]).ttl(seconds(2));
        keyed.running([len().alias("visits"), col("n").std(1).alias("std"), col("n").n_unique().alias("different")])
    }),
    ("forgetful and complete", |visits| {
        let keyed = visits.key_by([col("n") % lit(11)]).ttl(seconds(2));
        keyed.output_mode(OutputMode::Complete).running([col("n").sum().alias("sum")])
    }),
    ("one", |visits| visits.key_by([]).count_window(7, [col("n").sum().alias("sum")])),
    ("codes", |visits| {
        let code = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let visits = visits.select([col("city").cast(code).alias("city"), col("n"), col("time")]);
        visits.key_by([col("city")]).ttl(seconds(3)).running([col("n").max().alias("most")])
    }),
    ("folded", |visits| {
        let texts = WindowReduce::by(|a: (String, f64), b: (String, f64)| (a.0 + &b.0, a.1 + b.1));
        let values = [col("city"), col("n").cast(DataType::Float64) / lit(7.0)];
        visits.key_by([col("city"), col("n") % lit(5)]).reduce_over_batches(values, seconds(4), None, texts)
    }),
    ("folded now and then", |visits| {
        let most = WindowReduce::by(|a: i64, b: i64| a.max(b));
        visits.key_by([col("n")]).reduce_over_batches([col("n")], seconds(6), Some(seconds(3)), most)
    }),
    ("folded with an inverse", |visits| {
        let sums = WindowReduce::by(|a: i64, b: i64| a + b).inverse(|sum, left| sum - left);
        visits.key_by([col("city"), col("n") % lit(6)]).reduce_over_batches([col("n")], seconds(3), None, sums)
    }),
    ("folded and let go", |visits| {
        let sums = WindowReduce::by(|a: i64, b: i64| a + b).inverse(|sum, left| sum - left);
        let sums = sums.keep_if(|_: &(String, i64), sum: &i64| sum % 4 != 0);
        visits.key_by([col("city"), col("n") % lit(6)]).reduce_over_batches([col("n")], seconds(3), None, sums)
    }),
    ("folded in one", |visits| {
        let longest = WindowReduce::by(|a: String, b: String| if b.len() > a.len() { b } else { a });
        visits.key_by([]).reduce_over_batches([col("city")], seconds(5), None, longest)
    }),
    ("joined", |visits| {
        let (left, right) = both(visits);
        let within = (seconds(1), seconds(2));
        left.join_within(&right, [("city", "town")], ("time", "seen"), within, StreamJoinKind::Full)
    }),
    ("as of", |visits| {
        let (left, right) = both(visits);
        let times = ("time", "seen");
        left.join_asof_stream(&right, [("city", "town")], times, Some(seconds(3)), StreamJoinKind::Left)
    }),
];

fn both(visits: &DStream) -> (DStream, DStream) {
    let left = visits.filter(col("n").lt(30)).with_watermark("time", seconds(3));
    let columns = [col("city").alias("town"), col("time").alias("seen"), col("n").alias("m")];
    (left, visits.filter(col("n").gt_eq(20)).select(columns).with_watermark("seen", seconds(3)))
}

fn progress_of(stage: &Stage, rows: &[(i64, &str, i64)]) -> (String, pelton::kernels::spill::Spilled) {
    let progress = stage.progress(rows);
    let (_, rows) = stage.sink.batches().pop().unwrap();
    (lines(&rows), progress.spilled.unwrap_or_default())
}

#[test]
fn nobody_sees_whether_there_was_room() {
    for (name, make) in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let roomy = Stage::new(make);
        // Room for nothing, and for some of it.
        let rooms = [1, 3_000].map(|bytes| {
            let folder = folder.path().join(bytes.to_string());
            Stage::with(|builder| builder.state_memory(bytes).spill_folder(folder), make)
        });
        let state = |stage: &Stage| stage.query.state(stage.query.states()[0]).unwrap();
        let mut random = Random::new(11);
        let mut most = [0, 0];
        for batch in 0_i64..20 {
            // Now and then nothing comes, so that keys wait for their time alone.
            let count = if batch % 7 == 6 { 0 } else { 1 + random.below(40) };
            let mut rows = Vec::new();
            for _ in 0..count {
                let time = batch + 4 - i64::try_from(random.below(6)).unwrap();
                let city = random.pick(&["Oslo", "Rome", "Lima", "Bonn", "Kyiv", ""]);
                rows.push((time, city, i64::try_from(random.below(50)).unwrap()));
            }
            let (expected, _) = progress_of(&roomy, &rows);
            let seen = state(&roomy);
            for (stage, most) in rooms.iter().zip(&mut most) {
                let (answer, spilled) = progress_of(stage, &rows);
                assert_eq!(answer, expected, "{name}, batch {batch}");
                *most = spilled.key_groups.max(*most);
                let state = state(stage);
                assert_eq!(state.len().unwrap(), seen.len().unwrap(), "{name}, batch {batch}");
                assert_eq!(lines(&state.scan().unwrap()), lines(&seen.scan().unwrap()), "{name}, batch {batch}");
                let columns = seen.scan().unwrap().columns().to_vec();
                let is_by_city = columns.first().is_some_and(|column| column.data_type() == &DataType::Utf8);
                if is_by_city && let (Ok(expected), Ok(one)) = (seen.get(["Rome"]), state.get(["Rome"])) {
                    assert_eq!(lines(&one), lines(&expected), "{name}, batch {batch}");
                }
            }
        }
        assert!(most[0] > 0 && most[1] <= most[0], "{name}: {most:?}");
    }
}
