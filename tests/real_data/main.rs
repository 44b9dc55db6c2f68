//! Real files through real queries: the answers are those of Polars on the same files.
//!
//! The files do not belong to this repository. They lie in the folder that `PELTON_SHARED_DATA` names, or else in a
//! `shared/data` beside this package or further up; where there is none, the tests say so and do nothing.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod access_log;
mod flights;
#[path = "../common/tree.rs"]
mod tree;
mod weather;

use std::io::Write;
use std::path::PathBuf;

use pelton::columnar::Scalar;
use pelton::columnar::polars::from_frame_whole;
use pelton::connectors::memory::MemorySink;
use pelton::prelude::*;
use polars::prelude::{DataFrame, LazyFrame};

/// A file of the shared folder; `None`, and a line on standard error, where there is none.
fn shared(name: &str) -> Option<PathBuf> {
    let root = tree::root();
    let beside = root.ancestors().map(|folder| folder.join("shared/data"));
    let folder = match std::env::var_os("PELTON_SHARED_DATA") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => beside.into_iter().find(|folder| folder.is_dir()),
    };
    let file = folder.map(|folder| folder.join(name)).filter(|file| file.is_file());
    if file.is_none() {
        // Not by a macro: what those print is only shown for tests that fail.
        let mut shown = std::io::stderr().lock();
        writeln!(shown, "skipped: no shared folder with {name}; PELTON_SHARED_DATA can name one").unwrap();
    }
    file
}

/// All rows that a query gives for one micro-batch of a file.
fn answer(file: impl Fn(&StreamingContext) -> DStream, describe: impl Fn(DStream) -> DStream) -> RecordBatch {
    let run = |partitions| {
        let context = StreamingContext::builder("real data").trigger(Trigger::Once).partitions(partitions);
        let context = context.build().unwrap();
        let sink = MemorySink::new();
        describe(file(&context)).write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        sink.rows().unwrap().unwrap()
    };
    let rows = run(1);
    assert_eq!(run(4), rows, "four partitions differ from one");
    rows
}

/// Equal in all columns and rows: floats within a billionth, all else exactly.
#[track_caller]
fn assert_as_polars(ours: &RecordBatch, theirs: LazyFrame) {
    let theirs: DataFrame = theirs.collect().unwrap();
    let theirs = from_frame_whole(&theirs).unwrap();
    let names =
        |batch: &RecordBatch| batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(names(ours), names(&theirs));
    assert_eq!(ours.num_rows(), theirs.num_rows());
    assert!(ours.num_rows() > 0, "nothing was compared");
    for (column, name) in names(ours).iter().enumerate() {
        for row in 0..ours.num_rows() {
            let value = |batch: &RecordBatch| Scalar::from_array(batch.column(column), row).unwrap();
            let (ours, theirs) = (value(ours), value(&theirs));
            assert!(is_same(&ours, &theirs), "row {row} of \"{name}\": {ours:?}, and {theirs:?} of Polars");
        }
    }
}

fn is_same(ours: &Scalar, theirs: &Scalar) -> bool {
    match (ours, theirs) {
        (Scalar::Float64(ours), Scalar::Float64(theirs)) => {
            (ours - theirs).abs() <= 1e-9 * ours.abs().max(theirs.abs())
        }
        (ours, theirs) => match (whole(ours), whole(theirs)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => ours == theirs,
        },
    }
}

/// A whole number of any type.
fn whole(value: &Scalar) -> Option<i128> {
    match value {
        Scalar::Int64(value) => Some((*value).into()),
        Scalar::UInt64(value) => Some((*value).into()),
        _ => None,
    }
}
