//! What does not fit a device as a whole runs there in halves, and no answer changes.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use pelton::expr::{Aggregate, col, len};
use pelton::kernels::Backend;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, Tier, Wish};
use pelton::plan::keep::OutputMode;
use pelton::plan::logical::Over;
use pelton::plan::stage::{Registry, Stage};

use crate::common::{Random, assert_batches_equal};
use crate::state::Life;
use crate::support::{Chain, adapter, cut, run, run_prepared, wish};

/// Rows of which every `share`-th has a key of its own.
fn rows(seed: u64, count: usize, share: usize) -> RecordBatch {
    let mut random = Random::new(seed);
    let keys: ArrayRef =
        Arc::new((0..count).map(|row| (row / share) as i64 * 7919 % 1_000_003).collect::<Int64Array>());
    let values: ArrayRef = Arc::new((0..count).map(|_| random.bits() as i64 >> 18).collect::<Int64Array>());
    let floats: ArrayRef = Arc::new((0..count).map(|_| random.share() - 0.5).collect::<Float64Array>());
    RecordBatch::try_from_iter([("key", keys), ("value", values), ("float", floats)]).unwrap()
}

fn aggregates() -> Vec<Aggregate> {
    let value = || col("value");
    vec![
        len().alias("n"),
        value().sum().alias("s"),
        value().min().alias("l"),
        col("float").sum().alias("f"),
        value().max().alias("m"),
    ]
}

/// Rows that stay, groups by hashing, and groups by number.
fn stages(batch: &RecordBatch) -> [Stage; 3] {
    let chain = || Chain::new(&batch.schema()).filter(col("value").gt(-(1_i64 << 44)));
    [
        chain().select([(col("value") * 2).alias("twice"), col("key")]).stage(),
        chain().reduce([(col("key") * 3).alias("k")], aggregates()).stage(),
        chain().reduce([(col("key") % 50).alias("k"), col("key").gt(500_000).alias("g")], aggregates()).stage(),
    ]
}

/// A device whose buffers have so few bytes that pieces of some thousand rows do not fit.
fn small(adapter: &str, tier: Tier) -> Wish {
    Wish {
        rows_max: Some(4000),
        rows_min: Some(50),
        groups_first: Some(64),
        bytes_max: Some(1 << 15),
        ..wish(adapter, tier)
    }
}

#[test]
fn pieces_that_do_not_fit_the_device_run_there_in_halves() {
    let Some(adapter) = adapter() else { return };
    let batch = rows(1, 20_000, 1);
    for tier in Tier::ALL {
        let gpu = GpuBackend::open(small(&adapter, tier)).unwrap().strict();
        for stage in stages(&batch) {
            let gpu = gpu.beside();
            for partitions in [vec![vec![batch.clone()]], cut(&batch)] {
                let expected = run(&CpuBackend::new(), &stage, &partitions).unwrap();
                assert_batches_equal(&run(&gpu, &stage, &partitions).unwrap(), &expected);
            }
            let counts = gpu.counts();
            // Those that come later are as small from the start.
            assert!(counts.halved >= 2 && counts.fallen_back == 0, "{tier}: {counts:?}");
            assert!(counts.batches > 2 * counts.halved, "{tier}: {counts:?}");
        }
    }
}

#[test]
fn groups_that_fit_are_not_cut_because_more_room_was_asked_for_than_there_is() {
    let Some(adapter) = adapter() else { return };
    // 20 bytes a group, of which there are about as many as fit in 32 KiB; twice as many would not.
    let batch = rows(2, 2400, 2);
    let stage =
        Chain::new(&batch.schema()).reduce([(col("key") * 3).alias("k")], [col("value").sum().alias("s")]).stage();
    let gpu = GpuBackend::open(small(&adapter, Tier::Portable)).unwrap().strict();
    let whole = vec![vec![batch]];
    let expected = run(&CpuBackend::new(), &stage, &whole).unwrap();
    assert_batches_equal(&run(&gpu, &stage, &whole).unwrap(), &expected);
    let counts = gpu.counts();
    assert_eq!((counts.halved, counts.batches), (0, 1), "{counts:?}");
}

#[test]
fn memory_that_has_run_out_halves_a_piece_and_too_few_rows_go_to_the_cpu() {
    let Some(adapter) = adapter() else { return };
    let batch = cut(&rows(3, 3000, 2));
    for stage in stages(&batch[0][0]) {
        let expected = run(&CpuBackend::new(), &stage, &batch).unwrap();
        let run = |faults: Faults| {
            let wish = Wish { rows_max: Some(400), rows_min: Some(60), ..wish(&adapter, Tier::Wide) };
            let gpu = GpuBackend::open(wish).unwrap().with_faults(faults);
            assert_batches_equal(&run(&gpu, &stage, &batch).unwrap(), &expected);
            gpu.counts()
        };
        for at in 0..7 {
            let counts = run(Faults::new((0..at).map(|_| None).chain([Some(Fault::Exhaust)])));
            assert_eq!((counts.halved, counts.fallen_back), (1, 0), "at {at}: {counts:?}");
            // A half has no memory either, or is lost with the device.
            for fault in [Fault::Exhaust, Fault::Lose] {
                let faults = (0..at).map(|_| None).chain([Some(Fault::Exhaust), None, Some(fault)]);
                let counts = run(Faults::new(faults).opened_at_once());
                match fault {
                    // The last piece of a partition may have fewer rows.
                    Fault::Exhaust => assert_eq!(counts.halved + counts.fallen_back, 2, "at {at}: {counts:?}"),
                    _ => assert!(counts.halved == 1 && counts.fallen_back > 0, "at {at}: {counts:?}"),
                }
            }
        }
        let counts = run(Faults::new([Some(Fault::Exhaust); 500]));
        assert!(counts.batches == 0 && counts.halved > 0 && counts.fallen_back >= 3000 / 120, "{counts:?}");
        assert!(counts.latest.unwrap().starts_with("the device has no memory left: "));
    }
}

#[test]
fn later_pieces_are_as_small_as_fits_and_explain_says_so() {
    let Some(adapter) = adapter() else { return };
    let batch = rows(4, 12_000, 1);
    let [_, stage, _] = stages(&batch);
    let gpu = GpuBackend::open(small(&adapter, Tier::Portable)).unwrap().strict();
    let prepared = gpu.prepare(&stage, &Registry::default()).unwrap();
    let whole = vec![vec![batch]];
    let expected = run(&CpuBackend::new(), &stage, &whole).unwrap();
    let mut halved = Vec::new();
    for _ in 0..4 {
        assert_batches_equal(&run_prepared(prepared.as_ref(), &stage, &whole).unwrap(), &expected);
        halved.push(gpu.counts().halved);
    }
    assert!(halved[0] > 0 && halved[3] < 2 * halved[0], "{halved:?}");
    let told = prepared.group_ids().unwrap();
    assert!(told.contains(" rows at a time, since more did not fit there"), "{told}");
}

#[test]
fn groups_that_stay_on_the_device_stay_there_in_halves() {
    let Some(adapter) = adapter() else { return };
    let wish = Wish { bytes_max: Some(1 << 18), rows_max: Some(3000), ..small(&adapter, Tier::Portable) };
    for fault in [None, Some(Fault::Exhaust)] {
        let faults = Faults::new([None, fault, None, None, None, None, fault]);
        let gpu = GpuBackend::open(wish.clone()).unwrap().with_faults(faults);
        let schema = rows(5, 1, 1).schema();
        let chain = Chain::new(&schema);
        let stage = chain.kept([col("key") * 3], aggregates(), Over::Always, OutputMode::Update).stage();
        let (mut life, mut by_cpu) = (Life::new(&gpu, &stage), Life::new(&CpuBackend::new(), &stage));
        for (seed, count) in [(1, 2500), (2, 300), (3, 2900), (4, 1000)] {
            let batch = cut(&rows(seed, count, 2));
            assert!(life.run(&batch).unwrap() == by_cpu.run(&batch).unwrap(), "{fault:?}, batch {seed}");
        }
        assert!(life.kept.scan().unwrap() == by_cpu.kept.scan().unwrap(), "{fault:?}");
        assert!(gpu.counts().taken_in > 0, "{:?}", gpu.counts());
    }
}

/// Groups in one batch that is more than a buffer of a software adapter holds, of 128 MiB: on a real GPU one of 2 GiB holds some of it at
/// a time, too.
#[test]
fn ten_million_groups_of_a_batch_are_those_of_the_cpu() {
    if std::env::var_os("PELTON_TEN_MILLION").is_none() {
        eprintln!("SKIPPED: takes minutes and some GiB of memory; PELTON_TEN_MILLION=1 runs it");
        return;
    }
    let Some(adapter) = adapter() else { return };
    let keys: ArrayRef =
        Arc::new((0..10_500_000_i64).map(|row| row % 10_400_000 * 7919 % 15_485_863).collect::<Int64Array>());
    let values: ArrayRef = Arc::new((0..10_500_000_i64).map(|row| row * 31 % 1009).collect::<Int64Array>());
    let floats: ArrayRef =
        Arc::new((0..10_500_000_i32).map(|row| f64::from(row % 4099) / 7.0).collect::<Float64Array>());
    let batch = RecordBatch::try_from_iter([("key", keys), ("value", values), ("float", floats)]).unwrap();
    let stage = Chain::new(&batch.schema()).reduce([(col("key") * 3).alias("k")], aggregates()).stage();
    let whole = vec![vec![batch]];
    let expected = run(&CpuBackend::new(), &stage, &whole).unwrap();
    assert_eq!(expected.num_rows(), 10_400_000);
    for tier in [Tier::Portable, Tier::Wide] {
        let gpu = GpuBackend::open(wish(&adapter, tier)).unwrap().strict();
        assert!(run(&gpu, &stage, &whole).unwrap() == expected, "{tier}");
        let counts = gpu.counts();
        eprintln!("{tier}: {} batches, {} cut in two", counts.batches, counts.halved);
        assert!(counts.halved > 0 && counts.fallen_back == 0, "{tier}: {counts:?}");
    }
}
