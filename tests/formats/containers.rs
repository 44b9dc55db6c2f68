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
