//! However many threads compute an answer, and however many ask for one, it is the same.

use pelton::prelude::*;

use crate::chains::{cases, rows, schema};

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[test]
fn the_number_of_threads_does_not_change_an_answer() {
    let batch = rows(0, 140_000);
    for case in cases() {
        let program = Program::compile(&schema(), &case.chain, Device::Auto).unwrap();
        let alone = pool(1).install(|| program.run(&batch)).unwrap();
        for threads in [2, 3, 8] {
            let answer = pool(threads).install(|| program.run(&batch)).unwrap();
            assert_eq!(answer, alone, "{} on {threads} threads", case.name);
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_an_error() {
    // The largest integer overflows in the middle, and again at the end.
    let batch = rows(0, 180_000);
    let chain = Chain::new().select([(col("k")
        + when(col("row").is_in([100_000, 179_999])).then(lit(i64::MAX)).otherwise(lit(0)))
    .alias("sum")]);
    let numbers: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Int64Array::from_iter_values(0..180_000));
    let ones: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::Int64Array::from(vec![1; batch.num_rows()]));
    let batch = RecordBatch::try_from_iter([("row", numbers), ("k", ones)]).unwrap();
    let program = Program::compile(&batch.schema(), &chain, Device::Auto).unwrap();
    let errors = [1, 2, 3, 8].map(|threads| pool(threads).install(|| program.run(&batch)).unwrap_err());
    assert_eq!(errors[0].kind(), ErrorKind::Overflow);
    assert!(errors.iter().all(|error| error.to_string() == errors[0].to_string()), "{errors:?}");
}

#[test]
fn many_threads_share_one_program() {
    fn is_shared<T: Clone + Send + Sync>(_: &T) {}
    for case in cases() {
        let program = Program::compile(&schema(), &case.chain, Device::Auto).unwrap();
        is_shared(&program);
        let expected = [0, 1000, 70_000].map(|len| program.run(&rows(0, len)).unwrap());
        std::thread::scope(|scope| {
            for worker in 0..6 {
                let (program, expected) = (program.clone(), &expected);
                scope.spawn(move || {
                    for round in 0..6 {
                        let which = (worker + round) % 3;
                        let answer = program.run(&rows(0, [0, 1000, 70_000][which])).unwrap();
                        assert_eq!(answer, expected[which]);
                    }
                });
            }
        });
    }
}
