//! Random chains on random cuts: whatever the batches, threads, merges and journeys, the answer is the reference's.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use pelton::prelude::*;

use crate::chains::{schema, through_ipc};
use crate::common::{Random, Range, ranged_batch};

/// Random rows: a few keys, floats of all kinds, nulls.
fn rows(seed: u64, rows: usize) -> RecordBatch {
    let tame = ranged_batch(seed, rows, &schema(), 0.15, Range::Tame);
    let wild = ranged_batch(seed, rows, &schema(), 0.15, Range::Wild);
    let mut columns = tame.columns().to_vec();
    let keys = columns[0].as_primitive::<Int64Type>().unary::<_, Int64Type>(|value| value % 9);
    columns[0] = std::sync::Arc::new(keys);
    columns[2] = std::sync::Arc::clone(wild.column(2));
    RecordBatch::try_new(schema(), columns).unwrap()
}

type Fields = Vec<(String, DataType)>;

fn fields(chain: &Chain) -> Fields {
    let program = Program::compile(&schema(), chain, Device::Cpu).unwrap_or_else(|error| panic!("{error}\n{chain:?}"));
    let schema = program.output_schema();
    schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
}

/// One to four operations; new columns are numbered.
fn chain(random: &mut Random) -> Chain {
    let mut chain = Chain::new();
    for number in 0..=random.below(4) {
        let fields = fields(&chain);
        let some = |random: &mut Random| (0..=random.below(2)).map(|_| random.pick(&fields).0).collect::<Vec<_>>();
        chain = match random.below(8) {
            0 => chain.filter(condition(random, &fields)),
            1 => chain.with_columns([value(random, &fields).alias(format!("w{number}"))]),
            2 => chain.distinct_by(unique(some(random))),
            3 => chain.sort(unique(some(random)).iter().map(String::as_str)),
            4 => chain.top_n(random.below(30), unique(some(random)).iter().map(String::as_str)),
            5 => chain.limit(random.below(300)),
            _ => {
                let keys = if random.below(5) == 0 { Vec::new() } else { unique(some(random)) };
                let keys = keys.iter().enumerate().map(|(place, key)| col(key).alias(format!("g{number}_{place}")));
                let keys: Vec<Expr> = keys.collect();
                chain.key_by(keys).aggregate(aggregates(random, &fields, number))
            }
        };
    }
    chain
}

fn unique(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names.dedup();
    names
}

fn condition(random: &mut Random, fields: &Fields) -> Expr {
    let (name, data_type) = random.pick(fields);
    match data_type {
        DataType::Boolean => col(name),
        DataType::Utf8 => col(name).gt(lit("b")),
        _ if random.below(3) == 0 => col(name).is_not_null(),
        _ => col(name).gt(random.pick(&[-10_i64, 0, 3])),
    }
}

fn value(random: &mut Random, fields: &Fields) -> Expr {
    let (name, data_type) = random.pick(fields);
    let column = || col(&name);
    match data_type {
        DataType::Boolean => !column(),
        DataType::Utf8 => coalesce([column(), lit("none")]),
        DataType::Float64 => column() * 0.5,
        _ => random.pick(&[column() % 7, column() / 4, column().fill_null(0)]),
    }
}

fn aggregates(random: &mut Random, fields: &Fields, number: usize) -> Vec<Aggregate> {
    let aggregate = |place: usize| {
        let (name, data_type) = random.pick(fields);
        let column = || col(&name);
        let mut all = vec![
            column().count(),
            column().n_unique(),
            column().min(),
            column().max(),
            column().first(),
            column().last(),
        ];
        match data_type {
            DataType::Boolean => all.extend([column().any(), column().all()]),
            DataType::Utf8 => all.push(column().concat("|")),
            _ => all.extend([
                column().sum(),
                column().mean(),
                column().sum(),
                column().mean(),
                column().var(1),
                column().std(0),
                column().quantile(random.share()),
            ]),
        }
        let aggregate = random.pick(&all).alias(format!("a{number}_{place}"));
        if random.below(4) == 0 { aggregate.filter(condition(random, fields)) } else { aggregate }
    };
    (0..=3).map(aggregate).chain([len().alias(format!("len{number}"))]).collect()
}

/// The rows in batches of random lengths, some of them empty.
fn cut(random: &mut Random, rows: &RecordBatch) -> Vec<RecordBatch> {
    let (mut batches, mut from) = (Vec::new(), 0);
    while from < rows.num_rows() {
        let len = random.below(2 + rows.num_rows() / 3).min(rows.num_rows() - from);
        batches.push(rows.slice(from, len));
        from += len;
    }
    batches
}

/// The answer of partials that are merged pair by pair in a random order of pairs, and travel now and then.
fn merged(random: &mut Random, program: &Program, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let mut parts = batches.iter().map(|batch| program.partial(batch)).collect::<Result<Vec<_>>>()?;
    if parts.is_empty() {
        return program.run_all(&[]);
    }
    while parts.len() > 1 {
        let place = random.below(parts.len() - 1);
        let mut later = parts.remove(place + 1);
        if random.below(2) == 0 {
            later = program.partial_from_batch(&through_ipc(&later.into_batch()?))?;
        }
        parts[place].merge(later)?;
    }
    parts.remove(0).finish()
}

fn same(got: &Result<RecordBatch>, wanted: &Result<RecordBatch>, what: &str) {
    match (got, wanted) {
        (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{what}"),
        (Err(got), Err(wanted)) => assert_eq!(got.kind(), wanted.kind(), "{what}: {got} but {wanted}"),
        (got, wanted) => panic!("{what}: {got:?} but {wanted:?}"),
    }
}

#[test]
fn random_chains_answer_as_the_reference_however_the_rows_come() {
    let pools = [1, 2, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let chain = chain(&mut random);
        let program = Program::compile(&schema(), &chain, Device::Cpu).unwrap();
        let reference = Program::compile(&schema(), &chain, Device::Reference).unwrap();
        for len in [0, 1, 64, 300 + random.below(200)] {
            let batch = rows(seed, len);
            let wanted = reference.run(&batch);
            let what = format!("seed {seed}, {len} rows of\n{chain:?}");
            same(&program.run(&batch), &wanted, &what);
            for pool in &pools {
                let batches = cut(&mut random, &batch);
                same(&pool.install(|| program.run_all(&batches)), &wanted, &what);
                same(&pool.install(|| merged(&mut random, &program, &batches)), &wanted, &what);
            }
        }
    }
}

#[test]
fn eight_threads_run_one_program_on_batches_of_all_sizes() {
    for seed in 100..112 {
        let chain = chain(&mut Random::new(seed));
        let program = Program::compile(&schema(), &chain, Device::Cpu).unwrap();
        let batches: Vec<RecordBatch> = [0, 1, 63, 700, 2_000].iter().map(|&len| rows(seed, len)).collect();
        // Each by a program of its own: nothing is left over from another batch.
        let alone = |batch| Program::compile(&schema(), &chain, Device::Cpu).unwrap().run(batch);
        let wanted: Vec<_> = batches.iter().map(alone).collect();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let (program, batches, wanted) = (program.clone(), &batches, &wanted);
                scope.spawn(move || {
                    let mut random = Random::new(worker);
                    for _ in 0..12 {
                        let which = random.below(batches.len());
                        let pieces = cut(&mut random, &batches[which]);
                        let got =
                            if random.below(2) == 0 { program.run(&batches[which]) } else { program.run_all(&pieces) };
                        same(&got, &wanted[which], &format!("seed {seed}, batch {which}"));
                    }
                });
            }
        });
    }
}
