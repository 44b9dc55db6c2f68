//! Polars frames through a program.

use pelton::columnar::polars::{from_frame_whole, schema_of, to_frame};
use pelton::prelude::*;
use polars::prelude as pl;

use crate::chains::{cases, rows};

#[test]
fn a_frame_has_the_answer_of_its_rows() {
    let frame = to_frame(&rows(0, 2_000)).unwrap();
    let batch = from_frame_whole(&frame).unwrap();
    let schema = schema_of(&frame).unwrap();
    // The closure promises the schema of batches, in which text has another layout.
    for case in cases().into_iter().filter(|case| case.name != "closure") {
        let program = Program::compile(&schema, &case.chain, Device::Auto).unwrap();
        let answer = program.run_frame(&frame).unwrap();
        assert!(answer.equals_missing(&to_frame(&program.run(&batch).unwrap()).unwrap()), "{}", case.name);
    }
}

#[test]
fn a_frame_of_several_chunks_is_one_input() {
    let (first, later) = (to_frame(&rows(0, 700)).unwrap(), to_frame(&rows(700, 300)).unwrap());
    let both = first.vstack(&later).unwrap();
    let chain = Chain::new().filter(col("k").gt_eq(0)).count_by_value(col("t"));
    let program = Program::compile(&schema_of(&both).unwrap(), &chain, Device::Auto).unwrap();
    let whole = to_frame(&rows(0, 1000)).unwrap();
    assert_eq!(program.run_frame(&both).unwrap(), program.run_frame(&whole).unwrap());
}

#[test]
fn polars_agrees_on_a_keyed_sum() {
    let frame = pl::df!("city" => ["Oslo", "Rome", "Oslo", "Bern"], "n" => [3_i64, 5, 1, 9]).unwrap();
    let chain = Chain::new().filter(col("n").lt(9)).key_by([col("city")]).aggregate([col("n").sum().alias("n")]);
    let program = Program::compile(&schema_of(&frame).unwrap(), &chain, Device::Auto).unwrap();
    let polars = pl::IntoLazy::lazy(frame.clone())
        .filter(pl::col("n").lt(pl::lit(9)))
        .group_by_stable([pl::col("city")])
        .agg([pl::col("n").sum()])
        .collect();
    assert_eq!(program.run_frame(&frame).unwrap(), polars.unwrap());
}

#[test]
fn a_frame_of_another_schema_is_refused() {
    let frame = pl::df!("n" => [1_i64]).unwrap();
    let program = Program::compile(&schema_of(&frame).unwrap(), &Chain::new().count(), Device::Auto).unwrap();
    let error = program.run_frame(&pl::df!("n" => ["1"]).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
}
