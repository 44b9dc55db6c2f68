//! Chains of every kind, each described of a program and of a stream by the same words.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use pelton::prelude::*;

use crate::common::{Range, ranged_batch};

/// A chain, and the same operations on a stream.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) chain: Chain,
    pub(crate) stream: fn(DStream) -> DStream,
}

macro_rules! cases {
    ($($name:literal: |$rows:ident| $operations:expr;)*) => {
        vec![$(Case {
            name: $name,
            chain: { let $rows = Chain::new(); $operations },
            stream: |$rows: DStream| $operations,
        }),*]
    };
}

/// Of one stage and of several; with and without a reduce; none but the first has rows of its own.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "filter": |rows| rows.filter(col("k").gt(3));
        "select": |rows| rows.select([col("t"), (col("k") * 2).alias("twice")]);
        "with_columns": |rows| rows.with_columns([(col("k") + col("n")).alias("sum"), col("f").is_null().alias("f")]);
        "nothing is kept": |rows| rows.filter(col("k").gt(100)).map([col("k")]);
        "keyed reduce": |rows| rows.filter(col("n").gt(-50)).key_by([col("k")]).aggregate([
            len().alias("rows"), col("n").sum().alias("sum"), col("f").mean().alias("mean"), col("f").min().alias("min"),
            col("t").first().alias("first"), col("t").last().alias("last"), col("d").sum().alias("decimal"),
        ]);
        "reduce by text and number": |rows| rows.reduce_by_key([col("t"), col("b")], [col("k").n_unique().alias("ks")]);
        "reduce without keys": |rows| rows.aggregate([col("f").sum().alias("sum"), col("n").max().alias("max")]);
        "count": |rows| rows.filter(col("b")).count();
        "count_by_value": |rows| rows.count_by_value(col("k") % 5);
        "distinct": |rows| rows.select([col("k"), col("b")]).distinct();
        "distinct_by": |rows| rows.distinct_by(["t"]);
        "sort": |rows| rows.select([col("k"), col("f"), col("t")]).sort([SortBy::from("k").descending(), "f".into()]);
        "top_n": |rows| rows.top_n(10, [SortBy::from("t").nulls_first(), "n".into()]);
        "limit": |rows| rows.filter(col("k").gt(0)).limit(100);
        "sort after reduce": |rows| rows
            .key_by([col("t")])
            .count()
            .filter(col("count").gt(1))
            .sort([SortBy::from("count").descending()]);
        "reduce after reduce after distinct": |rows| rows
            .distinct_by(["k", "t"])
            .key_by([col("t")])
            .aggregate([col("k").sum().alias("sum")])
            .key_by([col("sum") % 3])
            .aggregate([len().alias("texts"), col("sum").max().alias("max")]);
        "closure": |rows| rows.map_batches(Arc::clone(&schema()), |batch| Ok(batch.clone())).count_by_value(col("k"));
    }
}

pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("n", DataType::Int32, true),
        Field::new("f", DataType::Float64, true),
        Field::new("t", DataType::Utf8, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("d", DataType::Decimal128(9, 2), true),
    ]))
}

/// Rows of [`schema`], the same for the same number: a few keys, floats of all kinds, nulls.
pub(crate) fn rows(from: usize, rows: usize) -> RecordBatch {
    static ALL: LazyLock<RecordBatch> = LazyLock::new(|| {
        let tame = ranged_batch(7, 12_000, &schema(), 0.1, Range::Tame);
        let wild = ranged_batch(8, 12_000, &schema(), 0.1, Range::Wild);
        let mut columns = tame.columns().to_vec();
        columns[0] = Arc::new(columns[0].as_primitive::<Int64Type>().unary::<_, Int64Type>(|value| value % 12));
        columns[2] = Arc::clone(wild.column(2));
        let some = RecordBatch::try_new(schema(), columns).unwrap();
        // Rows repeat after a while, in another order: making them takes longer than computing on them.
        let parts = (0..15).flat_map(|part| {
            let cut = part * 701;
            [some.slice(cut, some.num_rows() - cut), some.slice(0, cut)]
        });
        arrow_select::concat::concat_batches(&schema(), &parts.collect::<Vec<_>>()).unwrap()
    });
    ALL.slice(from, rows)
}

/// The batch after a journey as bytes.
pub(crate) fn through_ipc(batch: &RecordBatch) -> RecordBatch {
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
    writer.write(batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    StreamReader::try_new(bytes.as_slice(), None).unwrap().next().unwrap().unwrap()
}
