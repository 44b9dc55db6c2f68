//! Triggers, clocks, stopping and retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pelton::clock::VirtualClock;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::{table, visits};

#[test]
fn a_tick_runs_exactly_one_batch() {
    let clock = VirtualClock::at(Duration::from_secs(1_000));
    let context = StreamingContext::builder("ticks").trigger(Trigger::Manual).clock(clock.clone()).build().unwrap();
    let (queue, source) = QueueSource::new(visits(&[]).schema());
    let sink = MemorySink::new();
    context.source("visits", source).unwrap().write(sink.clone()).unwrap();
    let query = context.start().unwrap();
    assert_eq!(query.tick().unwrap(), None, "nothing has come yet");
    queue.push(vec![visits(&[("Oslo", 1)])]).unwrap();
    queue.push(vec![visits(&[("Rome", 2)])]).unwrap();
    let first = query.tick().unwrap().unwrap();
    assert_eq!((first.batch_id, first.rows_in, first.rows_out), (0, 1, 1));
    assert_eq!(first.time, Duration::from_secs(1_000), "the time is the clock's");
    clock.advance(Duration::from_secs(7));
    let second = query.tick().unwrap().unwrap();
    assert_eq!((second.batch_id, second.time), (1, Duration::from_secs(1_007)));
    query.stop(StopMode::Graceful);
    let totals = query.await_termination().unwrap();
    assert_eq!((totals.batches, totals.rows_in), (2, 2));
    assert!(query.tick().is_err(), "an ended query takes no ticks");
}

#[test]
fn intervals_follow_the_clock_they_are_given() {
    let clock = VirtualClock::at(Duration::ZERO);
    let (told, batches) = std::sync::mpsc::channel();
    let context = StreamingContext::builder("intervals")
        .batch_interval(Duration::from_secs(10))
        .clock(clock.clone())
        .on_progress(move |progress| told.send((progress.batch_id, progress.time.as_secs())).unwrap())
        .build()
        .unwrap();
    let (queue, source) = QueueSource::new(visits(&[]).schema());
    context.source("visits", source).unwrap().write(MemorySink::new()).unwrap();
    queue.push(vec![visits(&[("Oslo", 1)])]).unwrap();
    queue.push(vec![visits(&[("Rome", 2)])]).unwrap();
    let query = context.start().unwrap();
    assert_eq!(batches.recv().unwrap(), (0, 0), "the first batch is cut at once");
    // The query may not have gone to sleep yet: time moves on until it has seen ten seconds pass.
    clock.advance(Duration::from_secs(10));
    assert_eq!(batches.recv().unwrap(), (1, 10));
    query.stop(StopMode::Graceful);
    query.await_termination().unwrap();
}

#[test]
fn several_queries_run_in_one_process() {
    let queries = (0..3).map(|number| {
        let context =
            StreamingContext::builder(format!("query {number}")).trigger(Trigger::AvailableNow).build().unwrap();
        let source = QueueSource::of(visits(&[]).schema(), [visits(&[("Oslo", number)])]).unwrap();
        let sink = MemorySink::new();
        context.source("visits", source).unwrap().write(sink.clone()).unwrap();
        (context.start().unwrap(), sink)
    });
    for (number, (query, sink)) in queries.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(query.await_termination().unwrap().rows_out, 1);
        assert!(table(&sink).contains(&number.to_string()));
    }
}

#[test]
fn a_sink_that_fails_for_a_while_is_tried_again_and_sees_each_batch_once() {
    let tries = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&tries);
    let context =
        StreamingContext::builder("retries").trigger(Trigger::AvailableNow).retries(3, Duration::ZERO).build().unwrap();
    let source = QueueSource::of(visits(&[]).schema(), [visits(&[("Oslo", 1)])]).unwrap();
    let good = MemorySink::new();
    let stream = context.source("visits", source).unwrap();
    stream.write(good.clone()).unwrap();
    stream
        .foreach_batch(move |_, _| {
            if seen.fetch_add(1, Ordering::SeqCst) < 2 {
                return Err(Error::new(ErrorKind::Connector, "the network is down").retry_later());
            }
            Ok(())
        })
        .unwrap();
    let query = context.start().unwrap();
    query.await_termination().unwrap();
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_eq!(query.progress()[0].retries, 2);
    assert_eq!(good.rows().unwrap().unwrap().num_rows(), 1);
}

#[test]
fn an_error_ends_the_query_and_says_where() {
    let context = StreamingContext::builder("overflow").trigger(Trigger::AvailableNow).build().unwrap();
    let source = QueueSource::of(visits(&[]).schema(), [visits(&[("Oslo", i64::MAX)])]).unwrap();
    let sink = MemorySink::new();
    let stream = context.source("visits", source).unwrap();
    stream.with_columns([(col("n") + 1).alias("n")]).write(sink.clone()).unwrap();
    let query = context.start().unwrap();
    let error = query.await_termination().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    let text = error.to_string();
    assert!(text.starts_with("query \"overflow\": batch 0: in stage 0: "), "{text}");
    assert!(text.contains("\"n\""), "{text}");
    assert!(sink.batches().is_empty(), "nothing of a failed batch is written");
    assert!(!query.is_running());
    assert_eq!(query.await_termination().unwrap_err().kind(), ErrorKind::Overflow, "whoever waits later is told too");
}

#[test]
fn a_started_query_takes_no_more_outputs_and_does_not_start_twice() {
    let context = StreamingContext::builder("once").trigger(Trigger::AvailableNow).build().unwrap();
    assert!(context.start().unwrap_err().to_string().contains("no output"));
    let source = QueueSource::of(visits(&[]).schema(), [visits(&[("Oslo", 1)])]).unwrap();
    let stream = context.source("visits", source).unwrap();
    stream.write(MemorySink::new()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    assert_eq!(context.start().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(stream.write(MemorySink::new()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_graceful_stop_finishes_what_a_channel_holds() {
    let (sender, source) = pelton::connectors::channel::channel(visits(&[]).schema(), 1 << 20);
    let context = StreamingContext::builder("channel").batch_interval(Duration::from_secs(3_600)).build().unwrap();
    let sink = MemorySink::new();
    context.source("visits", source).unwrap().write(sink.clone()).unwrap();
    let query = context.start().unwrap();
    for n in 0..10 {
        sender.send(visits(&[("Oslo", n)])).unwrap();
    }
    query.stop(StopMode::Graceful);
    query.await_termination().unwrap();
    assert_eq!(sink.rows().unwrap().unwrap().num_rows(), 10);
    assert!(sender.send(visits(&[("Oslo", 11)])).is_err(), "nobody listens any more");
}

#[test]
fn a_panicking_listener_ends_the_query_with_an_error() {
    let context = StreamingContext::builder("panic")
        .trigger(Trigger::AvailableNow)
        .on_progress(|_| panic!("listener"))
        .build()
        .unwrap();
    let source = QueueSource::of(visits(&[]).schema(), [visits(&[("Oslo", 1)])]).unwrap();
    context.source("visits", source).unwrap().write(MemorySink::new()).unwrap();
    let error = context.start().unwrap().await_termination().unwrap_err();
    assert!(error.to_string().contains("panicked: listener"), "{error}");
}
