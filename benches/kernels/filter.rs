//! Filters: a comparison and the copying of the rows that are kept, of one integer, one float and one text column.
//!
//! More rows than a tile come in tiles, as the engine hands them to this kernel.

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::RecordBatch;
use criterion::{Criterion, Throughput};
use pelton::expr::{col, lit};
use pelton::kernels::cpu::filter::Filter;
use pelton::limits::ROWS_PER_READ_MAX;
use polars::prelude::{self as pl, ChunkCompareIneq};

use crate::data::{batch, compare, frame};
use crate::sizes;

const KEPT: [(&str, i64); 4] = [("keep_1pc", 1), ("keep_50pc", 50), ("keep_99pc", 99), ("keep_all", 100)];

pub(crate) fn all(criterion: &mut Criterion) {
    for (size, rows) in sizes() {
        let whole = batch(rows);
        for (layout, columns) in [("numbers", vec![0, 2, 4]), ("with_text", vec![0, 2, 6])] {
            let narrow: RecordBatch = whole.project(&columns).unwrap();
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
