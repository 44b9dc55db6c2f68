//! Mistakes of the user's: found when a program is compiled, in the words of a stream; or where a batch does not fit.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, Int64Array};
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::chains::{rows, schema};

/// What is said of a chain, which must be what is said of the same operations on a stream.
fn refusal(chain: &Chain, stream: impl FnOnce(DStream) -> DStream) -> Error {
    let of_chain = Program::compile(&schema(), chain, Device::Auto).unwrap_err();
    let context = StreamingContext::builder("twin").build().unwrap();
    let source = context.source("rows", QueueSource::of(schema(), []).unwrap()).unwrap();
    let of_stream = stream(source).schema().unwrap_err();
    assert_eq!(of_chain.to_string(), of_stream.to_string());
    of_chain
}

#[test]
fn an_unknown_column_is_told_in_the_words_of_a_stream() {
    let error = refusal(&Chain::new().filter(col("kk").gt(1)), |rows| rows.filter(col("kk").gt(1)));
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    assert!(error.to_string().contains("in filter") && error.to_string().contains("kk"), "{error}");
}

#[test]
fn mistakes_after_a_reduce_are_found_before_any_row() {
    refusal(&Chain::new().key_by([col("k")]).count().sort(["n"]), |rows| rows.key_by([col("k")]).count().sort(["n"]));
    refusal(&Chain::new().select([]), |rows| rows.select([]));
    refusal(&Chain::new().aggregate([col("t").mean().alias("mean")]), |rows| {
        rows.aggregate([col("t").mean().alias("mean")])
    });
    refusal(&Chain::new().filter(col("k")), |rows| rows.filter(col("k")));
}

#[test]
fn a_type_that_the_engine_does_not_take_is_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("time", DataType::Time64(TimeUnit::Nanosecond), true)]));
    let error = Program::compile(&schema, &Chain::new(), Device::Auto).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_batch_of_another_schema_is_refused_with_the_column() {
    let chain = Chain::new().aggregate([col("n").sum().alias("sum")]);
    let fields = vec![Field::new("n", DataType::Int64, false)];
    let program = Program::compile(&Arc::new(Schema::new(fields)), &chain, Device::Auto).unwrap();
    let run = |name: &str, column: ArrayRef| {
        let batch = RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap();
        program.run(&batch)
    };
    let refused = |name: &str, column: ArrayRef, words: &str| {
        let error = run(name, column).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.to_string().contains(words) && error.to_string().contains("column \"n\""), "{error}");
    };
    refused("m", Arc::new(Int64Array::from(vec![1])), "lacks a column");
    refused("n", Arc::new(Int32Array::from(vec![1])), "Int32 where the program was compiled for Int64");
    refused("n", Arc::new(Int64Array::from(vec![None, Some(1)])), "nulls");
    assert!(run("n", Arc::new(Int64Array::from(vec![1]))).is_ok(), "that there could be nulls is no mistake");
}

#[test]
fn a_value_that_cannot_be_computed_is_told_with_its_column() {
    let chain = Chain::new().select([(col("k") * i64::MAX).alias("product")]);
    let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
    let error = program.run(&rows(0, 1000)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overflow);
    assert!(error.to_string().contains("column \"k\""), "{error}");
}

#[test]
fn a_panic_in_a_closure_is_an_error_on_any_thread() {
    let chain = Chain::new().map_batches(schema(), |_| panic!("out of luck")).count();
    let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
    for len in [10, 100_000] {
        let error = program.run(&rows(0, len)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Function);
        assert!(error.to_string().contains("out of luck"), "{error}");
    }
}
