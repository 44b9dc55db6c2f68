//! Parquet and Arrow IPC: splits, projections, and files that are not what they should be.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, StringArray};
use pelton::columnar::{DataType, RecordBatch};
use pelton::error::ErrorKind;
use pelton::formats::{FormatKind, FormatOptions, infer};
use proptest::prelude::*;

use crate::support::{encode, file, read, read_cut, schema};

const KINDS: [FormatKind; 2] = [FormatKind::Parquet, FormatKind::Arrow];

fn batch(rows: usize) -> RecordBatch {
    let count = i64::try_from(rows).unwrap();
    let numbers: ArrayRef = Arc::new((0..count).map(|n| (n % 7 != 0).then_some(n)).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new((0..count).map(|n| Some(format!("text {n}"))).collect::<StringArray>());
    let schema = schema(&[("n", DataType::Int64), ("t", DataType::Utf8)]);
    RecordBatch::try_new(schema, vec![numbers, texts]).unwrap()
}

fn bytes(kind: FormatKind, batches: &[RecordBatch]) -> Vec<u8> {
    encode(&FormatOptions::new(kind), &batches[0].schema(), batches).unwrap()
}

#[test]
fn every_cut_of_a_container_gives_the_same_rows() {
    let all = batch(100_000);
    let parts: Vec<_> = (0..10).map(|part| all.slice(part * 10_000, 10_000)).collect();
    for kind in KINDS {
        let file = file(bytes(kind, &parts));
        let format = FormatOptions::new(kind).build(Some(file.path())).unwrap();
        for target in [1, 1000, 100_000, 1_000_000, u64::MAX] {
            assert_eq!(read_cut(&*format, file.path(), target).unwrap().0, all, "{kind:?} {target}");
        }
    }
}

#[test]
fn arrow_streams_are_read_too() {
    let all = batch(1000);
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &all.schema()).unwrap();
    writer.write(&all).unwrap();
    let file = file(writer.into_inner().unwrap());
    let format = FormatOptions::new(FormatKind::Arrow).build(Some(file.path())).unwrap();
    assert_eq!(read_cut(&*format, file.path(), 10).unwrap().0, all);
}

#[test]
fn named_columns_are_read_and_others_are_not() {
    for kind in KINDS {
        let file = file(bytes(kind, &[batch(10)]));
        let mut options = FormatOptions::new(kind).with_schema(schema(&[("t", DataType::Utf8)]));
        assert_eq!(read(&options, file.path()).unwrap().0, batch(10).project(&[1]).unwrap());
        options.schema = Some(schema(&[("tt", DataType::Utf8), ("n", DataType::Int64)]));
        let error = read(&options, file.path()).unwrap_err();
        assert_eq!(error.place().column.as_deref(), Some("tt"));
        assert!(error.to_string().contains("did you mean \"t\"?"), "{error}");
        options.allow_missing_columns = Some(true);
        let (batch, _) = read(&options, file.path()).unwrap();
        assert_eq!((batch.column(0).null_count(), batch.num_rows()), (10, 10));
        options.schema = Some(schema(&[("n", DataType::Utf8)]));
        let error = read(&options, file.path()).unwrap_err();
        assert!(error.message().contains("is Int64 in the file where Utf8"), "{error}");
        assert_eq!(error.place().file.as_deref(), Some(file.path()));
    }
}

/// Of a column with few texts, one with so many that the writer gives its dictionary up on the way, one whose dictionary is
/// larger than is worth it, and one of nulls; also where a batch has rows of two row groups.
#[test]
fn texts_of_parquet_files_read_as_codes_are_the_same_texts() {
    let text = |column: usize, n: usize| match (column, n % 5) {
        (0, 0) | (3, _) => None,
        (0, _) => Some(["", "a", "bc", "a text that is longer than a word"][n % 4].to_owned()),
        (1, _) => Some(format!("a text of which there is no other {n}")),
        _ => Some(format!("{:032x}", ((n % 20_000) as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))),
    };
    let columns = (0..4).map(|column| -> (String, ArrayRef, bool) {
        (format!("c{column}"), Arc::new((0..50_000).map(|n| text(column, n)).collect::<StringArray>()), true)
    });
    let all = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), all.schema(), None).unwrap();
    for (from, rows) in [(0, 40_000), (40_000, 1), (40_001, 9_999)] {
        writer.write(&all.slice(from, rows)).unwrap();
        writer.flush().unwrap();
    }
    let file = file(writer.into_inner().unwrap());
    let format = FormatOptions::new(FormatKind::Parquet).build(Some(file.path())).unwrap();
    let coded = format.coded(&(0..4).collect()).unwrap();
    for target in [1, u64::MAX] {
        let (codes, _) = read_cut(&*coded, file.path(), target).unwrap();
        for column in 0..4 {
            assert_eq!(*codes.column(column).data_type(), pelton::columnar::data_type::coded_text());
            let texts = arrow_cast::cast(codes.column(column), &DataType::Utf8).unwrap();
            assert_eq!(&texts, all.column(column), "column {column}, {target} bytes");
        }
    }
}

#[test]
fn empty_containers_have_no_rows() {
    for kind in KINDS {
        let options = FormatOptions::new(kind).with_schema(batch(1).schema());
        assert_eq!(read(&options, file("").path()).unwrap().0.num_rows(), 0);
        let none = encode(&FormatOptions::new(kind), &batch(1).schema(), &[]).unwrap();
        assert_eq!(read(&options, file(none).path()).unwrap().0.num_rows(), 0);
    }
}

#[test]
fn other_bytes_are_corrupt() {
    for kind in KINDS {
        let options = FormatOptions::new(kind).with_schema(batch(1).schema());
        for other in ["x", "this is plain text, and quite a bit of it", "PAR1", "ARROW1\0\0", "PAR1 in between PAR1"] {
            let file = file(other);
            let error = read(&options, file.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{kind:?} {other}: {error}");
            assert_eq!(error.place().file.as_deref(), Some(file.path()));
            assert_eq!(infer(&FormatOptions::new(kind), file.path()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn cut_off_containers_are_corrupt(at: prop::sample::Index, is_parquet: bool) {
        let kind = KINDS[usize::from(!is_parquet)];
        let bytes = bytes(kind, &[batch(500)]);
        let file = file(&bytes[..at.index(bytes.len() - 1) + 1]);
        // Without the bytes of the first magic an Arrow file cannot be told from a stream, but is none either.
        if file.as_file().metadata().unwrap().len() < bytes.len() as u64 {
            let options = FormatOptions::new(kind).with_schema(batch(1).schema());
            let error = read(&options, file.path()).unwrap_err();
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", error);
            prop_assert_eq!(error.place().file.as_deref(), Some(file.path()));
        }
    }

    #[test]
    fn damaged_containers_never_panic(at: prop::sample::Index, flip in 1u8.., is_parquet: bool) {
        let kind = KINDS[usize::from(!is_parquet)];
        let mut bytes = bytes(kind, &[batch(500)]);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let file = file(&bytes);
        let options = FormatOptions::new(kind).with_schema(batch(1).schema());
        // Neither format has checksums of everything: wrong values may pass, but as an answer or a typed error.
        if let Err(error) = read(&options, file.path()) {
            prop_assert!(error.place().file.is_some(), "{}", error);
        }
    }
}

#[test]
fn columns_that_nobody_looks_at_are_not_read_from_parquet() {
    use std::collections::BTreeSet;

    let all = batch(40_000);
    let file = file(bytes(FormatKind::Parquet, std::slice::from_ref(&all)));
    let format = FormatOptions::new(FormatKind::Parquet).build(Some(file.path())).unwrap();
    let narrowed = format.narrowed(&BTreeSet::from([1])).unwrap();
    assert_eq!(narrowed.schema(), format.schema());
    for target in [1, u64::MAX] {
        let bytes = std::fs::metadata(file.path()).unwrap().len();
        assert_eq!(
            narrowed.splits(file.path(), bytes, target).unwrap(),
            format.splits(file.path(), bytes, target).unwrap()
        );
        let (read, report) = read_cut(&*narrowed, file.path(), target).unwrap();
        assert_eq!((read.column(1), read.column(0).null_count()), (all.column(1), 40_000));
        assert_eq!(report.rows, 40_000);
    }
    assert_eq!(read_cut(&*format.narrowed(&BTreeSet::new()).unwrap(), file.path(), 1).unwrap().0.num_rows(), 40_000);
    assert!(format.narrowed(&BTreeSet::from([0, 1])).is_none(), "there is nothing to save");
    // What may not be null is read.
    let fields =
        all.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(false)).collect::<Vec<_>>();
    let options = FormatOptions::new(FormatKind::Parquet).with_schema(Arc::new(pelton::columnar::Schema::new(fields)));
    assert!(options.build(None).unwrap().narrowed(&BTreeSet::from([1])).is_none());
}

/// A file of many small row groups and pages: columns in order, backwards, scattered; with nulls, NaN and long texts.
fn paged(rows: usize) -> (RecordBatch, Vec<u8>) {
    use arrow_array::{Date32Array, Decimal128Array, Float64Array, UInt32Array};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    let count = i32::try_from(rows).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new((0..count).map(|n| (n % 7 != 0).then_some(i64::from(n))).collect::<Int64Array>())),
        ("back", Arc::new((0..count).map(|n| Some((count - n).unsigned_abs())).collect::<UInt32Array>())),
        ("day", Arc::new((0..count).map(|n| Some(n / 10 - 100)).collect::<Date32Array>())),
        (
            "f",
            Arc::new(
                (0..count)
                    .map(|n| Some(if n % 500 == 3 { f64::NAN } else { f64::from(n) - 9.0 }))
                    .collect::<Float64Array>(),
            ),
        ),
        ("t", Arc::new((0..count).map(|n| Some(format!("{n:05}{}", "x".repeat(100)))).collect::<StringArray>())),
        ("mixed", Arc::new((0..count).map(|n| Some(i64::from(n * 7919 % 1000))).collect::<Int64Array>())),
        (
            "d",
            Arc::new(
                Decimal128Array::from_iter_values((0..count).map(i128::from)).with_precision_and_scale(15, 2).unwrap(),
            ),
        ),
    ];
    let all = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(1000))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(100)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), all.schema(), Some(properties)).unwrap();
    writer.write(&all).unwrap();
    (all, writer.into_inner().unwrap())
}

#[test]
fn what_cannot_be_within_bounds_is_counted_and_not_read_from_parquet() {
    use arrow_array::{BooleanArray, Scalar};
    use arrow_ord::cmp;
    use arrow_select::filter::filter_record_batch;
    use pelton::formats::{Bound, Keeps};

    let (all, bytes) = paged(5_000);
    let file = file(&bytes);
    let format = FormatOptions::new(FormatKind::Parquet).build(Some(file.path())).unwrap();
    assert!(format.bounded(&[]).is_none(), "nothing is left out without a bound");
    let good = |batch: &RecordBatch, bounds: &[Bound]| {
        bounds.iter().fold(batch.clone(), |batch, bound| {
            let (column, value) = (batch.column(bound.column), Scalar::new(Arc::clone(&bound.value)));
            let keeps: BooleanArray = match bound.keeps {
                Keeps::Less => cmp::lt(column, &value),
                Keeps::AtMost => cmp::lt_eq(column, &value),
                Keeps::Equal => cmp::eq(column, &value),
                Keeps::AtLeast => cmp::gt_eq(column, &value),
                Keeps::Greater => cmp::gt(column, &value),
            }
            .unwrap();
            filter_record_batch(&batch, &keeps).unwrap()
        })
    };
    let row = |column: usize, row: usize| all.column(column).slice(row, 1);
    let every = [Keeps::Less, Keeps::AtMost, Keeps::Equal, Keeps::AtLeast, Keeps::Greater];
    let mut cases: Vec<Vec<Bound>> = Vec::new();
    for column in 0..all.num_columns() {
        for at in [0, 1_000, 2_345, 4_998] {
            cases.extend(every.map(|keeps| vec![Bound { column, keeps, value: row(column, at) }]));
        }
    }
    cases.push(vec![
        Bound { column: 0, keeps: Keeps::AtLeast, value: row(0, 1_234) },
        Bound { column: 1, keeps: Keeps::Greater, value: row(1, 1_500) },
    ]);
    let mut pruned = vec![0; all.num_columns()];
    for bounds in cases {
        let bounded = format.bounded(&bounds).unwrap();
        for target in [u64::MAX, 1] {
            let (read, report) = read_cut(&*bounded, file.path(), target).unwrap();
            assert_eq!(good(&read, &bounds), good(&all, &bounds), "{bounds:?}");
            assert_eq!(report.rows + report.pruned, 5_000, "{bounds:?}");
            // Rows are left out one by one, but for what is no number.
            let is_float = *all.schema().field(bounds[0].column).data_type() == DataType::Float64;
            let kept = good(&all, &bounds).num_rows() as u64;
            let says_nothing = bounds.iter().any(|bound| bound.value.is_null(0));
            let is_exact = report.rows == kept || is_float && report.rows <= kept + 10;
            assert!(is_exact || says_nothing, "{bounds:?}");
            pruned[bounds[0].column] += report.pruned;
        }
        // With other columns left out as well.
        let narrowed = bounded.narrowed(&bounds.iter().map(|bound| bound.column).collect()).unwrap();
        let (read, report) = read_cut(&*narrowed, file.path(), u64::MAX).unwrap();
        assert_eq!(report.rows + report.pruned, 5_000);
        let column = bounds[0].column;
        assert_eq!(good(&read, &bounds).column(column), good(&all, &bounds).column(column), "{bounds:?}");
    }
    let name = |column: usize| all.schema().field(column).name().clone();
    for (column, pruned) in pruned.into_iter().enumerate() {
        assert!(pruned > 10_000 || name(column) == "mixed", "{}: {pruned}", name(column));
    }
    // A single page is read of a row group of ten, and a single row made of it.
    let exact = format.bounded(&[Bound { column: 0, keeps: Keeps::Equal, value: row(0, 2_346) }]).unwrap();
    assert_eq!(read_cut(&*exact, file.path(), u64::MAX).unwrap().1.pruned, 4_999);
}
