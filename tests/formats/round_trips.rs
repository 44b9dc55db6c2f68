//! What our writers write, our readers read back the same.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray};
use pelton::columnar::{DataType, Field, Scalar, Schema, SchemaRef, TimeUnit};
use pelton::formats::{FormatKind, FormatOptions};
use proptest::prelude::*;

use crate::support::{encode, file, read_cut};

fn flat_types() -> Vec<DataType> {
    use DataType::*;
    vec![
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt8,
        UInt16,
        UInt32,
        UInt64,
        Float32,
        Float64,
        Decimal128(38, 10),
        Decimal128(5, 0),
        Decimal128(4, -2),
        Date32,
        Timestamp(TimeUnit::Second, None),
        Timestamp(TimeUnit::Millisecond, None),
        Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())),
        Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
        Duration(TimeUnit::Millisecond),
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
    ]
}

/// Texts with everything that could be taken for something else.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "\"", "\"\"", ",", ";", "\n", "\r\n", "\r", "\t", " ", "\\", "\u{0}", "\u{1f}", "é", "😀", "NA", "null",
        "\u{feff}", "#", "{", "/", "\u{2028}",
    ]);
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn value(data_type: &DataType) -> BoxedStrategy<Scalar> {
    use DataType::*;
    let within = |least: i64, most: i64| {
        prop_oneof![Just(least), Just(most), Just(0), -9..9i64, least..=most]
            .prop_map(move |value| Scalar::Int64(value.clamp(least, most)))
            .boxed()
    };
    let unsigned = |most: u64| prop_oneof![Just(0), Just(most), 0..=most].prop_map(Scalar::UInt64).boxed();
    let long =
        || prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(-1i64), any::<i64>(), -3_000_000_000..3_000_000_000i64];
    let decimal = |precision: u8, scale: i8| {
        let most = 10i128.pow(u32::from(precision)) - 1;
        prop_oneof![Just(most), Just(-most), Just(0), -most..=most]
            .prop_map(move |unscaled| Scalar::Decimal128 { unscaled, precision, scale })
            .boxed()
    };
    let some: BoxedStrategy<Scalar> = match data_type {
        Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
        Int8 => within(i8::MIN.into(), i8::MAX.into()),
        Int16 => within(i16::MIN.into(), i16::MAX.into()),
        Int32 => within(i32::MIN.into(), i32::MAX.into()),
        Int64 => within(i64::MIN, i64::MAX),
        UInt8 => unsigned(u8::MAX.into()),
        UInt16 => unsigned(u16::MAX.into()),
        UInt32 => unsigned(u32::MAX.into()),
        UInt64 => unsigned(u64::MAX),
        Float32 => any::<u32>().prop_map(|bits| Scalar::Float64(canonical(f32::from_bits(bits).into()))).boxed(),
        Float64 => prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::NAN),
            Just(f64::MIN_POSITIVE / 2.0),
            -1000.0..1000.0,
        ]
        .prop_map(|value| Scalar::Float64(canonical(value)))
        .boxed(),
        Decimal128(precision, scale) => decimal(*precision, *scale),
        Date32 => prop_oneof![any::<i32>(), -800_000..3_000_000i32].prop_map(Scalar::Date32).boxed(),
        Timestamp(unit, zone) => {
            let (unit, zone) = (*unit, zone.clone());
            long().prop_map(move |value| Scalar::Timestamp(value, unit, zone.clone())).boxed()
        }
        Duration(unit) => {
            let unit = *unit;
            long().prop_map(move |value| Scalar::Duration(value, unit)).boxed()
        }
        Utf8 | LargeUtf8 | Utf8View => text().prop_map(Scalar::Utf8).boxed(),
        Binary | LargeBinary | BinaryView => prop::collection::vec(any::<u8>(), 0..5).prop_map(Scalar::Binary).boxed(),
        List(item) => prop::collection::vec(value(item.data_type()), 0..4).prop_map(Scalar::List).boxed(),
        Struct(fields) => {
            fields.iter().map(|field| value(field.data_type())).collect::<Vec<_>>().prop_map(Scalar::Struct).boxed()
        }
        other => panic!("no values of {other}"),
    };
    prop_oneof![1 => Just(Scalar::Null), 4 => some].boxed()
}

/// All NaNs are written alike.
fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

fn array(values: &[Scalar], data_type: &DataType) -> ArrayRef {
    match data_type {
        // Layouts that single values are not made into.
        DataType::BinaryView => {
            arrow_cast::cast(&Scalar::to_array(values, &DataType::Binary).unwrap(), data_type).unwrap()
        }
        _ => Scalar::to_array(values, data_type).unwrap(),
    }
}

fn batch(types: Vec<DataType>) -> impl Strategy<Value = RecordBatch> {
    let row: Vec<_> = types.iter().map(value).collect();
    prop::collection::vec(row, 0..20).prop_map(move |rows| {
        let fields = types
            .iter()
            .enumerate()
            .map(|(index, data_type)| Field::new(format!("c {index}\"é"), data_type.clone(), true));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = types
            .iter()
            .enumerate()
            .map(|(index, data_type)| array(&rows.iter().map(|row| row[index].clone()).collect::<Vec<_>>(), data_type));
        RecordBatch::try_new(schema, columns.collect()).unwrap()
    })
}

/// Writes and reads a batch; compares as debug text, in which NaN equals NaN and -0.0 differs from 0.0.
fn check(options: &FormatOptions, batch: &RecordBatch) -> Result<(), TestCaseError> {
    let bytes = encode(options, &batch.schema(), &[batch.clone(), batch.slice(0, batch.num_rows() / 2)]).unwrap();
    let file = file(&bytes);
    let format = options.clone().with_schema(batch.schema()).build(None).unwrap();
    let (read, _) = read_cut(&*format, file.path(), 100).unwrap();
    prop_assert_eq!(read.num_rows(), batch.num_rows() + batch.num_rows() / 2, "{}", String::from_utf8_lossy(&bytes));
    for (column, expected) in read.columns().iter().zip(batch.columns()) {
        for row in 0..batch.num_rows() {
            let (got, expected) = (Scalar::from_array(column, row), Scalar::from_array(expected, row));
            if let (Ok(got), Ok(expected)) = (got, expected) {
                prop_assert_eq!(format!("{got:?}"), format!("{expected:?}"), "{}", String::from_utf8_lossy(&bytes));
            }
        }
        prop_assert_eq!(column.data_type(), expected.data_type());
        prop_assert_eq!(column.slice(0, batch.num_rows()).null_count(), expected.null_count());
    }
    Ok(())
}

fn nested_types() -> Vec<DataType> {
    let point = DataType::Struct(
        vec![
            Field::new("x", DataType::Float64, true),
            Field::new("names", DataType::new_list(DataType::Utf8, true), true),
        ]
        .into(),
    );
    vec![point.clone(), DataType::new_list(point, true), DataType::new_list(DataType::Int64, true), DataType::Utf8]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn csv_reads_back_the_same(batch in batch(flat_types())) {
        check(&FormatOptions::new(FormatKind::Csv), &batch)?;
    }

    #[test]
    fn csv_with_other_marks_reads_back_the_same(batch in batch(vec![DataType::Utf8, DataType::Int64, DataType::Utf8])) {
        let mut options = FormatOptions::new(FormatKind::Csv);
        options.delimiter = Some(";".into());
        options.comment = Some("#".into());
        options.null_values = Some(vec!["NA".into(), "null".into(), String::new()]);
        check(&options, &batch)?;
        options.header = Some(false);
        check(&options, &batch)?;
    }

    #[test]
    fn csv_of_a_single_column_reads_back_the_same(batch in batch(vec![DataType::Utf8])) {
        check(&FormatOptions::new(FormatKind::Csv), &batch)?;
    }

    #[test]
    fn ndjson_reads_back_the_same(batch in batch([flat_types(), nested_types()].concat())) {
        check(&FormatOptions::new(FormatKind::Ndjson), &batch)?;
    }

    #[test]
    fn arrow_reads_back_the_same(batch in batch([flat_types(), nested_types()].concat())) {
        check(&FormatOptions::new(FormatKind::Arrow), &batch)?;
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_reads_back_the_same(batch in batch([flat_types(), nested_types()].concat())) {
        // Parquet has no seconds: they would come back as milliseconds. Duration and negative scales are not its own.
        let keep = |data_type: &DataType| !matches!(
            data_type, DataType::Timestamp(TimeUnit::Second, _) | DataType::Duration(_) | DataType::Decimal128(_, ..0),
        );
        let kept: Vec<usize> = (0..batch.num_columns()).filter(|index| keep(batch.column(*index).data_type())).collect();
        check(&FormatOptions::new(FormatKind::Parquet), &batch.project(&kept).unwrap())?;
    }
}

#[test]
fn dictionaries_are_read_and_written_by_their_values() {
    let keys = Int8Array::from(vec![Some(1), None, Some(0), Some(1)]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a,\"b", ""]));
    let column: ArrayRef = Arc::new(DictionaryArray::new(keys, texts));
    let batch = RecordBatch::try_from_iter_with_nullable([("d", column, true)]).unwrap();
    for kind in [FormatKind::Csv, FormatKind::Ndjson] {
        let options = FormatOptions::new(kind);
        let file = file(encode(&options, &batch.schema(), std::slice::from_ref(&batch)).unwrap());
        let format = options.with_schema(batch.schema()).build(None).unwrap();
        let (read, _) = read_cut(&*format, file.path(), u64::MAX).unwrap();
        assert_eq!(crate::support::rows(&read), crate::support::rows(&batch), "{kind:?}");
        assert_eq!(read.schema(), batch.schema());
    }
    // Two batches with different dictionaries fit one Arrow file.
    let bytes = encode(&FormatOptions::new(FormatKind::Arrow), &batch.schema(), &[batch.clone(), batch.slice(2, 1)]);
    assert!(bytes.is_ok());
}

#[test]
fn a_full_disk_is_a_typed_error_that_may_pass() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let numbers: ArrayRef = Arc::new(Int8Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    for kind in [FormatKind::Csv, FormatKind::Ndjson, FormatKind::Arrow, FormatKind::Parquet] {
        if kind == FormatKind::Parquet && !cfg!(feature = "parquet") {
            continue;
        }
        let write = || {
            let mut encoder = pelton::formats::encoder(&FormatOptions::new(kind), &batch.schema(), Box::new(Full))?;
            encoder.write(&batch)?;
            encoder.finish().map(|_| ())
        };
        let error = write().unwrap_err();
        assert_eq!(error.kind(), pelton::error::ErrorKind::Connector, "{kind:?}: {error}");
        assert_eq!(error.retry(), pelton::error::Retry::Later, "{kind:?}: there may be room later");
    }
}
