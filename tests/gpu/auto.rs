//! `auto` on a named adapter: whichever device is chosen, the answers are those of the CPU, and what was chosen is told.

use std::sync::{Arc, Mutex};

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::dispatch::{Dispatcher, Placement};
use pelton::error::ErrorKind;
use pelton::kernels::gpu::{AdapterInfo, GpuBackend, Wish, adapters};
use pelton::plan::stage::Registry;
use pelton::prelude::*;
use pelton::runtime::progress::StageDevice;

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{self, adapter, schema};

/// What is measured here is not kept: tests leave nothing behind.
fn auto() -> Option<Placement> {
    Some(Placement { adapter: Some(adapter()?), without_cache: true, ..Placement::default() })
}

#[test]
fn programs_have_the_same_answers_whichever_device_is_chosen() {
    let Some(placement) = auto() else { return };
    let chains = [
        Chain::new().filter(col("i32").gt(0)).select([col("name"), (col("i32") * 2).alias("twice"), col("id")]),
        Chain::new().key_by([col("name"), col("u8")]).aggregate([len().alias("n"), col("f64").sum().alias("s")]),
        Chain::new().filter(col("flag")).key_by([col("i16")]).aggregate([col("i64").mean().alias("m")]).sort(["i16"]),
    ];
    let all = ranged_batch(1, 40_000, &schema(), 0.1, Range::Tame);
    for chain in chains {
        let program = Program::compile(&all.schema(), &chain, placement.clone()).unwrap();
        let cpu = Program::compile(&all.schema(), &chain, Device::Cpu).unwrap();
        for run in 0..60 {
            let rows = [0, 1, 255, 256, 257, 1000, 4096, 16_384, 40_000][run % 9];
            let some = all.slice((run * 37) % (40_001 - rows), rows);
            assert_batches_equal(&program.run(&some).unwrap(), &cpu.run(&some).unwrap());
        }
    }
}

#[test]
fn what_was_chosen_is_told_with_a_reason() {
    let Some(placement) = auto() else { return };
    let stage = support::Chain::new(&schema()).reduce([col("name")], [len().alias("n")]).stage();
    let placed = Dispatcher::new(placement).place(&stage, &Registry::default()).unwrap();
    assert_eq!(placed.backend, "cpu or gpu");
    assert!(placed.reason.starts_with("whichever is faster: by calibrated rates "), "{}", placed.reason);
    let batch = ranged_batch(2, 5000, &schema(), 0.1, Range::Tame);
    let mut rows = 0;
    for _ in 0..20 {
        let mut task = placed.stage.begin().unwrap();
        task.push(&batch).unwrap();
        placed.stage.merge(vec![task.finish().unwrap()]).unwrap();
        let told = placed.stage.choice().unwrap();
        assert!(told.predicted_ms > 0.0 && told.measured_ms > 0.0, "{told:?}");
        assert!(["cpu", "gpu"].contains(&told.device) && told.reason.contains("ms for 5000 rows"), "{told:?}");
        rows += told.cpu_rows + told.gpu_rows;
    }
    assert_eq!(rows, 20 * 5000);
}

#[test]
fn explain_says_what_was_chosen_for_the_latest_rows_and_what_they_took() {
    let Some(placement) = auto() else { return };
    let chain = Chain::new().key_by([col("name")]).aggregate([len().alias("n")]);
    let batch = ranged_batch(4, 5000, &schema(), 0.1, Range::Tame);
    let program = Program::compile(&batch.schema(), &chain, placement).unwrap();
    assert!(!program.explain().contains("of the latest rows"));
    program.run(&batch).unwrap();
    // As often as somebody asks.
    for _ in 0..2 {
        let explained = program.explain();
        let latest = explained.lines().find_map(|line| line.trim().strip_prefix("of the latest rows: the "));
        let latest = latest.unwrap_or_else(|| panic!("{explained}"));
        assert!(latest.contains(" is expected to take ") && latest.contains("ms for 5000 rows"), "{latest}");
        assert!(latest.contains("; it took ") && latest.ends_with(" ms"), "{latest}");
    }
}

#[test]
fn progress_records_say_what_ran_where() {
    let Some(placement) = auto() else { return };
    let batch = ranged_batch(3, 6000, &schema(), 0.1, Range::Tame);
    let records: Arc<Mutex<Vec<Vec<StageDevice>>>> = Arc::default();
    let heard = Arc::clone(&records);
    let context = StreamingContext::builder("numbers")
        .trigger(Trigger::AvailableNow)
        .placement(placement)
        .on_progress(move |progress| heard.lock().unwrap().push(progress.devices.clone()))
        .build()
        .unwrap();
    let (queue, source) = QueueSource::new(batch.schema());
    queue.push(vec![batch]).unwrap();
    queue.close();
    let stream = context.source("numbers", source).unwrap().filter(col("i32").gt(0));
    stream.select([(col("i32") % 7).alias("x")]).write(MemorySink::new()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    let records = records.lock().unwrap();
    let told: Vec<&StageDevice> = records.iter().flatten().collect();
    assert_eq!(told.iter().map(|one| one.choice.cpu_rows + one.choice.gpu_rows).sum::<u64>(), 6000, "{told:?}");
    assert!(told.iter().all(|one| one.stage == 0 && !one.choice.reason.is_empty()), "{told:?}");
}

#[test]
fn stages_that_no_gpu_runs_stay_on_the_cpu_with_the_reason() {
    let Some(placement) = auto() else { return };
    let chain = Chain::new().select([(col("f64") * 2.0).alias("x")]);
    let explained = Program::compile(&schema(), &chain, placement).unwrap().explain();
    assert!(explained.contains("cpu (not on the gpu: `f64 * 2.0` computes with floats"), "{explained}");
}

#[test]
fn a_software_adapter_is_only_taken_by_name() {
    let Some(name) = adapter() else { return };
    let is_software = |one: &AdapterInfo| one.is_software();
    if !adapters().unwrap().iter().all(is_software) {
        return;
    }
    let error = GpuBackend::open(Wish::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().starts_with("there is no GPU here: there is "), "{error}");
    let named = GpuBackend::open(Wish { adapter: Some(name), ..Wish::default() }).unwrap();
    assert!(named.adapter().is_software());
}

#[test]
fn an_adapter_that_is_not_there_leaves_all_to_the_cpu_and_is_told() {
    let placement = Placement { adapter: Some("no such adapter".to_owned()), ..Placement::default() };
    let chain = Chain::new().select([(col("i32") + 1).alias("x")]);
    let explained = Program::compile(&schema(), &chain, placement).unwrap().explain();
    assert!(explained.contains("cpu (") && explained.contains("no adapter's name has"), "{explained}");
}
