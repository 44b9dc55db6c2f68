//! Random chains of operations on random rows: the same rows from both backends, in any number of partitions, however
//! the rows of the micro-batch are cut into record batches.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::common::Random;
use crate::random::{chain, rows, schema};

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

/// What a chain gave, and the chain in words.
type Outcome = (Result<RecordBatch>, String);

/// What the chain of this seed makes of one micro-batch, and the chain.
fn run(seed: u64, batch: Vec<RecordBatch>, device: Device, partitions: usize) -> Outcome {
    let context = StreamingContext::builder("chain").trigger(Trigger::AvailableNow).device(device);
    let context = context.partitions(partitions).build().unwrap();
    let (queue, source) = QueueSource::new(schema());
    queue.push(batch).unwrap();
    queue.close();
    let sink = MemorySink::new();
    let stream = chain(&mut Random::new(seed), &context.source("rows", source).unwrap());
    stream.write(sink.clone()).unwrap();
    let ended = context.start().unwrap().await_termination();
    (ended.and_then(|_| Ok(sink.rows()?.unwrap())), stream.explain())
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

#[test]
fn random_chains_give_the_same_rows_on_every_road() {
    let (mut answers, mut answered_rows) = (0, 0);
    for seed in 0..150 {
        let mut random = Random::new(!seed);
        let rows = rows(seed, [0, 1, 64, 300, 1000][random.below(5)]);
        let plain = run(seed, vec![rows.clone()], Device::Reference, 1);
        if let Ok(rows) = &plain.0 {
            answers += 1;
            answered_rows += rows.num_rows();
        }
        for partitions in 1..=5 {
            let road = format!("cpu with {partitions} partitions");
            compare(seed, &road, &run(seed, pieces(&mut random, &rows), Device::Cpu, partitions), &plain);
        }
        let cut = run(seed, pieces(&mut random, &rows), Device::Reference, 3);
        compare(seed, "reference with 3 partitions", &cut, &plain);
    }
    assert!(answers > 140, "only {answers} chains came to an answer");
    assert!(answered_rows > 3000, "only {answered_rows} rows came out of all chains");
}
