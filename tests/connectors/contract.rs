//! The contracts of [`Source`] and [`Sink`], clause by clause. A connector's own tests call them with themselves.

use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use pelton::connectors::{Available, OffsetRange, OutputBatch, ReadLimits, Repeat, Replay, Sink, Source};
use pelton::error::ErrorKind;

use crate::tables::{number_schema, numbers, ranges, rows};

/// Checks a source. `fresh` makes one over the same data each time; `all` is that data.
pub(crate) fn check_source(fresh: &mut dyn FnMut() -> Box<dyn Source>, all: &RecordBatch) {
    for limits in many_limits() {
        gives_each_row_once(fresh().as_mut(), &limits, all);
        reads_alike_each_time(fresh().as_mut(), &limits);
        continues_after_what_was_committed(fresh, &limits);
    }
    refuses_ranges_of_others(fresh().as_mut());
    reads_on_after_stop(fresh().as_mut(), all);
}

fn many_limits() -> Vec<ReadLimits> {
    let none = ReadLimits::default();
    let mut all =
        vec![none, ReadLimits { files_max: Some(1), bytes_max: Some(40), rows_max: Some(7), is_lifted: false }];
    all.extend([1, 2].map(|files| ReadLimits { files_max: Some(files), ..none }));
    all.extend([0, 1, 10, 64, 1000].map(|bytes| ReadLimits { bytes_max: Some(bytes), ..none }));
    all.extend([0, 1, 3, 1000].map(|rows| ReadLimits { rows_max: Some(rows), ..none }));
    all
}

/// Clause 1.
fn gives_each_row_once(source: &mut dyn Source, limits: &ReadLimits, all: &RecordBatch) {
    let mut parts = Vec::new();
    for range in ranges(source, limits) {
        parts.push(rows(source, &range, 2));
        source.commit(&range).unwrap();
    }
    assert_eq!(&concat_batches(&source.schema(), &parts).unwrap(), all, "{limits:?}");
    let after = source.next_range(limits).unwrap();
    assert!(!matches!(after, Available::Range(_)), "{after:?} after the end");
}

/// Clause 2.
fn reads_alike_each_time(source: &mut dyn Source, limits: &ReadLimits) {
    let all = ranges(source, limits);
    // Not in the order of the ranges: what is not committed can be read at any time.
    for range in all.iter().rev().step_by(1 + all.len() / 20) {
        let once = rows(source, range, 1);
        for partitions in [1, 2, 3, 8, 64] {
            assert_eq!(rows(source, range, partitions), once, "{partitions} partitions of {range:?}");
        }
    }
}

/// Clause 3.
fn continues_after_what_was_committed(fresh: &mut dyn FnMut() -> Box<dyn Source>, limits: &ReadLimits) {
    let mut first = fresh();
    if first.replay() != Replay::Always {
        return;
    }
    let all = ranges(first.as_mut(), limits);
    for done in (0..=all.len()).step_by(1 + all.len() / 10) {
        let mut second = fresh();
        second.resume(&all[..done]).unwrap();
        // A planned range that was not committed is read again from its record.
        if let Some(planned) = all.get(done) {
            assert_eq!(rows(second.as_mut(), planned, 3), rows(first.as_mut(), planned, 1));
        }
        let mut third = fresh();
        third.resume(&first.compact(all[..done].to_vec()).unwrap()).unwrap();
        let read = |source: &mut dyn Source, ranges: &[OffsetRange]| {
            let parts: Vec<_> = ranges.iter().map(|range| rows(source, range, 1)).collect();
            concat_batches(&source.schema(), &parts).unwrap()
        };
        for source in [&mut second, &mut third] {
            let rest = ranges(source.as_mut(), limits);
            assert_eq!(read(source.as_mut(), &rest), read(first.as_mut(), &all[done..]), "{done} ranges, {limits:?}");
        }
    }
}

/// A range that the source did not write is an error, never a guess.
fn refuses_ranges_of_others(source: &mut dyn Source) {
    for foreign in ["", "nonsense", "{\"other\":1}", "[{\"path\":3}]"] {
        let refused = source.read(&OffsetRange(foreign.to_owned()), 1).map(|_| ());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt, "{foreign:?}");
    }
}

/// What is in the hands of a source when it is stopped can still be read.
fn reads_on_after_stop(source: &mut dyn Source, all: &RecordBatch) {
    let planned = ranges(source, &ReadLimits::default());
    source.stop();
    let parts: Vec<_> = planned.iter().map(|range| rows(source, range, 1)).collect();
    assert_eq!(&concat_batches(&source.schema(), &parts).unwrap(), all);
}

/// Checks a sink. `fresh` makes one over the same place each time; `seen` gives all rows that readers find there, which
/// are [`numbers`], in order of batch and partition.
pub(crate) fn check_sink(fresh: &mut dyn FnMut() -> Box<dyn Sink>, seen: &mut dyn FnMut() -> Vec<i64>) {
    let mut sink = fresh();
    sink.open(&number_schema()).unwrap();
    let mut expected = Vec::new();
    let writes: [(u64, &[&[i64]]); 5] =
        [(0, &[&[1, 2], &[], &[3]]), (1, &[]), (2, &[&[], &[]]), (3, &[&[4], &[5], &[6, 7]]), (4, &[&[8]])];
    for (batch_id, partitions) in writes {
        write(sink.as_mut(), batch_id, partitions);
        expected.extend(partitions.concat());
        assert_eq!(seen(), expected, "clauses 2 and 3, after batch {batch_id}");
    }

    // Clause 4: the last batch again, in another cut, then without rows; by the same sink, then by the next.
    let before = seen().len() - 1;
    for (attempt, partitions) in [&[&[8_i64] as &[i64], &[9]] as &[&[i64]], &[&[9, 8]], &[], &[&[8]]].iter().enumerate()
    {
        if attempt == 2 {
            sink.close().unwrap();
            sink = fresh();
            sink.open(&number_schema()).unwrap();
        }
        if sink.repeat() == Repeat::Keeps && partitions.concat() != [8] {
            try_write(sink.as_mut(), 4, partitions).unwrap_err();
            assert_eq!(seen(), expected, "clause 4, attempt {attempt}: other rows");
            continue;
        }
        write(sink.as_mut(), 4, partitions);
        match sink.repeat() {
            Repeat::Replaces | Repeat::Keeps => expected.truncate(before),
            Repeat::Appends => {}
        }
        expected.extend(partitions.concat());
        assert_eq!(seen(), expected, "clause 4, attempt {attempt}");
    }
    sink.close().unwrap();
}

/// Writes a batch of numbers, one slice a partition.
pub(crate) fn write(sink: &mut dyn Sink, batch_id: u64, partitions: &[&[i64]]) {
    let rows = try_write(sink, batch_id, partitions).unwrap();
    assert_eq!(rows, partitions.concat().len() as u64, "rows in the report");
}

/// The same for writes that may fail.
pub(crate) fn try_write(sink: &mut dyn Sink, batch_id: u64, partitions: &[&[i64]]) -> pelton::error::Result<u64> {
    let one = |value: &i64| numbers(*value..*value + 1);
    let partitions = partitions.iter().map(|values| values.iter().map(one).collect()).collect();
    let schema = number_schema();
    let batch = OutputBatch { batch_id, time: Duration::from_secs(batch_id), schema: &schema, partitions: &partitions };
    sink.write(&batch).map(|report| report.rows)
}
