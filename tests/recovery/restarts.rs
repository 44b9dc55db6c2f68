//! Queries that are stopped after every batch and go on in another life.

use pelton::checkpoint::CheckpointOptions;
use pelton::prelude::*;

use crate::{Site, lay_out, queries, undisturbed};

#[test]
fn a_stop_after_every_batch_and_other_partitions_change_no_byte() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 9);
    // Rows keep their partitions; what is reduced comes in one.
    for query in queries::ALL.iter().filter(|query| query.name != "rows") {
        let expected = undisturbed(input.path(), query);
        let folder = tempfile::tempdir().unwrap();
        let site = Site::new(input.path(), folder.path());
        for life in 0_u64.. {
            let partitions = [1, 3, 2, 7][usize::try_from(life).unwrap() % 4];
            let builder = StreamingContext::builder(query.name).trigger(Trigger::Manual).partitions(partitions);
            let options = CheckpointOptions { snapshot_every: 4, retain: 100 };
            let running = site.start_as(query, site.store(), options, builder).unwrap();
            let Some(progress) = running.tick().unwrap() else { break };
            assert_eq!(progress.batch_id, life);
            running.stop(StopMode::Graceful);
            running.await_termination().unwrap();
        }
        assert_eq!(site.written(), expected, "{}", query.name);
    }
}
