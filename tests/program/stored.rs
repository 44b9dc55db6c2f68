//! Partials as batches: made in one process, merged in another.

use std::sync::Arc;

use pelton::kernels::stored;
use pelton::prelude::*;

use crate::chains::{cases, rows, schema, through_ipc};

const ALL: usize = 60_000;

fn sum_by_key() -> Chain {
    Chain::new().filter(col("n").gt(3)).key_by([col("k")]).aggregate([col("f").sum().alias("sum")])
}

#[test]
fn partials_of_other_processes_merge_into_one_answer() {
    for case in cases() {
        for device in [Device::Auto, Device::Reference] {
            let all = if device == Device::Auto { ALL } else { 900 };
            // Each part is made by a program of its own, as it would be on another machine.
            let compile = || Program::compile(&schema(), &case.chain, device).unwrap();
            let stored = |from: usize| {
                let partial = compile().partial(&rows(from, all / 6)).unwrap();
                through_ipc(&partial.into_batch().unwrap())
            };
            let pair = |number: usize| {
                let (program, from) = (compile(), number * (all / 3));
                let mut both = program.partial_from_batch(&stored(from)).unwrap();
                both.merge(program.partial_from_batch(&stored(from + all / 6)).unwrap()).unwrap();
                through_ipc(&both.into_batch().unwrap())
            };
            let program = compile();
            let mut merged = program.partial_from_batch(&pair(0)).unwrap();
            for number in 1..3 {
                merged.merge(program.partial_from_batch(&pair(number)).unwrap()).unwrap();
            }
            assert_eq!(merged.finish().unwrap(), program.run(&rows(0, all)).unwrap(), "{} on {device:?}", case.name);
        }
    }
}

#[test]
fn a_partial_of_no_rows_is_stored_too() {
    for case in cases() {
        let program = Program::compile(&schema(), &case.chain, Device::Auto).unwrap();
        let empty = program.partial(&rows(0, 0)).unwrap().into_batch().unwrap();
        let answer = program.partial_from_batch(&through_ipc(&empty)).unwrap().finish().unwrap();
        assert_eq!(answer, program.run(&rows(0, 0)).unwrap(), "{}", case.name);
    }
}

#[test]
fn fingerprints_are_equal_for_equal_chains_and_for_no_others() {
    let of = |chain: &Chain| Program::compile(&schema(), chain, Device::Auto).unwrap().fingerprint().unwrap();
    let mut known = vec![of(&sum_by_key())];
    assert_eq!(known[0], of(&sum_by_key()));
    for case in cases() {
        known.push(of(&case.chain));
    }
    for share in [0.5, 0.25] {
        known.push(of(&Chain::new().aggregate([col("f").quantile(share)])));
    }
    known.sort();
    let len = known.len();
    known.dedup();
    assert_eq!(known.len(), len, "two chains have one fingerprint");
}

#[test]
fn a_partial_of_another_chain_is_refused_with_the_difference() {
    let compile = |chain: &Chain| Program::compile(&schema(), chain, Device::Auto).unwrap();
    let stored = compile(&sum_by_key()).partial(&rows(0, 100)).unwrap().into_batch().unwrap();
    let other = Chain::new().filter(col("n").gt(4)).key_by([col("k")]).aggregate([col("f").sum().alias("sum")]);
    let error = compile(&other).partial_from_batch(&stored).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("\"filter n > 3\" in the place of \"filter n > 4\""), "{error}");

    // The same words, of other columns.
    let narrow = Arc::new(schema().project(&[0, 1, 2]).unwrap());
    let error =
        Program::compile(&narrow, &sum_by_key(), Device::Auto).unwrap().partial_from_batch(&stored).unwrap_err();
    assert!(error.to_string().contains("source rows: k Int64, n Int32, f Float64\""), "{error}");
}

#[test]
fn a_batch_that_is_no_partial_is_refused() {
    let program = Program::compile(&schema(), &sum_by_key(), Device::Auto).unwrap();
    let error = program.partial_from_batch(&rows(0, 10)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains(stored::FORMAT_ENTRY), "{error}");

    let good = program.partial(&rows(0, 10)).unwrap().into_batch().unwrap();
    let mut metadata = good.schema().metadata().clone();
    metadata.insert(stored::FORMAT_ENTRY.to_owned(), "2".to_owned());
    let schema = Schema::new(good.schema().fields().clone()).with_metadata(metadata);
    let later = RecordBatch::try_new(Arc::new(schema), good.columns().to_vec()).unwrap();
    let error = program.partial_from_batch(&later).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("format 2"), "{error}");
}
