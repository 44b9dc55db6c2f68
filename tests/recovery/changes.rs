//! Changed queries, other processes, other numbers of partitions on one checkpoint.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::error::ErrorKind;
use pelton::prelude::*;

use crate::queries::{self, Query};
use crate::{Site, lay_out};

#[test]
fn a_second_query_on_a_checkpoint_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let build = || {
        let builder = StreamingContext::builder("one").trigger(Trigger::Manual);
        let context = builder.checkpoint(folder.path().join("checkpoint")).build().unwrap();
        lay_out(&folder.path().join("input"), 1);
        context.text_file_stream(folder.path().join("input")).unwrap().write(MemorySink::new()).unwrap();
        context
    };
    let first = build().start().unwrap();
    let error = build().start().unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    first.stop(StopMode::Graceful);
    first.await_termination().unwrap();
    drop(first);
    build().start().unwrap();
}

#[test]
fn the_checkpoint_of_another_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(&folder.path().join("input"), 2);
    let site = Site::new(&folder.path().join("input"), folder.path());
    site.run(&queries::ALL[0], site.store()).unwrap();
    let error = site.run(&queries::ALL[1], site.store()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    assert!(error.to_string().contains("belongs to the query \"rows\", not to \"batches\""), "{error}");
}

#[test]
fn a_source_does_not_begin_or_cease_to_tell_its_parts_apart() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(&folder.path().join("in"), 1);
    let run = |checkpoint: &str, by_folder: bool| {
        let builder = StreamingContext::builder("parts").trigger(Trigger::AvailableNow);
        let context = builder.checkpoint(folder.path().join(checkpoint)).build()?;
        let format = pelton::formats::FormatOptions::new(pelton::formats::FormatKind::Text).build(None)?;
        let source = pelton::connectors::directory::DirectorySource::new(folder.path().join("in"), format)?;
        context.source("visits", source.event_time_by_folder(by_folder))?.write(MemorySink::new())?;
        context.start()?.await_termination()
    };
    for (by_folder, said) in [(true, "of its parts apart, and now does not"), (false, "now tells the event times")] {
        let checkpoint = by_folder.to_string();
        run(&checkpoint, by_folder).unwrap();
        run(&checkpoint, by_folder).unwrap();
        let error = run(&checkpoint, !by_folder).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidQuery);
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn a_query_that_lost_a_source_is_told_what_fits() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(&folder.path().join("a"), 2);
    lay_out(&folder.path().join("b"), 2);
    let run = |inputs: &[&str]| {
        let builder = StreamingContext::builder("union").trigger(Trigger::AvailableNow);
        let context = builder.checkpoint(folder.path().join("checkpoint")).build()?;
        for input in inputs {
            let format = pelton::formats::FormatOptions::new(pelton::formats::FormatKind::Text).build(None)?;
            let source = pelton::connectors::directory::DirectorySource::new(folder.path().join(input), format)?;
            context.source(*input, source)?.write(MemorySink::new())?;
        }
        context.start()?.await_termination()
    };
    assert_eq!(run(&["a", "b"]).unwrap().rows_in, 164);
    let error = run(&["a"]).unwrap_err();
    assert!(error.to_string().contains("source \"b\" is gone"), "{error}");
    assert!(error.to_string().contains("still fits: source \"a\""), "{error}");
    // A source more is no contradiction; two of one name are told apart.
    assert_eq!(run(&["a", "b", "b"]).unwrap().rows_in, 82);
}

#[test]
fn a_query_may_change_in_what_it_does_with_each_row() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(&folder.path().join("input"), 2);
    let site = Site::new(&folder.path().join("input"), folder.path());
    let first = Query { name: "changing", stream: |visits| Ok(visits.filter(col("n").lt(0)).select([col("n")])) };
    let second = Query { name: "changing", stream: |visits| Ok(visits.select([col("n")])) };
    site.run(&first, site.store()).unwrap();
    assert!(site.written().is_empty());
    lay_out(&site.input, 3);
    site.run(&second, site.store()).unwrap();
    assert!(site.written().keys().all(|name| name.contains("00002")), "only the third file was new");
}

#[test]
fn what_a_source_cannot_read_again_is_said_to_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let lines = || {
        let lines: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::StringArray::from(vec!["a", "b"]));
        RecordBatch::try_from_iter([("line", lines)]).unwrap()
    };
    let build = |fails: bool| {
        let builder = StreamingContext::builder("queue").trigger(Trigger::AvailableNow);
        let context = builder.checkpoint(folder.path().join("checkpoint")).build().unwrap();
        let source = QueueSource::of(lines().schema(), [lines()]).unwrap();
        let stream = context.source("queue", source).unwrap();
        let fail = move |_: u64, _: &[RecordBatch]| match fails {
            true => Err(Error::new(ErrorKind::Function, "not today")),
            false => Ok(()),
        };
        stream.foreach_batch(fail).unwrap();
        context.start().unwrap()
    };
    build(true).await_termination().unwrap_err();
    let query = build(false);
    let recovery = query.recovery().unwrap();
    assert_eq!(
        (recovery.repeated.as_slice(), recovery.lost.as_slice()),
        ([0].as_slice(), ["queue".to_owned()].as_slice())
    );
    assert_eq!(query.await_termination().unwrap().batches, 2, "the batch without its rows, and the rows of this life");
}
