//! A fault at each step that a file sink makes on its folder: what manifests name is whole at every moment, and the query
//! goes on to the same bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton::connectors::manifest;

use crate::queries::{self, Query};
use crate::{Site, lay_out, undisturbed};

/// Runs the query with a fault at step `at` of the sink; whether it was reached.
fn run_with_fault(site: &mut Site, query: &Query, at: usize, dies: bool) -> bool {
    let steps = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&steps);
    site.on_sink_step = Some(Arc::new(move |step, _| {
        if seen.fetch_add(1, Ordering::SeqCst) != at {
            return Ok(());
        }
        if dies { panic!("killed before {step:?}") } else { Err(io::Error::other(format!("no {step:?} today"))) }
    }));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| site.run(query, site.store())));
    site.on_sink_step = None;
    let is_reached = steps.load(Ordering::SeqCst) > at;
    assert_eq!(is_reached, !matches!(outcome, Ok(Ok(()))), "{}: dies {dies}, step {at}", query.name);
    is_reached
}

/// What a reader sees who takes only what manifests name.
fn assert_whole(site: &Site, place: &str) {
    if !manifest::batches(&site.output).unwrap_or_default().is_empty() {
        let report = manifest::verify(&site.output).unwrap();
        assert!(report.damages.is_empty(), "{place}: {:?}", report.damages);
    }
}

#[test]
fn a_fault_at_any_step_of_the_sink_leaves_whole_batches_and_changes_no_byte() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 6);
    for query in ["rows", "running"].map(queries::by_name) {
        let expected = undisturbed(input.path(), query);
        for dies in [false, true] {
            let mut at = 0;
            loop {
                let place = format!("{}: dies {dies}, step {at}", query.name);
                let folder = tempfile::tempdir().unwrap();
                let mut site = Site::new(input.path(), folder.path());
                let is_reached = run_with_fault(&mut site, query, at, dies);
                assert_whole(&site, &place);
                // A second fault, while the batch is written again.
                run_with_fault(&mut site, query, at % 7, !dies);
                assert_whole(&site, &place);
                site.run(query, site.store()).unwrap();
                assert_eq!(site.written(), expected, "{place}");
                assert_whole(&site, &place);
                if !is_reached {
                    break;
                }
                at += 1;
            }
            assert!(at > 30, "{}: there were steps to fail at", query.name);
        }
    }
}
