//! What keeps something, and whose rows go to several sinks: it is there once, in the plan, in its work and in its checkpoint.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::memory::MemorySink;
use pelton::prelude::*;
use pelton::runtime::CheckpointPlace;

use crate::lay_out;
use crate::queries::{self, Query};

/// The queries that keep something of which all batches can be compared: those that do not go by the time of the clock.
const KEEP: &[&str] =
    &["running", "wide", "tumbling", "sessions", "joined", "as of", "counted", "remembered", "unique", "folded"];

/// Rows of each batch as text.
fn texts(sink: &MemorySink) -> Vec<(u64, String)> {
    let text = |rows: &RecordBatch| pelton::columnar::pretty::table(std::slice::from_ref(rows), usize::MAX);
    sink.batches().iter().filter(|(_, rows)| rows.num_rows() > 0).map(|(batch, rows)| (*batch, text(rows))).collect()
}

/// Lives of a query that gives the rows of a stream to so many sinks, and those of which `n` is not 2 to one more; each life has
/// some batches. Gives what the sinks have after all of them.
fn lives(input: &Path, query: &Query, sinks: usize, batches: &[usize]) -> Vec<Vec<(u64, String)>> {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![Vec::new(); sinks];
    for &batches in batches {
        let place = CheckpointPlace {
            store: Arc::new(FolderStore::new(folder.path()).sync(false)),
            options: CheckpointOptions { snapshot_every: 3, retain: 10 },
        };
        let builder = StreamingContext::builder(query.name).trigger(Trigger::Manual).partitions(2);
        let context = builder
            .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
            .checkpoint_at(place)
            .build()
            .unwrap();
        let schema = Schema::new(vec![
            Field::new("time", DataType::Timestamp(TimeUnit::Second, None), true),
            Field::new("city", DataType::Utf8, true),
            Field::new("n", DataType::Int64, true),
        ]);
        let stream = (query.stream)(&context.csv_file_stream(input, schema).unwrap()).unwrap();
        let memory = (0..sinks).map(|_| MemorySink::new()).collect::<Vec<_>>();
        memory.iter().for_each(|sink| stream.write(sink.clone()).unwrap());
        let text = context.explain().unwrap();
        let operators = text.lines().filter(|line| line.trim_start().starts_with("keep \"")).collect::<Vec<_>>();
        let mut names = operators.iter().map(|line| line.split('"').nth(1).unwrap()).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), operators.len(), "{}: an operator is there twice:\n{text}", query.name);
        let running = context.start().unwrap();
        let mut states = running.states();
        states.sort_unstable();
        assert_eq!(states, names, "{}", query.name);
        (0..batches).for_each(|_| drop(running.tick().unwrap().unwrap()));
        running.stop(StopMode::Graceful);
        running.await_termination().unwrap();
        all.iter_mut().zip(&memory).for_each(|(all, sink)| all.extend(texts(sink)));
    }
    let state = folder.path().join("state");
    assert!(fs::read_dir(state).unwrap().count() > 0, "{}: nothing was kept", query.name);
    all
}

#[test]
fn an_operator_with_several_sinks_is_there_once_and_goes_on_after_a_restart() {
    const FILES: usize = 6;
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), FILES);
    for name in KEEP {
        let query = queries::by_name(name);
        let alone = lives(input.path(), query, 1, &[FILES]).pop().unwrap();
        assert!(!alone.is_empty(), "{name}");
        for batches in [vec![FILES], vec![2, 1, 3]] {
            for sink in lives(input.path(), query, 3, &batches) {
                assert_eq!(sink, alone, "{name}, {batches:?}");
            }
        }
    }
}

#[test]
fn branches_behind_an_operator_have_each_its_own_rows() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 4);
    let context = StreamingContext::builder("branches").trigger(Trigger::AvailableNow).partitions(3).build().unwrap();
    let schema = Schema::new(vec![
        Field::new("time", DataType::Timestamp(TimeUnit::Second, None), true),
        Field::new("city", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]);
    let unique = context.csv_file_stream(input.path(), schema).unwrap().drop_duplicates(["city", "n"]);
    let [all, oslo, rest, counted] = [(); 4].map(|()| MemorySink::new());
    unique.write(all.clone()).unwrap();
    unique.filter(col("city").eq("Oslo")).select([col("n")]).write(oslo.clone()).unwrap();
    unique.filter(col("city").not_eq("Oslo")).write(rest.clone()).unwrap();
    unique.key_by([]).running([len().alias("rows")]).write(counted.clone()).unwrap();
    let query = context.start().unwrap();
    assert_eq!(query.states().len(), 2);
    query.await_termination().unwrap();
    let rows = |sink: &MemorySink| sink.rows().unwrap().map_or(0, |rows| rows.num_rows());
    assert!(rows(&oslo) > 0 && rows(&rest) > 0);
    assert_eq!(rows(&oslo) + rows(&rest), rows(&all));
    let last = counted.batches().pop().unwrap().1;
    assert_eq!(Scalar::from_array(last.column(0), 0).unwrap(), i64::try_from(rows(&all)).unwrap().into());
}
