//! One answer, whoever computes it: program, reference, stream.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::chains::{Case, cases, rows, schema};
use crate::common::assert_batches_equal;

fn compiled(case: &Case, device: Device) -> Program {
    Program::compile(&schema(), &case.chain, device).unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

fn of_a_stream(case: &Case, batch: &RecordBatch) -> RecordBatch {
    let context = StreamingContext::builder("twin").trigger(Trigger::AvailableNow).partitions(1).build().unwrap();
    let source = context.source("rows", QueueSource::of(schema(), [batch.clone()]).unwrap()).unwrap();
    let sink = MemorySink::new();
    (case.stream)(source).write(sink.clone()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    sink.rows().unwrap().unwrap()
}

#[test]
fn programs_answer_as_the_reference_does() {
    for case in cases() {
        let (program, reference) = (compiled(&case, Device::Auto), compiled(&case, Device::Reference));
        for len in [0, 1, 63, 64, 65, 1000] {
            let batch = rows(500, len);
            let answer = program.run(&batch).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            assert_eq!(answer.schema(), program.output_schema(), "{}", case.name);
            assert_eq!(answer, reference.run(&batch).unwrap(), "{} of {len} rows", case.name);
        }
    }
}

#[test]
fn programs_answer_as_streams_do() {
    for case in cases() {
        let program = compiled(&case, Device::Auto);
        for len in [0, 1, 4095, 4096, 4097, 65_537] {
            let batch = rows(0, len);
            assert_batches_equal(&program.run(&batch).unwrap(), &of_a_stream(&case, &batch));
        }
    }
}

/// From 131,072 groups on a task puts rows off: in one batch as they lie, in short ones tile by tile.
#[test]
fn keys_that_hardly_repeat_give_the_same_rows_in_one_batch_and_in_many() {
    let (rows, count) = (400_000_usize, 400_000_i64);
    // Every third key comes twice, far apart; every hundredth is null.
    let key = |row: i64| (row % 100 != 99).then(|| if row % 3 == 0 { row % 150_000 } else { row } * 7_919);
    let keys: arrow_array::ArrayRef = std::sync::Arc::new((0..count).map(key).collect::<arrow_array::Int64Array>());
    let values: arrow_array::ArrayRef =
        std::sync::Arc::new((0..count).map(|row| row % 1000 - 500).collect::<arrow_array::Int64Array>());
    let batch = RecordBatch::try_from_iter([("k", keys), ("v", values)]).unwrap();
    let aggregates =
        [col("v").sum().alias("s"), col("v").mean().alias("m"), col("v").first().alias("f"), len().alias("n")];
    let chain = Chain::new().key_by([col("k")]).aggregate(aggregates);
    let program = Program::compile(&batch.schema(), &chain, Device::Cpu).unwrap();
    let whole = program.run(&batch).unwrap();
    let total: i64 = whole.column(4).as_any().downcast_ref::<arrow_array::Int64Array>().unwrap().values().iter().sum();
    assert_eq!(total, count);
    for step in [4_096, 16_384, 150_000] {
        let cut = (0..rows).step_by(step).map(|from| batch.slice(from, step.min(rows - from)));
        assert_eq!(program.run_all(&cut.collect::<Vec<_>>()).unwrap(), whole, "in batches of {step}");
    }
}

#[test]
fn many_batches_are_one_input() {
    for case in cases() {
        let program = compiled(&case, Device::Cpu);
        let whole = program.run(&rows(0, 100_000)).unwrap();
        for step in [999, 16_384, 16_385, 70_000] {
            let batches =
                (0..100_000).step_by(step).map(|from| rows(from, step.min(100_000 - from))).collect::<Vec<_>>();
            assert_eq!(program.run_all(&batches).unwrap(), whole, "{} in batches of {step}", case.name);
        }
    }
}

#[test]
fn no_batches_are_an_input_without_rows() {
    for case in cases() {
        let program = compiled(&case, Device::Auto);
        assert_eq!(program.run_all(&[]).unwrap(), program.run(&rows(0, 0)).unwrap(), "{}", case.name);
    }
}

#[test]
fn a_chain_without_operations_gives_the_rows_as_they_are() {
    let program = Program::compile(&schema(), &Chain::new(), Device::Auto).unwrap();
    let batch = rows(3, 70_000);
    assert_eq!(program.run(&batch).unwrap(), batch);
}

#[test]
fn a_table_is_joined() {
    let keys = arrow_array::ArrayRef::clone(rows(0, 5).column(0));
    let keys = RecordBatch::try_from_iter_with_nullable([("key", keys, true)]).unwrap();
    let chain = Chain::new().join_static("keys", keys.clone(), [("k", "key")], JoinKind::Semi).count_by_value(col("k"));
    let answers = [Device::Auto, Device::Reference].map(|device| {
        let program = Program::compile(&schema(), &chain, device).unwrap();
        program.run(&rows(0, 2000)).unwrap()
    });
    assert!((1..=5).contains(&answers[0].num_rows()), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn lists_become_rows() {
    let chain =
        Chain::new().select([col("t").split("-").alias("words")]).flat_map(col("words")).count_by_value(col("words"));
    let [fast, slow] = [Device::Auto, Device::Reference]
        .map(|device| Program::compile(&schema(), &chain, device).unwrap().run(&rows(0, 500)).unwrap());
    assert!(fast.num_rows() > 10);
    assert_eq!(fast, slow);
}

#[test]
fn columns_are_found_by_name_and_others_are_not_looked_at() {
    let chain = Chain::new().key_by([col("k")]).aggregate([col("n").sum().alias("sum")]);
    let narrow = rows(0, 1000).project(&[0, 1]).unwrap();
    let program = Program::compile(&narrow.schema(), &chain, Device::Auto).unwrap();
    let turned = rows(0, 1000).project(&[3, 1, 2, 0]).unwrap();
    assert_eq!(program.run(&turned).unwrap(), program.run(&narrow).unwrap());
}

#[test]
fn explain_tells_the_chain_the_stages_and_what_they_run_on() {
    let chain = Chain::new().filter(col("k").gt(1)).key_by([col("t")]).count().sort(["count"]);
    let program = Program::compile(&schema(), &chain, Device::Cpu).unwrap();
    let text = program.explain();
    for part in
        ["sort count", "filter k > 1", "stage 0 of rows, on cpu (as asked, by ", "stage 1 of stage 0", "reduce by"]
    {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn explain_tells_how_groups_can_be_found_and_after_a_run_how_they_were() {
    let chain = Chain::new().key_by([col("k"), col("t")]).count();
    let program = Program::compile(&schema(), &chain, Device::Cpu).unwrap();
    let before = "group ids: k by a range of integers or a hash table, t by a hash table of bytes, pairs of ids by";
    assert!(program.explain().contains(before), "{}", program.explain());
    program.run(&rows(0, 1000)).unwrap();
    let after = program.explain();
    assert!(after.contains("group ids of the latest run: k by a range of "), "{after}");
    assert!(after.contains("t by a hash table of bytes, paired by a grid of ") && after.contains(" groups"), "{after}");

    // Keys too far apart for a range.
    let far = Chain::new().select([(col("k") * 1_000_000_007).alias("k")]).count_by_value(col("k"));
    let program = Program::compile(&schema(), &far, Device::Cpu).unwrap();
    program.run(&rows(0, 1000)).unwrap();
    assert!(program.explain().contains("k by a hash table; "), "{}", program.explain());
    let nothing = Program::compile(&schema(), &Chain::new().count(), Device::Cpu).unwrap();
    assert!(!nothing.explain().contains("group ids"), "{}", nothing.explain());
}
