//! Polars frames in and out: every type makes the round trip, and values are shared on the way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ListArray, RecordBatch, RecordBatchOptions, StringViewArray, StructArray};
use arrow_cast::cast;
use pelton::columnar::polars::{from_frame, from_frame_whole, to_frame};
use pelton::columnar::{ArrayRef, DataType, Field, Scalar, Schema, TimeUnit};
use pelton::error::ErrorKind;
use polars::prelude as pl;
use polars::prelude::NamedFrom;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn numbers(data_type: &DataType, numbers: impl Iterator<Item = i64>) -> ArrayRef {
    let values = numbers.map(|number| match data_type {
        _ if number % 4 == 3 => Scalar::Null,
        DataType::Boolean => Scalar::Boolean(number % 3 == 0),
        DataType::Float32 | DataType::Float64 => Scalar::Float64(f64::from(i32::try_from(number).unwrap()) / 4.0),
        DataType::Decimal128(precision, scale) => {
            Scalar::Decimal128 { unscaled: i128::from(number) << 70, precision: *precision, scale: *scale }
        }
        DataType::Date32 => Scalar::Date32(i32::try_from(number).unwrap()),
        DataType::Timestamp(unit, zone) => Scalar::Timestamp(number, *unit, zone.clone()),
        DataType::Duration(unit) => Scalar::Duration(number, *unit),
        DataType::Binary | DataType::LargeBinary => Scalar::Binary(vec![7; usize::try_from(number).unwrap()]),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            Scalar::Utf8("longer than twelve bytes"[..usize::try_from(number % 24).unwrap()].to_owned())
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            Scalar::UInt64(number.unsigned_abs())
        }
        DataType::Null => Scalar::Null,
        _ => Scalar::Int64(number),
    });
    Scalar::to_array(&values.collect::<Vec<_>>(), data_type).unwrap()
}

/// The types that come back as they went.
fn kept_types() -> Vec<DataType> {
    vec![
        DataType::Null,
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(30, 2),
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Paris".into())),
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        DataType::Duration(TimeUnit::Millisecond),
        DataType::Duration(TimeUnit::Microsecond),
        DataType::Duration(TimeUnit::Nanosecond),
        DataType::Utf8View,
    ]
}

/// Types that come back as others, and which.
fn changed_types() -> Vec<(DataType, DataType)> {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    vec![
        (DataType::Utf8, DataType::Utf8View),
        (DataType::LargeUtf8, DataType::Utf8View),
        (DataType::Binary, DataType::BinaryView),
        (DataType::LargeBinary, DataType::BinaryView),
        (dictionary, DataType::Utf8View),
        (DataType::Timestamp(TimeUnit::Second, None), DataType::Timestamp(TimeUnit::Millisecond, None)),
        (DataType::Duration(TimeUnit::Second), DataType::Duration(TimeUnit::Millisecond)),
    ]
}

#[test]
fn every_type_makes_the_round_trip_whole_and_sliced() {
    let kept = kept_types().into_iter().map(|data_type| (data_type.clone(), data_type));
    for (there, back) in kept.chain(changed_types()) {
        let whole = batch(vec![("values", numbers(&there, 0..100))]);
        for (start, rows) in [(0, 100), (13, 50), (99, 1), (5, 0)] {
            let slice = whole.slice(start, rows);
            let returned = from_frame_whole(&to_frame(&slice).unwrap()).unwrap();
            let expected = batch(vec![("values", cast(slice.column(0), &back).unwrap())]);
            assert_eq!(returned, expected, "{there} from {start}, {rows} rows");
        }
    }
}

#[test]
fn nested_types_make_the_round_trip() {
    let items = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4)])];
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(items));
    let words = numbers(&DataType::Utf8, 0..4);
    let fields = vec![
        Field::new("list", list.data_type().clone(), true),
        Field::new("words", DataType::Utf8, true),
        Field::new("seconds", DataType::Timestamp(TimeUnit::Second, None), true),
    ];
    let seconds = numbers(fields[2].data_type(), 0..4);
    let nested: ArrayRef =
        Arc::new(StructArray::new(fields.into(), vec![Arc::clone(&list), words, Arc::clone(&seconds)], None));
    let there = batch(vec![("list", list), ("nested", nested)]);
    for there in [there.clone(), there.slice(1, 2)] {
        let back = from_frame_whole(&to_frame(&there).unwrap()).unwrap();
        let values = |batch: &RecordBatch, column: usize| -> Vec<Scalar> {
            (0..batch.num_rows()).map(|row| Scalar::from_array(batch.column(column), row).unwrap()).collect()
        };
        assert_eq!(values(&back, 0), values(&there, 0));
        let back = back.column(1).as_struct();
        let nested = there.column(1).as_struct();
        assert_eq!(back.column(1), &cast(nested.column(1), &DataType::Utf8View).unwrap());
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        assert_eq!(back.column(2), &cast(nested.column(2), &milliseconds).unwrap());
    }
}

#[test]
fn values_of_fixed_width_are_shared_in_both_directions() {
    for data_type in kept_types() {
        if matches!(data_type, DataType::Null | DataType::Utf8View) {
            continue;
        }
        let there = batch(vec![("values", numbers(&data_type, 0..100))]);
        let pointer = there.column(0).to_data().buffers()[0].as_ptr();
        let frame = to_frame(&there).unwrap();
        let back = from_frame_whole(&frame).unwrap();
        assert_eq!(back.column(0).to_data().buffers()[0].as_ptr(), pointer, "{data_type}");
    }
    let there = batch(vec![("values", numbers(&DataType::Int64, 0..100))]);
    let frame = to_frame(&there).unwrap();
    let values = frame.column("values").unwrap().i64().unwrap().downcast_iter().next().unwrap().values().as_ptr();
    assert_eq!(values, there.column(0).as_primitive::<Int64Type>().values().as_ptr());
}

#[test]
fn bytes_of_long_text_are_shared_in_both_directions() {
    let long = "this text is longer than the twelve bytes of a view";
    for data_type in [DataType::Utf8, DataType::LargeUtf8] {
        let text = Scalar::to_array(&vec![Scalar::from(long); 10], &data_type).unwrap();
        let pointer = text.to_data().buffers()[1].as_ptr();
        let back = from_frame_whole(&to_frame(&batch(vec![("text", text)])).unwrap()).unwrap();
        let views = back.column(0).as_string_view();
        assert_eq!(views.value(0), long);
        assert_eq!(views.value(0).as_ptr(), pointer, "{data_type}");
    }
    let views: ArrayRef = Arc::new(StringViewArray::from(vec![long; 10]));
    let pointer = views.as_string_view().value(3).as_ptr();
    let back = from_frame_whole(&to_frame(&batch(vec![("text", views)])).unwrap()).unwrap();
    assert_eq!(back.column(0).as_string_view().value(3).as_ptr(), pointer);
}

#[test]
fn buffers_outlive_whoever_made_them() {
    let frame = to_frame(&batch(vec![("text", numbers(&DataType::Utf8, 0..100))])).unwrap();
    let back = from_frame_whole(&frame).unwrap();
    drop(frame);
    assert_eq!(back.column(0), &cast(&numbers(&DataType::Utf8, 0..100), &DataType::Utf8View).unwrap());
}

#[test]
fn chunks_come_out_one_batch_each() {
    let first = batch(vec![("n", numbers(&DataType::Int64, 0..3))]);
    let second = batch(vec![("n", numbers(&DataType::Int64, 10..12))]);
    let mut frame = to_frame(&first).unwrap();
    frame.vstack_mut(&to_frame(&second).unwrap()).unwrap();
    assert_eq!(from_frame(&frame).unwrap(), vec![first, second]);
    assert_eq!(from_frame_whole(&frame).unwrap().num_rows(), 5);
}

#[test]
fn columns_of_one_value_are_written_out() {
    let numbers = batch(vec![("n", numbers(&DataType::Int64, 0..3))]);
    let mut frame = to_frame(&numbers).unwrap();
    frame.vstack_mut(&to_frame(&numbers).unwrap()).unwrap();
    let value = pl::Scalar::from(7i64);
    frame.with_column(pl::Column::new_scalar("seven".into(), value, 6)).unwrap();
    let batches = from_frame(&frame).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    assert!(batches.iter().all(|batch| batch.column(1).as_primitive::<Int64Type>().iter().all(|v| v == Some(7))));
}

#[test]
fn categories_come_out_as_a_dictionary() {
    let texts = pl::Series::new("c".into(), ["b", "a", "b"]);
    let categories = texts.cast(&pl::DataType::from_categories(pl::Categories::global())).unwrap();
    let frame = pl::DataFrame::new(3, vec![categories.into()]).unwrap();
    let back = from_frame_whole(&frame).unwrap();
    assert!(matches!(back.column(0).data_type(), DataType::Dictionary(_, _)), "{}", back.schema());
    let texts = cast(back.column(0), &DataType::Utf8).unwrap();
    assert_eq!(texts.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["b", "a", "b"]);
}

#[test]
fn a_batch_without_columns_keeps_its_rows() {
    let options = RecordBatchOptions::new().with_row_count(Some(7));
    let there = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(from_frame_whole(&to_frame(&there).unwrap()).unwrap().num_rows(), 7);
}

#[test]
fn what_cannot_cross_is_an_error_that_names_the_column() {
    let seconds = DataType::Timestamp(TimeUnit::Second, None);
    let values = Scalar::to_array(&[Scalar::Timestamp(i64::MAX, TimeUnit::Second, None)], &seconds).unwrap();
    let error = to_frame(&batch(vec![("at", values)])).unwrap_err();
    assert_eq!((error.kind(), error.place().column.as_deref()), (ErrorKind::Overflow, Some("at")));

    let time = pl::Series::new("time".into(), [1i64]).cast(&pl::DataType::Time).unwrap();
    let error = from_frame_whole(&pl::DataFrame::new(1, vec![time.into()]).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("\"time\""), "{error}");

    let column = numbers(&DataType::Int64, 0..1);
    let twice = Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("n", DataType::Int64, true)]);
    let twice = RecordBatch::try_new(Arc::new(twice), vec![Arc::clone(&column), column]).unwrap();
    assert_eq!(to_frame(&twice).unwrap_err().kind(), ErrorKind::InvalidQuery);
}
