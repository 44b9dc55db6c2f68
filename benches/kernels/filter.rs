//! Filters: a comparison and the copying of the rows that are kept, of one integer, one float and one text column. Texts
//! lie as Arrow's plain strings (`with_text`: whole texts are copied), and as views, as Polars has them (`with_views`).
//!
//! More rows than a tile come in tiles, as the engine hands them to this kernel.

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use criterion::{Criterion, Throughput};
use pelton::columnar::{DataType, Field};
use pelton::expr::{col, lit};
use pelton::kernels::cpu::filter::Filter;
use pelton::limits::ROWS_PER_READ_MAX;
use polars::prelude::{self as pl, ChunkCompareIneq};

use crate::data::{batch, compare, frame};
use crate::sizes;

const KEPT: [(&str, i64); 4] = [("keep_1pc", 1), ("keep_50pc", 50), ("keep_99pc", 99), ("keep_all", 100)];

/// The same rows with views instead of plain strings.
fn with_views(batch: &RecordBatch) -> RecordBatch {
    let column = |(field, values): (&Arc<Field>, &ArrayRef)| {
        let values = match values.data_type() {
            DataType::Utf8 => arrow_cast::cast(values, &DataType::Utf8View).unwrap(),
            _ => Arc::clone(values),
        };
        (field.name().clone(), values)
    };
    RecordBatch::try_from_iter(batch.schema_ref().fields().iter().zip(batch.columns()).map(column)).unwrap()
}

pub(crate) fn all(criterion: &mut Criterion) {
    for (size, rows) in sizes() {
        let whole = batch(rows);
        for (layout, narrow) in [
            ("numbers", whole.project(&[0, 2, 4]).unwrap()),
            ("with_text", whole.project(&[0, 2, 6]).unwrap()),
            ("with_views", with_views(&whole.project(&[0, 2, 6]).unwrap())),
        ] {
            let theirs = frame(&narrow);
            for (case, bound) in KEPT {
                let filter = Filter::prepare(&col("p").lt(lit(bound)).typed(&narrow.schema()).unwrap()).unwrap();
                let by_polars = || {
                    let mask = theirs.column("p").unwrap().i64().unwrap().lt(bound);
                    theirs.filter(&mask).unwrap()
                };
                let tiles: Vec<RecordBatch> = (0..rows)
                    .step_by(ROWS_PER_READ_MAX)
                    .map(|start| narrow.slice(start, ROWS_PER_READ_MAX.min(rows - start)))
                    .collect();
                let by_pelton = || tiles.iter().map(|tile| filter.apply(tile).unwrap()).collect::<Vec<_>>();
                let ours = arrow_select::concat::concat_batches(&narrow.schema(), &by_pelton()).unwrap();
                let expected: pl::DataFrame = by_polars();
                for (index, column) in expected.columns().iter().enumerate() {
                    compare(case, &Arc::clone(ours.column(index)), column);
                }
                let mut group = criterion.benchmark_group(format!("filter/{layout}_{case}/{size}"));
                group.throughput(Throughput::Elements(rows as u64));
                group.bench_function("cpu", |bencher| bencher.iter(|| black_box(by_pelton())));
                group.bench_function("polars", |bencher| bencher.iter(|| black_box(by_polars())));
                group.finish();
            }
        }
    }
}
