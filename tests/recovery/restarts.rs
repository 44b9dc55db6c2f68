//! Queries that are stopped after every batch and go on in another life.

use pelton::checkpoint::CheckpointOptions;
use pelton::prelude::*;

use crate::{Site, lay_out, queries, undisturbed};

#[test]
fn a_stop_after_every_batch_and_other_partitions_change_no_byte() {
    /// One a batch. Windows over batches would go on without rows for ever.
    const FILES: usize = 9;
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), FILES);
    // Rows keep their partitions; what is reduced comes in one.
    for query in queries::ALL.iter().filter(|query| query.name != "rows") {
        let expected = undisturbed(input.path(), query);
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(input.path(), folder.path());
        for life in 0..FILES {
            let partitions = [1, 3, 2, 7][life % 4];
            let builder = StreamingContext::builder(query.name).trigger(Trigger::Manual).partitions(partitions);
            let options = CheckpointOptions { snapshot_every: 4, retain: 100 };
            let running = site.start_as(query, site.store(), options, builder).unwrap();
            assert_eq!(running.tick().unwrap().unwrap().batch_id, life as u64);
            running.stop(StopMode::Graceful);
            running.await_termination().unwrap();
        }
        assert_eq!(site.written(), expected, "{}", query.name);
    }
}

#[test]
fn windows_that_are_flushed_at_the_end_come_once_whatever_happens() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 3);
    let flushed = ["twice", "tumbling", "sessions", "joined", "as of"].map(queries::by_name);
    for (number, query) in flushed.into_iter().enumerate() {
        let run = |site: &Site, store| {
            let builder = StreamingContext::builder(query.name).trigger(Trigger::AvailableNow).on_end(OnEnd::Flush);
            site.start_as(query, store, CheckpointOptions { snapshot_every: 2, retain: 9 }, builder)?
                .await_termination()
        };
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(input.path(), folder.path());
        let totals = run(&site, site.store()).unwrap();
        assert_eq!(totals.batches, 4, "{}: a batch of its own", query.name);
        let expected = site.written();
        assert_eq!(run(&site, site.store()).unwrap().batches, 0, "{}: nothing is open any more", query.name);
        assert_eq!(site.written(), expected);
        let folder = tempfile::tempdir().unwrap();
        let mut cramped = Site::new(input.path(), folder.path());
        cramped.state_memory = Some(1);
        run(&cramped, cramped.store()).unwrap();
        assert_eq!(cramped.written(), expected, "{}: without room in memory", query.name);
        // Every step once, then some, and others for each query.
        for at in (number..).step_by(if number == 0 { 1 } else { 5 }) {
            let folder = tempfile::tempdir().unwrap();
            let site = Site::new(input.path(), folder.path());
            let steps = std::sync::atomic::AtomicUsize::new(0);
            let store = site.store().on_step(move |step, _| {
                let is_it = steps.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == at;
                if is_it { Err(std::io::Error::other(format!("no {step:?} today"))) } else { Ok(()) }
            });
            let is_undisturbed = run(&site, store).is_ok();
            run(&site, site.store()).unwrap();
            assert_eq!(site.written(), expected, "{}: a fault at step {at}", query.name);
            if is_undisturbed {
                break;
            }
        }
    }
}
