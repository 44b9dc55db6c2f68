//! A fault at each step that a checkpoint makes on its folder: as an error, and as a death in the middle of the step.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::queries::{self, Query};
use crate::{Site, lay_out, undisturbed};

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The step fails, as on a full disk.
    Error,
    /// The thread dies before the step: nothing is tidied up.
    Death,
}

/// Runs the query with a fault at step `at`; whether it was reached.
fn run_with_fault(site: &Site, query: &Query, at: usize, fault: Fault) -> bool {
    let steps = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&steps);
    let store = site.store().on_step(move |step, _| {
        if seen.fetch_add(1, Ordering::SeqCst) != at {
            return Ok(());
        }
        match fault {
            Fault::Error => Err(io::Error::new(io::ErrorKind::StorageFull, format!("no {step:?} today"))),
            Fault::Death => panic!("killed before {step:?}"),
        }
    });
    // The first steps are made by the caller's thread.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| site.run(query, store)));
    let is_reached = steps.load(Ordering::SeqCst) > at;
    assert_eq!(is_reached, !matches!(outcome, Ok(Ok(()))), "{}: {fault:?} at step {at}", query.name);
    is_reached
}

#[test]
fn a_fault_at_any_step_of_the_checkpoint_changes_no_byte_of_the_output() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 8);
    for (number, query) in queries::ALL.iter().enumerate() {
        let expected = undisturbed(input.path(), query);
        for fault in [Fault::Error, Fault::Death] {
            // Every step at first, where a checkpoint begins; then some, and others for each query: each step comes for several
            // of them.
            let stride = 7 + number % 5;
            let mut at = if number == 0 { 0 } else { number % stride };
            loop {
                let folder = tempfile::tempdir().unwrap();
                let site = Site::new(input.path(), folder.path());
                let is_reached = run_with_fault(&site, query, at, fault);
                site.run(query, site.store()).unwrap();
                assert_eq!(site.written(), expected, "{}: {fault:?} at step {at}", query.name);
                if !is_reached {
                    break;
                }
                at += if number == 0 && at < 40 { 1 } else { stride };
            }
            assert!(at > 60, "{}: there were steps to fail at", query.name);
        }
    }
}

#[test]
fn a_query_that_dies_again_and_again_still_ends_with_the_same_bytes() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 8);
    for query in queries::ALL {
        let expected = undisturbed(input.path(), query);
        for seed in 0..4 {
            let mut random = crate::common::Random::new(seed);
            let folder = tempfile::tempdir().unwrap();
            let site = Site::new(input.path(), folder.path());
            for _ in 0..10 {
                run_with_fault(&site, query, random.below(20), random.pick(&[Fault::Error, Fault::Death]));
            }
            site.run(query, site.store()).unwrap();
            assert_eq!(site.written(), expected, "{}, seed {seed}", query.name);
        }
    }
}

#[test]
fn a_folder_that_vanishes_under_a_query_ends_it_and_is_not_begun_anew() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 8);
    for query in &queries::ALL[..3] {
        for at in (8..50).step_by(5) {
            let folder = tempfile::tempdir().unwrap();
            let site = Site::new(input.path(), folder.path());
            let (steps, root) = (AtomicUsize::new(0), site.checkpoint.clone());
            let store = site.store().on_step(move |_, _| match steps.fetch_add(1, Ordering::SeqCst) {
                step if step == at => std::fs::rename(&root, root.with_extension("elsewhere")),
                _ => Ok(()),
            });
            let error = site.run(query, store).unwrap_err();
            assert_eq!(error.kind(), pelton::error::ErrorKind::NotFound, "{error}");
            assert!(!site.checkpoint.join("lock").exists(), "{}: step {at}", query.name);
        }
    }
}
