//! Random operations on random rows: the same rows from both backends, in any number of partitions, however
//! the rows of the micro-batch are cut into record batches.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::common::Random;
use crate::random::{rows, schema, tree};

/// The rows in random pieces, some of them empty.
fn pieces(random: &mut Random, rows: &RecordBatch) -> Vec<RecordBatch> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < rows.num_rows() {
        let length = random.below(90).min(rows.num_rows() - start);
        pieces.push(rows.slice(start, length));
        start += length;
    }
    pieces
}

/// What two branches gave, and they in words.
type Outcome = (Result<Vec<RecordBatch>>, String);

/// What the chain of this seed makes of one micro-batch, and the chain.
fn run(seed: u64, batch: Vec<RecordBatch>, device: Device, partitions: usize) -> Outcome {
    let context = StreamingContext::builder("chain").trigger(Trigger::AvailableNow).device(device);
    let context = context.partitions(partitions).build().unwrap();
    let (queue, source) = QueueSource::new(schema());
    queue.push(batch).unwrap();
    queue.close();
    let branches = tree(&mut Random::new(seed), &context.source("rows", source).unwrap());
    let sinks = branches.each_ref().map(|branch| {
        let sink = MemorySink::new();
        branch.write(sink.clone()).unwrap();
        sink
    });
    let ended = context.start().unwrap().await_termination();
    let rows = ended.and_then(|_| sinks.iter().map(|sink| Ok(sink.rows()?.unwrap())).collect());
    (rows, branches.each_ref().map(DStream::explain).join("\n"))
}

/// Equal rows, or errors of one kind.
fn compare(seed: u64, road: &str, left: &Outcome, right: &Outcome) {
    let said = &right.1;
    let equal = match (&left.0, &right.0) {
        (Ok(left), Ok(right)) => left == right,
        (Err(left), Err(right)) => left.kind() == right.kind(),
        _ => false,
    };
    assert!(equal, "seed {seed}, {road}, of\n{said}\ngives\n{:?}\nand not\n{:?}", left.0, right.0);
}

/// How many chains are tried: `PELTON_SEEDS`, to look for longer.
fn seeds() -> u64 {
    std::env::var("PELTON_SEEDS").map_or(150, |seeds| seeds.parse().unwrap())
}

#[test]
fn random_chains_give_the_same_rows_on_every_road() {
    let (mut answers, mut answered_rows) = (0, 0_u64);
    let seeds = seeds();
    for seed in 0..seeds {
        let mut random = Random::new(!seed);
        let rows = rows(seed, [0, 1, 64, 300, 1000][random.below(5)]);
        let plain = run(seed, vec![rows.clone()], Device::Reference, 1);
        if let Ok(rows) = &plain.0 {
            answers += 1;
            answered_rows += rows.iter().map(|rows| rows.num_rows() as u64).sum::<u64>();
        }
        for partitions in 1..=5 {
            let road = format!("cpu with {partitions} partitions");
            compare(seed, &road, &run(seed, pieces(&mut random, &rows), Device::Cpu, partitions), &plain);
        }
        let cut = run(seed, pieces(&mut random, &rows), Device::Reference, 3);
        compare(seed, "reference with 3 partitions", &cut, &plain);
    }
    assert!(answers * 10 > seeds * 9, "only {answers} of {seeds} chains came to an answer");
    assert!(answered_rows > 20 * seeds, "only {answered_rows} rows came out of {seeds} chains");
}

#[test]
fn a_closure_reduces_columns_that_are_never_null() {
    for device in [Device::Cpu, Device::Reference] {
        let context = StreamingContext::builder("closure").trigger(Trigger::Once).device(device).partitions(3);
        let context = context.build().unwrap();
        let source = QueueSource::of(schema(), [rows(5, 200)]).unwrap();
        let sink = MemorySink::new();
        let counted = context.source("rows", source).unwrap().key_by([col("k")]).count();
        assert!(!counted.schema().unwrap().field(1).is_nullable());
        let most = counted.key_by([lit(1).alias("one")]).reduce(col("count"), |a: i64, b: i64| a.max(b));
        most.write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        let most = sink.rows().unwrap().unwrap();
        assert!(most.num_rows() == 1 && !most.schema().field(1).is_nullable(), "{device:?}: {most:?}");
    }
}
