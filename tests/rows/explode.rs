//! Exploding lists.

use std::sync::Arc;

use arrow_array::{Array, GenericListArray, Int64Array, OffsetSizeTrait};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use pelton::columnar::{ArrayRef, DataType, Field, RecordBatch, Schema};
use pelton::kernels::cpu::explode::explode;
use pelton::kernels::explode::reference;

use crate::random::Random;

/// A number, a list of random lengths (null rows cover items too), and a text.
pub(crate) fn batch<Offset: OffsetSizeTrait>(random: &mut Random, rows: usize, item: &DataType) -> RecordBatch {
    let lengths: Vec<usize> = (0..rows).map(|_| random.below(5)).collect();
    let items = random.array(item, lengths.iter().sum(), 100, true);
    let validity: NullBuffer = (0..rows).map(|_| random.below(6) != 0).collect();
    let item = Arc::new(Field::new("item", item.clone(), true));
    let lists = GenericListArray::<Offset>::new(item, OffsetBuffer::from_lengths(lengths), items, Some(validity));
    let numbers: Int64Array = (0..i64::try_from(rows).unwrap()).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("row", Arc::new(numbers)), ("list", Arc::new(lists)), ("text", random.array(&DataType::Utf8, rows, 9, true))];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

pub(crate) fn exploded_schema(batch: &RecordBatch, item: &DataType) -> Arc<Schema> {
    let fields = batch.schema_ref().fields().iter().map(|field| match field.name().as_str() {
        "list" => Arc::new(Field::new("list", item.clone(), true)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn assert_equals_reference<Offset: OffsetSizeTrait>(seed: u64) {
    let mut random = Random::new(seed);
    for item in [DataType::Int64, DataType::Utf8, DataType::Boolean] {
        for rows in [0, 1, 63, 64, 65, 300] {
            let batch = batch::<Offset>(&mut random, rows, &item);
            let schema = exploded_schema(&batch, &item);
            assert_eq!(explode(&batch, 1, &schema).unwrap(), reference(&batch, 1, &schema).unwrap());
            let slice = batch.slice(rows / 3, rows / 2);
            assert_eq!(explode(&slice, 1, &schema).unwrap(), reference(&slice, 1, &schema).unwrap());
        }
    }
}

#[test]
fn lists_explode_as_the_reference() {
    assert_equals_reference::<i32>(1);
}

#[test]
fn large_lists_explode_as_the_reference() {
    assert_equals_reference::<i64>(2);
}

#[test]
fn items_are_not_copied_when_no_null_hides_any() {
    let list = arrow_array::ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        Some(vec![]),
        None,
        Some(vec![Some(3)]),
    ]);
    let pointer = list.values().to_data().buffers()[0].as_ptr();
    let batch = RecordBatch::try_from_iter_with_nullable([("list", Arc::new(list) as ArrayRef, true)]).unwrap();
    let exploded = explode(&batch, 0, &exploded_schema(&batch, &DataType::Int64)).unwrap();
    assert_eq!(exploded.num_rows(), 3);
    assert_eq!(exploded.column(0).to_data().buffers()[0].as_ptr(), pointer);
}
