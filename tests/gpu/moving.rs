//! Rows on their way to a device: packed by several threads, copied or read where they lie, several batches at a time, and in
//! whatever trouble.

use pelton::expr::{Aggregate, col, len};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, Tier, Wish};
use pelton::kernels::{Backend, Moment, StageTask};
use pelton::plan::stage::{Registry, Stage};

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{Chain, Everywhere, adapter, cut, narrow_schema, run, wish};

const NAMES: [&str; 6] = ["flag", "u8", "i16", "i64", "f64", "id"];

fn aggregates() -> Vec<Aggregate> {
    vec![len().alias("n"), col("i64").sum().alias("s"), col("f64").min().alias("l"), col("flag").any().alias("a")]
}

/// Rows that stay, and groups.
fn stages() -> [Stage; 2] {
    let rows = || Chain::new(&narrow_schema(&NAMES)).filter(col("i16").gt(0).or(col("flag")));
    [
        rows().select([(col("i16") + 1).alias("next"), col("id")]).stage(),
        rows().reduce([col("u8")], aggregates()).stage(),
    ]
}

#[test]
fn much_is_packed_by_several_threads_in_parts_that_cut_pieces_anywhere() {
    let Some(everywhere) = Everywhere::new() else { return };
    // Columns of 2.4 MB, with nulls and without, in pieces that end in the middle of bytes of bits.
    let batch = ranged_batch(1, 300_011, &narrow_schema(&NAMES), 0.1, Range::Tame);
    for stage in stages() {
        everywhere.agree(&stage, &batch);
    }
}

#[test]
fn batches_of_changing_sizes_use_each_others_memory() {
    let Some(adapter) = adapter() else { return };
    let all = ranged_batch(2, 40_000, &narrow_schema(&NAMES), 0.1, Range::Tame);
    // Rows are copied by the device, or read where the host has written them; and some batches run twice, with more room.
    let hashed = Chain::new(&narrow_schema(&NAMES)).reduce([col("i64")], aggregates()).stage();
    let all_stages = || stages().into_iter().chain([hashed.clone()]);
    for (stage, in_place) in all_stages().flat_map(|stage| [(stage.clone(), true), (stage, false)]) {
        let wish = Wish {
            rows_max: Some(3000),
            groups_first: Some(20),
            in_place: Some(in_place),
            ..wish(&adapter, Tier::Wide)
        };
        let gpu = GpuBackend::open(wish).unwrap().strict();
        let prepared = gpu.prepare(&stage, &Registry::default()).unwrap();
        for (round, rows) in [1, 3000, 257, 9001, 40_000, 64, 12_000, 2999, 30_000].into_iter().enumerate() {
            let batch = cut(&all.slice(round * 11 % (40_001 - rows), rows));
            let task = |pieces: &Vec<_>| {
                let mut task = prepared.begin().unwrap();
                pieces.iter().for_each(|piece| task.push(piece).unwrap());
                task.finish().unwrap()
            };
            let given = prepared.merge(batch.iter().map(task).collect()).unwrap().concat();
            let expected = run(&CpuBackend::new(), &stage, &batch).unwrap();
            assert_batches_equal(
                &arrow_select::concat::concat_batches(&stage.output_schema, &given).unwrap(),
                &expected,
            );
        }
    }
}

#[test]
fn rows_that_are_on_their_way_are_waited_for_before_anything_is_told() {
    let Some(adapter) = adapter() else { return };
    let gpu = GpuBackend::open(Wish { rows_max: Some(100), ..wish(&adapter, Tier::Portable) }).unwrap().strict();
    let batch = ranged_batch(3, 1050, &narrow_schema(&NAMES), 0.1, Range::Tame);
    for stage in stages() {
        let mut task = gpu.prepare_stage(&stage, &Registry::default()).unwrap().begin_task(&Moment::default()).unwrap();
        task.push(&batch).unwrap();
        assert_eq!(task.flow(), None, "some rows are on their way");
        // The CPU takes rows in behind them.
        task.push_beside(&batch).unwrap();
        task.push(&batch).unwrap();
        task.settle().unwrap();
        task.flow().unwrap().check(3 * 1050).unwrap();
        let prepared = gpu.prepare(&stage, &Registry::default()).unwrap();
        let given = prepared.merge(vec![task.finish().unwrap()]).unwrap().concat();
        let thrice = vec![vec![batch.clone(), batch.clone(), batch.clone()]];
        let expected = run(&CpuBackend::new(), &stage, &thrice).unwrap();
        assert_batches_equal(&arrow_select::concat::concat_batches(&stage.output_schema, &given).unwrap(), &expected);
    }
}

#[test]
fn three_batches_are_on_their_way_at_a_time_and_each_is_one_submission() {
    let Some(adapter) = adapter() else { return };
    let batch = ranged_batch(5, 1050, &narrow_schema(&NAMES), 0.1, Range::Tame);
    let rows = Chain::new(&narrow_schema(&NAMES))
        .filter(col("i16").gt(0).and(col("flag")))
        .select([(col("i16") + 1).alias("next")]);
    let [_, groups] = stages();
    // Fewer rows stay than are guessed, so that all of them come back at once.
    for (stage, in_place) in [rows.stage(), groups].into_iter().flat_map(|one| [(one.clone(), true), (one, false)]) {
        let wish = Wish { rows_max: Some(100), in_place: Some(in_place), ..wish(&adapter, Tier::Wide) };
        let gpu = GpuBackend::open(wish).unwrap().strict();
        run(&gpu, &stage, &[vec![batch.clone()]]).unwrap();
        let counts = gpu.counts();
        assert_eq!((counts.batches, counts.submissions, counts.at_once), (11, 11, 3), "{counts:?}");
    }
}

#[test]
fn a_fault_with_others_on_their_way_is_one_fault_and_no_row_is_lost_or_doubled() {
    let Some(adapter) = adapter() else { return };
    let batch = cut(&ranged_batch(4, 2000, &narrow_schema(&NAMES), 0.1, Range::Tame));
    for stage in stages() {
        let expected = run(&CpuBackend::new(), &stage, &batch).unwrap();
        for fault in [Fault::Lose, Fault::Hurry, Fault::Exhaust, Fault::Confuse, Fault::Stall] {
            for at in 0..9 {
                let faults = Faults::new((0..at).map(|_| None).chain([Some(fault)])).opened_at_once();
                let in_place = Some(at % 2 == 0);
                let wish = Wish { rows_max: Some(200), in_place, ..wish(&adapter, Tier::Wide) };
                let gpu = GpuBackend::open(wish).unwrap().with_faults(faults);
                assert_batches_equal(&run(&gpu, &stage, &batch).unwrap(), &expected);
                let counts = gpu.counts();
                assert!(counts.fallen_back == 1 && counts.batches >= 9, "{fault:?} at {at}: {counts:?}");
            }
        }
    }
}
