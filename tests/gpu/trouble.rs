//! Whatever goes wrong with a device, the answer stays the same, and it is counted.

use pelton::expr::{col, len};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, Tier, Wish};
use pelton::plan::stage::Stage;

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{Chain, adapter, cut, run, schema, wish};

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
    for fault in [Fault::Lose, Fault::Exhaust, Fault::Hurry, Fault::Confuse] {
        for stage in stages() {
            let expected = run(&CpuBackend::new(), &stage, &cut(&batch)).unwrap();
            let wish = Wish { rows_max: Some(500), ..wish(&adapter, Tier::Wide) };
            let faults = Faults::new([None, Some(fault), None, None, Some(fault)]);
            let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
            assert_batches_equal(&run(&backend, &stage, &cut(&batch)).unwrap(), &expected);
            let counts = backend.counts();
            assert_eq!(counts.fallen_back, 2, "{fault:?}: {counts:?}");
            assert!(counts.batches > 2 && counts.latest.is_some(), "{fault:?}: {counts:?}");
        }
    }
}

#[test]
fn a_device_that_is_lost_again_and_again_is_left_alone() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(2, 4000, &schema(), 0.1, Range::Tame);
    let [_, stage] = stages();
    let wish = Wish { rows_max: Some(200), ..wish(&adapter, Tier::Portable) };
    let backend = GpuBackend::open(wish).unwrap().with_faults(Faults::new([Some(Fault::Lose); 40]));
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
fn an_adapter_that_is_not_there_is_named() {
    let wish = Wish { adapter: Some("no such adapter".to_owned()), ..Wish::default() };
    let error = GpuBackend::open(wish).unwrap_err().to_string();
    assert!(error.starts_with("no adapter's name has \"no such adapter\" in it: there is "), "{error}");
}
