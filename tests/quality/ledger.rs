//! Where rows went: every row that came into a stage is accounted for, and who loses rows is found out.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::connectors::directory::DirectorySource;
use pelton::connectors::queue::QueueSource;
use pelton::connectors::{Available, OffsetRange, Replay, Source};
use pelton::formats::{BatchReader, CheckedRows, ReadReport};
use pelton::kernels::Flow;

use super::*;

fn numbers(rows: i64) -> RecordBatch {
    let values: ArrayRef = Arc::new((0..rows).collect::<Int64Array>());
    let words: ArrayRef = Arc::new(
        (0..rows).map(|n| Some("a b c"[..usize::try_from(n % 6).unwrap()].to_owned())).collect::<StringArray>(),
    );
    RecordBatch::try_from_iter_with_nullable([("n", values, true), ("words", words, true)]).unwrap()
}

fn flows(partitions: usize, describe: impl Fn(&DStream) -> DStream) -> Vec<Flow> {
    let builder = StreamingContext::builder("numbers").trigger(Trigger::AvailableNow).partitions(partitions);
    let context = builder.build().unwrap();
    context.quarantine(MemorySink::new()).unwrap();
    let (queue, source) = QueueSource::new(numbers(0).schema());
    queue.push(vec![numbers(30_000), numbers(0), numbers(3)]).unwrap();
    queue.close();
    describe(&context.source("numbers", source).unwrap()).write(MemorySink::new()).unwrap();
    let query = context.start().unwrap();
    query.await_termination().unwrap();
    query.progress()[0].stages.iter().map(|stage| stage.flow).collect()
}

#[test]
fn every_row_is_accounted_for_whatever_is_done_with_it() {
    let table = numbers(10).project(&[0]).unwrap();
    let all = |stream: &DStream| {
        stream
            .filter(col("n").gt_eq(3))
            .validate([
                Rule::holds(col("n").lt(29_000)).or_drop(),
                Rule::holds((col("n") % 1000).not_eq(7)).or_quarantine(),
            ])
            .flat_map(col("words").split_whitespace().alias("word"))
            .join_static(StaticTable::new("t", table.clone()), ["n"], JoinKind::Left)
            .unwrap()
            .select([col("n"), col("word")])
    };
    let expected = flows(1, all);
    let [flow] = expected[..] else { panic!("{expected:?}") };
    let kept = (0..30_000).chain(0..3).filter(|n| *n >= 3).count();
    let valid = (3..29_000_u64).filter(|n| n % 1000 != 7);
    let words = valid.map(|n| "a b c"[..usize::try_from(n % 6).unwrap()].split_whitespace().count()).sum::<usize>();
    assert_eq!((flow.rows_in, flow.filtered, flow.rejected, flow.quarantined), (30_003, 30_003 - kept as u64, 999, 30));
    assert_eq!(flow.rows_end, words as u64);
    flow.check(30_003).unwrap();
    for partitions in [2, 5] {
        assert_eq!(flows(partitions, all), expected, "{partitions}");
    }
    // Behind a regrouping there is another stage.
    let two =
        flows(3, |stream| stream.key_by([col("n") % 10]).aggregate([len().alias("rows")]).filter(col("rows").gt(3000)));
    assert_eq!(two.len(), 2);
    assert_eq!((two[0].rows_in, two[0].rows_end, two[1].rows_in, two[1].filtered), (30_003, 30_003, 10, 7));
}

#[test]
fn rows_that_come_too_late_are_accounted_for() {
    let context = StreamingContext::builder("late").trigger(Trigger::AvailableNow).build().unwrap();
    let seconds = |values: &[Option<i64>]| {
        let times: ArrayRef = Arc::new(arrow_array::TimestampSecondArray::from(values.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("time", times, true)]).unwrap()
    };
    let (queue, source) = QueueSource::new(seconds(&[]).schema());
    queue.push(vec![seconds(&[Some(100)])]).unwrap();
    queue.push(vec![seconds(&[Some(1), None, Some(101), Some(2)])]).unwrap();
    queue.close();
    let windows = context.source("times", source).unwrap().with_watermark("time", std::time::Duration::ZERO);
    let windows = windows.key_by([window(col("time"), std::time::Duration::from_secs(10))]);
    windows.aggregate([len().alias("rows")]).print(0).unwrap();
    let query = context.start().unwrap();
    query.await_termination().unwrap();
    let flow = query.progress()[1].stages[0].flow;
    assert_eq!((flow.rows_in, flow.late, flow.rows_end), (4, 3, 1));
}

/// A source whose reader gives one row more than it says.
struct Lying(Option<RecordBatch>);

struct LyingReader(Option<RecordBatch>);

impl BatchReader for LyingReader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        Ok(self.0.take())
    }

    fn report(&self) -> ReadReport {
        ReadReport { rows: 9, ..ReadReport::default() }
    }
}

impl Source for Lying {
    fn schema(&self) -> SchemaRef {
        numbers(0).schema()
    }

    fn replay(&self) -> Replay {
        Replay::UntilCommitted
    }

    fn next_range(&mut self, _: &ReadLimits) -> Result<Available> {
        Ok(if self.0.is_some() { Available::Range(OffsetRange("all".to_owned())) } else { Available::Ended })
    }

    fn read(&mut self, _: &OffsetRange, _: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        Ok(vec![Box::new(LyingReader(self.0.take()))])
    }

    fn commit(&mut self, _: &OffsetRange) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_source_that_miscounts_is_found_out() {
    let context = StreamingContext::builder("lying").trigger(Trigger::AvailableNow).build().unwrap();
    let good = MemorySink::new();
    context.source("lying", Lying(Some(numbers(10)))).unwrap().write(good.clone()).unwrap();
    let error = context.start().unwrap().await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("a source reports 9 rows, and its reader gave 10"), "{error}");
    assert!(good.batches().is_empty());
}

/// Every record of files is a row of the answer, or left out by a filter, before or after it was read, or bad; whatever is
/// checked, the answer is the same.
#[test]
fn records_that_are_left_out_while_they_are_read_are_accounted_for() {
    let input = tempfile::tempdir().unwrap();
    let record = |n: u64| match n % 10 {
        0 => format!("{{\"city\":\"Rome\",\"n\":\"number {n}\"}}\n"),
        1 => format!("{{\"city\":\"Oslo\",\"n\":\"number {n}\"}}\n"),
        2 => format!("{{\"n\":{n},\"city\":\"Oslo\",\"city\":\"Rome\"}}\n"),
        3 => format!("{{\"n\":{n}}}\n"),
        4 => format!("{{\"city\":null,\"n\":{n}}}\n"),
        5 | 6 => format!("{{\"city\":\"Rome\",\"n\":{n}}}\n"),
        _ => format!("{{\"city\":\"Oslo\",\"n\":{n}}}\n"),
    };
    fs::write(input.path().join("a.ndjson"), (0..50_000).map(record).collect::<String>()).unwrap();
    let run = |checked_rows: CheckedRows, partitions: usize| {
        let builder = StreamingContext::builder("visits").trigger(Trigger::AvailableNow).partitions(partitions);
        let context = builder.build().unwrap();
        context.quarantine(MemorySink::new()).unwrap();
        let mut options = FormatOptions::new(FormatKind::Ndjson).with_policy(BadRecordPolicy::Quarantine);
        options.schema = visits().schema;
        options.checked_rows = Some(checked_rows);
        let source = DirectorySource::new(input.path(), options.build(None).unwrap()).unwrap();
        let answer = MemorySink::new();
        let visits = context.source("visits", source).unwrap().filter(col("city").eq(lit("Oslo")));
        visits
            .key_by([col("city")])
            .aggregate([col("n").sum().alias("n"), len().alias("rows")])
            .write(answer.clone())
            .unwrap();
        let query = context.start().unwrap();
        query.await_termination().unwrap();
        let progress = query.progress()[0].clone();
        let flow = progress.stages[0].flow;
        assert_eq!(progress.pruned + progress.quarantined + flow.filtered + flow.rows_end, 50_000, "{progress:?}");
        assert_eq!(progress.rows_in, flow.filtered + flow.rows_end);
        (lines(&answer), progress.pruned, progress.quarantined, flow.rows_end)
    };
    let all = run(CheckedRows::All, 1);
    assert_eq!((all.1, all.2, all.3), (0, 10_000, 15_000));
    for partitions in [1, 3] {
        let kept = run(CheckedRows::Kept, partitions);
        assert_eq!(kept, (all.0.clone(), 30_000, 5_000, 15_000), "{partitions}");
    }
}
