//! Whatever goes wrong with a device, the answer stays the same, and it is counted.

use std::sync::mpsc::channel;
use std::time::Duration;

use pelton::error::ErrorKind;
use pelton::expr::{col, len};
use pelton::kernels::Backend;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, OpeningFault, Tier, Wish};
use pelton::plan::stage::{Registry, Stage};

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{Chain, adapter, cut, run, run_prepared, schema, wish};

/// A filter with a projection, and a keyed reduce.
fn stages() -> [Stage; 2] {
    let rows = Chain::new(&schema()).filter(col("i32").gt(0)).select([col("name"), (col("i32") * 2).alias("twice")]);
    let all = [len().alias("n"), col("i64").sum().alias("s"), col("f64").mean().alias("m")];
    let groups = Chain::new(&schema()).filter(col("i32").gt(0)).reduce([col("name"), col("i16")], all);
    [rows.stage(), groups.stage()]
}

#[test]
fn every_fault_leaves_the_answer_as_it_is() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(1, 4000, &schema(), 0.1, Range::Tame);
    for fault in [Fault::Lose, Fault::Exhaust, Fault::Hurry, Fault::Confuse, Fault::Stall] {
        for stage in stages() {
            let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
            let wish = Wish { rows_max: Some(500), ..wish(&adapter, Tier::Wide) };
            let faults = Faults::new([None, Some(fault), None, None, Some(fault)]).opened_at_once();
            let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
            assert_batches_equal(&run(&backend, &stage, &cut(&batch)).unwrap(), &expected);
            let counts = backend.counts();
            assert_eq!(counts.fallen_back, 2, "{fault:?}: {counts:?}");
            assert!(counts.batches > 2 && counts.latest.is_some(), "{fault:?}: {counts:?}");
        }
    }
}

#[test]
fn a_driver_that_hangs_in_a_call_for_a_batch_holds_nobody() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(10, 3000, &schema(), 0.1, Range::Tame);
    for fault in [Fault::HangMaking, Fault::HangSubmitting, Fault::HangWaiting] {
        for (stage, at) in stages().into_iter().flat_map(|stage| [(stage.clone(), 0), (stage.clone(), 1), (stage, 4)]) {
            let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
            let (hold, held) = channel();
            let faults = Faults::new((0..at).map(|_| None).chain([Some(fault)]));
            let faults = faults.with_openings([OpeningFault::Held(held)]);
            let wish = Wish { rows_max: Some(300), ..wish(&adapter, Tier::Wide) };
            let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
            let prepared = backend.prepare(&stage, &Registry::default()).unwrap();
            assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
            let hung = backend.counts();
            // Whatever was on its way behind it, and all that comes before there is another device, is the CPU's.
            assert!(hung.fallen_back > 0 && hung.batches <= at as u64, "{fault:?} at {at}: {hung:?}");
            assert_eq!(hung.batches + hung.fallen_back, 11, "{fault:?} at {at}: {hung:?}");
            drop(hold);
            backend.settle();
            assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
            let after = backend.counts();
            let is_device_back = (after.batches, after.fallen_back) == (hung.batches + 11, hung.fallen_back);
            assert!(is_device_back && after.submissions > 0, "{fault:?} at {at}: {after:?}");
        }
    }
}

#[test]
fn a_hang_is_told_in_one_sentence_and_is_an_error_for_who_is_strict() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(11, 300, &schema(), 0.1, Range::Tame);
    let [stage, _] = stages();
    let expected = run(&CpuBackend::new(), &stage, &[vec![batch.clone()]]).unwrap();
    let said = "the device did not answer in time: its driver has not answered within 200ms";
    for fault in [Fault::HangMaking, Fault::HangSubmitting, Fault::HangWaiting] {
        let backend = || {
            let faults = Faults::new([Some(fault)]).opened_at_once();
            GpuBackend::open(wish(&adapter, Tier::Portable)).unwrap().with_faults(faults)
        };
        let lenient = backend();
        assert_batches_equal(&run(&lenient, &stage, &[vec![batch.clone()]]).unwrap(), &expected);
        assert_eq!((lenient.counts().fallen_back, lenient.counts().latest.as_deref()), (1, Some(said)));
        let error = run(&backend().strict(), &stage, &[vec![batch.clone()]]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("a batch did not run on the device: {said}")), "{error}");
    }
}

#[test]
fn batches_beyond_the_limits_of_a_device_run_on_the_cpu_and_others_do_not() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(9, 4000, &schema(), 0.1, Range::Tame);
    let [rows, groups] = stages();
    let hashed = Chain::new(&schema()).reduce([col("f64")], [len().alias("n"), col("i64").sum().alias("s")]).stage();
    for stage in [rows, groups, hashed] {
        let expected = run(&CpuBackend::new(), &stage, &[vec![batch.clone()]]).unwrap();
        let wish = Wish { rows_max: Some(1500), bytes_max: Some(1 << 13), ..wish(&adapter, Tier::Portable) };
        let backend = GpuBackend::open(wish.clone()).unwrap();
        let prepared = backend.prepare(&stage, &Registry::default()).unwrap();
        // Three batches, of which the last one is smaller.
        assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &[vec![batch.clone()]]).unwrap(), &expected);
        let large = backend.counts();
        assert!(large.fallen_back >= 2 && large.batches + large.fallen_back == 3, "{large:?}");
        assert!(large.latest.unwrap().starts_with("the batch is too large for the device: "));
        let small = vec![batch.slice(0, 60)];
        let expected = run(&CpuBackend::new(), &stage, std::slice::from_ref(&small)).unwrap();
        assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &[small]).unwrap(), &expected);
        assert_eq!(backend.counts().batches, large.batches + 1, "{:?}", backend.counts());
        let strict = GpuBackend::open(wish).unwrap().strict();
        let error = run(&strict, &stage, &[vec![batch.clone()]]).unwrap_err().to_string();
        assert!(error.starts_with("a batch did not run on the device: the batch is too large for the device: "));
    }
}

#[test]
fn a_device_that_is_lost_again_and_again_is_left_alone() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(2, 4000, &schema(), 0.1, Range::Tame);
    let [_, stage] = stages();
    let wish = Wish { rows_max: Some(200), ..wish(&adapter, Tier::Portable) };
    let backend = GpuBackend::open(wish).unwrap().with_faults(Faults::new([Some(Fault::Lose); 40]).opened_at_once());
    let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
    assert_batches_equal(&run(&backend, &stage, &cut(&batch)).unwrap(), &expected);
    let counts = backend.counts();
    assert!(counts.batches == 0 && counts.fallen_back > 10, "{counts:?}");
}

#[test]
fn a_strict_backend_says_what_went_wrong() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(3, 400, &schema(), 0.1, Range::Tame);
    let [stage, _] = stages();
    let backend = GpuBackend::open(wish(&adapter, Tier::Portable)).unwrap().strict();
    let backend = backend.with_faults(Faults::new([Some(Fault::Confuse)]));
    let error = run(&backend, &stage, &cut(&batch)).unwrap_err().to_string();
    assert!(error.starts_with("a batch did not run on the device: the driver refused: "), "{error}");
}

#[test]
fn batches_go_on_on_the_cpu_until_another_device_is_there() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(4, 4000, &schema(), 0.1, Range::Tame);
    for stage in stages() {
        let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
        let (hold, held) = channel();
        let faults = Faults::new([None, Some(Fault::Lose)]).with_openings([OpeningFault::Held(held)]);
        let wish = Wish { rows_max: Some(500), ..wish(&adapter, Tier::Wide) };
        let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
        let prepared = backend.prepare(&stage, &Registry::default()).unwrap();
        let hold = hold;
        for runs in 1..=2 {
            assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
            let counts = backend.counts();
            // Three pieces of one partition and six of the other.
            assert!(counts.batches <= 1 && counts.batches + counts.fallen_back == 9 * runs, "{counts:?}");
            assert_eq!(counts.latest.as_deref(), Some("the device was lost: another one is being opened"));
        }
        let before = backend.counts();
        drop(hold);
        backend.settle();
        assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
        let after = backend.counts();
        assert_eq!((after.batches, after.fallen_back), (before.batches + 9, before.fallen_back));
        assert!(prepared.notice().failures.is_empty());
    }
}

/// A device that cannot be opened.
fn fails() -> OpeningFault {
    OpeningFault::Fails(channel().1)
}

#[test]
fn devices_that_cannot_be_opened_are_each_told_once_and_three_are_tried() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(5, 600, &schema(), 0.1, Range::Tame);
    let [stage, _] = stages();
    let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
    let faults = Faults::new([Some(Fault::Lose)]).with_openings([fails(), fails(), fails(), OpeningFault::AtOnce]);
    let backend = GpuBackend::open(wish(&adapter, Tier::Portable)).unwrap().with_faults(faults);
    let prepared = backend.prepare(&stage, &Registry::default()).unwrap();
    let mut failures = Vec::new();
    for _ in 0..6 {
        assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
        backend.settle();
        let notice = prepared.notice();
        assert_eq!(notice.fallen_back, 2);
        assert_eq!(notice.warnings().len(), notice.failures.len() + 1);
        failures.extend(notice.failures);
    }
    assert_eq!(failures, ["a lost device could not be opened again: a test has asked for it"; 3]);
    let counts = backend.counts();
    assert_eq!((counts.batches, counts.fallen_back), (0, 12));
    assert_eq!(counts.latest.as_deref(), Some("the device was lost: no other could be opened"));
}

#[test]
fn who_is_strict_waits_for_another_device_and_is_told_if_there_is_none() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(6, 600, &schema(), 0.1, Range::Tame);
    let [stage, _] = stages();
    let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
    let (hold, held) = channel();
    let openings = [OpeningFault::Held(held), fails(), fails()];
    let faults = Faults::new([Some(Fault::Lose), None, None, Some(Fault::Lose)]).with_openings(openings);
    let other = GpuBackend::open(wish(&adapter, Tier::Portable)).unwrap().with_faults(faults);
    let strict = other.beside().strict();
    // Another one loses the device, and goes on without it.
    let prepared = other.prepare(&stage, &Registry::default()).unwrap();
    let hold = hold;
    assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
    let answer = std::thread::scope(|scope| {
        let strict = scope.spawn(|| run(&strict, &stage, &cut(&batch)));
        drop(hold);
        strict.join().unwrap()
    });
    assert_batches_equal(&answer.unwrap(), &expected);
    assert_eq!((strict.counts().batches, strict.counts().fallen_back), (2, 0));
    // Lost once more, and none can be opened.
    assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
    let error = run(&strict, &stage, &cut(&batch)).unwrap_err().to_string();
    assert!(error.starts_with("a batch did not run on the device: the device was lost: no other could be"), "{error}");
}

#[test]
fn a_device_that_is_being_opened_is_waited_for_with_the_stage() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(7, 400, &schema(), 0.1, Range::Tame);
    let [stage, _] = stages();
    let (hold, held) = channel();
    let faults = Faults::new([Some(Fault::Lose)]).with_openings([OpeningFault::Held(held)]);
    let backend = GpuBackend::open(wish(&adapter, Tier::Portable)).unwrap().with_faults(faults);
    let prepared = backend.prepare(&stage, &Registry::default()).unwrap();
    let hold = hold;
    run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap();
    // The thread holds the other end: whether it is over shows when something is sent.
    hold.send(()).unwrap();
    drop(prepared);
    assert!(hold.send(()).is_err(), "the thread is still there");
}

#[test]
fn a_driver_that_hangs_while_a_device_is_opened_is_an_error_in_time() {
    let Some(adapter) = adapter() else { return };
    let (hold, held) = channel();
    let faults = Faults::default().with_openings([OpeningFault::Held(held)]);
    let wish = Wish { opening_time: Some(Duration::from_millis(20)), ..wish(&adapter, Tier::Portable) };
    let error = GpuBackend::open_faulty(wish, faults).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.message(), "a GPU was to be opened: its driver has not answered within 20ms");
    drop(hold);
}

#[test]
fn drivers_that_hang_while_lost_devices_are_opened_anew_are_each_told_once_and_hold_up_nobody() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(8, 600, &schema(), 0.1, Range::Tame);
    let [stage, _] = stages();
    let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
    let (holds, held): (Vec<_>, Vec<_>) = (0..3).map(|_| channel()).unzip();
    // The first device is opened at once, and takes its time.
    let openings = [OpeningFault::AtOnce].into_iter().chain(held.into_iter().map(OpeningFault::Held));
    let faults = Faults::new([Some(Fault::Lose)]).with_openings(openings);
    let wish = Wish { opening_time: Some(Duration::from_secs(3)), ..wish(&adapter, Tier::Portable) };
    let backend = GpuBackend::open_faulty(wish, faults).unwrap();
    let prepared = backend.prepare(&stage, &Registry::default()).unwrap();
    let mut failures = Vec::new();
    for _ in 0..5 {
        assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &cut(&batch)).unwrap(), &expected);
        backend.settle();
        failures.extend(prepared.notice().failures);
    }
    let told = "a lost device could not be opened again: a GPU was to be opened: its driver has not answered within 3s";
    assert!(failures.len() == 3 && failures.iter().all(|failure| failure.starts_with(told)), "{failures:?}");
    // Who is strict is told, too.
    let error = run(&backend.beside().strict(), &stage, &cut(&batch)).unwrap_err().to_string();
    assert!(error.starts_with("a batch did not run on the device: the device was lost: no other could be"), "{error}");
    drop(holds);
}

#[test]
fn an_adapter_that_is_not_there_is_named() {
    let wish = Wish { adapter: Some("no such adapter".to_owned()), ..Wish::default() };
    let error = GpuBackend::open(wish).unwrap_err().to_string();
    assert!(error.starts_with("no adapter's name has \"no such adapter\" in it: there is "), "{error}");
}
