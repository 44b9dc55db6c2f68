//! The whole engine with `device = "gpu"`: the same answers, and reasons that people can read.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::dispatch::Placement;
use pelton::prelude::*;

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{adapter, schema};

fn on_gpu(strict: bool) -> Option<Placement> {
    Some(Placement { device: Device::Gpu, adapter: Some(adapter()?), strict, without_cache: true })
}

/// Chains of several stages, whose ends stay on the CPU or do not.
fn chains() -> Vec<Chain> {
    let kept = || Chain::new().filter(col("i32").gt(-40).and(col("name").is_not_null()));
    vec![
        kept().select([col("name"), (col("i32") + 1).alias("next")]),
        kept().key_by([col("name")]).aggregate([len().alias("n"), col("f64").mean().alias("mean")]),
        kept().key_by([col("name")]).aggregate([len().alias("n")]).sort(["n", "name"]),
        kept().with_columns([(col("i16") % 5).alias("rest")]).distinct_by(["rest", "flag"]),
        kept().select([col("id"), (col("i64") * 3).alias("x")]).top_n(20, ["x", "id"]),
        kept().select([(col("f64") * 2.0).alias("x"), col("id")]).limit(100),
        kept().key_by([col("u8")]).aggregate([col("i32").n_unique().alias("u"), col("f64").var(1).alias("v")]),
    ]
}

#[test]
fn programs_have_the_same_answers_on_both_devices() {
    let Some(placement) = on_gpu(false) else { return };
    let rows = ranged_batch(1, 3000, &schema(), 0.1, Range::Tame);
    for chain in chains() {
        let program = Program::compile(&rows.schema(), &chain, placement.clone()).unwrap();
        let expected = Program::compile(&rows.schema(), &chain, Device::Cpu).unwrap().run(&rows).unwrap();
        assert_batches_equal(&program.run(&rows).unwrap(), &expected);
        // A second run finds everything as it was left.
        assert_batches_equal(&program.run(&rows).unwrap(), &expected);
    }
}

#[test]
fn explain_says_what_runs_where_and_why() {
    let Some(placement) = on_gpu(false) else { return };
    let said = |chain: &Chain| Program::compile(&schema(), chain, placement.clone()).unwrap().explain();
    let chains = chains();
    let whole = said(&chains[1]);
    assert!(whole.contains("gpu (as asked, by ") && whole.contains("bit integers"), "{whole}");
    let ways =
        "groups on the gpu: by number where keys lie near each other, else by hashing; added up in the memory of";
    assert!(whole.contains(ways), "{whole}");
    let sorted = said(&chains[4]);
    assert!(sorted.contains("gpu (as asked, with sorting on the cpu, by "), "{sorted}");
    let refused = said(&chains[5]);
    assert!(refused.contains("cpu (not on the gpu: `f64 * 2.0` computes with floats"), "{refused}");
}

#[test]
fn explain_of_a_stream_says_how_groups_are_found_and_added_up() {
    let Some(placement) = on_gpu(true) else { return };
    let context = StreamingContext::builder("groups").placement(placement).build().unwrap();
    let rows = || context.source("rows", QueueSource::of(schema(), Vec::new()).unwrap());
    rows().unwrap().key_by([col("f64")]).running([len().alias("n")]).write(MemorySink::new()).unwrap();
    let explained = context.explain().unwrap();
    assert!(explained.contains("groups on the gpu: by hashing; added up in the memory of workgroups"), "{explained}");
}

#[test]
fn a_strict_placement_refuses_what_would_run_elsewhere() {
    let Some(placement) = on_gpu(true) else { return };
    let error = Program::compile(&schema(), &chains()[5], placement.clone()).unwrap_err().to_string();
    assert!(error.starts_with("stage 0 runs nowhere: gpu: `f64 * 2.0` computes with floats"), "{error}");
    Program::compile(&schema(), &chains()[1], placement).unwrap();
}

#[test]
fn an_adapter_that_is_not_there_ends_the_query_before_it_starts() {
    let adapter = Some("no such adapter".to_owned());
    let placement = Placement { device: Device::Gpu, adapter, ..Placement::default() };
    let error = Program::compile(&schema(), &chains()[0], placement).unwrap_err().to_string();
    assert!(error.contains("no adapter's name has \"no such adapter\" in it"), "{error}");
}
