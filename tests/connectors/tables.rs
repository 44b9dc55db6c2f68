//! Small tables, and what the tests ask of them.

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use pelton::connectors::{Available, OffsetRange, ReadLimits, Source};

/// One column of integers.
pub(crate) fn number_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]))
}

/// The integers of a range.
pub(crate) fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_new(number_schema(), vec![Arc::new(Int64Array::from_iter_values(range))]).unwrap()
}

/// The schema of text lines.
pub(crate) fn line_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("value", DataType::Utf8, false)]))
}

/// Lines of text.
pub(crate) fn text(lines: &[impl AsRef<str>]) -> RecordBatch {
    let lines = StringArray::from_iter_values(lines.iter().map(AsRef::as_ref));
    RecordBatch::try_new(line_schema(), vec![Arc::new(lines)]).unwrap()
}

/// The one column of a table of text lines.
pub(crate) fn lines_of(batch: &RecordBatch) -> Vec<String> {
    let column = arrow_cast::cast(batch.column(0), &DataType::Utf8).unwrap();
    let column = column.as_any().downcast_ref::<StringArray>().unwrap();
    column.iter().map(|line| line.unwrap().to_owned()).collect()
}

/// All ranges that a source gives until it has nothing more.
pub(crate) fn ranges(source: &mut dyn Source, limits: &ReadLimits) -> Vec<OffsetRange> {
    let mut ranges = Vec::new();
    while let Available::Range(range) = source.next_range(limits).unwrap() {
        ranges.push(range);
        assert!(ranges.len() < 100_000, "the source gives the same rows again and again");
    }
    ranges
}

/// The next range, which must be there.
pub(crate) fn next(source: &mut dyn Source) -> OffsetRange {
    match source.next_range(&ReadLimits::default()).unwrap() {
        Available::Range(range) => range,
        other => panic!("a range was expected, not {other:?}"),
    }
}

/// The rows of a range, read in so many partitions.
pub(crate) fn rows(source: &mut dyn Source, range: &OffsetRange, partitions: usize) -> RecordBatch {
    let schema = source.schema();
    let readers = source.read(range, partitions).unwrap();
    // Parts of a source whose event times are told apart are not mixed.
    let parts =
        readers.iter().filter_map(|reader| reader.source_part()).collect::<std::collections::BTreeSet<_>>().len();
    let most = partitions.max(parts);
    assert!((1..=most).contains(&readers.len()), "{} readers for {partitions} partitions", readers.len());
    let mut batches = Vec::new();
    for mut reader in readers {
        let mut given = 0;
        while let Some(batch) = reader.next_batch().unwrap() {
            assert!(batch.num_rows() <= pelton::limits::ROWS_PER_READ_MAX);
            given += batch.num_rows() as u64;
            batches.push(batch);
        }
        assert_eq!(reader.report().rows, given);
    }
    concat_batches(&schema, &batches).unwrap()
}

/// The lines of a range.
pub(crate) fn lines(source: &mut dyn Source, range: &OffsetRange) -> Vec<String> {
    lines_of(&rows(source, range, 1))
}
